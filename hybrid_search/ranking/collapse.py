"""Groups chunks into documents, and builds the hits that a user sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hybrid_search.ranking.rerank import RankedDocument
from hybrid_search.results import DocumentHit, Highlight, MatchedTerm, Passage
from hybrid_search.types import Hit, Ranking, own_metadata


def collapse(ranking: Ranking) -> list[tuple[Hit, ...]]:
    """Group a ranking's chunks by document, in the order of each document's best chunk (MaxP).

    Returns:
        One tuple per document: its chunks, best first. The first chunk speaks for the document.

    Source: Dai & Callan, Deeper Text Understanding for IR with Contextual Neural Language Modeling, SIGIR 2019 (MaxP).

    >>> ranking = Ranking((Hit("b#4", 1, 0.9), Hit("a#0", 2, 0.8), Hit("b#1", 3, 0.7)))
    >>> [[hit.chunk_id for hit in group] for group in collapse(ranking)]
    [['b#4', 'b#1'], ['a#0']]
    """
    documents: dict[str, list[Hit]] = {}
    for hit in ranking.hits:
        documents.setdefault(hit.doc_id, []).append(hit)
    return [tuple(hits) for hits in documents.values()]


def document_hits(
    documents: Sequence[RankedDocument],
    payloads: Mapping[str, Mapping[str, Any]],
    legs: Sequence[str],
    *,
    first: int = 1,
    folded: Mapping[str, tuple[str, ...]] | None = None,
    reranked: str = "",
    highlighter: Callable[[str], Highlight] | None = None,
    matched_terms: Sequence[tuple[MatchedTerm, ...]] | None = None,
) -> tuple[DocumentHit, ...]:
    """Build the hits a user sees, in the order of `documents`, ranked from `first` on.

    Args:
        documents: each with the chunks to show, best first.
        payloads: chunk_id -> payload, of every chunk to show.
        legs: the collection's legs; a leg that did not find a document's best chunk is None in its hit.
        first: the rank of the first document.
        folded: doc_id -> ids of the near-duplicates left out in its favour.
        reranked: the re-ranker that was used, so that hits carry their earlier rank; empty for none.
        highlighter: marks the words of a text that match; no marks without one.
        matched_terms: of each document, in their order; none without them.
    """
    twins = folded or {}
    terms = [None] * len(documents) if matched_terms is None else matched_terms
    return tuple(
        _document_hit(
            document,
            payloads,
            highlighter,
            rank=rank,
            legs={leg: document.hits[0].legs.get(leg) for leg in legs},
            fused_rank=document.fused_rank if reranked else None,
            matched_terms=matched,
            folded=twins.get(document.hits[0].doc_id, ()),
        )
        for rank, (document, matched) in enumerate(zip(documents, terms, strict=True), first)
    )


def _document_hit(
    document: RankedDocument,
    payloads: Mapping[str, Mapping[str, Any]],
    highlighter: Callable[[str], Highlight] | None,
    **evidence: Any,
) -> DocumentHit:
    """Return one hit: its text and metadata from the payloads, the rest of its fields as given."""
    best = document.hits[0]
    head = payloads[best.chunk_id]
    return DocumentHit(
        doc_id=head["doc_id"],
        score=best.score,
        title=head["title"],
        metadata={name: value for name, value in head["metadata"].items() if name not in own_metadata(head)},
        origin=head["origin"],
        passages=tuple(_passage(hit, payloads[hit.chunk_id], highlighter) for hit in document.hits),
        rerank_score=document.score,
        **evidence,
    )


def _passage(hit: Hit, payload: Mapping[str, Any], highlighter: Callable[[str], Highlight] | None) -> Passage:
    return Passage(
        hit.chunk_id,
        payload["start"],
        payload["end"],
        payload["text"],
        hit.score,
        highlight=highlighter(payload["text"]) if highlighter else None,
        metadata=own_metadata(payload),
        line=payload.get("line", 0),
        context=payload.get("context", ""),
    )
