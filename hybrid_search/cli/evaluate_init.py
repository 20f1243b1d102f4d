"""`hybrid-search evaluate init`: judgements of a collection's own documents, asked for in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer
from rich.rule import Rule
from rich.text import Text

from hybrid_search._util.printable import one_line
from hybrid_search.cli import options
from hybrid_search.cli.command import global_options
from hybrid_search.cli.console import note, out
from hybrid_search.errors import InvalidArgument

if TYPE_CHECKING:
    from hybrid_search.evaluation.judgements import Judgements
    from hybrid_search.evaluation.judging import Sitting
    from hybrid_search.protocols import Store
    from hybrid_search.settings import Settings
    from hybrid_search.types import Document, Query

PASSAGE = 1_500
"""Characters of a document that are shown at first."""

KEYS = "0 not relevant, 1 a little, 2 relevant, 3 answers it;  s skip, b back, a all of the text, q quit and keep"


def init(
    *,
    collection: Annotated[
        str,
        options.collection_option("The collection whose documents are judged."),
    ],
    queries: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The queries: one a line; with ids as id<TAB>text, JSON Lines, TREC topics."),
    ] = None,
    query: Annotated[
        list[str] | None, typer.Option("--query", metavar="TEXT", help="A query; may be repeated.")
    ] = None,
    from_log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take the queries of a log that search --log wrote.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Of the log only the most frequent queries.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The folder to write.  [judged-NAME]")
    ] = None,
    pool: Annotated[
        int, typer.Option(min=1, max=1_000, metavar="N", help="Documents of each leg that are judged for a query.")
    ] = 10,
) -> None:
    """Judge what a collection finds, document by document, and get a dataset for evaluate and tune.

    Each key is on the disk before the next document is shown; the same command goes on where it stopped.

    Example: `hybrid-search evaluate init -c movies --query "a heist" --query "films about music"`
    """
    from hybrid_search.evaluation.judgements import judging

    settings = global_options.settings()
    folder = folder or Path(f"judged-{collection}")
    asked = _queries(collection, queries, query, from_log, limit)
    with judging(folder) as judgements:
        sitting, store = _sitting(folder, collection, asked, pool, settings)
        try:
            _judge(sitting, judgements, store)
        finally:
            judgements.write(folder / "qrels" / "test.tsv")
    _tell(sitting, judgements)


def _queries(
    collection: str, file: Path | None, typed: list[str] | None, log: Path | None, limit: int | None
) -> tuple[Query, ...]:
    from hybrid_search.evaluation.judging import log_remarks, queries_of_lines, read_log, read_query_file

    if sum(given is not None and given != [] for given in (file, typed, log)) > 1:
        raise InvalidArgument("Take the queries from one place: --queries, --query or --from-log.")
    if limit is not None and log is None:
        raise InvalidArgument("--limit is for --from-log.")
    if file is not None:
        return read_query_file(file)
    if log is not None:
        found = read_log(log, collection, limit)
        for remark in log_remarks(found):
            note(remark)
        return found.queries
    return queries_of_lines(typed or ())


def _sitting(
    folder: Path, collection: str, asked: tuple[Query, ...], depth: int, settings: Settings
) -> tuple[Sitting, Store]:
    from hybrid_search.collection.models import open_store_for
    from hybrid_search.evaluation.judging import begin, resume
    from hybrid_search.searcher import Searcher

    store = open_store_for(None, settings)
    there = resume(folder, collection, asked)
    if there is not None:
        return there, store
    if not asked:
        raise InvalidArgument("There are no queries. Give some: --query TEXT, --queries FILE or --from-log FILE")
    with Searcher.open(collection, store=store, settings=settings) as searcher:
        return begin(folder, searcher, store, asked, depth), store


def _judge(sitting: Sitting, judgements: Judgements, store: Store) -> None:
    """Ask for each document that is not judged yet, until there is none, or the user quits."""
    from hybrid_search.evaluation.judging import shown_document

    left = list(sitting.left(judgements))
    place = 0
    given: list[int] = []
    while place < len(left):
        query, doc_id = left[place]
        document = shown_document(sitting, doc_id, store)
        if document is None:
            note(f"{doc_id!r} is not in {sitting.collection!r} any more; it is passed over.")
            place += 1
            continue
        _show(sitting, query, doc_id, document, PASSAGE)
        while (key := _key()) == "a":
            _show(sitting, query, doc_id, document, None)
        if key == "q":
            return
        if key == "b" and given:
            place = given.pop()
            judgements.give(left[place][0].query_id, left[place][1], None)
        elif key in ("0", "1", "2", "3"):
            judgements.give(query.query_id, doc_id, int(key))
            given.append(place)
            place += 1
        elif key == "s":
            place += 1
        else:
            out.print(Text(KEYS, style="yellow"))


def _show(sitting: Sitting, query: Query, doc_id: str, document: Document, most: int | None) -> None:
    pool = sitting.pools[query.query_id]
    number = next(n for n, one in enumerate(sitting.queries, 1) if one.query_id == query.query_id)
    about = f"query {number:,} of {len(sitting.queries):,}, document {pool.index(doc_id) + 1:,} of {len(pool):,}"
    text = document.text if most is None else document.text[:most]
    out.print(Rule(style="dim"))
    out.print(Text.assemble((one_line(query.text), "bold"), (f"   {about}", "dim")))
    out.print(Text(one_line(document.title or doc_id), style="bold cyan"))
    out.print(Text(text.strip()))
    if len(text) < len(document.text):
        out.print(Text(f"... {len(document.text) - len(text):,} characters more: a", style="dim"))
    out.print(Text(KEYS, style="dim"))


def _key() -> str:
    """Return the key that was pressed, or the first sign of a line where nobody sits at a terminal; `q` at the end."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.strip()[:1].lower() or ("?" if line else "q")
    key = click.getchar()
    if key in ("\x03", "\x04"):
        return "q"
    return key.lower()


def _tell(sitting: Sitting, judgements: Judgements) -> None:
    by_query = [judgements.of(query.query_id) for query in sitting.queries]
    judged = [grades for grades in by_query if grades]
    answered = sum(any(grades.values()) for grades in judged)
    total, left = sum(map(len, by_query)), sum(1 for _ in sitting.left(judgements))
    note(
        f"{total:,} judgements for {len(judged):,} of {len(sitting.queries):,} queries, {answered:,} of them with a "
        f"relevant document; {left:,} documents are left. They are in {sitting.folder}."
    )
    if answered:
        command = f"hybrid-search evaluate {sitting.folder} -c {sitting.collection}"
        note(f"Its corpus holds the pooled documents alone, so name the collection, too: {command}")
