"""What the legs found for each judged query, kept as arrays, so that hundreds of settings are arithmetic over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hybrid_search.ranking.fusion import COSINE_FLOOR, Fusion, shares_of
from hybrid_search.ranking.leg_weights import Features
from hybrid_search.types import Hit, LegName, Ranking


@dataclass(frozen=True, eq=False)
class QueryRankings:
    """The rankings of one query.

    Args:
        query_id: its id.
        chunks: the ids of all chunks that a leg found, sorted, so that equal scores are in the order of their places.
        documents: number of the document of each chunk, shape (chunks,).
        doc_ids: id of each document, by its number.
        places: leg -> places in `chunks` of what it found, best first.
        scores: leg -> its scores, in the same order.
        features: what `auto` chooses weights by.
    """

    query_id: str
    chunks: tuple[str, ...]
    documents: NDArray[np.int32]
    doc_ids: tuple[str, ...]
    places: Mapping[LegName, NDArray[np.int32]]
    scores: Mapping[LegName, tuple[float, ...]]
    features: Features
    _shares: dict[tuple[LegName, Fusion, float, float, int], NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def of(cls, query_id: str, rankings: Mapping[LegName, Ranking], features: Features) -> QueryRankings:
        """Make arrays of the rankings of a query, each as deep as will be asked for."""
        chunks = tuple(sorted({hit.chunk_id for ranking in rankings.values() for hit in ranking.hits}))
        place = {chunk_id: number for number, chunk_id in enumerate(chunks)}
        owners = [Hit(chunk_id, 1, 0.0).doc_id for chunk_id in chunks]
        doc_ids = tuple(dict.fromkeys(owners))
        number = {doc_id: n for n, doc_id in enumerate(doc_ids)}
        return cls(
            query_id,
            chunks,
            np.array([number[doc_id] for doc_id in owners], np.int32),
            doc_ids,
            {
                leg: np.array([place[hit.chunk_id] for hit in ranking.hits], np.int32)
                for leg, ranking in rankings.items()
            },
            {leg: tuple(hit.score for hit in ranking.hits) for leg, ranking in rankings.items()},
            features,
        )

    def fused(
        self, how: Fusion, rrf_k: float, weights: Mapping[LegName, float], depth: int, dense: frozenset[LegName], k: int
    ) -> list[tuple[str, float]]:
        """Return the first documents after fusion, as a search with these settings gives them.

        Args:
            how: the fusion.
            rrf_k: the constant of `rrf`.
            weights: leg -> weight; legs with weight 0 hand nothing on.
            depth: chunks that each leg hands on.
            dense: the legs whose scores are cosines.
            k: documents wanted.

        Returns:
            (doc_id, score) of at most k documents, best first.
        """
        total = np.zeros(len(self.chunks))
        found = np.zeros(len(self.chunks), bool)
        for leg, places in self.places.items():
            if weights.get(leg, 1.0):
                some = places[:depth]
                total[some] += weights.get(leg, 1.0) * self._share(leg, how, rrf_k, depth, dense)
                found[some] = True
        among = np.flatnonzero(found)
        ordered = among[np.argsort(-total[among], kind="stable")]
        _, first = np.unique(self.documents[ordered], return_index=True)
        heads = ordered[np.sort(first)[:k]]
        return [(self.doc_ids[self.documents[head]], float(total[head])) for head in heads]

    def _share(
        self, leg: LegName, how: Fusion, rrf_k: float, depth: int, dense: frozenset[LegName]
    ) -> NDArray[np.float64]:
        floor = COSINE_FLOOR if leg in dense else 0.0
        key = (leg, how, rrf_k if how == "rrf" else 0.0, floor if how == "convex" else 0.0, depth)
        if key not in self._shares:
            shares = shares_of(how, self.scores[leg][:depth], rrf_k=rrf_k, floor=floor)
            self._shares[key] = np.array(shares, np.float64)
        return self._shares[key]
