"""How long searches take: figures of the times that each search gives of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

QUERIES = 200
"""Searches whose time is taken, at most."""


def sample(count: int, most: int = QUERIES) -> list[int]:
    """Return the places of at most so many of `count` things, evenly spread.

    >>> sample(10, 4)
    [0, 2, 5, 7]
    """
    return [place * count // min(count, most) for place in range(min(count, most))]


def latency(timings_ms: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median and the 99 % quantile of whole searches, and the median of encoding.

    Args:
        timings_ms: of searches one by one, with warm models: `Results.timings_ms`.

    Returns:
        `queries`, their number; `p50`, `p99` and `encode` in milliseconds.
    """
    p50, p99 = np.quantile([each["total"] for each in timings_ms], (0.5, 0.99))
    encode = float(np.median([each["encode"] for each in timings_ms]))
    return {
        "queries": len(timings_ms),
        "p50": round(float(p50), 2),
        "p99": round(float(p99), 2),
        "encode": round(encode, 2),
    }
