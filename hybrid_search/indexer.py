"""Road one: sources -> documents -> chunks -> encodings -> points -> store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import chain
from pathlib import Path
from time import perf_counter

from hybrid_search._util.arguments import flags, number, texts
from hybrid_search.collection.defaults import inherit_defaults
from hybrid_search.collection.expansion import ExpandWith
from hybrid_search.collection.models import ModelRequest, ModelSet, OnDownload, open_store_for
from hybrid_search.collection.profiles import models_for
from hybrid_search.corpus.fields import FieldMap
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.indexing import pipeline
from hybrid_search.indexing.chunker import chunker_for, searchable_texts
from hybrid_search.indexing.dry_run import ExistingHeads, dry_run_report, known_ids, remembered
from hybrid_search.indexing.expansion import counted
from hybrid_search.indexing.job import IndexJob, index_job
from hybrid_search.indexing.memory import MemoryLimit
from hybrid_search.indexing.progress import IndexReport, JobProgress, Progress
from hybrid_search.indexing.sources import Source, open_source, peek, validated
from hybrid_search.indexing.workers import check_workers, encoded_by_workers
from hybrid_search.manifest import Precision, Sparsity
from hybrid_search.protocols import Store
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store.schema import check_name
from hybrid_search.types import LegName

SAVE_EVERY_S = 5.0
"""What is lost with the power of the machine; a process that is killed loses less."""


class Indexer:
    """Fills one collection. What is there already and has not changed costs a hash and is left alone."""

    def __init__(
        self,
        collection: str,
        store: Store,
        settings: Settings,
        request: ModelRequest | None = None,
        sizes: tuple[int | None, int | None] = (None, None),
        *,
        replace: bool = False,
        wait_s: float = 0.0,
        models: ModelSet | None = None,
    ) -> None:
        self.collection = check_name(collection)
        self._store, self._settings = store, settings
        self._request, self._models = request or ModelRequest(), models
        self._sizes, self._replace = sizes, replace
        self._wait_s = number("wait_s", wait_s, "a number of seconds >= 0")

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
        layout: str | None = None,
        expand_with: str | Path | ExpandWith | None = None,
        replace: bool = False,
        wait_s: float = 0.0,
        models: ModelSet | None = None,
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
            layout: of a new collection on a server: `langchain`, `llamaindex`, `haystack` or `mcp` read it too.
            expand_with: what sparse legs encode besides: a file of predicted queries, or a model that predicts them.
            replace: build the collection anew beside the old one, which answers until the new one is complete.
            wait_s: seconds to wait for another process that writes to the collection.
            models: open already. A new collection takes them instead of any that are asked for; an existing one that
                was built with others opens its own.

        Raises:
            InvalidArgument, StoreUnavailable: an invalid name or option; the server does not answer.
        """
        flags(replace=replace)
        legs = None if legs is None else texts("legs", legs)
        settings = settings or load_settings()
        names, expansion = {"sparse": sparse, "dense": dense}, ExpandWith.of(expand_with)
        request = ModelRequest(profile, names, legs, precision, sparsity, layout, expansion)
        opened, sizes = open_store_for(store, settings, patient=True), (chunk_tokens, overlap_tokens)
        return cls(collection, opened, settings, request, sizes, replace=replace, wait_s=wait_s, models=models)

    def index(
        self,
        source: Source,
        *,
        fields: FieldMap | None = None,
        globs: Sequence[str] = (),
        follow_links: bool = False,
        prune: bool = False,
        dry_run: bool = False,
        workers: int = 1,
        max_memory: int | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_download: OnDownload | None = None,
    ) -> IndexReport:
        """Bring the collection in step with a source. Cut short at any point, the same call goes on where it stopped.

        Args:
            source: files, folders, BEIR folders, `-` for stdin, or any iterable of `Document` or dict.
            fields: which fields of a row are id, title and text.
            globs: of a folder only the files that match one of these.
            follow_links: read what links in a folder lead to outside of it; else they are passed over, and counted.
            prune: delete documents that the source does not hold (any more). Skipped when a document failed.
            dry_run: read and cut everything, encode a few chunks to measure the pace, write nothing.
            workers: processes that encode; they are spawned, so a script needs `if __name__ == "__main__":`.
            max_memory: bytes that the job may hold, its workers included, mapped files not counted; None for no cap.
            on_progress: called at the beginning and after every batch.
            on_download: called with (model, bytes done, bytes in all) while a model is fetched.

        Returns:
            What was done. Failed documents are listed there; they do not stop the others.

        Raises:
            CorpusError: a source is missing, or holds no document at all; or with `replace` one of them broke off.
            ModelUnavailable: a model is not here and cannot be fetched.
            ManifestMismatch: the collection was built with other models or chunking than asked for.
            MemoryExceeded: the job cannot be kept below `max_memory`.
            StoreBusy, StoreFull, StoreUnavailable: see there. What was written before is kept; run it again to go on.
        """
        flags(prune=prune, dry_run=dry_run)
        cap = MemoryLimit(max_memory)
        check_workers(workers)
        existing = None if self._replace else self._store.manifest(self.collection)
        have = partial(known_ids, self._store, self.collection)
        opened = open_source(source, fields or FieldMap(), globs, existing, have, follow_links=follow_links)
        with ExitStack() as using:
            items, total, roots = using.enter_context(closing(opened))
            models = models_for(self.collection, existing, self._request, self._settings, on_download, self._models)
            chunker = using.enter_context(closing(chunker_for(self.collection, models, existing, *self._sizes)))
            progress = JobProgress(self.collection, models.profile, models.reason, total, on_progress)
            progress.emit()
            ledger = using.enter_context(Ledger())
            documents = counted(validated(items, ledger, progress), chunker.expansions, ledger, progress)
            first = peek(documents, progress, sample=existing is None and models.measuring)
            documents = chain(first, documents)
            if existing is None:
                models = models.fitted(searchable_texts(first, chunker))
            if dry_run:
                with remembered(self._store, self.collection, replace=self._replace) as there:
                    base = existing.stamp_base() if existing else ""
                    return dry_run_report(documents, chunker, base, models.encoders, there, progress, roots)
            manifest = existing or models.manifest(chunker.size_tokens, chunker.overlap_tokens, roots.prefixes)
            manifest = inherit_defaults(self._store, self.collection, manifest) if self._replace else manifest
            writer = self._store.writer(self.collection, manifest, replace=self._replace, wait_s=self._wait_s)
            using.enter_context(closing(writer))
            # Of a collection that begins empty there is nothing to ask: no document comes twice in a run.
            known: pipeline.ExistingDocuments = writer if any(True for _ in writer.doc_ids()) else ExistingHeads(None)
            with index_job("index", self._store, writer, progress) as job:
                groups = job.threads.lookup_batches(documents)
                changed = pipeline.changes(groups, chunker, writer.manifest.stamp_base(), known, progress, roots)
                self._fill(job, pipeline.batches(changed, writer, cap.budget), models, cap, workers)
                return job.conclude(ledger, prune=prune, replace=self._replace, roots=roots)

    def _fill(self, job: IndexJob, batches: pipeline.Batches, models: ModelSet, cap: MemoryLimit, workers: int) -> None:
        """Encode and write; reading, encoding and writing go on side by side."""
        manifest, progress = job.writer.manifest, job.progress
        read = job.threads.prefetch(batches, "cutting")
        if workers == 1:
            generate = models.expansion and models.expansion.generate
            encoded = pipeline.encoded(read, models.encoders, manifest.chunk_tokens, generate)
        else:
            encoded = encoded_by_workers(read, workers, self.collection, manifest, self._settings)
        saved = perf_counter()
        for batch in job.threads.prefetch(encoded, "encoding", progress.emit):
            pipeline.write(batch, job.writer, progress)
            cap.check()
            if perf_counter() - saved >= SAVE_EVERY_S:
                job.writer.flush()
                progress.saved, saved = progress.documents + progress.unchanged, perf_counter()
