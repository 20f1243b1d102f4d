"""One query from its rankings to its results: fusion, re-ranking, what is shown, and the evidence for it."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Protocol, runtime_checkable

from hybrid_search.errors import PastTheEnd
from hybrid_search.filters.mismatch import mismatches
from hybrid_search.near_duplicates import Shingles, alike, shingles
from hybrid_search.protocols import Reranker
from hybrid_search.ranking.collapse import document_hits
from hybrid_search.ranking.rerank import RankedDocument
from hybrid_search.results import DocumentHit, Results, Term
from hybrid_search.search.explain_terms import gather_evidence
from hybrid_search.search.handed_on import too_low
from hybrid_search.search.open_collection import OpenCollection, Payloads, payload_cache
from hybrid_search.search.request import SearchRequest
from hybrid_search.search.rerank import RerankOutcome, rerank_documents
from hybrid_search.search.retrieval import RetrievedDocuments, RetrievedQuery, retrieve_documents
from hybrid_search.types import LegName

PASSAGES = 3
"""Chunks of a document that its hit shows, at most."""


def build_results(
    retrieved: RetrievedQuery, request: SearchRequest, opened: OpenCollection, reranker: Reranker | None
) -> Results:
    """Build the results of one query: group, re-rank, choose the page, gather the evidence, and make each hit once.

    Raises:
        PastTheEnd: the offset is beyond the documents that were found.
        CollectionChanged: a chunk that was found has gone since.
    """
    start = perf_counter()
    withheld = too_low(retrieved.confidence, request.min_confidence)
    groups, weights = RetrievedDocuments([], None) if withheld else retrieve_documents(retrieved, request, opened)
    payloads = payload_cache(opened)
    fuse_ms = (perf_counter() - start) * 1e3
    outcome = rerank_documents(retrieved.query, groups, payloads, reranker, request)
    rerank_ms = (perf_counter() - start) * 1e3 - fuse_ms if reranker else 0.0
    hits, expansion = _hits(retrieved, outcome, request, opened, payloads)
    total = sum(retrieved.spent_ms.values()) + (perf_counter() - start) * 1e3
    return Results(
        query=retrieved.shown,
        collection=opened.collection,
        mode=retrieved.mode,
        k=request.k,
        hits=hits,
        timings_ms={**retrieved.spent_ms, "fuse": fuse_ms, "rerank": rerank_ms, "total": total},
        legs=tuple(retrieved.vectors),
        reranker=outcome.model,
        reranked=outcome.scored,
        rerank_depth=outcome.candidates,
        weights=weights or {},
        expansion=expansion,
        offset=request.offset,
        abstained=retrieved.abstained,
        unread=retrieved.unread,
        notes=(*_limits_of(opened), *(() if hits else withheld or _why_nothing(retrieved, request, opened))),
        vector=retrieved.given.weights if retrieved.given else {},
        confidence=retrieved.confidence,
        defaults=request.defaults.to_dict() if request.defaults else {},
    )


@runtime_checkable
class _Limited(Protocol):
    def notes(self) -> tuple[str, ...]: ...


def _limits_of(opened: OpenCollection) -> tuple[str, ...]:
    """Say in sentences where a server's limits change what is found; nothing of a store that has none."""
    return opened.reader.notes() if isinstance(opened.reader, _Limited) else ()


def _why_nothing(retrieved: RetrievedQuery, request: SearchRequest, opened: OpenCollection) -> tuple[str, ...]:
    """Say which conditions of the filter cannot hold, and that legs have least scores, if nothing was found."""
    filtered = mismatches(request.condition, opened.reader.fields()) if request.condition else ()
    least = {leg: score for leg, score in request.least_scores.items() if leg in retrieved.rankings}
    wanted = ", ".join(f"{leg} {score:g}" for leg, score in least.items())
    return (*filtered, f"Hits below these scores are not handed on (min_score): {wanted}.") if least else filtered


def _hits(
    retrieved: RetrievedQuery,
    outcome: RerankOutcome,
    request: SearchRequest,
    opened: OpenCollection,
    payloads: Payloads,
) -> tuple[tuple[DocumentHit, ...], dict[LegName, tuple[Term, ...]]]:
    """Return the hits of the page that is asked for, each made once, and the query's expansion."""
    page, folded = paginate(outcome.documents, request, payloads)
    if not page and outcome.documents:
        count = len(outcome.documents) - sum(map(len, folded.values()))
        raise PastTheEnd(request.offset, count, retrieved.shown)
    page = [document._replace(hits=document.hits[:PASSAGES]) for document in page]
    texts = payloads([hit.chunk_id for document in page for hit in document.hits])
    evidence = gather_evidence(retrieved, page, request, opened)
    hits = document_hits(
        page,
        texts,
        opened.shown,
        first=request.offset + 1,
        folded=folded,
        reranked=outcome.model,
        highlighter=evidence.highlighter,
        matched_terms=evidence.matched_terms,
    )
    return hits, dict(evidence.expansion)


def paginate(
    ranked: Sequence[RankedDocument], request: SearchRequest, payloads: Payloads
) -> tuple[list[RankedDocument], dict[str, tuple[str, ...]]]:
    """Return the documents of the page that is asked for; and by document the ids of those folded into it."""
    if not request.fold:
        return list(ranked[request.offset : request.offset + request.k]), {}
    distinct: list[RankedDocument] = []
    shingles_of: list[Shingles] = []
    folded: dict[str, tuple[str, ...]] = {}
    end = request.offset + request.k
    for start in range(0, len(ranked), end):
        batch = ranked[start : start + end]
        texts = payloads([document.hits[0].chunk_id for document in batch])
        for document in batch:
            head = document.hits[0]
            own = shingles(texts[head.chunk_id]["text"], texts[head.chunk_id]["title"])
            twin = next((place for place, other in enumerate(shingles_of) if alike(other, own)), None)
            if twin is None:
                distinct.append(document)
                shingles_of.append(own)
            else:
                first = distinct[twin].hits[0].doc_id
                folded[first] = (*folded.get(first, ()), head.doc_id)
        if len(distinct) >= end:
            break
    return distinct[request.offset : end], folded
