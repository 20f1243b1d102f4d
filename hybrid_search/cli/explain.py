"""`hybrid-search explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_search.cli import completion, options
from hybrid_search.cli.command import global_options
from hybrid_search.cli.console import out
from hybrid_search.cli.options import choice, query_of
from hybrid_search.cli.result_view import expansion_text, explanation_text
from hybrid_search.cli.search_options import takes_search_options
from hybrid_search.cli.streams import print_json
from hybrid_search.cli.values import typed
from hybrid_search.errors import InvalidArgument
from hybrid_search.results import Expansion

if TYPE_CHECKING:
    from hybrid_search.search.request import Options
    from hybrid_search.searcher import Searcher


@takes_search_options(
    without=["highlight", "explain"],
    fold={"default": True, "help": "Let one document stand for several that say the same."},
)
def explain(
    *,
    query: options.Query = None,
    collection: options.Collection,
    doc: Annotated[
        str | None, typer.Option("--doc", metavar="ID", help="Why this document is, or is not, in the list.")
    ] = None,
    leg: Annotated[
        str, typer.Option(metavar="LEG", help="The sparse leg whose model is asked.", autocompletion=completion.legs)
    ] = "sparse",
    search: Options,
    format: options.Format = "table",
) -> None:
    """Show what a collection's sparse model makes of a query; with --doc why a document is, or is not, in the list.

    The other options are those of `search`, and count with --doc.

    Example: `hybrid-search explain "a film about music" -c movies --doc amadeus-1984`
    """
    from hybrid_search.searcher import Searcher

    choice(format, ("table", "json"), "--format")
    text = query_of(query or [])
    if doc is None and search.get("vector") is not None:
        raise InvalidArgument(
            "--vector goes with --doc: without it, explain shows what a model makes of a text. "
            "`search --vector ... --explain` shows what each term gave."
        )
    with Searcher.open(collection, settings=global_options.settings()) as searcher:
        if doc is None:
            _expansion(searcher, text, leg, format)
            return
        explanation = searcher.explain(text, typed(doc), **search)
    if format == "json":
        print_json(explanation.to_dict())
    else:
        out.print(explanation_text(explanation))


def _expansion(searcher: Searcher, query: str, leg: str, format: str) -> None:
    terms = searcher.expansion(query, leg)
    model = searcher.manifest.legs[leg].model
    if format == "json":
        expansion = Expansion(query, searcher.collection, leg, model, terms)
        print_json(expansion.to_dict())
    else:
        out.print(expansion_text(query, model, terms, out.width))
