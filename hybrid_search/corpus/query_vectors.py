"""Reads files of encoded topics: queries that are given as weights of terms."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import unquote

from hybrid_search._util.arguments import shown
from hybrid_search.corpus.decoding import Undecodable, bom_encoding, numbered_lines
from hybrid_search.corpus.jsonl import parse_object
from hybrid_search.corpus.term_weights import check_term_weights
from hybrid_search.errors import CorpusError, InvalidArgument
from hybrid_search.types import Failure

IDS = ("id", "_id", "qid", "query_id")
"""Fields that may hold the id of a query, the first that is there."""

TOKENS = ("title", "contents")
"""Fields that may hold the tokens of a query, each as often as it weighs."""

_GZIP = b"\x1f\x8b"


class QueryVector(NamedTuple):
    """The weights of a query's terms, with the id that connects it to runs and qrels.

    `has_idf`: the inverse document frequency is multiplied into them.
    """

    query_id: str
    weights: Mapping[str, float]
    has_idf: bool = False


def read_query_vectors(path: str | Path) -> Iterator[QueryVector]:
    """Yield the queries of a file, which may be gzip; the first line that is not blank decides how it is read.

    - `{`: one JSON object a line, with an id (`IDS`) and a `vector` of token: weight, or the text `title` or `contents`
      (Anserini's encoded topics), whose tokens weigh as often as they stand there.
    - Anything else: an id, a tab, and such tokens, divided by blanks.

    Beside queries that this package exported lies `report.json`, which says whether ids and tokens are escaped, and who
    has the inverse document frequency.

    Raises:
        CorpusError: the file cannot be read, is empty, is not UTF-8 (or marked as another Unicode form), or is cut; a
            line has another form, a weight that is no number above 0, or an id that stands before. It names the line.
    """
    origin = str(path)
    lines_of: dict[str, int] = {}
    report = _report_beside(Path(path))
    try:
        with Path(path).open("rb") as raw:
            for number, query in _queries(_unpacked(raw), origin):
                first = lines_of.setdefault(query.query_id, number)
                if first != number:
                    raise CorpusError(
                        f"{origin}:{number}: the query id {query.query_id!r} stands on line {first} already"
                    )
                yield _as_exported(query, report)
    except (OSError, EOFError, zlib.error) as error:
        after = f" after {len(lines_of):,} queries" if lines_of else ""
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(f"{origin} cannot be read{after}: {reason}") from error
    if not lines_of:
        raise CorpusError(f"{origin}: the file is empty; expected a query a line")


def _report_beside(path: Path) -> Mapping[str, Any]:
    """Return what an export says of itself beside the file; nothing where it is none."""
    try:
        report = json.loads((path.parent / "report.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return report if isinstance(report, dict) and {"format", "idf", "escaped"} <= report.keys() else {}


def _as_exported(query: QueryVector, report: Mapping[str, Any]) -> QueryVector:
    if not report:
        return query
    read = unquote if report["escaped"] is True else str
    weights = {read(token): weight for token, weight in query.weights.items()}
    return QueryVector(read(query.query_id), weights, report["idf"] == "queries")


def _unpacked(raw: io.BufferedReader) -> io.BufferedReader:
    """Return the bytes of a file, decompressed if they are gzip, whatever the file is called."""
    if raw.peek(len(_GZIP))[: len(_GZIP)] != _GZIP:
        return raw
    packed: Any = gzip.GzipFile(fileobj=raw)
    return io.BufferedReader(packed)


def _queries(stream: io.BufferedReader, origin: str) -> Iterator[tuple[int, QueryVector]]:
    is_json: bool | None = None
    for number, line in _lines(stream, origin):
        is_json = line.lstrip().startswith("{") if is_json is None else is_json
        try:
            yield number, _from_object(line, f"{origin}:{number}") if is_json else _from_cells(line)
        except InvalidArgument as error:
            raise CorpusError(f"{origin}:{number}: {error}") from None


def _lines(stream: IO[bytes] | io.BufferedReader, origin: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers from 1."""
    encoding = bom_encoding(stream.peek(4)[:4]) or "utf-8"  # type: ignore[union-attr]
    for number, line in numbered_lines(stream, encoding):
        if isinstance(line, Undecodable):
            raise CorpusError(f"{origin}:{number}: {line}")
        if line.strip():
            yield number, line


def _from_object(line: str, where: str) -> QueryVector:
    parsed = parse_object(line, where, 0)
    if isinstance(parsed, Failure):
        raise InvalidArgument(parsed.reason)
    record = parsed[1]
    query_id = next((record[name] for name in IDS if name in record), None)
    if isinstance(query_id, bool) or not isinstance(query_id, (str, int)) or str(query_id).strip() == "":
        raise InvalidArgument(f"the id of the query ({', '.join(IDS)}) is {shown(query_id)}; expected a text")
    if "vector" in record:
        if not isinstance(record["vector"], dict):
            raise InvalidArgument(f"vector is {shown(record['vector'])}; expected an object of token: weight")
        return QueryVector(str(query_id), check_term_weights(record["vector"]))
    tokens = next((record[name] for name in TOKENS if name in record), None)
    if not isinstance(tokens, str):
        raise InvalidArgument(
            f'expected "vector", an object of token: weight, or {" or ".join(TOKENS)}, a text of tokens'
        )
    return QueryVector(str(query_id), _counted(tokens.split()))


def _from_cells(line: str) -> QueryVector:
    query_id, tab, tokens = line.rstrip("\r\n").partition("\t")
    if not tab or not query_id.strip():
        raise InvalidArgument("expected the id of the query, a tab, and its tokens divided by blanks")
    return QueryVector(query_id.strip(), _counted(tokens.split()))


def _counted(tokens: Iterable[str]) -> dict[str, float]:
    """Return how often each token stands there, which is its weight."""
    return check_term_weights({token: float(count) for token, count in Counter(tokens).items()})
