"""What a search may ask for, judged before anything is encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from hybrid_search.errors import InvalidArgument
from hybrid_search.manifest import Manifest
from hybrid_search.parsing import parse
from hybrid_search.ranking.fusion import RRF_K
from hybrid_search.types import LegName, Mode, in_order
from hybrid_search.where import Condition

DEPTH = 100
"""Chunks that each leg hands on, where nothing else is asked for."""

MAX_DEPTH = 10_000

HYBRID: Mode = "hybrid"


class Options(TypedDict, total=False):
    """The keywords of `Searcher.search`, `asearch` and `search_many`; `Request` says what each means."""

    k: int
    mode: Mode
    depth: int | None
    rrf_k: float
    weights: Mapping[LegName, float] | None
    where: str | Condition | None


@dataclass(frozen=True)
class Request:
    """What is asked of a search besides the query.

    Args:
        k: documents wanted, 1..10,000.
        mode: `hybrid` fuses the collection's legs, without those that stand beside; a leg's name searches that one
            alone, beside or not; `a+b` fuses these legs.
        depth: chunks that each leg hands on, k..10,000; 100, or k where that is more, when not given.
        rrf_k: the constant of reciprocal rank fusion, >= 0.
        weights: of the legs in the fusion, >= 0, 1 where not given.
        where: a filter, in the language of `parsing` or as a tree of `where`; applied inside every leg. Every chunk
            when not given. A text is parsed here, once; `condition` has the tree.

    Raises:
        InvalidArgument: k or depth out of range.
        FilterError: a filter that cannot be read.
    """

    k: int = 10
    mode: Mode = HYBRID
    depth: int | None = None
    rrf_k: float = RRF_K
    weights: Mapping[LegName, float] | None = None
    where: str | Condition | None = None
    condition: Condition | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MAX_DEPTH:
            raise InvalidArgument(f"k is {self.k}; it must lie in 1..{MAX_DEPTH:,}.")
        if self.depth is not None and not self.k <= self.depth <= MAX_DEPTH:
            raise InvalidArgument(f"depth is {self.depth}; it must lie in k..{MAX_DEPTH:,}, and k is {self.k}.")
        if self.where is not None:
            condition = self.where if isinstance(self.where, Condition) else parse(self.where)
            object.__setattr__(self, "condition", condition)

    @property
    def deep(self) -> int:
        """The depth to search at."""
        return self.depth if self.depth is not None else max(DEPTH, self.k)


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
