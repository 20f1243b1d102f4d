"""From whatever a caller calls a source to documents that can be indexed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from hybrid_search.corpus.fields import FieldMap, document_of
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.corpus.readers import count_documents, read
from hybrid_search.report import Tally
from hybrid_search.store.schema import clean_metadata
from hybrid_search.types import Document, Failure

Source = str | Path | Sequence[str | Path] | Iterable[Document | Mapping[str, Any]]
"""Files, folders, `-` for stdin, or documents."""


def open_source(
    source: Source, fields: FieldMap, globs: Sequence[str]
) -> tuple[Iterable[Document | Failure], int | None]:
    """The documents of a source as they come, and an estimate of how many."""
    if isinstance(source, (str, Path)):
        source = [source]
    if isinstance(source, (list, tuple)) and all(isinstance(item, (str, Path)) for item in source):
        return read(source, fields=fields, globs=globs), count_documents(source, globs=globs)
    rows = cast("Iterable[Document | Mapping[str, Any]]", source)
    total = len(rows) if isinstance(rows, Sized) else None
    return (_as_document(row, place, fields) for place, row in enumerate(rows, 1)), total


def _as_document(row: Document | Mapping[str, Any], place: int, fields: FieldMap) -> Document | Failure:
    if isinstance(row, Document):
        return row
    return document_of(row, fields, origin=f"item {place}", fallback_id=f"item-{place}")


def accepted(items: Iterable[Document | Failure], ledger: Ledger, tally: Tally) -> Iterator[Document]:
    """Documents that can be indexed, each id once; all others are counted with the reason."""
    for item in items:
        if isinstance(item, Failure):
            tally.fail(*item)
            continue
        origin = item.origin or item.doc_id
        if not item.doc_id or not item.text.strip():
            tally.fail(origin, "no text" if item.doc_id else "no doc_id")
            continue
        try:
            document = replace(item, metadata=clean_metadata(item.metadata))
        except ValueError as error:
            tally.fail(origin, str(error))
            continue
        earlier = ledger.seen(document.doc_id, document.content_hash(), origin)
        if earlier is None:
            yield document
        elif earlier[0] == document.content_hash():
            tally.repeated += 1
        else:
            tally.fail(origin, f"doc_id {document.doc_id!r} stands at {earlier[1]} too, with other content")
