"""The chunks of a collection in their order, and the errors of files on a disk: what every way out needs."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hybrid_search._util import batched
from hybrid_search.errors import InvalidArgument, StoreError, StoreFull
from hybrid_search.indexing.pipeline import INCOMPLETE
from hybrid_search.indexing.prefetch import LOOKUP_DOCUMENTS
from hybrid_search.protocols import CollectionReader
from hybrid_search.types import chunk_id_of


def iter_chunk_ids(collection: str, reader: CollectionReader) -> Iterator[str]:
    """Yield every chunk id, document by document, each from its first to its last."""
    for doc_ids in batched(reader.doc_ids(), LOOKUP_DOCUMENTS):
        heads = reader.payloads([chunk_id_of(doc_id, 0) for doc_id in doc_ids])
        for doc_id in doc_ids:
            first = chunk_id_of(doc_id, 0)
            if first not in heads or heads[first]["stamp"] == INCOMPLETE:
                raise unfinished(collection, first)
            yield from (chunk_id_of(doc_id, number) for number in range(heads[first]["chunks"]))


def unfinished(collection: str, chunk_id: str) -> StoreError:
    """Return the error of a collection that lacks a chunk because a job is writing its document."""
    return StoreError(
        f"Collection {collection!r} lacks {chunk_id!r} or is writing its document right now. Let the job that writes "
        "to it end, or finish one that was cut short by running it again; then repeat this."
    )


def check_writable(path: Path, example: str) -> None:
    """Make sure that a file can be written, as far as that can be told before.

    Args:
        path: of the file.
        example: a file's name, for messages.

    Raises:
        InvalidArgument: it is a folder, or its folder is not there or may not be written.
    """
    if path.is_dir():
        raise InvalidArgument(f"{path} is a folder. Name the file to write, such as {path / example}.")
    if not path.parent.is_dir():
        raise InvalidArgument(f"There is no folder {path.parent} to write {path.name} into. Make it first.")
    if not os.access(path.parent, os.W_OK):
        raise InvalidArgument(f"The folder {path.parent} may not be written. Name a file elsewhere.")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Translate what the system says of a file that cannot be written.

    Raises:
        StoreFull: the disk is full.
        StoreError: anything else.
    """
    try:
        yield
    except OSError as error:
        kind = StoreFull if error.errno == errno.ENOSPC else StoreError
        raise kind(
            f"Cannot write {path}: {error.strerror or error}. Name another place, or free some space."
        ) from error
