"""`hybrid-search index`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hybrid_search.cli import old_flags, options
from hybrid_search.cli.command import OK, SOME_FAILED, global_options
from hybrid_search.cli.console import note
from hybrid_search.cli.index_job import IndexJob, run_here, run_on_ray, run_once
from hybrid_search.cli.index_view import show_report
from hybrid_search.cli.options import device_of, names, precision_of, sparsity_of
from hybrid_search.cli.watch import watch_sources
from hybrid_search.errors import InvalidArgument


def index(
    context: typer.Context,
    collection: options.Collection,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE", help="Files, folders, BEIR folders, or - for stdin: JSON, CSV or text."),
    ] = None,
    profile: options.Profile = "auto",
    sparse: options.Sparse = None,
    dense: options.Dense = None,
    legs: options.Legs = None,
    precision: options.Precision = None,
    device: options.Device = None,
    max_active_dims: options.MaxActiveDims = "",
    min_weight: options.MinWeight = "",
    chunk_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tokens a chunk may take; 0: one chunk a document.  [all the models read]"),
    ] = None,
    overlap_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Tokens that neighbouring chunks share.  [0]")
    ] = None,
    layout: options.Layout = None,
    expand_with: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|MODEL",
            help="What sparse legs encode besides the texts: a file of predicted queries by document, or a model that "
            "predicts them (docT5query).",
        ),
    ] = None,
    expand_samples: Annotated[
        int | None, typer.Option(metavar="N", help="The number of queries that such a model predicts a chunk.  [40]")
    ] = None,
    id_field: Annotated[str | None, typer.Option(metavar="NAME", help="The field that holds the id.")] = None,
    text_fields: Annotated[
        str, typer.Option(metavar="A,B", help="The fields to search, such as title,text; the rest is metadata.")
    ] = "",
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The encoding of text files that are not UTF-8, such as cp1252.  [guessed, each file]"
        ),
    ] = None,
    glob: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Read only these files of a folder, such as '*.md'; may be repeated."),
    ] = None,
    follow_links: Annotated[
        bool,
        typer.Option("--follow-links", help="Read also what links in a folder lead to outside of it."),
    ] = False,
    replace: options.Replace = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove documents that the sources no longer hold.")] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Go on until Ctrl-C: index again whenever files change, and remove documents that vanish from the "
            "sources. In a collection that holds documents of other sources too it removes nothing without --prune. "
            "Needs the extra 'watch'.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Write nothing; tell what would be done, and the time, memory and disk it would take."
        ),
    ] = False,
    wait: options.Wait = 0.0,
    workers: Annotated[int, typer.Option(metavar="N", help="The number of processes that encode.")] = 1,
    max_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory that the job may hold, such as 2GB (Linux).  [no cap]")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Work on a Ray cluster, into a Qdrant server: auto, HOST:PORT, or local for one on this machine.",
        ),
    ] = None,
    progress: options.Progress = "auto",
    add_leg: old_flags.AddLeg = None,
    save_encodings: old_flags.SaveEncodings = None,
    from_encodings: old_flags.FromEncodings = None,
) -> None:
    """Index files into a collection. What has not changed is skipped; run it again any time.

    Example: `hybrid-search index notes/ report.md -c notes`
    """
    from hybrid_search.collection.expansion import ExpandWith
    from hybrid_search.corpus.fields import FieldMap

    if old_flags.run_instead(context):
        return
    local = bool(dry_run or watch or workers != 1 or max_memory)
    sources = _checked(sources, watch=watch, rebuild=replace or dry_run, local=local, ray=ray)
    settings = global_options.settings(device=device_of(device))
    build: dict[str, Any] = {"profile": profile, "sparse": sparse, "dense": dense, "layout": layout}
    build |= {"legs": None if legs is None else names(legs), "precision": precision_of(precision)}
    build |= {"sparsity": sparsity_of(max_active_dims, min_weight), "replace": replace}
    build |= {"chunk_tokens": chunk_tokens, "overlap_tokens": overlap_tokens}
    build |= {"expand_with": ExpandWith.of(expand_with, expand_samples)}
    fields = FieldMap(id_field=id_field, text_fields=names(text_fields), encoding=encoding or "")
    read = {"fields": fields, "globs": glob or (), "follow_links": follow_links}
    if ray is not None:
        run = run_on_ray(collection, sources, settings, build, read, ray)
    else:
        here: dict[str, Any] = {"wait_s": wait, "dry_run": dry_run, "workers": workers, "max_memory": max_memory}
        run = run_here(collection, sources, settings, build, read, **here)
    job = IndexJob(collection, sources, settings, run, prune, progress)
    if watch:
        watch_sources(job, glob or ())
    else:
        _index_once(job, context)


def _checked(sources: list[str] | None, *, watch: bool, rebuild: bool, local: bool, ray: str | None) -> list[str]:
    """Return the sources of options that go together.

    Args:
        sources: as they were named.
        watch: whether `--watch` is given.
        rebuild: whether an option is given that a job does once, not at every change.
        local: whether an option is given that is for work on this machine.
        ray: the address of the cluster.

    Raises:
        InvalidArgument: there is no source, or options do not go together.
    """
    if not sources:
        raise InvalidArgument("There is no SOURCE. Name files or folders to index, or - for stdin.")
    if watch and (rebuild or "-" in sources):
        raise InvalidArgument(
            "--watch goes without --replace, --dry-run and stdin (-). Rebuild first, then go on with --watch."
        )
    if ray is not None and local:
        raise InvalidArgument(
            "--dry-run, --watch, --workers and --max-memory are for work on this machine; leave --ray out. "
            "A cluster has as many workers as its CPUs or GPUs."
        )
    return sources


def _index_once(job: IndexJob, context: typer.Context) -> None:
    try:
        report = run_once(job, prune=job.prune)
    except KeyboardInterrupt:
        note(f"\nWhat was indexed so far is kept. Run the same command again to finish {job.collection!r}.")
        raise
    show_report(report, job.progress, pruning=job.prune)
    old_flags.export_too(context)
    raise typer.Exit(SOME_FAILED if report.failed else OK)
