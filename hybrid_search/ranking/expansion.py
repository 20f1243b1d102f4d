"""What a learned sparse model makes of a query, in words people can read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

_WORDS = re.compile(r"\w+")
_INSIDE = "##"


class Term(NamedTuple):
    """One dimension of a query's sparse vector: the vocabulary's word, its weight > 0, and whether the query has it."""

    term: str
    weight: float
    in_query: bool

    def to_dict(self) -> dict[str, Any]:
        return {"term": self.term, "weight": round(self.weight, 4), "in_query": self.in_query}


def expansion(query: str, terms: Sequence[str], weights: Sequence[float]) -> tuple[Term, ...]:
    """The terms of a query's vector, heaviest first, equal ones by name.

    A term is the query's own where one of its words has the same stem (Snowball's English one), or where it is a piece
    (`##ing`) that one of its words contains.

    Args:
        query: its text.
        terms: the vocabulary's entry of each dimension.
        weights: of each, in the same order.

    >>> [(found.term, found.in_query) for found in expansion("hearts", ["cardiac", "heart"], [1.2, 2.5])]
    [('heart', True), ('cardiac', False)]
    """
    from py_rust_stemmers import SnowballStemmer

    stemmer = SnowballStemmer("english")
    words = _WORDS.findall(query.lower())
    stems = {stemmer.stem_word(word) for word in words}

    def own(term: str) -> bool:
        if term.startswith(_INSIDE):
            return any(term.removeprefix(_INSIDE) in word[1:] for word in words)
        # A rare word stands in the vocabulary in pieces; its first one begins it.
        return stemmer.stem_word(term.lower()) in stems or any(word.startswith(term.lower()) for word in words)

    found = [Term(term, float(weight), own(term)) for term, weight in zip(terms, weights, strict=True)]
    return tuple(sorted(found, key=lambda each: (-each.weight, each.term)))
