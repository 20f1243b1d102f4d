"""`hybrid-search search`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from hybrid_search._util.printable import one_line
from hybrid_search.cli import completion, options
from hybrid_search.cli.command import NOTHING_FOUND, OK, SOME_FAILED, global_options
from hybrid_search.cli.console import note, out, paging
from hybrid_search.cli.options import choice, device_of, query_of
from hybrid_search.cli.result_view import results_text
from hybrid_search.cli.search_options import takes_search_options
from hybrid_search.cli.streams import print_json, print_line
from hybrid_search.cli.values import typed
from hybrid_search.errors import InvalidArgument
from hybrid_search.results import NO_TERM, Results
from hybrid_search.search.weighted_query import WeightedQuery

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


@takes_search_options(without=["highlight"], fold={"default": None, "unset": "in tables"})
def search(
    *,
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUERY",
            help="What to look for, in any words, quoted or not; - reads one query a line from stdin. May be left out "
            "with --vector.",
            callback=options.query_or_vector,
        ),
    ] = None,
    collection: options.Collection,
    search: Options,
    vectors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take no QUERY: search for each query of a file, which has the weights of its terms by its id.",
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Show whole chunks, not only the window that matches.")] = False,
    profile: Built = "auto",
    sparse: BuiltSparse = None,
    dense: BuiltDense = None,
    device: options.Device = None,
    format: Annotated[
        str,
        typer.Option(
            metavar="table|json|jsonl|trec", help="Print a table, an object for each query or hit, or a TREC run."
        ),
    ] = "table",
) -> None:
    """Search a collection, and see which leg found each hit, at which rank.

    Example: `hybrid-search search "a film about music" -c movies`
    """
    from hybrid_search.searcher import Searcher

    choice(format, FORMATS, "--format")
    search.setdefault("fold", format == "table")
    search["highlight"] = format != "trec"
    queries = _queries(query or [], search.get("vector"), vectors)
    settings = global_options.settings(device=device_of(device))
    with Searcher.open(collection, settings=settings, profile=profile, sparse=sparse, dense=dense) as searcher:
        if all(asked.has_text for asked in queries.values()):
            searcher.warm_up(search["mode"])
        answers = dict(zip(queries, searcher.search_many(list(queries.values()), **search), strict=False))
        if format == "trec":
            _print_run(answers)
        else:
            with paging() if format == "table" else contextlib.nullcontext():
                for query_id, results in answers.items():
                    _print(results, format, full, {"query_id": query_id} if vectors else {})
    for query_id, results in answers.items():
        about = query_id if vectors else results.query
        for remark in results.remarks():
            note(f"{about}: {remark}" if len(answers) > 1 else remark)
    if vectors and any(NO_TERM in results.abstained.values() for results in answers.values()):
        raise typer.Exit(SOME_FAILED)
    raise typer.Exit(OK if any(len(results) for results in answers.values()) else NOTHING_FOUND)


def _queries(words: list[str], vector: object, vectors: Path | None) -> dict[str, WeightedQuery]:
    """Return the queries by id: of a file of term weights, of the command line, or of stdin where it says `-`.

    Those without an id are numbered from 1.

    Raises:
        InvalidArgument: there is none, or what is given does not go together.
        CorpusError: the file is broken.
    """
    if vectors is not None:
        if words or vector is not None:
            raise InvalidArgument("--vectors FILE has the queries; leave QUERY and --vector out.")
        from hybrid_search.corpus.query_vectors import read_query_vectors

        return {query_id: WeightedQuery("", weights) for query_id, weights in read_query_vectors(vectors)}
    if words != ["-"]:
        return {"1": WeightedQuery(query_of(words))}
    queries = [typed(line.strip()) for line in sys.stdin if line.strip()]
    if not queries:
        raise InvalidArgument("No query came in on stdin. Give one a line.")
    return {str(place): WeightedQuery(query) for place, query in enumerate(queries, 1)}


def _print(results: Results, format: str, full: bool, named: Mapping[str, str]) -> None:
    """Print the results of a query; `named` stands before the other keys of JSON, and above a table."""
    if format == "table":
        for query_id in named.values():
            out.print(Text(one_line(query_id), style="dim"))
        out.print(results_text(results, out.width, full=full))
    elif format == "json":
        print_json({**named, **results.to_dict()})
    else:
        for hit in results:
            print_json({**named, "query": results.query, **hit.to_dict()})


def _print_run(answers: Mapping[str, Results]) -> None:
    """Print a TREC run as `evaluate --runs` writes it."""
    from hybrid_search.corpus.trec import ScoredDoc, run_lines

    rows = [
        ScoredDoc(query_id, hit.doc_id, score)
        for query_id, results in answers.items()
        for hit, score in zip(results, results.run_scores(), strict=True)
    ]
    for line in run_lines(rows, tag="hybrid-search"):
        print_line(line)
