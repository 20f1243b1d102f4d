"""What an index job tells: while it runs (`Progress`), and at its end (`IndexReport`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from hybrid_search.types import Failure

KEPT_FAILURES = 1_000
"""So many are listed; the rest is only counted, so that a hopeless file does not fill the memory."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job stands, told at its beginning and after every batch.

    Args:
        total: an estimate of the documents in all, None where it cannot be known.
        profile: the models in use, and the reason where they were chosen.
    """

    documents: int
    chunks: int
    unchanged: int
    failed: int
    total: int | None
    seconds: float
    profile: str = ""
    profile_reason: str = ""

    @property
    def done(self) -> int:
        """Documents that need no more work."""
        return self.documents + self.unchanged + self.failed


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What an index job did.

    Args:
        documents: written (with `dry_run`: that would be read; unchanged ones are not told apart).
        chunks: of these.
        unchanged: documents that were there already.
        repeated: documents that the source holds more than once, word for word; indexed once.
        removed: documents that the source does not hold any more.
        failed: documents that could not be indexed; the first 1,000 are in `failures`.
        truncated: by leg, chunks that its model reads only in part.
        bytes_on_disk: of the whole collection; None on a server.
    """

    collection: str
    profile: str
    profile_reason: str
    documents: int
    chunks: int
    unchanged: int
    repeated: int
    removed: int
    failed: int
    failures: tuple[Failure, ...]
    truncated: Mapping[str, int]
    seconds: float
    bytes_on_disk: int | None = None
    dry_run: bool = False


@dataclass(slots=True)
class Tally:
    """Counts while a job runs."""

    collection: str
    profile: str
    profile_reason: str
    total: int | None
    on_progress: Callable[[Progress], None] | None
    documents: int = 0
    chunks: int = 0
    unchanged: int = 0
    repeated: int = 0
    removed: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    truncated: dict[str, int] = field(default_factory=dict)
    started: float = field(default_factory=perf_counter)
    tokens: int = 0
    saved: int = 0

    def fail(self, origin: str, reason: str) -> None:
        self.failed += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(Failure(origin, reason))

    def add(self, documents: int, chunks: int) -> None:
        """Count what has been written, and tell."""
        self.documents += documents
        self.chunks += chunks
        self.tell()

    def cut_off(self, more: Mapping[str, int]) -> None:
        """Count, by leg, chunks that its model reads only in part."""
        for leg, count in more.items():
            self.truncated[leg] = self.truncated.get(leg, 0) + count

    def tell(self) -> None:
        if self.on_progress is not None:
            seconds = perf_counter() - self.started
            counts = (self.documents, self.chunks, self.unchanged, self.failed)
            self.on_progress(Progress(*counts, self.total, seconds, self.profile, self.profile_reason))

    def report(self, **more: Any) -> IndexReport:
        return IndexReport(
            self.collection,
            self.profile,
            self.profile_reason,
            self.documents,
            self.chunks,
            self.unchanged,
            self.repeated,
            self.removed,
            self.failed,
            tuple(self.failures),
            dict(self.truncated),
            perf_counter() - self.started,
            **more,
        )
