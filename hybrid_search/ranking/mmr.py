"""Chooses documents that answer a query and do not repeat each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util.arguments import is_number, shown
from hybrid_search.errors import InvalidArgument


def mmr(query: NDArray[np.float32], documents: NDArray[np.float32], k: int, relevance: float = 0.5) -> list[int]:
    """Choose k documents by maximal marginal relevance.

    The next document is the one with the greatest

        relevance * cos(query, document) - (1 - relevance) * max over those chosen of cos(chosen, document)

    Args:
        query: shape (dim,).
        documents: shape (n, dim), none of length 0.
        k: how many to choose at most.
        relevance: 0..1; 1 counts only nearness to the query, 0 only difference from those chosen.

    Returns:
        Their positions in `documents`, in the order in which they were chosen; of equals the first.

    Raises:
        InvalidArgument: relevance is out of range.

    Source: Carbonell & Goldstein, SIGIR 1998, MMR.

    >>> mmr(np.array([1.0, 0.1]), np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]]), 2, 0.3)
    [1, 2]
    """
    lengths = np.linalg.norm(documents, axis=1) * np.linalg.norm(query)
    return mmr_by_similarity(documents @ query / lengths if len(documents) else [], documents, k, relevance)


def mmr_by_similarity(
    near: Sequence[float] | NDArray[Any], documents: NDArray[Any], k: int, relevance: float = 0.5
) -> list[int]:
    """Choose as `mmr` does, with the nearness to the query given: `near` is each document's cosine to it.

    >>> mmr_by_similarity([0.9, 0.89, 0.5], np.array([[1, 0], [1, 0], [0, 1]], np.float32), 2, 0.5)
    [0, 2]
    """
    if not (is_number(relevance) and 0 <= relevance <= 1):
        raise InvalidArgument(
            f"The weight of relevance (lambda_mult, mmr_threshold) is {shown(relevance)}; it must lie in 0..1."
        )
    unit = documents / np.maximum(np.linalg.norm(documents, axis=1, keepdims=True), 1e-12)
    wanted = np.asarray(near, np.float64)
    chosen: list[int] = []
    repeats = np.full(len(wanted), -np.inf)
    while len(chosen) < min(k, len(wanted)):
        gain = relevance * wanted - (1 - relevance) * repeats if chosen else wanted
        gain = np.where(np.isin(np.arange(len(wanted)), chosen), -np.inf, gain)
        chosen.append(int(np.argmax(gain)))
        repeats = np.maximum(repeats, unit @ unit[chosen[-1]])
    return chosen
