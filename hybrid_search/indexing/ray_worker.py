"""What the workers of a Ray job do to a shard, and the values that travel between them and the driver."""

from __future__ import annotations

import pickle
import platform
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from hybrid_search._util import batched
from hybrid_search._util.locations import shown_location
from hybrid_search.collection.models import ModelSet, load_models, open_store_for
from hybrid_search.corpus.fields import FieldMap
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.corpus.readers import Reader
from hybrid_search.corpus.roots import Roots
from hybrid_search.corpus.walk import FoundFile
from hybrid_search.errors import CorpusError, HybridSearchError
from hybrid_search.indexing.chunker import Chunker
from hybrid_search.indexing.pipeline import (
    BatchBudget,
    Change,
    batches,
    cut_or_failed,
    encode_batch,
    former_heads,
    is_elsewhere,
    replacement,
    stamp_of,
    write,
)
from hybrid_search.indexing.prefetch import LOOKUP_DOCUMENTS
from hybrid_search.indexing.progress import JobProgress, Replaced
from hybrid_search.indexing.sources import validated
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import CollectionWriter
from hybrid_search.settings import Settings
from hybrid_search.store.schema import FieldType, new_fields
from hybrid_search.store.server.connection import RetryingClient, RetryPolicy
from hybrid_search.types import Document, Failure, LegName, Moved, Point

if TYPE_CHECKING:
    import pyarrow as pa

TOGETHER_CHUNKS = 64
"""Documents travel together until they have so many chunks."""

CANNOT_SEE = "Every machine of the cluster must see the sources under the same path."


class RayJob(NamedTuple):
    """What every worker has to know.

    Args:
        collection: the collection's name.
        manifest: of the version that is filled.
        settings: as a dict: their class may be made at run time.
        fields: which fields of a row are id, title and text.
        replace: whether the version is a replacement.
        roots: of the collection's files.
        run: of this run alone, so that a worker that outlives it opens the next one's version anew.
    """

    collection: str
    manifest: Manifest
    settings: dict[str, Any]
    fields: FieldMap
    replace: bool
    roots: Roots
    run: str


class Shard(NamedTuple):
    """A file, and the ids of the documents in it that are not to be indexed."""

    file: FoundFile
    skip: frozenset[str] = frozenset()


class ScannedDocument(NamedTuple):
    """A document as the first pass finds it."""

    doc_id: str
    content_hash: str
    origin: str
    unchanged: bool


class ShardSummary(NamedTuple):
    """What is left of a shard at the end of the first pass.

    What failed, stood twice or has moved, which fields there are, what the reader left out, which encodings it guessed.
    """

    failed: int
    failures: list[Failure]
    repeated: int
    moved: int
    fields: dict[str, FieldType]
    passed_over: dict[str, int]
    guessed: dict[str, int]


class ChunkedDocuments(NamedTuple):
    """Documents that travel together, in chunks; those before them that could not be cut, and what was passed over."""

    changes: list[Change]
    failures: list[Failure]
    passed: dict[str, int]


class Written(NamedTuple):
    """What an encoder did with one batch, and what was counted when it was cut."""

    documents: int
    chunks: int
    tokens: int
    truncated: dict[LegName, int]
    failures: list[Failure]
    passed: dict[str, int]
    replaced: list[Replaced]
    unread: dict[LegName, int]
    unread_origins: dict[LegName, tuple[str, ...]]


class RemoteError(NamedTuple):
    """An error of ours in a worker. As a value it reaches the driver whole, whatever its arguments were."""

    kind: str
    message: str


def scan_shard(table: pa.Table, job: RayJob) -> Iterator[pa.Table]:
    """Yield the documents of a shard in the order in which they stand there, and at last one summary."""
    yield from _guarded(table, lambda shard: _scan_shard(shard, job))


def _scan_shard(shard: Shard, job: RayJob) -> Iterator[Any]:
    progress = JobProgress(job.collection, "", "", None, None)
    writer, base = _writer(job), job.manifest.stamp_base()
    fields: dict[str, FieldType] = {}
    moved: list[Moved] = []
    for some in batched(_documents(shard, job, progress), LOOKUP_DOCUMENTS):
        heads = writer.heads([document.doc_id for document in some])
        scanned = []
        for document in some:
            old, stamp = heads.get(document.doc_id), stamp_of(document, base)
            unchanged = old is not None and old.version_hash == stamp
            if old is not None and unchanged and is_elsewhere(document, old):
                moved.append(Moved(document.doc_id, old.chunks, document.origin))
            scanned.append(
                ScannedDocument(document.doc_id, document.content_hash(), document.origin or document.doc_id, unchanged)
            )
            fields.update(new_fields([Point(document.doc_id, {}, {"metadata": document.metadata})], fields))
        yield scanned
    writer.set_origins(moved)
    counts = (progress.failed, progress.failures, progress.repeated, len(moved))
    yield ShardSummary(*counts, fields, progress.passed, progress.guessed)


def chunk_shard(table: pa.Table, job: RayJob) -> Iterator[pa.Table]:
    """Yield the documents of a shard that are to be indexed, in chunks: as many together as are encoded at once."""
    yield from _guarded(table, lambda shard: _chunk_shard(shard, job))


