"""The stages of an index job: documents -> changes -> batches -> encoded batches -> the store.

Each is a plain generator over the one before. Reading and encoding run ahead of writing, in threads of their own
(`prefetch`), and by no more than a batch each, so that what a job holds does not grow with its sources, and what it
loses when it is killed is no more than it was at work on.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from time import monotonic
from typing import Any, NamedTuple, Protocol

from hybrid_search._util.unicode_text import id_forms
from hybrid_search.collection.expansion import Expand
from hybrid_search.corpus.bounded import Exceeded
from hybrid_search.corpus.contexts import is_affected
from hybrid_search.corpus.expansions import with_expansion
from hybrid_search.corpus.roots import NO_ROOTS, Roots, is_same_place
from hybrid_search.encoders.hybrid import encode_expanded
from hybrid_search.indexing.chunker import Chunker, count_cut, count_truncated, unread
from hybrid_search.indexing.prefetch import LOOKUP_DOCUMENTS
from hybrid_search.indexing.progress import JobProgress, Replaced
from hybrid_search.protocols import CollectionWriter, DocumentHead, Encoder
from hybrid_search.store.schema import payload_of
from hybrid_search.types import Chunk, Document, Failure, LegName, Moved, Point, Vector, chunk_id_of

BATCH_TOKENS = 8_192
"""Of a batch, which is encoded and written at once. Two are under way, and as much is encoded again after a kill."""

BATCH_CHUNKS = 1_024
INCOMPLETE = ""
"""The stamp of a document's head while its chunks are not all there yet; no content has it."""

IN_MEMORY = "item "
"""Before the number of a document that was given as a dict: it has no origin."""

_PARTIAL_S = 1.0


class Change(NamedTuple):
    """A document that is new or has changed, cut into chunks.

    Args:
        document: as it is now.
        stamp: of that.
        chunks: of that.
        old: what the store remembers of it.
        former: what the store remembers under other spellings of its id, which an earlier version kept as they came.
        expansion: what a file expands it with; empty for nothing.
    """

    document: Document
    stamp: str
    chunks: list[Chunk]
    old: DocumentHead | None
    former: tuple[tuple[str, DocumentHead], ...] = ()
    expansion: str = ""


class PendingChunk(NamedTuple):
    """One chunk on its way to the store, and the facts about its document that go into its payload.

    Args:
        chunk: with its `tokens`.
        metadata: of its document.
        origin: of its document.
        stamp: of its document; None for a chunk that carries none, as all but the head of a short document.
        chunks: how many its document has.
        expansion: what a file expands its document with, which only sparse legs encode; neither stored nor shown.
    """

    chunk: Chunk
    metadata: Mapping[str, Any]
    origin: str
    stamp: str | None
    chunks: int
    expansion: str = ""

    @property
    def is_counted(self) -> bool:
        """Whether reports count it: not the head that a long document begins with, for it is written once more."""
        return self.stamp != INCOMPLETE

    def payload(self) -> dict[str, Any]:
        """Build what the store keeps beside the vectors."""
        if self.chunk.number == 0 and self.stamp is not None:
            return payload_of(self.chunk, self.metadata, self.origin, (self.stamp, self.chunks))
        stamp = {} if self.stamp is None else {"stamp": self.stamp}
        return {**payload_of(self.chunk, self.metadata, self.origin, None), **stamp}


class Batch(NamedTuple):
    """What is encoded and written at once.

    Args:
        parts: chunks on their way.
        stale: chunks of older versions, to be deleted before.
        moved: documents that stand elsewhere now.
    """

    parts: list[PendingChunk]
    stale: list[str]
    moved: Sequence[Moved] = ()


class Encoded(NamedTuple):
    """A batch with the vectors of its parts by leg.

    Args:
        batch: what was encoded.
        vectors: of its parts, by leg.
        truncated: by leg, how many of them its model reads only in part.
        unread: by leg, where those are from of which its model reads little or nothing.
        cut: by sparse leg, how many expansions its model reads only in part.
    """

    batch: Batch
    vectors: Mapping[LegName, Sequence[Vector]]
    truncated: Mapping[LegName, int]
    unread: Mapping[LegName, Sequence[str]]
    cut: Mapping[LegName, int]

    def points(self) -> list[Point]:
        """Build what the store takes."""
        return [
            Point(part.chunk.chunk_id, {leg: vectors[place] for leg, vectors in self.vectors.items()}, part.payload())
            for place, part in enumerate(self.batch.parts)
        ]


Batches = Generator[Batch, None, None]
"""The batches of a job as they are cut."""


class BatchBudget:
    """Tokens that a batch may have; may be lowered while a job runs."""

    def __init__(self, tokens: int | None = None) -> None:
        self.tokens = tokens or BATCH_TOKENS


def stamp_of(document: Document, base: str) -> str:
    """Hash content and manifest together: a document whose stamp the store has needs no work.

    So has the way in which chunks are encoded, where that is not with their title and text alone.
    """
    way = " context" if is_affected(document) else ""
    return blake2b(f"{document.content_hash()} {base}{way}".encode(), digest_size=16).hexdigest()


