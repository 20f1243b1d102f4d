"""Reads a collection that is moved: its chunks in order, page by page, each with what its target needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hybrid_search._util import batched
from hybrid_search._util.mapped_files import release_mapped
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.interop.chunks import iter_chunk_ids, unfinished
from hybrid_search.interop.move_check import Tally
from hybrid_search.protocols import CollectionReader, DocumentHead
from hybrid_search.types import LegName, Point, Vector

READ_BATCH = 256
"""Chunks that are read at once."""

RELEASE_EVERY = 16
"""After so many batches the memory of mapped files is given back."""


class Source(NamedTuple):
    """A collection that is read.

    Args:
        collection: its name.
        reader: of it.
        place: the folder of its store; empty for a server.
    """

    collection: str
    reader: CollectionReader
    place: str


class Row(NamedTuple):
    """A chunk on its way; its vectors are read when the first of its page is written."""

    head: DocumentHead
    payload: Mapping[str, Any]
    page: Page

    @property
    def doc_id(self) -> str:
        return str(self.payload["doc_id"])

    @property
    def number(self) -> int:
        return int(self.payload["number"])

    @property
    def stamp(self) -> str:
        return self.head.version_hash

    @property
    def chunks(self) -> int:
        return self.head.chunks

    def point(self) -> Point:
        """Build what the store takes."""
        chunk_id = self.payload["chunk_id"]
        return Point(chunk_id, self.page.vectors_of(chunk_id), self.payload)


class Page:
    """The vectors of some chunks, read at once, and only where one of them is wanted."""

    def __init__(self, reader: CollectionReader, chunk_ids: Sequence[str]) -> None:
        self._reader, self._chunk_ids = reader, chunk_ids
        self._vectors: dict[LegName, dict[str, Vector]] | None = None

    def vectors_of(self, chunk_id: str) -> dict[LegName, Vector]:
        """Return the vectors of a chunk, by leg."""
        if self._vectors is None:
            legs = self._reader.manifest.legs
            self._vectors = {leg: self._reader.vectors(leg, self._chunk_ids) for leg in legs}
        return {leg: found[chunk_id] for leg, found in self._vectors.items() if chunk_id in found}


def pages(source: Source, tally: Tally, ledger: Ledger) -> Iterator[list[Row]]:
    """Yield all chunks, document by document, some at a time; each is counted, each document put down in the ledger.

    Raises:
        StoreError: a document is being written.
    """
    head = DocumentHead("", 0)
    batches = batched(iter_chunk_ids(source.collection, source.reader), READ_BATCH)
    for number, chunk_ids in enumerate(batches, 1):
        page, rows = Page(source.reader, chunk_ids), []
        for payload in _payloads_of(source.collection, source.reader, chunk_ids):
            if payload["number"] == 0:
                head = DocumentHead.of(payload)
                ledger.seen(payload["doc_id"], head.version_hash, str(head.chunks))
            tally.add(payload)
            rows.append(Row(head, payload, page))
        yield rows
        if number % RELEASE_EVERY == 0 and source.place:
            release_mapped(source.place)


def iter_payloads(collection: str, reader: CollectionReader) -> Iterator[Mapping[str, Any]]:
    """Yield the payload of every chunk. Raises StoreError where one is missing."""
    for chunk_ids in batched(iter_chunk_ids(collection, reader), READ_BATCH):
        yield from _payloads_of(collection, reader, chunk_ids)


def _payloads_of(collection: str, reader: CollectionReader, chunk_ids: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the payload of each chunk, in order. Raises StoreError where one is missing."""
    wanted = list(chunk_ids)
    found = reader.payloads(wanted)
    for chunk_id in wanted:
        if chunk_id not in found:
            raise unfinished(collection, chunk_id)
        yield found[chunk_id]
