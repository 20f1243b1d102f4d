"""Reads JSON: one object per line, objects over several lines, or one array of objects."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import IO, Any, Literal

from hybrid_search.corpus.decoding import (
    MAX_DOCUMENT_BYTES,
    SAMPLE_BYTES,
    RestUndecodable,
    Undecodable,
    decode,
    numbered_lines,
    sniff,
)
from hybrid_search.corpus.fields import FieldMap, document_of
from hybrid_search.types import BrokeOff, Document, Failure

_SPACE = " \t\r\n"
_NO_SPACE = re.compile(r"[^ \t\r\n]")
_KINDS = {
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


Record = tuple[int, dict[str, Any]]
"""A JSON object with its number from 1: of its line, its place in the array, or its place among the objects."""

Layout = Literal["lines", "objects", "array"]
"""How objects are written: one per line, over several lines each, or in one array."""


def read_jsonl(
    stream: IO[bytes], encoding: str, *, origin: str, name: str, fields: FieldMap
) -> Iterator[Document | Failure]:
    """Yield one document per line; blank lines are skipped, a broken line is a Failure and the others go on.

    Args:
        stream: at the first byte.
        encoding: as `sniff` names it.
        origin: the path shown to the user; a line's origin is `path:line`.
        name: a record without an id gets the id `name:line`.
        fields: which fields are id, text and title.
    """
    return _documents(jsonl_records(stream, encoding, origin=origin), origin, name, fields)


def read_json(
    stream: IO[bytes], encoding: str, *, origin: str, name: str, fields: FieldMap
) -> Iterator[Document | Failure]:
    """Yield the documents of a `.json` file: one array of objects, objects over several lines, or one object per line.

    An array is read element by element. Its origins and made-up ids count the elements from 1.
    """
    return _documents(json_records(stream, encoding, origin=origin), origin, name, fields)


def read_json_as(
    layout: Layout, stream: IO[bytes], encoding: str, *, origin: str, name: str, fields: FieldMap
) -> Iterator[Document | Failure]:
    """Yield the documents of JSON that is written in a known layout; the stream may be a pipe."""
    return _documents(_records(layout, stream, encoding, origin), origin, name, fields)


def layout_of(begins: str, *, is_cut: bool) -> Layout | None:
    """Return how objects are written, judged by the beginning of a text; None if it is not JSON.

    Args:
        begins: the first characters, without leading white space.
        is_cut: whether the text goes on.

    >>> [layout_of(text, is_cut=False) for text in ('{"a": 1}', '{\\n"a": 1}', '[ {"a": 1}]', "[x] done", "[]")]
    ['lines', 'objects', 'array', None, 'array']
    """
    if begins.startswith("["):
        inside = begins[1:].lstrip()
        return "array" if inside.startswith("{") or (inside.rstrip() == "]" and not is_cut) else None
    if not begins.startswith("{"):
        return None
    first, _, rest = begins.partition("\n")
    if not rest and is_cut:
        return "lines"  # a line of its own, as long as it may be
    return _layout(first.strip(), next((line.strip() for line in rest.split("\n") if line.strip()), ""))


def jsonl_records(stream: IO[bytes], encoding: str, *, origin: str) -> Iterator[Record | Failure]:
    """Yield the objects that `read_jsonl` turns into documents."""
    empty = True
    for number, line in numbered_lines(stream, encoding):
        where = f"{origin}:{number}"
        if isinstance(line, Undecodable):
            empty = False
            yield (BrokeOff if isinstance(line, RestUndecodable) else Failure)(where, str(line))
        elif line.strip():
            empty = False
            yield parse_object(line, where, number)
    if empty:
        yield Failure(origin, "the file is empty")


def json_records(stream: IO[bytes], encoding: str, *, origin: str) -> Iterator[Record | Failure]:
    """Yield the objects that `read_json` turns into documents."""
    stream.seek(0)
    first, second = _first_two(stream, encoding)
    stream.seek(0)
    layout: Layout = "array" if first.startswith("[") else _layout(first, second)
    yield from _records(layout, stream, encoding, origin)


def count_json(stream: IO[bytes]) -> int:
    """Estimate how many documents a `.json` file holds: the elements of its array, else its lines."""
    try:
        encoding = sniff(stream.read(SAMPLE_BYTES)).name
    except Undecodable:
        return 1
    stream.seek(0)
    if not stream.read(SAMPLE_BYTES).decode(encoding, "ignore").lstrip().startswith("["):
        stream.seek(0)
        return count_lines(stream)
    stream.seek(0)
    count = 0
    try:
        for _ in _elements(stream, encoding):
            count += 1
    except (ValueError, RecursionError):
        count += 1
    return count


def count_lines(stream: IO[bytes]) -> int:
    """Count the lines from here to the end, including a last one without `\\n`."""
    count = 0
    last = b"\n"
    while block := stream.read(1 << 20):
        count += block.count(b"\n")
        last = block[-1:]
    return count + (last != b"\n")


def _documents(
    records: Iterator[Record | Failure], origin: str, name: str, fields: FieldMap
) -> Iterator[Document | Failure]:
    for found in records:
        if isinstance(found, Failure):
            yield found
        else:
            number, record = found
            yield document_of(record, fields, origin=f"{origin}:{number}", fallback_id=f"{name}:{number}")


def _layout(first: str, second: str) -> Layout:
    """Return how objects are written, judged by the first two non-blank lines, neither of which begins an array."""
    return "lines" if not first or _is_object(first) or _is_object(second) else "objects"


def _records(layout: Layout, stream: IO[bytes], encoding: str, origin: str) -> Iterator[Record | Failure]:
    if layout == "array":
        return _read_array(stream, encoding, origin)
    if layout == "lines":
        return jsonl_records(stream, encoding, origin=origin)
    return _read_objects(stream, encoding, origin)


def _read_objects(stream: IO[bytes], encoding: str, origin: str) -> Iterator[Record | Failure]:
    """Yield objects that follow one another, each over any number of lines, as `jq` prints them."""
    data = stream.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        yield Failure(origin, f"over {MAX_DOCUMENT_BYTES >> 20} MB of JSON; write one object per line, or an array")
        return
    try:
        text = decode(data, encoding).text.rstrip()
    except Undecodable as error:
        yield Failure(origin, str(error))
        return
    decoder, number, at = json.JSONDecoder(), 0, _after_space(text, 0)
    while at < len(text):
        number += 1
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            kind, rest = (BrokeOff, "; the rest is left out") if number > 1 else (Failure, "")
            yield kind(f"{origin}:{number}", _broken(error) + rest)
            return
        yield _object(value, f"{origin}:{number}", number)
        at = _after_space(text, end)


def _after_space(text: str, at: int) -> int:
    """Return the offset of the next character, at or behind `at`, that is not JSON white space."""
    found = _NO_SPACE.search(text, at)
    return found.start() if found else len(text)


def parse_object(text: str, where: str, number: int) -> Record | Failure:
    """Parse a line that is one JSON object.

    Args:
        text: the line.
        where: its place, as a failure names it.
        number: its number, which comes back with the object.
    """
    try:
        value = json.loads(text.rstrip())
    except (ValueError, RecursionError) as error:
        return Failure(where, _broken(error))
    return _object(value, where, number)


def _object(value: Any, where: str, number: int) -> Record | Failure:
    if not isinstance(value, dict):
        return Failure(where, f"expected a JSON object, found {_KINDS[type(value)]}")
    return number, value


def _read_array(stream: IO[bytes], encoding: str, origin: str) -> Iterator[Record | Failure]:
    number = 0
    try:
        for number, value in enumerate(_elements(stream, encoding), 1):
            yield _object(value, f"{origin}:{number}", number)
    except (ValueError, RecursionError) as error:
        # After a broken element nobody can say where the next begins.
        yield BrokeOff(f"{origin}:{number + 1}", f"{_broken(error)}; the rest of the array is left out")
    else:
        if not number:
            yield Failure(origin, "the array is empty")


def _elements(stream: IO[bytes], encoding: str) -> Iterator[Any]:
    """Yield the elements of one JSON array, holding about one of them in memory.

    Raises:
        ValueError: the stream is not JSON, or not text.
    """
    text = io.TextIOWrapper(stream, encoding=encoding)
    try:
        yield from _ArrayReader(text).elements()
    finally:
        text.detach()


class _ArrayReader:
    """Reads one JSON array piece by piece, holding about one element of it.

    Args:
        text: the stream, at the opening bracket or at white space before it.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._decoder = json.JSONDecoder()
        self._buffer, self._at, self._ended = "", 0, False

    def elements(self) -> Iterator[Any]:
        """Yield the elements of the array.

        Raises:
            ValueError: the text is not one JSON array.
        """
        self._next_char()
        self._at += 1  # the opening bracket, which the caller has seen
        closed = self._next_char() == "]"
        self._at += closed
        while not closed:
            if not self._next_char():
                raise self._error("the array is never closed")
            yield self._element()
            closed = self._closes()
        if self._next_char():
            raise self._error("something stands after the array's end")

    def _next_char(self) -> str:
        """Skip white space and return the next character, without taking it; empty at the end."""
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._buffer) or self._ended:
                return self._buffer[self._at : self._at + 1]
            self._buffer, self._at = self._text.read(SAMPLE_BYTES), 0
            self._ended = not self._buffer

    def _element(self) -> Any:
        """Take the next element. Each attempt reads twice as much, so a long element is parsed only a few times."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
                if end < len(self._buffer) or self._ended:
                    self._at = end
                    return value
            except ValueError:
                if self._ended or len(self._buffer) - self._at > MAX_DOCUMENT_BYTES:
                    raise
            more = self._text.read(max(SAMPLE_BYTES, len(self._buffer) - self._at))
            self._ended = not more
            self._buffer, self._at = self._buffer[self._at :] + more, 0

    def _closes(self) -> bool:
        """Take what stands behind an element, and return whether it closes the array."""
        mark = self._next_char()
        if mark not in (",", "]"):
            raise self._error("expected ',' or ']' after an element" if mark else "the array is never closed")
        self._at += 1
        return mark == "]"

    def _error(self, what: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(what, self._buffer, self._at)


def _first_two(stream: IO[bytes], encoding: str) -> tuple[str, str]:
    """Return the first two non-blank lines, stripped; empty if there are none."""
    found: list[str] = []
    with closing(numbered_lines(stream, encoding)) as lines:
        for _, line in lines:
            if isinstance(line, Undecodable) or line.strip():
                found.append("?" if isinstance(line, Undecodable) else line.strip())
            if len(found) == 2:
                break
    first, second = [*found, "", ""][:2]
    return first, second


def _is_object(line: str) -> bool:
    """Return whether the line is a whole JSON object; `{},` of a pretty-printed one is not."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _broken(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        return f"not valid JSON: {error.msg} ({line}column {error.colno})"
    if isinstance(error, RecursionError):
        return "not readable JSON: nested too deep"
    return f"not readable JSON: {error}"
