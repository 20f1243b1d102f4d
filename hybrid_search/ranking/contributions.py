"""What each term gave to a leg's score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hybrid_search.types import LegName, SparseVector


class Contribution(NamedTuple):
    """A term that query and document share, and what it gave to the leg's score.

    Args:
        term: the vocabulary's entry, or the query's word where dimensions are hashes.
        query_weight: in the query's vector; of a leg with inverse document frequency, that is in it.
        document_weight: in the chunk's vector.
        contribution: their product; over a hit's terms of one leg they sum to the leg's score.
        leg: whose vectors they are.
    """

    term: str
    query_weight: float
    document_weight: float
    contribution: float
    leg: LegName

    def to_dict(self) -> dict[str, Any]:
        return self._asdict()


def contributions(
    leg: LegName,
    query: SparseVector,
    document: SparseVector,
    names: Mapping[int, str],
    idf: Mapping[int, float] | None = None,
) -> tuple[Contribution, ...]:
    """The terms that a query's and a document's vector share, the greatest contribution first, equal ones by name.

    score(q, d) = sum over shared terms of q_t * d_t, and * idf_t where the store multiplies that in.

    Args:
        leg: whose vectors they are.
        query: its vector.
        document: the vector of one chunk.
        names: of the query's dimensions.
        idf: by dimension, where the store multiplies it in.
    """
    shared, mine, theirs = np.intersect1d(query.indices, document.indices, assume_unique=True, return_indices=True)
    found = []
    for dimension, asked, given in zip(
        shared.tolist(), query.values[mine].tolist(), document.values[theirs].tolist(), strict=True
    ):
        weight = asked * (1.0 if idf is None else idf.get(dimension, 0.0))
        found.append(Contribution(names[dimension], weight, given, weight * given, leg))
    return tuple(sorted(found, key=lambda each: (-each.contribution, each.term)))


def joined(terms: Sequence[str], query: str) -> dict[str, str]:
    """For word pieces among a query's terms the word of the query that they make up.

    >>> joined(["prize", "##fight", "##ing", "boxing"], "a prizefighting film")
    {'prize': 'prizefighting', '##fight': 'prizefighting', '##ing': 'prizefighting'}
    """
    pieces = {term for term in terms if term.startswith("##")}
    whole = set(terms) - pieces
    found: dict[str, str] = {}
    for word in query.lower().split():
        word = "".join(sign for sign in word if sign.isalnum())
        parts = _cut(word, whole, pieces)
        if len(parts) > 1:
            found.update(dict.fromkeys(parts, word))
    return found


def _cut(word: str, whole: set[str], pieces: set[str]) -> list[str]:
    """The pieces of a word, the longest first from its start (WordPiece); empty where they do not make it up."""
    found, start = [], 0
    while start < len(word):
        known = ((word[start:end], end) for end in range(len(word), start, -1))
        part = next(((p, e) for p, e in known if (p in whole if start == 0 else f"##{p}" in pieces)), None)
        if part is None:
            return []
        found.append(part[0] if start == 0 else f"##{part[0]}")
        start = part[1]
    return found
