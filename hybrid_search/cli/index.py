"""`hybrid-search index`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from hybrid_search.cli import encodings, options
from hybrid_search.cli.command import OK, SOME_FAILED, given
from hybrid_search.cli.console import err, note, out
from hybrid_search.cli.options import device_of, names, precision_of, sparsity_of
from hybrid_search.cli.progress import ended, watching
from hybrid_search.cli.render import failures, index_summary, replacements
from hybrid_search.cli.watch import follow_sources
from hybrid_search.errors import InvalidArgument
from hybrid_search.manifest import Precision, Sparsity
from hybrid_search.types import Kind

if TYPE_CHECKING:
    from hybrid_search.settings import Settings

KINDS: tuple[Kind, ...] = get_args(Kind)


def index(
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
    add_leg: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=MODEL",
            help="Take no SOURCE: encode the stored texts with one more model, as a leg beside the others. "
            "Where the model gives both vectors, MODEL:dense takes the dense ones.",
        ),
    ] = None,
    save_encodings: encodings.Save = None,
    from_encodings: encodings.Load = None,
    chunk_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tokens a chunk may take; 0: one chunk a document.  [all the models read]"),
    ] = None,
    overlap_tokens: Annotated[int | None, typer.Option(metavar="N", help="Tokens that neighbours share.  [0]")] = None,
    layout: options.Layout = None,
    id_field: Annotated[str | None, typer.Option(metavar="NAME", help="The field that holds the id.")] = None,
    text_fields: Annotated[
        str, typer.Option(metavar="A,B", help="The fields to search, such as title,text; the rest is metadata.")
    ] = "",
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The encoding of text files that are no UTF-8, such as cp1252.  [guessed, each file]"
        ),
    ] = None,
    glob: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Of a folder only these, e.g. '*.md'.")
    ] = None,
    follow_links: Annotated[
        bool,
        typer.Option("--follow-links", help="Read what links in a folder lead to outside of it, too."),
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Build anew beside the old one, then swap.")] = False,
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
        bool, typer.Option("--dry-run", help="Tell what would be done, and its time, memory and disk.")
    ] = False,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="Wait for another job on this collection.")] = 0.0,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes that encode.")] = 1,
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
    progress: Annotated[str, typer.Option(metavar="auto|bar|json|none")] = "auto",
) -> None:
    """Index files into a collection. What has not changed is skipped; run it again any time.

    Example: `hybrid-search index notes/ report.md -c notes`
    """
    from hybrid_search.collection.models import ModelRequest
    from hybrid_search.corpus.fields import FieldMap
    from hybrid_search.indexer import Indexer
    from hybrid_search.indexing.memory import parse_size
    from hybrid_search.indexing.ray_driver import index_on_ray

    chosen, sparsity = precision_of(precision), sparsity_of(max_active_dims, min_weight)
    settings = given.settings(device=device_of(device))
    asked: dict[str, object] = {"SOURCE": sources, "--profile": None if profile == "auto" else profile}
    asked |= {"--sparse": sparse, "--dense": dense, "--legs": legs, "--precision": precision, "--device": device}
    asked |= {"--max-active-dims": max_active_dims, "--min-weight": min_weight, "--chunk-tokens": chunk_tokens}
    asked |= {"--overlap-tokens": overlap_tokens, "--id-field": id_field, "--text-fields": text_fields}
    asked |= {"--encoding": encoding, "--glob": glob, "--follow-links": follow_links}
    asked |= {"--layout": layout, "--add-leg": add_leg, "--replace": replace, "--prune": prune, "--dry-run": dry_run}
    if encodings.check(save_encodings, from_encodings, asked):
        if from_encodings is not None:
            encodings.load(collection, from_encodings, settings, progress, replace=replace, prune=prune, wait=wait)
        elif save_encodings is not None:
            encodings.save(collection, save_encodings, settings, progress)
        return
    if add_leg is not None:
        others = (sources, sparse, dense, legs, chunk_tokens, overlap_tokens, id_field, text_fields, encoding, glob)
        if any(others) or follow_links or layout or profile != "auto" or replace or prune or dry_run or watch:
            raise InvalidArgument(
                "--add-leg takes -c, --precision, --device, --max-active-dims, --min-weight, --wait and --progress "
                "only: it reads the texts that are stored."
            )
        return _add_leg(collection, add_leg, chosen, sparsity, settings, wait, progress)
    if not sources:
        raise InvalidArgument("There is no SOURCE. Name files or folders to index, or - for stdin.")
    if watch and (replace or dry_run or "-" in sources):
        raise InvalidArgument(
            "--watch goes without --replace, --dry-run and stdin (-). Rebuild first, then follow with --watch."
        )
    if ray is not None and (dry_run or watch or workers != 1 or max_memory):
        raise InvalidArgument(
            "--dry-run, --watch, --workers and --max-memory are for work on this machine; leave --ray out. "
            "A cluster has as many workers as its CPUs or GPUs."
        )
    wanted_legs = None if legs is None else names(legs)
    fields = FieldMap(id_field=id_field, text_fields=names(text_fields), encoding=encoding or "")
    indexer = Indexer.open(
        collection,
        settings=settings,
        profile=profile,
        sparse=sparse,
        dense=dense,
        legs=wanted_legs,
        precision=chosen,
        sparsity=sparsity,
        chunk_tokens=chunk_tokens,
        overlap_tokens=overlap_tokens,
        layout=layout,
        replace=replace,
        wait_s=wait,
    )
    how: dict[str, Any] = {"fields": fields, "globs": glob or (), "workers": workers, "follow_links": follow_links}
    how["max_memory"] = None if max_memory is None else parse_size(max_memory)
    if watch:
        return follow_sources(indexer, sources, settings, progress, prune=prune, **how)
    try:
        with watching(progress, collection=collection, sources=sources) as watchers:
            if ray is not None:
                report = index_on_ray(
                    collection,
                    sources,
                    ray,
                    asked=ModelRequest(
                        profile, {"sparse": sparse, "dense": dense}, wanted_legs, chosen, sparsity, layout
                    ),
                    chunk_tokens=chunk_tokens,
                    overlap_tokens=overlap_tokens,
                    replace=replace,
                    prune=prune,
                    fields=fields,
                    globs=glob or (),
                    follow_links=follow_links,
                    settings=settings,
                    **watchers._asdict(),
                )
            else:
                report = indexer.index(sources, prune=prune, dry_run=dry_run, **how, **watchers._asdict())
    except KeyboardInterrupt:
        note(f"\nWhat was indexed so far is kept. Run the same command again to finish {collection!r}.")
        raise
    ended(progress, report)
    out.print(index_summary(report))
    if report.replaced and progress != "json":
        err.print(replacements(report), soft_wrap=True)
    if report.failed and progress != "json":
        err.print(failures(report), soft_wrap=True)
        if prune:
            note("--prune was skipped: a document that failed may be one that is there already.")
    if save_encodings is not None:
        encodings.save(collection, save_encodings, settings, progress)
    raise typer.Exit(SOME_FAILED if report.failed else OK)


def _add_leg(
    collection: str,
    asked: str,
    precision: Precision | None,
    sparsity: Sparsity | None,
    settings: Settings,
    wait: float,
    progress: str,
) -> None:
    from hybrid_search.indexing.add_leg import add_leg

    leg, model, kind = _leg_and_model(asked)
    try:
        with watching(progress, collection=collection, leg=leg) as watchers:
            report = add_leg(
                collection,
                leg,
                model,
                kind=kind,
                precision=precision,
                sparsity=sparsity,
                settings=settings,
                wait_s=wait,
                **watchers._asdict(),
            )
    except KeyboardInterrupt:
        note(f"\nWhat was encoded so far is kept. Run the same command again to finish the leg {leg!r}.")
        raise
    ended(progress, report)
    out.print(index_summary(report))
    note(f"The leg {leg!r} stands beside the others. Search it: --mode {leg}. See old and new side by side:")
    note(f"  hybrid-search evaluate DATASET -c {collection}")
    note(f"Give it the place of another: hybrid-search collections swap-leg {collection} OLD {leg}")


def _leg_and_model(asked: str) -> tuple[str, str, Kind | None]:
    """Read `name=model`, `name=model:sparse` or `name=model:dense`.

    >>> _leg_and_model("new=acme/both:dense")
    ('new', 'acme/both', 'dense')
    """
    leg, _, model = asked.partition("=")
    if not leg or not model:
        raise InvalidArgument(f"--add-leg is {asked!r}; write NAME=MODEL, such as --add-leg new=./my-model.")
    for kind in KINDS:
        if model.endswith(f":{kind}"):
            return leg, model.removesuffix(f":{kind}"), kind
    return leg, model, None
