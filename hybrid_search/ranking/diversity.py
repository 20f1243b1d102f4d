"""Documents that answer a query and do not repeat each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import InvalidArgument


def marginally_relevant(
    query: NDArray[np.float32], documents: NDArray[np.float32], k: int, relevance: float = 0.5
) -> list[int]:
    """Choose k documents by maximal marginal relevance: the next one is the one with the greatest

        relevance * cos(query, document) - (1 - relevance) * max over those chosen of cos(chosen, document)

    Args:
        query: shape (dim,).
        documents: shape (n, dim), none of length 0.
        k: at most so many are chosen.
        relevance: 0..1; 1 counts nearness to the query alone, 0 counts being different alone.

    Returns:
        Their places in `documents`, in the order in which they were chosen; of equals the first.

    Raises:
        InvalidArgument: relevance out of range.

    Source: Carbonell & Goldstein, SIGIR 1998, MMR.

    >>> marginally_relevant(np.array([1.0, 0.1]), np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]]), 2, 0.3)
    [1, 2]
    """
    if not 0 <= relevance <= 1:
        raise InvalidArgument(f"The weight of relevance (lambda_mult) is {relevance}; it must lie in 0..1.")
    if not len(documents):
        return []
    unit = documents / np.linalg.norm(documents, axis=1, keepdims=True)
    near = unit @ (query / np.linalg.norm(query))
    chosen: list[int] = []
    repeats = np.zeros(len(unit))
    while len(chosen) < min(k, len(unit)):
        gain = relevance * near - (1 - relevance) * repeats if chosen else near
        gain = np.where(np.isin(np.arange(len(unit)), chosen), -np.inf, gain)
        chosen.append(int(np.argmax(gain)))
        alike = unit @ unit[chosen[-1]]
        repeats = alike if len(chosen) == 1 else np.maximum(repeats, alike)
    return chosen
