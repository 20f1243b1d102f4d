"""The stages of an index job: documents -> changes -> batches -> encoded batches -> the store.

Each is a plain generator over the one before. Reading and encoding run ahead of writing, in threads of their own
(`ahead`), and by no more than a batch each, so that what a job holds does not grow with its sources, and what it loses
when it is killed is no more than it was at work on.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeVar

from hybrid_search.corpus.contexts import is_affected
from hybrid_search.cutting import Cutter, cut_off
from hybrid_search.encoders.halves import encode
from hybrid_search.protocols import CollectionWriter, Encoder, Head
from hybrid_search.report import Tally
from hybrid_search.store.schema import payload_of
from hybrid_search.types import Chunk, Document, LegName, Point, Vector, chunk_id_of

T = TypeVar("T")

BATCH_TOKENS = 8_192
"""Of a batch, which is encoded and written at once. Two are under way, and as much is encoded again after a kill."""

BATCH_CHUNKS = 1_024
LOOKUP_DOCUMENTS = 64
LOOKUP_CHARACTERS = 4_000_000
"""Documents are held while the store is asked what it knows of them; long ones not many at a time."""

BEGUN = ""
"""The stamp of a document's head while its chunks are not all there yet; no content has it."""

_IDLE_S = 0.5
_PARTIAL_S = 1.0
_PATIENCE_S = 5.0


class Change(NamedTuple):
    """A document that is new or has changed, cut into chunks; `old` is what the store remembers of it."""

    document: Document
    stamp: str
    chunks: list[Chunk]
    old: Head | None


class Part(NamedTuple):
    """One chunk on its way to the store, with the tokens that its models read."""

    chunk: Chunk
    payload: dict[str, Any]
    tokens: int


class Batch(NamedTuple):
    """What is encoded and written at once; `gone` are chunks of older versions, to be removed before."""

    parts: list[Part]
    gone: list[str]


class Encoded(NamedTuple):
    """A batch with the vectors of its parts by leg, and by leg how many of them its model reads only in part."""

    batch: Batch
    vectors: Mapping[LegName, Sequence[Vector]]
    truncated: Mapping[LegName, int]

    def points(self) -> list[Point]:
        by_place = enumerate(self.batch.parts)
        return [
            Point(part.chunk.chunk_id, {leg: vectors[place] for leg, vectors in self.vectors.items()}, part.payload)
            for place, part in by_place
        ]


class Budget:
    """Tokens that a batch may have; may be lowered while a job runs."""

    def __init__(self, tokens: int | None = None) -> None:
        self.tokens = tokens or BATCH_TOKENS


def stamp_of(document: Document, base: str) -> str:
    """Content and manifest in one hash: a document whose stamp the store has needs no work.

    So has the way in which chunks are encoded, where that is not with their title and text alone.
    """
    way = " context" if is_affected(document) else ""
    return blake2b(f"{document.content_hash()} {base}{way}".encode(), digest_size=16).hexdigest()


class Known(Protocol):
    """Whatever knows which documents are there: a writer, or a collection that is only read."""

    def heads(self, doc_ids: Sequence[str]) -> dict[str, Head]: ...


def gathered(documents: Iterable[Document], stop: threading.Event) -> Iterator[list[Document]]:
    """The documents in lists, for the store to be asked about many at once; read in a thread of their own.

    What comes slowly, through a pipe for instance, is not waited for: a list is shorter then, or empty.

    Args:
        documents: read by that thread alone; what they raise is raised here.
        stop: as in `ahead`.
    """
    arrived: list[Document] = []
    state: dict[str, Any] = {"characters": 0, "done": False, "error": None}
    turn = threading.Condition()

    def full() -> bool:
        return len(arrived) >= LOOKUP_DOCUMENTS or state["characters"] >= LOOKUP_CHARACTERS

    def run() -> None:
        try:
            for document in documents:
                with turn:
                    while full() and not stop.is_set():
                        turn.wait(_IDLE_S)
                    if stop.is_set():
                        return
                    arrived.append(document)
                    state["characters"] += len(document.text)
                    if full():
                        turn.notify_all()
        except BaseException as error:
            state["error"] = error
        finally:
            with turn:
                state["done"] = True
                turn.notify_all()

    threading.Thread(target=run, daemon=True).start()
    while not stop.is_set():
        with turn:
            if not full() and not state["done"]:
                turn.wait(_IDLE_S)
            some, done = arrived[:], state["done"]
            arrived.clear()
            state["characters"] = 0
            turn.notify_all()
        yield some
        if done:
            if state["error"] is not None:
                raise state["error"]
            return


