"""Writes chunks that come with their vectors into a collection: what is new or has changed, document by document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from typing import Protocol, TypeVar

from hybrid_search._util import batched
from hybrid_search.indexing.pipeline import INCOMPLETE
from hybrid_search.indexing.progress import JobProgress
from hybrid_search.protocols import CollectionWriter, DocumentHead
from hybrid_search.types import Failure, Point, chunk_id_of

WRITE_BATCH = 256
"""Points that are written at once. A document of no more chunks is written in one go."""


class ChunkRow(Protocol):
    """A chunk on its way into a collection; those of a document come together, number 0 first."""

    @property
    def doc_id(self) -> str: ...

    @property
    def number(self) -> int:
        """Its number in its document, from 0."""
        ...

    @property
    def stamp(self) -> str:
        """Its document's version hash, of number 0."""
        ...

    @property
    def chunks(self) -> int:
        """How many its document has, of number 0."""
        ...

    def point(self) -> Point:
        """Build what the store takes. Raises ValueError, with the reason, where it cannot be stored."""
        ...


R = TypeVar("R", bound=ChunkRow)

Upsert = Callable[[Sequence[Point]], None]


def fill(
    writer: CollectionWriter,
    batches: Iterable[Sequence[ChunkRow]],
    progress: JobProgress,
    place: str,
    upsert: Upsert | None = None,
) -> None:
    """Write what is new or has changed; of each document the head comes last, as `indexer` has it.

    Args:
        writer: of the collection.
        batches: all chunks, some at a time.
        progress: counts what is done.
        place: where the chunks come from, for failures.
        upsert: writes points; the writer's own when not given.
    """
    held: list[Point] = []
    upsert = upsert or writer.upsert

    def flush() -> None:
        if held:
            upsert(held)
            progress.add(sum(point.payload["number"] == 0 for point in held), len(held))
            held.clear()

    arriving = groupby(_arriving(writer, batches, progress), key=lambda pair: pair[0].doc_id)
    for doc_id, run in arriving:
        head, old = next(run)
        if old is not None and old.version_hash == head.stamp:
            progress.unchanged += 1
            continue
        rows = chain([head], (row for row, _ in run))
        try:
            first = [row.point() for row in islice(rows, WRITE_BATCH)]
        except ValueError as error:
            progress.fail(Failure(f"{place}: {doc_id}", str(error)))
            continue
        if len(held) + len(first) > WRITE_BATCH:
            flush()
        if old is not None and old.chunks > head.chunks:
            # Not only those too many: the head of the old version must not outlive its chunks.
            writer.delete(chunk_id_of(doc_id, number) for number in range(old.chunks))
        if head.chunks <= WRITE_BATCH:
            held += [*first[1:], first[0]]
            continue
        flush()
        try:
            _write_long(upsert, first, rows)
        except _BadRow as error:
            writer.delete(chunk_id_of(doc_id, number) for number in range(head.chunks))
            progress.fail(Failure(f"{place}: {doc_id}", str(error)))
        else:
            progress.add(1, head.chunks)
    flush()
    progress.emit()


class _BadRow(Exception):
    """A row that cannot be stored, behind others of its document that have been."""


def _write_long(upsert: Upsert, first: Sequence[Point], rows: Iterable[ChunkRow]) -> None:
    """Write a document of several batches, its head without a stamp first: cut short, no chunk is unaccounted for.

    Raises:
        _BadRow: see there.
    """
    head = first[0]
    begun = Point(head.chunk_id, head.vectors, {**head.payload, "stamp": INCOMPLETE})
    upsert([begun, *first[1:]])
    for some in batched(rows, WRITE_BATCH):
        try:
            points = [row.point() for row in some]
        except ValueError as error:
            raise _BadRow(str(error)) from error
        upsert(points)
    upsert([head])


def _arriving(
    writer: CollectionWriter, batches: Iterable[Sequence[R]], progress: JobProgress
) -> Iterator[tuple[R, DocumentHead | None]]:
    """Yield each row, that of a document's first chunk with what the collection remembers of the document."""
    for rows in batches:
        heads = writer.heads([row.doc_id for row in rows if row.number == 0])
        for row in rows:
            yield row, None if row.number else heads.get(row.doc_id)
        progress.emit()
