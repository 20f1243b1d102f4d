"""The terms that a query was given for a leg, as the leg's model has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from hybrid_search._util.arguments import shown
from hybrid_search.encoders.hybrid import unwrap
from hybrid_search.errors import InvalidArgument
from hybrid_search.protocols import Encoder, KnowsTerms
from hybrid_search.ranking.expansion import CONTINUES, expansion
from hybrid_search.results import Term
from hybrid_search.types import LegName, SparseVector

SHOWN_TERMS = 10
"""Unknown terms that an error names."""

Idf = Callable[[list[int]], Mapping[int, float]]
"""Gives the inverse document frequencies of dimensions."""


class GivenTerms(NamedTuple):
    """The terms that were given for a leg, as its model has them.

    Args:
        leg: that takes them.
        weights: by term, as they were given.
        vector: the query's; None where the model has none of the terms.
        names: by dimension, the first term that has it.
        unknown: terms that the model does not have.
    """

    leg: LegName
    weights: Mapping[str, float]
    vector: SparseVector | None
    names: Mapping[int, str]
    unknown: tuple[str, ...]

    @property
    def words(self) -> str:
        """The terms that stand for words by themselves, as a text."""
        return " ".join(name for name in self.names.values() if not name.startswith(CONTINUES))

    def terms(self, query: str) -> dict[int, Term]:
        """Return the terms by dimension; all of them are the query's own where it has no text."""
        if self.vector is None:
            return {}
        dimensions = self.vector.indices.tolist()
        names, values = [self.names[dimension] for dimension in dimensions], self.vector.values.tolist()
        if query.strip():
            by_name = {term.term: term for term in expansion(query, names, values)}
        else:
            by_name = {name: Term(name, value, True, name) for name, value in zip(names, values, strict=True)}
        return {dimension: by_name[name] for dimension, name in zip(dimensions, names, strict=True)}


def given_terms(
    weights: Mapping[str, float],
    leg: LegName,
    encoder: Encoder,
    *,
    strict: bool = False,
    idf: Idf | None = None,
) -> GivenTerms:
    """Return what a leg's model has of terms. Weights of terms that share a dimension add up.

    Args:
        weights: by term, checked already.
        leg: that takes them.
        encoder: of the leg.
        strict: refuse terms of which the model has none.
        idf: gives the inverse document frequencies of dimensions, 0 for one that no document has; the weights are
            divided by them. None to leave the weights as they are.

    Raises:
        InvalidArgument: the model cannot tell the dimension of a term; or as `strict` says.
    """
    model = unwrap(encoder)
    if not isinstance(model, KnowsTerms):
        raise InvalidArgument(f"{encoder.card.name}, the model of the leg {leg}, takes no weights of terms (vector).")
    dimensions = model.dimensions(list(weights))
    sums: dict[int, float] = {}
    names: dict[int, str] = {}
    for (term, weight), dimension in zip(weights.items(), dimensions, strict=True):
        if dimension is not None:
            sums[dimension] = sums.get(dimension, 0.0) + weight
            names.setdefault(dimension, term)
    unknown = tuple(term for term, dimension in zip(weights, dimensions, strict=True) if dimension is None)
    if strict and not sums:
        raise InvalidArgument(_none_known(unknown, leg, encoder))
    if idf is not None:
        frequencies = idf(list(sums))
        sums = {dimension: sums[dimension] / frequencies[dimension] for dimension in sums if frequencies[dimension]}
    vector = SparseVector.of(list(sums), list(sums.values())) if sums else None
    return GivenTerms(leg, weights, vector, names, unknown)


def _none_known(terms: Sequence[str], leg: LegName, encoder: Encoder) -> str:
    more = f" and {len(terms) - SHOWN_TERMS:,} more" if len(terms) > SHOWN_TERMS else ""
    return (
        f"{encoder.card.name}, the model of the leg {leg}, has none of the terms of the vector: "
        f"{', '.join(map(shown, terms[:SHOWN_TERMS]))}{more}. Write terms as its vocabulary has them; "
        "`search --explain` shows those of a text."
    )
