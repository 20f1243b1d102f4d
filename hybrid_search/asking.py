"""What a search may ask for, judged before anything is encoded."""

from __future__ import annotations

from collections.abc import Sequence

from hybrid_search.errors import InvalidArgument
from hybrid_search.manifest import Manifest
from hybrid_search.types import LegName, Mode, in_order

DEPTH = 100
"""Chunks that each leg hands on, where nothing else is asked for."""

MAX_DEPTH = 10_000

HYBRID: Mode = "hybrid"


def check_request(queries: Sequence[str], k: int, depth: int | None) -> int:
    """The depth to search at: the one given, or `DEPTH`, or k where that is more.

    Raises:
        InvalidArgument: k or depth out of range, or an empty query.
    """
    if not 1 <= k <= MAX_DEPTH:
        raise InvalidArgument(f"k is {k}; it must lie in 1..{MAX_DEPTH:,}.")
    if depth is not None and not k <= depth <= MAX_DEPTH:
        raise InvalidArgument(f"depth is {depth}; it must lie in k..{MAX_DEPTH:,}, and k is {k}.")
    for query in queries:
        if not query.strip():
            raise InvalidArgument("The query is empty. Say what to look for, in any words.")
    return depth if depth is not None else max(DEPTH, k)


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
