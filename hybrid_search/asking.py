"""What a search may ask for, judged before anything is encoded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from hybrid_search.errors import FusionError, InvalidArgument
from hybrid_search.manifest import Manifest
from hybrid_search.ranking.fusion import FUSIONS, RRF_K, Fusion, check_rrf_k
from hybrid_search.types import LegName, Mode, in_order
from hybrid_search.where import Condition
from hybrid_search.where.parsing import parse

DEPTH = 100
"""Chunks that each leg hands on, where nothing else is asked for."""

MAX_DEPTH = 10_000

RERANK_DEPTH = 50
"""Documents that a re-ranker reads, where nothing else is asked for."""

HYBRID: Mode = "hybrid"

AUTO: Literal["auto"] = "auto"
"""Given for weights: chosen for each query."""

Weights = Mapping[LegName, float] | Literal["auto"] | None
"""By leg, 1 where not given; or `auto`."""


class Options(TypedDict, total=False):
    """The keywords of `Searcher.search`, `asearch` and `search_many`; `Request` says what each means."""

    k: int
    mode: Mode
    depth: int | None
    fusion: Fusion
    rrf_k: float
    weights: Weights
    rerank: bool | str | None
    rerank_depth: int
    rerank_budget_ms: float | None
    where: str | Condition | None
    offset: int
    fold: bool
    highlight: bool
    explain: bool


@dataclass(frozen=True)
class Request:
    """What is asked of a search besides the query.

    Args:
        k: documents wanted, 1..10,000.
        mode: `hybrid` fuses the collection's legs, without those that stand beside; a leg's name searches that one
            alone, beside or not; `a+b` fuses these legs.
        depth: chunks that each leg hands on, k..10,000; 100, or k where that is more, when not given.
        fusion: `rrf`, `dbsf` or `minmax`; see `ranking/fusion.py`.
        rrf_k: the constant of reciprocal rank fusion, >= 0.
        weights: of the legs in the fusion, >= 0, 1 where not given; `auto` chooses them for each query, see
            `ranking/weighing.py`.
        rerank: True, or the name or folder of a cross-encoder: it reads the best chunk of each of the first documents,
            which then stand in the order of its scores. True takes the setting `reranker`, else the catalogue's first.
        rerank_depth: documents that it reads, 1..10,000; the others follow in the order they had.
        rerank_budget_ms: it stops in time to take no more milliseconds a query than this, > 0; no limit when not given.
        where: a filter, in the language of `where/parsing.py` or as a tree of `where`; applied inside every leg. Every
            chunk when not given. A text is parsed here, once; `condition` has the tree.
        offset: documents to pass over, 0..9,999, fewer than are found: with k = 10 an offset of 10 is the second page.
        fold: leave out documents that say the same as one before them, and tell their ids there.
        highlight: mark the words that match in the passages, and choose the window to show of each.
        explain: add to each hit the terms that matched and what each gave to its score, and the query's expansion.

    Raises:
        InvalidArgument: k, a depth or the budget out of range, no such fusion, a budget where nothing is re-ranked.
        FusionError: weights that are none, or an `rrf_k` that cannot be meant.
        FilterError: a filter that cannot be read.
    """

    k: int = 10
    mode: Mode = HYBRID
    depth: int | None = None
    fusion: Fusion = "rrf"
    rrf_k: float = RRF_K
    weights: Weights = None
    rerank: bool | str | None = None
    rerank_depth: int = RERANK_DEPTH
    rerank_budget_ms: float | None = None
    where: str | Condition | None = None
    offset: int = 0
    fold: bool = False
    highlight: bool = True
    explain: bool = False
    condition: Condition | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MAX_DEPTH:
            raise InvalidArgument(f"k is {self.k}; it must lie in 1..{MAX_DEPTH:,}.")
        if not 0 <= self.offset < MAX_DEPTH:
            raise InvalidArgument(f"offset is {self.offset}; it must lie in 0..{MAX_DEPTH - 1:,}.")
        if self.depth is not None and not self.k <= self.depth <= MAX_DEPTH:
            raise InvalidArgument(f"depth is {self.depth}; it must lie in k..{MAX_DEPTH:,}, and k is {self.k}.")
        if self.fusion not in FUSIONS:
            raise InvalidArgument(f"fusion is {self.fusion!r}; take one of: {', '.join(FUSIONS)}.")
        check_rrf_k(self.rrf_k)
        if not (self.weights is None or self.weights == AUTO or isinstance(self.weights, Mapping)):
            raise FusionError(f"weights is {self.weights!r}; give a number by leg, such as sparse=1, or 'auto'.")
        self._check_rerank()
        if self.where is not None:
            condition = self.where if isinstance(self.where, Condition) else parse(self.where)
            object.__setattr__(self, "condition", condition)

    def _check_rerank(self) -> None:
        if not (self.rerank is None or isinstance(self.rerank, (bool, str))) or self.rerank == "":
            raise InvalidArgument(f"rerank is {self.rerank!r}; give True, or the name or folder of a cross-encoder.")
        if not 1 <= self.rerank_depth <= MAX_DEPTH:
            raise InvalidArgument(f"rerank_depth is {self.rerank_depth}; it must lie in 1..{MAX_DEPTH:,}.")
        budget = self.rerank_budget_ms
        if budget is not None and not (math.isfinite(budget) and budget > 0):
            raise InvalidArgument(f"rerank_budget_ms is {budget}; it must be a number of milliseconds > 0.")
        if budget is not None and not self.rerank:
            raise InvalidArgument(f"rerank_budget_ms is {budget:g}, but nothing is re-ranked; add rerank (--rerank).")

    @property
    def deep(self) -> int:
        """The depth to search at."""
        return self.depth if self.depth is not None else max(DEPTH, self.k, self.rerank_depth if self.rerank else 0)

    @property
    def wanted(self) -> int:
        """The documents that are needed: those to show and those to re-rank, as far as the depth asked for goes."""
        shown = self.offset + (2 if self.fold else 1) * self.k
        return max(shown, min(self.rerank_depth, self.deep)) if self.rerank else shown

    @property
    def fixed_weights(self) -> Mapping[LegName, float] | None:
        """The weights, where they are the same for every query."""
        return self.weights if isinstance(self.weights, Mapping) else None


def check_queries(queries: Sequence[str]) -> None:
    """Refuse empty ones.

    Raises:
        InvalidArgument: there is one.
    """
    for query in queries:
        if not query.strip():
            raise InvalidArgument("The query is empty. Say what to look for, in any words.")


def legs_of(mode: Mode, manifest: Manifest, collection: str) -> tuple[Mode, tuple[LegName, ...]]:
    """The mode that is searched in, and its legs: hybrid with one leg is that leg alone.

    Raises:
        InvalidArgument: a mode whose leg the collection lacks, or one that names a leg twice.
    """
    if mode == HYBRID:
        legs = manifest.fused()
        return (mode, legs) if len(legs) > 1 else (legs[0], legs)
    named = mode.split("+")
    for leg in named:
        if leg not in manifest.legs:
            raise InvalidArgument(
                f"Collection {collection!r} has no {leg!r} leg. Search it with --mode {_or(modes(manifest))}."
            )
    if len(set(named)) < len(named):
        raise InvalidArgument(f"The mode {mode!r} names a leg twice; name each leg once.")
    return mode, in_order(named)


def modes(manifest: Manifest) -> tuple[Mode, ...]:
    """The ways to search a collection, `a+b` left out: `hybrid` where several legs are fused, then each leg."""
    hybrid = (HYBRID,) if len(manifest.fused()) > 1 else ()
    return (*hybrid, *in_order(manifest.legs))


def _or(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
