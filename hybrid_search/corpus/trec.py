"""Reads and writes TREC and BEIR files: judgements, queries and runs. Field names are those of ir_measures."""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar, cast
from urllib.parse import quote

import numpy as np

from hybrid_search._util.printable import UNSEEN
from hybrid_search.errors import EvaluationError, InvalidArgument
from hybrid_search.types import Query

_Row = TypeVar("_Row")
_SHOWN = 5
_BEYOND = (0xFEFF, *range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080))
_UNSAFE = {quote(c): c for c in map(chr, (*range(0x3001), *_BEYOND)) if c.isspace() or UNSEEN.match(c)}
"""Percent-encoded form -> character.

The characters are white space, which divides columns, and those that control a terminal or are invisible.
"""
_ESCAPE = re.compile(rf"\s|%(?=[0-9A-Fa-f]{{2}})|[{''.join(map(re.escape, _UNSAFE.values()))}]")
_ESCAPED = re.compile("|".join([r"%25(?=[0-9A-Fa-f]{2})", *sorted(_UNSAFE, key=len, reverse=True)]))


_MAGIC = b"\x1f\x8b"


def open_plain(path: Path) -> IO[bytes]:
    """Open a file for reading its bytes, unpacked if it is gzipped."""
    with path.open("rb") as file:
        is_packed = file.read(2) == _MAGIC
    return cast("IO[bytes]", gzip.open(path, "rb")) if is_packed else path.open("rb")


class Qrel(NamedTuple):
    """A judgement: how relevant a document is to a query; 0 means judged and not relevant."""

    query_id: str
    doc_id: str
    relevance: int
    iteration: str = "0"


class ScoredDoc(NamedTuple):
    """A line of a run; a higher score is better."""

    query_id: str
    doc_id: str
    score: float


class RunLine(NamedTuple):
    """A line of a run, with ids and rank as they are written, and the tag that names the run."""

    query_id: str
    doc_id: str
    score: float
    tag: str
    rank: str = ""


class Dataset(NamedTuple):
    """A corpus with queries and judgements; `queries` are those that `qrels` judge, in the file's order.

    Args:
        corpus: the file of the documents; None where they are in a collection alone.
        notes: what is odd in it, in sentences.
    """

    queries: tuple[Query, ...]
    qrels: tuple[Qrel, ...]
    corpus: Path | None
    notes: tuple[str, ...] = ()


def read_beir(folder: str | Path, split: str = "test") -> Dataset:
    """Read the queries and judgements of a BEIR folder; the corpus is left to the readers.

    Raises:
        EvaluationError: a file is missing or broken, the corpus is empty, the split does not exist (the message names
            those that do), it judges no query, or it judges a query that is not in queries.jsonl.
    """
    folder = Path(folder)
    corpus, queries, judged = folder / "corpus.jsonl", folder / "queries.jsonl", folder / "qrels" / f"{split}.tsv"
    missing = [path.relative_to(folder).as_posix() for path in (corpus, queries) if not path.is_file()]
    splits = sorted(path.stem for path in (folder / "qrels").glob("*.tsv"))
    if not splits:
        missing.append("qrels/*.tsv")
    if missing:
        raise EvaluationError(
            f"{folder} is not a BEIR folder: {', '.join(missing)} not found. It holds corpus.jsonl (_id, title, text), "
            f"queries.jsonl (_id, text) and qrels/{split}.tsv (query-id, corpus-id, score)."
        )
    with corpus.open("rb") as stream:
        if not any(line.strip() for line in stream):
            raise EvaluationError(f"{corpus} holds no document: one JSON object a line with _id, title and text")
    if split not in splits:
        raise EvaluationError(f"{folder} has no split {split!r}; it has {', '.join(splits)}")
    found = select_judged(read_queries(queries), read_beir_qrels(judged), judged, queries)
    return found._replace(corpus=corpus)


def select_judged(queries: Iterable[Query], qrels: Iterable[Qrel], judged: str | Path, asked: str | Path) -> Dataset:
    """Return the queries that have judgements, with these; the dataset has no corpus yet.

    Args:
        queries: all.
        qrels: all.
        judged: where the judgements are from, for messages.
        asked: where the queries are from.

    Raises:
        EvaluationError: there is no judgement, or one of a query that does not exist.
    """
    rows = tuple(qrels)
    wanted = {qrel.query_id for qrel in rows}
    if not wanted:
        raise EvaluationError(f"{judged} judges no document")
    found = tuple(query for query in queries if query.query_id in wanted)
    lost = sorted(wanted.difference(query.query_id for query in found))
    if lost:
        raise EvaluationError(f"{judged} judges {_some(lost)}, which {asked} does not have")
    return Dataset(found, rows, None)


