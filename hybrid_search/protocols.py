"""The protocols that components implement. This file and `types.py` are the design.

Rules of every protocol: a batch in gives a batch of the same length and order out; constructors are cheap, and weights
load on first use or by `warm_up()`; nothing prints; nothing changes its arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util.json_objects import CollectionDict
from hybrid_search.filters import Condition
from hybrid_search.manifest import Foreign, LegSpec, Manifest
from hybrid_search.types import DenseVector, LegName, ModelCard, Moved, Point, SparseVector, Vector


class Encoder(Protocol):
    """What all encoders have in common."""

    @property
    def card(self) -> ModelCard: ...

    def fingerprint(self) -> str:
        """Return a hash over the model's files and everything in the card that changes its output."""
        ...

    def warm_up(self) -> None:
        """Load what a query needs now. Raises ModelError if that fails."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return for each text its tokens before truncation, special tokens included; 0 for a model without a limit."""
        ...


class Reading(NamedTuple):
    """How much of a text a model knows.

    Args:
        tokens: tokens that are more than punctuation.
        unknown: those among them that stand for nothing the model knows.
    """

    tokens: int
    unknown: int

    @property
    def nothing(self) -> bool:
        """Whether the model knows no word of the text."""
        return self.unknown == self.tokens

    @property
    def little(self) -> bool:
        """Whether the model knows less than half of the text."""
        return self.unknown * 2 > self.tokens or not self.tokens


@runtime_checkable
class KnowsWords(Protocol):
    """An encoder that can tell which words its vocabulary lacks. Encoders without it count as knowing everything."""

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """Return how much of each text the model knows."""
        ...

    def reading_of_query(self, text: str) -> tuple[Reading, tuple[str, ...]]:
        """Return how much of a query the model knows, and the parts that it does not know, as written."""
        ...


@runtime_checkable
class KnowsTerms(Protocol):
    """A sparse encoder that can tell the dimension of a term: the inverse of its `terms`."""

    def dimensions(self, terms: Sequence[str]) -> list[int | None]:
        """Return the dimension of each term, as its vocabulary writes it; None for one that is no term of the model."""
        ...


@runtime_checkable
class SparseEncoder(Encoder, Protocol):
    """Encodes texts to sparse vectors."""

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]: ...

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]: ...

    def terms(self, indices: Sequence[int]) -> list[str]:
        """Return the vocabulary entry of each dimension; `#<index>` where dimensions are hashes."""
        ...


@runtime_checkable
class DenseEncoder(Encoder, Protocol):
    """Encodes texts to dense vectors of unit length."""

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors, shape (n, dim), float32."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors, shape (n, dim), float32."""
        ...


@runtime_checkable
class HybridEncoder(Encoder, Protocol):
    """Encodes texts to both vectors in one forward pass, the dense one of unit length."""

    def encode_documents(self, texts: Sequence[str]) -> list[tuple[SparseVector, DenseVector]]: ...

    def encode_queries(self, texts: Sequence[str]) -> list[tuple[SparseVector, DenseVector]]: ...

    def terms(self, indices: Sequence[int]) -> list[str]:
        """Return the vocabulary entry of each dimension of the sparse vector."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Scores texts against a query. It does not sort, rank or break ties."""

    @property
    def card(self) -> ModelCard: ...

    def warm_up(self) -> None:
        """Load what scoring needs now. Raises ModelError if that fails."""
        ...

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the scores, shape (n,), float32, higher is better."""
        ...


HEAD_FIELDS = ["doc_id", "stamp", "chunks", "origin"]
"""Payload fields of a document's first chunk that make its `DocumentHead`, and its id."""


class DocumentHead(NamedTuple):
    """What the store records about a document.

    Args:
        version_hash: hash of its content and of the manifest.
        chunks: their number.
        origin: where it was read.
    """

    version_hash: str
    chunks: int
    origin: str = ""

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> DocumentHead:
        """Read it from the payload of a document's first chunk."""
        return cls(payload["stamp"], payload["chunks"], payload.get("origin", ""))


class CollectionInfo(NamedTuple):
    """A summary of a collection. `bytes_on_disk` is None if the store does not know."""

    name: str
    documents: int
    points: int
    bytes_on_disk: int | None
    manifest: Manifest

    def to_dict(self) -> CollectionDict:
        """Return the object that `collections list --format json` prints for a collection."""
        return cast("CollectionDict", {**self.counts(), "profile": self.manifest.profile})

    def counts(self) -> dict[str, Any]:
        """Return what it holds, without what it was built with."""
        return {
            "name": self.name,
            "documents": self.documents,
            "chunks": self.points,
            "bytes_on_disk": self.bytes_on_disk,
        }


class Finding(NamedTuple):
    """The result of verifying one part of a collection.

    Args:
        part: such as `published files`.
        state: `whole`, `damaged`, or `unchecked` if there is nothing to compare it with.
        text: what was compared, or what is wrong.
    """

    part: str
    state: Literal["whole", "damaged", "unchecked"]
    text: str


