"""What an evaluation found: the values of each mode, and what they are beside the baseline's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.evaluation.modes import BASELINE
from hybrid_search.evaluation.significance import paired_p
from hybrid_search.indexing.progress import IndexReport


class ModeResult(NamedTuple):
    """One mode: the mean of each measure, and the p-value of its first measure against the baseline."""

    mode: str
    measures: dict[str, float]
    baseline_p: float | None


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

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `evaluate --format json` prints; what was not asked for has no key."""
        told = {"outside": list(self.outside), "lacking": dict(self.lacking), "notes": list(self.notes)}
        return {
            "dataset": self.dataset,
            "documents": self.documents,
            "queries": self.queries,
            "profile": self.profile,
            "results": [result._asdict() for result in self.results],
            "timings_s": {stage: round(seconds, 3) for stage, seconds in self.timings_s.items()},
            **{name: value for name, value in told.items() if value},
        }


def result_of(mode: str, scores: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> ModeResult:
    values = scores[mode]
    p = None
    if BASELINE in scores and mode != BASELINE:
        first = next(iter(values))
        p = round(paired_p(values[first], scores[BASELINE][first]), 5)
    return ModeResult(mode, {name: round(float(each.mean()), 4) for name, each in values.items()}, p)
