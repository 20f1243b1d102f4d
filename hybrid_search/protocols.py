"""The seats that components fill. Reading this file and `types.py` is reading the design.

Rules of every seat: a batch in gives a batch of the same length and order out; constructors are cheap and weights load
on first use or by `warm_up()`; nothing prints; nothing mutates what it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hybrid_search.filters import Condition
from hybrid_search.manifest import Foreign, LegSpec, Manifest
from hybrid_search.types import DenseVector, LegName, ModelCard, Moved, Point, SparseVector, Vector


class Encoder(Protocol):
    """What sparse and dense encoders share."""

    @property
    def card(self) -> ModelCard: ...

    def fingerprint(self) -> str:
        """A hash over the model's files and everything in the card that changes its output."""
        ...

    def warm_up(self) -> None:
        """Load now what a query needs. Raises ModelError where that fails."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """For each text the tokens the model would read without its limit, special tokens included; 0 for no limit."""
        ...


class Reading(NamedTuple):
    """What a model makes of a text.

    Args:
        tokens: that are more than punctuation.
        unknown: of these, those that stand for nothing that the model knows.
    """

    tokens: int
    unknown: int

    @property
    def nothing(self) -> bool:
        """Whether it reads no word of the text."""
        return self.unknown == self.tokens

    @property
    def little(self) -> bool:
        """Whether it reads less than half of it."""
        return self.unknown * 2 > self.tokens or not self.tokens


@runtime_checkable
class KnowsWords(Protocol):
    """What an encoder may do besides: tell what its vocabulary has no entry for. One that does not reads everything."""

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """What it makes of each text."""
        ...

    def reading_of_query(self, text: str) -> tuple[Reading, tuple[str, ...]]:
        """What it makes of a query, and the stretches of that which it does not know, as they are written."""
        ...


@runtime_checkable
class SparseEncoder(Encoder, Protocol):
    """Text to sparse vector."""

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]: ...

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]: ...

    def terms(self, indices: Sequence[int]) -> list[str]:
        """The vocabulary entry of each dimension; `#<index>` where dimensions are hashes."""
        ...


@runtime_checkable
class DenseEncoder(Encoder, Protocol):
    """Text to dense vector, unit length."""

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (n, dim) float32."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (n, dim) float32."""
        ...


@runtime_checkable
class HybridEncoder(Encoder, Protocol):
    """Text to both vectors in one forward pass, the dense one of unit length."""

    def encode_documents(self, texts: Sequence[str]) -> list[tuple[SparseVector, DenseVector]]: ...

    def encode_queries(self, texts: Sequence[str]) -> list[tuple[SparseVector, DenseVector]]: ...

    def terms(self, indices: Sequence[int]) -> list[str]:
        """The vocabulary entry of each dimension of the sparse vector."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Scores texts against a query. Sorting, ranks and ties are not its business."""

    @property
    def card(self) -> ModelCard: ...

    def warm_up(self) -> None:
        """Load now what scoring needs. Raises ModelError where that fails."""
        ...

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (n,) float32, higher is better."""
        ...


HEAD_FIELDS = ["doc_id", "stamp", "chunks", "origin"]
"""Of the payload of a document's first chunk: all that a `DocumentHead` needs, and whose it is."""


class DocumentHead(NamedTuple):
    """What the store remembers of a document.

    Args:
        stamp: content and manifest in one hash.
        chunks: how many it has.
        origin: where it was read.
    """

    stamp: str
    chunks: int
    origin: str = ""

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> DocumentHead:
        """What the payload of a document's first chunk says."""
        return cls(payload["stamp"], payload["chunks"], payload.get("origin", ""))


class CollectionInfo(NamedTuple):
    """A collection from outside. `bytes_on_disk` is None where the store cannot tell."""

    name: str
    documents: int
    points: int
    bytes_on_disk: int | None
    manifest: Manifest

    def to_dict(self) -> dict[str, Any]:
        """The object that `collections list --format json` prints for a collection."""
        return {**self.counts(), "profile": self.manifest.profile}

    def counts(self) -> dict[str, Any]:
        """What it holds, without what it was built with."""
        return {
            "name": self.name,
            "documents": self.documents,
            "chunks": self.points,
            "bytes_on_disk": self.bytes_on_disk,
        }


class Finding(NamedTuple):
    """What was found of one part of a collection.

    Args:
        part: such as `published files`.
        state: `whole`, `damaged`, or `unchecked` where there is nothing to compare it with.
        text: what was compared, or what is wrong.
    """

    part: str
    state: Literal["whole", "damaged", "unchecked"]
    text: str


