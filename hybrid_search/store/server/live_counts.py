"""The document frequencies that a reader has of a collection that is being written to."""

from __future__ import annotations

import threading
from time import monotonic

from hybrid_search.store.server.counts import NOTHING, Counts, Frequencies
from hybrid_search.store.server.frequencies import (
    Ask,
    is_work,
    read_counts,
    rows_of,
    signs_of,
)

LOOK_EVERY_S = 1.0


class LiveCounts:
    """Counts that are read again when they have changed. Safe to use from many threads.

    Whether they have is asked once a second at most, with one small request; between two looks nothing is asked.

    Args:
        ask: runs a call on the client.
        real: the version that is counted.
        side: the collection that holds its counts.
    """

    def __init__(self, ask: Ask, real: str, side: str) -> None:
        self._ask, self._real, self._side = ask, real, side
        self._signs: frozenset[tuple[str, str, int]] | None = None
        self._counts: Counts = {}
        self._looked = float("-inf")
        self._lock = threading.Lock()

    def of(self, name: str) -> Frequencies:
        """Return the frequencies in a vector field."""
        with self._lock:
            if monotonic() - self._looked >= LOOK_EVERY_S:
                self._look()
        return self._counts.get(name, NOTHING)

    def _look(self) -> None:
        signs = signs_of(self._ask, self._side)
        if signs != self._signs or any(is_work(kind) for _, kind, _ in signs):
            self._counts = read_counts(self._ask, self._real, self._side, rows_of(self._ask, self._side))
            self._signs = signs
        self._looked = monotonic()
