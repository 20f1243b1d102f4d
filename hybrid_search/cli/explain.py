"""`hybrid-search explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_search.cli import completion, options
from hybrid_search.cli.command import given
from hybrid_search.cli.console import out
from hybrid_search.cli.options import choice, fusion_of, query_of, rerank_of, weights_of
from hybrid_search.cli.result_view import expansion_text, why_text
from hybrid_search.cli.streams import print_json
from hybrid_search.cli.values import typed
from hybrid_search.results import Expansion

if TYPE_CHECKING:
    from hybrid_search.search.request import Options
    from hybrid_search.searcher import Searcher


def explain(
    query: options.Query,
    collection: options.Collection,
    doc: Annotated[
        str | None, typer.Option("--doc", metavar="ID", help="Why this document is, or is not, in the list.")
    ] = None,
    leg: Annotated[
        str, typer.Option(metavar="LEG", help="The sparse leg whose model is asked.", autocompletion=completion.legs)
    ] = "sparse",
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
    fold: Annotated[
        bool, typer.Option("--fold/--no-fold", help="Let one document stand for several that say the same.")
    ] = True,
    format: Annotated[str, typer.Option(metavar="table|json")] = "table",
) -> None:
    """Show what a collection's sparse model makes of a query; with --doc why a document is, or is not, in the list.

    The other options are those of `search`, and count with --doc.

    Example: `hybrid-search explain "a film about music" -c movies --doc amadeus-1984`
    """
    from hybrid_search.searcher import Searcher

    choice(format, ("table", "json"), "--format")
    asked: Options = {
        "k": k,
        "offset": offset,
        "mode": mode,
        "fusion": fusion_of(fusion),
        "rrf_k": rrf_k,
        "weights": weights_of(weights),
        "depth": depth,
        "rerank": rerank_of(rerank),
        "rerank_depth": rerank_depth,
        "rerank_budget_ms": rerank_budget_ms,
        "where": None if where is None else typed(where),
        "fold": fold,
    }
    text = query_of(query)
    with Searcher.open(collection, settings=given.settings()) as searcher:
        if doc is None:
            _expansion(searcher, text, leg, format)
            return
        why = searcher.explain(text, typed(doc), **asked)
    if format == "json":
        print_json(why.to_dict())
    else:
        out.print(why_text(why))


def _expansion(searcher: Searcher, query: str, leg: str, format: str) -> None:
    terms = searcher.expansion(query, leg)
    model = searcher.manifest.legs[leg].model
    if format == "json":
        found = Expansion(query, searcher.collection, leg, model, terms)
        print_json(found.to_dict())
    else:
        out.print(expansion_text(query, model, terms, out.width))
