"""Cuts documents into chunks that every model of a collection reads whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TypeVar

from hybrid_search._util.arguments import whole
from hybrid_search.collection.models import ModelSet
from hybrid_search.corpus.bounded import Exceeded
from hybrid_search.corpus.chunking import chunk
from hybrid_search.corpus.expansions import Expansions, read_expansions, with_expansion
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

GENERATED = 32
"""Chunks for which a model generates expansions ahead of the job, so that BM25 measures the mean length with them."""


class Chunker:
    """Documents to chunks, for one set of models. To be closed.

    Args:
        models: those that will read the chunks; the one that needs most tokens for a text decides.
        size_tokens: what a chunk may take, title and special tokens included; 0 for one chunk a document.
        overlap_tokens: tokens that neighbouring chunks share at most.
        expansions: of a file, by document; closed with the chunker.
    """

    def __init__(
        self, models: ModelSet, size_tokens: int, overlap_tokens: int, expansions: Expansions | None = None
    ) -> None:
        self.size_tokens, self.overlap_tokens, self.expansions = size_tokens, overlap_tokens, expansions
        self.generate = models.expansion.generate if models.expansion else None
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

    def expansion_of(self, document: Document) -> str:
        """Return what a file expands a document with; empty for nothing.

        It goes with each of the document's chunks: a chunk is what is found and ranked, as the passage is where the
        literature expands passages, and from which chunk a query was predicted a file of documents does not say.
        """
        return self.expansions.of(document.doc_id) if self.expansions is not None else ""

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
        if self.expansions is not None:
            self.expansions.close()

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
        CorpusError: the file of expansions cannot be read.
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
        sizes = manifest.chunk_tokens, manifest.overlap_tokens
    else:
        sizes = chunk_size(models, size_tokens), overlap_tokens or 0
    expansion = models.expansion
    from_file = expansion is not None and expansion.generate is None
    return Chunker(models, *sizes, read_expansions(Path(expansion.spec.source)) if expansion and from_file else None)


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
    """Return what the encoders of sparse legs will read of documents; without those that cannot be cut in time.

    Where a model generates expansions, only of the first `GENERATED` chunks: it is much slower than what measures them.
    """
    texts = _expanded_by_file(documents, chunker)
    if chunker.generate is not None:
        some = list(islice(texts, GENERATED))
        texts = map(with_expansion, some, chunker.generate(some))
    return texts


def _expanded_by_file(documents: Iterable[Document], chunker: Chunker) -> Iterator[str]:
    for document in documents:
        with suppress(Exceeded):
            chunks, expansion = chunker(document), chunker.expansion_of(document)
            yield from (with_expansion(part.searchable, expansion) for part in chunks)


def count_truncated(encoders: Mapping[LegName, Encoder], chunk_tokens: int, texts: Sequence[str]) -> dict[LegName, int]:
    """Count by leg the texts that its model does not read to the end, where a chunk can be that long."""
    counts: dict[LegName, int] = {}
    for group in group_by_model(encoders):
        encoder = next(iter(group.values()))
        limit = encoder.card.max_tokens
        if limit and not 0 < chunk_tokens <= limit:
            counts.update(dict.fromkeys(group, sum(count > limit for count in encoder.count_tokens(texts))))
    return counts


def count_cut(encoders: Mapping[LegName, Encoder], texts: Sequence[str], expanded: Sequence[str]) -> dict[LegName, int]:
    """Count by sparse leg the expansions that its model does not read to the end."""
    more = [longer for text, longer in zip(texts, expanded, strict=True) if longer != text]
    sparse = {leg: encoder for leg, encoder in encoders.items() if encoder.card.kind == "sparse"}
    return count_truncated(sparse, 0, more) if more else {}


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
