"""Runs texts in batches of similar length and bounded size, which shrink when memory runs out."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.devices import release_memory

Positions = NDArray[np.intp]
Result = TypeVar("Result")

# Fewer are not worth a thread of their own.
_LEAST_TOKENS = 64

# What runtimes say when memory, the processor's or a GPU's, is not enough.
_FULL = re.compile(
    r"failed to allocate|out of memory|can't allocate memory|not enough memory|ALLOC_FAILED|bad_alloc|bad allocation",
    re.IGNORECASE,
)


def batches(lengths: Sequence[int], *, budget: int, limit: int) -> Iterator[Positions]:
    """Yield the positions of the texts of each batch, shortest texts first, every position exactly once.

    A batch is padded to its longest text, so its cost is that length times its size. Sorting keeps the padding small.

    Args:
        lengths: tokens of each text, as the model reads it.
        budget: tokens of a batch, padding included; a single text may exceed it.
        limit: texts of a batch.

    >>> [batch.tolist() for batch in batches([5, 1, 9, 2], budget=8, limit=4)]
    [[1, 3], [0], [2]]
    """
    return (batch for batch, _ in in_batches(lengths, lambda batch: None, BatchLimit(), budget=budget, limit=limit))


class BatchLimit:
    """What a model has learned about its memory: the most tokens a batch may have; None while no batch failed."""

    tokens: int | None = None


def in_batches(
    lengths: Sequence[int],
    run: Callable[[Positions], Result],
    room: BatchLimit,
    *,
    budget: int,
    limit: int,
    concurrency: int = 1,
) -> Iterator[tuple[Positions, Result]]:
    """Run one batch after another, as `batches` forms them; yield the positions and the result of each.

    If memory runs out, the batch is halved and run again, and no later batch is larger than what fitted. `room` keeps
    that for later calls.

    Args:
        lengths: tokens of each text, as the model reads it.
        run: takes the positions of a batch; with `concurrency` above 1 it is called by several threads at once.
        room: the model's limit; updated here.
        budget: tokens of a batch, padding included; a single text may exceed it.
        limit: texts of a batch.
        concurrency: batches that run at once. A few texts are divided so that every thread has some.

    Raises:
        Exception: whatever `run` raises; lack of memory only if the batch was a single text.
    """
    order = np.argsort(np.asarray(lengths, dtype=np.int64), kind="stable")
    if concurrency > 1 and len(order) > 1:
        budget = min(budget, max(_LEAST_TOKENS, -(-sum(lengths) // concurrency)))
        yield from _concurrent_batches(order, lengths, run, room, budget, limit, concurrency)
        return
    start = 0
    while start < len(order):
        batch = _cut(order, start, lengths, budget if room.tokens is None else min(budget, room.tokens), limit)
        try:
            result = run(batch)
        except Exception as fault:
            _learn(room, fault, batch, lengths)
        else:
            yield batch, result
            start += len(batch)
            continue
        # Here the fault is gone, and what it held of the batch with it.
        release_memory()


def _concurrent_batches(
    order: Positions,
    lengths: Sequence[int],
    run: Callable[[Positions], Result],
    room: BatchLimit,
    budget: int,
    limit: int,
    concurrency: int,
) -> Iterator[tuple[Positions, Result]]:
    start = 0
    waiting: deque[tuple[Positions, Future[Result]]] = deque()
    with ThreadPoolExecutor(concurrency, thread_name_prefix="batch") as pool:
        try:
            while start < len(order) or waiting:
                # One more than run at once, so that none waits for the caller.
                while start < len(order) and len(waiting) <= concurrency:
                    allowed = budget if room.tokens is None else min(budget, room.tokens)
                    batch = _cut(order, start, lengths, allowed, limit)
                    waiting.append((batch, pool.submit(run, batch)))
                    start += len(batch)
                batch, job = waiting.popleft()
                try:
                    result = job.result()
                except Exception as fault:
                    _learn(room, fault, batch, lengths)
                else:
                    yield batch, result
                    continue
                del job
                release_memory()
                # What did not fit beside others is run again here, alone.
                again = [lengths[place] for place in batch]
                for part, result in in_batches(again, _within(run, batch), room, budget=budget, limit=limit):
                    yield batch[part], result
        finally:
            for _, job in waiting:
                job.cancel()


def _within(run: Callable[[Positions], Result], places: Positions) -> Callable[[Positions], Result]:
    return lambda part: run(places[part])


def _cut(order: Positions, start: int, lengths: Sequence[int], allowed: int, limit: int) -> Positions:
    """Return the next batch: as many of the texts from `start` on as are allowed, at least one."""
    end = start + 1
    while end < len(order) and end - start < limit and (end - start + 1) * max(1, lengths[order[end]]) <= allowed:
        end += 1
    return order[start:end]


def _learn(room: BatchLimit, fault: Exception, batch: Positions, lengths: Sequence[int]) -> None:
    """Note that memory allows less than the batch took: half of it.

    Raises:
        Exception: the fault itself, if it is not a lack of memory or the batch was a single text.
    """
    if len(batch) == 1 or not out_of_memory(fault):
        raise fault
    room.tokens = max(1, len(batch) * lengths[batch[-1]] // 2)


def out_of_memory(fault: BaseException) -> bool:
    """Return whether a fault means that memory ran out; onnxruntime says so in words only.

    >>> out_of_memory(RuntimeError("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer"))
    True
    """
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(fault).__mro__)
    return named or isinstance(fault, MemoryError) or bool(_FULL.search(str(fault)))


def readable(text: str) -> str:
    """Return the text without lone surrogates, which no tokenizer accepts; a pair becomes the character it stands for.

    >>> readable("caf\\u00e9 \\ud83d"), readable("\\ud83d\\ude00")
    ('café \ufffd', '😀')
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
