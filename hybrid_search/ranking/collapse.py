"""Groups chunks into documents, and builds the hits that a user sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_search.ranking.rerank import RankedDocument
from hybrid_search.results import DocumentHit, Passage
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
) -> tuple[DocumentHit, ...]:
    """Build the hits a user sees, in the order of `documents`, ranked from `first` on.

    Args:
        documents: each with the chunks to show, best first.
        payloads: chunk_id -> payload, of every chunk to show.
        legs: the collection's legs; a leg that did not find a document's best chunk is None in its hit.
        first: the rank of the first document.
        folded: doc_id -> ids of the near-duplicates left out in its favour.
        reranked: the re-ranker that was used, so that hits carry their earlier rank; empty for none.
    """
    twins = folded or {}
    return tuple(
        _document_hit(place, one, payloads, legs, twins.get(one.hits[0].doc_id, ()), bool(reranked))
        for place, one in enumerate(documents, first)
    )


def _document_hit(
    place: int,
    placed: RankedDocument,
    payloads: Mapping[str, Mapping[str, Any]],
    legs: Sequence[str],
    folded: tuple[str, ...],
    reranked: bool,
) -> DocumentHit:
    group = placed.hits
    head = payloads[group[0].chunk_id]
    passages = (
        Passage(
            hit.chunk_id,
            payload["start"],
            payload["end"],
            payload["text"],
            hit.score,
            metadata=own_metadata(payload),
            line=payload.get("line", 0),
            context=payload.get("context", ""),
        )
        for hit in group
        for payload in (payloads[hit.chunk_id],)
    )
    return DocumentHit(
        rank=place,
        doc_id=head["doc_id"],
        score=group[0].score,
        title=head["title"],
        metadata={name: value for name, value in head["metadata"].items() if name not in own_metadata(head)},
        origin=head["origin"],
        passages=tuple(passages),
        legs={leg: group[0].legs.get(leg) for leg in legs},
        rerank_score=placed.score,
        fused_rank=placed.fused_rank if reranked else None,
        folded=folded,
    )
