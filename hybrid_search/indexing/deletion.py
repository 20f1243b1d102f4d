"""Deletes documents of a collection by their ids; no source is read, and no model is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from hybrid_search._util import batched
from hybrid_search._util.arguments import texts
from hybrid_search.collection.models import open_store_for
from hybrid_search.errors import CollectionNotFound
from hybrid_search.indexing import pipeline
from hybrid_search.indexing.prefetch import LOOKUP_DOCUMENTS
from hybrid_search.protocols import CollectionWriter, Store
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store.schema import check_name
from hybrid_search.types import chunk_id_of


def delete_documents(
    collection: str,
    doc_ids: Iterable[str] | None,
    *,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    wait_s: float = 0.0,
) -> int:
    """Delete documents, all at once for those who search. The collection stays, even if none is left.

    Args:
        collection: its name.
        doc_ids: ids that are not there are passed over, a letter is the same however it is composed; None for every
            document.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        wait_s: seconds to wait for another process that writes to the collection.

    Returns:
        How many documents were deleted.

    Raises:
        InvalidArgument: one id instead of several, or one that is no text.
        CollectionNotFound, StoreBusy, StoreFull, StoreUnavailable: see there.
    """
    asked = None if doc_ids is None else texts("doc_ids", doc_ids)  # all of them, before the first is deleted
    opened = open_store_for(store, settings or load_settings(), patient=True)
    manifest = opened.manifest(check_name(collection))
    if manifest is None:
        raise CollectionNotFound(collection, opened.names(), opened.location)
    with closing(opened.writer(collection, manifest, wait_s=wait_s)) as writer:
        count = delete_ids(writer, list(writer.doc_ids()) if asked is None else asked)
        writer.publish()
    return count


def delete_ids(writer: CollectionWriter, doc_ids: Iterable[str]) -> int:
    """Delete documents with all their chunks, and return how many there were. The caller publishes."""
    count = 0
    for some in batched(doc_ids, LOOKUP_DOCUMENTS):
        heads = writer.heads(some)
        for former in pipeline.former_heads(writer, [doc_id for doc_id in some if doc_id not in heads]).values():
            heads |= former[:1]
        writer.delete([chunk_id_of(doc_id, n) for doc_id, head in heads.items() for n in range(head.chunks)])
        count += len(heads)
    return count