def read_queries(path: str | Path) -> list[Query]:
    """Read a BEIR `queries.jsonl`: one object per line with `_id` and `text`.

    Raises:
        EvaluationError: the file cannot be read, a line is not such an object, or an id stands twice.
    """

    def parse(line: str) -> Query:
        record = json.loads(line)
        if not isinstance(record, dict) or record.get("_id") in (None, "") or not isinstance(record.get("text"), str):
            raise ValueError('expected an object with "_id" and "text"')
        if not record["text"].strip():
            raise ValueError("the query is empty")
        return Query(str(record["_id"]), record["text"])

    return _parse_lines(path, parse, lambda query: f"query {query.query_id!r}")


def read_qrels(path: str | Path) -> list[Qrel]:
    """Read a TREC file of judgements: `query_id iteration doc_id relevance`, separated by white space.

    Raises:
        EvaluationError: the file cannot be read, a line has another form, or a document is judged twice for a query.
    """

    def parse(line: str) -> Qrel:
        query_id, iteration, doc_id, relevance = _columns(line.split(), 4)
        return Qrel(unescape(query_id), unescape(doc_id), _grade(relevance), iteration)

    return _parse_lines(path, parse, _judgement)


def read_beir_qrels(path: str | Path) -> list[Qrel]:
    """Read a BEIR file of judgements: `query-id`, `corpus-id`, `score`, separated by tabs, below a header.

    Raises:
        EvaluationError: the file cannot be read, a line has another form, or a document is judged twice for a query.
    """

    def parse(line: str) -> Qrel | None:
        cells = _columns(line.rstrip("\r\n").split("\t"), 3)
        if cells[0].lower().replace("_", "-") == "query-id":
            return None
        if not cells[0] or not cells[1]:
            raise ValueError("an id is empty")
        return Qrel(cells[0], cells[1], _grade(cells[2]))

    def name(row: Qrel | None) -> str | None:
        return None if row is None else _judgement(row)

    return [row for row in _parse_lines(path, parse, name) if row is not None]


def read_run(path: str | Path) -> list[ScoredDoc]:
    """Read the lines of a run, in the file's order: `query_id Q0 doc_id rank score tag`; the rank is ignored.

    Raises:
        EvaluationError: the file cannot be read, or a line has another form.
    """
    return [ScoredDoc(unescape(line.query_id), unescape(line.doc_id), line.score) for line in read_run_lines(path)]


def read_run_lines(path: str | Path, *, once: bool = False) -> list[RunLine]:
    """Read the lines of a run, in the file's order, with their ids as they are written.

    Args:
        path: of the file.
        once: refuse a document that stands twice for a query.

    Raises:
        EvaluationError: as `read_run`, or a document stands twice.
    """

    def parse(line: str) -> RunLine:
        query_id, _, doc_id, rank, score, tag = _columns(line.split(), 6)
        value = float(score)
        if not math.isfinite(value):
            raise ValueError(f"the score {score} is not finite")
        return RunLine(query_id, doc_id, value, tag, rank)

    def name(line: RunLine) -> str | None:
        return f"document {line.doc_id!r} for query {line.query_id!r}" if once else None

    return _parse_lines(path, parse, name)


def write_run(path: str | Path, rows: Iterable[ScoredDoc], tag: str) -> None:
    """Write the lines of `run_lines` to a file.

    Raises:
        InvalidArgument: the tag is empty.
        EvaluationError: a score is not finite in 32 bits or above the one before it, or a document stands twice.
    """
    with Path(path).open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
        file.writelines(f"{line}\n" for line in run_lines(rows, tag))


def run_lines(rows: Iterable[ScoredDoc], tag: str) -> Iterator[str]:
    """Yield `query_id Q0 doc_id rank score tag`, queries in the order they first appear, documents in the order given.

    Scorers drop the rank, keep scores in 32 bits and sort again. So within a query every printed score is below the one
    before it even in 32 bits; equal scores are set apart by the smallest step. White space and control characters in
    ids are percent-encoded.

    Raises:
        InvalidArgument: the tag is empty.
        EvaluationError: a score is not finite in 32 bits or above the one before it, or a document stands twice.
    """
    if not tag.strip():
        raise InvalidArgument("A run needs a tag: one word that names it")
    by_query: dict[str, list[ScoredDoc]] = {}
    for row in rows:
        by_query.setdefault(row.query_id, []).append(row)
    for query_id, ranked in by_query.items():
        refuse_doubles(f"query {query_id!r}", "document", (row.doc_id for row in ranked))
        query = _escape(query_id)
        for rank, (row, score) in enumerate(zip(ranked, _falling(ranked), strict=True), 1):
            yield f"{query} Q0 {_escape(row.doc_id)} {rank} {score:.9g} {_escape(tag.strip())}"