def changes(
    groups: Iterable[list[Document]], cut: Cutter, base: str, known: Known, tally: Tally
) -> Iterator[Change | None]:
    """The documents that are new or have changed; the others are counted. None where no more are there just now."""
    for some in groups:
        heads = known.heads([document.doc_id for document in some]) if some else {}
        for document in some:
            stamp, old = stamp_of(document, base), heads.get(document.doc_id)
            if old is not None and old.stamp == stamp:
                tally.unchanged += 1
            else:
                yield Change(document, stamp, cut(document), old)
        if len(some) < LOOKUP_DOCUMENTS:
            yield None


def batches(changed: Iterable[Change | None], cut: Cutter, writer: CollectionWriter, budget: Budget) -> Iterator[Batch]:
    """What is written at once: whole documents, the head of each last; or a part of a document too long for that.

    A batch that is not full goes out all the same where nothing more comes for a second.

    Such a document begins with a head without a stamp, so that a run cut short leaves no chunk that the next one does
    not know of. Its other chunks carry the stamp, so that the next run need not encode them again.
    """
    batch, tokens, begun = Batch([], []), 0, monotonic()
    for change in changed:
        if change is None:
            if batch.parts and monotonic() - begun >= _PARTIAL_S:
                yield batch
                batch, tokens = Batch([], []), 0
            continue
        if not batch.parts:
            begun = monotonic()
        order = parts_of(change, cut)
        some, size = _taken(order, budget.tokens)
        if batch.parts and (tokens + size > budget.tokens or len(batch.parts) + len(some) > BATCH_CHUNKS):
            yield batch
            batch, tokens = Batch([], []), 0
        batch.gone.extend(_outlived(change))
        rest = next(order, None)
        if rest is None:
            batch.parts.extend(some)
            tokens += size
            continue
        yield from _long(change, cut, writer, budget, batch.gone)
        batch, tokens = Batch([], []), 0
    if batch.parts:
        yield batch


def encoded(items: Iterable[Batch], encoders: Mapping[LegName, Encoder], chunk_tokens: int) -> Iterator[Encoded]:
    """The batches with their vectors, in their order."""
    return (encode_batch(batch, encoders, chunk_tokens) for batch in items)


def encode_batch(batch: Batch, encoders: Mapping[LegName, Encoder], chunk_tokens: int) -> Encoded:
    """The vectors of one batch."""
    texts = [part.chunk.searchable for part in batch.parts]
    counted = [part.chunk.searchable for part in batch.parts if part.payload.get("stamp") != BEGUN]
    return Encoded(batch, encode(encoders, texts), cut_off(encoders, chunk_tokens, counted))


def write(ready: Encoded, writer: CollectionWriter, tally: Tally) -> None:
    """Write one batch, and count it."""
    writer.delete(ready.batch.gone)
    writer.upsert(ready.points())
    counted = [part for part in ready.batch.parts if part.payload.get("stamp") != BEGUN]
    tally.cut_off(ready.truncated)
    tally.tokens += sum(part.tokens for part in ready.batch.parts)
    tally.add(sum(part.chunk.number == 0 for part in counted), len(counted))


