"""`index --save-encodings` and `index --from-encodings`: encode once, here or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_search._util.printable import one_line
from hybrid_search.cli.command import OK, SOME_FAILED
from hybrid_search.cli.console import err, note, out
from hybrid_search.cli.progress import watching
from hybrid_search.cli.render import failures, index_summary
from hybrid_search.errors import InvalidArgument

if TYPE_CHECKING:
    from hybrid_search.settings import Settings

Save = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write the collection, vectors and all, to a Parquet file at the end; without SOURCE, do only that.",
    ),
]
Load = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Take no SOURCE: fill the collection from such a file. Needs no model."),
]


def check(save_to: Path | None, load_from: Path | None, asked: Mapping[str, object]) -> bool:
    """Whether one of the two options takes the place of indexing; what does not go with it is refused.

    Args:
        save_to: what `--save-encodings` names.
        load_from: what `--from-encodings` names.
        asked: the value of every other option that changes what is done, by its name.

    Raises:
        InvalidArgument: the options do not go together, or the file cannot be written.
    """
    # 0 and 0.0 ask for something, and are equal to False.
    given = [
        name for name, value in asked.items() if value is not None and value is not False and value not in ("", [])
    ]
    if load_from is not None:
        if save_to is not None:
            raise InvalidArgument(
                "--from-encodings and --save-encodings cannot be given together: the one file is what the other would "
                f"be. Load it first, then save: hybrid-search index --save-encodings {save_to} -c NAME"
            )
        wrong = [name for name in given if name not in ("--replace", "--prune")]
        if wrong:
            raise InvalidArgument(
                f"--from-encodings does not go with {', '.join(wrong)}: the file says what is indexed and with which "
                f"models. Write: hybrid-search index --from-encodings {load_from} -c NAME [--replace] [--prune]"
            )
        return True
    if save_to is None:
        return False
    alone = "SOURCE" not in given
    wrong = given if alone else [name for name in given if name in ("--dry-run", "--add-leg")]
    if wrong:
        raise InvalidArgument(
            f"--save-encodings{' without SOURCE' if alone else ''} does not go with {', '.join(wrong)}: it writes what "
            f"a collection holds. Write: hybrid-search index --save-encodings {save_to} -c NAME, or name a SOURCE to "
            "index first."
        )
    from hybrid_search.interop.writer import check_target

    check_target(save_to)
    return alone


def save(collection: str, file: Path, settings: Settings, progress: str) -> None:
    """Write a collection to a file, and say so."""
    from hybrid_search.interop.encodings import save_encodings

    with watching(progress) as watchers:
        saved = save_encodings(collection, file, settings=settings, on_progress=watchers.on_progress)
    counts = f"{saved.documents:,} documents in {saved.chunks:,} chunks"
    line = f"saved {counts}: {one_line(str(saved.file))}, {saved.bytes / 1e6:,.1f} MB"
    out.print(line, soft_wrap=True, markup=False)


def load(
    collection: str, file: Path, settings: Settings, progress: str, *, replace: bool, prune: bool, wait: float
) -> None:
    """Fill a collection from a file, and say what was done."""
    from hybrid_search.interop.encodings import load_encodings

    try:
        with watching(progress) as watchers:
            report = load_encodings(
                collection,
                file,
                settings=settings,
                replace=replace,
                prune=prune,
                wait_s=wait,
                on_progress=watchers.on_progress,
            )
    except KeyboardInterrupt:
        less = " (leave out --replace, which would start over)" if replace else ""
        note(f"\nWhat was loaded so far is kept. Run the same command again to finish {collection!r}{less}.")
        raise
    out.print(index_summary(report))
    if report.failed:
        err.print(failures(report), soft_wrap=True)
        if prune:
            note("--prune was skipped: a document that failed may be one that is there already.")
    raise typer.Exit(SOME_FAILED if report.failed else OK)
