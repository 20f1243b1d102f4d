"""Why a document is, or is not, in the list: it is followed through every stage of the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from hybrid_search._util.arguments import text
from hybrid_search._util.json_objects import DefaultsDict, DocumentExplanationDict, LegPlaceDict
from hybrid_search.collection.documents import payloads_of
from hybrid_search.encoders.hybrid import unwrap
from hybrid_search.filters.matcher import failing_clauses
from hybrid_search.protocols import Reranker
from hybrid_search.results import abstention
from hybrid_search.search.handed_on import too_low
from hybrid_search.search.open_collection import OpenCollection, payload_cache
from hybrid_search.search.pipeline import paginate
from hybrid_search.search.request import MAX_DEPTH, SearchRequest
from hybrid_search.search.rerank import rerank_documents
from hybrid_search.search.retrieval import RetrievedQuery, retrieve, retrieve_documents
from hybrid_search.store.schema import chunk_of
from hybrid_search.types import LegName

Verdict = Literal["shown", "not indexed", "filtered out", "not found", "below depth", "outranked", "folded", "withheld"]


@dataclass(frozen=True)
class LegPlace:
    """Where one leg has a document.

    Args:
        rank: of its best chunk among all chunks that the filter lets pass, however deep; None where the leg does not
            have it among its first 10,000: for a leg of words mostly because it shares no term with the query.
        score: the leg's; None with the rank.
        depth: how many chunks the leg hands on.
        cut_tokens: of the document's chunks, tokens that the leg's model did not read because they are too long.
        least: score below which the leg hands nothing on; None for no limit.
    """

    rank: int | None
    score: float | None
    depth: int
    cut_tokens: int
    least: float | None = None

    @property
    def too_low(self) -> bool:
        """Whether the leg's score is below the least one."""
        return self.least is not None and self.score is not None and self.score < self.least

    @property
    def handed_on(self) -> bool:
        return self.rank is not None and self.rank <= self.depth and not self.too_low

    def to_dict(self) -> LegPlaceDict:
        """Return the object that stands for it in the JSON of an explanation."""
        return {
            "rank": self.rank,
            "score": self.score,
            "depth": self.depth,
            "handed_on": self.handed_on,
            "cut_tokens": self.cut_tokens,
        }


@dataclass(frozen=True)
class DocumentExplanation:
    """What became of a document in one search.

    Args:
        verdict: the first stage that kept it out of the list, or `shown`.
        reason: the same in a sentence.
        chunks: it has; 0 where it is not indexed.
        passing: of them, those that the filter lets pass.
        clauses: of the filter, those that do not hold for its first chunk, where none passes.
        legs: where each leg that was searched has it.
        fused_rank: after fusion, from 1; None where no leg handed it on.
        rerank_score: what the re-ranker gave it; None where it did not read it.
        rank: in the list, were it long enough; None where it is not in it at all.
        shown: the ranks that the list shows, first and last.
        folded_into: the id of the document that says the same and stands for it.
        defaults: the settings that were the collection's own; empty where none was.
    """

    query: str
    collection: str
    doc_id: str
    verdict: Verdict
    reason: str
    chunks: int = 0
    passing: int = 0
    clauses: tuple[str, ...] = ()
    legs: Mapping[LegName, LegPlace] | None = None
    fused_rank: int | None = None
    rerank_score: float | None = None
    rank: int | None = None
    shown: tuple[int, int] = (1, 10)
    folded_into: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> DocumentExplanationDict:
        """Return the object that `explain --doc ID --format json` prints."""
        shown: DocumentExplanationDict = {
            "query": self.query,
            "collection": self.collection,
            "doc_id": self.doc_id,
            "verdict": self.verdict,
            "reason": self.reason,
            "chunks": self.chunks,
            "passing": self.passing,
            "clauses": list(self.clauses),
            "legs": {leg: place.to_dict() for leg, place in (self.legs or {}).items()},
            "fused_rank": self.fused_rank,
            "rerank_score": self.rerank_score,
            "rank": self.rank,
            "folded_into": self.folded_into,
        }
        if self.defaults:
            shown["defaults"] = cast("DefaultsDict", dict(self.defaults))
        return shown