def write_qrels(path: str | Path, rows: Iterable[Qrel]) -> None:
    """Write TREC judgements: `query_id iteration doc_id relevance`. Ids are encoded as in `run_lines`."""
    with Path(path).open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
        for row in rows:
            ids = (_escape(row.query_id), _escape(row.iteration), _escape(row.doc_id))
            file.write(f"{' '.join(ids)} {row.relevance}\n")


def write_beir_qrels(path: str | Path, rows: Iterable[Qrel]) -> None:
    """Write BEIR judgements: a header and `query-id`, `corpus-id`, `score`, separated by tabs.

    Raises:
        EvaluationError: an id holds a tab or a line break, which this format cannot carry.
    """
    with Path(path).open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        for row in rows:
            if any(mark in row.query_id + row.doc_id for mark in "\t\r\n"):
                raise EvaluationError(f"An id with a tab or a line break cannot stand in {path}: {row}")
            file.write(f"{row.query_id}\t{row.doc_id}\t{row.relevance}\n")


def _falling(rows: list[ScoredDoc]) -> Iterator[np.float32]:
    """Yield the scores in 32 bits, each below the one before."""
    last: np.float32 | None = None
    before = math.inf
    for row in rows:
        if not row.score <= before:
            raise EvaluationError(f"Query {row.query_id!r}: the score {row.score} of {row.doc_id!r} is above {before}")
        before = row.score
        with np.errstate(over="ignore"):
            score = np.float32(row.score)
        if last is not None and not score < last:
            score = np.nextafter(last, np.float32(-np.inf))
        if not np.isfinite(score):
            raise EvaluationError(f"Query {row.query_id!r}: the score {row.score} of {row.doc_id!r} needs over 32 bits")
        yield score
        last = score


def _grade(text: str) -> int:
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", text):
        raise ValueError(f"the grade {text.strip()!r} is not a whole number")
    return int(text)


def _judgement(qrel: Qrel) -> str:
    return f"judgement of {qrel.doc_id!r} for query {qrel.query_id!r}"


def _parse_lines(
    path: str | Path, parse: Callable[[str], _Row], name: Callable[[_Row], str | None] = lambda row: None
) -> list[_Row]:
    """Parse every non-blank line; the error names the lines that cannot be parsed together.

    Args:
        path: of the file.
        parse: makes a row of a line, or raises ValueError.
        name: gives of a row what may stand once in the file; None for what may be repeated.
    """
    rows: list[_Row] = []
    bad: list[str] = []
    first: dict[str, int] = {}
    if Path(path).exists() and not Path(path).is_file():  # reading a pipe might never end
        raise EvaluationError(f"{path} is not a file")
    try:
        with TextIOWrapper(open_plain(Path(path)), encoding="utf-8-sig", errors="surrogatepass", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    rows.append(parse(line))
                    one = name(rows[-1])
                    if one is not None and first.setdefault(one, number) != number:
                        raise ValueError(f"{one} stands more than once, first in line {first[one]}")
                except (ValueError, RecursionError) as error:
                    bad.append(f"{path}:{number}: {error}")
    except (OSError, EOFError, zlib.error) as error:  # the last two of a damaged gzip
        raise EvaluationError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path} is not UTF-8 text: {error}") from error
    if bad:
        more = f" (and {len(bad) - _SHOWN} more)" if len(bad) > _SHOWN else ""
        raise EvaluationError("; ".join(bad[:_SHOWN]) + more)
    return rows


def _columns(cells: list[str], wanted: int) -> list[str]:
    if len(cells) != wanted:
        raise ValueError(f"expected {wanted} columns, found {len(cells)}")
    return cells


def refuse_doubles(path: str | Path, what: str, ids: Iterable[str]) -> None:
    """Refuse ids of a file that stand more than once."""
    met: set[str] = set()
    twice: list[Any] = []
    for item in ids:
        if item in met:
            twice.append(item)
        met.add(item)
    if twice:
        raise EvaluationError(f"{path}: {what} {_some(twice)} more than once")


def _some(ids: list[str]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(repr(item) for item in ids[:_SHOWN]) + more


def _escape(text: str) -> str:
    """Percent-encode white space and control characters, and `%` where it would read as an escape; the rest stays.

    >>> _escape("my notes 100%20.md")
    'my%20notes%20100%2520.md'
    """
    return _ESCAPE.sub(lambda match: quote(match[0]) if match[0] != "%" else "%25", text)


def unescape(text: str) -> str:
    """Undo `_escape`; other percent signs, as in web addresses, stay.

    >>> unescape("my%20notes%20100%2520.md")
    'my notes 100%20.md'
    """
    return _ESCAPED.sub(lambda match: _UNSAFE.get(match[0], "%"), text)
