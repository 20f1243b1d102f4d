"""Road one: sources -> documents -> chunks -> encodings -> points -> store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_search.corpus.fields import FieldMap
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.cutting import Cutter, batched, cut_off, cutter
from hybrid_search.encoders.halves import encode
from hybrid_search.intake import Source, accepted, beginning, open_source, stamp_of
from hybrid_search.manifest import Manifest, Precision, Sparsity
from hybrid_search.profiles import Asked, Models, OnDownload, models_for, open_place
from hybrid_search.protocols import CollectionWriter, Store
from hybrid_search.report import IndexReport, Progress, Tally
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store.schema import check_name, payload_of
from hybrid_search.types import Chunk, Document, LegName, Point, chunk_id_of

ENCODE_BATCH = 64
LOOKUP_BATCH = 64
BEGUN = ""
"""The stamp of a document whose chunks are not all there yet; no content has it."""


class _Part(NamedTuple):
    """One chunk on its way to the store."""

    chunk: Chunk
    payload: dict[str, Any]


class Indexer:
    """Fills one collection. What is there already and has not changed costs a hash and is left alone."""

    def __init__(self, collection: str, store: Store, settings: Settings, *, wait_s: float = 0.0) -> None:
        self.collection = check_name(collection)
        self._store, self._settings, self._wait_s = store, settings, wait_s
        self._asked = Asked()
        self._chunk_tokens: int | None = None
        self._overlap_tokens: int | None = None
        self._replace = False

    @classmethod
    def open(
        cls,
        collection: str,
        *,
        store: str | Path | Store | None = None,
        settings: Settings | None = None,
        profile: str = "auto",
        sparse: str | None = None,
        dense: str | None = None,
        legs: Sequence[LegName] | None = None,
        precision: Precision | None = None,
        sparsity: Sparsity | None = None,
        chunk_tokens: int | None = None,
        overlap_tokens: int | None = None,
        replace: bool = False,
        wait_s: float = 0.0,
    ) -> Indexer:
        """Name a collection to fill; nothing is read, loaded or written yet.

        Args:
            collection: made on the first `index` where it is not there.
            store: a folder, a server's URL, or an open store; the settings' store when not given.
            settings: read from the environment and the config file when not given.
            profile: the models of a new collection: `splade`, `bundled`, or `auto`. An existing one keeps its own.
            sparse: a model or a folder instead of the profile's, `none` for no such leg.
            dense: the same for the dense leg.
            legs: of a new collection: `sparse`, `dense`, `bm25` (the engine's own); the first two when not given.
            precision: of the models of a new collection that have a choice; the settings' when not given.
            sparsity: what is kept of the vectors of its learned sparse models.
            chunk_tokens: tokens a chunk may take, the title included; 0 for one chunk a document, which a model then
                cuts at its own limit. As many as all models read when not given.
            overlap_tokens: tokens that neighbouring chunks share at most, 0 when not given.
            replace: build the collection anew beside the old one, which answers until the new one is complete.
            wait_s: seconds to wait for another process that writes to the collection.

        Raises:
            InvalidArgument: a name or a number that cannot be meant.
            StoreUnavailable: the server does not answer.
        """
        settings = settings or load_settings()
        indexer = cls(collection, open_place(store, settings), settings, wait_s=wait_s)
        indexer._asked = Asked(profile, {"sparse": sparse, "dense": dense}, legs, precision, sparsity)
        indexer._chunk_tokens, indexer._overlap_tokens, indexer._replace = chunk_tokens, overlap_tokens, replace
        return indexer

    def index(
        self,
        source: Source,
        *,
        fields: FieldMap | None = None,
        globs: Sequence[str] = (),
        prune: bool = False,
        dry_run: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        on_download: OnDownload | None = None,
    ) -> IndexReport:
        """Bring the collection in step with a source.

        Args:
            source: files, folders, BEIR folders, `-` for stdin, or any iterable of `Document` or dict.
            fields: which fields of a row are id, title and text.
            globs: of a folder only the files that match one of these.
            prune: remove documents that the source does not hold (any more). Skipped when a document failed.
            dry_run: read and cut everything, encode and write nothing.
            on_progress: called at the beginning and after every batch.
            on_download: called with (model, bytes done, bytes in all) while a model is fetched.

        Returns:
            What was done. Failed documents are listed there; they do not stop the others.

        Raises:
            CorpusError: a source is missing, or holds no document at all.
            ModelUnavailable: a model is not here and cannot be fetched.
            ManifestMismatch: the collection was built with other models or chunking than asked for.
            StoreBusy, StoreFull, StoreUnavailable: see there. What was written before is kept; run it again to go on.
        """
        items, total = open_source(source, fields or FieldMap(), globs)
        found = None if self._replace else self._store.manifest(self.collection)
        models = models_for(self.collection, found, self._asked, self._settings, on_download)
        cut = cutter(self.collection, models, found, self._chunk_tokens, self._overlap_tokens)
        tally = Tally(self.collection, models.profile, models.reason, total, on_progress)
        tally.tell()
        with Ledger() as ledger:
            documents = accepted(items, ledger, tally)
            first = beginning(documents, tally, sample=found is None and models.measuring)
            documents = chain(first, documents)
            if dry_run:
                for document in documents:
                    tally.add(1, len(cut(document)))
                return tally.report(dry_run=True)
            if found is None:
                models = models.fitted(part.searchable for document in first for part in cut(document))
            manifest = found or models.manifest(cut.size_tokens, cut.overlap_tokens)
            writer = self._store.writer(self.collection, manifest, replace=self._replace, wait_s=self._wait_s)
            try:
                for batch in batched(_parts(documents, cut, manifest, writer, tally), ENCODE_BATCH):
                    _write(batch, models, manifest, writer, tally)
                if prune and not tally.failed:
                    prune_gone(writer, ledger, tally)
                writer.publish()
                return tally.report(bytes_on_disk=writer.info().bytes_on_disk)
            finally:
                writer.close()


def _parts(
    documents: Iterable[Document], cut: Cutter, manifest: Manifest, writer: CollectionWriter, tally: Tally
) -> Iterator[_Part]:
    """The chunks of every document that is new or has changed; of each document the head comes last.

    A document that is not written in one batch begins with a head without a stamp: a run cut short then leaves no chunk
    that the next one does not know of.
    """
    base = manifest.stamp_base()
    place = 0
    for some in batched(documents, LOOKUP_BATCH):
        heads = writer.heads([document.doc_id for document in some])
        for document in some:
            stamp = stamp_of(document, base)
            old = heads.get(document.doc_id)
            if old is not None and old.stamp == stamp:
                tally.unchanged += 1
                continue
            chunks = cut(document)
            if old is not None and old.chunks > len(chunks):
                # Not only those too many: the head of the old version must not outlive its chunks.
                writer.delete(chunk_id_of(document.doc_id, n) for n in range(old.chunks))
            order = [(part, None) for part in chunks[1:]] + [(chunks[0], (stamp, len(chunks)))]
            if place % ENCODE_BATCH + len(chunks) > ENCODE_BATCH:
                order.insert(0, (chunks[0], (BEGUN, len(chunks))))
            place += len(order)
            for part, head in order:
                yield _Part(part, payload_of(part, document.metadata, document.origin, head))
        tally.tell()


def _write(batch: Sequence[_Part], models: Models, manifest: Manifest, writer: CollectionWriter, tally: Tally) -> None:
    counted = [part.chunk for part in batch if part.payload.get("stamp") != BEGUN]
    vectors = encode(models.encoders, [part.chunk.searchable for part in batch])
    tally.cut_off(cut_off(models.encoders, manifest.chunk_tokens, [chunk.searchable for chunk in counted]))
    by_place = enumerate(batch)
    writer.upsert([Point(p.chunk.chunk_id, {leg: vectors[leg][n] for leg in vectors}, p.payload) for n, p in by_place])
    tally.add(sum(chunk.number == 0 for chunk in counted), len(counted))


def prune_gone(writer: CollectionWriter, ledger: Ledger, tally: Tally) -> None:
    """Remove the documents that this run has not met."""
    gone = (doc_id for doc_id in list(writer.doc_ids()) if doc_id not in ledger)
    for some in batched(gone, LOOKUP_BATCH):
        heads = writer.heads(some)
        writer.delete([chunk_id_of(doc_id, n) for doc_id, head in heads.items() for n in range(head.chunks)])
        tally.removed += len(heads)
