"""Finds the words of a text that a query's vector stands for: marks, and the window that holds most of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from hybrid_search._util.unicode_text import WORDS, is_run, nfc, spellings, whole_character, word_list
from hybrid_search.ranking.stemming import plain, stem
from hybrid_search.ranking.windows import window_of
from hybrid_search.results import Highlight, Kind, Mark, Term

WINDOW = 280
"""Characters of a passage that are shown."""

EXPANSIONS = 40
"""How many of the words that only the expansion adds are looked for, heaviest first."""

# Words that say nothing by themselves are not marked, unless the query has no others.
_SMALL_WORDS = """
a about an and are as at be been being but by did do does for from had has have he her his how i if in into is it its me
my no not of on or our she so some such than that the their them then there these they this those to us was we were what
when where which who whom whose why will with would you your
"""
_SMALL = frozenset(_SMALL_WORDS.split())


class Target(NamedTuple):
    """How a word counts that is looked for."""

    kind: Kind
    weight: float


def target_stems(query: str, terms: Iterable[Term] = ()) -> dict[str, Target]:
    """Return what to look for in texts, by stem: the query's words, and the heaviest words of its expansion.

    Words of scripts without blanks have no stem; they are looked for as parts of a text.

    Args:
        query: the query's text.
        terms: the terms of its sparse vector, heaviest first; none if no leg has terms.

    >>> [(stem, found.kind) for stem, found in target_stems("hearts", [Term("cardiac", 1.2, False)]).items()]
    [('heart', 'literal'), ('cardiac', 'expansion')]
    """
    words = word_list(query)
    literal = [word for word in words if plain(word) not in _SMALL] or words
    terms = list(terms)
    weights: dict[str, float] = {}
    for term in terms:
        weights[_root(term.term)] = max(weights.get(_root(term.term), 0.0), term.weight)
    top = max(weights.values(), default=1.0)
    literal += [term.term for term in terms if term.in_query and is_run(term.term)]
    found = {_root(word): Target("literal", max(weights.get(_root(word), 0.0), top / 2)) for word in literal}
    added = [term for term in terms if not term.in_query and term.term.isalnum() and term.term not in _SMALL]
    for term in added[:EXPANSIONS]:
        found.setdefault(_root(term.term), Target("expansion", term.weight))
    return found


def highlight(text: str, wanted: Mapping[str, Target], window: int = WINDOW) -> Highlight:
    """Return the marks in a text, and the window of at most `window` characters that holds the most of what is wanted.

    A window counts each stem once, by its weight, and a little for every repetition. Of equal windows the first is
    taken.
    """
    places = _matches(text, wanted)
    stems = [root for _, _, root in places]
    weights = [wanted[root].weight for root in stems]
    marks = [Mark(start, end, wanted[root].kind) for start, end, root in places]
    return Highlight(*window_of(text, marks, weights, stems, window), tuple(marks))


def _root(word: str) -> str:
    """Return what a word is looked for by: its stem or, in a script without blanks, the word itself."""
    return nfc(word) if is_run(word) else stem(word)


def _matches(text: str, wanted: Mapping[str, Target]) -> list[tuple[int, int, str]]:
    """Return start, end and root of all matches, in order, none inside another."""
    if text.isascii():
        # Each word is looked at once, and then only those that match are looked for.
        roots = {word: root for word in set(word_list(text)) if (root := stem(word)) in wanted}
        return sorted((start, start + len(word), root) for word, root in roots.items() for start in _places(word, text))
    words = ((found.start(), found.end(), stem(found[0])) for found in WORDS.finditer(text) if not found["run"])
    places = [place for place in words if place[2] in wanted]
    parts = [place for root in wanted if is_run(root) for form in spellings(root) for place in _parts(form, root, text)]
    distinct: list[tuple[int, int, str]] = []
    # Of parts that overlap the first counts, of those that begin at one place the longest.
    for place in sorted([*places, *parts], key=lambda each: (each[0], -each[1])):
        if not distinct or place[0] >= distinct[-1][1]:
            distinct.append(place)
    return distinct


def _parts(form: str, root: str, text: str) -> Iterator[tuple[int, int, str]]:
    """Yield where a word stands in a text as any part of it that consists of whole characters."""
    start = text.find(form)
    while start >= 0:
        end = start + len(form)
        if whole_character(text, start) == start and whole_character(text, end) == end:
            yield start, end, root
        start = text.find(form, start + 1)


def _places(word: str, text: str) -> Iterator[int]:
    """Yield where a word stands in an ASCII text as a whole word."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if not (_inside(text[start - 1 : start]) or _inside(text[end : end + 1])):
            yield start
        start = text.find(word, end)


def _inside(sign: str) -> bool:
    """Return whether a sign belongs to a word; beyond a text's end there is none."""
    return sign.isalnum() or sign == "_"
