"""What a server allows in one request, learned from its refusals; the next requests are shaped to it.

A collection's strict mode sets such limits, and Qdrant Cloud has them by default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hybrid_search.store.server.client_errors import EXACT, LimitExceeded

T = TypeVar("T")


@dataclass
class SearchLimits:
    """The limits of searches of one collection.

    Args:
        points: points that one search may ask for; 0 for any number.
        searches: searches in one request; 0 for any number.
        exact: whether an exact search is allowed.
    """

    points: int = 0
    searches: int = 0
    exact: bool = True
    _short: tuple[int, int] = (0, 0)

    def most(self, limit: int) -> int:
        """Return how many points to ask for."""
        if not self.points or limit <= self.points:
            return limit
        self._short = (self.points, max(limit, self._short[1]))
        return self.points

    def learn(self, error: LimitExceeded, limit: int, searches: int) -> bool:
        """Take a refusal in; say whether the same request would be another one now.

        Args:
            error: the refusal.
            limit: points that were asked for.
            searches: in the request.
        """
        if error.what == EXACT:
            changed, self.exact = self.exact, False
            return changed
        if error.what == "limit" and 0 < error.most < self.most(limit):
            self.points = error.most
            return True
        if error.what != "limit" and searches > 1 and error.most < (self.searches or searches):
            self.searches = max(1, error.most)
            return True
        return False

    def notes(self) -> tuple[str, ...]:
        """Say in sentences what the limits change in what is found; nothing where they change nothing."""
        few, wanted = self._short
        depth = f"The server lets a search ask for {few} chunks at most; {wanted} were wanted of each leg."
        return (*([depth] if few else []), *([] if self.exact else [_APPROXIMATE]))


_APPROXIMATE = "The server allows no exact search, so a filter that few chunks pass was searched approximately."


@dataclass
class WriteLimits:
    """The limits of writes of one collection.

    Args:
        records: in one request.
        size: of one request, in bytes, by `size_of`.
    """

    records: int
    size: int

    def write(self, write: Callable[[list[T]], object], records: Sequence[T], size_of: Callable[[T], int]) -> None:
        """Write records in requests that the server takes; one that is refused for its size is halved.

        Raises:
            LimitExceeded: a single record is too large.
        """
        for batch in self._batches(records, size_of):
            self._write(write, batch)

    def _write(self, write: Callable[[list[T]], object], batch: list[T]) -> None:
        try:
            write(batch)
        except LimitExceeded as error:
            if len(batch) == 1:
                raise
            # Half of it, and for good: what the server says may be in tokens of its rate, not in records.
            size = self.records = max(1, min(error.most or len(batch), len(batch) // 2))
            for start in range(0, len(batch), size):
                self._write(write, batch[start : start + size])

    def _batches(self, records: Sequence[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
        batch: list[T] = []
        size = 0
        for record in records:
            more = size_of(record)
            if batch and (len(batch) >= self.records or size + more > self.size):
                yield batch
                batch, size = [], 0
            batch.append(record)
            size += more
        if batch:
            yield batch
