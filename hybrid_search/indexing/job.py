"""The one way to run an index job, whichever composer writes: the indexer, a Ray driver, a new leg, a loaded file.

    with index_job("index", store, writer, progress) as job:
        for batch in job.threads.prefetch(batches, "encoding"):
            write(batch, job.writer, job.progress)
        return job.conclude(ledger, prune=True)

The job stands in the journal from its first write to its report, so that `hybrid-search status` knows every kind of
job alike. Nothing is pruned or published before every stage has come to its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace as with_values

from hybrid_search.corpus.ledger import Ledger
from hybrid_search.corpus.roots import Roots
from hybrid_search.errors import CorpusError, StoreError
from hybrid_search.indexing.deletion import delete_ids
from hybrid_search.indexing.journal import Kind, journaled
from hybrid_search.indexing.prefetch import JobThreads
from hybrid_search.indexing.progress import IndexReport, JobProgress
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import CollectionWriter, Store


class IndexJob:
    """An index job at work. `index_job` makes one.

    Args:
        store: holds the collection.
        writer: of the collection; whoever opened it closes it.
        progress: counts what is done.
        threads: in which stages run ahead of the writing; they end with the job.
    """

    def __init__(self, store: Store, writer: CollectionWriter, progress: JobProgress, threads: JobThreads) -> None:
        self.store, self.writer, self.progress, self.threads = store, writer, progress, threads
        self.finished = False

    def conclude(
        self, ledger: Ledger, *, prune: bool = False, replace: bool = False, roots: Roots | None = None
    ) -> IndexReport:
        """Bring a job whose sources have all come to their end to its own: prune, publish, report.

        With `replace` a replacement that an earlier run began may hold what the sources have lost since. It is pruned
        in any case.

        Args:
            ledger: the documents that the sources hold.
            prune: delete the documents that are not in the ledger, but only where none failed.
            replace: the writer builds a replacement of the collection.
            roots: the collection remembers these from now on, if they are given.

        Raises:
            CorpusError: a source broke off, and what it still gave was to replace a collection that is there.
            StoreError: as for `finish`.
        """
        progress, writer = self.progress, self.writer
        self.threads.require_complete()
        if replace and progress.broke_off and progress.collection in self.store.names():
            raise CorpusError(
                f"A source broke off: {progress.broke_off}. Collection {progress.collection!r} stays as it was, for "
                "nobody can say how much would be missing. Mend the source or leave it out, then run the same command "
                "again."
            )
        if (prune and not progress.failed) or (replace and writer.resumed):
            stale = [doc_id for doc_id in writer.doc_ids() if doc_id not in ledger]  # all before the first is deleted
            progress.removed += delete_ids(writer, stale)
        changed = roots is not None and roots.prefixes != (writer.manifest.roots or {})
        return self.finish(with_values(writer.manifest, roots=roots.prefixes) if roots and changed else None)

    def finish(self, manifest: Manifest | None = None) -> IndexReport:
        """Publish what was written, under a manifest with other legs or roots if one is given, and report.

        Raises:
            StoreError: a stage has not come to its end, or the collection cannot be published.
        """
        self.threads.require_complete()
        self.writer.publish(manifest)
        self.progress.saved = self.progress.documents + self.progress.unchanged
        report = self.progress.report(bytes_on_disk=self.writer.info().bytes_on_disk)
        self.finished = True
        return report


@contextmanager
def index_job(kind: Kind, store: Store, writer: CollectionWriter, progress: JobProgress) -> Iterator[IndexJob]:
    """Run an index job: keep it in the journal, own its threads, and see that it ends with its report.

    The journal says `running` in the block and `finished` after it; `interrupted` where Ctrl-C ended it, and `failed`,
    with the reason, where an error did.

    Args:
        kind: of the job, as the journal names it.
        store: holds the collection.
        writer: of the collection; the caller closes it.
        progress: of the job.

    Raises:
        StoreError: the block ended without an error and without `conclude` or `finish`, so nothing was published.
    """
    with journaled(store.location, progress.collection, progress, kind), JobThreads() as threads:
        job = IndexJob(store, writer, progress, threads)
        yield job
        if not job.finished:
            raise StoreError(
                f"The {kind} job on {progress.collection!r} ended without its report, so nothing was published. "
                "What was written is kept: run the same command again to go on."
            )
