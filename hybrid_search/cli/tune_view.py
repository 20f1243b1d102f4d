"""What tuning found, for people: the verdict first, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hybrid_search._util.printable import one_line
from hybrid_search.cli.render import make_table, name_cell

if TYPE_CHECKING:
    from hybrid_search.evaluation.tune import TuneReport

STYLES = {"recommend": "bold green", "keep": "bold", "inconclusive": "bold yellow"}


def report_text(report: TuneReport, *, typed: str, named: bool, applying: bool) -> RenderableType:
    """Return the verdict, the gain and its cost, the best settings, and the command that applies the choice.

    Args:
        report: of the tuning.
        typed: the arguments that name the dataset, as they were typed.
        named: the collection is the user's, not one that was built for this.
        applying: the choice is being applied, so that no command is needed.
    """
    head = Text.assemble(
        (one_line(report.dataset), "bold"), (f"  {report.queries:,} judged queries, {report.measure}", "dim")
    )
    verdict = Text(_verdict(report), style=STYLES[report.verdict])
    parts: list[RenderableType] = [
        head,
        Text(),
        verdict,
        Text(),
        _figures(report),
        Text(),
        _candidates(report),
        *map(_dim, _remarks(report)),
    ]
    if report.verdict == "recommend" and not applying:
        command = f"hybrid-search tune {one_line(typed)} -c {one_line(report.collection)} --apply"
        said = f"To use it: {command}" if named else "To use it, tune a collection of yours: -c NAME --apply"
        parts += [Text(), Text(said)]
    return Group(*parts)


def _verdict(report: TuneReport) -> str:
    if report.verdict == "recommend":
        return f"Use {report.settings}: better than the default on queries that it was not chosen on."
    if report.verdict == "keep":
        return "Keep the default: on queries that it was not chosen on, no other choice is surely better."
    return (
        f"INCONCLUSIVE: {report.queries:,} judged queries are too few to tell. About {report.needed:,} would do for a "
        "gain like this."
    )


def _figures(report: TuneReport) -> Table:
    table = make_table(
        "", (report.measure, True), ("gain, held out", True), ("95 % interval", True), ("p", True), ("p50 ms", True)
    )
    gain, ms = report.gain, report.latency_ms
    table.add_row(Text("default"), f"{report.default:.4f}", "", "", "", f"{ms['default']:.1f}")
    interval = f"{gain['low']:+.4f} to {gain['high']:+.4f}"
    chosen = name_cell(report.settings)
    table.add_row(chosen, f"{report.chosen:.4f}", f"{gain['mean']:+.4f}", interval, _p(report.p), f"{ms['chosen']:.1f}")
    return table


def _candidates(report: TuneReport) -> Table:
    table = make_table("best on these queries", (report.measure, True), ("gain", True), ("95 % interval", True))
    for one in report.candidates:
        low, high = one["interval"]
        table.add_row(
            name_cell(one["settings"]), f"{one['mean']:.4f}", f"{one['gain']:+.4f}", f"{low:+.4f} to {high:+.4f}"
        )
    return table


def _remarks(report: TuneReport) -> Iterator[str]:
    yield (
        f"{report.stability:.0%} of the choices on four fifths of the queries were the same. The means are of the "
        "queries that the settings were chosen on, so they promise more than the gain held out."
    )
    if report.verdict == "keep" and report.gain["high"] > 0:
        yield f"About {report.needed:,} judged queries would tell a gain of this size from none."
    if report.learned:
        yield _learned(report.learned)


def _learned(learned: Mapping[str, Any]) -> str:
    kept = "it is part of the choice" if learned["kept"] else "it is left out"
    return (
        f"Weights chosen for each query gained {learned['gain']:+.4f} ({learned['low']:+.4f} to "
        f"{learned['high']:+.4f}) beyond the best fixed settings: {kept}."
    )


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0")


def _dim(line: str) -> Text:
    return Text(line, style="dim")
