"""Cuts text into spans of whole lines where a splitter's spans are too long for their context, or too short."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

Span = tuple[int, int]
"""Start and end offset of a piece of text."""

Tokens = Callable[[str], int]

_LINE_END = re.compile(r"\n")
_INDENT = re.compile(r"[ \t]*")


def pack_lines(text: str, span: Span, capacity: int, tokens: Tokens, longest: int) -> Iterator[Span]:
    """Yield spans of as many whole lines as fit; a line that is too long is a span of its own.

    Args:
        text: the whole text.
        span: the part of it to cut.
        capacity: tokens of a piece, at most.
        tokens: counts the tokens of a piece.
        longest: characters of a piece, at most, unless it is a single line.
    """
    start, end = span
    while start < end:
        ends = [*_line_ends(text, start, min(end, start + longest)), end]
        ends = [place for place in dict.fromkeys(ends) if place <= start + longest] or [ends[0]]
        fitting = bisect_right(ends, capacity, key=lambda place: tokens(text[start:place]))
        stop = ends[max(0, fitting - 1)]
        yield _trim(text, start, stop)
        start = stop


def merge_slivers(text: str, spans: Sequence[Span], least: int, capacity: int, tokens: Tokens) -> list[Span]:
    """Merge spans of code so that none has fewer tokens than `least`, as far as possible.

    A sliver, such as the first line of a function or a lone comment, goes with what follows: with all of it if that
    fits, else with as many of its lines as fit. If nothing of what follows fits, it goes with what is before it.

    Args:
        text: the whole text.
        spans: in order, not overlapping.
        least: tokens of a piece that may stand by itself.
        capacity: tokens of a piece, at most.
        tokens: counts the tokens of a piece.
    """
    found: list[Span] = []
    rest = list(reversed(spans))
    while rest:
        start, end = rest.pop()
        if tokens(text[start:end]) >= least:
            found.append((start, end))
        elif rest and tokens(text[start : rest[-1][1]]) <= capacity:
            rest.append((start, rest.pop()[1]))
        elif rest and (cut := _cut(text, start, rest[-1], capacity, tokens)):
            found.append(_trim(text, start, cut))
            rest.append((cut, rest.pop()[1]))
        elif found and tokens(text[found[-1][0] : end]) <= capacity:
            found.append((found.pop()[0], end))
        else:
            found.append((start, end))
    return [(start, end) for start, end in found if text[start:end].strip()]


def _cut(text: str, start: int, following: Span, capacity: int, tokens: Tokens) -> int:
    """Return where to cut the following span so that its first lines fit behind `start`; 0 if not even one fits.

    Among the last half of the line ends that fit, the one with the least indented next line wins: a statement begins
    there.
    """
    ends = [place for place in _line_ends(text, *following) if text[place : following[1]].strip()]
    fitting = bisect_right(ends, capacity, key=lambda place: tokens(text[start:place]))
    places = ends[fitting // 2 : fitting]
    return min(places, key=lambda place: (_indent(text, place), -place), default=0)


def _trim(text: str, start: int, end: int) -> Span:
    return start, start + len(text[start:end].rstrip())


def _line_ends(text: str, start: int, end: int) -> list[int]:
    """Return the offsets behind the line ends of a span."""
    return [match.end() for match in _LINE_END.finditer(text, start, end)]


def _indent(text: str, place: int) -> int:
    blank = _INDENT.match(text, place)
    return len(blank[0].expandtabs(4)) if blank else 0
