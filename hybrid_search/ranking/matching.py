"""Which words of a text a query's vector stands for: marks in it, and the window that holds most of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from hybrid_search.ranking.stems import WORDS, plain, stem
from hybrid_search.ranking.windows import window_of
from hybrid_search.results import Highlight, Kind, Mark, Term

WINDOW = 280
"""Characters of a passage that are shown."""

EXPANSIONS = 40
"""Of the words that only the expansion brings, the heaviest are looked for."""

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

    Args:
        query: its text.
        terms: of its sparse vector, heaviest first; none where no leg has words.

    >>> [(stem, found.kind) for stem, found in sought("hearts", [Term("cardiac", 1.2, False)]).items()]
    [('heart', 'literal'), ('cardiac', 'expansion')]
    """
    words = WORDS.findall(query)
    told = [word for word in words if plain(word) not in _SMALL] or words
    terms = list(terms)
    weights: dict[str, float] = {}
    for term in terms:
        weights[stem(term.term)] = max(weights.get(stem(term.term), 0.0), term.weight)
    top = max(weights.values(), default=1.0)
    found = {stem(word): Sought("literal", max(weights.get(stem(word), 0.0), top / 2)) for word in told}
    added = [term for term in terms if not term.in_query and term.term.isalnum() and term.term not in _SMALL]
    for term in added[:EXPANSIONS]:
        found.setdefault(stem(term.term), Sought("expansion", term.weight))
    return found


def highlight(text: str, wanted: Mapping[str, Sought], window: int = WINDOW) -> Highlight:
    """The marks in a text, and the window of at most `window` characters that holds the most of what is wanted.

    A window counts each stem once, by its weight, and a little for every repetition; of equal ones the first is taken.
    """
    # Each word is looked at once, and then only those that match are looked for.
    roots = {word: root for word in set(WORDS.findall(text)) if (root := stem(word)) in wanted}
    places = [(start, start + len(word), root) for word, root in roots.items() for start in _places(word, text)]
    places.sort()
    stems = [root for _, _, root in places]
    weights = [wanted[root].weight for root in stems]
    marks = [Mark(start, end, wanted[root].kind) for start, end, root in places]
    return Highlight(*window_of(text, marks, weights, stems, window), tuple(marks))


def _places(word: str, text: str) -> Iterator[int]:
    """Where a word stands in a text as a whole word."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if not (_inside(text[start - 1 : start]) or _inside(text[end : end + 1])):
            yield start
        start = text.find(word, end)


def _inside(sign: str) -> bool:
    """Whether a sign belongs to a word, as `WORDS` has it; the one beyond a text's end does not."""
    return sign.isalnum() or sign == "_"
