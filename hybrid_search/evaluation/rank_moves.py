"""Where documents stand in two rankings of one query, and how much of the relevant ones a ranking has at each depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.types import LegHit

FIRST = 10
"""Documents of a ranking that a reader looks at."""

DEPTHS = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000)
"""Depths at which recall is told."""

MOVES = ("rose", "fell", "same", "only_a", "only_b", "neither")
"""What may become of a document from ranking A to ranking B."""


class Place(NamedTuple):
    """Where a ranking has a document, and why.

    Args:
        rank: from 1.
        score: higher is better, and comparable only within its ranking.
        legs: rank and score in each leg; None for a leg that did not find it. Empty where they are not known.
        fused_rank: before re-ranking; None if nothing was re-ranked.
        rerank_score: None if it was not scored.
    """

    rank: int
    score: float
    legs: Mapping[str, LegHit | None] = {}
    fused_rank: int | None = None
    rerank_score: float | None = None


Ranking = Mapping[str, Place]
"""By doc_id, best first."""


def move(a: Place | None, b: Place | None) -> str:
    """Return which of `MOVES` a document has made.

    >>> move(Place(5, 0.2), Place(2, 0.7)), move(Place(2, 0.7), None)
    ('rose', 'only_a')
    """
    if a is None or b is None:
        return "neither" if a is b else "only_a" if b is None else "only_b"
    return "same" if a.rank == b.rank else "rose" if b.rank < a.rank else "fell"


def only_in(one: Ranking, other: Ranking) -> list[str]:
    """Return which of the first documents of a ranking another lacks, best first."""
    return [doc_id for doc_id in first_of(one) if doc_id not in other]


def first_of(ranking: Ranking, most: int = FIRST) -> list[str]:
    """Return the first documents of a ranking."""
    return [doc_id for doc_id, _ in zip(ranking, range(most), strict=False)]


def overlap(a: Ranking, b: Ranking) -> float:
    """Return the share of the first documents that two rankings have in common, of the longer list; 1 of none at all.

    >>> overlap({"x": Place(1, 2.0), "y": Place(2, 1.0)}, {"y": Place(1, 1.0)})
    0.5
    """
    first, others = set(first_of(a)), set(first_of(b))
    longer = max(len(first), len(others))
    return len(first & others) / longer if longer else 1.0


def recall_by_depth(
    rankings: Mapping[str, Ranking], relevant: Mapping[str, Sequence[str]], depths: Sequence[int]
) -> dict[int, float]:
    """Return, by depth, the mean recall over the queries: the share of a query's relevant documents among the first.

    Args:
        rankings: by query id; a query without one has found nothing.
        relevant: by query id the relevant documents. A query without any counts as 0, as in trec_eval.
        depths: to tell it at.
    """
    found: NDArray[np.float64] = np.zeros(len(depths))
    for query_id, doc_ids in relevant.items():
        ranking = rankings.get(query_id, {})
        ranks = np.array([ranking[doc_id].rank for doc_id in doc_ids if doc_id in ranking])
        found += [(ranks <= depth).sum() / len(doc_ids) if doc_ids else 0.0 for depth in depths]
    return {depth: float(sum_) / max(1, len(relevant)) for depth, sum_ in zip(depths, found, strict=True)}
