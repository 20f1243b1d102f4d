"""Tables of an evaluation, and of what fell below an earlier one. The command prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from hybrid_search._util.printable import one_line
from hybrid_search.cli.render import make_table, name_cell

if TYPE_CHECKING:
    from hybrid_search.evaluation.gate import Change
    from hybrid_search.evaluation.report import ModeResult, Report

WIDTH = 100
"""Columns that a table takes, at most, where the terminal is not narrower."""

_MEAN, _WITH_INTERVAL = 6, 16
_P_VALUES = 14


def report_table(report: Report, width: int = WIDTH) -> RenderableType:
    """Return a table with modes down and measures across; the best value of each measure stands out.

    Behind the means of the first measures stand their intervals, as many as fit into the width.
    """
    head = Text.assemble(
        (one_line(report.dataset), "bold"),
        (f"  {report.documents:,} documents, {report.queries:,} queries, profile {one_line(report.profile)}", "dim"),
    )
    names = list(report.results[0].measures)
    shown = _intervals_shown(report, names, min(width, WIDTH))
    tested = len(report.results) > 1
    table = make_table("mode", *((name, True) for name in names), *([("p", True), ("Holm", True)] if tested else ()))
    best = {name: max(result.measures[name] for result in report.results) for name in names}
    for result in report.results:
        cells = [_measure(result, name, result.measures[name] == best[name], name in shown) for name in names]
        p_values = [_p(result.baseline_p), _p(result.baseline_p_holm)] if tested else []
        table.add_row(name_cell(result.mode), *cells, *p_values)
    return Group(head, table, *_details(report), *_footnotes(report, shown))


def regressions_table(fallen: Sequence[Change]) -> RenderableType:
    """Return a table of what fell, a mode and a measure in each row."""
    table = make_table("mode", "measure", ("baseline", True), ("now", True), ("change", True), ("p", True))
    for change in fallen:
        values = (f"{change.before:.4f}", f"{change.now:.4f}", f"{change.difference:+.4f}", _p(change.p))
        table.add_row(name_cell(change.mode), change.measure, *values)
    return table


def _intervals_shown(report: Report, names: Sequence[str], width: int) -> set[str]:
    """Return the measures whose intervals fit: the first ones, as many as there is room for."""
    modes = max(4, *(len(one_line(result.mode)) for result in report.results))
    left = width - modes - _P_VALUES - sum(1 + max(_MEAN, len(name)) for name in names)
    shown = set()
    for name in names:
        left -= _WITH_INTERVAL - max(_MEAN, len(name))
        if left < 0:
            break
        shown.add(name)
    return shown


def _measure(result: ModeResult, name: str, best: bool, with_interval: bool) -> Text:
    cell = Text(f"{result.measures[name]:.4f}", style="bold" if best else "")
    if with_interval and name in result.intervals:
        low, high = result.intervals[name]
        cell.append(f" {_bound(low)}-{_bound(high)}", style="dim not bold")
    return cell


def _bound(value: float) -> str:
    """Return a bound in four characters where it lies in 0..1.

    >>> _bound(0.3714), _bound(0.99996), _bound(12.5)
    ('.371', '1.00', '12.50')
    """
    text = f"{value:.3f}"
    return text[1:] if text.startswith("0.") else f"{value:.2f}"


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _details(report: Report) -> Iterator[RenderableType]:
    """Yield what was asked for besides: latency and oracle by mode, and what the approximate search finds."""
    rows = [result for result in report.results if result.latency_ms or result.oracle]
    if rows:
        depths = list(next(result.oracle for result in rows))
        table = make_table(
            "mode", ("p50 ms", True), ("p99 ms", True), ("encode ms", True), *((f"oracle@{d}", True) for d in depths)
        )
        for result in rows:
            times = (_ms(result.latency_ms, name) for name in ("p50", "p99", "encode"))
            table.add_row(name_cell(result.mode), *times, *(f"{result.oracle[depth]:.4f}" for depth in depths))
        yield Text()
        yield table
    for leg, found in report.approximation.items():
        recalls = ", ".join(f"{name} {value:.4f}" for name, value in found.items() if name.startswith("recall"))
        yield Text(f"{leg}: approximate search against exact, over {found['chunks']:,} chunks: {recalls}")


def _ms(latency: Mapping[str, float], name: str) -> str:
    return f"{latency[name]:,.1f}" if name in latency else ""


def _footnotes(report: Report, shown: set[str]) -> Iterator[Text]:
    if shown:
        yield Text("Behind a mean: its 95 % interval, by the bootstrap over the queries.", style="dim")
    if len(report.results) > 1:
        first, tests = next(iter(report.results[0].measures)), len(report.results) - 1
        yield Text(
            f"p: paired randomization test of {first} against {one_line(report.baseline)}. Holm: p for {tests} tests.",
            style="dim",
        )
    if any(result.latency_ms for result in report.results):
        count = int(next(result.latency_ms["queries"] for result in report.results if result.latency_ms))
        yield Text(f"ms: of {count:,} searches one by one, models loaded, 10 documents each.", style="dim")
    if any(result.oracle for result in report.results):
        yield Text("oracle@d: nDCG@10 of the first d documents in the best order.", "dim")
