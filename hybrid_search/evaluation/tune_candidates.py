"""The settings that `tune` chooses among, the simplest first, and the steps from a good one to its neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hybrid_search.manifest import Manifest
from hybrid_search.ranking.fusion import FUSIONS, RRF_K, Fusion
from hybrid_search.search.request import AUTO, DEPTH, FUSION, Options, SearchRequest
from hybrid_search.search_defaults import SearchDefaults
from hybrid_search.types import LegName

RRF_KS = (20.0, 10.0, 5.0, 2.0, 100.0)
RATIOS = (2.0, 0.5, 3.0, 4.0, 0.25)
"""Weights of the dense legs, where sparse ones have 1; with several kinds alike, of each leg against the others."""
DEPTHS = (50, 200, 500)
DEEPEST = max(DEPTHS)
QUERY_DIMS = (32, 16, 8)
RERANK_DEPTHS = (10, 20, 50)


@dataclass(frozen=True)
class Candidate:
    """One choice of settings.

    Args:
        fusion: how legs are fused.
        rrf_k: the constant of `rrf`.
        weights: (leg, weight) of legs whose weight is not 1.
        depth: chunks that each leg hands on.
        query_dims: weights of a query that the sparse legs search; 0 for all.
        rerank_depth: documents that the re-ranker reads; 0 for no re-ranking.
    """

    fusion: Fusion = FUSION
    rrf_k: float = RRF_K
    weights: tuple[tuple[LegName, float], ...] = ()
    depth: int = DEPTH
    query_dims: int = 0
    rerank_depth: int = 0

    def request(
        self, manifest: Manifest, reranker: str = "", learned: Mapping[str, float] | None = None, k: int = 10
    ) -> SearchRequest:
        """Return a search with these settings alone, whatever the collection's own are.

        Args:
            manifest: of the collection.
            reranker: the name of the one that is tried.
            learned: coefficients of the regression for the weights; None for the candidate's own weights.
            k: documents wanted.
        """
        options: Options = {"fusion": self.fusion, "rrf_k": self.rrf_k, "depth": self.depth, "rerank": False}
        if self.weights:
            options["weights"] = dict(self.weights)
        if self.rerank_depth:
            options["rerank"], options["rerank_depth"] = reranker, self.rerank_depth
        if learned:
            options["weights"] = AUTO
        options["k"], options["depth"] = k, max(self.depth, k)
        request = SearchRequest(**options)
        return request.with_values(defaults=SearchDefaults(query_dims=self._pruning(manifest), learned=learned or {}))

    def defaults(self, manifest: Manifest, reranker: str = "") -> SearchDefaults:
        """Return the settings as a manifest has them: only what differs from the product's own."""
        weights = {leg: dict(self.weights).get(leg, 1.0) for leg in manifest.fused()} if self.weights else None
        usual = Candidate()
        return SearchDefaults(
            fusion=self.fusion if self.fusion != usual.fusion or weights else None,
            rrf_k=self.rrf_k if self.rrf_k != usual.rrf_k else None,
            weights=weights,
            depth=self.depth if self.depth != usual.depth else None,
            rerank=reranker if self.rerank_depth else None,
            rerank_depth=self.rerank_depth or None,
            query_dims=self._pruning(manifest),
        )

    def _pruning(self, manifest: Manifest) -> dict[LegName, int]:
        sparse = [leg for leg in manifest.fused() if manifest.legs[leg].kind == "sparse"]
        return dict.fromkeys(sparse, self.query_dims) if self.query_dims else {}

    def __str__(self) -> str:
        parts = [f"{self.fusion} k={self.rrf_k:g}" if self.fusion == "rrf" else self.fusion]
        parts += [f"{leg}={weight:g}" for leg, weight in self.weights]
        parts += [f"depth {self.depth}"] if self.depth != DEPTH else []
        parts += [f"{self.query_dims} terms a query"] if self.query_dims else []
        parts += [f"re-rank {self.rerank_depth}"] if self.rerank_depth else []
        return ", ".join(parts)


def ways_to_fuse(manifest: Manifest) -> list[Candidate]:
    """Return the fusions, constants and weights for the collection's legs, the default and the simplest ones first."""
    usual = Candidate()
    if len(manifest.fused()) < 2:
        return [usual]
    plain = [usual, *(replace(usual, fusion=how) for how in FUSIONS if how != FUSION)]
    constants = [replace(usual, rrf_k=rrf_k) for rrf_k in RRF_KS]
    weighted = [replace(one, weights=weights) for weights in _weightings(manifest) for one in (*plain, *constants[:2])]
    return [*plain, *constants, *weighted]


def deeper(chosen: Candidate) -> list[Candidate]:
    """Return a choice, and the same at other depths."""
    return [chosen, *(replace(chosen, depth=depth) for depth in DEPTHS)]


def cheaper(chosen: Candidate, manifest: Manifest) -> list[Candidate]:
    """Return a choice, and the same with fewer terms of each query, where a sparse leg is searched."""
    sparse = any(manifest.legs[leg].kind == "sparse" for leg in manifest.fused())
    return [chosen, *(replace(chosen, query_dims=most) for most in QUERY_DIMS if sparse)]


def reranked(chosen: Candidate) -> list[Candidate]:
    """Return a choice, and the same re-ranked to several depths."""
    return [chosen, *(replace(chosen, rerank_depth=depth) for depth in RERANK_DEPTHS)]


def _weightings(manifest: Manifest) -> list[tuple[tuple[LegName, float], ...]]:
    legs = manifest.fused()
    kinds: Mapping[LegName, str] = {leg: manifest.legs[leg].kind for leg in legs}
    groups: Sequence[tuple[LegName, ...]] = [tuple(leg for leg in legs if kinds[leg] == "dense")]
    if not 0 < len(groups[0]) < len(legs) or len(legs) > 2:
        groups = [(leg,) for leg in legs[1:]] if not groups[0] else [*groups, *((leg,) for leg in legs)]
    groups = [group for group in dict.fromkeys(groups) if 0 < len(group) < len(legs)]
    return [tuple((leg, ratio) for leg in group) for ratio in RATIOS for group in groups]
