"""Tests whether a difference between two systems could be chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDS = 20_000
_BLOCK = 1_000


def paired_p(ours: NDArray[np.float64], theirs: NDArray[np.float64], *, seed: int = 0) -> float:
    """Return the two-sided p-value of the mean difference, by a paired randomization test.

    Args:
        ours: values of one measure of our system, shape (queries,).
        theirs: the other system's values for the same queries.
        seed: seed of the random signs; the same seed gives the same value.

    Returns:
        A value in 0..1: the share of 20,000 random exchanges of the two systems' values, query by query, whose mean
        difference is at least as large as the real one. 1.0 if all values are equal.

    Source: Smucker, Allan & Carterette, A Comparison of Statistical Significance Tests for Information Retrieval
    Evaluation, CIKM 2007 (the randomization test).

    >>> paired_p(np.array([0.5, 0.6, 0.7]), np.array([0.5, 0.6, 0.7]))
    1.0
    """
    differences = ours - theirs
    observed = abs(differences.sum())
    random = np.random.default_rng(seed)
    as_large = 0
    for _ in range(ROUNDS // _BLOCK):
        signs = random.integers(0, 2, (_BLOCK, differences.size), dtype=np.int8) * 2 - 1
        as_large += int((np.abs(signs @ differences) >= observed - 1e-12).sum())
    return (as_large + 1) / (ROUNDS + 1)
