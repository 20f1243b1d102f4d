"""What people see of an index job that has ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hybrid_search._util.printable import one_line
from hybrid_search.cli.console import err, note, out
from hybrid_search.cli.origins import seen_from_here
from hybrid_search.cli.progress import print_end
from hybrid_search.cli.progress_bar import spoken
from hybrid_search.indexing.progress import Estimate, IndexReport

if TYPE_CHECKING:
    from hybrid_search.types import Failure

SHOWN_FAILURES = 20
SHOWN_KINDS = 12

Row = tuple[str, str]
"""What is counted, and the count in words."""


def show_report(report: IndexReport, progress: str, *, pruning: bool = False) -> None:
    """Print what an index job did: the summary on stdout, what failed or changed hands on stderr.

    Args:
        report: of the job.
        progress: the value of `--progress`; with `json`, stderr has the event `end` instead.
        pruning: whether `--prune` was asked for, which a failure prevents.
    """
    print_end(progress, report)
    out.print(index_summary(report))
    show_problems(report, progress)
    if pruning and report.failed and progress != "json":
        note("--prune was skipped: a document that failed may be one that is there already.")


def show_problems(report: IndexReport, progress: str, *, failed: bool = True) -> None:
    """Print on stderr what took the place of others and, unless `failed` is false, what failed.

    Nothing with `--progress json`, where the event `end` has both.
    """
    if progress == "json":
        return
    if report.replaced:
        err.print(replacements(report), soft_wrap=True)
    if report.failed and failed:
        err.print(failures(report), soft_wrap=True)


def index_summary(report: IndexReport) -> RenderableType:
    """Return what an index job did, a line for each count that is not 0 and for those that always stand there."""
    grid = Table.grid(padding=(0, 2))
    for name, value in (*_counts(report), *_remarks(report)):
        grid.add_row(Text(name, style="dim"), Text(value))
    head = Text.assemble((one_line(report.collection), "bold"), (f"  profile {one_line(report.profile)}", "dim"))
    return Group(head, grid)


def failures(report: IndexReport) -> RenderableType:
    """Return the documents that failed, each with its reason."""
    return listed(f"{report.failed:,} documents could not be indexed:", report.failures, report.failed)


def replacements(report: IndexReport) -> RenderableType:
    """Return the documents that took the place of others with their ids, each with both origins."""
    lines = [Text(f"{report.replaced:,} documents took the place of others with the same id, read elsewhere:")]
    for doc_id, before, now in report.replacements[:SHOWN_FAILURES]:
        places = f"{one_line(seen_from_here(now))} instead of {one_line(seen_from_here(before))}"
        lines.append(Text.assemble("  ", (one_line(doc_id), "bold"), ": ", places))
    if report.replaced > SHOWN_FAILURES:
        lines.append(Text(f"  and {report.replaced - SHOWN_FAILURES:,} more", style="dim"))
    return Group(*lines)


def listed(head: str, failures: Sequence[Failure], count: int) -> RenderableType:
    """Return the first of so many failures, a line each, under a headline."""
    lines = [Text(head, style="yellow")]
    for failure in failures[:SHOWN_FAILURES]:
        lines.append(
            Text.assemble("  ", (one_line(seen_from_here(failure.origin)), "bold"), ": ", one_line(failure.reason))
        )
    if count > SHOWN_FAILURES:
        lines.append(Text(f"  and {count - SHOWN_FAILURES:,} more", style="dim"))
    return Group(*lines)


def _counts(report: IndexReport) -> Iterator[Row]:
    """Yield the documents by what became of them, and the time it took."""
    verb = "would be read" if report.dry_run else "indexed"
    yield f"documents {verb}", f"{report.documents:,} in {report.chunks:,} chunks"
    yield "unchanged", f"{report.unchanged:,}"
    others = (
        ("removed", report.removed),
        ("took the place of others", report.replaced),
        ("read elsewhere now", report.moved),
        ("repeated in the source", report.repeated),
    )
    yield from ((name, f"{count:,}") for name, count in others if count)
    yield "failed", f"{report.failed:,}"
    yield "time", f"{report.seconds:.1f} s{_rate(report)}"


def _rate(report: IndexReport) -> str:
    if not (report.documents and report.seconds):
        return ""
    counts = [("docs", report.documents), ("chunks", report.chunks), ("tokens", report.tokens)]
    return "".join(f", {count / report.seconds:,.1f} {what}/s" for what, count in counts if count)


def _remarks(report: IndexReport) -> Iterator[Row]:
    """Yield what is worth knowing of the texts and files, the estimate of a dry run, and the size on disk."""
    if any(report.truncated.values()) and report.chunks:
        parts = (f"{leg} {count:,} ({count / report.chunks:.0%})" for leg, count in report.truncated.items() if count)
        yield "chunks longer than the model reads", ", ".join(parts)
    if report.passed_over:
        from hybrid_search.corpus.walk import LINKS_OUT

        hint = " (--follow-links reads those)" if LINKS_OUT in report.passed_over else ""
        yield "passed over", _counted(report.passed_over) + hint
    yield from _expansions(report)
    if report.guessed:
        yield "encoding guessed", f"{_counted(report.guessed)} (--encoding says it)"
    for leg, count in report.unread.items():
        some = ", ".join(one_line(seen_from_here(origin)) for origin in report.unread_origins[leg])
        more = ", ..." if count > len(report.unread_origins[leg]) else ""
        share = f" ({count / report.chunks:.0%})" if report.chunks else ""
        yield f"chunks that {leg} hardly reads", f"{count:,}{share}: {some}{more}"
    if report.estimate is not None:
        yield from _estimate(report.estimate)
    if report.bytes_on_disk is not None:
        yield "on disk", f"{report.bytes_on_disk / 1e6:,.1f} MB"


def _expansions(report: IndexReport) -> Iterator[Row]:
    """Yield how the documents and a file of expansions fit together, and which expansions are not read to the end."""
    found = report.expanded
    if found is not None:
        yield "documents with an expansion", f"{found.documents:,}"
        for name, count, ids in (
            ("documents without one", found.without, found.without_ids),
            ("expansions without a document", found.unused, found.unused_ids),
        ):
            if count:
                yield name, f"{count:,}: {', '.join(map(one_line, ids))}{', ...' if count > len(ids) else ''}"
    if report.expansions_cut:
        yield "expansions longer than the model reads", _counted(report.expansions_cut)


def _counted(counts: Mapping[str, int]) -> str:
    """Return kinds with their numbers in words, the largest first."""
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(largest) - SHOWN_KINDS:,} more kinds" if len(largest) > SHOWN_KINDS else ""
    return ", ".join(f"{kind} {count:,}" for kind, count in largest[:SHOWN_KINDS]) + more


def _estimate(estimate: Estimate) -> list[Row]:
    if not estimate.sampled:
        return [("to encode", "nothing: all of it is there already")]
    memory = "" if estimate.memory_bytes is None else f"about {estimate.memory_bytes / 1e6:,.0f} MB"
    return [
        ("to encode", f"{estimate.tokens:,} tokens"),
        ("would take", f"about {spoken(estimate.seconds)} (judged by {estimate.sampled:,} chunks)"),
        ("memory", memory or "cannot be told on this system"),
        ("disk", f"about {estimate.disk_bytes / 1e6:,.0f} MB more"),
    ]
