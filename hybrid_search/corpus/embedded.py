"""Cuts out pictures that stand in a Markdown text as `data:` addresses; their labels stay.

Each search starts at an address and looks a bounded distance to either side, so the time is linear in the text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

IMAGES = "images"

_LOOK = 2_000
"""Characters before and behind an address that are searched for what it belongs to."""

_LONG = 100
"""Characters; a longer address is cut wherever it stands."""

_ADDRESS = re.compile(r"data:[\w.+-]{1,100}/[\w.+-]{1,100}[;,]", re.IGNORECASE)
_DESTINATION = re.compile(r"[^\s<>()]*")
_CLOSING = re.compile(r">?[ \t]{0,9}\n?[ \t]{0,9}(?:\"[^\"]{0,999}\"|'[^']{0,999}'|\([^()]{0,999}\))?[ \t]{0,9}\)")
_OPENING = re.compile(r"\]\([ \t]{0,9}<?\Z")
_DEFINITION = re.compile(r" {0,3}\[[^\[\]]{1,999}\]:[ \t]{0,9}<?\Z")
_TAG = re.compile(r"<img\b[^<>]*\bsrc\s{0,9}=\s{0,9}([\"']?)\Z", re.IGNORECASE)
_ALT = re.compile(r"\balt\s{0,9}=\s{0,9}(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))", re.IGNORECASE)
_PAYLOAD = re.compile(r"[\w+/=%;:,.-]*")


class _Cut(NamedTuple):
    """A replacement: `start` to `end` goes, `instead` takes its place."""

    start: int
    end: int
    instead: str


def without_pictures(text: str) -> tuple[str, int]:
    """Return the text without embedded pictures, and how many there were.

    >>> without_pictures("See ![a cat](data:image/png;base64,iVBORw0KGgo=) and ![a dog](dog.png).")
    ('See a cat and ![a dog](dog.png).', 1)
    """
    pieces, at, count = [], 0, 0
    found = _ADDRESS.search(text)
    while found is not None:
        cut = _cut(text, found, at)
        if cut is not None:
            # As many lines as before, so that what follows stands on the line that it has in the file.
            lines = text.count("\n", cut.start, cut.end) - cut.instead.count("\n")
            pieces += [text[at : cut.start], cut.instead, "\n" * lines]
            at, count = cut.end, count + 1
        found = _ADDRESS.search(text, max(at, found.end()))
    return "".join(pieces) + text[at:] if count else text, count


def _cut(text: str, found: re.Match[str], at: int) -> _Cut | None:
    """Return what to cut for an address, nothing before `at`; None if it stays."""
    start = found.start()
    begin = max(at, start - _LOOK)
    before = text[begin:start]
    tag = _TAG.search(before, max(before.rfind("<"), 0))
    if tag is not None:
        cut = _of_tag(text, begin + tag.start(), start, tag[1])
        if cut is not None:
            return cut
    if _OPENING.search(before):
        cut = _of_link(text, begin, start)
        if cut is not None:
            return cut
    line = before.rpartition("\n")[2]
    if _DEFINITION.fullmatch(line) and (len(line) < len(before) or begin in (0, at)):
        stop = text.find("\n", start)
        return _Cut(start - len(line), len(text) if stop < 0 else stop, "")
    payload = _PAYLOAD.match(text, found.end())
    return _Cut(found.end(), payload.end(), "") if payload and len(payload[0]) > _LONG else None


def _of_link(text: str, begin: int, start: int) -> _Cut | None:
    """Return the cut of a Markdown image or link whose address begins at `start`; its label stays."""
    address = _DESTINATION.match(text, start)
    closing = _CLOSING.match(text, address.end() if address else start)
    bracket = text.rfind("](", begin, start)
    opening = text.rfind("![", begin, bracket)
    if opening < 0:
        opening = text.rfind("[", begin, bracket)
    if closing is None or opening < 0:
        return None
    label = text.index("[", opening) + 1
    return _Cut(opening, closing.end(), text[label:bracket])


def _of_tag(text: str, begin: int, start: int, quote: str) -> _Cut | None:
    """Return the cut of an `img` element that begins at `begin`, its address at `start`; its alternative text stays."""
    address = _DESTINATION.match(text, start)
    close = text.find(quote, start) if quote or address is None else address.end()
    end = text.find(">", close, close + _LOOK) if close >= 0 else -1
    if end < 0:
        return None
    named = _ALT.search(text[begin:start]) or _ALT.search(text[close:end])
    return _Cut(begin, end + 1, next((alt for alt in named.groups() if alt), "") if named else "")
