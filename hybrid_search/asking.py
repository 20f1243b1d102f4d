"""What a search may ask for, judged before anything is encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from hybrid_search.errors import InvalidArgument
from hybrid_search.types import LEGS, LegName, Mode

DEPTH = 100
"""Chunks that each leg hands on, where nothing else is asked for."""

MAX_DEPTH = 10_000


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


def legs_of(mode: Mode, have: tuple[LegName, ...], collection: str) -> tuple[Mode, tuple[LegName, ...]]:
    """The mode that is searched in, and its legs: hybrid with one leg is that leg alone.

    Raises:
        InvalidArgument: an unknown mode, or one whose leg the collection lacks.
    """
    if mode == "hybrid":
        return (mode, have) if len(have) > 1 else (cast(Mode, have[0]), have)
    if mode not in LEGS:
        raise InvalidArgument(f"Unknown mode {mode!r}. Take one of: hybrid, {', '.join(LEGS)}.")
    if mode not in have:
        raise InvalidArgument(f"Collection {collection!r} has no {mode!r} leg. Search it with --mode {have[0]}.")
    return mode, (mode,)
