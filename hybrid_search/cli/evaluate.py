"""`hybrid-search evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_search.cli import options
from hybrid_search.cli.command import FAILED, SOME_FAILED, global_options
from hybrid_search.cli.console import err, note, out
from hybrid_search.cli.dataset_options import Dataset, Documents, Qrels, Split, Topics, tell_fetching
from hybrid_search.cli.evaluate_gate import read_gate
from hybrid_search.cli.evaluate_view import report_table
from hybrid_search.cli.index_view import failures
from hybrid_search.cli.options import choice, device_of, names
from hybrid_search.cli.progress import progress_display
from hybrid_search.cli.search_options import takes_search_options
from hybrid_search.cli.streams import print_json
from hybrid_search.errors import InvalidArgument

if TYPE_CHECKING:
    from hybrid_search.evaluation.cached_collections import Kept
    from hybrid_search.evaluation.comparison import Comparison
    from hybrid_search.evaluation.datasets import Parts
    from hybrid_search.evaluation.report import Report
    from hybrid_search.search.request import Options
    from hybrid_search.settings import Settings


@takes_search_options("fusion", "rrf_k", "weights", "rerank", "rerank_depth")
def evaluate(
    *,
    dataset: Dataset = None,
    split: Split = None,
    topics: Topics = None,
    qrels: Qrels = None,
    documents: Documents = None,
    collection: Annotated[
        str | None,
        options.collection_option("Judge this collection, instead of building one."),
    ] = None,
    profile: options.Profile = "auto",
    sparse: options.Sparse = None,
    dense: options.Dense = None,
    legs: options.Legs = None,
    device: options.Device = None,
    modes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Modes to judge: bm25, a leg, hybrid, sparse+dense; hybrid+rerank, hybrid+auto, hybrid:all.  [usual]",
        ),
    ] = None,
    search: Options,
    measures: Annotated[
        str, typer.Option(metavar="A,B", help="Measures to compute, as ir_measures writes them.")
    ] = "nDCG@10,R@100,RR@10",
    runs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a TREC run for each mode into this folder.")
    ] = None,
    run_depth: Annotated[
        int | None,
        typer.Option(metavar="N", help="Documents for each query in the runs, which are what is measured.  [1000]"),
    ] = None,
    query_vectors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Search the sparse leg for the weights of terms that a file has for each query."
        ),
    ] = None,
    from_run: Annotated[
        list[Path] | None,
        typer.Option("--from-run", metavar="FILE", help="Judge a TREC run of another engine, too; may be repeated."),
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Take no DATASET: remove what evaluations have built, and say how much.")
    ] = False,
    fail_under: Annotated[
        str, typer.Option(metavar="MEASURE=VALUE", help="Exit with 3 if hybrid, or else the best mode, is below.")
    ] = "",
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Exit with 3 if a mean is below that in the JSON of an earlier evaluation."),
    ] = None,
    max_regression: Annotated[
        float | None, typer.Option(metavar="X", help="How far below the --baseline a mean may fall.  [0.01]")
    ] = None,
    details: Annotated[
        bool,
        typer.Option(
            "--details", help="Also: latency, recall of the approximate dense search, best order of the documents."
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw gains, recall, latency and ranks into a .html, .svg or .png."),
    ] = None,
    format: options.Format = "table",
    progress: options.Progress = "auto",
) -> None:
    """Judge sparse, dense, hybrid and BM25 on a dataset with known answers.

    What it has to build for that lies in the cache folder, apart from your collections.

    Example: `hybrid-search evaluate datasets/movies --profile bundled`
    """
    from hybrid_search.evaluation.experiment import RUN_DEPTH
    from hybrid_search.evaluation.experiment import evaluate as run_experiment

    choice(format, ("table", "json"), "--format")
    settings = global_options.settings(device=device_of(device))
    if clear:
        return _clear(dataset, settings)
    _check_plot(plot)
    parts: Parts = {"split": split, "topics": topics, "qrels": qrels, "documents": documents}
    tell_fetching(dataset, parts)
    gate = read_gate(fail_under, baseline, max_regression)
    with progress_display(progress) as callbacks:
        report = run_experiment(
            dataset,
            settings=settings,
            parts=parts,
            collection=collection,
            profile=profile,
            sparse=sparse,
            dense=dense,
            legs=None if legs is None else names(legs),
            modes=None if modes is None else names(modes),
            search=search,
            measures=list(dict.fromkeys([*names(measures), *gate.thresholds])),
            runs=runs,
            run_depth=RUN_DEPTH if run_depth is None else run_depth,
            query_vectors=query_vectors,
            outside_runs=from_run or (),
            details=details,
            pictures=plot is not None,
            earlier=gate.earlier,
            watch=callbacks._asdict(),
        )
    tell_built(report, settings)
    _show(report, format, plot)
    if gate.is_failed(report):
        raise typer.Exit(FAILED)
    if report.lacking:
        raise typer.Exit(SOME_FAILED)


def _check_plot(plot: Path | None) -> None:
    """Refuse a picture that cannot be drawn, before any work is done."""
    if plot is not None:
        from hybrid_search.evaluation.plots import check_plot

        check_plot(plot)


def _show(report: Report, format: str, plot: Path | None) -> None:
    """Print the report, and draw its pictures where a file is named."""
    if plot is not None:
        from hybrid_search.evaluation.plot_data import plot_data
        from hybrid_search.evaluation.plots import write_plot

        write_plot(plot_data(report, report.ranks), plot)
        note(f"Drawn into {plot}.")
    if format == "json":
        print_json(report.to_dict())
    else:
        out.print(report_table(report, out.width))


def tell_built(report: Report | Comparison, settings: Settings) -> None:
    """Say on stderr why which models were chosen, what could not be indexed, and where the collections lie."""
    from hybrid_search.evaluation.cached_collections import kept

    for remark in (report.profile_reason, *report.notes):
        if remark:
            note(remark)
    for job in report.indexed:
        if job.failed:
            err.print(failures(job), soft_wrap=True)
    if report.indexed:
        cached = kept(settings)
        note(
            f"What was built for this is kept in {cached.folder} ({_size(cached)} by now) for the next time with the "
            "same data and models. To remove it: hybrid-search evaluate --clear"
        )


def _clear(dataset: str | None, settings: Settings) -> None:
    from hybrid_search.evaluation.cached_collections import clear

    if dataset is not None:
        raise InvalidArgument(
            f"--clear takes no DATASET, and {dataset!r} is given. It removes what all of them needed."
        )
    gone = clear(settings)
    note(f"Removed {_size(gone)} from {gone.folder}.")


def _size(cached: Kept) -> str:
    count = "1 collection" if cached.collections == 1 else f"{cached.collections:,} collections"
    return f"{count} of {cached.bytes / 1e6:,.1f} MB"
