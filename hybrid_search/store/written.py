"""What a writer has written and not published yet, to be read again before anybody else sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hybrid_search.manifest import Manifest
from hybrid_search.types import LegName, Vector


class Written(Protocol):
    """The part of a `CollectionReader` that a check of a collection needs. Its methods are as there."""

    @property
    def manifest(self) -> Manifest: ...

    def retrieve(self, requests: Sequence[tuple[LegName, Vector]], limit: int) -> list[list[tuple[str, float]]]:
        """Return for each (leg, query vector) up to `limit` (chunk_id, score), best first."""
        ...

    def vectors(self, leg: LegName, chunk_ids: Sequence[str]) -> dict[str, Vector]:
        """Return the leg's vector of each chunk that has one, by chunk_id."""
        ...


class ShowsWritten(Protocol):
    """A writer that lets what it has written be read; those of both stores do."""

    def written(self) -> Written:
        """Return what has been written so far, published or not. It is open as long as the writer is."""
        ...
