"""What people see of a comparison: the measures, the queries that changed, and the evidence of both sides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from hybrid_search._util.printable import one_line
from hybrid_search.cli.compare_documents import documents_lines, lists_table
from hybrid_search.cli.render import make_table, name_cell
from hybrid_search.cli.sparklines import resample, sparkline

if TYPE_CHECKING:
    from hybrid_search.evaluation.comparison import Comparison, MeasureChange, QueryChange, SideReport

WIDTH = 120
"""Columns that are used, at most."""

GAIN, LOSS = "green", "red"
_SHOWN_DEPTHS = (1, 5, 10, 20, 50, 100, 200, 500, 1000)
_COUNTS = ("better", "same", "worse")


def comparison_text(comparison: Comparison, width: int, top: int) -> RenderableType:
    """Return the whole comparison, with the evidence of the queries that changed most.

    Args:
        comparison: of two sides.
        width: of the terminal, in columns.
        top: queries whose evidence is shown.
    """
    width = min(width, WIDTH)
    first = comparison.measures[0]
    changed = [one for one in comparison.queries if one.difference(first.name) or one.is_same_list is False]
    parts = [*_head(comparison, width), Text(), _measures_table(comparison.measures, width), _verdict(first)]
    parts += [_tests(comparison.measures), *_by_query(comparison, first, width)]
    parts += [*_recall(comparison), *_moved(comparison)]
    for one in changed[:top]:
        parts += [Text(), *_query(one, first.name, comparison.k, width)]
    if len(changed) > top:
        parts += [Text(), _line(f"{len(changed) - top:,} more queries changed: --top N, --query ID.", width, "dim")]
    return Group(*parts)


def query_text(comparison: Comparison, width: int, ranks: int) -> RenderableType:
    """Return one query in full: its values, where its relevant documents stand, and both lists side by side."""
    width = min(width, WIDTH)
    [one] = comparison.queries
    parts = [*_head(comparison, width), Text(), Text(one_line(one.text), style="bold")]
    table = make_table("measure", ("A", True), ("B", True), ("B - A", True))
    for name, (a, b) in one.values.items():
        table.add_row(name_cell(name), f"{a:.4f}", f"{b:.4f}", _signed(b - a, 4))
    parts += [Text(), table]
    if one.lists is not None:
        parts += [Text(), *documents_lines(one, comparison.k, width, most=None), Text()]
        parts.append(lists_table(one.lists, ranks, width))
    return Group(*parts)


def _head(comparison: Comparison, width: int) -> Iterator[RenderableType]:
    told = f"  {comparison.judged:,} queries, {comparison.k:,} documents each"
    yield Text.assemble((one_line(comparison.dataset), "bold"), (told, "dim"))
    for letter, side in (("A", comparison.a), ("B", comparison.b)):
        about = f"  {_about(side)}"
        label, room = one_line(side.label), max(20, width - 3 - len(about))
        label = _end_of(label, room) if side.kind != "search" else _line(label, room).plain
        line = Text.assemble((f"{letter}  ", "bold"), label, (about, "dim"))
        line.truncate(width, overflow="ellipsis")
        yield line


def _end_of(text: str, longest: int) -> str:
    """Return a text, or its end: that of a path tells more than its beginning.

    >>> _end_of("runs/of/today/sparse.trec", 12)
    '…sparse.trec'
    """
    return text if len(text) <= longest else f"…{text[1 - longest :]}"


def _about(side: SideReport) -> str:
    if side.kind == "run":
        return "a run"
    if side.kind == "evaluation":
        return f"the values of {one_line(side.mode)} in an earlier evaluation"
    mode = "" if side.label == side.mode else f"{one_line(side.mode)} "
    return f"{mode}in {one_line(side.collection)}" if side.collection else mode.rstrip()


def _measures_table(measures: Sequence[MeasureChange], width: int) -> RenderableType:
    """Return a row for each measure; the counts of queries are left out where there is no room."""
    counts = width >= 67 + max(7, *(len(one.name) for one in measures))
    columns = ["A", "B", "B - A", "95 % interval", "p", "Holm", *(_COUNTS if counts else ())]
    table = make_table("measure", *((name, True) for name in columns))
    for one in measures:
        low, high = one.interval
        cells = [f"{one.a:.4f}", f"{one.b:.4f}", _signed(one.difference, 4), f"{_short(low)} to {_short(high)}"]
        cells += [_p(one.p), _p(one.p_holm)]
        cells += [f"{count:,}" for count in (one.better, one.same, one.worse)] if counts else []
        table.add_row(name_cell(one.name), *cells)
    return table


def _verdict(first: MeasureChange) -> Text:
    """Say what the first measure tells, in a sentence."""
    name, size = one_line(first.name), abs(first.difference)
    if not first.better and not first.worse:
        return Text(f"{name} is the same for every query.", style="yellow")
    if first.is_sure:
        more, style = ("higher", GAIN) if first.difference > 0 else ("lower", LOSS)
        return Text(f"{name} of B is {more} by {size:.4f}; that is hardly chance.", style=style)
    more = "higher" if first.difference > 0 else "lower"
    return Text(f"{name} of B is {more} by {size:.4f}; with these queries that may be chance.", style="yellow")


def _tests(measures: Sequence[MeasureChange]) -> Text:
    """Say how the interval and the p-values were found."""
    count = "" if len(measures) == 1 else f"; Holm: p for {len(measures)} measures"
    return Text(f"Interval of the mean B - A: bootstrap. p: paired randomization test{count}.", style="dim")


def _by_query(comparison: Comparison, first: MeasureChange, width: int) -> Iterator[RenderableType]:
    """Yield the gains and the losses of all queries, sorted, on one scale."""
    differences = [] if len(comparison.queries) < comparison.judged else _differences(comparison.queries, first.name)
    gains, losses = (sorted((abs(d) for d in differences if d * sign > 0), reverse=True) for sign in (1, -1))
    if not gains and not losses:
        return
    most, longest = max([*gains, *losses]), max(len(gains), len(losses))
    room = max(10, min(60, width - 42))
    yield Text()
    yield Text.assemble((one_line(first.name), "bold"), (" of each query, the largest change first", "dim"))
    for word, style, sign, values in (("better", GAIN, "+", gains), ("worse", LOSS, "-", losses)):
        columns = max(1, -(-len(values) * room // longest)) if longest > room else room
        bars = sparkline(resample(values, columns), most)
        ends = f"  {sign}{values[0]:.3f} to {sign}{values[-1]:.3f}" if values else ""
        yield Text.assemble(f"  {word:<6} {len(values):>6,}  ", (bars, style), (ends, "dim"))


def _differences(queries: Sequence[QueryChange], measure: str) -> list[float]:
    from hybrid_search.evaluation.compare import SAME

    found = (one.difference(measure) for one in queries)
    return [difference for difference in found if abs(difference) >= SAME]


def _recall(comparison: Comparison) -> Iterator[RenderableType]:
    """Yield the recall of each side by depth, as a curve and as numbers."""
    sides = [(letter, side.recall) for letter, side in (("A", comparison.a), ("B", comparison.b)) if side.recall]
    if not sides:
        return
    shown = [depth for depth in _SHOWN_DEPTHS if depth <= comparison.k]
    table = make_table("recall by depth", *((f"{depth:,}", True) for depth in shown))
    for letter, recall in sides:
        curve = Text.assemble((f"  {letter}  ", "bold"), (sparkline(list(recall.values()), 1.0), "cyan"))
        table.add_row(curve, *(_share(recall[depth]) for depth in shown))
    yield Text()
    yield table


def _moved(comparison: Comparison) -> Iterator[RenderableType]:
    """Yield what became of the relevant documents, and how many lists are the same."""
    moves: Mapping[str, int] = comparison.moves
    if not moves:
        return
    yield Text()
    found = f"{moves['only_b']:,} only B found, {moves['only_a']:,} only A, {moves['neither']:,} neither"
    yield Text.assemble(
        ("Relevant documents", "bold"),
        f" from A to B: {moves['rose']:,} rose, {moves['fell']:,} fell, {moves['same']:,} stayed; {found}.",
    )
    if comparison.same_lists is not None:
        yield Text(f"{comparison.same_lists:,} of {comparison.judged:,} queries have the same list in A and B.")


def _query(one: QueryChange, measure: str, k: int, width: int) -> Iterator[RenderableType]:
    """Yield a query with its change, and where its documents stand."""
    a, b = one.values[measure]
    style = GAIN if b > a else LOSS if b < a else "yellow"
    change = Text.assemble((f"  {one_line(measure)} {a:.3f} → {b:.3f}  ", "dim"), (_signed(b - a, 3), style))
    about = Text.assemble((one_line(one.query_id), "bold"), f"  {one_line(one.text)}")
    about.truncate(max(20, width - change.cell_len), overflow="ellipsis", pad=True)
    yield about.append_text(change)
    yield from documents_lines(one, k, width)


def _line(text: str, width: int, style: str = "") -> Text:
    line = Text(text, style=style)
    line.truncate(width, overflow="ellipsis")
    return line


def _signed(value: float, digits: int) -> str:
    """Return a number with its sign; what rounds to 0 has none.

    >>> _signed(0.25, 2), _signed(-0.001, 2)
    ('+0.25', '0.00')
    """
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


def _short(value: float) -> str:
    """Return a bound of an interval in five characters where it lies in -1..1.

    >>> _short(0.0104), _short(-0.25), _short(1.5), _short(-0.0)
    ('+.010', '-.250', '+1.50', '.000')
    """
    text = _signed(value, 3)
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else f"{value:+.2f}"


def _p(value: float) -> str:
    return "<.0001" if value < 0.0001 else f"{value:.4f}"


def _share(value: float) -> str:
    """Return a share of 1 in four characters.

    >>> _share(0.2216), _share(1.0)
    ('.222', '1.00')
    """
    text = f"{value:.3f}"
    return text[1:] if text.startswith("0.") else f"{value:.2f}"
