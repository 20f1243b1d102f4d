"""Reads a pipe: no name says what it holds, so its beginning decides."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import IO

from hybrid_search.corpus.csv_rows import TAB
from hybrid_search.corpus.decoding import MAX_DOCUMENT_BYTES, SAMPLE_BYTES, Undecodable, decode, sniff
from hybrid_search.corpus.fields import BadRecord, FieldMap, check_columns
from hybrid_search.corpus.jsonl import layout_of, read_json_as
from hybrid_search.corpus.tabular import read_csv
from hybrid_search.corpus.walk import STDIN
from hybrid_search.types import Document, Failure, Guessed, SourceItem

NAME = "stdin"
_DELIMITERS = (TAB, ";", ",")


def read_piped(stream: IO[bytes], fields: FieldMap) -> Iterator[SourceItem]:
    """Yield the documents that come through a pipe; the first non-blank line decides how it is read.

    - `{`: JSON, one object per line or objects over several lines.
    - `[` before a `{`: a JSON array of objects.
    - The header of a table with at least two columns, one of them a text (`text`, `title` and so on, or as `fields`
    says):
      CSV, or TSV if tabs divide it.
    - Anything else is one plain text.
    """
    head = stream.read(SAMPLE_BYTES)
    if not head:
        yield Failure(STDIN, "nothing came in on stdin")
        return
    try:
        encoding, guessed = sniff(head, fields.encoding)
    except Undecodable as error:
        yield Failure(STDIN, str(error))
        return
    whole = io.BufferedReader(_Joined(head, stream))
    begins = head.decode(encoding, "ignore").lstrip("\ufeff").lstrip()
    layout = layout_of(begins, is_cut=len(head) == SAMPLE_BYTES)
    delimiter = None if layout else _delimiter(begins.partition("\n")[0], fields)
    if layout:
        yield from read_json_as(layout, whole, encoding, origin=STDIN, name=NAME, fields=fields)
    elif delimiter:
        given = TAB if delimiter == TAB else None
        yield from read_csv(whole, encoding, origin=STDIN, name=NAME, fields=fields, delimiter=given)
    else:
        yield _text(whole, fields)
    if guessed:
        yield Guessed(STDIN, encoding)


def _text(whole: IO[bytes], fields: FieldMap) -> Document | Failure:
    data = whole.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        return Failure(STDIN, f"larger than {MAX_DOCUMENT_BYTES >> 20} MB, too large for one document")
    try:
        text = decode(data, fields.encoding).text
    except Undecodable as error:
        return Failure(STDIN, str(error))
    if not text.strip():
        return Failure(STDIN, "no text: only white space came in on stdin")
    return Document(doc_id=NAME, text=text, origin=STDIN)


def _delimiter(line: str, fields: FieldMap) -> str | None:
    """Return what divides the cells of a table's header; None if the line is not one."""
    counts = Counter(line)
    best = max(_DELIMITERS, key=lambda mark: counts[mark])
    try:
        [header] = csv.reader([line.rstrip("\r")], delimiter=best, strict=True)
        check_columns([name.strip() for name in header], fields)
    except (csv.Error, ValueError, BadRecord):
        return None
    return best if len(header) > 1 else None


class _Joined(io.RawIOBase):
    """Bytes already read from a stream, then the rest of it, because a pipe cannot be rewound."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        piece = self._head[: len(target)] if self._head else memoryview(self._rest.read(len(target)))
        self._head = self._head[len(piece) :]
        target[: len(piece)] = piece
        return len(piece)
