"""`hybrid-search search`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from hybrid_search.cli import options
from hybrid_search.cli.options import choice, device_of, numbers
from hybrid_search.cli.render import results_text
from hybrid_search.cli.verb import NOTHING_FOUND, OK, given, out
from hybrid_search.errors import InvalidArgument
from hybrid_search.results import Results

FORMATS = ("table", "json", "jsonl", "trec")

# A collection knows its models; naming them makes sure of it.
_REFUSE = "Refuse a collection that was built with another one."
Built = Annotated[str, typer.Option(metavar="auto|splade|bundled", help=_REFUSE)]
BuiltSparse = Annotated[str | None, typer.Option(metavar="MODEL", help=_REFUSE)]
BuiltDense = Annotated[str | None, typer.Option(metavar="MODEL", help=_REFUSE)]


def search(
    query: Annotated[str, typer.Argument(help="What to look for, in any words; - reads one query a line from stdin.")],
    collection: options.Collection,
    k: Annotated[int, typer.Option("-k", metavar="N", help="Documents wanted.")] = 10,
    mode: Annotated[
        str,
        typer.Option(metavar="hybrid|LEG|A+B", help="The collection's legs fused, one leg alone, or these legs fused."),
    ] = "hybrid",
    fusion: Annotated[str, typer.Option(metavar="rrf", help="How the legs are fused.")] = "rrf",
    rrf_k: Annotated[float, typer.Option(metavar="N", help="The constant of reciprocal rank fusion.")] = 60,
    weights: Annotated[str, typer.Option(metavar="LEG=W,...", help="Of the legs, such as sparse=1,dense=0.5.")] = "",
    depth: Annotated[int | None, typer.Option(metavar="N", help="Chunks each leg hands on.  [100]")] = None,
    profile: Built = "auto",
    sparse: BuiltSparse = None,
    dense: BuiltDense = None,
    device: options.Device = None,
    format: Annotated[str, typer.Option(metavar="table|json|jsonl|trec")] = "table",
) -> None:
    """Search a collection, and see which leg found each hit, at which rank.

    Example: `hybrid-search search "a film about music" -c movies`
    """
    from hybrid_search.corpus.decoding import without_surrogates
    from hybrid_search.searcher import Searcher

    choice(format, FORMATS, "--format")
    choice(fusion, ("rrf",), "--fusion")
    lines = [line.strip() for line in sys.stdin if line.strip()] if query == "-" else [query]
    queries = [without_surrogates(line) for line in lines]  # bytes that are no text could not be printed again
    if not queries:
        raise InvalidArgument("No query came in on stdin. Give one a line.")
    settings = given.settings(device=device_of(device))
    with Searcher.open(collection, settings=settings, profile=profile, sparse=sparse, dense=dense) as searcher:
        searcher.warm_up(mode)
        answers = searcher.search_many(
            queries,
            k=k,
            mode=mode,
            depth=depth,
            rrf_k=rrf_k,
            weights=numbers(weights, "--weights") if weights else None,
        )
    if format == "trec":
        _print_run(answers)
    else:
        for results in answers:
            _print(results, format)
    raise typer.Exit(OK if any(len(results) for results in answers) else NOTHING_FOUND)


def _print(results: Results, format: str) -> None:
    if format == "table":
        out.print(results_text(results, out.width))
    elif format == "json":
        typer.echo(json.dumps(results.to_dict(), ensure_ascii=False))
    else:
        for hit in results:
            typer.echo(json.dumps({"query": results.query, **hit.to_dict()}, ensure_ascii=False))


def _print_run(answers: Sequence[Results]) -> None:
    """A TREC run as `evaluate --runs` writes it; queries are numbered from 1."""
    from hybrid_search.corpus.trec import ScoredDoc, run_lines

    rows = [ScoredDoc(str(place), hit.doc_id, hit.score) for place, results in enumerate(answers, 1) for hit in results]
    for line in run_lines(rows, tag="hybrid-search"):
        typer.echo(line)
