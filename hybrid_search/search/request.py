"""What a search may ask for, judged before anything is encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from hybrid_search._util.arguments import flags, listed, number, plain, shown, text, whole
from hybrid_search.errors import FusionError, InvalidArgument
from hybrid_search.filters import Condition
from hybrid_search.filters.parser import parse
from hybrid_search.manifest import Manifest
from hybrid_search.ranking.fusion import FUSIONS, RRF_K, Fusion, check_rrf_k, check_shares
from hybrid_search.types import LegName, Mode, in_order

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
    """The keywords of `Searcher.search`, `asearch` and `search_many`; `SearchRequest` says what each means."""

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
class SearchRequest:
    """What is asked of a search besides the query.

    Args:
        k: documents wanted, 1..10,000.
        mode: `hybrid` fuses the collection's legs, without those that stand beside; a leg's name searches that one
            alone, beside or not; `a+b` fuses these legs.
        depth: chunks that each leg hands on, k..10,000; 100, or k where that is more, when not given.
        fusion: `rrf`, `dbsf` or `minmax`; see `ranking/fusion.py`.
        rrf_k: the constant of reciprocal rank fusion, >= 0.
        weights: of the legs in the fusion, >= 0, 1 where not given; `auto` chooses them for each query, see
            `ranking/leg_weights.py`.
        rerank: True, or the name or folder of a cross-encoder: it reads the best chunk of each of the first documents,
            which then stand in the order of its scores. True takes the setting `reranker`, else the catalogue's first.
        rerank_depth: documents that it reads, 1..10,000; the others follow in the order they had.
        rerank_budget_ms: it stops in time to take no more milliseconds a query than this, > 0; no limit when not given.
        where: a filter, in the language of `filters/parser.py` or as a tree of `filters`; applied inside every leg.
            Every chunk when not given. A text is parsed here, once; `condition` has the tree.
        offset: documents to pass over, 0..9,999, fewer than are found: with k = 10 an offset of 10 is the second page.
        fold: leave out documents that say the same as one before them, and tell their ids there.
        highlight: mark the words that match in the passages, and choose the window to show of each.
        explain: add to each hit the terms that matched and what each gave to its score, and the query's expansion.

    Raises:
        InvalidArgument: an option of another type or out of range, no such fusion, a budget where nothing is re-ranked.
        FusionError: weights or an `rrf_k` that are invalid.
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
        self._settle("k", whole("k", self.k, 1, MAX_DEPTH))
        self._settle("offset", whole("offset", self.offset, 0, MAX_DEPTH - 1))
        text("mode", self.mode)
        flags(fold=self.fold, highlight=self.highlight, explain=self.explain)
        if self.depth is not None:
            self._settle("depth", whole("depth", self.depth, 1, MAX_DEPTH))
            if self.depth < self.k:
                raise InvalidArgument(f"depth is {self.depth}; it must lie in k..{MAX_DEPTH:,}, and k is {self.k}.")
        self._check_fusion()
        self._check_rerank()
        if self.where is not None:
            self._settle("condition", self.where if isinstance(self.where, Condition) else parse(self.where))

    def _settle(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_fusion(self) -> None:
        if not isinstance(self.fusion, str) or self.fusion not in FUSIONS:
            raise InvalidArgument(f"fusion is {shown(self.fusion)}; take one of: {', '.join(FUSIONS)}.")
        check_rrf_k(self.rrf_k)
        by_leg = isinstance(self.weights, Mapping) and len(self.weights) > 0
        if not (self.weights is None or by_leg or (isinstance(self.weights, str) and self.weights == AUTO)):
            raise FusionError(
                f"weights is {shown(self.weights)}; give a number by leg, such as sparse=1, or 'auto'; None for 1 each."
            )
        if isinstance(self.weights, Mapping):
            check_shares(self.weights)
            self._settle("weights", {leg: plain(weight) for leg, weight in self.weights.items()})
        self._settle("rrf_k", plain(self.rrf_k))

    def _check_rerank(self) -> None:
        if not (self.rerank is None or isinstance(self.rerank, (bool, str))) or self.rerank == "":
            raise InvalidArgument(
                f"rerank is {shown(self.rerank)}; give True, or the name or folder of a cross-encoder."
            )
        self._settle("rerank_depth", whole("rerank_depth", self.rerank_depth, 1, MAX_DEPTH))
        budget = self.rerank_budget_ms
        if budget is None:
            return
        number("rerank_budget_ms", budget, "a number of milliseconds > 0", above=True)
        if not self.rerank:
            raise InvalidArgument(f"rerank_budget_ms is {budget:g}, but nothing is re-ranked; add rerank (--rerank).")

    @property
    def effective_depth(self) -> int:
        """The depth to search at."""
        return self.depth if self.depth is not None else max(DEPTH, self.k, self.rerank_depth if self.rerank else 0)

    @property
    def candidates_needed(self) -> int:
        """The documents that are needed: those to show and those to re-rank, as far as the depth asked for goes."""
        shown = self.offset + (2 if self.fold else 1) * self.k
        return max(shown, min(self.rerank_depth, self.effective_depth)) if self.rerank else shown

    @property
    def static_weights(self) -> Mapping[LegName, float] | None:
        """The weights, where they are the same for every query."""
        return self.weights if isinstance(self.weights, Mapping) else None


def check_queries(queries: Sequence[str]) -> list[str]:
    """The queries as a list.

    Raises:
        InvalidArgument: they are one text instead of several, one of them is no text, or is empty.
    """
    found = listed("queries", queries, "texts", "search_many([{0}]), or search({0}) for one")
    for place, query in enumerate(found):
        at = f"queries[{place}]"
        if not text("The query" if len(found) == 1 else at, query).strip():
            which = "" if len(found) == 1 else f" ({at})"
            raise InvalidArgument(f"The query is empty{which}. Say what to look for, in any words.")
    return found


def resolve_mode(mode: Mode, manifest: Manifest, collection: str) -> tuple[Mode, tuple[LegName, ...]]:
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
                f"Collection {collection!r} has no {leg!r} leg. Search it with --mode {_or(available_modes(manifest))}."
            )
    if len(set(named)) < len(named):
        raise InvalidArgument(f"The mode {mode!r} names a leg twice; name each leg once.")
    return mode, in_order(named)


def available_modes(manifest: Manifest) -> tuple[Mode, ...]:
    """The ways to search a collection, `a+b` left out: `hybrid` where several legs are fused, then each leg."""
    hybrid = (HYBRID,) if len(manifest.fused()) > 1 else ()
    return (*hybrid, *in_order(manifest.legs))


def _or(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
