"""The first half of a search: queries to encodings, encodings to one ranking a leg, rankings to documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from types import MappingProxyType
from typing import NamedTuple, cast

import numpy as np

from hybrid_search._util.arguments import shown
from hybrid_search.encoders import hybrid
from hybrid_search.errors import InvalidArgument
from hybrid_search.filters import Condition
from hybrid_search.protocols import CollectionReader, Encoder, KnowsWords, Reading, SparseEncoder
from hybrid_search.ranking import fusion
from hybrid_search.ranking.collapse import collapse
from hybrid_search.ranking.confidence import DEPTH as CONFIDENCE_DEPTH
from hybrid_search.ranking.expansion import expansion
from hybrid_search.ranking.fusion import COSINE_FLOOR, check_weights, rank, round_score
from hybrid_search.ranking.leg_weights import Features, features, leg_weights
from hybrid_search.results import ABSTAINS, NO_TERM, NO_TEXT, Confidence, Term
from hybrid_search.search.defaults import pruned
from hybrid_search.search.given_terms import GivenTerms, Idf, given_terms
from hybrid_search.search.handed_on import check_least_scores, estimate, hand_on
from hybrid_search.search.open_collection import OpenCollection, known_frequencies
from hybrid_search.search.request import AUTO, MAX_DEPTH, SearchRequest, check_queries, dense_leg, resolve_mode
from hybrid_search.search.weighted_query import Queries, WeightedQuery, leg_for_weights
from hybrid_search.types import Hit, LegName, Mode, Ranking, SparseVector, Vector, is_empty

# Models whose sparse vectors have terms that the text lacks.
_EXPANDING = ("splade", "inference_free_splade")

TIE_MARGIN = 4
"""Asked beyond the depth, to see whether the last score goes on: ties at the edge must not depend on the engine."""

QUERY_BATCH = 32
"""Queries that are encoded and retrieved together."""


class SearchThreads(NamedTuple):
    """The pools of threads of one searcher.

    Args:
        models: one thread a model, where several encode at once.
        ahead: one, for the next batch of queries.
        beside: for searches that an event loop waits for.
    """

    models: ThreadPoolExecutor
    ahead: ThreadPoolExecutor
    beside: ThreadPoolExecutor


def search_threads(legs: int, concurrency: int) -> SearchThreads:
    """Return pools for a collection with so many legs, of which so many searches go on at once."""
    sizes = {"encode": max(2, legs), "ahead": 1, "asearch": concurrency}
    return SearchThreads(*(ThreadPoolExecutor(size, thread_name_prefix=name) for name, size in sizes.items()))


class RetrievedQuery(NamedTuple):
    """One query after retrieval.

    Args:
        query: its text.
        mode: that is searched in.
        vectors: one a leg; None where the leg reads nothing of the query and so abstains.
        rankings: one a leg; empty where it abstains.
        spent_ms: its share of what encoding and retrieval took, by stage.
        unread: by leg, the stretches of the query that its model does not know, where there are any.
        given: the terms of the query with their weights, where these were given for a leg.
        confidence: whether an answer was found; None where nothing tells it.
    """

    query: str
    mode: Mode
    vectors: Mapping[LegName, Vector | None]
    rankings: Mapping[LegName, Ranking]
    spent_ms: Mapping[str, float]
    unread: Mapping[LegName, tuple[str, ...]] = MappingProxyType({})
    given: GivenTerms | None = None
    confidence: Confidence | None = None

    @property
    def shown(self) -> str:
        """The text of the query; the given terms where it has none."""
        return " ".join(self.given.weights) if self.given and not self.query.strip() else self.query

    @property
    def words(self) -> str:
        """The text whose words are looked for in documents."""
        return self.given.words if self.given and not self.query.strip() else self.query

    @property
    def abstained(self) -> dict[LegName, str]:
        """By leg that has no vector, why that is."""
        without = [leg for leg, vector in self.vectors.items() if vector is None]
        if self.given is None:
            return dict.fromkeys(without, ABSTAINS)
        other = ABSTAINS if self.query.strip() else NO_TEXT
        return {leg: NO_TERM if leg == self.given.leg else other for leg in without}

    def terms(self, leg: LegName, encoder: Encoder) -> tuple[Term, ...]:
        """Return the terms of a learned sparse leg's vector, heaviest first; none where it abstains."""
        if self.given is not None and leg == self.given.leg:
            return tuple(sorted(self.given.terms(self.query).values(), key=lambda term: (-term.weight, term.term)))
        vector = self.vectors[leg]
        return () if vector is None else query_terms(self.query, encoder, vector)


