"""Which words of a text a query's vector stands for: marks in it, and the window that holds most of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from hybrid_search.ranking.stems import plain, stem
from hybrid_search.results import Highlight, Kind, Mark, Term
from hybrid_search.unicode_text import WORDS, is_run, nfc, spellings, whole_character, word_list

WINDOW = 280
"""Characters of a passage that are shown."""

EXPANSIONS = 40
"""Of the words that only the expansion brings, the heaviest are looked for."""

_SENTENCE = re.compile(r"[.!?]\s+|[。！？｡]|\n")
_REACH = 90
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

    Of scripts without blanks it is the words themselves, which are looked for as parts of a text.

    Args:
        query: its text.
        terms: of its sparse vector, heaviest first; none where no leg has words.

    >>> [(stem, found.kind) for stem, found in sought("hearts", [Term("cardiac", 1.2, False)]).items()]
    [('heart', 'literal'), ('cardiac', 'expansion')]
    """
    words = word_list(query)
    told = [word for word in words if plain(word) not in _SMALL] or words
    terms = list(terms)
    weights: dict[str, float] = {}
    for term in terms:
        weights[_root(term.term)] = max(weights.get(_root(term.term), 0.0), term.weight)
    top = max(weights.values(), default=1.0)
    told += [term.term for term in terms if term.in_query and is_run(term.term)]
    found = {_root(word): Sought("literal", max(weights.get(_root(word), 0.0), top / 2)) for word in told}
    added = [term for term in terms if not term.in_query and term.term.isalnum() and term.term not in _SMALL]
    for term in added[:EXPANSIONS]:
        found.setdefault(_root(term.term), Sought("expansion", term.weight))
    return found


def highlight(text: str, wanted: Mapping[str, Sought], window: int = WINDOW) -> Highlight:
    """The marks in a text, and the window of at most `window` characters that holds the most of what is wanted.

    A window counts each stem once, by its weight, and a little for every repetition; of equal ones the first is taken.
    It begins with a sentence where one begins shortly before.
    """
    places = _matches(text, wanted)
    stems = [root for _, _, root in places]
    weights = [wanted[root].weight for root in stems]
    marks = [Mark(start, end, wanted[root].kind) for start, end, root in places]
    if len(text) <= window:
        return Highlight(0, len(text), tuple(marks))
    first = _best(marks, weights, stems, window)
    start = _beginning(text, marks[first].start if marks else 0)
    if len(text) - start < window:  # there is room before it, and none behind
        start = text.find(" ", len(text) - window - 1, start) + 1 or len(text) - window
    start = whole_character(text, start)
    end = min(len(text), start + window)
    if end < len(text) and not text[end].isspace():
        cut = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
        end = cut if cut > start + window // 2 else whole_character(text, end)
    return Highlight(start, end, tuple(marks))


def _root(word: str) -> str:
    """What a word is looked for by: its stem, or of a script without blanks the word itself."""
    return nfc(word) if is_run(word) else stem(word)


def _matches(text: str, wanted: Mapping[str, Sought]) -> list[tuple[int, int, str]]:
    """Where a text has what is looked for: start, end and root, by place, none inside another."""
    if text.isascii():
        # Each word is looked at once, and then only those that match are looked for.
        roots = {word: root for word in set(word_list(text)) if (root := stem(word)) in wanted}
        return sorted((start, start + len(word), root) for word, root in roots.items() for start in _places(word, text))
    words = ((found.start(), found.end(), stem(found[0])) for found in WORDS.finditer(text) if not found["run"])
    places = [place for place in words if place[2] in wanted]
    parts = [place for root in wanted if is_run(root) for form in spellings(root) for place in _parts(form, root, text)]
    kept: list[tuple[int, int, str]] = []
    # Of parts that overlap the first counts, of those that begin at one place the longest.
    for place in sorted([*places, *parts], key=lambda each: (each[0], -each[1])):
        if not kept or place[0] >= kept[-1][1]:
            kept.append(place)
    return kept


def _parts(form: str, root: str, text: str) -> Iterator[tuple[int, int, str]]:
    """Where a word stands in a text as any part of it that is made of whole characters."""
    start = text.find(form)
    while start >= 0:
        end = start + len(form)
        if whole_character(text, start) == start and whole_character(text, end) == end:
            yield start, end, root
        start = text.find(form, start + 1)


def _places(word: str, text: str) -> Iterator[int]:
    """Where a word stands in a text in ASCII as a whole word."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if not (_inside(text[start - 1 : start]) or _inside(text[end : end + 1])):
            yield start
        start = text.find(word, end)


def _inside(sign: str) -> bool:
    """Whether a sign belongs to a word; the one beyond a text's end does not."""
    return sign.isalnum() or sign == "_"


def _best(marks: Sequence[Mark], weights: Sequence[float], stems: Sequence[str], window: int) -> int:
    """The mark at which the best window begins."""
    counts: dict[str, int] = {}
    total, best, best_at, end = 0.0, -1.0, 0, 0
    # Two ends that only move forward, so that a long text takes time by its length alone.
    for start in range(len(marks)):
        while end < len(marks) and marks[end].end - marks[start].start <= window:
            total += weights[end] * (0.1 if counts.get(stems[end]) else 1.0)
            counts[stems[end]] = counts.get(stems[end], 0) + 1
            end += 1
        if total > best + 1e-9:
            best, best_at = total, start
        if end > start:
            counts[stems[start]] -= 1
            total -= weights[start] * (0.1 if counts[stems[start]] else 1.0)
        else:
            end = start + 1
    return best_at


def _beginning(text: str, mark: int) -> int:
    """Where the window begins that is to hold a mark: at its sentence's start, or some words before it."""
    lower = max(0, mark - _REACH)
    ends = [match.end() for match in _SENTENCE.finditer(text, lower, mark)]
    if ends:
        return ends[0]
    if lower == 0:
        return 0
    blank = text.find(" ", max(0, mark - _REACH // 3), mark)
    return blank + 1 if blank >= 0 else mark
