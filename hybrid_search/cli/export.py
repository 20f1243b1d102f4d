"""`hybrid-search export`: a collection goes into a file that others read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybrid_search._util.printable import one_line
from hybrid_search.cli import options
from hybrid_search.cli.command import command, global_options
from hybrid_search.cli.console import out
from hybrid_search.cli.progress import progress_display

app = typer.Typer(no_args_is_help=True, help="Write a collection to a file, for another store or program.")


@command(app, "parquet")
def parquet(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; one of that name is replaced.")],
    collection: options.Collection,
    progress: options.Progress = "auto",
) -> None:
    """Write a collection's texts, vectors and manifest to a Parquet file, one row a chunk. No model is needed.

    `import parquet` fills a collection from it. Needs the extra 'parquet'.

    Example: `hybrid-search export parquet movies.parquet -c movies`
    """
    from hybrid_search.interop.encodings import save_encodings

    with progress_display(progress) as callbacks:
        saved = save_encodings(collection, file, settings=global_options.settings(), on_progress=callbacks.on_progress)
    counts = f"{saved.documents:,} documents in {saved.chunks:,} chunks"
    line = f"saved {counts}: {one_line(str(saved.file))}, {saved.bytes / 1e6:,.1f} MB"
    out.print(line, soft_wrap=True, markup=False)
