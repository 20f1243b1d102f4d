"""Limits on an answer's length, and on what of a document goes into it: cut to size, without hidden characters.

What is cut says so, and says how to read the rest. Each control character becomes one other character, so offsets stay
valid.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from hybrid_search._util.printable import printable

MAX_ANSWER = 1_000_000
"""Longest answer in bytes: its text and its structured content, as JSON."""

MAX_ID, MAX_TITLE, MAX_ORIGIN = 4_096, 500, 1_000
MAX_FIELDS, MAX_FIELD_NAME = 50, 200
MAX_CHUNKS = 20
"""Most chunks of one hit."""

MAX_ERROR = 4_000
_KEPT = "\t\n\u200b\u2060\ufeff"
"""Characters that are kept although a terminal does not show them: white space, and zero-width ones of scripts."""

Structured = TypeVar("Structured")


class Room(NamedTuple):
    """Limits on a document's metadata: characters of a value, and bytes of all."""

    value: int
    all: int


IN_HITS, IN_DOCUMENTS = Room(500, 8_000), Room(2_000, 32_000)


def clean(text: str) -> str:
    """Return a text from a document in a form safe to show, of the same length."""
    return printable(text, keep=_KEPT)


def cut(text: str, most: int, rest: str = "") -> str:
    """Return the beginning of a text; if it is cut, also its full length and how to read the rest (`rest`).

    >>> cut("abc", 3), cut("abcdef", 3, "get gives all")
    ('abc', 'abc… [cut: 6 characters; get gives all]')
    """
    if len(text) <= most:
        return clean(text)
    told = f"; {rest}" if rest else ""
    return f"{clean(text[:most])}… [cut: {len(text):,} characters{told}]"


def cut_field(name: str, text: str, most: int) -> str:
    """Return the beginning of a field, and how to read all of it."""
    return cut(text, most, f"get with field={clean(name)!r} reads all of it")


def shown_id(name: str) -> str:
    """Return an id exactly, so that it can be asked for; an id too long to ask for is cut."""
    return name if len(name) <= MAX_ID else cut(name, MAX_ID, "too long to be asked for")


def shown_metadata(metadata: Mapping[str, Any], room: Room = IN_HITS) -> tuple[dict[str, Any], int]:
    """Return the part of a document's metadata that fits, and how many fields are left out."""
    shown: dict[str, Any] = {}
    left = room.all
    for name, value in metadata.items():
        if len(shown) == MAX_FIELDS or len(name) > MAX_FIELD_NAME:
            continue
        kept = _value(name, value, room.value)
        size = weight(name) + weight(kept)
        if size <= left:
            shown[clean(name)] = kept
            left -= size
    return shown, len(metadata) - len(shown)


def value_text(value: Any) -> str:
    """Return a metadata value as text: a text itself, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def weight(value: Any) -> int:
    """Return the bytes of a value as JSON."""
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def fitting(make: Callable[..., tuple[Structured, str]], *sizes: tuple[int, int]) -> tuple[Structured, str]:
    """Return the largest answer within the limit. Sizes are halved one after the other, starting with the first pair.

    Args:
        make: makes the answer for these sizes, structured and as text.
        sizes: of each, the wanted size and the smallest one.
    """
    now = [wanted for wanted, _ in sizes]
    while True:
        structured, text = make(*now)
        if weight(structured) + weight(text) <= MAX_ANSWER:
            return structured, text
        place = next((place for place, (_, least) in enumerate(sizes) if now[place] > least), None)
        if place is None:
            return structured, text
        now[place] = max(sizes[place][1], now[place] // 2)


def _value(name: str, value: Any, most: int) -> Any:
    """Return a short value as it is, a long one as the beginning of its text."""
    text = value_text(value)
    if len(text) > most:
        return cut_field(name, text, most)
    return _cleaned(value)


def _cleaned(value: Any) -> Any:
    """Return a value with each text in it made safe to show."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {clean(str(name)): _cleaned(each) for name, each in value.items()}
    return value
