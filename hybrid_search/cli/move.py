"""`hybrid-search collections push`, `pull` and `copy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_search.cli import options
from hybrid_search.cli.command import global_options
from hybrid_search.cli.console import note, out
from hybrid_search.cli.options import CollectionName, choice
from hybrid_search.cli.progress import progress_display
from hybrid_search.cli.streams import print_json
from hybrid_search.types import in_order

if TYPE_CHECKING:
    from hybrid_search.interop.move import MoveReport

To = Annotated[str, typer.Option("--to", metavar="STORE", help="The other store: a folder, or a server's URL.")]
From = Annotated[str, typer.Option("--from", metavar="STORE", help="The other store: a folder, or a server's URL.")]
NewName = Annotated[str | None, typer.Option("--as", metavar="NEW", help="The name of the copy.  [NAME]")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Put the copy in the place of another collection of its name, at the end.")
]


def push(
    name: CollectionName,
    to: To,
    as_: NewName = None,
    replace: Replace = False,
    wait: options.Wait = 0.0,
    progress: options.Progress = "auto",
    format: options.Format = "table",
) -> None:
    """Copy a collection to another store, and compare the copy before it is published.

    Nothing is encoded again. Cut short, the same command goes on where it stopped.

    Example: `hybrid-search collections push movies --to http://localhost:6333`
    """
    _move(name, as_, None, to, replace, wait, progress, format)


def pull(
    name: CollectionName,
    from_: From,
    as_: NewName = None,
    replace: Replace = False,
    wait: options.Wait = 0.0,
    progress: options.Progress = "auto",
    format: options.Format = "table",
) -> None:
    """Copy a collection from another store to this one, and compare the copy before it is published.

    Nothing is encoded again. Cut short, the same command goes on where it stopped.

    Example: `hybrid-search collections pull movies --from http://localhost:6333`
    """
    _move(name, as_, from_, None, replace, wait, progress, format)


def copy(
    name: CollectionName,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The name of the copy.")],
    replace: Replace = False,
    wait: options.Wait = 0.0,
    progress: options.Progress = "auto",
    format: options.Format = "table",
) -> None:
    """Copy a collection to another name in the same store.

    Nothing is encoded again. Cut short, the same command goes on where it stopped.

    Example: `hybrid-search collections copy movies movies-2`
    """
    _move(name, new, None, None, replace, wait, progress, format)


def _move(
    name: str,
    new: str | None,
    source: str | None,
    target: str | None,
    replace: bool,
    wait_s: float,
    progress: str,
    format: str,
) -> None:
    from hybrid_search.interop.move import move

    choice(format, ("table", "json"), "--format")
    options = {"replace": replace, "wait_s": wait_s, "settings": global_options.settings()}
    try:
        with progress_display(progress, collection=name) as callbacks:
            report = move(name, new, source=source, target=target, on_progress=callbacks.on_progress, **options)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        note(f"\nWhat was copied so far is kept. Run the same command again to finish {new or name!r}.")
        raise
    show_move(report, format)


def show_move(report: MoveReport, format: str) -> None:
    """Print what was copied, as a table or as JSON, and what differs and may on stderr."""
    if format == "json":
        print_json(report._asdict())
    else:
        out.print(_told(report), soft_wrap=True, markup=False, highlight=False)
    for line in report.notes:
        note(f"Note: {line}.")


def _told(report: MoveReport) -> str:
    """Return in words what was copied and what was compared."""
    legs = ", ".join(
        f"{leg} {report.vectors[leg]} vectors and {report.searches[leg]} searches" for leg in in_order(report.vectors)
    )
    there = report.documents - report.written
    lines = [
        f"{report.name} in {report.target} is {report.collection} of {report.source} now.",
        f"{report.documents:,} documents in {report.chunks:,} chunks: {report.written:,} written, {there:,} kept"
        + (f", {report.removed:,} removed" if report.removed else "")
        + f", in {report.seconds:.1f} s",
        f"the same on both sides: all payloads (checksum {report.checksum}); of a sample {legs}",
    ]
    return "\n".join(lines)
