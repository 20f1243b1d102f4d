"""Computes what each term adds to a leg's score."""

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
    """Return the terms that a query's and a document's vector share, greatest contribution first, equal ones by name.

    score(q, d) = sum over shared terms of q_t * d_t, times idf_t if the store applies it.

    Args:
        leg: the leg of the vectors.
        query: the query's vector.
        document: the vector of one chunk.
        terms: dimension -> term of the query.
        idf: dimension -> idf, if the store applies it.
    """
    if not len(document):
        return ()
    places = np.minimum(np.searchsorted(document.indices, query.indices), len(document) - 1)
    shared = document.indices[places] == query.indices
    dimensions, given_weights = query.indices[shared].tolist(), document.values[places[shared]].tolist()
    values = zip(dimensions, query.values[shared].tolist(), given_weights, strict=True)
    found = []
    for dimension, asked, given in values:
        weight = asked * (1.0 if idf is None else idf.get(dimension, 0.0))
        term = terms[dimension]
        found.append(MatchedTerm(term.term, weight, given, weight * given, leg, term.in_query))
    return tuple(sorted(found, key=lambda each: (-each.contribution, each.term)))
