"""`hybrid-search compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_search.cli import options
from hybrid_search.cli.command import global_options
from hybrid_search.cli.compare_view import comparison_text, query_text
from hybrid_search.cli.console import out, paging
from hybrid_search.cli.evaluate import tell_built
from hybrid_search.cli.options import choice, device_of, names
from hybrid_search.cli.progress import progress_display
from hybrid_search.cli.streams import print_json
from hybrid_search.cli.values import typed
from hybrid_search.errors import InvalidArgument

if TYPE_CHECKING:
    from hybrid_search.evaluation.comparison import Comparison

QUERIES, RANKS = 5, 20
"""What is shown where `--top` says nothing: queries, or ranks of the one that `--query` names."""


def compare(
    *,
    a: Annotated[str, typer.Argument(metavar="A", help="A run, FILE.json@MODE, NAME@MODE, or a mode: hybrid:dbsf.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The same; it is B that gains or loses.")],
    dataset: Annotated[
        str, typer.Option("--on", metavar="DATASET", help="A BEIR folder: corpus.jsonl, queries.jsonl, qrels/test.tsv.")
    ],
    collection: Annotated[
        str | None,
        options.collection_option("The collection whose modes A and B are, instead of one that is built."),
    ] = None,
    profile: options.Profile = "auto",
    device: options.Device = None,
    measures: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Measures to compare, as ir_measures writes them.  [nDCG@10,R@100,RR@10]"),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option("-k", metavar="N", help="Documents of each query to compare.  [as the measures look at, >= 100]"),
    ] = None,
    query: Annotated[
        str | None, typer.Option(metavar="ID", help="Show this query in full: both lists side by side.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Changed queries to show, or ranks with --query.  [5; 20 with --query]"),
    ] = None,
    format: options.Format = "table",
    progress: options.Progress = "auto",
) -> None:
    """Compare two runs, collections, models or settings on a dataset, query by query, with the evidence of both.

    Behind a mode or a collection may stand settings: `hybrid,rrf_k=20,depth=200`, `hybrid:convex,weights=dense=4`.

    Example: `hybrid-search compare hybrid hybrid:dbsf --on datasets/movies --profile bundled`
    """
    from hybrid_search.evaluation.compare import compare as run_comparison

    choice(format, ("table", "json"), "--format")
    settings = global_options.settings(device=device_of(device))
    chosen = None if measures is None else names(measures)
    if chosen is not None and len(set(chosen)) < len(chosen):
        raise InvalidArgument(f"--measures names one twice: {measures}. Name each once.")
    with progress_display(progress) as callbacks:
        comparison = run_comparison(
            a,
            b,
            dataset,
            settings=settings,
            collection=collection,
            profile=profile,
            measures=chosen,
            k=k,
            query=None if query is None else typed(query),
            watch=callbacks._asdict(),
        )
    tell_built(comparison, settings)
    if format == "json":
        print_json(comparison.to_dict())
    else:
        _show(comparison, top, in_full=query is not None)


def _show(comparison: Comparison, top: int | None, *, in_full: bool) -> None:
    with paging():
        if in_full:
            out.print(query_text(comparison, out.width, RANKS if top is None else top))
        else:
            out.print(comparison_text(comparison, out.width, QUERIES if top is None else top))
