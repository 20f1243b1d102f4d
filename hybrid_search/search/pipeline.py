"""One query from its rankings to its results: fusion, re-ranking, what is shown, and the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

from hybrid_search.errors import CollectionChanged, PastTheEnd
from hybrid_search.filters.mismatch import mismatches
from hybrid_search.near_duplicates import Shingles, alike, shingles
from hybrid_search.protocols import CollectionReader, Encoder, Reranker
from hybrid_search.ranking.collapse import collapse, document_hits
from hybrid_search.ranking.rerank import RankedDocument
from hybrid_search.results import ABSTAINS, Results
from hybrid_search.search.explain_terms import annotate_hits
from hybrid_search.search.request import MAX_DEPTH, SearchRequest
from hybrid_search.search.rerank import Payloads, rerank_documents
from hybrid_search.search.retrieval import RetrievedQuery, fuse, retrieve, with_query_weights
from hybrid_search.types import Hit, LegName

PASSAGES = 3
"""Chunks of a document that its hit shows, at most."""


class OpenCollection(NamedTuple):
    """What a searcher has open.

    Args:
        collection: its name.
        reader: of the collection.
        encoders: by leg.
        shown: the legs of which every hit tells.
        idf: what is known of inverse document frequencies, by leg and dimension; filled as explanations need them.
    """

    collection: str
    reader: CollectionReader
    encoders: Mapping[LegName, Encoder]
    shown: tuple[LegName, ...]
    idf: dict[LegName, dict[int, float]]


def build_results(
    found: RetrievedQuery, request: SearchRequest, opened: OpenCollection, reranker: Reranker | None
) -> Results:
    """The results of one query."""
    began = perf_counter()
    asked = with_query_weights(request, found.query, found.rankings, found.vectors, opened.encoders)
    groups = group_documents(found, asked, opened.reader)
    read = partial(load_payloads, opened)
    fuse_ms = (perf_counter() - began) * 1e3
    last = rerank_documents(found.query, groups, read, reranker, request)
    rerank_ms = (perf_counter() - began) * 1e3 - fuse_ms if reranker else 0.0
    chosen, folded = paginate(last.documents, request, read)
    if not chosen and last.documents:
        count = len(last.documents) - sum(map(len, folded.values()))
        raise PastTheEnd(request.offset, count, found.query)
    shown = [placed._replace(hits=placed.hits[:PASSAGES]) for placed in chosen]
    payloads = read([hit.chunk_id for placed in shown for hit in placed.hits])
    hits = document_hits(shown, payloads, opened.shown, first=request.offset + 1, folded=folded, reranked=last.model)
    terms, hits = annotate_hits(found.query, found.vectors, hits, request, opened.reader, opened.encoders, opened.idf)
    total = sum(found.spent_ms.values()) + (perf_counter() - began) * 1e3
    return Results(
        query=found.query,
        collection=opened.collection,
        mode=found.mode,
        k=request.k,
        hits=hits,
        timings_ms={**found.spent_ms, "fuse": fuse_ms, "rerank": rerank_ms, "total": total},
        legs=tuple(found.vectors),
        reranker=last.model,
        reranked=last.scored,
        rerank_depth=last.candidates,
        weights=asked.static_weights or {},
        expansion=terms,
        offset=request.offset,
        abstained={leg: ABSTAINS for leg, vector in found.vectors.items() if vector is None},
        unread=found.unread,
        notes=mismatches(request.condition, opened.reader.fields()) if request.condition and not hits else (),
    )


def load_payloads(opened: OpenCollection, chunk_ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """The payloads of chunks that were found just now.

    Raises:
        CollectionChanged: one of them has gone since; it lies on a server, and somebody writes to it.
    """
    payloads = opened.reader.payloads(chunk_ids)
    gone = next((chunk_id for chunk_id in chunk_ids if chunk_id not in payloads), None)
    if gone is not None:
        raise CollectionChanged(
            f"Collection {opened.collection!r} was changed while it was searched: {gone!r} is gone. Search again."
        )
    return payloads


def group_documents(found: RetrievedQuery, request: SearchRequest, reader: CollectionReader) -> list[tuple[Hit, ...]]:
    """The documents of one query in fused order, each its chunks, best first.

    k counts them, so where chunks of a few fill the legs, it looks deeper. What is found there comes behind what was
    found before, so that a page of results does not depend on how far another one had to look.
    """
    depth, rankings = request.effective_depth, found.rankings
    groups = collapse(fuse(rankings, request))
    while len(groups) < request.candidates_needed and depth < MAX_DEPTH:
        if all(len(ranking) < depth for ranking in rankings.values()):
            break
        if len(groups) == reader.info().documents:
            break  # there are no others
        depth = min(depth * 4, MAX_DEPTH)
        vectors = {leg: [vector] for leg, vector in found.vectors.items()}
        [rankings] = retrieve(reader, vectors, depth, request.condition)
        known = {group[0].doc_id for group in groups}
        groups += [group for group in collapse(fuse(rankings, request)) if group[0].doc_id not in known]
    return groups


def paginate(
    ranked: Sequence[RankedDocument], request: SearchRequest, payloads: Payloads
) -> tuple[list[RankedDocument], dict[str, tuple[str, ...]]]:
    """The documents of the page that is asked for; and by document the ids of those folded into it."""
    if not request.fold:
        return list(ranked[request.offset : request.offset + request.k]), {}
    kept: list[RankedDocument] = []
    looks: list[Shingles] = []
    folded: dict[str, tuple[str, ...]] = {}
    end = request.offset + request.k
    for start in range(0, len(ranked), end):
        some = ranked[start : start + end]
        texts = payloads([placed.hits[0].chunk_id for placed in some])
        for placed in some:
            head = placed.hits[0]
            look = shingles(texts[head.chunk_id]["text"], texts[head.chunk_id]["title"])
            twin = next((place for place, other in enumerate(looks) if alike(other, look)), None)
            if twin is None:
                kept.append(placed)
                looks.append(look)
            else:
                first = kept[twin].hits[0].doc_id
                folded[first] = (*folded.get(first, ()), head.doc_id)
        if len(kept) >= end:
            break
    return kept[request.offset : end], folded
