"""The limits that a collection may have (strict mode), enforced in the words of Qdrant 1.18.

Recorded from that server: the limits of a search's depth, of exactness, of an upsert and of reads a minute. From its
sources: a request above the capacity, a batch of searches and a filter without an index.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.qdrant_double.refusals import Refused, conditions

DEFAULT_LIMIT = 10


class Rate:
    """Tokens of which so many come back a minute; at first all are there."""

    def __init__(self, kind: str, a_minute: int, clock: Callable[[], float]) -> None:
        self._kind = kind
        self._capacity = a_minute
        self._clock = clock
        self._tokens = float(a_minute)
        self._seen = clock()

    def take(self, cost: int) -> None:
        """Take tokens, or refuse with the seconds after which they are there again."""
        exceeded = f"Rate limiting exceeded: {self._kind} rate limit exceeded"
        if cost > self._capacity:
            larger = "request larger than rate limiter capacity, please try to split your request"
            raise Refused(429, f"{exceeded}, {larger}")
        now = self._clock()
        self._tokens = min(self._capacity, self._tokens + (now - self._seen) * self._capacity / 60)
        self._seen = now
        if self._tokens < cost:
            wait = max(1, math.ceil((cost - self._tokens) * 60 / self._capacity - 0.5))
            text = f"Operation requires {cost} tokens but only {self._tokens:.1f} were available. Retry after {wait}s"
            raise Refused(429, f"{exceeded}: {text}", {"Retry-After": str(wait)})
        self._tokens -= cost


class StrictMode:
    """The limits of one collection; what is refused by one of them costs no token."""

    def __init__(self, limits: Mapping[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = {key: value for key, value in limits.items() if value is not None}
        read, write = self._limits.get("read_rate_limit"), self._limits.get("write_rate_limit")
        self._read = Rate("Read", read, clock) if read else None
        self._write = Rate("Write", write, clock) if write else None

    def search(self, searches: list[dict[str, Any]], indexed: Mapping[str, str], batch: bool) -> None:
        """Refuse searches that are too many, too deep, exact, or filter by what has no index."""
        if batch:
            self._at_most(len(searches), "search_max_batchsize", "search batch size")
        for each in searches:
            self._at_most(each.get("limit", DEFAULT_LIMIT), "max_query_limit", "limit")
            params = each.get("params") or {}
            if params.get("exact") and self._limits.get("search_allow_exact") is False:
                raise bad_request("Exact search disabled!", "Set exact=false.")
            self._at_most(params.get("hnsw_ef") or 0, "search_max_hnsw_ef", "hnsw_ef")
            self._filter(each.get("filter"), indexed, "unindexed_filtering_retrieve")
        self._take(self._read, len(searches))

    def read(self, body: Any, indexed: Mapping[str, str]) -> None:
        """Refuse any other reading request: scrolling, counting, fetching by id."""
        asked = body or {}
        if "limit" in asked:
            self._at_most(asked["limit"], "max_query_limit", "limit")
        self._filter(asked.get("filter"), indexed, "unindexed_filtering_retrieve")
        self._take(self._read, 1)

    def upsert(self, points: int) -> None:
        """Refuse more points than an upsert may have, or than may be written now."""
        self._at_most(points, "upsert_max_batchsize", "upsert limit")
        self._take(self._write, points)

    def change(self, body: Any, indexed: Mapping[str, str]) -> None:
        """Refuse any other change of points."""
        asked = body or {}
        self._filter(asked.get("filter"), indexed, "unindexed_filtering_update")
        self._take(self._write, len(asked.get("points") or asked.get("operations") or (None,)))

    def _at_most(self, value: int, limit: str, called: str) -> None:
        most = self._limits.get(limit)
        if most is not None and value > most:
            told = f'Limit exceeded {value} > {most} for "{called}".'
            raise Refused(400, f'Bad request: {told} Help: Reduce the "{called}" parameter to or below {most}.')

    def _filter(self, asked: Any, indexed: Mapping[str, str], limit: str) -> None:
        found = list(conditions(asked))
        self._at_most(len(found), "filter_max_conditions", "filter conditions")
        for condition in found if self._limits.get(limit) is False else ():
            if condition["key"] not in indexed:
                kind = "integer" if isinstance(condition.get("match", {}).get("value"), int) else "keyword"
                told = f'Index required but not found for "{condition["key"]}" of one of the following types: [{kind}].'
                raise Refused(400, f"Bad request: {told} Help: Create an index for this key or use a different filter.")

    def _take(self, rate: Rate | None, cost: int) -> None:
        if rate is not None:
            rate.take(cost)


def bad_request(text: str, help_: str) -> Refused:
    """Return a refusal by a limit, and what its text says to do."""
    return Refused(400, f"Bad request: {text}. Help: {help_}")
