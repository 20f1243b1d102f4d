"""Reads one file. Runs in the separate process that `readers.Reader` keeps, within its limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO

from hybrid_search.corpus import mail
from hybrid_search.corpus.bounded import Handler
from hybrid_search.corpus.decoding import MAX_DOCUMENT_BYTES, SAMPLE_BYTES, Undecodable, sniff
from hybrid_search.corpus.documents import CONVERTED, read_document
from hybrid_search.corpus.fields import FieldMap
from hybrid_search.corpus.jsonl import read_json, read_jsonl
from hybrid_search.corpus.tabular import read_csv, read_parquet
from hybrid_search.corpus.text import read_text
from hybrid_search.corpus.unknown_files import left_out_by_content
from hybrid_search.corpus.walk import JSONL_SUFFIXES, FoundFile
from hybrid_search.types import BrokeOff, Document, Failure, Guessed, PassedOver, SourceItem

EMPTY = "empty files"
RECORDS = (*JSONL_SUFFIXES, ".csv", ".tsv", ".json", ".parquet")
"""Suffixes of files that hold several documents."""

_BATCH_ITEMS, _BATCH_CHARACTERS = 64, 1_000_000
"""Items and characters in one answer, at most; a longer document is answered alone."""


def opened(fields: FieldMap) -> Handler:
    """Return the handler that reads files with these fields; called inside the reading process."""

    def handle(found: FoundFile) -> Iterator[list[SourceItem]]:
        return _batched(_read(found, fields))

    return handle


def kind_of_failure(found: FoundFile) -> type[Failure]:
    """Return the failure type of a file that breaks off: `BrokeOff` if an unknown number of documents is lost."""
    return BrokeOff if found.path.suffix.lower() in RECORDS else Failure


def _batched(items: Iterator[SourceItem]) -> Iterator[list[SourceItem]]:
    """Yield lists of items, each after the item behind it was read, so that a one-document file is closed by then."""
    batch: list[SourceItem] = []
    size = 0
    for item in items:
        if len(batch) == _BATCH_ITEMS or size > _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item.text) if isinstance(item, Document) else 0
    yield batch


def _read(found: FoundFile, fields: FieldMap) -> Iterator[SourceItem]:
    try:
        kind = "" if found.sure else left_out_by_content(found.path)
        if kind:
            yield PassedOver(found.origin, kind)
            return
        with found.path.open("rb") as stream:
            before = os.fstat(stream.fileno())
            # As many an `__init__.py` is; one that is named is meant to be read.
            if found.folder and not before.st_size:
                yield PassedOver(found.origin, EMPTY)
                return
            yield from _file(stream, found, fields)
        change = _change(found, before)
        if change is not None:
            yield change
    except OSError as error:
        yield kind_of_failure(found)(found.origin, f"cannot be read: {error.strerror or error}")


def _change(found: FoundFile, before: os.stat_result) -> Failure | None:
    """Return a failure if the file was removed or changed since reading began, else None."""
    kind = kind_of_failure(found)
    try:
        after = found.path.stat()
    except FileNotFoundError:
        return kind(found.origin, "was removed while it was read; what could be read is indexed. Run it again")
    if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and os.path.samestat(before, after):
        return None
    return kind(
        found.origin,
        "changed while it was read, so old and new may be mixed, and what came late is missing; what was read is "
        "indexed. Run it again",
    )


def _file(stream: IO[bytes], found: FoundFile, fields: FieldMap) -> Iterator[SourceItem]:
    suffix = found.path.suffix.lower()
    origin, name = found.origin, found.name
    if suffix == ".parquet":
        if stream.read(1):
            stream.seek(0)
            yield from read_parquet(stream, origin=origin, name=name, fields=fields)
        else:
            yield Failure(origin, "the file is empty")
        return
    if suffix not in RECORDS:
        data = stream.read(MAX_DOCUMENT_BYTES + 1)
        if len(data) > MAX_DOCUMENT_BYTES:
            yield Failure(origin, f"larger than {MAX_DOCUMENT_BYTES >> 20} MB, too large for one document; split it")
        elif suffix in CONVERTED:
            yield from read_document(data, origin=origin, name=name, encoding=fields.encoding)
        elif suffix == mail.SUFFIX:
            yield from mail.read_mail(data, origin=origin, name=name, encoding=fields.encoding)
        else:
            yield from read_text(data, origin=origin, name=name, encoding=fields.encoding)
        return
    yield from _records(stream, suffix, origin, name, fields)


def _records(stream: IO[bytes], suffix: str, origin: str, name: str, fields: FieldMap) -> Iterator[SourceItem]:
    try:
        encoding, guessed = sniff(stream.read(SAMPLE_BYTES), fields.encoding)
    except Undecodable as error:
        yield Failure(origin, str(error))
        return
    stream.seek(0)
    if suffix == ".json":
        yield from read_json(stream, encoding, origin=origin, name=name, fields=fields)
    elif suffix in JSONL_SUFFIXES:
        yield from read_jsonl(stream, encoding, origin=origin, name=name, fields=fields)
    else:
        delimiter = "\t" if suffix == ".tsv" else None
        yield from read_csv(stream, encoding, origin=origin, name=name, fields=fields, delimiter=delimiter)
    if guessed:
        yield Guessed(origin, encoding)
