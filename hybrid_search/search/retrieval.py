"""The first half of a search: queries to encodings, encodings to one ranking a leg."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import perf_counter
from types import MappingProxyType
from typing import NamedTuple, cast

from hybrid_search._util.arguments import text
from hybrid_search.encoders import hybrid
from hybrid_search.errors import InvalidArgument
from hybrid_search.filters import Condition
from hybrid_search.protocols import CollectionReader, Encoder, KnowsWords, Reading, SparseEncoder
from hybrid_search.ranking import fusion
from hybrid_search.ranking.expansion import expansion
from hybrid_search.ranking.fusion import rank, round_score
from hybrid_search.ranking.leg_weights import features, leg_weights
from hybrid_search.results import Term
from hybrid_search.search.request import AUTO, MAX_DEPTH, SearchRequest, check_queries
from hybrid_search.types import LegName, Mode, Ranking, SparseVector, Vector, is_empty

# Models whose sparse vectors have terms that the text lacks.
_EXPANDING = ("splade", "inference_free_splade")

TIE_MARGIN = 4
"""Asked beyond the depth, to see whether the last score goes on: ties at the edge must not depend on the engine."""


QUERY_BATCH = 32
"""Queries that are encoded and retrieved together."""


class RetrievedQuery(NamedTuple):
    """One query after retrieval.

    Args:
        query: its text.
        mode: that is searched in.
        vectors: one a leg; None where the leg reads nothing of the query and so abstains.
        rankings: one a leg; empty where it abstains.
        spent_ms: its share of what encoding and retrieval took, by stage.
        unread: by leg, the stretches of the query that its model does not know, where there are any.
    """

    query: str
    mode: Mode
    vectors: Mapping[LegName, Vector | None]
    rankings: Mapping[LegName, Ranking]
    spent_ms: Mapping[str, float]
    unread: Mapping[LegName, tuple[str, ...]] = MappingProxyType({})


def retrieve_batches(
    queries: Sequence[str],
    request: SearchRequest,
    mode: Mode,
    reader: CollectionReader,
    encoders: Mapping[LegName, Encoder],
    threads: ThreadPoolExecutor,
    ahead: ThreadPoolExecutor,
) -> Iterator[RetrievedQuery]:
    """Each query with its vectors and the legs' rankings; one batch is encoded while another's answers are made.

    Args:
        queries: their texts.
        request: what is asked.
        mode: that is searched in.
        reader: of the collection.
        encoders: of the legs to search.
        threads: one a model, where there are several.
        ahead: a thread for the next batch.
    """
    batches = [queries[start : start + QUERY_BATCH] for start in range(0, len(queries), QUERY_BATCH)]
    waiting = None
    for place, batch in enumerate(batches):
        (encoded, strange), encode_ms = waiting.result() if waiting else _timed(batch, encoders, threads)
        if place + 1 < len(batches):
            waiting = ahead.submit(_timed, batches[place + 1], encoders, threads)
        start = perf_counter()
        found = retrieve(reader, encoded, request.effective_depth, request.condition)
        spent = {"encode": encode_ms / len(batch), "retrieve": (perf_counter() - start) * 1e3 / len(batch)}
        for row, (query, rankings) in enumerate(zip(batch, found, strict=True)):
            unread = {leg: words for leg in encoders if (words := strange[leg][row])}
            yield RetrievedQuery(query, mode, {leg: encoded[leg][row] for leg in encoders}, rankings, spent, unread)


def encode(
    queries: Sequence[str], encoders: Mapping[LegName, Encoder], threads: ThreadPoolExecutor
) -> dict[LegName, Sequence[Vector]]:
    """The queries' vectors by leg, all models at once: they let go of the interpreter while they compute."""
    first, *others = hybrid.group_by_model(encoders)
    jobs = [threads.submit(hybrid.encode, group, queries, queries=True) for group in others]
    found = hybrid.encode(first, queries, queries=True)
    for job in jobs:
        found.update(job.result())
    return {leg: found[leg] for leg in encoders}


def read(
    queries: Sequence[str], encoders: Mapping[LegName, Encoder], threads: ThreadPoolExecutor | None = None
) -> tuple[dict[LegName, list[Vector | None]], dict[LegName, list[tuple[str, ...]]]]:
    """The queries' vectors by leg, None where a leg's model reads nothing of one; and the words that it does not know.

    A vector of nothing but unknown words is the same for all of them: it finds whatever is as unknown.
    """
    encoded = encode(queries, encoders, threads) if threads else hybrid.encode(encoders, queries, queries=True)
    found: dict[LegName, list[Vector | None]] = {}
    strange: dict[LegName, list[tuple[str, ...]]] = {}
    for group in hybrid.group_by_model(encoders):
        whole = hybrid.unwrap(next(iter(group.values())))
        tell = whole.reading_of_query if isinstance(whole, KnowsWords) else _all_read
        readings = [tell(query) for query in queries]
        for leg in group:
            pairs = zip(encoded[leg], readings, strict=True)
            found[leg] = [None if reading.nothing or is_empty(vector) else vector for vector, (reading, _) in pairs]
            strange[leg] = [words for _, words in readings]
    return {leg: found[leg] for leg in encoders}, strange