class RetrievedDocuments(NamedTuple):
    """The documents of one query after fusion.

    Args:
        groups: one a document, best first: its chunks, best first.
        weights: of the legs in the fusion; None for 1 each.
    """

    groups: list[tuple[Hit, ...]]
    weights: Mapping[LegName, float] | None


def retrieve_queries(
    queries: Queries,
    request: SearchRequest,
    opened: OpenCollection,
    threads: SearchThreads,
) -> Iterator[RetrievedQuery]:
    """Encode queries and retrieve each leg's ranking for them; the request is held against the collection before.

    Args:
        queries: their texts; with the weights of their terms where a sparse leg takes these.
        request: what is asked.
        opened: the collection.
        threads: of the searcher.

    Raises:
        InvalidArgument: a query that is no text or empty, a mode whose leg the collection lacks, or weights of terms
            that no leg takes.
        FusionError: a weight for a leg that is not searched.
    """
    asked = check_queries(queries, request.term_weights)
    mode, legs = resolve_mode(request.mode, opened.reader.manifest, opened.collection)
    check_weights(request.static_weights, legs if len(legs) > 1 else opened.shown)
    check_least_scores(request.least_scores, opened.reader.manifest.legs, opened.collection)
    if request.rerank and not all(query.has_text for query in asked):
        raise InvalidArgument("Nothing can be re-ranked for terms alone: that takes the text of a query. Give it, too.")
    encoders = {leg: opened.encoders[leg] for leg in legs}
    given: list[GivenTerms | None] = [None] * len(asked)
    if any(query.weights is not None for query in asked):
        leg = leg_for_weights(mode, legs, opened.reader.manifest, opened.collection)
        strict = request.vector is not None
        given = [
            None
            if query.weights is None
            else given_terms(query.weights, leg, encoders[leg], strict=strict, idf=_idf(query, leg, opened))
            for query in asked
        ]
    return _retrieve_batches(list(zip(asked, given, strict=True)), request, mode, opened.reader, encoders, threads)


def _idf(query: WeightedQuery, leg: LegName, opened: OpenCollection) -> Idf | None:
    """Return what a query's weights are divided by; None where the store does not multiply what they have already."""
    if not (query.has_idf and opened.reader.manifest.legs[leg].needs_idf):
        return None
    return lambda dimensions: known_frequencies(opened, leg, dimensions)


def _retrieve_batches(
    queries: Sequence[tuple[WeightedQuery, GivenTerms | None]],
    request: SearchRequest,
    mode: Mode,
    reader: CollectionReader,
    encoders: Mapping[LegName, Encoder],
    threads: SearchThreads,
) -> Iterator[RetrievedQuery]:
    """Yield each query with its vectors and rankings; one batch is encoded while another's results are built."""
    batches = [queries[start : start + QUERY_BATCH] for start in range(0, len(queries), QUERY_BATCH)]
    waiting = None
    for place, batch in enumerate(batches):
        (encoded, unknown), encode_ms = waiting.result() if waiting else _timed(batch, encoders, threads.models)
        encoded = pruned(encoded, request, [given and given.leg for _, given in batch])
        if place + 1 < len(batches):
            waiting = threads.ahead.submit(_timed, batches[place + 1], encoders, threads.models)
        start = perf_counter()
        by_query = retrieve(reader, encoded, max(request.effective_depth, CONFIDENCE_DEPTH), request.condition)
        spent = {"encode": encode_ms / len(batch), "retrieve": (perf_counter() - start) * 1e3 / len(batch)}
        for row, ((query, given), rankings) in enumerate(zip(batch, by_query, strict=True)):
            unread = {leg: words for leg in encoders if (words := unknown[leg][row])}
            vectors = {leg: encoded[leg][row] for leg in encoders}
            retrieved = RetrievedQuery(query.text, mode, vectors, rankings, spent, unread, given)
            yield _handed_on(retrieved, request, reader)


