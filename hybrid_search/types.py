"""The values that both roads carry. Frozen, checked when made, standard library and numpy only.

index:   sources -> Document -> Chunk -> encodings -> Point -> store
search:  Query -> encodings -> Ranking per leg -> Ranking fused -> Results
"""

from __future__ import annotations

import hashlib
import json
import uuid
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util.model_card import ModelCard as ModelCard
from hybrid_search._util.model_card import Published as Published

LegName = str
"""A leg's name: a lowercase letter, then lowercase letters, digits, `_` and `-`. Its kind is in its `LegSpec`."""

LEGS: tuple[LegName, ...] = ("sparse", "dense")
"""The legs for which every profile has a model."""

Mode = str
"""`hybrid` for all fused legs of a collection, a leg's name for that leg alone, `a+b` for these legs fused."""

Kind = Literal["sparse", "dense"]
"""What a leg's vectors are."""

POINT_NAMESPACE = uuid.UUID("6f1d9a0e-2c54-5d0b-9a53-0d6b8f1c7e21")

DenseVector = NDArray[np.float32]
"""One dense encoding, shape (dim,)."""


class Place(NamedTuple):
    """Metadata of a part of a document's text, from `start` to the next place: its page, the headings above it."""

    start: int
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """A text with an id.

    Args:
        doc_id: any non-empty string, opaque.
        text: what is chunked, encoded and shown.
        title: is repeated in front of every chunk when it is encoded.
        metadata: JSON values; can be filtered by, and is returned with every hit.
        origin: where it was read, `path` or `path:line`; empty for a document made in memory.
        markup: `markdown` lets the chunker cut at headings and blocks, `code:python` at the syntax of Python, and so
            on; any other value means plain text.
        places: parts of the text with metadata of their own, in order; a chunk gets that of the place it begins in.
        line: line of the file at `origin`, from 1, on which the text begins; 0 if its lines are not the file's.
    """

    doc_id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    markup: str = "plain"
    places: tuple[Place, ...] = ()
    line: int = 0
    _content_hash: str = field(default="", init=False, repr=False, compare=False)

    def metadata_at(self, offset: int) -> Mapping[str, Any]:
        """Return the metadata of the place that contains an offset of the text; empty before the first place."""
        found = bisect_right(self.places, offset, key=lambda place: place.start)
        return self.places[found - 1].metadata if found else {}

    def content_hash(self) -> str:
        """Return sixteen hex bytes over title, text, metadata and places, computed once. The origin does not count."""
        if not self._content_hash:
            object.__setattr__(self, "_content_hash", self._hashed())
        return self._content_hash

    def _hashed(self) -> str:
        parts: list[Any] = [self.title, self.text, dict(self.metadata)]
        if self.places:  # without any the hash is that of earlier versions
            parts.append([[place.start, dict(place.metadata)] for place in self.places])
        content = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Failure(NamedTuple):
    """A document that could not be indexed: where it is (`path` or `path:line`) and why."""

    origin: str
    reason: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.reason}"


class BrokeOff(Failure):
    """A source that ended early, so that the number of missing documents is unknown."""

    __slots__ = ()


class Moved(NamedTuple):
    """An unchanged document, with its number of chunks, that now has another origin."""

    doc_id: str
    chunks: int
    origin: str

    def chunk_ids(self) -> list[str]:
        return [chunk_id_of(self.doc_id, number) for number in range(self.chunks)]


@dataclass(frozen=True, slots=True)
class PassedOver:
    """What a reader skipped without failing: where, of which kind (`images`, `files .png`), and how many."""

    origin: str
    kind: str
    count: int = 1


class Guessed(NamedTuple):
    """A file whose encoding is not declared, and the encoding that was guessed from its bytes."""

    origin: str
    encoding: str


SourceItem = Document | Failure | PassedOver | Guessed
"""What a source yields, in its order."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of a document: `document.text[start:end] == text`. Numbers count from 0 inside the document.

    `metadata` is that of the place where it begins; the document's own value of the same name takes precedence. `line`
    is the line of the file, from 1, of its first character; 0 if unknown. `context` is text from elsewhere in the
    document that says what this one is about: the header of its table, the path and the names around a piece of code.
    `tokens` are those of `searchable`; 0 if nobody has counted them.
    """

    doc_id: str
    number: int
    text: str
    start: int
    end: int
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    line: int = 0
    context: str = ""
    tokens: int = field(default=0, repr=False, compare=False)

    @property
    def chunk_id(self) -> str:
        return chunk_id_of(self.doc_id, self.number)

    @property
    def searchable(self) -> str:
        """What encoders read: the document's title, the chunk's context and its text, a line each."""
        return "\n".join(filter(None, (self.title, self.context, self.text)))


def chunk_id_of(doc_id: str, number: int) -> str:
    """Return `doc_id#number`.

    >>> chunk_id_of("spinal-tap", 0)
    'spinal-tap#0'
    """
    return f"{doc_id}#{number}"


def doc_id_of(chunk_id: str) -> str:
    """Return the document's id from a chunk's; the inverse of `chunk_id_of`.

    >>> doc_id_of("notes#2#7")
    'notes#2'
    """
    return chunk_id.rpartition("#")[0]


