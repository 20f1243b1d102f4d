"""What one caller may ask of the server."""

from __future__ import annotations

from dataclasses import dataclass, fields

from hybrid_search.errors import InvalidArgument
from hybrid_search.integrations.gateway.bounds import Bounds
from hybrid_search.search.request import MAX_DEPTH


@dataclass(frozen=True)
class Limits:
    """What one caller may ask for, and how many may ask at a time. They stand in the OpenAPI document.

    Args:
        k: documents wanted, at most.
        offset: documents passed over, at most.
        depth: chunks that a leg hands on, and documents that the re-ranker reads, at most.
        characters: of a query, a filter or a document's id.
        body_bytes: of a request's body; more is refused with 413.
        batch: queries in one batch.
        at_once: requests that are searched or wait for it; more are refused with 503 and Retry-After.
        threads: searches that run at a time.
        timeout_s: seconds that a request may take, and that a caller may take to send it or to take an answer.

    Raises:
        InvalidArgument: one that is no number > 0, or greater than a search can have it.
    """

    k: int = 100
    offset: int = 1_000
    depth: int = 1_000
    characters: int = 10_000
    body_bytes: int = 1 << 20
    batch: int = 1_000
    at_once: int = 64
    threads: int = 4
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not 0 < value < float("inf"):
                raise InvalidArgument(f"The limit {item.name} is {value}; it must be a number > 0.")
        for name, most in (("k", MAX_DEPTH), ("depth", MAX_DEPTH), ("offset", MAX_DEPTH - 1)):
            if getattr(self, name) > most:
                raise InvalidArgument(f"The limit {name} is {getattr(self, name)}; it must lie in 1..{most:,}.")
        if self.depth < self.k:
            raise InvalidArgument(f"The limit depth is {self.depth}, less than that of k, {self.k}.")

    def bounds(self) -> Bounds:
        """Return what a caller may hold of the server."""
        return Bounds(body_s=self.timeout_s, answer_s=self.timeout_s, body_bytes=self.body_bytes, at_once=self.at_once)
