"""Turns the fused order and a re-ranker's scores into the order that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hybrid_search.ranking.fusion import round_score
from hybrid_search.types import Hit


class RankedDocument(NamedTuple):
    """A document in its final place: its chunks, best first, its fused rank, and its re-ranking score if any."""

    hits: tuple[Hit, ...]
    fused_rank: int
    score: float | None = None


def rerank(documents: Sequence[tuple[Hit, ...]], scores: Sequence[float]) -> list[RankedDocument]:
    """Put the scored documents first, by score descending, ties by the best chunk's id.

    The others follow in their old order, because nothing is known that would move them.

    Args:
        documents: in fused order, each as its chunks, best first.
        scores: of the first `len(scores)` documents, higher is better. Scores that are equal once rounded tie,
            because their last bits depend on what else was in the batch.

    Raises:
        ValueError: there are more scores than documents, or a score is NaN.

    >>> documents = [(Hit("a#0", 1, 0.3),), (Hit("b#0", 2, 0.2),), (Hit("c#0", 3, 0.1),)]
    >>> [(placed.hits[0].chunk_id, placed.fused_rank, placed.score) for placed in rerank(documents, [-1.5, 2.0])]
    [('b#0', 2, 2.0), ('a#0', 1, -1.5), ('c#0', 3, None)]
    """
    if len(scores) > len(documents):
        raise ValueError(f"{len(scores)} scores for {len(documents)} documents")
    if any(score != score for score in scores):
        raise ValueError("a score is not a number")
    read = [
        RankedDocument(hits, rank, float(score))
        for rank, (hits, score) in enumerate(zip(documents, scores, strict=False), 1)
    ]
    read.sort(key=lambda placed: (-round_score(placed.score or 0.0), placed.hits[0].chunk_id))
    rest = [RankedDocument(hits, rank) for rank, hits in enumerate(documents[len(scores) :], len(scores) + 1)]
    return read + rest
