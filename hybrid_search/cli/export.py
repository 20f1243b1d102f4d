"""`hybrid-search export`: a collection goes into files that others read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from hybrid_search._util.printable import one_line
from hybrid_search.cli import options
from hybrid_search.cli.command import command, global_options
from hybrid_search.cli.console import out as terminal
from hybrid_search.cli.progress import progress_display
from hybrid_search.cli.streams import print_json

app = typer.Typer(no_args_is_help=True, help="Write a collection to files, for another store or program.")

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write; an earlier export is replaced.")]
Queries = Annotated[
    Path | None, typer.Option(metavar="FILE", help='Queries to export too: JSON lines of {"_id", "text"}.')
]
Quantize = Annotated[
    str,
    typer.Option(
        metavar="8bit|splade|pyserini|FACTOR|none",
        help="How weights become whole numbers: the heaviest 255, or times 100, 51.2 or a factor, or not at all.",
    ),
]
Idf = Annotated[
    str,
    typer.Option(
        metavar="queries|documents",
        help="Which side carries the inverse document frequency, where the model needs it.",
    ),
]
Leg = Annotated[str | None, typer.Option(metavar="LEG", help="The sparse leg to export.  [sparse, or the only one]")]
Verify = Annotated[
    bool, typer.Option("--verify", help="Rank the queries over the written files alone and compare with the store.")
]


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
    terminal.print(line, soft_wrap=True, markup=False)


@command(app, "anserini")
def anserini(
    collection: options.Collection,
    out: Out,
    queries: Queries = None,
    quantize: Quantize = "8bit",
    idf: Idf = "queries",
    leg: Leg = None,
    verify: Verify = False,
    format: options.Format = "table",
    progress: options.Progress = "auto",
) -> None:
    """Write a collection for Anserini and Pyserini: words and weights as JSON lines, and topics.

    Example: `hybrid-search export anserini -c movies --out movies-anserini --queries queries.jsonl --verify`
    """
    asked = {"queries": queries, "quantize": quantize, "idf": idf, "verify": verify}
    _export("anserini", collection, out, leg, format, progress, **asked)


@command(app, "ciff")
def ciff(
    collection: options.Collection,
    out: Out,
    queries: Queries = None,
    quantize: Quantize = "8bit",
    idf: Idf = "queries",
    leg: Leg = None,
    verify: Verify = False,
    format: options.Format = "table",
    progress: options.Progress = "auto",
) -> None:
    """Write a collection as a CIFF file, an inverted index of whole numbers that PISA, Lucene, Terrier and JASS read.

    Example: `hybrid-search export ciff -c movies --out movies-ciff --queries queries.jsonl --verify`
    """
    asked = {"queries": queries, "quantize": quantize, "idf": idf, "verify": verify}
    _export("ciff", collection, out, leg, format, progress, **asked)


@command(app, "elasticsearch")
def elasticsearch(
    collection: options.Collection,
    out: Out,
    queries: Queries = None,
    idf: Idf = "queries",
    leg: Leg = None,
    semantic_text: Annotated[
        str,
        typer.Option(
            metavar="INFERENCE_ID", help="Leave the vectors to this inference endpoint of the engine: texts alone."
        ),
    ] = "",
    verify: Verify = False,
    format: options.Format = "table",
    progress: options.Progress = "auto",
) -> None:
    """Write a collection for Elasticsearch: a mapping, bulk files, and the requests of the queries.

    Texts, metadata and the vectors of all legs. `import elasticsearch` reads the files back.

    Example: `hybrid-search export elasticsearch -c movies --out movies-es --queries queries.jsonl --verify`
    """
    asked = {"queries": queries, "idf": idf, "verify": verify, "semantic_text": semantic_text}
    _export("elasticsearch", collection, out, leg, format, progress, **asked)


@command(app, "opensearch")
def opensearch(
    collection: options.Collection,
    out: Out,
    queries: Queries = None,
    idf: Idf = "queries",
    leg: Leg = None,
    form: Annotated[
        str,
        typer.Option(metavar="rank_features|seismic", help="The field of the weights: exact, or approximate search."),
    ] = "rank_features",
    verify: Verify = False,
    format: options.Format = "table",
    progress: options.Progress = "auto",
) -> None:
    """Write a collection for OpenSearch: a mapping, bulk files, the requests of the queries, and search pipelines.

    Texts, metadata and the vectors of all legs. `import opensearch` reads the files back.

    Example: `hybrid-search export opensearch -c movies --out movies-os --queries queries.jsonl --verify`
    """
    asked = {"queries": queries, "idf": idf, "verify": verify, "form": form}
    _export("opensearch", collection, out, leg, format, progress, **asked)


@command(app, "seismic")
def seismic(
    collection: options.Collection,
    out: Out,
    queries: Queries = None,
    idf: Idf = "queries",
    leg: Leg = None,
    verify: Verify = False,
    format: options.Format = "table",
    progress: options.Progress = "auto",
) -> None:
    """Write a collection for Seismic (pyseismic-lsr): words and weights as JSON lines, and queries alike.

    Example: `hybrid-search export seismic -c movies --out movies-seismic --queries queries.jsonl --verify`
    """
    _export("seismic", collection, out, leg, format, progress, queries=queries, idf=idf, verify=verify)


@command(app, "vespa")
def vespa(
    collection: options.Collection,
    out: Out,
    queries: Queries = None,
    idf: Idf = "queries",
    leg: Leg = None,
    verify: Verify = False,
    format: options.Format = "table",
    progress: options.Progress = "auto",
) -> None:
    """Write a collection for Vespa: a schema, feed files, and the requests of the queries.

    Example: `hybrid-search export vespa -c movies --out movies-vespa --queries queries.jsonl --verify`
    """
    _export("vespa", collection, out, leg, format, progress, queries=queries, idf=idf, verify=verify)


def _export(name: str, collection: str, out: Path, leg: str | None, shown: str, progress: str, **asked: Any) -> None:
    """Write an export and say what it holds."""
    from hybrid_search.interop.export.job import ExportOptions
    from hybrid_search.interop.export.run import export_collection

    as_json = options.choice(shown, ("table", "json"), "--format") == "json"
    wanted = ExportOptions(**asked)
    settings = global_options.settings()
    with progress_display(progress) as callbacks:
        told = callbacks.on_progress
        report = export_collection(collection, name, out, options=wanted, leg=leg, settings=settings, on_progress=told)
    if as_json:
        print_json(report)
        return
    for line in _report_lines(report, out):
        terminal.print(line, soft_wrap=True, markup=False)


def _report_lines(report: Mapping[str, Any], out: Path) -> list[str]:
    lines = [f"exported {report['chunks']:,} chunks and {report['queries']:,} queries: {one_line(str(out))}"]
    for kind, count in report["lost"].items():
        if count:
            names = ", ".join(cast("list[str]", report["named"].get(kind, []))[:3])
            lines.append(f"  {kind.replace('_', ' ')}: {count:,}{f' ({names})' if names else ''}")
    if "verify" in report:
        found = report["verify"]
        lines.append(f"overlap of the first ten: {found['overlap@10']:.4f}, {found['queries']:,} queries")
    return [*lines, f"how to load and search it: {one_line(str(out / 'README.md'))}"]
