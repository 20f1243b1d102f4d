"""`hybrid-search index`."""

from __future__ import annotations

from typing import Annotated

import typer

from hybrid_search.cli import options
from hybrid_search.cli.options import names
from hybrid_search.cli.progress import watching
from hybrid_search.cli.render import failures, index_summary
from hybrid_search.cli.verb import OK, SOME_FAILED, err, given, note, out


def index(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Files, folders, BEIR folders, or - for stdin.")
    ],
    collection: options.Collection,
    profile: options.Profile = "auto",
    sparse: options.Sparse = None,
    dense: options.Dense = None,
    chunk_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tokens a chunk may take; 0: one chunk a document.  [all the models read]"),
    ] = None,
    overlap_tokens: Annotated[int | None, typer.Option(metavar="N", help="Tokens that neighbours share.  [0]")] = None,
    id_field: Annotated[str | None, typer.Option(metavar="NAME", help="The field that holds the id.")] = None,
    text_fields: Annotated[
        str, typer.Option(metavar="A,B", help="The fields to search, such as title,text; the rest is metadata.")
    ] = "",
    glob: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Of a folder only these, e.g. '*.md'.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Build anew beside the old one, then swap.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove documents that the sources no longer hold.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and cut everything, write nothing.")] = False,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="Wait for another job on this collection.")] = 0.0,
    progress: Annotated[str, typer.Option(metavar="auto|bar|json|none")] = "auto",
) -> None:
    """Index files into a collection. What has not changed is skipped; run it again any time.

    Example: `hybrid-search index notes/ report.md -c notes`
    """
    from hybrid_search.corpus.fields import FieldMap
    from hybrid_search.indexer import Indexer

    fields = FieldMap(id_field=id_field, text_fields=names(text_fields))
    indexer = Indexer.open(
        collection,
        settings=given.settings(),
        profile=profile,
        sparse=sparse,
        dense=dense,
        chunk_tokens=chunk_tokens,
        overlap_tokens=overlap_tokens,
        replace=replace,
        wait_s=wait,
    )
    try:
        with watching(progress) as watchers:
            report = indexer.index(
                sources, fields=fields, globs=glob or (), prune=prune, dry_run=dry_run, **watchers._asdict()
            )
    except KeyboardInterrupt:
        less = " (leave out --replace, which would start over)" if replace else ""
        note(f"\nWhat was indexed so far is kept. Run the same command again to finish {collection!r}{less}.")
        raise
    out.print(index_summary(report))
    if report.failed:
        err.print(failures(report), soft_wrap=True)
        if prune:
            note("--prune was skipped: a document that failed may be one that is there already.")
    raise typer.Exit(SOME_FAILED if report.failed else OK)
