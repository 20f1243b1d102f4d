"""A document as a collection holds it: put together again from its chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_search.errors import DocumentNotFound, StoreError
from hybrid_search.protocols import CollectionReader
from hybrid_search.types import Document, chunk_id_of

BATCH = 1_000
"""Chunks that are asked for at once."""


def payloads_of(reader: CollectionReader, doc_id: str) -> list[Mapping[str, Any]]:
    """The payloads of a document's chunks, in their order; none where there is no such document.

    Raises:
        StoreError: some of its chunks are not there, because it is being written now.
    """
    head = reader.payloads([chunk_id_of(doc_id, 0)])
    count = next((payload.get("chunks", 1) for payload in head.values()), 0)
    ids = [chunk_id_of(doc_id, number) for number in range(count)]
    found = head
    for start in range(1, count, BATCH):
        found = {**found, **reader.payloads(ids[start : start + BATCH])}
    if len(found) < count:
        raise StoreError(
            f"Of document {doc_id!r} {len(found)} of {count} chunks are there: it is being written. Ask again soon."
        )
    return [found[chunk_id] for chunk_id in ids]


def stored_document(reader: CollectionReader, doc_id: str, collection: str) -> Document:
    """A document, from its chunks: overlaps once, offsets as in the document that was indexed.

    White space between two chunks, and before the first, is not stored. It comes back as line breaks where the text has
    any, else as blanks; what stood behind the last chunk does not come back.

    Args:
        reader: of the collection.
        doc_id: of the document.
        collection: its name, for the message.

    Raises:
        DocumentNotFound: the collection has no such document.
        StoreError: it is being written.
    """
    payloads = payloads_of(reader, doc_id)
    if not payloads:
        raise DocumentNotFound(doc_id, collection)
    head = payloads[0]
    metadata = {name: value for name, value in head["metadata"].items() if name not in head.get("own", ())}
    return Document(doc_id, whole_text(payloads), head["title"], metadata, head["origin"])


def whole_text(payloads: Sequence[Mapping[str, Any]]) -> str:
    """The text of a document, from the payloads of its chunks in their order.

    >>> whole_text([{"start": 0, "text": "one two"}, {"start": 4, "text": "two three"}, {"start": 14, "text": "four"}])
    'one two three four'
    """
    white = "\n" if any("\n" in payload["text"] for payload in payloads) else " "
    parts: list[str] = []
    length = 0
    for payload in payloads:
        start, text = payload["start"], payload["text"]
        if start > length:
            parts.append(white * (start - length))
            length = start
        rest = text[length - start :]
        parts.append(rest)
        length += len(rest)
    return "".join(parts)