def explain_document(
    doc_id: str, retrieved: RetrievedQuery, request: SearchRequest, opened: OpenCollection, reranker: Reranker | None
) -> DocumentExplanation:
    """Follow a document through a search.

    Args:
        doc_id: of the document.
        retrieved: the query, after retrieval.
        request: what is asked.
        opened: the collection.
        reranker: what re-ranks, if asked for.
    """
    shown = (request.offset + 1, request.offset + request.k)

    def end(verdict: Verdict, reason: str, **facts: Any) -> DocumentExplanation:
        own = request.defaults.to_dict() if request.defaults else {}
        facts |= {"shown": shown, "defaults": own}
        return DocumentExplanation(retrieved.shown, opened.collection, doc_id, verdict, reason, **facts)

    payloads = payloads_of(opened.reader, text("doc_id", doc_id))
    if not payloads:
        return end("not indexed", f"The collection {opened.collection!r} has no document {doc_id!r}.")
    doc_id = payloads[0]["doc_id"]  # as it is stored
    where = request.condition
    passing = [payload for payload in payloads if where is None or not failing_clauses(where, payload)]
    if where is not None and not passing:
        clauses = tuple(map(str, failing_clauses(where, payloads[0])))
        reason = f"The filter keeps it out: {' and '.join(clauses)} does not hold."
        return end("filtered out", reason, chunks=len(payloads), clauses=clauses)
    facts: dict[str, Any] = {"chunks": len(payloads), "passing": len(passing)}
    facts["legs"] = places = _places({payload["chunk_id"] for payload in passing}, payloads, retrieved, request, opened)
    groups, _ = retrieve_documents(retrieved, request, opened)
    fused = next((rank for rank, group in enumerate(groups, 1) if group[0].doc_id == doc_id), None)
    if fused is None:
        near = [f"{leg} {place.rank:,}" for leg, place in places.items() if place.rank is not None]
        if not near:
            return end("not found", _no_leg(retrieved), **facts)
        return end("below depth", _not_handed_on(places, near), **facts)
    chunk_payloads = payload_cache(opened)
    outcome = rerank_documents(retrieved.query, groups, chunk_payloads, reranker, request)
    rank, document = next((r, p) for r, p in enumerate(outcome.documents, 1) if p.hits[0].doc_id == doc_id)
    facts.update(fused_rank=fused, rerank_score=document.score, rank=rank)
    page, folded = paginate(outcome.documents, request, chunk_payloads)
    twin = next((first for first, ids in folded.items() if doc_id in ids), "")
    if twin:
        return end("folded", f"It says the same as {twin!r}, which stands for it.", folded_into=twin, **facts)
    if any(one.hits[0].doc_id == doc_id for one in page):
        return end(*(_withheld(retrieved, request) or ("shown", f"It is in the list, at rank {rank}.")), **facts)
    by = "re-ranking" if outcome.model and fused <= shown[1] else "fusion"
    reason = f"It has rank {rank:,} after {by}; ranks {shown[0]} to {shown[1]} are shown."
    return end("outranked", reason, **facts)


def _withheld(retrieved: RetrievedQuery, request: SearchRequest) -> tuple[Verdict, str] | None:
    """Return the verdict, and why, on what would be shown if the confidence were not too low; None where it is not."""
    notes = too_low(retrieved.confidence, request.min_confidence)
    return ("withheld", notes[0]) if notes else None


def _not_handed_on(places: Mapping[LegName, LegPlace], near: Sequence[str]) -> str:
    """Say why no leg hands on a document that some leg has, in a sentence or two."""
    low = [f"{leg} {place.score:.3f} < {place.least:g}" for leg, place in places.items() if place.too_low]
    if low:
        return f"No leg hands it on; its scores are below min_score: {', '.join(low)}."
    depth = next(iter(places.values())).depth
    return f"Every leg has it below the depth of {depth:,}: {', '.join(near)}. A greater --depth hands it on."


def _no_leg(retrieved: RetrievedQuery) -> str:
    """Why no leg finds a document, in a sentence or two."""
    abstain = retrieved.abstained
    said = [] if len(abstain) == len(retrieved.vectors) else ["No leg finds it: it shares nothing with the query."]
    return " ".join([*said, *abstention(abstain)])


def _places(
    chunk_ids: set[str],
    payloads: Sequence[Mapping[str, Any]],
    retrieved: RetrievedQuery,
    request: SearchRequest,
    opened: OpenCollection,
) -> dict[LegName, LegPlace]:
    """Where each leg has the best of these chunks, looking as deep as it can."""
    vectors = {leg: [vector] for leg, vector in retrieved.vectors.items()}
    [deep] = retrieve(opened.reader, vectors, MAX_DEPTH, request.condition)
    texts = [chunk_of(payload).searchable for payload in payloads]
    places = {}
    for leg, ranking in deep.items():
        best = next((hit for hit in ranking if hit.chunk_id in chunk_ids), None)
        limit = opened.encoders[leg].card.max_tokens
        counts = unwrap(opened.encoders[leg]).count_tokens(texts) if limit else []
        cut = sum(max(0, count - limit) for count in counts)
        rank, score = (None, None) if best is None else (best.rank, best.score)
        places[leg] = LegPlace(rank, score, request.effective_depth, cut, request.least_scores.get(leg))
    return places
