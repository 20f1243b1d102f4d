"""Fits the regression by which `auto` chooses the weights of a query, on labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hybrid_search.ranking.leg_weights import LEARNED, Features, inputs

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of the dense legs at which the measure of each query is known."""

RIDGE = 1.0
STEPS = 50


def fit(features: Sequence[Features], values: NDArray[np.float64]) -> Mapping[str, float]:
    """Return the coefficients of a logistic regression of the best dense share on a query's features.

    A query's target is the middle of the shares with its best value, and it counts as much as its values differ: where
    every share is as good, it says nothing. A ridge holds the coefficients, but not the intercept, near 0.

    Args:
        features: of each query.
        values: of the measure, shape (queries, shares), at `SHARES`.

    Returns:
        Coefficients by name of `leg_weights.LEARNED`; empty where no query tells one share from another.

    Source: fractional logistic regression, Papke & Wooldridge, Journal of Applied Econometrics 11, 1996; by Newton's
    method.
    """
    spread = values.max(axis=1) - values.min(axis=1)
    if not spread.any():
        return {}
    best = np.isclose(values, values.max(axis=1, keepdims=True))
    target = (best * np.array(SHARES)).sum(axis=1) / best.sum(axis=1)
    rows = np.array([list(inputs(one).values()) for one in features])
    weights = spread / spread.mean()
    ridge = np.diag([0.0, *[RIDGE] * (len(LEARNED) - 1)]) + 1e-6 * np.eye(len(LEARNED))
    found = np.zeros(len(LEARNED))
    for _ in range(STEPS):
        share = 1 / (1 + np.exp(-rows @ found))
        slope = rows.T @ (weights * (target - share)) - ridge @ found
        curve = (rows * (weights * share * (1 - share))[:, None]).T @ rows + ridge
        step = np.linalg.solve(curve, slope)
        found = np.clip(found + step, -20, 20)
        if np.abs(step).max() < 1e-9:
            break
    return {name: round(float(value), 6) for name, value in zip(LEARNED, found, strict=True)}
