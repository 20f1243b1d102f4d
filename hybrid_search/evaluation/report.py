"""What an evaluation found: the values of each mode, how sure they are, and what they are beside the baseline's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.evaluation.modes import BASELINE
from hybrid_search.evaluation.significance import bootstrap_intervals, holm, paired_randomization_test
from hybrid_search.indexing.progress import IndexReport


class Judged(NamedTuple):
    """One mode before it is compared: by measure one value a query, and what else was asked for of it."""

    values: Mapping[str, NDArray[np.float64]]
    latency_ms: Mapping[str, float] = {}
    oracle: Mapping[int, float] = {}
    ranks: NDArray[np.int32] | None = None


MEASURE_DIGITS, QUERY_DIGITS, P_DIGITS = 4, 8, 5


class ModeResult(NamedTuple):
    """One mode.

    Args:
        measures: by name the mean over the queries, to 4 decimals.
        baseline_p: the p-value of the first measure against the baseline; None of the baseline itself.
        baseline_p_holm: the same, corrected for the number of modes by Holm's method.
        intervals: by measure the 95 % interval of the mean.
        per_query: by measure one value a query, in the order of the report's `query_ids`.
        latency_ms: of searches one by one, where asked for: `latency.Latency`.
        oracle: by depth the best mean nDCG@10 that any order of so many first documents has, where asked for.
    """

    mode: str
    measures: dict[str, float]
    baseline_p: float | None
    baseline_p_holm: float | None = None
    intervals: Mapping[str, tuple[float, float]] = {}
    per_query: Mapping[str, tuple[float, ...]] = {}
    latency_ms: Mapping[str, float] = {}
    oracle: Mapping[int, float] = {}

    def to_dict(self, query_ids: Sequence[str]) -> dict[str, Any]:
        """Return the object that stands for it in the JSON; what was not asked for has no key."""
        extra = {"latency_ms": dict(self.latency_ms), "oracle": {str(d): value for d, value in self.oracle.items()}}
        columns = zip(*self.per_query.values(), strict=True)
        return {
            "mode": self.mode,
            "measures": self.measures,
            "baseline_p": self.baseline_p,
            "baseline_p_holm": self.baseline_p_holm,
            "intervals": {name: list(bounds) for name, bounds in self.intervals.items()},
            **{name: value for name, value in extra.items() if value},
            "per_query": [
                {"query_id": query_id, **dict(zip(self.per_query, values, strict=True))}
                for query_id, values in zip(query_ids, columns, strict=True)
            ],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The result of `evaluate`."""

    dataset: str
    documents: int
    queries: int
    profile: str
    profile_reason: str
    results: tuple[ModeResult, ...]
    timings_s: Mapping[str, float]
    indexed: tuple[IndexReport, ...] = ()
    outside: tuple[str, ...] = ()
    """Of the results, those of runs that were made elsewhere."""
    lacking: Mapping[str, str] = field(default_factory=dict)
    """By query id, why the leg that takes the weights of terms found nothing."""
    notes: tuple[str, ...] = ()
    """What was passed over, in sentences."""
    query_ids: tuple[str, ...] = ()
    """The judged queries, in the order of `per_query`."""
    baseline: str = BASELINE
    """The mode that the p-values are against: BM25, or else the first."""
    fingerprints: Mapping[str, Any] = field(default_factory=dict)
    """Of corpus, queries and qrels; and by leg, of the models."""
    approximation: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By dense leg, what the engine's approximate search finds of the exact one, where asked for."""
    ranks: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    """By mode, the ranks of the relevant documents, where pictures are wanted: `plot_data.relevant_ranks`."""

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `evaluate --format json` prints; what was not asked for has no key."""
        extra = {"outside": list(self.outside), "lacking": dict(self.lacking), "notes": list(self.notes)}
        extra["approximation"] = {leg: dict(values) for leg, values in self.approximation.items()}
        return {
            "dataset": self.dataset,
            "documents": self.documents,
            "queries": self.queries,
            "profile": self.profile,
            "results": [result.to_dict(self.query_ids) for result in self.results],
            "timings_s": {stage: round(seconds, 3) for stage, seconds in self.timings_s.items()},
            "baseline": self.baseline,
            "fingerprints": dict(self.fingerprints),
            **{name: value for name, value in extra.items() if value},
        }


def results_of(judged: Mapping[str, Judged]) -> tuple[str, tuple[ModeResult, ...]]:
    """Return the name of the baseline, and the result of each mode.

    The baseline is BM25 where it is among the modes, else the first. Each other mode is tested against it by the first
    measure; the second p-value is corrected for the number of these tests.
    """
    baseline = BASELINE if BASELINE in judged else next(iter(judged))
    tested = [mode for mode in judged if mode != baseline]
    p_values = [paired_randomization_test(_first(judged[mode]), _first(judged[baseline])) for mode in tested]
    corrected = dict(zip(tested, zip(p_values, holm(p_values), strict=True), strict=True))
    return baseline, tuple(_result(mode, each, corrected.get(mode)) for mode, each in judged.items())


def _result(mode: str, judged: Judged, p_values: tuple[float, float] | None) -> ModeResult:
    values = judged.values
    bounds = bootstrap_intervals(np.stack(list(values.values()), axis=1)).round(MEASURE_DIGITS).tolist()
    p, corrected = (None, None) if p_values is None else (round(each, P_DIGITS) for each in p_values)
    return ModeResult(
        mode,
        measures={name: round(float(each.mean()), MEASURE_DIGITS) for name, each in values.items()},
        baseline_p=p,
        baseline_p_holm=corrected,
        intervals={name: (low, high) for name, (low, high) in zip(values, bounds, strict=True)},
        per_query={name: tuple(each.round(QUERY_DIGITS).tolist()) for name, each in values.items()},
        latency_ms=judged.latency_ms,
        oracle=judged.oracle,
    )


def _first(judged: Judged) -> NDArray[np.float64]:
    return next(iter(judged.values.values()))
