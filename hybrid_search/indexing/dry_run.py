"""Estimates what an index job would do, cost and need, before it begins: a dry run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from random import Random
from time import perf_counter

from hybrid_search.collection.expansion import Expand
from hybrid_search.corpus.roots import Roots
from hybrid_search.encoders.hybrid import encode_expanded
from hybrid_search.errors import StoreError
from hybrid_search.indexing.chunker import Chunker
from hybrid_search.indexing.memory import resident_bytes
from hybrid_search.indexing.pipeline import PendingChunk, changes, expanded_texts, parts_of
from hybrid_search.indexing.prefetch import JobThreads
from hybrid_search.indexing.progress import Estimate, IndexReport, JobProgress
from hybrid_search.protocols import CollectionReader, DocumentHead, Encoder, Store
from hybrid_search.store.schema import present_bytes
from hybrid_search.types import Document, LegName, chunk_id_of

SAMPLE_CHUNKS = 32
WARMING_CHUNKS = 2
"""Chunks that are encoded, to measure the pace; the first two only to have the models loaded."""

COPIES = 2
"""Of the points: one that is written to, and one that is searched."""

LOG_BYTES = 40_000_000
OPTIMIZED_POINTS = 20_000
OPTIMIZING = 3
"""The engine's log on the disk; and what building an index holds, in multiples of the points of a segment. Measured."""


@dataclass(slots=True)
class ExistingHeads:
    """The document heads of a collection that is only read; of one that is not there, none."""

    reader: CollectionReader | None

    def heads(self, doc_ids: Sequence[str]) -> dict[str, DocumentHead]:
        if self.reader is None:
            return {}
        payloads = self.reader.payloads([chunk_id_of(doc_id, 0) for doc_id in doc_ids])
        return {payload["doc_id"]: DocumentHead.of(payload) for payload in payloads.values()}


def known_ids(store: Store, collection: str, doc_ids: Sequence[str]) -> int:
    """Count how many of these ids a collection has, as far as readers see."""
    with remembered(store, collection, replace=False) as there:
        return len(there.heads(doc_ids))


def dry_run_report(
    documents: Iterable[Document],
    chunker: Chunker,
    base: str,
    encoders: Mapping[LegName, Encoder],
    known: ExistingHeads,
    progress: JobProgress,
    roots: Roots,
) -> IndexReport:
    """Read and cut everything, write nothing, and encode only a sample of the chunks, to judge the others by.

    The sample is drawn evenly from what is new or has changed, always the same from the same sources.
    """
    sample: list[PendingChunk] = []
    random, tokens = Random(0), 0
    with JobThreads() as threads:
        for change in changes(threads.lookup_batches(documents), chunker, base, known, progress, roots):
            if change is None:
                continue
            if isinstance(change, list):
                progress.moved += len(change)
                continue
            for part in parts_of(change):
                place = progress.chunks if len(sample) < SAMPLE_CHUNKS else random.randrange(progress.chunks + 1)
                if place < len(sample):
                    sample[place] = part
                elif len(sample) < SAMPLE_CHUNKS:
                    sample.append(part)
                tokens += part.chunk.tokens
                progress.chunks += 1
            progress.add(1, 0)
        threads.require_complete()
    estimate = _estimate(sample, tokens, progress.chunks, encoders, chunker.generate)
    return progress.report(dry_run=True, estimate=estimate)


@contextmanager
def remembered(store: Store, collection: str, *, replace: bool) -> Iterator[ExistingHeads]:
    """Open what a job on the collection would find there; a rebuild finds nothing."""
    reader = None
    if not replace:
        with suppress(StoreError):
            reader = store.reader(collection)
    try:
        yield ExistingHeads(reader)
    finally:
        if reader is not None:
            reader.close()


def _estimate(
    sample: list[PendingChunk],
    tokens: int,
    chunks: int,
    encoders: Mapping[LegName, Encoder],
    generate: Expand | None,
) -> Estimate:
    if not sample:
        return Estimate(tokens, 0, 0.0, None, 0)
    texts = [part.chunk.searchable for part in sample]
    encode_expanded(encoders, texts[:WARMING_CHUNKS], expanded_texts(sample[:WARMING_CHUNKS], generate))
    begun = perf_counter()
    vectors = encode_expanded(encoders, texts, expanded_texts(sample, generate))
    seconds = perf_counter() - begun
    size = sum(len(json.dumps(part.payload(), ensure_ascii=False).encode()) for part in sample)
    size += sum(present_bytes(vector) for some in vectors.values() for vector in islice(some, len(sample)))
    each = size / len(sample)
    now = resident_bytes()
    return Estimate(
        tokens=tokens,
        sampled=len(sample),
        seconds=seconds * tokens / max(1, sum(part.chunk.tokens for part in sample)),
        memory_bytes=None if now is None else round(now + OPTIMIZING * each * min(chunks, OPTIMIZED_POINTS)),
        disk_bytes=round(COPIES * each * chunks) + min(LOG_BYTES, round(each * chunks)),
    )
