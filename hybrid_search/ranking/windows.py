"""Chooses which part of a text is shown: the window that holds the most of what matches."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hybrid_search._util.unicode_text import whole_character
from hybrid_search.results import Mark

REPEATED = 0.1
"""What a repeated word counts in a window, compared with a new one."""

_SENTENCE = re.compile(r"[.!?]\s+|[。！？｡]|\n")
_REACH = 90
"""Characters before the first match within which a sentence may begin that the window starts with."""


def densest(text: str, marks: Sequence[Mark], window: int) -> tuple[int, int]:
    """Return the best window if only marks are known: query words count double, equal letters are one word."""
    weights = [1.0 if mark.kind == "literal" else 0.5 for mark in marks]
    return window_of(text, marks, weights, [text[mark.start : mark.end].lower() for mark in marks], window)


def window_of(
    text: str, marks: Sequence[Mark], weights: Sequence[float], stems: Sequence[str], window: int
) -> tuple[int, int]:
    """Return the window of at most `window` characters that holds the most marks; it begins and ends between words.

    Each stem counts once, by its weight, and a little for every repetition. Of equal windows the first is taken. It
    holds at least one mark if any is not longer than the window; otherwise it begins with a mark.

    Args:
        text: the text with the marks.
        marks: in order, none inside another.
        weights: the weight of each mark.
        stems: the stem of each mark; marks of one word share it.
        window: characters, > 0.
    """
    if len(text) <= window:
        return 0, len(text)
    first, last = _best(marks, weights, stems, window)
    begin, finish = (marks[first].start, marks[last].end) if marks else (0, 0)
    # The marks stand inside in any case; what is left of the room is shared out before and behind them.
    start = _beginning(text, begin, max(0, min(_REACH, (window - (finish - begin)) * 2 // 3)))
    if len(text) - start < window:  # there is room before it, and none behind
        start = _word_start(text, len(text) - window, begin)
    end = min(len(text), start + window)
    if end < len(text) and not text[end].isspace():
        cut = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
        if cut >= finish and cut > start + window // 2:
            return start, cut
        end = max(min(finish, end), whole_character(text, end))
    return start, end


def _best(marks: Sequence[Mark], weights: Sequence[float], stems: Sequence[str], window: int) -> tuple[int, int]:
    """Return the first and the last mark of the best window."""
    counts: dict[str, int] = {}
    total, best, found, end = 0.0, -1.0, (0, 0), 0
    # Two ends that only move forward, so that a long text takes time by its length alone.
    for start in range(len(marks)):
        while end < len(marks) and marks[end].end - marks[start].start <= window:
            total += weights[end] * (REPEATED if counts.get(stems[end]) else 1.0)
            counts[stems[end]] = counts.get(stems[end], 0) + 1
            end += 1
        if total > best + 1e-9:
            best, found = total, (start, max(start, end - 1))
        if end > start:
            counts[stems[start]] -= 1
            total -= weights[start] * (REPEATED if counts[stems[start]] else 1.0)
        else:
            end = start + 1
    return found


def _beginning(text: str, mark: int, reach: int) -> int:
    """Return where the window begins that holds a mark, at most `reach` before it: with a sentence or else a word."""
    lower = max(0, mark - reach)
    ends = [match.end() for match in _SENTENCE.finditer(text, lower, mark)]
    if ends:
        return ends[0]
    return 0 if lower == 0 else _word_start(text, mark - reach // 3, mark)


def _word_start(text: str, start: int, mark: int) -> int:
    """Return the first start of a word soon behind `start` and before a mark; else the start of a character."""
    blank = text.find(" ", max(0, start - 1), min(mark, start + _REACH // 3))
    if blank >= 0:
        return blank + 1
    while start < mark and whole_character(text, start) != start:
        start += 1
    return start
