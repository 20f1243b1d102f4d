"""Cuts documents into chunks that every model of a collection reads whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TypeVar

from hybrid_search._util.arguments import whole
from hybrid_search.collection.models import ModelSet
from hybrid_search.corpus.bounded import Exceeded
from hybrid_search.corpus.chunking import chunk
from hybrid_search.encoders.hybrid import group_by_model, unwrap
from hybrid_search.errors import InvalidArgument, ManifestMismatch
from hybrid_search.indexing.chunker_process import ChunkerProcess, Recipe, is_short, most_tokens
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import Encoder, KnowsWords
from hybrid_search.types import Chunk, Document, LegName, Vector, is_empty

T = TypeVar("T")

MIN_CHUNK = 16
UNLIMITED_CHUNK = 256
"""Tokens of a chunk where no model has a limit, as for BM25 alone, and none was asked for."""


class Chunker:
    """Documents to chunks, for one set of models. To be closed.

    Args:
        models: those that will read the chunks; the one that needs most tokens for a text decides.
        size_tokens: what a chunk may take, title and special tokens included; 0 for one chunk a document.
        overlap_tokens: tokens that neighbouring chunks share at most.
    """

    def __init__(self, models: ModelSet, size_tokens: int, overlap_tokens: int) -> None:
        self.size_tokens, self.overlap_tokens = size_tokens, overlap_tokens
        readers = (next(iter(group.values())) for group in group_by_model(models.encoders))
        self._limited = [encoder for encoder in readers if encoder.card.max_tokens]

    def __call__(self, document: Document) -> list[Chunk]:
        """Cut a document: a long one, or one with a syntax, in the chunker's process.

        Raises:
            Exceeded: it takes too much time or memory, even as plain text.
        """
        if self.size_tokens == 0 or is_short(document) or self._chunker is None:
            return self._cut(document)
        return self._chunker(document)

    def start(self) -> None:
        """Start the chunker's process ahead of the first document that needs it."""
        if self._chunker is not None and self.size_tokens:
            self._chunker.start()

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, by the model that needs most; words where none has a limit."""
        return most_tokens([encoder.count_tokens for encoder in self._limited], texts)

    def close(self) -> None:
        if "_chunker" in self.__dict__ and self._chunker is not None:
            self._chunker.close()

    def _cut(self, document: Document) -> list[Chunk]:
        return chunk(
            document, size_tokens=self.size_tokens, overlap_tokens=self.overlap_tokens, count_tokens=self.count
        )

    @cached_property
    def _chunker(self) -> ChunkerProcess | None:
        """The process that cuts; None where a model counts tokens in a way that cannot travel to another process."""
        counters = [getattr(unwrap(encoder), "token_count", lambda: None)() for encoder in self._limited]
        counts = tuple(count for count in counters if count is not None)
        if len(counts) < len(counters):
            return None
        return ChunkerProcess(Recipe(counts, self.size_tokens, self.overlap_tokens))


def chunker_for(
    collection: str, models: ModelSet, manifest: Manifest | None, size_tokens: int | None, overlap_tokens: int | None
) -> Chunker:
    """Make the chunker of an existing collection, or of a new one as asked for.

    Raises:
        ManifestMismatch: other chunking asked for than the existing collection has.
        InvalidArgument: a size too small for text, or more than a model reads.
    """
    size_tokens = None if size_tokens is None else whole("chunk_tokens", size_tokens)
    overlap_tokens = None if overlap_tokens is None else whole("overlap_tokens", overlap_tokens, 0)
    if manifest is not None:
        for what, have, want in (
            ("--chunk-tokens", manifest.chunk_tokens, size_tokens),
            ("--overlap-tokens", manifest.overlap_tokens, overlap_tokens),
        ):
            if want is not None and want != have:
                raise ManifestMismatch(collection, what, have, want)
        return Chunker(models, manifest.chunk_tokens, manifest.overlap_tokens)
    return Chunker(models, chunk_size(models, size_tokens), overlap_tokens or 0)


def chunk_size(models: ModelSet, asked: int | None) -> int:
    """Choose the tokens of a chunk of a new collection: what was asked for, else what all its models read.

    Raises:
        InvalidArgument: too small for text, or more than a model reads.
    """
    limit = min((e.card.max_tokens for e in models.encoders.values() if e.card.max_tokens), default=0)
    size = (limit or UNLIMITED_CHUNK) if asked is None else asked
    if size and (size < MIN_CHUNK or 0 < limit < size):
        allowed = f"lie in {MIN_CHUNK}..{limit}, which is what all models of the collection read" if limit else ""
        allowed = allowed or f"be {MIN_CHUNK} or more"
        raise InvalidArgument(f"chunk_tokens is {size}; it must be 0 (one chunk a document) or {allowed}.")
    return size


def searchable_texts(documents: Iterable[Document], chunker: Chunker) -> Iterator[str]:
    """Yield what the encoders will read of documents; without those that cannot be cut in time."""
    for document in documents:
        with suppress(Exceeded):
            yield from (part.searchable for part in chunker(document))


def count_truncated(encoders: Mapping[LegName, Encoder], chunk_tokens: int, texts: Sequence[str]) -> dict[LegName, int]:
    """Count by leg the texts that its model does not read to the end, where a chunk can be that long."""
    counts: dict[LegName, int] = {}
    for group in group_by_model(encoders):
        encoder = next(iter(group.values()))
        limit = encoder.card.max_tokens
        if limit and not 0 < chunk_tokens <= limit:
            counts.update(dict.fromkeys(group, sum(count > limit for count in encoder.count_tokens(texts))))
    return counts


def unread(
    encoders: Mapping[LegName, Encoder], texts: Sequence[str], vectors: Mapping[LegName, Sequence[Vector]]
) -> dict[LegName, list[int]]:
    """Find, by leg, the places of the texts of which it reads little or nothing.

    Its model knows less than half of their tokens, or made a sparse vector without a term of them.
    """
    places: dict[LegName, list[int]] = {}
    for group in group_by_model(encoders):
        whole = unwrap(next(iter(group.values())))
        little = (
            [each.little for each in whole.readings(texts)] if isinstance(whole, KnowsWords) else [False] * len(texts)
        )
        for leg in group:
            pairs = enumerate(zip(little, vectors[leg], strict=True))
            places[leg] = [place for place, (unknown, vector) in pairs if unknown or is_empty(vector)]
    return places
