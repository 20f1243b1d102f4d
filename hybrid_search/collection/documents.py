"""Documents as a collection holds them: put together again from their chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from hybrid_search._util import batched
from hybrid_search._util.unicode_text import id_forms
from hybrid_search.errors import DocumentNotFound, StoreError
from hybrid_search.protocols import CollectionReader
from hybrid_search.types import Document, chunk_id_of, own_metadata

BATCH = 1_000
"""Chunks that are asked for at once."""

DOCUMENTS = 256
"""Documents that are read at once."""


def payloads_of(reader: CollectionReader, doc_id: str) -> list[Mapping[str, Any]]:
    """Return the payloads of a document's chunks, in their order; none where there is no such document.

    Raises:
        StoreError: some of its chunks are not there, because it is being written now.
    """
    [doc_id], heads = stored_as(reader, [doc_id])
    head = heads.get(chunk_id_of(doc_id, 0))
    if head is None:
        return []
    count = head.get("chunks", 1)
    ids = [chunk_id_of(doc_id, number) for number in range(count)]
    payloads = {chunk_id_of(doc_id, 0): head}
    for start in range(1, count, BATCH):
        payloads = {**payloads, **reader.payloads(ids[start : start + BATCH])}
    if len(payloads) < count:
        raise StoreError(
            f"Of document {doc_id!r} {len(payloads)} of {count} chunks are there: it is being written. Ask again soon."
        )
    return [payloads[chunk_id] for chunk_id in ids]


def stored_as(reader: CollectionReader, doc_ids: Sequence[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Return the ids as the collection has them, in order, and the payloads of the first chunks by chunk_id.

    An id is the same however its letters are composed; one that is not there stays as it is.
    """
    heads = reader.payloads([chunk_id_of(doc_id, 0) for doc_id in doc_ids])
    lacking = [doc_id for doc_id in doc_ids if not doc_id.isascii() and chunk_id_of(doc_id, 0) not in heads]
    others = {doc_id: id_forms(doc_id)[1:] for doc_id in lacking}
    if others:
        heads |= reader.payloads([chunk_id_of(form, 0) for forms in others.values() for form in forms])
    named = [
        next((form for form in (doc_id, *others.get(doc_id, ())) if chunk_id_of(form, 0) in heads), doc_id)
        for doc_id in doc_ids
    ]
    return named, heads


def fetch_document(reader: CollectionReader, doc_id: str, collection: str) -> Document:
    """Return a document, from its chunks: overlaps once, offsets as in the document that was indexed.

    White space between two chunks, and before the first, is not stored. One letter of it comes back as a blank, more as
    line breaks where the text has any, else as blanks; what stood behind the last chunk does not come back.

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
    return document_from(payloads)


def all_payloads(
    reader: CollectionReader, doc_ids: Iterable[str], passes: Callable[[Mapping[str, Any]], bool] | None = None
) -> Iterator[list[Mapping[str, Any]]]:
    """Yield of each document the payloads of its chunks, in their order; see `payloads_of`.

    Args:
        reader: of the collection.
        doc_ids: those that are not there, or that are being written, are passed over.
        passes: says by a document's first payload whether the document is wanted; all when not given.
    """
    for batch in batched(doc_ids, DOCUMENTS):
        batch, heads = stored_as(reader, batch)
        heads = {name: head for name, head in heads.items() if passes is None or passes(head)}
        rest = [chunk_id_of(head["doc_id"], n) for head in heads.values() for n in range(1, head.get("chunks", 1))]
        payloads = dict(heads)
        for more in batched(rest, BATCH):
            payloads.update(reader.payloads(more))
        for doc_id in batch:
            head = payloads.get(chunk_id_of(doc_id, 0))
            if head is None or head.get("stamp") == "":
                continue
            chunks = [payloads.get(chunk_id_of(doc_id, n)) for n in range(head.get("chunks", 1))]
            whole: list[Mapping[str, Any]] = [chunk for chunk in chunks if chunk is not None]
            if len(whole) == len(chunks):
                yield whole


def document_from(payloads: Sequence[Mapping[str, Any]]) -> Document:
    """Build the document whose chunks have these payloads, in their order."""
    head = payloads[0]
    own = own_metadata(head)
    metadata = {name: value for name, value in head["metadata"].items() if name not in own}
    return Document(head["doc_id"], reassemble_text(payloads), head["title"], metadata, head["origin"])


def reassemble_text(payloads: Sequence[Mapping[str, Any]]) -> str:
    """Join the text of a document, from the payloads of its chunks in their order.

    >>> reassemble_text([{"start": 0, "text": "one two"}, {"start": 4, "text": "two three"}])
    'one two three'
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