class ExistingDocuments(Protocol):
    """Whatever knows which documents are there: a writer, or a collection that is only read."""

    def heads(self, doc_ids: Sequence[str]) -> dict[str, DocumentHead]: ...


def changes(
    groups: Iterable[list[Document]],
    chunker: Chunker,
    base: str,
    known: ExistingDocuments,
    progress: JobProgress,
    roots: Roots = NO_ROOTS,
) -> Iterator[Change | list[Moved] | None]:
    """Yield the documents that are new or have changed, and lists of those that have moved; count the others.

    Yields None while the source is idle, so that a batch that is not full can be written.
    """
    for some in groups:
        doc_ids = [document.doc_id for document in some]
        moved: list[Moved] = []
        heads = known.heads(doc_ids) if some else {}
        former = former_heads(known, [doc_id for doc_id in doc_ids if doc_id not in heads])
        for document in some:
            stamp, old = stamp_of(document, base), heads.get(document.doc_id)
            if old is not None and old.version_hash == stamp:
                progress.unchanged += 1
                if is_elsewhere(document, old):
                    moved.append(Moved(document.doc_id, old.chunks, document.origin))
                continue
            chunks = cut_or_failed(document, chunker, progress)
            if chunks:
                progress.replace(replacement(document, old, roots))
                expansion = chunker.expansion_of(document)
                yield Change(document, stamp, chunks, old, former.get(document.doc_id, ()), expansion)
        if moved:
            yield moved
        if len(some) < LOOKUP_DOCUMENTS:
            yield None


def is_elsewhere(document: Document, old: DocumentHead) -> bool:
    """Say whether an unchanged document stands at another origin now; those made in memory stand nowhere."""
    return document.origin not in ("", old.origin) and not document.origin.startswith(IN_MEMORY)


def replacement(document: Document, old: DocumentHead | None, roots: Roots) -> Replaced | None:
    """Describe what a document replaces that is no older version of it: it has its id, and was read elsewhere."""
    if old is None or not old.origin or not document.origin or document.origin.startswith(IN_MEMORY):
        return None
    before = roots.origin_now(old.origin)
    return None if is_same_place(before, document.origin) else Replaced(document.doc_id, before, document.origin)


def cut_or_failed(document: Document, chunker: Chunker, progress: JobProgress) -> list[Chunk]:
    """Cut a document, as plain text where its syntax takes too long, which is counted.

    Where that takes too long as well it is a failure, and there are no chunks.
    """
    reason = ""
    for markup in dict.fromkeys((document.markup, "plain")):
        try:
            return chunker(replace(document, markup=markup))
        except Exceeded as error:
            reason = str(error)
            if markup != "plain":
                progress.passed_over("syntax that takes too long")
    progress.fail(Failure(document.origin or document.doc_id, f"cannot be cut into chunks: {reason}"))
    return []


def former_heads(known: ExistingDocuments, doc_ids: Iterable[str]) -> dict[str, tuple[tuple[str, DocumentHead], ...]]:
    """Look up documents under other spellings of their ids; by the id that was asked for."""
    others = {doc_id: id_forms(doc_id)[1:] for doc_id in doc_ids if not doc_id.isascii()}
    heads = known.heads([form for forms in others.values() for form in forms]) if others else {}
    return {doc_id: tuple((form, heads[form]) for form in forms if form in heads) for doc_id, forms in others.items()}


def batches(changed: Iterable[Change | list[Moved] | None], writer: CollectionWriter, budget: BatchBudget) -> Batches:
    """Yield what is written at once: whole documents, the head of each last, or a part of a longer document.

    A batch that is not full goes out all the same where nothing more comes for a second.

    A longer document begins with a head without a stamp: a run that is cut short leaves no chunk that the next one does
    not know of. Its other chunks carry the stamp, so that the next run need not encode them again.
    """
    batch, tokens, begun = Batch([], []), 0, monotonic()
    for change in changed:
        if isinstance(change, list):
            yield Batch([], [], change)
            continue
        if change is None:
            if batch.parts and monotonic() - begun >= _PARTIAL_S:
                yield batch
                batch, tokens = Batch([], []), 0
            continue
        if not batch.parts:
            begun = monotonic()
        order = parts_of(change)
        some, size = _take_tokens(order, budget.tokens)
        if batch.parts and (tokens + size > budget.tokens or len(batch.parts) + len(some) > BATCH_CHUNKS):
            yield batch
            batch, tokens = Batch([], []), 0
        batch.stale.extend(_stale_chunks(change))
        rest = next(order, None)
        if rest is None:
            batch.parts.extend(some)
            tokens += size
            continue
        yield from _stream_long(change, writer, budget, batch.stale)
        batch, tokens = Batch([], []), 0
    if batch.parts:
        yield batch