def retrieve_vector(
    vector: Sequence[float], leg: LegName | None, request: SearchRequest, opened: OpenCollection
) -> RetrievedQuery:
    """Retrieve the chunks nearest to a vector in a dense leg, the first if none is named, as a search of it alone does.

    Raises:
        InvalidArgument: the vector does not fit the leg, or an option needs the text of a query.
    """
    if request.vector is not None:
        raise InvalidArgument("vector, the weights of terms, is for `search`; this searches by a dense vector.")
    if request.rerank or request.explain:
        raise InvalidArgument("Nothing can be re-ranked or explained for a vector: that takes the text of a query.")
    try:
        query = np.asarray(vector, np.float32)
    except (TypeError, ValueError):
        raise InvalidArgument(f"The vector is {shown(vector)}; it must be a list of numbers.") from None
    leg = leg or dense_leg(opened.reader.manifest, opened.collection)
    check_least_scores(request.least_scores, opened.reader.manifest.legs, opened.collection)
    start = perf_counter()
    depth = max(request.effective_depth, CONFIDENCE_DEPTH)
    [rankings] = retrieve(opened.reader, {leg: [query]}, depth, request.condition)
    spent = {"encode": 0.0, "retrieve": (perf_counter() - start) * 1e3}
    return _handed_on(RetrievedQuery("", leg, {leg: query}, rankings, spent), request, opened.reader)


def _handed_on(retrieved: RetrievedQuery, request: SearchRequest, reader: CollectionReader) -> RetrievedQuery:
    """Return a query with its confidence, and of each ranking what the leg hands on."""
    # The strength of a sparse leg is known for vectors of its own model, not for weights that are given.
    given = retrieved.given.leg if retrieved.given is not None else None
    sure = estimate(retrieved.shown, retrieved.vectors, retrieved.rankings, retrieved.unread, reader.manifest, given)
    rankings = hand_on(retrieved.rankings, request.least_scores, request.effective_depth)
    return retrieved._replace(rankings=rankings, confidence=sure)


def retrieve_documents(retrieved: RetrievedQuery, request: SearchRequest, opened: OpenCollection) -> RetrievedDocuments:
    """Fuse the rankings of one query and group its chunks by document, as many documents as the request needs.

    k counts documents, so where chunks of a few fill the legs, the legs are asked for more. What is found there comes
    behind what was found before, so that a page of results does not depend on how far another one had to look.
    """
    weights = query_weights(retrieved, request, opened.encoders)
    depth, rankings = request.effective_depth, retrieved.rankings
    floors = _floors(opened)
    groups = collapse(fuse(rankings, request, weights, floors))
    while len(groups) < request.candidates_needed and depth < MAX_DEPTH:
        if all(len(ranking) < depth for ranking in rankings.values()):
            break
        if len(groups) == opened.reader.info().documents:
            break  # there are no others
        depth = min(depth * 4, MAX_DEPTH)
        vectors = {leg: [vector] for leg, vector in retrieved.vectors.items()}
        [read_on] = retrieve(opened.reader, vectors, depth, request.condition)
        rankings = hand_on(read_on, request.least_scores, depth)
        known = {group[0].doc_id for group in groups}
        groups += [
            group for group in collapse(fuse(rankings, request, weights, floors)) if group[0].doc_id not in known
        ]
    return RetrievedDocuments(groups, weights)


def encode(
    queries: Sequence[str], encoders: Mapping[LegName, Encoder], threads: ThreadPoolExecutor
) -> dict[LegName, Sequence[Vector]]:
    """Encode queries with all models at once, by leg: they let go of the interpreter while they compute."""
    first, *others = hybrid.group_by_model(encoders)
    jobs = [threads.submit(hybrid.encode, group, queries, queries=True) for group in others]
    vectors = hybrid.encode(first, queries, queries=True)
    for job in jobs:
        vectors.update(job.result())
    return {leg: vectors[leg] for leg in encoders}


def read(
    queries: Sequence[str], encoders: Mapping[LegName, Encoder], threads: ThreadPoolExecutor | None = None
) -> tuple[dict[LegName, list[Vector | None]], dict[LegName, list[tuple[str, ...]]]]:
    """Encode queries, by leg, None where a leg's model reads nothing of one; and name the words that it does not know.

    A vector of nothing but unknown words is the same for all of them: it finds whatever is as unknown.
    """
    encoded = encode(queries, encoders, threads) if threads else hybrid.encode(encoders, queries, queries=True)
    vectors: dict[LegName, list[Vector | None]] = {}
    unknown: dict[LegName, list[tuple[str, ...]]] = {}
    for group in hybrid.group_by_model(encoders):
        model = hybrid.unwrap(next(iter(group.values())))
        reading_of = model.reading_of_query if isinstance(model, KnowsWords) else _all_read
        readings = [reading_of(query) for query in queries]
        for leg in group:
            pairs = zip(encoded[leg], readings, strict=True)
            vectors[leg] = [None if reading.nothing or is_empty(vector) else vector for vector, (reading, _) in pairs]
            unknown[leg] = [words for _, words in readings]
    return {leg: vectors[leg] for leg in encoders}, unknown


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


