"""`hybrid-search import`: a collection is filled from files that hold vectors, ours or those of others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from hybrid_search.cli import completion, options
from hybrid_search.cli.command import OK, SOME_FAILED, command, global_options
from hybrid_search.cli.console import note
from hybrid_search.cli.index_view import show_report
from hybrid_search.cli.progress import progress_display
from hybrid_search.errors import InvalidArgument
from hybrid_search.indexing.progress import IndexReport

if TYPE_CHECKING:
    from hybrid_search.collection.models import OnDownload
    from hybrid_search.interop.import_anserini import ExportReport
    from hybrid_search.interop.term_legs import Idf

app = typer.Typer(
    no_args_is_help=True, help="Fill a collection from files that hold vectors, without encoding anything."
)

Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="The model whose vocabulary the tokens are of; it encodes queries.",
        autocompletion=completion.sparse_models,
    ),
]
Terms = Annotated[
    str | None,
    typer.Option(
        metavar="words|wordpieces|auto",
        help="Tokens of any vocabulary, and what queries are cut into; auto: wordpieces where a token has '##'.",
    ),
]
Scale = Annotated[
    float | None, typer.Option(metavar="N", help="Divide the weights by N, as 100 for weights times a hundred.")
]
IdfSide = Annotated[
    str | None,
    typer.Option(
        metavar="queries|documents",
        help="Who has the inverse document frequency: the documents' weights, or queries (the store multiplies).",
    ),
]
Field = Annotated[
    str | None,
    typer.Option(metavar="FIELD", help="The field of the weights, in files that are not ours.  [sparse]"),
]
BulkFiles = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Bulk files, also gzip; of a folder its *.ndjson.")
]
Prune = Annotated[bool, typer.Option("--prune", help="Remove documents that the files do not hold.")]


@command(app, "parquet")
def parquet(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `export parquet` wrote.")],
    collection: options.Collection,
    replace: options.Replace = False,
    prune: Prune = False,
    wait: options.Wait = 0.0,
    progress: options.Progress = "auto",
) -> None:
    """Fill a collection from a Parquet file that `export parquet` wrote. No model is needed.

    What has not changed is skipped; cut short, the same command goes on. Needs the extra 'parquet'.

    Example: `hybrid-search import parquet movies.parquet -c films`
    """
    from hybrid_search.interop.encodings import load_encodings

    def job(*, on_download: OnDownload, **options: Any) -> IndexReport:
        return load_encodings(collection, file, **options)  # nothing is downloaded: no model is needed

    _run(job, collection, progress, replace=replace, prune=prune, wait_s=wait)


@command(app, "anserini")
def anserini(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="JSON lines, also gzip; of a folder its *.json and *.jsonl.")
    ],
    collection: options.Collection,
    model: Model = None,
    terms: Terms = None,
    scale: Scale = None,
    idf: IdfSide = None,
    replace: options.Replace = False,
    prune: Prune = False,
    wait: options.Wait = 0.0,
    progress: options.Progress = "auto",
) -> None:
    """Fill a collection from Anserini's JSON vectors: how learned sparse models are handed on. Nothing is encoded.

    A line is `{"id": "7", "contents": "A boxer rises.", "vector": {"boxer": 31, "rises": 7}}`. What has not changed
    is skipped; cut short, the same command goes on.

    Example: `hybrid-search import anserini msmarco-deepimpact/ -c impacts`
    """
    from hybrid_search.interop.import_anserini import import_anserini

    job = partial(
        import_anserini,
        collection,
        files,
        model=_model(model, terms),
        scale=scale,
        idf=cast("Idf | None", idf),
        on_report=_note_report,
    )
    _run(job, collection, progress, replace=replace, prune=prune, wait_s=wait)


@command(app, "ciff")
def ciff(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CIFF file of any engine, also .gz.")],
    collection: options.Collection,
    corpus: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='The documents\' texts: JSON lines of {"_id", "title", "text"}.'),
    ] = None,
    model: Model = None,
    terms: Terms = None,
    scale: Scale = None,
    idf: IdfSide = None,
    replace: options.Replace = False,
    prune: Prune = False,
    wait: options.Wait = 0.0,
    progress: options.Progress = "auto",
) -> None:
    """Fill a collection from a CIFF file, the inverted index that search engines exchange. Nothing is encoded.

    The frequency of a term in a document is its weight. The file has no texts; --corpus adds them, so that a dense leg
    can be added, too. What has not changed is skipped; cut short, the same command goes on.

    Example: `hybrid-search import ciff index.ciff -c impacts --corpus corpus.jsonl`
    """
    from hybrid_search.interop.import_ciff import import_ciff

    job = partial(
        import_ciff,
        collection,
        file,
        corpus=corpus,
        model=_model(model, terms),
        scale=scale,
        idf=cast("Idf | None", idf),
        on_report=_note_report,
    )
    _run(job, collection, progress, replace=replace, prune=prune, wait_s=wait)


@command(app, "elasticsearch")
def elasticsearch(
    files: BulkFiles,
    collection: options.Collection,
    field: Field = None,
    model: Model = None,
    terms: Terms = None,
    replace: options.Replace = False,
    prune: Prune = False,
    wait: options.Wait = 0.0,
    progress: options.Progress = "auto",
) -> None:
    """Fill a collection from the bulk files that `export elasticsearch` wrote. Nothing is encoded.

    Texts, metadata and the vectors of all legs; `mapping.json` beside the files says what they are. What has not
    changed is skipped; cut short, the same command goes on.

    Example: `hybrid-search import elasticsearch movies-es/bulk-*.ndjson -c films`
    """
    _bulk(files, collection, field, _model(model, terms), replace, prune, wait, progress)


@command(app, "opensearch")
def opensearch(
    files: BulkFiles,
    collection: options.Collection,
    field: Field = None,
    model: Model = None,
    terms: Terms = None,
    replace: options.Replace = False,
    prune: Prune = False,
    wait: options.Wait = 0.0,
    progress: options.Progress = "auto",
) -> None:
    """Fill a collection from the bulk files that `export opensearch` wrote. Nothing is encoded.

    As `import elasticsearch`; words that were escaped or numbered are read back.

    Example: `hybrid-search import opensearch movies-os/bulk-*.ndjson -c films`
    """
    _bulk(files, collection, field, _model(model, terms), replace, prune, wait, progress)


def _bulk(
    files: list[Path],
    collection: str,
    field: str | None,
    model: str | None,
    replace: bool,
    prune: bool,
    wait: float,
    progress: str,
) -> None:
    """Fill a collection from bulk files of either engine."""
    from hybrid_search.interop.import_bulk import import_bulk

    job = partial(import_bulk, collection, files, field=field, model=model)
    _run(job, collection, progress, replace=replace, prune=prune, wait_s=wait)


def _model(model: str | None, terms: str | None) -> str | None:
    """Return the model of the terms, as the options name it.

    Raises:
        InvalidArgument: both options are given, or there are no such terms.
    """
    if terms is None:
        return model
    if model is not None:
        raise InvalidArgument(f"--model {model} says whose vocabulary the tokens are of: leave --terms out.")
    kinds = {"auto": "auto", "words": "terms/words", "wordpieces": "terms/wordpieces"}
    if terms not in kinds:
        raise InvalidArgument(f"--terms is {terms!r}; take one of: {', '.join(kinds)}.")
    return kinds[terms]


def _note_report(report: ExportReport) -> None:
    """Tell what an export says of itself and is heeded."""
    leg, escaped = report.leg, ", tokens and ids escaped" if report.escaped else ""
    idf = f", the inverse document frequency in {leg.idf}" if leg.idf else ""
    passages = ", ids of passages" if report.passages else ""
    note(f"{report.path} says: model {leg.model}, weights times {leg.scale:g}{idf}{passages}{escaped}.")


def _run(
    job: Callable[..., IndexReport],
    collection: str,
    progress: str,
    *,
    replace: bool,
    prune: bool,
    wait_s: float,
) -> None:
    """Run an import with its progress shown, print its report, and exit with its code.

    Args:
        job: takes the settings, these options and the callbacks.
        collection: that is filled.
        progress: as it is to be shown.
        replace: build the collection anew.
        prune: remove documents that the files do not hold.
        wait_s: seconds to wait for another job on the collection.
    """
    settings = global_options.settings()
    try:
        with progress_display(progress) as callbacks:
            options = {"settings": settings, "replace": replace, "prune": prune, "wait_s": wait_s}
            report = job(**options, **callbacks._asdict())
    except KeyboardInterrupt:
        less = " (leave out --replace, which would start over)" if replace else ""
        note(f"\nWhat was loaded so far is kept. Run the same command again to finish {collection!r}{less}.")
        raise
    show_report(report, progress, pruning=prune)
    raise typer.Exit(SOME_FAILED if report.failed else OK)
