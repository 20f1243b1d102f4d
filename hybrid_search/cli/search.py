"""`hybrid-search search`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_search.cli import completion, options
from hybrid_search.cli.command import NOTHING_FOUND, OK, given
from hybrid_search.cli.console import note, out, paging
from hybrid_search.cli.options import choice, device_of, fusion_of, query_of, rerank_of, weights_of
from hybrid_search.cli.result_view import results_text
from hybrid_search.cli.streams import print_json, print_line
from hybrid_search.cli.values import typed
from hybrid_search.errors import InvalidArgument
from hybrid_search.results import Results

if TYPE_CHECKING:
    from hybrid_search.search.request import Options

FORMATS = ("table", "json", "jsonl", "trec")

# A collection knows its models; naming them makes sure of it.
_REFUSE = "Refuse a collection that was built with another one."
Built = Annotated[str, typer.Option(metavar="auto|splade|bundled", help=_REFUSE, autocompletion=completion.profiles)]
BuiltSparse = Annotated[
    str | None, typer.Option(metavar="MODEL", help=_REFUSE, autocompletion=completion.sparse_models)
]
BuiltDense = Annotated[str | None, typer.Option(metavar="MODEL", help=_REFUSE, autocompletion=completion.dense_models)]


def search(
    query: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERY",
            help="What to look for, in any words, quoted or not; - reads one query a line from stdin.",
        ),
    ],
    collection: options.Collection,
    k: options.K = 10,
    offset: options.Offset = 0,
    mode: options.Mode = "hybrid",
    fusion: options.FusionWay = "rrf",
    rrf_k: options.RrfK = 60,
    weights: options.Weights = "",
    depth: options.Depth = None,
    rerank: options.Rerank = None,
    rerank_depth: options.RerankDepth = 50,
    rerank_budget_ms: options.RerankBudget = None,
    where: options.Where = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what each word gave to a hit's score, and the query's expansion.")
    ] = False,
    fold: Annotated[
        bool | None,
        typer.Option("--fold/--no-fold", help="Show one of several documents that say the same.  [in tables]"),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Show whole chunks, not only the window that matches.")] = False,
    profile: Built = "auto",
    sparse: BuiltSparse = None,
    dense: BuiltDense = None,
    device: options.Device = None,
    format: Annotated[str, typer.Option(metavar="table|json|jsonl|trec")] = "table",
) -> None:
    """Search a collection, and see which leg found each hit, at which rank.

    Example: `hybrid-search search "a film about music" -c movies`
    """
    from hybrid_search.search.request import SearchRequest
    from hybrid_search.searcher import Searcher

    choice(format, FORMATS, "--format")
    lines = [line.strip() for line in sys.stdin if line.strip()] if query == ["-"] else [query_of(query)]
    queries = [typed(line) for line in lines]
    if not queries:
        raise InvalidArgument("No query came in on stdin. Give one a line.")
    asked: Options = {
        "k": k,
        "offset": offset,
        "mode": mode,
        "depth": depth,
        "fusion": fusion_of(fusion),
        "rrf_k": rrf_k,
        "weights": weights_of(weights),
        "rerank": rerank_of(rerank),
        "rerank_depth": rerank_depth,
        "rerank_budget_ms": rerank_budget_ms,
        "where": None if where is None else typed(where),
        "fold": format == "table" if fold is None else fold,
        "highlight": format != "trec",
        "explain": explain,
    }
    SearchRequest(**asked)  # what is wrong with it is said before any model is loaded
    settings = given.settings(device=device_of(device))
    with Searcher.open(collection, settings=settings, profile=profile, sparse=sparse, dense=dense) as searcher:
        searcher.warm_up(mode)
        answers = searcher.search_many(queries, **asked)
        if format == "trec":
            _print_run(answers)
        else:
            with paging() if format == "table" else contextlib.nullcontext():
                for results in answers:
                    _print(results, format, full)
    for results in answers:
        for remark in results.remarks():
            note(f"{results.query}: {remark}" if len(answers) > 1 else remark)
    raise typer.Exit(OK if any(len(results) for results in answers) else NOTHING_FOUND)


def _print(results: Results, format: str, full: bool) -> None:
    if format == "table":
        out.print(results_text(results, out.width, full=full))
    elif format == "json":
        print_json(results.to_dict())
    else:
        for hit in results:
            print_json({"query": results.query, **hit.to_dict()})


def _print_run(answers: Sequence[Results]) -> None:
    """A TREC run as `evaluate --runs` writes it; queries are numbered from 1."""
    from hybrid_search.corpus.trec import ScoredDoc, run_lines

    rows = [
        ScoredDoc(str(place), hit.doc_id, score)
        for place, results in enumerate(answers, 1)
        for hit, score in zip(results, results.run_scores(), strict=True)
    ]
    for line in run_lines(rows, tag="hybrid-search"):
        print_line(line)