def encoded(
    items: Iterable[Batch], encoders: Mapping[LegName, Encoder], chunk_tokens: int, generate: Expand | None = None
) -> Generator[Encoded, None, None]:
    """Yield the batches with their vectors, in their order."""
    return (encode_batch(batch, encoders, chunk_tokens, generate) for batch in items)


def expanded_texts(parts: Sequence[PendingChunk], generate: Expand | None) -> list[str]:
    """Return what sparse legs read of chunks: the text and its expansion, which `generate` makes where it is given."""
    if generate is None:
        return [with_expansion(part.chunk.searchable, part.expansion) for part in parts]
    texts = [part.chunk.searchable for part in parts]
    return list(map(with_expansion, texts, generate(texts)))


def encode_batch(
    batch: Batch, encoders: Mapping[LegName, Encoder], chunk_tokens: int, generate: Expand | None = None
) -> Encoded:
    """Encode one batch; `generate` makes the expansions where no file has them."""
    if not batch.parts:
        return Encoded(batch, {}, {}, {}, {})
    texts, expanded = [part.chunk.searchable for part in batch.parts], expanded_texts(batch.parts, generate)
    vectors = encode_expanded(encoders, texts, expanded)
    counted = [place for place, part in enumerate(batch.parts) if part.is_counted]
    shown = [texts[place] for place in counted]
    places = unread(encoders, shown, {leg: [some[place] for place in counted] for leg, some in vectors.items()})
    origins = [batch.parts[place].origin or batch.parts[place].chunk.doc_id for place in counted]
    lost = {leg: [origins[place] for place in some] for leg, some in places.items()}
    cut = count_cut(encoders, shown, [expanded[place] for place in counted])
    return Encoded(batch, vectors, count_truncated(encoders, chunk_tokens, shown), lost, cut)


def write(ready: Encoded, writer: CollectionWriter, progress: JobProgress) -> None:
    """Write one batch, and count it."""
    writer.delete(ready.batch.stale)
    writer.set_origins(ready.batch.moved)
    progress.moved += len(ready.batch.moved)
    if ready.batch.parts:
        writer.upsert(ready.points())
    counted = [part for part in ready.batch.parts if part.is_counted]
    progress.cut_off(ready.truncated)
    progress.leave_unread(ready.unread)
    progress.cut_expansions(ready.cut)
    progress.tokens += sum(part.chunk.tokens for part in ready.batch.parts)
    progress.add(sum(part.chunk.number == 0 for part in counted), len(counted))


def parts_of(change: Change) -> Iterator[PendingChunk]:
    """Yield the chunks of a document that is written at once: the head last."""
    first, *others = change.chunks
    for chunk in others:
        yield _part(change, chunk)
    yield _part(change, first, change.stamp)


def _stream_long(change: Change, writer: CollectionWriter, budget: BatchBudget, stale: list[str]) -> Iterator[Batch]:
    first, *others = change.chunks
    begun = _part(change, first, INCOMPLETE)
    yield Batch([begun], stale)
    # Chunks of this very version are there where an earlier run was cut short. What it did not reach has other stamps.
    resumed = change.old is not None and change.old.version_hash == INCOMPLETE
    missing = _missing(change, others, writer) if resumed else iter(others)
    parts = (_part(change, chunk, change.stamp) for chunk in missing)
    while True:
        some, _ = _take_tokens(parts, budget.tokens)
        if not some:
            break
        yield Batch(some, [])
    yield Batch([_part(change, first, change.stamp)], [])


def _missing(change: Change, chunks: Sequence[Chunk], writer: CollectionWriter) -> Iterator[Chunk]:
    for start in range(0, len(chunks), BATCH_CHUNKS):
        some = chunks[start : start + BATCH_CHUNKS]
        stamps = writer.version_hashes([chunk.chunk_id for chunk in some])
        yield from (chunk for chunk in some if stamps.get(chunk.chunk_id) != change.stamp)


def _stale_chunks(change: Change) -> list[str]:
    """Name the chunks that the new version does not overwrite, of a longer version and of other spellings.

    Not only those too many: the head of the old version must not outlive its chunks.
    """
    stale = dict(change.former)
    if change.old is not None and change.old.chunks > len(change.chunks):
        stale[change.document.doc_id] = change.old
    return [chunk_id_of(doc_id, number) for doc_id, head in stale.items() for number in range(head.chunks)]


def _take_tokens(parts: Iterator[PendingChunk], tokens: int) -> tuple[list[PendingChunk], int]:
    """Take the next chunks until they have so many tokens, one at least; return them and their tokens."""
    some: list[PendingChunk] = []
    size = 0
    for part in parts:
        some.append(part)
        size += part.chunk.tokens
        if size >= tokens or len(some) >= BATCH_CHUNKS:
            break
    return some, size


def _part(change: Change, chunk: Chunk, stamp: str | None = None) -> PendingChunk:
    document = change.document
    return PendingChunk(chunk, document.metadata, document.origin, stamp, len(change.chunks), change.expansion)