def fuse(
    rankings: Mapping[LegName, Ranking],
    request: SearchRequest,
    weights: Mapping[LegName, float] | None,
    floors: Mapping[LegName, float],
) -> Ranking:
    """Fuse several legs; one alone keeps its own scores. `floors` has the least that each leg's model can give."""
    if len(rankings) == 1:
        return next(iter(rankings.values()))
    how, constant = request.effective_fusion, request.effective_rrf_k
    return fusion.fuse(rankings, how, rrf_k=constant, weights=weights, floors=floors)


def _floors(opened: OpenCollection) -> dict[LegName, float]:
    """Return the least score that the model of each leg can give, where that is not 0."""
    return {leg: COSINE_FLOOR for leg, spec in opened.reader.manifest.legs.items() if spec.kind == "dense"}


def query_weights(
    retrieved: RetrievedQuery, request: SearchRequest, encoders: Mapping[LegName, Encoder]
) -> Mapping[LegName, float] | None:
    """Return the legs' weights for this query, chosen by its rankings where the request asks for that.

    Args:
        retrieved: the query.
        request: what is asked.
        encoders: of the legs.
    """
    if request.weights != AUTO:
        return request.static_weights
    if len(retrieved.rankings) < 2:
        return None
    kinds = {leg: "dense" if encoders[leg].card.kind == "dense" else "sparse" for leg in retrieved.rankings}
    learned = request.defaults.learned if request.defaults else None
    return leg_weights(query_features(retrieved, encoders), kinds, learned)


def query_features(retrieved: RetrievedQuery, encoders: Mapping[LegName, Encoder]) -> Features:
    """Return what is known about a query once its legs have answered, by which its weights are chosen."""
    cards = {leg: encoders[leg].card for leg in retrieved.rankings}
    learned = (leg for leg, card in cards.items() if card.kind != "dense" and card.family in _EXPANDING)
    read = (leg for leg in learned if retrieved.vectors[leg] is not None)
    terms = next((retrieved.terms(leg, encoders[leg]) for leg in read), ())
    return features(retrieved.words, terms, retrieved.rankings)


def query_terms(query: str, encoder: Encoder, vector: Vector) -> tuple[Term, ...]:
    """Return the terms of a query's vector, heaviest first."""
    sparse = cast(SparseVector, vector)
    names = cast(SparseEncoder, encoder).terms(sparse.indices.tolist())
    return expansion(query, names, sparse.values.tolist())


def _tie_at_limit(answer: Sequence[tuple[str, float]], depth: int, limit: int) -> bool:
    """Whether chunks with the score at `depth` may have been left out of an answer."""
    return len(answer) == limit and round_score(answer[-1][1]) == round_score(answer[depth - 1][1])


def _all_read(query: str) -> tuple[Reading, tuple[str, ...]]:
    """Return what a model reads of a query that does not tell of unknown words: all of it."""
    return Reading(1, 0), ()


def _timed(
    batch: Sequence[tuple[WeightedQuery, GivenTerms | None]],
    encoders: Mapping[LegName, Encoder],
    threads: ThreadPoolExecutor,
) -> tuple[tuple[dict[LegName, list[Vector | None]], dict[LegName, list[tuple[str, ...]]]], float]:
    """Return what `read` gives, the given terms in their places, and the milliseconds that took."""
    start = perf_counter()
    vectors: dict[LegName, list[Vector | None]] = {leg: [None] * len(batch) for leg in encoders}
    unknown: dict[LegName, list[tuple[str, ...]]] = {leg: [()] * len(batch) for leg in encoders}
    rows_of: dict[tuple[LegName, ...], list[int]] = {}
    for row, (query, given) in enumerate(batch):
        if given is not None:
            vectors[given.leg][row], unknown[given.leg][row] = given.vector, given.unknown
        reading = tuple(leg for leg in encoders if given is None or leg != given.leg)
        if query.has_text and reading:
            rows_of.setdefault(reading, []).append(row)
    for legs, rows in rows_of.items():
        found, words = read([batch[row][0].text for row in rows], {leg: encoders[leg] for leg in legs}, threads)
        for leg in legs:
            for place, row in enumerate(rows):
                vectors[leg][row], unknown[leg][row] = found[leg][place], words[leg][place]
    return (vectors, unknown), (perf_counter() - start) * 1e3
