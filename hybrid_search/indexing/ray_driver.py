"""Road one on many machines: the stages of an index job on a Ray cluster, into a Qdrant server.

The driver, which is the process that asks, finds the files, makes the collection, and at the end prunes and publishes.
In between Ray Data runs two passes over the files, one task a file:

    scan:    read -> hash -> look up                  which documents are new or changed, and which ids stand twice
    index:   read -> chunk -> encode -> upsert        only those; encoders are actors that load the models once

What a worker does may be done again, for Ray repeats what a lost worker did. So reading and cutting depend on nothing
but the file and the first pass: were they to look at the server, a second attempt would give other blocks than the
first, and Ray would take them for the same. ShardEncoder and upserting are one step, whose result is in the server.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hybrid_search import errors
from hybrid_search._util.extras import importing_extra
from hybrid_search._util.locations import is_server
from hybrid_search.collection.expansion import ExpandWith
from hybrid_search.collection.models import ModelRequest, OnDownload, open_store_for
from hybrid_search.collection.profiles import models_for
from hybrid_search.corpus.fields import FieldMap
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.corpus.walk import STDIN, FoundFile, find
from hybrid_search.errors import ConfigError, HybridSearchError, InvalidArgument, StoreError
from hybrid_search.indexing.chunker import chunker_for, searchable_texts
from hybrid_search.indexing.dry_run import known_ids
from hybrid_search.indexing.job import index_job
from hybrid_search.indexing.progress import IndexReport, JobProgress, Progress
from hybrid_search.indexing.ray_worker import (
    RayJob,
    RemoteError,
    Shard,
    ShardEncoder,
    ShardSummary,
    chunk_shard,
    may_use_gpu,
    scan_shard,
    table_of,
    values_of,
)
from hybrid_search.indexing.sources import count, duplicate_reason, open_source, peek, validated
from hybrid_search.manifest import Expansion
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store.schema import FieldType, check_name
from hybrid_search.types import BrokeOff, Document, Failure, PassedOver, SourceItem

if TYPE_CHECKING:
    from hybrid_search.store.server.store import ServerStore
    from hybrid_search.store.server.writer import ServerWriter

BLOCK_BYTES = 1 << 20
"""Blocks that travel between the stages are about this big: small enough that the stages overlap."""


HALF = 0.5
"""Of a processor: what a reader takes, so that a machine with one of them can read and encode."""


def index_on_ray(
    collection: str,
    sources: Sequence[str | Path],
    address: str,
    *,
    asked: ModelRequest | None = None,
    chunk_tokens: int | None = None,
    overlap_tokens: int | None = None,
    replace: bool = False,
    prune: bool = False,
    fields: FieldMap | None = None,
    globs: Sequence[str] = (),
    follow_links: bool = False,
    settings: Settings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_download: OnDownload | None = None,
) -> IndexReport:
    """Bring a collection on a Qdrant server in step with files, on the workers of a Ray cluster.

    The result is that of `Indexer.index`. Cut short, the same call goes on where it stopped. Every machine needs this
    package with the `ray` extra, sees the files under the same path, and reaches the server under the same URL.

    Args:
        collection: made where it is not there.
        sources: files, folders or BEIR folders. One file is read by one worker, and encoded by all.
        address: of the cluster, as `ray.init` takes it: `auto`, `HOST:PORT`, `ray://HOST:PORT`; `local` starts one on
            this machine that ends with the job. A connection of this process that is open already is used.
        asked: the models of a new collection.
        chunk_tokens: as for `Indexer.open`.
        overlap_tokens: as for `Indexer.open`.
        replace: build the collection anew beside the old one, which answers until the new one is complete.
        prune: delete documents that the sources do not hold (any more). Skipped when a document failed.
        fields: which fields of a row are id, title and text.
        globs: of a folder only the files that match one of these.
        follow_links: as for `Indexer.index`.
        settings: with the server as the store; read from the environment and the config file when not given.
        on_progress: called at the beginning and after every batch.
        on_download: called with (model, bytes done, bytes in all) while the driver fetches a model.

    Returns:
        What was done, all workers together.

    Raises:
        InvalidArgument: the store is a folder, a source is stdin, or documents are to be expanded.
        MissingExtra: Ray is not installed.
        ConfigError: no cluster answers at the address.
        HybridSearchError: whatever `Indexer.index` raises, here or in a worker. Nothing was published then.
    """
    settings = settings or load_settings()
    if not is_server(settings.store):
        raise InvalidArgument(
            f"The store is the folder {settings.store}, which takes one writer on one machine. Ray's workers write to "
            "a Qdrant server: --store http://HOST:6333. For this folder leave --ray out."
        )
    if any(str(source) == STDIN for source in sources):
        raise InvalidArgument("Stdin (-) can be read by one process only. Write it to a file, or leave --ray out.")
    check_name(collection)
    fields, asked = fields or FieldMap(), asked or ModelRequest()
    _refuse_expansion(asked.expand_with)
    store = cast("ServerStore", open_store_for(None, settings, patient=True))
    with _cluster(address), Ledger() as ledger, ExitStack() as opened:
        opened.enter_context(closing(store))
        existing = None if replace else store.manifest(collection)
        _refuse_expansion(existing.expansion if existing else None)
        models = models_for(collection, existing, asked, settings, on_download)
        chunker = opened.enter_context(closing(chunker_for(collection, models, existing, chunk_tokens, overlap_tokens)))
        have = partial(known_ids, store, collection)
        source = open_source(sources, fields, globs, existing, have, follow_links=follow_links)
        items, total, roots = opened.enter_context(closing(source))
        progress = JobProgress(collection, models.profile, models.reason, total, on_progress)
        progress.emit()
        first = _first_documents(items, progress, sample=existing is None and models.measuring)
        source.close()
        if existing is None:
            models = models.fitted(searchable_texts(first, chunker))
        manifest = existing or models.manifest(chunker.size_tokens, chunker.overlap_tokens, roots.prefixes)
        writer = opened.enter_context(closing(store.writer(collection, manifest, replace=replace)))
        with index_job("ray", store, writer, progress) as running:
            job = RayJob(collection, writer.manifest, settings.model_dump(), fields, replace, roots, uuid.uuid4().hex)
            left, wanted = _scan(job, find(sources, globs, follow_links=follow_links), ledger, writer, progress)
            done = _index_shards(job, left, progress)
            if done < wanted:
                why = f"{wanted - done} documents changed while they were read; run it again"
                progress.fail(BrokeOff("the sources", why))
            return running.conclude(ledger, prune=prune, replace=replace, roots=roots)


def _refuse_expansion(expansion: ExpandWith | Expansion | None) -> None:
    """Refuse expanded collections: workers would have to find the file, and the driver could not count what it lacks.

    Raises:
        InvalidArgument: one is asked for, or the collection was built with one.
    """
    if expansion is not None:
        raise InvalidArgument(
            "Ray's workers do not expand documents (--expand-with). Leave --ray out; --workers N encodes in several "
            "processes of this machine."
        )


def _first_documents(items: Iterable[SourceItem], progress: JobProgress, *, sample: bool) -> list[Document]:
    """Read the first documents in the driver. What fails among them is counted by the workers."""
    aside = JobProgress(progress.collection, "", "", None, None)
    with Ledger() as ledger:
        return peek(validated(items, ledger, aside), aside, sample=sample)


def _scan(
    job: RayJob,
    files: Iterable[FoundFile | Failure | PassedOver],
    ledger: Ledger,
    writer: ServerWriter,
    progress: JobProgress,
) -> tuple[list[Shard], int]:
    """Run the first pass; return the files with something to index, and how many documents that is.

    Of documents with one id the first in the order of the sources is taken, as without Ray.
    """
    shards = []
    for file in files:
        if isinstance(file, FoundFile):
            shards.append(Shard(job.roots.named(file)))
        else:
            count(file, progress)
    skip: list[set[str]] = [set() for _ in shards]
    taken = [0] * len(shards)
    fields: dict[str, FieldType] = {}
    dataset = _rows(list(enumerate(shards))).map_batches(
        scan_shard, batch_size=1, batch_format="pyarrow", fn_args=(job,), num_cpus=HALF
    )
    for place, scanned in _results(dataset):
        if isinstance(scanned, ShardSummary):
            _add_summary(scanned, progress)
            fields.update(_wanted(scanned.fields, fields))
            continue
        for document in scanned:
            earlier = ledger.seen(document.doc_id, document.content_hash, document.origin)
            if earlier is None and not document.unchanged:
                taken[place] += 1
                continue
            skip[place].add(document.doc_id)
            if earlier is None:
                progress.unchanged += 1
            elif earlier[0] == document.content_hash:
                progress.repeated += 1
            else:
                progress.fail(Failure(document.origin, duplicate_reason(document.doc_id, earlier[1])))
        progress.emit()
    if sum(taken):
        # Here and once: workers that meet a field as integer here and as float there would undo each other's index.
        writer.index(fields)
    left = [shard._replace(skip=frozenset(skip[place])) for place, shard in enumerate(shards) if taken[place]]
    return left, sum(taken)


def _add_summary(seen: ShardSummary, progress: JobProgress) -> None:
    """Count what a worker counted."""
    for failure in seen.failures:
        progress.fail(failure)
    progress.failed += seen.failed - len(seen.failures)
    progress.repeated += seen.repeated
    progress.moved += seen.moved
    for kind, number in seen.passed_over.items():
        progress.passed_over(kind, number)
    for encoding, number in seen.guessed.items():
        progress.guess(encoding, number)


def _index_shards(job: RayJob, shards: list[Shard], progress: JobProgress) -> int:
    """Run the second pass; return how many documents were written, or counted as failures."""
    if not shards:
        return 0
    from ray.data import ActorPoolStrategy

    size, share = _pool(job)
    dataset = (
        _rows(list(enumerate(shards)))
        .map_batches(chunk_shard, batch_size=1, batch_format="pyarrow", fn_args=(job,), num_cpus=HALF)
        .map_batches(
            ShardEncoder,
            batch_size=1,
            batch_format="pyarrow",
            fn_args=(job,),
            compute=ActorPoolStrategy(size=size),
            **share,
        )
    )
    done = 0
    for _, written in _results(dataset):
        progress.cut_off(written.truncated)
        progress.leave_unread(written.unread_origins, written.unread)
        progress.tokens += written.tokens
        for failure in written.failures:
            progress.fail(failure)
        for kind, number in written.passed.items():
            progress.passed_over(kind, number)
        for replaced in written.replaced:
            progress.replace(replaced)
        done += written.documents + len(written.failures)
        progress.add(written.documents, written.chunks)
    return done


# ---------------------------------------------------------------- Ray


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    """Connect to the cluster, silently, and end the connection afterwards if it was begun here.

    Raises:
        MissingExtra: Ray is not installed.
        ConfigError: no cluster answers.
    """
    with importing_extra("ray", "Indexing on a Ray cluster"):
        import ray
        import ray.data
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            raise ConfigError(
                f"No Ray cluster answers at {address!r}: {error}. Start one (ray start --head), or take --ray local."
            ) from error
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of every stage, on the terminal
    context = ray.data.DataContext.get_current()
    kept = (context.target_max_block_size, context.enable_progress_bars, context.execution_options.preserve_order)
    context.target_max_block_size, context.enable_progress_bars = BLOCK_BYTES, False
    context.execution_options.preserve_order = True
    try:
        yield
    except ray.exceptions.RayError as error:
        last = str(error).strip().rpartition("\n")[2]
        raise StoreError(
            f"The Ray job failed: {last}. What was written is kept: run the same command again to go on."
        ) from error
    finally:
        logger.setLevel(level)
        context.target_max_block_size, context.enable_progress_bars = kept[:2]
        context.execution_options.preserve_order = kept[2]
        if ours:
            ray.shutdown()


def _pool(job: RayJob) -> tuple[int, dict[str, float]]:
    """Choose how many encoders there are, and what each takes: one on every GPU, or on all processors but one."""
    import ray

    there = ray.cluster_resources()
    gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 1))
    if gpus and may_use_gpu(job):
        return gpus, {"num_gpus": 1, "num_cpus": HALF}
    return max(1, cpus - 1), {"num_cpus": 1 if cpus > 1 else HALF}


def _rows(values: list[tuple[int, Any]]) -> Any:
    """Make a data set with a block for each value."""
    import ray.data

    return ray.data.from_arrow([table_of([value]) for value in values])


def _results(dataset: Any) -> Iterator[tuple[int, Any]]:
    """Yield the values of a data set as they come.

    Raises:
        HybridSearchError: a worker raised one.
    """
    for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for place, value in values_of(table):
            if isinstance(value, RemoteError):
                kinds = (errors.StoreUnavailable, errors.StoreError, errors.CorpusError, errors.ModelError, ConfigError)
                raised = getattr(errors, value.kind, StoreError)
                raise next((kind for kind in kinds if issubclass(raised, kind)), HybridSearchError)(value.message)
            yield place, value


def _wanted(more: Mapping[str, FieldType], known: Mapping[str, FieldType]) -> dict[str, FieldType]:
    """Select the fields of one more shard that are new, or that turn out float."""
    return {
        path: kind for path, kind in more.items() if path not in known or (known[path], kind) == ("integer", "float")
    }
