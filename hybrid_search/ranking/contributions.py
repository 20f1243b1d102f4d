"""What each term gave to a leg's score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hybrid_search.results import MatchedTerm, Term
from hybrid_search.types import LegName, SparseVector


def contributions(
    leg: LegName,
    query: SparseVector,
    document: SparseVector,
    terms: Mapping[int, Term],
    idf: Mapping[int, float] | None = None,
) -> tuple[MatchedTerm, ...]:
    """The terms that a query's and a document's vector share, the greatest contribution first, equal ones by name.

    score(q, d) = sum over shared terms of q_t * d_t, and * idf_t where the store multiplies that in.

    Args:
        leg: whose vectors they are.
        query: its vector.
        document: the vector of one chunk.
        terms: the query's, by dimension.
        idf: by dimension, where the store multiplies it in.
    """
    shared, mine, theirs = np.intersect1d(query.indices, document.indices, assume_unique=True, return_indices=True)
    values = zip(shared.tolist(), query.values[mine].tolist(), document.values[theirs].tolist(), strict=True)
    found = []
    for dimension, asked, given in values:
        weight = asked * (1.0 if idf is None else idf.get(dimension, 0.0))
        term = terms[dimension]
        found.append(MatchedTerm(term.term, weight, given, weight * given, leg, term.in_query))
    return tuple(sorted(found, key=lambda each: (-each.contribution, each.term)))
