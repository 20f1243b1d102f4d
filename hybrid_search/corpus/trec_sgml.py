"""Reads topics and documents as TREC hands them out: SGML with loose tags, plain or gzipped."""

from __future__ import annotations

import html
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hybrid_search.corpus.trec import open_plain, read_queries, refuse_doubles
from hybrid_search.errors import EvaluationError
from hybrid_search.types import Document, Query

_TOPIC = re.compile(r"<(top|topic)\b([^>]*)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_NUMBER = re.compile(r"""<num>\s*(?:number:)?\s*([^\s<]+)|\bnumber\s*=\s*["']?([^\s"'>]+)""", re.IGNORECASE)
_TITLE = re.compile(r"<(?:title|query)>\s*(?:topic:)?\s*([^<]*)", re.IGNORECASE)
_DOCNO = re.compile(r"<DOCNO>\s*(.*?)\s*</DOCNO>", re.DOTALL | re.IGNORECASE)
_HEADLINE = re.compile(r"<(TITLE|HEADLINE|HL)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_BODY = re.compile(r"<TEXT>(.*?)</TEXT>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^>]*>")


def read_topics(path: str | Path) -> list[Query]:
    """Read queries: TREC topics (`<top>`, `<topic>`) by their title, JSON Lines as BEIR has them, or `id<TAB>text`.

    Raises:
        EvaluationError: the file cannot be read, a query has no id or no text, an id stands twice, or there is none.
    """
    path = Path(path)
    text = _text(path)
    if text.lstrip()[:1] == "{":
        return read_queries(path)
    found = list(_topics(path, text) if text.lstrip()[:1] == "<" else _tabbed(path, text))
    if not found:
        raise EvaluationError(f"{path} holds no query: TREC topics (<top>), lines of id<TAB>text, or JSON Lines")
    refuse_doubles(path, "query", (query.query_id for query in found))
    return found


def are_trec_documents(path: Path) -> bool:
    """Say whether a file, or the first file of a folder, begins with `<DOC>`."""
    first = next(_files(path), None)
    if first is None:
        return False
    with open_plain(first) as stream:
        return stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n")[:4].upper() == b"<DOC"


def read_trec_documents(path: Path) -> Iterator[Document]:
    """Yield the documents of a file, or of all files of a folder: `<DOC>` with `<DOCNO>`.

    The title is `<TITLE>`, `<HEADLINE>` or `<HL>`; the text is `<TEXT>`, or all that stands between the tags.

    Raises:
        EvaluationError: a file cannot be read, or a document has no DOCNO or does not end.
    """
    for file in _files(path):
        try:
            with open_plain(file) as stream:
                yield from _documents(file, stream)
        except (OSError, EOFError, zlib.error) as error:
            raise EvaluationError(f"{file} cannot be read: {error}") from error


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    visible = (file for file in sorted(path.rglob("*")) if not file.name.startswith("."))
    yield from (file for file in visible if file.is_file())


def _documents(file: Path, stream: IO[bytes]) -> Iterator[Document]:
    lines: list[str] = []
    start = 0
    for number, raw in enumerate(stream, 1):
        line = _decode(raw)
        begins = line.lstrip("\ufeff \t")[:5].upper() == "<DOC>"
        if begins and start:
            raise EvaluationError(f"{file}:{start}: the document does not end before another begins in line {number}")
        if begins:
            lines, start = [], number
        if start:
            lines.append(line)
        if start and "</DOC>" in line.upper():
            yield _document(file, start, "".join(lines))
            start = 0
    if start:
        raise EvaluationError(f"{file}:{start}: the document does not end: no </DOC>")


def _document(file: Path, start: int, text: str) -> Document:
    number = _DOCNO.search(text)
    if number is None or not number[1]:
        raise EvaluationError(f"{file}:{start}: the document has no <DOCNO>")
    title = _HEADLINE.search(text)
    body = "\n".join(_BODY.findall(text)) or _HEADLINE.sub("", _DOCNO.sub("", text))
    return Document(number[1], _plain(body), " ".join(_plain(title[2]).split()) if title else "")


def _plain(text: str) -> str:
    return html.unescape(_TAG.sub(" ", text)).strip()


def _decode(raw: bytes) -> str:
    """Decode UTF-8, or else Latin-1, which the older collections have."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():  # reading a pipe might never end
        raise EvaluationError(f"{path} is not a file")
    try:
        with open_plain(path) as stream:
            return _decode(stream.read()).removeprefix("\ufeff")
    except (OSError, EOFError, zlib.error) as error:
        raise EvaluationError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _topics(path: Path, text: str) -> Iterator[Query]:
    for topic in _TOPIC.finditer(text):
        line = text.count("\n", 0, topic.start()) + 1
        number, title = _NUMBER.search(topic[3]) or _NUMBER.search(topic[2]), _TITLE.search(topic[3])
        if number is None:
            raise EvaluationError(f"{path}:{line}: the topic has no number: <num> or number=")
        words = " ".join(html.unescape(title[1]).split()) if title else ""
        if not words:
            raise EvaluationError(f"{path}:{line}: topic {number[1] or number[2]} has no text in <title> or <query>")
        yield Query(number[1] or number[2], words)


def _tabbed(path: Path, text: str) -> Iterator[Query]:
    for number, line in enumerate(text.split("\n"), 1):
        query_id, tab, words = line.strip("\r").partition("\t")
        if not line.strip():
            continue
        if not (tab and query_id.strip() and words.strip()):
            raise EvaluationError(f"{path}:{number}: expected an id, a tab and the text of a query")
        yield Query(query_id.strip(), words.strip())
