"""What the pictures of an evaluation show, as values: where each mode has the relevant documents, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.evaluation.plot_ranks import DEPTH
from hybrid_search.evaluation.report import ModeResult, Report

MOST_BARS, MOST_POINTS = 1_000, 3_000
"""What a picture draws at most; of more an even share, which its title says."""


class Gains(NamedTuple):
    """Differences of one measure between two modes, a query each, the greatest loss first."""

    measure: str
    better: str
    base: str
    differences: tuple[tuple[str, float], ...]


class Speed(NamedTuple):
    """A mode: the median milliseconds of a search, and the first measure's mean with its interval."""

    mode: str
    ms: float
    mean: float
    low: float
    high: float


class PlotData(NamedTuple):
    """All that is drawn; what has no data is empty.

    Args:
        title: dataset, queries and profile in a line.
        measure: the first one.
        gains: of the best fused mode over the best single leg; None where one of both is missing.
        recall: mode -> the share of the relevant documents among the first 1, 2, ... `DEPTH`.
        speed: of the modes whose latency was taken.
        legs: the two single legs whose ranks are compared; empty for none.
        ranks: of each relevant document in these two; 0 where it is not among the first.
    """

    title: str
    measure: str
    gains: Gains | None
    recall: Mapping[str, tuple[float, ...]]
    speed: tuple[Speed, ...]
    legs: tuple[str, ...]
    ranks: tuple[tuple[int, int], ...]


def plot_data(report: Report, ranks: Mapping[str, NDArray[np.int32]]) -> PlotData:
    """Return what the pictures of a report show.

    Args:
        report: of the evaluation.
        ranks: mode -> `relevant_ranks` of its run.
    """
    measure = next(iter(report.results[0].measures))
    legs = [one for one in report.results if _is_leg(one.mode) and one.mode in ranks]
    fused = [one for one in report.results if one.mode in ranks and _is_fused(one.mode)]
    gains = _gains(_best(fused, measure), _best(legs, measure), measure, report.query_ids) if fused and legs else None
    pair = tuple(one.mode for one in legs if one.mode != "bm25")[:2]
    return PlotData(
        title=f"{report.dataset}: {report.queries:,} judged queries, {report.documents:,} documents, {report.profile}",
        measure=measure,
        gains=gains,
        recall={mode: _recall(found) for mode, found in ranks.items()},
        speed=tuple(
            Speed(one.mode, one.latency_ms["p50"], one.measures[measure], *one.intervals[measure])
            for one in report.results
            if one.latency_ms
        ),
        legs=pair if len(pair) == 2 else (),
        ranks=_pairs(ranks, pair) if len(pair) == 2 else (),
    )


def _is_leg(mode: str) -> bool:
    return not ({"+", ":"} & set(mode)) and mode != "hybrid"


def _is_fused(mode: str) -> bool:
    return mode.startswith("hybrid") or "+" in mode


def _best(results: Sequence[ModeResult], measure: str) -> ModeResult:
    return max(results, key=lambda one: one.measures[measure])


def _gains(better: ModeResult, base: ModeResult, measure: str, query_ids: Sequence[str]) -> Gains:
    pairs = zip(query_ids, better.per_query[measure], base.per_query[measure], strict=True)
    differences = sorted(((query_id, ours - theirs) for query_id, ours, theirs in pairs), key=lambda pair: pair[1])
    return Gains(measure, better.mode, base.mode, tuple(differences))


def _recall(found: NDArray[np.int32]) -> tuple[float, ...]:
    """Return the share of all relevant documents that are among the first 1, 2, ... `DEPTH` of their queries."""
    counts = np.bincount(found, minlength=DEPTH + 1)[1 : DEPTH + 1]
    return tuple((np.cumsum(counts) / max(1, len(found))).round(6).tolist())


def _pairs(ranks: Mapping[str, NDArray[np.int32]], legs: Sequence[str]) -> tuple[tuple[int, int], ...]:
    one, other = (ranks[leg].tolist() for leg in legs)
    return tuple(pair for pair in zip(one, other, strict=True) if any(pair))
