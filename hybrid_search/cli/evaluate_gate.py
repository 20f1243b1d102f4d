"""The gates of `evaluate`: thresholds, and an earlier evaluation that nothing may fall below."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hybrid_search._util.arguments import numbers
from hybrid_search.cli.console import complain, err, note
from hybrid_search.cli.evaluate_view import regressions_table
from hybrid_search.errors import InvalidArgument

if TYPE_CHECKING:
    from hybrid_search.evaluation.gate import Earlier
    from hybrid_search.evaluation.report import Report


class Gate(NamedTuple):
    """What an evaluation must reach.

    Args:
        thresholds: by measure.
        earlier: the evaluation that it is held against, if any.
        max_regression: how far the mean of a measure may fall below that.
    """

    thresholds: dict[str, float]
    earlier: Earlier | None
    max_regression: float

    def is_failed(self, report: Report) -> bool:
        """Say whether an evaluation is below, and tell on stderr where."""
        below = _below(report, self.thresholds)
        return _fallen(report, self.earlier, self.max_regression) or below


def read_gate(fail_under: str, baseline: Path | None, max_regression: float | None) -> Gate:
    """Read the gates' options.

    Raises:
        InvalidArgument: a number that is not finite or negative, or a regression without a baseline.
        EvaluationError: the baseline cannot be read.
    """
    from hybrid_search.evaluation.gate import MAX_REGRESSION, check_max_regression, read_earlier

    thresholds = numbers(fail_under, "--fail-under", "nDCG@10=0.4") if fail_under else {}
    for name, value in thresholds.items():
        if not math.isfinite(value):
            raise InvalidArgument(f"--fail-under gives {name} the value {value}; it must be a finite number.")
    if max_regression is not None and baseline is None:
        raise InvalidArgument("--max-regression needs a --baseline FILE: the JSON of an earlier evaluation.")
    limit = check_max_regression(MAX_REGRESSION if max_regression is None else max_regression)
    return Gate(thresholds, None if baseline is None else read_earlier(baseline), limit)


def _below(report: Report, thresholds: dict[str, float]) -> bool:
    below = False
    for name, wanted in thresholds.items():
        by_mode = {result.mode: result.measures for result in report.results if result.mode not in report.outside}
        if name not in report.results[0].measures:
            raise InvalidArgument(f"--fail-under names {name!r}; the measures are {list(report.results[0].measures)}.")
        value = by_mode["hybrid"][name] if "hybrid" in by_mode else max(values[name] for values in by_mode.values())
        if value < wanted:
            below = True
            complain(f"{name} is {value:.4f}, under {wanted:g}.")
    return below


def _fallen(report: Report, earlier: Earlier | None, max_regression: float) -> bool:
    if earlier is None:
        return False
    from hybrid_search.evaluation.gate import changes, regressions, remarks

    found = changes(report, earlier)
    for remark in remarks(report, earlier, found):
        note(remark)
    fallen = regressions(found, max_regression)
    if fallen:
        complain(f"{len(fallen)} of {len(found)} means fell by more than {max_regression:g} below {earlier.path}:")
        err.print(regressions_table(fallen))
    else:
        note(f"None of {len(found)} means fell by more than {max_regression:g} below {earlier.path}.")
    return bool(fallen)
