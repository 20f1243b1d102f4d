"""Counts things and names the first of them, for what a report says was passed over."""

from __future__ import annotations

from collections.abc import Sequence

NAMED = 10
"""Things that are named."""


def counted(names: Sequence[str], one: str, many: str, most: int = NAMED) -> str:
    """Count and name things.

    >>> counted(["q1", "q2", "q3"], "query", "queries", 2)
    "3 queries ('q1', 'q2' and 1 more)"
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{len(names):,} {one if len(names) == 1 else many} ({', '.join(map(repr, names[:most]))}{more})"