class Verification(NamedTuple):
    """The findings on a collection, part by part."""

    collection: str
    findings: list[Finding]

    @property
    def whole(self) -> bool:
        return all(finding.state != "damaged" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `collections verify --format json` prints for a collection."""
        findings = [finding._asdict() for finding in self.findings]
        return {"collection": self.collection, "whole": self.whole, "findings": findings}


class CollectionReader(Protocol):
    """An open collection, for searching. It works in many threads, but not across a fork."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def max_concurrency(self) -> int:
        """Number of searches worth running in parallel beside an event loop."""

    def is_stale(self) -> bool:
        """Say whether a reader that is opened now would read something else. A reader of live data returns False.

        It is called before every search, so it takes microseconds; where checking takes longer, it checks at intervals.
        """

    def retrieve(
        self, requests: Sequence[tuple[LegName, Vector]], limit: int, where: Condition | None = None
    ) -> list[list[tuple[str, float]]]:
        """Return for each (leg, query vector) up to `limit` (chunk_id, score), best first, in one batched request.

        With `where`, only chunks for which `matcher.matches` holds. Equal scores come in the engine's order; ranks and
        ties are settled later, in `ranking/`. Raises FilterError if `where` names a field that no document has.
        """

    def fields(self) -> Mapping[str, str]:
        """Return the fields that a filter may name, with their types.

        These are the metadata fields, as written in a filter, and the documents' own. Fields without an index are found
        in a sample of the chunks, so a rare one may be missing.
        """

    def doc_ids(self) -> Iterator[str]:
        """Yield the id of every document, each time in the same order."""

    def payloads(self, chunk_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the payload of each chunk that exists, by chunk_id."""

    def vectors(self, leg: LegName, chunk_ids: Sequence[str]) -> dict[str, Vector]:
        """Return the leg's vector of each chunk that has one, by chunk_id. Raises InvalidArgument for unknown legs."""

    def inverse_frequencies(self, leg: LegName, dimensions: Sequence[int]) -> dict[int, float]:
        """Return what a leg's dimensions of a query are multiplied with, by dimension; 0 for one that no chunk has."""

    def info(self) -> CollectionInfo: ...

    def close(self) -> None: ...


class CollectionWriter(Protocol):
    """An open collection, for indexing. Only one writer of a collection may be open."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def resumed(self) -> bool:
        """Whether it continues a build that an earlier job began and did not publish."""
        ...

    def heads(self, doc_ids: Sequence[str]) -> dict[str, DocumentHead]:
        """Return the recorded head of each document that is complete."""
        ...

    def version_hashes(self, chunk_ids: Sequence[str]) -> dict[str, str]:
        """Return the version hash of each chunk that has one, by chunk_id."""
        ...

    def doc_ids(self) -> Iterator[str]:
        """Yield the id of every document that is complete."""
        ...

    def upsert(self, points: Sequence[Point]) -> None:
        """Write all points or raise. Checks every vector before writing the first."""
        ...

    def delete(self, chunk_ids: Iterable[str]) -> None: ...

    def set_origins(self, moved: Sequence[Moved]) -> None:
        """Set the origins of existing documents. Changes nothing else."""
        ...

    def flush(self) -> None:
        """Make all writes survive a power loss. Readers do not see them yet."""
        ...

    def publish(self, manifest: Manifest | None = None) -> None:
        """Make all writes durable and visible to readers, under a manifest with other legs if one is given.

        Whatever happens, readers see either all of the old state or all of the new one.
        """
        ...

    def iter_payloads(self, without: str = "") -> Iterator[dict[str, Any]]:
        """Yield the payload of every chunk, or of every chunk without this vector, which may be set while iterating."""
        ...

    def add_vector(self, spec: LegSpec) -> None:
        """Add a vector field, named `spec.vector`, to every chunk. An existing field stays, with its vectors.

        Drops only what an earlier attempt with another model left. Readers see nothing of it before
        `publish(manifest)`. Raises StoreError if the collection is not the published one.
        """
        ...

    def set_vectors(self, spec: LegSpec, vectors: Mapping[str, Vector]) -> None:
        """Set vectors, by chunk_id, in the field that `add_vector` added. Checks all before writing the first."""
        ...

    def replace_manifest(self, manifest: Manifest) -> None:
        """Continue under a manifest with other legs over the existing vectors. Later readers see it, in one step.

        Raises StoreError if the collection is not the published one.
        """
        ...

    def drop_unused_vectors(self) -> None:
        """Drop vectors that no leg of the manifest uses."""
        ...

    def info(self) -> CollectionInfo: ...

    def close(self) -> None: ...


class Store(Protocol):
    """A place with collections: a folder, or a Qdrant server."""

    @property
    def location(self) -> str: ...

    def names(self) -> list[str]:
        """List the collections that can be read, sorted."""
        ...

    def reader(self, name: str) -> CollectionReader:
        """Open a collection for searching. Raises CollectionNotFound, CollectionDamaged, StoreUnavailable."""
        ...

    def manifest(self, name: str) -> Manifest | None:
        """Return the manifest that a writer would resume from: the published one, else that of an unfinished build.

        Returns None where there is neither. An unfinished replacement of a published collection does not count.
        """
        ...

    def writer(self, name: str, manifest: Manifest, *, replace: bool = False, wait_s: float = 0.0) -> CollectionWriter:
        """Open a collection for writing; create it if it does not exist. `replace` builds a new one beside the old one.

        An earlier unfinished replacement is resumed if it has the same manifest, and dropped otherwise.

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
        """Describe a collection without opening it for search. Raises CollectionNotFound."""
        ...

    def verify(self, name: str | None = None) -> list[Verification]:
        """Compare a collection, or every one, with what was written. Changes nothing.

        Raises CollectionNotFound, StoreUnavailable. Damage is a finding, not an error.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete a collection. Raises CollectionNotFound, StoreBusy."""
        ...

    def close(self) -> None: ...
