"""Lists what a learned sparse model makes of a query, in words people can read."""

from __future__ import annotations

from collections.abc import Sequence

from hybrid_search._util.unicode_text import is_run, word_list
from hybrid_search.ranking.stemming import stem
from hybrid_search.results import Term

CONTINUES = "##"
"""What a word piece inside a word begins with."""


def expansion(query: str, terms: Sequence[str], weights: Sequence[float]) -> tuple[Term, ...]:
    """Return the terms of a query's vector, heaviest first, equal ones by name.

    A term is the query's own if a word of the query has the same stem (Snowball's English one), or if it is a piece
    (`##ing`) inside a word of the query. In scripts without blanks it is the query's own if it is any part of the
    query.

    Args:
        query: the query's text.
        terms: the vocabulary's entry for each dimension.
        weights: the weight of each dimension, in the same order.

    >>> [(found.term, found.in_query) for found in expansion("hearts", ["cardiac", "heart"], [1.2, 2.5])]
    [('heart', True), ('cardiac', False)]
    """
    words = word_list(query.lower())
    stems = {stem(word) for word in words}
    beginnings = {word[:end] for word in words for end in range(1, len(word) + 1)}

    def own(term: str) -> bool:
        if term.startswith(CONTINUES):
            return any(term.removeprefix(CONTINUES) in word[1:] for word in words)
        if is_run(term) and any(term in word for word in words):
            return True
        # A rare word stands in the vocabulary in pieces; its first one begins it.
        return stem(term) in stems or term.lower() in beginnings

    whole = joined(terms, words)
    found = [
        Term(term, float(weight), own(term), whole.get(term, term)) for term, weight in zip(terms, weights, strict=True)
    ]
    return tuple(sorted(found, key=lambda each: (-each.weight, each.term)))


def joined(terms: Sequence[str], words: Sequence[str]) -> dict[str, str]:
    """Map the word pieces among a query's terms to the query word that they make up.

    >>> joined(["prize", "##fight", "##ing", "boxing"], ["a", "prizefighting", "film"])
    {'prize': 'prizefighting', '##fight': 'prizefighting', '##ing': 'prizefighting'}
    """
    pieces = {term for term in terms if term.startswith(CONTINUES)}
    whole = set(terms) - pieces
    found: dict[str, str] = {}
    for word in words:
        parts = _cut(word, whole, pieces)
        if len(parts) > 1:
            found.update(dict.fromkeys(parts, word))
    return found


def _cut(word: str, whole: set[str], pieces: set[str]) -> list[str]:
    """Split a word into pieces, longest first from its start (WordPiece); empty if the pieces do not make it up."""
    found, start = [], 0
    while start < len(word):
        known = ((word[start:end], end) for end in range(len(word), start, -1))
        part = next(((p, e) for p, e in known if (p in whole if start == 0 else f"{CONTINUES}{p}" in pieces)), None)
        if part is None:
            return []
        found.append(part[0] if start == 0 else f"{CONTINUES}{part[0]}")
        start = part[1]
    return found