class Verification(NamedTuple):
    """What was found of a collection, part by part."""

    collection: str
    findings: list[Finding]

    @property
    def whole(self) -> bool:
        return all(finding.state != "damaged" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The object that `collections verify --format json` prints for a collection."""
        findings = [finding._asdict() for finding in self.findings]
        return {"collection": self.collection, "whole": self.whole, "findings": findings}


class CollectionReader(Protocol):
    """An open collection, for searching. Safe to use from many threads, never across a fork."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def max_concurrency(self) -> int:
        """Searches that are worth running side by side, beside an event loop that has to go on."""
        ...

    def is_stale(self) -> bool:
        """Whether a reader that is opened now would read something else; False where it reads what is there by itself.

        It is asked before every search, so it takes microseconds; where looking takes longer, it looks now and then.
        """
        ...

    def retrieve(
        self, requests: Sequence[tuple[LegName, Vector]], limit: int, where: Condition | None = None
    ) -> list[list[tuple[str, float]]]:
        """One batched request: for each (leg, query vector) up to `limit` (chunk_id, score), best first.

        With `where`, of the chunks alone for which `holding.holds`. The order among equal scores is the engine's; ranks
        and ties are made once, in `ranking/`. Raises FilterError where `where` names a field that no document has.
        """
        ...

    def fields(self) -> Mapping[str, str]:
        """What a filter may name, with its type: metadata fields, as they are written, and the documents' own.

        Fields without an index are found in a sample of the chunks, so a rare one may be missing.
        """
        ...

    def doc_ids(self) -> Iterator[str]:
        """Every document, in an order that is the same each time."""
        ...

    def payloads(self, chunk_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The payload of each chunk that exists, by chunk_id."""
        ...

    def vectors(self, leg: LegName, chunk_ids: Sequence[str]) -> dict[str, Vector]:
        """The leg's vector of each chunk that has one, by chunk_id; InvalidArgument for a leg that is not there."""
        ...

    def info(self) -> CollectionInfo: ...

    def close(self) -> None: ...


class CollectionWriter(Protocol):
    """An open collection, for indexing. One per collection at a time."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def resumed(self) -> bool:
        """Whether it goes on with a building that an earlier job began and did not publish."""
        ...

    def heads(self, doc_ids: Sequence[str]) -> dict[str, DocumentHead]:
        """What is remembered of each document that is there completely."""
        ...

    def stamps(self, chunk_ids: Sequence[str]) -> dict[str, str]:
        """The stamp of each chunk that carries one, by chunk_id."""
        ...

    def doc_ids(self) -> Iterator[str]:
        """Every document that is there completely."""
        ...

    def upsert(self, points: Sequence[Point]) -> None:
        """Write all of them or raise; checks every vector before the first is written."""
        ...

    def delete(self, chunk_ids: Iterable[str]) -> None: ...

    def set_origins(self, moved: Sequence[Moved]) -> None:
        """Let documents that are there stand elsewhere from now on; nothing else of them changes."""
        ...

    def flush(self) -> None:
        """Make everything written so far durable, should the machine lose its power now. Readers see nothing of it."""
        ...

    def publish(self, manifest: Manifest | None = None) -> None:
        """Make everything written so far durable and visible to readers, under a manifest with other legs if given.

        Whatever happens, readers find either all of the old or all of the new.
        """
        ...

    def iter_payloads(self, without: str = "") -> Iterator[dict[str, Any]]:
        """The payload of every chunk, or of every chunk without a vector of this name, which may be set meanwhile."""
        ...

    def add_vector(self, spec: LegSpec) -> None:
        """Make room for one more vector a chunk, called `spec.vector`; room that is there stays as it is, and filled.

        Only what an earlier attempt with another model left behind is dropped. Readers see nothing of it before
        `publish(manifest)`. Raises StoreError where the collection is not the one that readers have.
        """
        ...

    def set_vectors(self, spec: LegSpec, vectors: Mapping[str, Vector]) -> None:
        """Give chunks, by chunk_id, the vector that `add_vector` made room for; checked before the first write."""
        ...

    def replace_manifest(self, manifest: Manifest) -> None:
        """Go on under a manifest with other legs over the vectors that are there. One step, seen by later readers.

        Raises StoreError where the collection is not the one that readers have.
        """
        ...

    def drop_unused_vectors(self) -> None:
        """Drop vectors that no leg of the manifest uses."""
        ...

    def info(self) -> CollectionInfo: ...

    def close(self) -> None: ...


class Store(Protocol):
    """A place that holds collections: a folder, or a Qdrant server."""

    @property
    def location(self) -> str: ...

    def names(self) -> list[str]:
        """The collections that can be read, sorted."""
        ...

    def reader(self, name: str) -> CollectionReader:
        """Raises CollectionNotFound, CollectionDamaged, StoreUnavailable."""
        ...

    def manifest(self, name: str) -> Manifest | None:
        """What a writer would go on with: the manifest of what readers have, else of a building that is not finished.

        None where there is neither. An unfinished replacement beside a finished collection does not count.
        """
        ...

    def writer(self, name: str, manifest: Manifest, *, replace: bool = False, wait_s: float = 0.0) -> CollectionWriter:
        """Open for writing, create where it is not there. `replace` builds a new one beside the old.

        A replacement that was begun earlier under the same manifest is gone on with; under another one it is dropped.

        Raises StoreBusy after `wait_s` seconds, ManifestMismatch, StoreUnavailable.
        """
        ...

    def described(self, name: str) -> Foreign:
        """Describe a collection, whoever made it, for `adopt`.

        Raises CollectionNotFound, and InvalidArgument where nobody else can make collections in this store.
        """
        ...

    def adopt(self, name: str, manifest: Manifest) -> None:
        """Let a collection that somebody else made be searched under a manifest from now on. Raises as `described`."""
        ...

    def info(self, name: str) -> CollectionInfo:
        """A collection from outside, without opening it for search. Raises CollectionNotFound."""
        ...

    def verify(self, name: str | None = None) -> list[Verification]:
        """Compare all that a collection, or every one, holds with what was written. Nothing is changed.

        Raises CollectionNotFound, StoreUnavailable. What is damaged is a finding, not an error.
        """
        ...

    def delete(self, name: str) -> None:
        """Raises CollectionNotFound, StoreBusy."""
        ...

    def close(self) -> None: ...