def _chunk_shard(shard: Shard, job: RayJob) -> Iterator[ChunkedDocuments]:
    chunker, base = _chunker(pickle.dumps(job)), job.manifest.stamp_base()
    together: list[Change] = []
    progress = JobProgress(job.collection, "", "", None, None)
    for document in _documents(shard, job, JobProgress(job.collection, "", "", None, None)):
        if document.doc_id in shard.skip:
            continue
        chunks = cut_or_failed(document, chunker, progress)
        if together and sum(len(each.chunks) for each in together) + len(chunks) > TOGETHER_CHUNKS:
            yield ChunkedDocuments(together, progress.failures, progress.passed)
            together, progress = [], JobProgress(job.collection, "", "", None, None)
        if chunks:
            together.append(Change(replace(document, text=""), stamp_of(document, base), chunks, None))
    yield ChunkedDocuments(together, progress.failures, progress.passed)


class ShardEncoder:
    """Encodes and writes what arrives; loads the models once."""

    def __call__(self, table: pa.Table, job: RayJob) -> Iterator[pa.Table]:
        return _guarded(table, lambda chunked: self._write(chunked, job))

    def _write(self, chunked: ChunkedDocuments, job: RayJob) -> Iterator[Written]:
        together = chunked.changes
        models, writer = _models(pickle.dumps(job)), _writer(job)
        progress = JobProgress(job.collection, "", "", None, None)
        doc_ids = [each.document.doc_id for each in together]
        heads = writer.heads(doc_ids)
        former = former_heads(writer, [doc_id for doc_id in doc_ids if doc_id not in heads])
        known = [
            each._replace(old=heads.get(doc_id), former=former.get(doc_id, ()))
            for doc_id, each in zip(doc_ids, together, strict=True)
        ]
        # What has its stamp already was written by an earlier attempt of Ray's.
        wanted = [each for each in known if each.old is None or each.old.version_hash != each.stamp]
        replaced = [other for each in wanted if (other := replacement(each.document, each.old, job.roots))]
        for batch in batches(wanted, writer, BatchBudget()):
            write(encode_batch(batch, models.encoders, job.manifest.chunk_tokens), writer, progress)
        chunks = sum(len(each.chunks) for each in together)
        yield Written(
            documents=len(together),
            chunks=chunks,
            tokens=progress.tokens,
            truncated=progress.truncated,
            failures=chunked.failures,
            passed=chunked.passed,
            replaced=replaced,
            unread=progress.unread,
            unread_origins=progress.unread_origins,
        )


def _documents(shard: Shard, job: RayJob, progress: JobProgress) -> Iterator[Document]:
    """Yield what of a file can be indexed, each id once.

    Raises:
        CorpusError: the file is not there on this machine.
    """
    if not shard.file.path.exists():
        raise CorpusError(f"A worker on {platform.node()} finds no file {shard.file.path}. {CANNOT_SEE}")
    with Ledger() as ledger:
        yield from validated(_reader(job.fields)(shard.file), ledger, progress)


@lru_cache(maxsize=1)
def _reader(fields: FieldMap) -> Reader:
    """Make the reader of files, one a process; it ends with that."""
    return Reader(fields)


def _writer(job: RayJob) -> CollectionWriter:
    return _writer_of(pickle.dumps(job))


@lru_cache(maxsize=1)
def _writer_of(job: bytes) -> CollectionWriter:
    """Make the writer, one a process, of the version that the driver has made, live or a replacement."""
    ray_job: RayJob = pickle.loads(job)
    settings = Settings(**ray_job.settings)
    # Of the client alone its patience: there is none yet.
    retrying = RetryingClient(None, shown_location(settings.store), RetryPolicy(settings.retry_s))  # type: ignore[arg-type]
    store = retrying.call(lambda _: open_store_for(None, settings))
    writer: CollectionWriter = store.writer(ray_job.collection, ray_job.manifest, replace=ray_job.replace)
    return writer


@lru_cache(maxsize=1)
def _models(job: bytes) -> ModelSet:
    ray_job: RayJob = pickle.loads(job)
    settings = Settings(**ray_job.settings)
    if settings.threads is None and not may_use_gpu(ray_job):
        settings = settings.model_copy(update={"threads": 1})  # a worker has one processor
    return load_models(ray_job.collection, ray_job.manifest, settings)


@lru_cache(maxsize=1)
def _chunker(job: bytes) -> Chunker:
    ray_job: RayJob = pickle.loads(job)
    return Chunker(_models(job), ray_job.manifest.chunk_tokens, ray_job.manifest.overlap_tokens)


def _guarded(table: pa.Table, work: Callable[[Any], Iterator[Any]]) -> Iterator[pa.Table]:
    """Work on the value in a row, and yield the results as rows; an error of ours as a `RemoteError`."""
    for place, value in values_of(table):
        if isinstance(value, RemoteError):
            yield table_of([(place, value)])
            continue
        try:
            for result in work(value):
                yield table_of([(place, result)])
        except HybridSearchError as error:
            yield table_of([(place, RemoteError(type(error).__name__, str(error)))])


def may_use_gpu(job: RayJob) -> bool:
    """Say whether the models may run on a GPU."""
    return str(job.settings["device"]) != "cpu"


def table_of(values: list[tuple[int, Any]]) -> pa.Table:
    """Pack values as Ray carries them: pickled, each with the number of the shard that it belongs to."""
    import pyarrow as pa

    places, pickled = zip(*((place, pickle.dumps(value)) for place, value in values), strict=True)
    return pa.table({"place": pa.array(places, pa.int64()), "value": pa.array(pickled, pa.large_binary())})


def values_of(table: pa.Table) -> Iterator[tuple[int, Any]]:
    for row in table.to_pylist():
        yield row["place"], pickle.loads(row["value"])
