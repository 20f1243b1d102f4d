"""Documents that come with the weights of their terms, and the chunks that are stored of them, all checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace as with_values
from hashlib import blake2b
from itertools import groupby
from types import MappingProxyType
from typing import Any, NamedTuple

from hybrid_search.errors import CorpusError
from hybrid_search.indexing.sources import clean
from hybrid_search.interop.reader import unit_vector
from hybrid_search.interop.term_legs import HashedVocabulary, Vocabulary, weighted
from hybrid_search.store.schema import payload_of
from hybrid_search.types import Chunk, Document, LegName, Point, SparseVector, Vector, in_order

SPARSE: LegName = "sparse"
"""The leg of the term weights."""


class TermVectors(NamedTuple):
    """A document with its vectors, or one of several chunks of it, which come together, in the order of their numbers.

    Args:
        doc_id: any non-empty string.
        text: may be empty.
        title: of the document.
        metadata: JSON values; those that are not the same in all chunks are the chunk's own.
        weights: by term, 0 or more. A weight of 0 is none.
        dense: unit vectors by leg, one of each dense leg that is filled; None for none.
        origin: where it was read, `path:line`.
        number: of the chunk in its document, from 0.
    """

    doc_id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = MappingProxyType({})
    weights: Mapping[str, float] = MappingProxyType({})
    dense: Mapping[LegName, Any] | None = None
    origin: str = ""
    number: int = 0


Read = Callable[[], Iterator[TermVectors]]
"""Reads all documents; it is called twice, and raises CorpusError for what cannot be read."""


class Source(NamedTuple):
    """What is read, and how it becomes vectors: the vocabulary, the scale, and the length of each dense leg's."""

    read: Read
    vocabulary: Vocabulary
    scale: float
    dense: Mapping[LegName, int]


class Row(NamedTuple):
    """A chunk that can be stored: a `ChunkRow`. `names` are those of its terms; None for those of a model."""

    chunk: Chunk
    metadata: Mapping[str, Any]
    origin: str
    vectors: Mapping[LegName, Vector]
    names: Sequence[str] | None
    zeros: int
    stamp: str = ""
    chunks: int = 0

    @property
    def doc_id(self) -> str:
        return self.chunk.doc_id

    @property
    def number(self) -> int:
        return self.chunk.number

    def point(self) -> Point:
        """Build what the store takes."""
        head = None if self.number else (self.stamp, self.chunks)
        terms = {SPARSE: self.names} if self.names else None
        return Point(self.chunk.chunk_id, self.vectors, payload_of(self.chunk, self.metadata, self.origin, head, terms))


def rows_of(source: Source, base: str) -> Iterator[Row]:
    """Yield every chunk as it is stored, document by document, stamped on the base of a manifest.

    Raises:
        CorpusError: one is invalid.
    """
    for _, run in groupby(source.read(), key=lambda found: found.doc_id):
        rows: list[Row] = []
        for found in run:
            place = found.origin or _shown_id(found.doc_id)
            if found.number != len(rows):
                if found.number == 0:
                    raise duplicate(place, found.doc_id, rows[0].origin)
                raise CorpusError(
                    f"{place}: chunk {found.number} of {found.doc_id!r} comes where chunk {len(rows)} was expected. "
                    "Keep the chunks of a document together and in order. Nothing was written."
                )
            try:
                rows.append(_row(found, source, rows[-1].chunk.end + 1 if rows else 0))
            except ValueError as error:
                raise CorpusError(f"{place}: {error}. Nothing was written.") from error
        yield from _stamped(rows, base)


def _shown_id(doc_id: object) -> str:
    """Name a document that has no origin."""
    return f"document {doc_id!r}"


def duplicate(place: str, doc_id: str, earlier: str) -> CorpusError:
    return CorpusError(f"{place}: the id {doc_id!r} stands at {earlier} too. Ids must differ. Nothing was written.")


def _row(found: TermVectors, source: Source, start: int) -> Row:
    """Return a chunk as it is stored, but for its stamp. Raises ValueError, with the reason, where it cannot be."""
    document = clean(
        Document(found.doc_id, found.text, found.title, found.metadata, found.origin or _shown_id(found.doc_id)),
        empty=True,
    )
    sparse = weighted(found.weights, source.vocabulary, source.scale)
    vectors: dict[LegName, Vector] = {SPARSE: sparse.vector}
    given = found.dense or {}
    if set(given) != set(source.dense):
        have, want = (", ".join(in_order(legs)) or "none" for legs in (given, source.dense))
        raise ValueError(f"it has dense vectors of the legs {have}, expected {want}")
    for leg, dim in source.dense.items():
        try:
            vectors[leg] = unit_vector(given[leg], dim)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the {leg} vector: {error}") from error
    text = document.text if document.text.strip() else ""
    chunk = Chunk(document.doc_id, found.number, text, start, start + len(text), document.title, document.metadata)
    names = sparse.names if isinstance(source.vocabulary, HashedVocabulary) else None
    return Row(chunk, {}, document.origin, vectors, names, sparse.zeros)


def _stamped(rows: Sequence[Row], base: str) -> Iterator[Row]:
    """Yield the chunks of one document with its stamp, and with the metadata that they share as the document's."""
    first, *others = [
        {name: json.dumps(value, sort_keys=True) for name, value in row.chunk.metadata.items()} for row in rows
    ]  # as JSON, for to Python 1 and True are the same
    alike = [name for name, text in first.items() if all(other.get(name) == text for other in others)]
    shared = {name: rows[0].chunk.metadata[name] for name in alike}
    stamp = _stamp(rows, base)
    for row in rows:
        own = {name: value for name, value in row.chunk.metadata.items() if name not in shared}
        chunk = with_values(row.chunk, metadata=own)
        yield row._replace(chunk=chunk, metadata=shared, stamp=stamp, chunks=len(rows))


def _stamp(rows: Sequence[Row], base: str) -> str:
    """Hash content, vectors and manifest together: a document whose stamp the store has needs no work."""
    digest = blake2b(base.encode(), digest_size=16)
    for row in rows:
        chunk = row.chunk
        digest.update(Document(chunk.doc_id, chunk.text, chunk.title, chunk.metadata).content_hash().encode())
        for leg in in_order(row.vectors):
            vector = row.vectors[leg]
            parts = (vector.indices, vector.values) if isinstance(vector, SparseVector) else (vector,)
            for part in parts:
                digest.update(part.tobytes())
        digest.update("\n".join(row.names or ()).encode())
    return digest.hexdigest()
