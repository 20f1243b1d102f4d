"""The queries of a dataset as weights of terms from a file: for the sparse leg, in place of their texts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from hybrid_search.corpus.query_vectors import read_query_vectors
from hybrid_search.evaluation.counted import counted
from hybrid_search.manifest import Manifest
from hybrid_search.results import Results
from hybrid_search.search.request import resolve_mode
from hybrid_search.search.weighted_query import WeightedQuery, leg_for_weights
from hybrid_search.types import LegName, Mode, Query

NOT_THERE = "the file has no vector for it"
NOT_KNOWN = "the model has none of its terms"


class GivenWeights:
    """The weights of the terms of queries, and what could not be searched with them.

    Args:
        weights: by query id, by term.
        queries: of the dataset; whatever else the file has is passed over.
        has_idf: the inverse document frequency is multiplied into the weights.
    """

    def __init__(
        self, weights: Mapping[str, Mapping[str, float]], queries: Collection[Query], *, has_idf: bool = False
    ) -> None:
        self._has_idf = has_idf
        ids = [query.query_id for query in queries]
        self._weights = {query_id: weights[query_id] for query_id in ids if query_id in weights}
        self._unused = len(weights) - len(self._weights)
        self._unknown: dict[str, tuple[str, ...]] = {}
        self.lacking = {query_id: NOT_THERE for query_id in ids if query_id not in weights}
        """By query id, why the sparse leg finds nothing for it."""

    @classmethod
    def read(cls, path: str | Path, queries: Collection[Query]) -> GivenWeights:
        """Read the weights of a file. Raises CorpusError where it is broken."""
        read = list(read_query_vectors(path))
        return cls({one.query_id: one.weights for one in read}, queries, has_idf=any(one.has_idf for one in read))

    def asked(self, queries: Sequence[Query]) -> list[WeightedQuery]:
        """Return queries for a mode with a sparse leg, which abstains where the file has no vector."""
        return [WeightedQuery(query.text, self._weights.get(query.query_id, {}), self._has_idf) for query in queries]

    def note(self, query_id: str, leg: LegName, results: Results) -> None:
        """Note what of a query the model of the leg that took its weights does not have."""
        if query_id not in self.lacking:
            self._unknown[query_id] = results.unread.get(leg, ())
            if leg in results.abstained:
                self.lacking[query_id] = NOT_KNOWN

    def notes(self) -> Iterator[str]:
        """Yield, in sentences, what was passed over."""
        for reason in (NOT_THERE, NOT_KNOWN):
            if ids := [query_id for query_id, why in self.lacking.items() if why == reason]:
                yield f"The sparse leg finds nothing for {counted(ids, 'query', 'queries')}: {reason}."
        partly = {key: terms for key, terms in self._unknown.items() if terms and key not in self.lacking}
        if partly:
            terms = list(dict.fromkeys(term for some in partly.values() for term in some))
            yield f"The model does not have {counted(terms, 'term', 'terms')}, of {len(partly):,} queries."
        if self._unused:
            yield f"{self._unused:,} queries of the file are not judged, and were not searched."


def leg_taking(mode: Mode, manifest: Manifest, collection: str) -> LegName | None:
    """Return the leg of a mode that takes the weights of terms; None where it searches no sparse leg.

    Raises:
        InvalidArgument: there are several such legs, and none is called `sparse`.
    """
    legs = resolve_mode(mode, manifest, collection)[1]
    has_sparse = any(manifest.legs[leg].kind == "sparse" for leg in legs)
    return leg_for_weights(mode, legs, manifest, collection) if has_sparse else None
