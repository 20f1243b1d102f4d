"""`hybrid-search explain`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hybrid_search.cli import options
from hybrid_search.cli.options import choice
from hybrid_search.cli.render import expansion_text
from hybrid_search.cli.verb import given, out


def explain(
    query: Annotated[str, typer.Argument(help="Any words.")],
    collection: options.Collection,
    leg: Annotated[str, typer.Option(metavar="LEG", help="The sparse leg whose model is asked.")] = "sparse",
    format: Annotated[str, typer.Option(metavar="table|json")] = "table",
) -> None:
    """Show what a collection's sparse model makes of a query: its words, those it adds, and what each weighs.

    Example: `hybrid-search explain "heart attack" -c movies`
    """
    from hybrid_search.corpus.decoding import without_surrogates
    from hybrid_search.searcher import Searcher

    choice(format, ("table", "json"), "--format")
    text = without_surrogates(query)
    with Searcher.open(collection, settings=given.settings()) as searcher:
        terms = searcher.expansion(text, leg)
        model = searcher.manifest.legs[leg].model
    if format == "json":
        shown = [term.to_dict() for term in terms]
        typer.echo(
            json.dumps(
                {"query": text, "collection": collection, "leg": leg, "model": model, "expansion": shown},
                ensure_ascii=False,
            )
        )
    else:
        out.print(expansion_text(text, model, terms, out.width))
