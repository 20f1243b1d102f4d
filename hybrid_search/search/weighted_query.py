"""Queries whose terms come with weights: one sparse leg takes these instead of what its model makes of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hybrid_search._util.arguments import shown, text
from hybrid_search.corpus.term_weights import check_term_weights
from hybrid_search.errors import InvalidArgument
from hybrid_search.manifest import Manifest
from hybrid_search.types import LegName, Mode


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


Queries = Sequence[str | WeightedQuery]
"""Texts, or texts with the weights of terms."""


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


def _where(name: str) -> str:
    return "" if name == "The query" else f" ({name})"
