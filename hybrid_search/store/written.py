"""What jobs read of a collection and searches do not: what is not published yet, and all of it, with patience."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from hybrid_search.manifest import Manifest
from hybrid_search.protocols import CollectionReader, Store
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


@runtime_checkable
class ReadsPatiently(Protocol):
    """A store that may be away for a while, and has a reader that waits for it."""

    def patient_reader(self, name: str) -> CollectionReader:
        """Open a collection as `reader` does, for somebody who waits as long as a writer does."""
        ...


def job_reader(store: Store, name: str) -> CollectionReader:
    """Open a collection for a job that reads all of it. Raises as `reader`."""
    return store.patient_reader(name) if isinstance(store, ReadsPatiently) else store.reader(name)
