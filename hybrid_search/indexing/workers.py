"""Encodes in several processes. The result is that of one: batches are cut before, and keep their order.

Each worker loads the collection's models by itself; the weights of large ones are mapped from one file, so that they
are in memory once (`encoders.graphs.shared`). A worker that dies takes no work with it: the batches that were under way
are encoded again by new ones.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from hybrid_search._util import cpu_count
from hybrid_search._util.arguments import shown
from hybrid_search.collection.expansion import generator_of
from hybrid_search.collection.models import load_models
from hybrid_search.encoders.onnx_session import share_weights
from hybrid_search.errors import InvalidArgument, ModelError
from hybrid_search.indexing.pipeline import Batch, Encoded, encode_batch
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import Encoder
from hybrid_search.settings import Settings
from hybrid_search.types import LegName

log = logging.getLogger(__name__)

MAX_WORKERS = 256
ATTEMPTS = 3
"""A batch at which so many workers have died one after the other ends the job."""


def check_workers(workers: int) -> int:
    """Validate and return a number of processes.

    Raises:
        InvalidArgument: below 1, or above `MAX_WORKERS`.
    """
    if not isinstance(workers, int) or isinstance(workers, bool) or not 1 <= workers <= MAX_WORKERS:
        raise InvalidArgument(
            f"workers is {shown(workers)}; it must lie in 1..{MAX_WORKERS}. This machine has {cpu_count()} cores."
        )
    return workers


def encoded_by_workers(
    items: Iterable[Batch], workers: int, collection: str, manifest: Manifest, settings: Settings
) -> Generator[Encoded, None, None]:
    """Yield the batches with their vectors, in their order; one more than there are workers is under way.

    Args:
        items: read only as fast as they are encoded.
        workers: processes. They are spawned, so a script that calls this needs the usual `if __name__ == "__main__":`.
        collection: named in messages.
        manifest: whose models they load.
        settings: where the models lie; the threads of all workers together.

    Raises:
        ModelError: workers die again and again at the same batch.
        HybridSearchError: whatever a worker raises.
    """
    threads = max(1, (settings.threads or cpu_count()) // workers)
    own = settings.model_copy(update={"threads": threads})
    given = (collection, manifest.to_dict(), own.model_dump())
    pool = _pool(workers, given)
    waiting: deque[tuple[Batch, Future[Encoded]]] = deque()
    rest = iter(items)
    deaths = 0
    try:
        while True:
            while len(waiting) <= workers and (batch := next(rest, None)) is not None:
                waiting.append((batch, _submitted(pool, batch)))
            if not waiting:
                return
            try:
                ready = waiting[0][1].result()
            except BrokenProcessPool as error:
                deaths += 1
                if deaths >= ATTEMPTS:
                    raise ModelError(
                        f"Workers died {deaths} times at the same {len(waiting[0][0].parts)} chunks. Memory may have "
                        "run out: take fewer --workers. What was indexed so far is kept."
                    ) from error
                log.warning("A worker died; its chunks are encoded again.")
                pool.shutdown(wait=False, cancel_futures=True)
                pool = _pool(workers, given)
                waiting = deque((batch, _submitted(pool, batch)) for batch, _ in waiting)
                continue
            deaths = 0
            waiting.popleft()
            yield ready
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, batch: Batch) -> Future[Encoded]:
    try:
        return pool.submit(_encode, batch)
    except BrokenProcessPool as error:
        # The pool may notice a death between two batches; whoever waits for this one finds out.
        broken: Future[Encoded] = Future()
        broken.set_exception(error)
        return broken


def _pool(workers: int, given: tuple[str, Mapping[str, Any], Mapping[str, Any]]) -> ProcessPoolExecutor:
    # The embedded engine does not survive a fork, nor do the runtimes' threads.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_open, initargs=given)


# What a worker process has loaded; of the parent's it is empty.
_models: dict[str, Any] = {}


def _open(collection: str, manifest: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    import signal

    # Ctrl-C goes to every process of a terminal; the parent ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    share_weights()
    read = Manifest.from_dict(manifest)
    _models["encoders"] = load_models(collection, read, Settings(**settings)).encoders
    _models["chunk_tokens"] = read.chunk_tokens
    _models["generate"] = generator_of(read.expansion, Settings(**settings))


def _encode(batch: Batch) -> Encoded:
    encoders: Mapping[LegName, Encoder] = _models["encoders"]
    return encode_batch(batch, encoders, _models["chunk_tokens"], _models["generate"])
