"""`hybrid-search import`: a collection is filled from a file that an export wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybrid_search.cli import options
from hybrid_search.cli.command import OK, SOME_FAILED, command, global_options
from hybrid_search.cli.console import note
from hybrid_search.cli.index_view import show_report
from hybrid_search.cli.progress import progress_display

app = typer.Typer(no_args_is_help=True, help="Fill a collection from a file, without encoding anything.")


@command(app, "parquet")
def parquet(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `export parquet` wrote.")],
    collection: options.Collection,
    replace: options.Replace = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove documents that the file does not hold.")] = False,
    wait: options.Wait = 0.0,
    progress: options.Progress = "auto",
) -> None:
    """Fill a collection from a Parquet file that `export parquet` wrote. No model is needed.

    What has not changed is skipped; cut short, the same command goes on. Needs the extra 'parquet'.

    Example: `hybrid-search import parquet movies.parquet -c films`
    """
    from hybrid_search.interop.encodings import load_encodings

    settings = global_options.settings()
    try:
        with progress_display(progress) as callbacks:
            report = load_encodings(
                collection,
                file,
                settings=settings,
                replace=replace,
                prune=prune,
                wait_s=wait,
                on_progress=callbacks.on_progress,
            )
    except KeyboardInterrupt:
        less = " (leave out --replace, which would start over)" if replace else ""
        note(f"\nWhat was loaded so far is kept. Run the same command again to finish {collection!r}{less}.")
        raise
    show_report(report, progress, pruning=prune)
    raise typer.Exit(SOME_FAILED if report.failed else OK)