def own_metadata(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a payload's metadata that is the chunk's own, not its document's.

    >>> own_metadata({"metadata": {"year": 1984, "page": 3}, "own": ["page"]})
    {'page': 3}
    """
    return {name: payload["metadata"][name] for name in payload.get("own", ())}


def point_id_of(chunk_id: str) -> uuid.UUID:
    """Return the point's id, a function of the chunk's id: indexing twice has the same result as once."""
    return uuid.uuid5(POINT_NAMESPACE, chunk_id.encode("utf-8", "surrogatepass").hex())


@dataclass(frozen=True, slots=True, eq=False)
class SparseVector:
    """One sparse encoding.

    Args:
        indices: shape (active dims,), int32, strictly increasing, >= 0.
        values: shape (active dims,), float32, finite and > 0.
        signed: values may also be negative, as miniCOIL's are; still never 0.

    Raises:
        ValueError: anything else. `SparseVector.of` sorts, merges and drops zeros first.
    """

    indices: NDArray[np.int32]
    values: NDArray[np.float32]
    signed: bool = False

    def __post_init__(self) -> None:
        indices = np.ascontiguousarray(self.indices, dtype=np.int32)
        values = np.ascontiguousarray(self.values, dtype=np.float32)
        if indices.ndim != 1 or indices.shape != values.shape:
            raise ValueError(f"indices {indices.shape} and values {values.shape} must be two arrays of one length")
        if indices.size:
            if indices[0] < 0 or (np.diff(indices) <= 0).any():
                raise ValueError("indices must be >= 0 and strictly increasing")
            wrong = values == 0 if self.signed else values <= 0
            if not np.isfinite(values).all() or wrong.any():
                raise ValueError(f"values must be finite and {'not 0' if self.signed else '> 0'}")
        indices.flags.writeable = values.flags.writeable = False
        object.__setattr__(self, "indices", indices)
        object.__setattr__(self, "values", values)

    @classmethod
    def of(cls, indices: Any, values: Any, *, signed: bool = False) -> SparseVector:
        """Make one from raw model output: sort, drop weights <= 0, keep the largest of repeated indices.

        With `signed`, only zeros are dropped.

        Raises:
            ValueError: lengths differ, an index is negative or over 2**31 - 1, or a weight is not finite.
        """
        raw_indices, raw_values = np.asarray(indices, np.int64).ravel(), np.asarray(values, np.float32).ravel()
        if raw_indices.shape != raw_values.shape:
            raise ValueError(f"{raw_indices.size} indices but {raw_values.size} values")
        if not np.isfinite(raw_values).all():
            raise ValueError("values must be finite")
        if raw_indices.size and (raw_indices.min() < 0 or raw_indices.max() > np.iinfo(np.int32).max):
            raise ValueError("indices must lie in 0 .. 2**31 - 1")
        keep = raw_values != 0 if signed else raw_values > 0
        raw_indices, raw_values = raw_indices[keep], raw_values[keep]
        order = np.lexsort((-raw_values, raw_indices))
        raw_indices, raw_values = raw_indices[order], raw_values[order]
        first = np.ones(raw_indices.size, dtype=bool)
        first[1:] = np.diff(raw_indices) > 0
        return cls(raw_indices[first].astype(np.int32), raw_values[first], signed)

    def __len__(self) -> int:
        return int(self.indices.size)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SparseVector)
            and np.array_equal(self.indices, other.indices)
            and np.array_equal(self.values, other.values)
        )

    def dot(self, other: SparseVector) -> float:
        """Return the dot product: the sum over shared indices of the products of the weights."""
        _, mine, theirs = np.intersect1d(self.indices, other.indices, assume_unique=True, return_indices=True)
        return float(self.values[mine].astype(np.float64) @ other.values[theirs].astype(np.float64))


Vector = SparseVector | DenseVector


def is_empty(vector: Vector) -> bool:
    """Say whether a vector is sparse and has no terms, so that it finds nothing."""
    return isinstance(vector, SparseVector) and len(vector) == 0


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One Qdrant record: the chunk's vectors by leg, and the payload."""

    chunk_id: str
    vectors: Mapping[LegName, Vector]
    payload: Mapping[str, Any]

    @property
    def point_id(self) -> uuid.UUID:
        return point_id_of(self.chunk_id)


@dataclass(frozen=True, slots=True)
class Query:
    """A text to search for, with the id that connects it to runs and qrels."""

    query_id: str
    text: str


class LegHit(NamedTuple):
    """A chunk's rank in a leg, from 1, and the leg's own score."""

    leg: str
    rank: int
    score: float


class Hit(NamedTuple):
    """One chunk in a ranking, with its rank and score in every leg that found it."""

    chunk_id: str
    rank: int
    score: float
    legs: Mapping[str, LegHit] = MappingProxyType({})

    @property
    def doc_id(self) -> str:
        return doc_id_of(self.chunk_id)


@dataclass(frozen=True, slots=True)
class Ranking:
    """An ordered list of chunks: ranks 1..n, scores never increasing, ids unique; ValueError if they are not."""

    hits: tuple[Hit, ...] = ()

    def __post_init__(self) -> None:
        last = float("inf")
        for rank, hit in enumerate(self.hits, 1):
            if hit.rank != rank:
                raise ValueError(f"rank {hit.rank} stands at place {rank}")
            if not hit.score <= last:
                raise ValueError(f"score {hit.score} at rank {rank} is above {last} before it")
            last = hit.score
        if len({hit.chunk_id for hit in self.hits}) != len(self.hits):
            raise ValueError("a chunk_id stands twice")

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __getitem__(self, place: int) -> Hit:
        return self.hits[place]


def in_order(legs: Iterable[LegName]) -> tuple[LegName, ...]:
    """Sort legs into the order in which they are fused and shown: `LEGS` first, then the others by name.

    >>> in_order({"dense", "bm25", "sparse"})
    ('sparse', 'dense', 'bm25')
    """
    return tuple(sorted(legs, key=lambda leg: (LEGS.index(leg) if leg in LEGS else len(LEGS), leg)))