def retrieve(
    reader: CollectionReader,
    encoded: Mapping[LegName, Sequence[Vector | None]],
    depth: int,
    where: Condition | None = None,
) -> list[dict[LegName, Ranking]]:
    """For each query the ranking of each leg, from one batched request, of the chunks that `where` lets pass.

    Where a leg has no vector its ranking is empty.
    """
    requests = [(leg, vector) for leg, vectors in encoded.items() for vector in vectors if vector is not None]
    limit = depth + TIE_MARGIN
    answers = reader.retrieve(requests, limit, where)
    while limit < MAX_DEPTH and any(_tie_at_limit(answer, depth, limit) for answer in answers):
        limit = min(limit * 4, MAX_DEPTH)
        answers = reader.retrieve(requests, limit, where)
    ranked = iter(answers)
    by_leg = {
        leg: [Ranking() if vector is None else rank(leg, next(ranked), depth) for vector in vectors]
        for leg, vectors in encoded.items()
    }
    return [dict(zip(by_leg, rankings, strict=True)) for rankings in zip(*by_leg.values(), strict=True)]


def fuse(rankings: Mapping[LegName, Ranking], request: SearchRequest) -> Ranking:
    """One leg keeps its own scores; several are fused."""
    if len(rankings) == 1:
        return next(iter(rankings.values()))
    return fusion.fuse(rankings, request.fusion, rrf_k=request.rrf_k, weights=request.static_weights)


def with_query_weights(
    request: SearchRequest,
    query: str,
    rankings: Mapping[LegName, Ranking],
    vectors: Mapping[LegName, Vector | None],
    encoders: Mapping[LegName, Encoder],
) -> SearchRequest:
    """The request with the weights of this query, where they are to be chosen for each one.

    Args:
        request: what is asked.
        query: its text.
        rankings: of each leg, for this query.
        vectors: of this query, one a leg.
        encoders: of the legs.
    """
    if request.weights != AUTO:
        return request
    if len(rankings) < 2:
        return replace(request, weights=None)
    cards = {leg: encoders[leg].card for leg in rankings}
    kinds = {leg: "dense" if card.kind == "dense" else "sparse" for leg, card in cards.items()}
    learned = (leg for leg, card in cards.items() if kinds[leg] == "sparse" and card.family in _EXPANDING)
    read = ((leg, vector) for leg in learned if (vector := vectors[leg]) is not None)
    terms = next((_terms(query, encoders[leg], vector) for leg, vector in read), ())
    return replace(request, weights=leg_weights(features(query, terms, rankings), kinds))


def expand_query(query: str, leg: LegName, encoders: Mapping[LegName, Encoder], collection: str) -> tuple[Term, ...]:
    """What the model of a leg makes of a query.

    Raises:
        InvalidArgument: an empty query, a leg the collection lacks, or one whose vectors are not words.
    """
    check_queries([query])
    encoder = encoders.get(text("leg", leg))
    if encoder is None or not _learned(encoder):
        found = "has no such leg" if encoder is None else f"has {encoder.card.name} there, which does not expand"
        raise InvalidArgument(f"Collection {collection!r} {found}: {leg!r}. Name a leg with a learned sparse model.")
    vector = read([query], {leg: encoder})[0][leg][0]
    return () if vector is None else _terms(query, encoder, vector)


def _learned(encoder: Encoder) -> bool:
    return isinstance(encoder, SparseEncoder) and encoder.card.runtime != "engine"


def _terms(query: str, encoder: Encoder, vector: Vector) -> tuple[Term, ...]:
    found = cast(SparseVector, vector)
    names = cast(SparseEncoder, encoder).terms(found.indices.tolist())
    return expansion(query, names, found.values.tolist())


def _tie_at_limit(answer: Sequence[tuple[str, float]], depth: int, limit: int) -> bool:
    """Whether chunks with the score at `depth` may have been left out of an answer."""
    return len(answer) == limit and round_score(answer[-1][1]) == round_score(answer[depth - 1][1])


def _all_read(query: str) -> tuple[Reading, tuple[str, ...]]:
    """What is made of a query by a model that does not tell of unknown words."""
    return Reading(1, 0), ()


def _timed(
    queries: Sequence[str], encoders: Mapping[LegName, Encoder], threads: ThreadPoolExecutor
) -> tuple[tuple[dict[LegName, list[Vector | None]], dict[LegName, list[tuple[str, ...]]]], float]:
    """What `read` gives, and the milliseconds that took."""
    start = perf_counter()
    return read(queries, encoders, threads), (perf_counter() - start) * 1e3
