"""`hybrid-search search`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.text import Text

from hybrid_search._util import batched
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
    from hybrid_search.searcher import Searcher

FORMATS = ("table", "json", "jsonl", "trec")

FILE_BATCH = 256
"""Queries of a file that are held at a time, with their results."""

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
    log: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append what was searched, and where each leg had each hit, as JSON lines."),
    ] = None,
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
    models: dict[str, Any] = {"profile": profile, "sparse": sparse, "dense": dense}
    with Searcher.open(collection, settings=settings, refresh=vectors is None, **models) as searcher:
        if all(asked.has_text for asked in queries.values()):
            searcher.warm_up(search["mode"])
        answers: Iterable[tuple[str, Results]] = _answers(searcher, queries, search, FILE_BATCH if vectors else 0)
        if log is not None:
            answers = _logged(answers, log, search)
        if vectors is None:
            answers = list(answers)  # what fails, fails before anything is printed
        with paging() if format == "table" else contextlib.nullcontext():
            told = [_print(*answer, format, full, named=vectors is not None) for answer in answers]
    _remark(told, named=vectors is not None)
    if vectors is not None and any(one.lacking for one in told):
        raise typer.Exit(SOME_FAILED)
    raise typer.Exit(OK if any(one.hits for one in told) else NOTHING_FOUND)


class _Told(NamedTuple):
    """What is kept of an answer that was printed: what it was called, its hits, and what is remarked on it."""

    about: str
    hits: int
    lacking: bool
    remarks: tuple[str, ...]


def _answers(
    searcher: Searcher, queries: Mapping[str, WeightedQuery], search: Options, size: int
) -> Iterator[tuple[str, Results]]:
    """Yield the id and the results of each query, so many searched at a time; 0 for all together."""
    for some in batched(list(queries), size or len(queries)):
        yield from zip(some, searcher.search_many([queries[one] for one in some], **search), strict=False)


def _logged(answers: Iterable[tuple[str, Results]], log: Path, search: Options) -> Iterator[tuple[str, Results]]:
    """Hand answers on and append a trace of each to a file; say once if that fails, for the answers are what counts."""
    from hybrid_search.search.trace import append_trace, trace

    lost, reason = 0, ""
    for query_id, results in answers:
        try:
            append_trace(log, trace(results, search))
        except OSError as error:
            lost, reason = lost + 1, reason or str(error)
        yield query_id, results
    if lost:
        searches = "1 search is" if lost == 1 else f"{lost:,} searches are"
        note(f"{searches} not in the log {one_line(str(log))}: {one_line(reason)}")


def _remark(told: Sequence[_Told], *, named: bool) -> None:
    """Print on stderr what is remarked on answers; of a file's queries once what is so of all of them."""
    shared = set.intersection(*(set(one.remarks) for one in told)) if named and len(told) > 1 else set()
    for remark in sorted(shared):
        note(f"All {len(told):,} queries: {remark}")
    for one in told:
        for remark in one.remarks:
            if remark not in shared:
                note(f"{one.about}: {remark}" if len(told) > 1 else remark)


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

        return {one.query_id: WeightedQuery("", one.weights, one.has_idf) for one in read_query_vectors(vectors)}
    if words != ["-"]:
        return {"1": WeightedQuery(query_of(words))}
    queries = [typed(line.strip()) for line in sys.stdin if line.strip()]
    if not queries:
        raise InvalidArgument("No query came in on stdin. Give one a line.")
    return {str(place): WeightedQuery(query) for place, query in enumerate(queries, 1)}


def _print(query_id: str, results: Results, format: str, full: bool, *, named: bool) -> _Told:
    """Print the results of a query; where it is named, its id stands first in JSON, and above a table."""
    key = {"query_id": query_id} if named else {}
    if format == "table":
        for line in key.values():
            out.print(Text(one_line(line), style="dim"))
        out.print(results_text(results, out.width, full=full))
    elif format == "json":
        print_json({**key, **results.to_dict()})
    elif format == "jsonl":
        for hit in results:
            print_json({**key, "query": results.query, **hit.to_dict()})
    else:
        _print_run(query_id, results)
    lacking = NO_TERM in results.abstained.values()
    return _Told(query_id if named else results.query, len(results), lacking, results.remarks())


def _print_run(query_id: str, results: Results) -> None:
    """Print the lines of a TREC run as `evaluate --runs` writes them; queries without an id are numbered from 1."""
    from hybrid_search.corpus.trec import ScoredDoc, run_lines

    scored = zip(results, results.run_scores(), strict=True)
    for line in run_lines([ScoredDoc(query_id, hit.doc_id, score) for hit, score in scored], tag="hybrid-search"):
        print_line(line)
