"""Which words of a text a query's vector stands for: marks in it, and the window that holds most of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from hybrid_search.ranking.stems import plain, stem
from hybrid_search.results import Highlight, Kind, Mark, Term

WINDOW = 280
"""Characters of a passage that are shown."""

EXPANSIONS = 40
"""Of the words that only the expansion brings the heaviest are looked for, and of a word the first pairs of letters."""

_SENTENCE = re.compile(r"[.!?]\s+|[。！？]|\n")
_REACH = 90
"""Characters before the first match in which a sentence may begin that the window begins with."""

# Scripts that set no blanks between words, and Hangul, whose words bear their particles: a word is looked for inside of
# others there. Thai and Lao, Myanmar, Khmer, Hangul, kana, Han.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
_UNSPACED += "\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff"
_WITHIN = re.compile(f"[{_UNSPACED}]+")
_PIECES = re.compile(f"[{_UNSPACED}]+|[^\\W{_UNSPACED}]+")
"""Words, cut where one script that sets no blanks meets another script."""

REPEATED = 0.1
"""What a word counts that a window has already, against one that it has not."""

# Words that say nothing by themselves are not marked, unless the query has no others.
_SMALL_WORDS = """
a about an and are as at be been being but by did do does for from had has have he her his how i if in into is it its me
my no not of on or our she so some such than that the their them then there these they this those to us was we were what
when where which who whom whose why will with would you your
"""
_SMALL = frozenset(_SMALL_WORDS.split())


class Sought(NamedTuple):
    """How a word counts that is looked for."""

    kind: Kind
    weight: float


def sought(query: str, terms: Iterable[Term] = ()) -> dict[str, Sought]:
    """What to look for in texts, by stem: the query's words, and the heaviest words that its expansion adds.

    Of a script without blanks a word is looked for as it stands, and every two characters of it that follow each other
    (as Lucene's CJKBigramFilter cuts them), for the text may cut words elsewhere.

    Args:
        query: its text.
        terms: of its sparse vector, heaviest first; none where no leg has words.

    >>> [(stem, found.kind) for stem, found in sought("hearts", [Term("cardiac", 1.2, False)]).items()]
    [('heart', 'literal'), ('cardiac', 'expansion')]
    >>> list(sought("黒い猫"))
    ['黒い猫', '黒い', 'い猫']
    """
    words = _PIECES.findall(query)
    told = [word for word in words if plain(word) not in _SMALL] or words
    terms = list(terms)
    weights: dict[str, float] = {}
    for term in terms:
        weights[stem(term.term)] = max(weights.get(stem(term.term), 0.0), term.weight)
    top = max(weights.values(), default=1.0)
    found: dict[str, Sought] = {}
    for word in told:
        if not _WITHIN.match(word):
            found[stem(word)] = Sought("literal", max(weights.get(stem(word), 0.0), top / 2))
            continue
        found[word] = Sought("literal", top)
        for place in range(min(len(word) - 1, EXPANSIONS)):
            found.setdefault(word[place : place + 2], Sought("literal", top / 2))
    for term in terms:
        if term.in_query and _WITHIN.fullmatch(term.term):
            found.setdefault(term.term, Sought("literal", term.weight))
    added = [term for term in terms if not term.in_query and term.term.isalnum() and term.term not in _SMALL]
    for term in added[:EXPANSIONS]:
        found.setdefault(stem(term.term), Sought("expansion", term.weight))
    return found


def highlight(text: str, wanted: Mapping[str, Sought], window: int = WINDOW) -> Highlight:
    """The marks in a text, and the window of at most `window` characters that holds the most of what is wanted.

    A window counts each stem once, by its weight, and a little for every repetition; of equal ones the first is taken.
    It begins with a sentence where one begins shortly before.
    """
    # Each word is looked at once, and then only those that match are looked for.
    roots = {word: root for word in set(_PIECES.findall(text)) if (root := stem(word)) in wanted}
    places = [(start, start + len(word), root) for word, root in roots.items() for start in _places(word, text)]
    places += [(start, end, word) for word in wanted if _WITHIN.match(word) for start, end in _within(word, text)]
    places = _apart(sorted(places))
    marks = tuple(Mark(start, end, wanted[root].kind) for start, end, root in places)
    stems = [root for _, _, root in places]
    return Highlight(*_window(text, marks, [wanted[root].weight for root in stems], stems, window), marks)


def densest(text: str, marks: Sequence[Mark], window: int) -> tuple[int, int]:
    """The window of at most `window` characters that holds the most of the marks; words of the query count double.

    It holds a mark wherever there is one that is no longer than it; else it begins with a mark.
    """
    weights = [1.0 if mark.kind == "literal" else 0.5 for mark in marks]
    return _window(text, marks, weights, [text[mark.start : mark.end].lower() for mark in marks], window)


def _window(
    text: str, marks: Sequence[Mark], weights: Sequence[float], stems: Sequence[str], window: int
) -> tuple[int, int]:
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
        while end > finish and _joined(text, end):
            end -= 1
    return start, end


def _places(word: str, text: str) -> Iterator[int]:
    """Where a word stands in a text as a whole word."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if not (_inside(text[start - 1 : start]) or _inside(text[end : end + 1])):
            yield start
        start = text.find(word, end)


def _within(word: str, text: str) -> Iterator[tuple[int, int]]:
    """Where a word stands in a text, inside of others too."""
    start = text.find(word)
    while start >= 0:
        yield start, start + len(word)
        start = text.find(word, start + 1)


def _apart(places: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """The same places in order, those that overlap taken together under the name of the longest."""
    found: list[tuple[int, int, str]] = []
    for start, end, root in places:
        if found and start < found[-1][1]:
            before, until, name = found[-1]
            found[-1] = (before, max(until, end), max(name, root, key=len))
        else:
            found.append((start, end, root))
    return found


def _inside(sign: str) -> bool:
    """Whether a sign belongs to a word that has blanks around it; the one beyond a text's end does not."""
    return (sign.isalnum() or sign == "_") and not _WITHIN.match(sign)


def _best(marks: Sequence[Mark], weights: Sequence[float], stems: Sequence[str], window: int) -> tuple[int, int]:
    """The first and the last mark of the best window."""
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
    """Where the window begins that is to hold a mark, at most `reach` before it: with a sentence or else a word."""
    lower = max(0, mark - reach)
    ends = [match.end() for match in _SENTENCE.finditer(text, lower, mark)]
    if ends:
        return ends[0]
    return 0 if lower == 0 else _word_start(text, mark - reach // 3, mark)


def _word_start(text: str, start: int, mark: int) -> int:
    """The first start of a word soon behind `start` and before a mark; where there is none, that of a character."""
    blank = text.find(" ", max(0, start - 1), min(mark, start + _REACH // 3))
    if blank >= 0:
        return blank + 1
    while start < mark and _joined(text, start):
        start += 1
    return start


def _joined(text: str, place: int) -> bool:
    """Whether the sign at a place belongs to the letter before it."""
    return bool(unicodedata.combining(text[place])) or "\u200d" in text[place - 1 : place + 1]
