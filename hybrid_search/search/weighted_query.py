"""Queries whose terms come with weights: one sparse leg takes these instead of what its model makes of a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from hybrid_search._util.arguments import shown, text
from hybrid_search.corpus.query_vectors import check_term_weights
from hybrid_search.encoders.hybrid import unwrap
from hybrid_search.errors import InvalidArgument
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import Encoder, KnowsTerms
from hybrid_search.ranking.expansion import CONTINUES, expansion
from hybrid_search.results import Term
from hybrid_search.types import LegName, Mode, SparseVector

SHOWN_TERMS = 10
"""Unknown terms that an error names."""


class WeightedQuery(NamedTuple):
    """A query with the weights of its terms for one sparse leg; `Searcher.search_many` takes it in place of a text.

    Args:
        text: what the other legs and the re-ranker read; empty for none, so that they abstain.
        weights: by term; None to let the sparse leg read the text, too; empty to let that leg abstain.
        has_idf: the inverse document frequency is multiplied into the weights already, as in topics that were exported
            for engines that do not; where the store multiplies it in, it is divided out before.
    """

    text: str
    weights: Mapping[str, float] | None = None
    has_idf: bool = False

    @property
    def has_text(self) -> bool:
        return bool(self.text.strip())


Idf = Callable[[list[int]], Mapping[int, float]]
"""Gives the inverse document frequencies of dimensions."""

Queries = Sequence[str | WeightedQuery]
"""Texts, or texts with the weights of terms."""


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


def check_query(name: str, query: object, vector: Mapping[str, float] | None = None) -> WeightedQuery:
    """Return a query as text and weights, if either says something.

    Args:
        name: of the query, for messages.
        query: a text, or a `WeightedQuery`.
        vector: weights that were given beside a text, checked already.

    Raises:
        InvalidArgument: it is neither, its weights are invalid or given twice, or there is nothing in it.
    """
    asked = query if isinstance(query, WeightedQuery) else WeightedQuery(text(name, query), vector)
    if isinstance(query, WeightedQuery):
        if vector is not None and query.weights is not None:
            raise InvalidArgument(f"{name} has weights of its own, and vector is given, too; give them once.")
        weights = vector if query.weights is None else query.weights
        if not (weights is None or isinstance(weights, Mapping)):
            raise InvalidArgument(f"The weights of {name} are {shown(weights)}; they must be a mapping by term.")
        checked = check_term_weights(weights) if weights else weights
        asked = WeightedQuery(text(name, query.text), checked, query.has_idf)
    if not asked.has_text and not asked.weights:
        raise InvalidArgument(f"The query is empty{_where(name)}. Say what to look for, in any words.")
    return asked


def leg_for_weights(mode: Mode, legs: Sequence[LegName], manifest: Manifest, collection: str) -> LegName:
    """Return the leg that takes weights of terms: the mode's own if it is one, `sparse`, or the only sparse leg.

    Raises:
        InvalidArgument: the mode searches no sparse leg, or several of which none is called `sparse`.
    """
    sparse = [leg for leg in legs if manifest.legs[leg].kind == "sparse"]
    if len(sparse) == 1 or "sparse" in sparse:
        return sparse[0] if len(sparse) == 1 else "sparse"
    found = f"several sparse legs, {', '.join(sparse)}" if sparse else f"no sparse leg, only {', '.join(legs)}"
    named = [leg for leg in manifest.legs if manifest.legs[leg].kind == "sparse"]
    way_out = f"Search with --mode {' or '.join(named)}." if named else f"Collection {collection!r} has no sparse leg."
    raise InvalidArgument(f"The weights of terms (vector) are for a sparse leg; mode {mode!r} has {found}. {way_out}")


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


def _where(name: str) -> str:
    return "" if name == "The query" else f" ({name})"
