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

Way = Literal["lines", "objects", "array"]
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


def read_json_of(
    way: Way, stream: IO[bytes], encoding: str, *, origin: str, name: str, fields: FieldMap
) -> Iterator[Document | Failure]:
    """Yield the documents of JSON that is written in a known way; the stream may be a pipe."""
    return _documents(_records(way, stream, encoding, origin), origin, name, fields)


def way_of(begins: str, *, is_cut: bool) -> Way | None:
    """Return how objects are written, judged by the beginning of a text; None if it is not JSON.

    Args:
        begins: the first characters, without leading white space.
        is_cut: whether the text goes on.

    >>> [way_of(text, is_cut=False) for text in ('{"a": 1}', '{\\n"a": 1}', '[ {"a": 1}]', "[x] done", "[]")]
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
    return _way(first.strip(), next((line.strip() for line in rest.split("\n") if line.strip()), ""))


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
            yield _parsed(line, where, number)
    if empty:
        yield Failure(origin, "the file is empty")


def json_records(stream: IO[bytes], encoding: str, *, origin: str) -> Iterator[Record | Failure]:
    """Yield the objects that `read_json` turns into documents."""
    stream.seek(0)
    first, second = _first_two(stream, encoding)
    stream.seek(0)
    way: Way = "array" if first.startswith("[") else _way(first, second)
    yield from _records(way, stream, encoding, origin)


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


def _way(first: str, second: str) -> Way:
    """Return how objects are written, judged by the first two non-blank lines, neither of which begins an array."""
    return "lines" if not first or _is_object(first) or _is_object(second) else "objects"


def _records(way: Way, stream: IO[bytes], encoding: str, origin: str) -> Iterator[Record | Failure]:
    if way == "array":
        return _read_array(stream, encoding, origin)
    if way == "lines":
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


def _parsed(text: str, where: str, number: int) -> Record | Failure:
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
        yield from _elements_of(text)
    finally:
        text.detach()


def _elements_of(text: io.TextIOWrapper) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    buffer, at, ended, step = "", 0, False, SAMPLE_BYTES

    def next_char() -> str:
        nonlocal buffer, at, ended
        while True:
            while at < len(buffer) and buffer[at] in _SPACE:
                at += 1
            if at < len(buffer) or ended:
                return buffer[at : at + 1]
            buffer, at = text.read(step), 0
            ended = not buffer

    def fail(what: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(what, buffer, at)

    next_char()
    at += 1  # the opening bracket, which the caller has seen
    if next_char() == "]":
        at += 1
    else:
        while True:
            if not next_char():
                raise fail("the array is never closed")
            while True:
                try:
                    value, end = decoder.raw_decode(buffer, at)
                    if end < len(buffer) or ended:
                        break
                except ValueError:
                    if ended or len(buffer) - at > MAX_DOCUMENT_BYTES:
                        raise
                # Twice as much each time, so that a long element is not parsed more than a few times.
                more = text.read(max(step, len(buffer) - at))
                ended = not more
                buffer, at = buffer[at:] + more, 0
            at = end
            yield value
            mark = next_char()
            at += 1
            if mark == "]":
                break
            if mark != ",":
                at -= 1
                raise fail("expected ',' or ']' after an element" if mark else "the array is never closed")
    if next_char():
        raise fail("something stands after the array's end")


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