def ahead(
    items: Iterable[T], stop: threading.Event, idle: Callable[[], None] | None = None
) -> Generator[T, None, None]:
    """The same items, each made in a thread of its own while the one before is in use.

    Args:
        items: read by that thread alone; what it raises is raised here.
        stop: ends the thread at its next item; shared by all that belong to one job, and set when one of them ends.
        idle: called now and then while the next item is not ready yet.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(1)

    def put(item: T | None, error: BaseException | None, last: bool) -> None:
        while not stop.is_set():
            try:
                return ready.put((item, error, last), timeout=_IDLE_S)
            except queue.Full:
                continue

    def run() -> None:
        try:
            for item in items:
                put(item, None, False)
                if stop.is_set():
                    return
            put(None, None, True)
        except BaseException as error:
            put(None, error, True)

    # A daemon: where one item takes minutes, as a huge document does, an interrupted process need not wait for it.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    done = False
    try:
        while not stop.is_set():
            try:
                item, error, last = ready.get(timeout=_IDLE_S)
            except queue.Empty:
                if idle is not None:
                    idle()
                continue
            if error is not None:
                raise error
            if last:
                done = True
                return
            yield item  # type: ignore[misc]
    finally:
        if not done:  # an error, or whoever took the items goes no further: nobody needs more of them
            stop.set()
        thread.join(timeout=_PATIENCE_S)


def parts_of(change: Change, cut: Cutter) -> Iterator[Part]:
    """The parts of a document that is written at once: the head last."""
    first, *others = change.chunks
    for chunk in others:
        yield _part(change, chunk, cut)
    yield _part(change, first, cut, change.stamp)


def _long(change: Change, cut: Cutter, writer: CollectionWriter, budget: Budget, gone: list[str]) -> Iterator[Batch]:
    first, *others = change.chunks
    begun = _part(change, first, cut, BEGUN)
    yield Batch([begun], gone)
    # Chunks of this very version are there where an earlier run was cut short. What it did not reach has other stamps.
    resumed = change.old is not None and change.old.stamp == BEGUN
    missing = _missing(change, others, writer) if resumed else iter(others)
    parts = (_part(change, chunk, cut, change.stamp) for chunk in missing)
    while True:
        some, _ = _taken(parts, budget.tokens)
        if not some:
            break
        yield Batch(some, [])
    yield Batch([_part(change, first, cut, change.stamp)], [])


def _missing(change: Change, chunks: Sequence[Chunk], writer: CollectionWriter) -> Iterator[Chunk]:
    for start in range(0, len(chunks), BATCH_CHUNKS):
        some = chunks[start : start + BATCH_CHUNKS]
        stamps = writer.stamps([chunk.chunk_id for chunk in some])
        yield from (chunk for chunk in some if stamps.get(chunk.chunk_id) != change.stamp)


def _outlived(change: Change) -> list[str]:
    """Chunks that the new version does not overwrite: of a version that had more of them, all.

    Not only those too many: the head of the old version must not outlive its chunks.
    """
    if change.old is None or change.old.chunks <= len(change.chunks):
        return []
    return [chunk_id_of(change.document.doc_id, number) for number in range(change.old.chunks)]


def _taken(parts: Iterator[Part], tokens: int) -> tuple[list[Part], int]:
    """The next parts until they have so many tokens, one at least; and how many they have."""
    some: list[Part] = []
    size = 0
    for part in parts:
        some.append(part)
        size += part.tokens
        if size >= tokens or len(some) >= BATCH_CHUNKS:
            break
    return some, size


def _part(change: Change, chunk: Chunk, cut: Cutter, stamp: str | None = None) -> Part:
    head = None if stamp is None or chunk.number else (stamp, len(change.chunks))
    payload = payload_of(chunk, change.document.metadata, change.document.origin, head)
    if stamp is not None:
        payload["stamp"] = stamp
    return Part(chunk, payload, cut.count([chunk.searchable])[0])
