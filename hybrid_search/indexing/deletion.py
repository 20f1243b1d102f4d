"""Documents leave a collection by their ids; no source is read, and no model is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace as with_values
from pathlib import Path

from hybrid_search._util import batched
from hybrid_search._util.arguments import texts
from hybrid_search.collection.models import open_store_for
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.corpus.roots import Roots
from hybrid_search.errors import CollectionNotFound, CorpusError
from hybrid_search.indexing import pipeline
from hybrid_search.indexing.prefetch import LOOKUP_DOCUMENTS
from hybrid_search.indexing.progress import IndexReport, JobProgress
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
    """Remove documents, all at once for those who search; the collection stays, with its models, even if none is left.

    Args:
        collection: its name.
        doc_ids: ids that are not there are passed over, a letter is the same however it is composed; None for every
            document.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        wait_s: seconds to wait for another process that writes to the collection.

    Returns:
        How many documents were removed.

    Raises:
        InvalidArgument: one id instead of several, or one that is no text.
        CollectionNotFound, StoreBusy, StoreFull, StoreUnavailable: see there.
    """
    asked = None if doc_ids is None else texts("doc_ids", doc_ids)  # all of them, before the first is removed
    place = open_store_for(store, settings or load_settings())
    manifest = place.manifest(check_name(collection))
    if manifest is None:
        raise CollectionNotFound(collection, place.names(), place.location)
    with closing(place.writer(collection, manifest, wait_s=wait_s)) as writer:
        count = delete_ids(writer, list(writer.doc_ids()) if asked is None else asked)
        writer.publish()
    return count


def delete_ids(writer: CollectionWriter, doc_ids: Iterable[str]) -> int:
    """Remove documents with all their chunks, to be published by the caller; how many there were."""
    count = 0
    for some in batched(doc_ids, LOOKUP_DOCUMENTS):
        heads = writer.heads(some)
        for former in pipeline.former_heads(writer, [doc_id for doc_id in some if doc_id not in heads]).values():
            heads |= former[:1]
        writer.delete([chunk_id_of(doc_id, n) for doc_id, head in heads.items() for n in range(head.chunks)])
        count += len(heads)
    return count


def conclude(
    store: Store,
    writer: CollectionWriter,
    ledger: Ledger,
    tally: JobProgress,
    *,
    prune: bool,
    replace: bool,
    roots: Roots | None = None,
) -> IndexReport:
    """Bring an index job, all of whose sources have come to their end, to its own: prune, publish, report.

    With `prune` the documents that are not in the ledger are removed, but only where none failed. A replacement that an
    earlier run began may hold what the sources have lost since: of that it is pruned in any case. From then on the
    collection remembers `roots`, if given.

    Raises:
        CorpusError: a source broke off, and what it still gave was to replace a collection that is there.
    """
    if replace and tally.broke_off and tally.collection in store.names():
        raise CorpusError(
            f"A source broke off: {tally.broke_off}. Collection {tally.collection!r} stays as it was, for nobody can "
            "say how much would be missing. Mend the source or leave it out, then run the same command again."
        )
    if (prune and not tally.failed) or (replace and writer.resumed):
        gone = [doc_id for doc_id in writer.doc_ids() if doc_id not in ledger]  # all before the first is removed
        tally.removed += delete_ids(writer, gone)
    new = roots is not None and roots.prefixes != (writer.manifest.roots or {})
    writer.publish(with_values(writer.manifest, roots=roots.prefixes) if roots and new else None)
    tally.saved = tally.documents + tally.unchanged
    return tally.report(bytes_on_disk=writer.info().bytes_on_disk)
