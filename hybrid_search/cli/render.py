"""What people see. Everything here returns a renderable; printing is the verbs' business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hybrid_search._util.printable import one_line
from hybrid_search.cli.origins import seen_from_here
from hybrid_search.cli.progress_bar import spoken
from hybrid_search.indexing.progress import Estimate, IndexReport
from hybrid_search.types import LEGS, in_order

if TYPE_CHECKING:
    from hybrid_search.evaluation.experiment import Report
    from hybrid_search.evaluation.precision import Comparison
    from hybrid_search.protocols import CollectionInfo, Verification
    from hybrid_search.types import Failure, ModelCard

SHOWN_FAILURES = 20
SHOWN_KINDS = 12


def index_summary(report: IndexReport) -> RenderableType:
    """What an index job did, in a few lines."""
    rate = ""
    if report.documents and report.seconds:
        counts = [("docs", report.documents), ("chunks", report.chunks), ("tokens", report.tokens)]
        rate = "".join(f", {count / report.seconds:,.1f} {what}/s" for what, count in counts if count)
    verb = "would be read" if report.dry_run else "indexed"
    rows = [
        (f"documents {verb}", f"{report.documents:,} in {report.chunks:,} chunks"),
        ("unchanged", f"{report.unchanged:,}"),
        ("failed", f"{report.failed:,}"),
        ("time", f"{report.seconds:.1f} s{rate}"),
    ]
    if report.repeated:
        rows.insert(2, ("repeated in the source", f"{report.repeated:,}"))
    if report.moved:
        rows.insert(2, ("read elsewhere now", f"{report.moved:,}"))
    if report.replaced:
        rows.insert(2, ("took the place of others", f"{report.replaced:,}"))
    if report.removed:
        rows.insert(2, ("removed", f"{report.removed:,}"))
    if any(report.truncated.values()) and report.chunks:
        parts = (f"{leg} {count:,} ({count / report.chunks:.0%})" for leg, count in report.truncated.items() if count)
        rows.append(("chunks longer than the model reads", ", ".join(parts)))
    if report.passed_over:
        from hybrid_search.corpus.walk import LINKS_OUT

        hint = " (--follow-links reads those)" if LINKS_OUT in report.passed_over else ""
        rows.append(("passed over", _counted(report.passed_over) + hint))
    if report.guessed:
        rows.append(("encoding guessed", f"{_counted(report.guessed)} (--encoding says it)"))
    for leg, count in report.unread.items():
        some = ", ".join(one_line(seen_from_here(origin)) for origin in report.unread_origins[leg])
        more = ", ..." if count > len(report.unread_origins[leg]) else ""
        share = f" ({count / report.chunks:.0%})" if report.chunks else ""
        rows.append((f"chunks that {leg} hardly reads", f"{count:,}{share}: {some}{more}"))
    if report.estimate is not None:
        rows += _estimate(report.estimate)
    if report.bytes_on_disk is not None:
        rows.append(("on disk", f"{report.bytes_on_disk / 1e6:,.1f} MB"))
    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        grid.add_row(Text(name, style="dim"), Text(value))
    head = Text.assemble((one_line(report.collection), "bold"), (f"  profile {one_line(report.profile)}", "dim"))
    return Group(head, grid)


def _counted(counts: Mapping[str, int]) -> str:
    """Kinds with their numbers, the largest first."""
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(largest) - SHOWN_KINDS:,} more kinds" if len(largest) > SHOWN_KINDS else ""
    return ", ".join(f"{kind} {count:,}" for kind, count in largest[:SHOWN_KINDS]) + more


def verification(found: Sequence[Verification]) -> RenderableType:
    """What is whole of collections and what is not, a line a part."""
    colours = {"whole": "green", "damaged": "red", "unchecked": "yellow"}
    lines = []
    for one in found:
        lines.append(
            Text.assemble((one_line(one.collection), "bold"), "  whole" if one.whole else ("  damaged", "red"))
        )
        for finding in one.findings:
            column = (f"  {finding.state:<9}  ", colours[finding.state])
            lines.append(Text.assemble(column, one_line(f"{finding.part}: {finding.text}")))
    return Group(*lines)


def _estimate(told: Estimate) -> list[tuple[str, str]]:
    if not told.sampled:
        return [("to encode", "nothing: all of it is there already")]
    memory = "" if told.memory_bytes is None else f"about {told.memory_bytes / 1e6:,.0f} MB"
    rows = [
        ("to encode", f"{told.tokens:,} tokens"),
        ("would take", f"about {spoken(told.seconds)} (judged by {told.sampled:,} chunks)"),
        ("memory", memory or "cannot be told on this system"),
        ("disk", f"about {told.disk_bytes / 1e6:,.0f} MB more"),
    ]
    return rows


def failures(report: IndexReport) -> RenderableType:
    """The documents that failed, each with its reason."""
    return listed(f"{report.failed:,} documents could not be indexed:", report.failures, report.failed)


def replacements(report: IndexReport) -> RenderableType:
    """The documents that took the place of others with their ids, each with both origins."""
    lines = [Text(f"{report.replaced:,} documents took the place of others with the same id, read elsewhere:")]
    for doc_id, before, now in report.replacements[:SHOWN_FAILURES]:
        places = f"{one_line(seen_from_here(now))} instead of {one_line(seen_from_here(before))}"
        lines.append(Text.assemble("  ", (one_line(doc_id), "bold"), ": ", places))
    if report.replaced > SHOWN_FAILURES:
        lines.append(Text(f"  and {report.replaced - SHOWN_FAILURES:,} more", style="dim"))
    return Group(*lines)


def listed(head: str, failures: Sequence[Failure], count: int) -> RenderableType:
    """The first of so many failures, a line each."""
    lines = [Text(head, style="yellow")]
    for failure in failures[:SHOWN_FAILURES]:
        lines.append(
            Text.assemble("  ", (one_line(seen_from_here(failure.origin)), "bold"), ": ", one_line(failure.reason))
        )
    if count > SHOWN_FAILURES:
        lines.append(Text(f"  and {count - SHOWN_FAILURES:,} more", style="dim"))
    return Group(*lines)


def collections_table(infos: Sequence[CollectionInfo]) -> RenderableType:
    """A row a collection; the legs beyond the usual two share a column, which is there where one has any."""
    others = any(set(info.manifest.legs) - set(LEGS) for info in infos)
    columns = (*LEGS, "other legs") if others else LEGS
    table = _table("collection", ("documents", True), ("chunks", True), ("MB", True), *columns)
    for info in infos:
        legs = info.manifest.legs
        size = "" if info.bytes_on_disk is None else f"{info.bytes_on_disk / 1e6:,.1f}"
        models = [legs[leg].model if leg in legs else "-" for leg in LEGS]
        if others:
            models.append(", ".join(f"{leg} {legs[leg].model}" for leg in in_order(legs) if leg not in LEGS))
        table.add_row(_name(info.name), f"{info.documents:,}", f"{info.points:,}", size, *map(_name, models))
    return table


def models_table(rows: Sequence[tuple[ModelCard, bool]]) -> Text:
    """One model a line, its name last and never broken, so that it can be copied."""
    head = f"{'here':5}{'kind':9}{'dim':>4}{'reads':>7}{'MB':>6}  {'languages':9}  model"
    lines = [Text(head, style="bold")]
    for card, here in rows:
        sizes = f"{card.dim or '':>4}{card.max_tokens or 'all':>7}{card.size_mb or '':>6}"
        name = f"{languages(card):9}  {one_line(card.name)}"
        lines.append(Text(f"{'yes' if here else '':5}{card.kind:9}{sizes}  {name}"))
    return Text("\n").join(lines)


def languages(card: ModelCard) -> str:
    """The languages of a model in short."""
    return "many" if card.languages == ("mul",) else " ".join(card.languages) or "unknown"


def report_table(report: Report) -> RenderableType:
    """Modes down, measures across; the best value of each measure stands out."""
    head = Text.assemble(
        (one_line(report.dataset), "bold"),
        (f"  {report.documents:,} documents, {report.queries:,} queries, profile {one_line(report.profile)}", "dim"),
    )
    names = list(report.results[0].measures)
    table = _table("mode", *((name, True) for name in names), ("p against bm25", True))
    best = {name: max(result.measures[name] for result in report.results) for name in names}
    for result in report.results:
        cells = [Text(f"{v:.4f}", style="bold" if v == best[name] else "") for name, v in result.measures.items()]
        table.add_row(_name(result.mode), *cells, "" if result.baseline_p is None else f"{result.baseline_p:.4f}")
    return Group(head, table)


def comparison_table(comparison: Comparison) -> RenderableType:
    """Datasets down; what the precision costs stands last."""
    name = comparison.precision
    head = Text.assemble((one_line(comparison.model), "bold"), (f"  nDCG@10 in fp32 and in {name}", "dim"))
    table = _table("dataset", ("queries", True), ("fp32", True), (name, True), ("loss", True))
    for cost in comparison.costs:
        table.add_row(
            _name(cost.dataset), f"{cost.queries:,}", f"{cost.fp32:.4f}", f"{cost.other:.4f}", f"{cost.loss:+.4f}"
        )
    if len(comparison.costs) > 1:
        table.add_row("mean", "", "", "", Text(f"{comparison.mean_loss:+.4f}", style="bold"))
    return Group(head, table)


def _name(name: str) -> Text:
    """A name in a cell of a table, where brackets in a string would be markup."""
    return Text(one_line(name))


def _table(*columns: str | tuple[str, bool]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for place, column in enumerate(columns):
        name, right = column if isinstance(column, tuple) else (column, False)
        # The first column names things to be copied, so it is never broken.
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=place == 0)
    return table
