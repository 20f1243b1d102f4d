"""Rows of small bars: a curve or a distribution in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], most: float) -> str:
    """Return a bar for each value: the highest for `most` and above, a blank for 0 and below.

    >>> sparkline([0.0, 0.01, 0.5, 1.0], 1.0)
    ' ▁▄█'
    """
    return "".join(_bar(value / most) if most > 0 and value > 0 else " " for value in values)


def resample(values: Sequence[float], columns: int) -> list[float]:
    """Return the means of at most so many runs of neighbours, nearly equally long; fewer values stay as they are.

    >>> resample([4.0, 2.0, 1.0, 1.0], 2)
    [3.0, 1.0]
    """
    if len(values) <= columns:
        return list(values)
    edges = [round(place * len(values) / columns) for place in range(columns + 1)]
    return [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]


def _bar(share: float) -> str:
    return BARS[min(len(BARS), max(1, math.ceil(share * len(BARS) - 1e-9))) - 1]
