"""`hybrid-search collections snapshot` and `restore`."""

from __future__ import annotations

from typing import Annotated

import typer

from hybrid_search.cli import options
from hybrid_search.cli.command import global_options
from hybrid_search.cli.console import note, out
from hybrid_search.cli.move import Replace, show_move
from hybrid_search.cli.options import CollectionName, choice
from hybrid_search.cli.progress import progress_display
from hybrid_search.cli.streams import print_json


def snapshot(
    name: CollectionName,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file to write.")],
    progress: options.Progress = "auto",
    format: options.Format = "table",
) -> None:
    """Write a collection to one file, from which any store can be given it back.

    Example: `hybrid-search collections snapshot movies movies.snapshot`
    """
    from hybrid_search.interop.snapshot import save_snapshot

    choice(format, ("table", "json"), "--format")
    with progress_display(progress, collection=name) as callbacks:
        saved = save_snapshot(name, file, settings=global_options.settings(), on_progress=callbacks.on_progress)
    if format == "json":
        print_json({**saved._asdict(), "file": str(saved.file)})
    else:
        told = f"{saved.file} has {saved.documents:,} documents in {saved.chunks:,} chunks, {saved.bytes / 1e6:,.1f} MB"
        out.print(told, soft_wrap=True, markup=False, highlight=False)


def restore(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file of `collections snapshot`.")],
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The collection.  [the one that was saved]")
    ] = None,
    replace: Replace = False,
    wait: options.Wait = 0.0,
    progress: options.Progress = "auto",
    format: options.Format = "table",
) -> None:
    """Make a collection from a file that `collections snapshot` wrote, and compare it with the file.

    Example: `hybrid-search collections restore movies.snapshot movies-2`
    """
    from hybrid_search.interop.snapshot import restore_snapshot

    choice(format, ("table", "json"), "--format")
    settings = global_options.settings()
    try:
        with progress_display(progress, file=file) as callbacks:
            report = restore_snapshot(
                file, name, replace=replace, wait_s=wait, settings=settings, on_progress=callbacks.on_progress
            )
    except KeyboardInterrupt:
        note("\nWhat was restored so far is kept. Run the same command again to finish.")
        raise
    show_move(report, format)
