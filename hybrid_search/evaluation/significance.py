"""How sure a mean over queries is, and whether a difference between two systems could be chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ROUNDS = 20_000
"""Random exchanges of a randomization test."""
RESAMPLES = 10_000
"""Resamples of a bootstrap."""
CONFIDENCE = 0.95

_BLOCK = 1_000
_CELLS = 2_000_000
"""Numbers that a block of resamples holds at once, at most."""


def paired_randomization_test(ours: NDArray[np.float64], theirs: NDArray[np.float64], *, seed: int = 0) -> float:
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

    >>> paired_randomization_test(np.array([0.5, 0.6, 0.7]), np.array([0.5, 0.6, 0.7]))
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


paired_p = paired_randomization_test
"""The earlier name of `paired_randomization_test`."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p-values of several tests for their number, so that one true chance finding is as rare as in one.

    The i-th smallest of m values, counted from 1, becomes the largest of (m - j + 1) * p_j over j <= i, at most 1.

    Args:
        p_values: one a test, each in 0..1.

    Returns:
        The corrected values, in the order given.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = largest
    return corrected


def bootstrap_intervals(values: NDArray[np.float64], *, seed: int = 0) -> NDArray[np.float64]:
    """Return the 95 % interval of the mean of each column, by the percentile bootstrap over the rows.

    The rows, which are queries, are drawn with replacement 10,000 times, as many as there are, the same rows for every
    column. An interval lies between the 2.5 % and the 97.5 % quantile of the means of the draws.

    Args:
        values: shape (queries, measures), one query or more.
        seed: seed of the draws; the same seed gives the same intervals.

    Returns:
        Shape (measures, 2): the lower and the upper bound.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (the percentile interval).

    >>> bootstrap_intervals(np.array([[0.5], [0.5]])).tolist()
    [[0.5, 0.5]]
    """
    queries = len(values)
    random = np.random.default_rng(seed)
    block = max(1, min(RESAMPLES, _CELLS // queries))
    means = []
    for start in range(0, RESAMPLES, block):
        size = min(block, RESAMPLES - start)
        drawn = random.integers(0, queries, (size, queries)) + np.arange(size)[:, None] * queries
        counts = np.bincount(drawn.ravel(), minlength=size * queries).reshape(size, queries)
        means.append(counts @ values / queries)
    tail = (1 - CONFIDENCE) / 2
    bounds: NDArray[np.float64] = np.quantile(np.concatenate(means), (tail, 1 - tail), axis=0).T
    return bounds
