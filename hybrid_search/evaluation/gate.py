"""Holds an evaluation against the JSON of an earlier one: what fell, by how much, and whether that could be chance."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hybrid_search.errors import EvaluationError, InvalidArgument
from hybrid_search.evaluation.report import Report
from hybrid_search.evaluation.significance import paired_randomization_test

MAX_REGRESSION = 0.01
"""How far a mean may fall, where nothing else is asked for."""

_SAME_SUM = 1e-7
"""Rounding of the values in the file."""

DATA = ("corpus", "queries", "qrels")
Values = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By mode, measure and query id."""


class Earlier(NamedTuple):
    """An earlier evaluation: its file, what it was over, and its values."""

    path: Path
    dataset: str
    fingerprints: Mapping[str, Any]
    values: Values


class Change(NamedTuple):
    """How the mean of a measure in a mode has changed, and the p-value of that by a paired randomization test."""

    mode: str
    measure: str
    before: float
    now: float
    p: float

    @property
    def difference(self) -> float:
        """What was gained; negative if it fell."""
        return self.now - self.before


def read_earlier(path: str | Path, what: str = "The baseline") -> Earlier:
    """Read the JSON that `evaluate --format json` has printed; messages call it what it is for.

    Raises:
        EvaluationError: it cannot be read, is no such JSON, lacks what can be compared, or a value is not finite.
    """
    path = Path(path)
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(told, dict):
            raise TypeError("it is no JSON object")
        earlier = Earlier(path, str(told["dataset"]), dict(told["fingerprints"]), _values(told["results"]))
    except OSError as error:
        raise EvaluationError(f"{what} {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise EvaluationError(
            f"{what} {path} is not what `evaluate --format json` prints: {reason}. Make one: "
            f"hybrid-search evaluate DATASET --format json > {path.name}"
        ) from error
    return earlier


def check_same_data(
    earlier: Earlier, dataset: str, fingerprints: Mapping[str, Any], what: str = "The baseline"
) -> None:
    """Refuse an earlier evaluation of other data.

    Raises:
        InvalidArgument: corpus, queries or qrels differ; the message names which.
    """
    other = [name for name in DATA if earlier.fingerprints.get(name) != fingerprints[name]]
    if other:
        pairs = (f"{name} {_short(earlier.fingerprints.get(name))}, now {_short(fingerprints[name])}" for name in other)
        raise InvalidArgument(
            f"{what} {earlier.path} (dataset {earlier.dataset!r}) was measured over other data than {dataset!r}: "
            f"{'; '.join(pairs)}. Give that of this dataset, or make a new one with --format json."
        )


def changes(report: Report, earlier: Earlier) -> list[Change]:
    """Return the change of each measure in each mode that both evaluations have.

    Raises:
        InvalidArgument: they share none.
    """
    found = []
    for result in report.results:
        for measure, values in result.per_query.items():
            before = earlier.values.get(result.mode, {}).get(measure, {})
            if set(before) == set(report.query_ids):
                theirs = np.array([before[query_id] for query_id in report.query_ids])
                ours = np.array(values)
                p = paired_randomization_test(ours, theirs)
                found.append(Change(result.mode, measure, float(theirs.mean()), float(ours.mean()), p))
    if not found:
        have = ", ".join(f"{mode} ({', '.join(values)})" for mode, values in earlier.values.items())
        raise InvalidArgument(
            f"The baseline {earlier.path} shares no mode and measure with this evaluation. It has {have or 'none'}. "
            "Choose them with --modes and --measures."
        )
    return found


def regressions(found: Sequence[Change], max_regression: float) -> list[Change]:
    """Return what fell by more than is allowed, the deepest fall first."""
    fallen = [change for change in found if change.difference < -max_regression - _SAME_SUM]
    return sorted(fallen, key=lambda change: change.difference)


def remarks(report: Report, earlier: Earlier, found: Sequence[Change]) -> Iterator[str]:
    """Yield, in sentences, what of the baseline was not compared, and which models have changed since."""
    compared = {(change.mode, change.measure) for change in found}
    lost = [(mode, name) for mode, values in earlier.values.items() for name in values if (mode, name) not in compared]
    if lost:
        names = ", ".join(f"{name} of {mode}" for mode, name in lost)
        yield f"Of the baseline, these were not measured now, and are not compared: {names}."
    before, now = earlier.fingerprints.get("models") or {}, report.fingerprints.get("models") or {}
    changed = [leg for leg in {**before, **now} if before.get(leg) != now.get(leg)]
    if changed:
        pairs = (f"{leg}: {before.get(leg, 'none')}, now {now.get(leg, 'none')}" for leg in changed)
        yield f"The models are not those of the baseline: {'; '.join(pairs)}."


def check_max_regression(value: float) -> float:
    """Return how far a mean may fall.

    Raises:
        InvalidArgument: it is negative or not finite.
    """
    if not (math.isfinite(value) and value >= 0):
        raise InvalidArgument(f"max_regression is {value:g}; it must be a number >= 0, such as {MAX_REGRESSION}.")
    return value


def _values(results: Sequence[Mapping[str, Any]]) -> Values:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for result in results:
        by_measure: dict[str, dict[str, float]] = {name: {} for name in result["measures"]}
        for row in result["per_query"]:
            for name, values in by_measure.items():
                value = float(row[name])
                if not math.isfinite(value):
                    raise ValueError(f"{name} of query {row['query_id']!r} in mode {result['mode']!r} is {value}")
                values[str(row["query_id"])] = value
        found[str(result["mode"])] = by_measure
    return found


def _short(fingerprint: Any) -> str:
    return str(fingerprint)[:12] if fingerprint else "unknown"
