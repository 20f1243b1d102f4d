"""A sample of a shard's points with fingerprints of their content, to compare with what is about to be published.

The engine reports nothing when a file that it has mapped is emptied, removed or overwritten by another program: vectors
become zeros, and every count stays the same.
"""

from __future__ import annotations

import random
from uuid import UUID

from hybrid_search.store.edge.shard_process import AnyShard
from hybrid_search.store.edge.write_log import DropVector, SetVectors, Upsert, Write

SIZE = 64
LONG = 256 * 1024
"""Points of so many bytes are not sampled: reading them again takes too long."""


class Sample:
    """Some of the points that a shard held when it was opened, and of those written since."""

    def __init__(self) -> None:
        self._held: dict[UUID, str] = {}
        self._seen = 0
        self._begun = False
        self._random = random.Random(0)

    def __len__(self) -> int:
        return len(self._held)

    def begin(self, shard: AnyShard) -> None:
        """Sample the points that are there; does nothing the second time."""
        if not self._begun:
            self._held = shard.fingerprints(shard.first(SIZE), True)
            self._seen, self._begun = len(self._held), True

    def record_write(self, shard: AnyShard, write: Write) -> None:
        """Update the sample after a write."""
        if isinstance(write, DropVector):
            self._begun = False
            self.begin(shard)
        for point in write.ids():
            self._held.pop(point, None)
        if isinstance(write, SetVectors):
            self._held |= shard.fingerprints(self._choose(write.ids()), True)
        if isinstance(write, Upsert):
            short = [point.id for point in write.points if point.size() < LONG]
            self._held |= shard.fingerprints(self._choose(short), True)
        while len(self._held) > SIZE:
            del self._held[self._random.choice(list(self._held))]

    def count_differing(self, shard: AnyShard) -> int:
        """Count the sampled points whose content in a shard differs."""
        found = shard.fingerprints(list(self._held), False)
        return sum(found.get(point) != was for point, was in self._held.items())

    def _choose(self, ids: list[UUID]) -> list[UUID]:
        """Choose some of the written points at random: the more points were seen before, the fewer."""
        chosen = []
        for point in ids:
            self._seen += 1
            if self._random.random() * self._seen < SIZE:
                chosen.append(point)
        return chosen[-SIZE:]
