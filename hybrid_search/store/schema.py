"""What a point carries, and the checks that keep a bad one out of an engine.

The payload of a point is `{chunk_id, doc_id, number, start, end, text, title, origin, metadata}`. Where some of the
metadata is the chunk's own (its page), the payload has the names of that as `own`; where it is known on which line of a
file a chunk begins, that as `line`; where a chunk has a `context` it has that too. Chunk number 0 is the
document's head: it also carries `stamp` and `chunks`, and is written after all the others, so where a head is, the
document is complete. Of a document too long for one batch every chunk carries the `stamp`, and a head without one (an
empty string) is written first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

import numpy as np

from hybrid_search._util.arguments import shown
from hybrid_search.errors import InvalidArgument, StoreError
from hybrid_search.filters.syntax import parse_timestamp
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.types import Chunk, LegName, Point, SparseVector, Vector, is_empty, own_metadata

FieldType = Literal["keyword", "integer", "float", "bool", "datetime"]

MAX_NESTING = 32
"""Deeper payloads are taken by the embedded engine and then break every filtered query (at about 127)."""

MAX_INDEXED_FIELDS = 64
MAX_KEYWORD_LENGTH = 256
FIXED_FIELDS: dict[str, FieldType] = {"number": "integer", "doc_id": "keyword"}

_PLAIN_KEY = re.compile(r"[\w-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


class StoredPoint(NamedTuple):
    """A point as an engine gets it: its vectors by their names in the store, and its payload, also as JSON."""

    id: UUID
    vectors: Mapping[str, Vector]
    payload: Mapping[str, Any]
    json: bytes

    def size(self) -> int:
        """About how many bytes it has."""
        vectors = (8 * len(v) if isinstance(v, SparseVector) else v.nbytes for v in self.vectors.values())
        return len(self.json) + sum(vectors)


def check_name(name: str) -> str:
    """Give the collection's name back if every store can hold it.

    Raises:
        InvalidArgument: empty, over 120 characters, or anything but letters, digits, `.`, `_` and `-`.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or "__v" in name:
        raise InvalidArgument(
            f"Collection name {shown(name, 240)} cannot be used: take letters, digits, '.', '_' and '-', start with a "
            "letter or digit, at most 120 characters, without '__v' (reserved for versions)."
        )
    return name


def payload_of(chunk: Chunk, metadata: Mapping[str, Any], origin: str, head: tuple[str, int] | None) -> dict[str, Any]:
    """The payload of one chunk; `head` is (stamp, number of chunks) for chunk 0 and None for the others."""
    payload: dict[str, Any] = {
        "chunk_id": chunk.chunk_id,
        "doc_id": chunk.doc_id,
        "number": chunk.number,
        "start": chunk.start,
        "end": chunk.end,
        "text": chunk.text,
        "title": chunk.title,
        "origin": origin,
        "metadata": {**chunk.metadata, **metadata},
    }
    own = sorted(chunk.metadata.keys() - metadata.keys())
    if own:
        payload["own"] = own
    if chunk.line:
        payload["line"] = chunk.line
    if chunk.context:
        payload["context"] = chunk.context
    if head is not None:
        payload["stamp"], payload["chunks"] = head
    return payload


def chunk_of(payload: Mapping[str, Any]) -> Chunk:
    """The chunk that a payload was made of; the inverse of `payload_of`."""
    parts = {name: payload[name] for name in ("doc_id", "number", "text", "start", "end", "title")}
    more = {"line": payload.get("line", 0), "context": payload.get("context", "")}
    return Chunk(**parts, metadata=own_metadata(payload), **more)


def clean_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with JSON values only, string keys, and no lone surrogates.

    Raises:
        ValueError: a value JSON does not know (a set, a date, NaN), or nesting beyond `MAX_NESTING`.
    """
    try:
        text = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metadata is not JSON: {error}") from error
    clean: dict[str, Any] = json.loads(text.encode("utf-8", "replace"))
    if _nesting(clean) > MAX_NESTING:
        raise ValueError(f"metadata is nested deeper than {MAX_NESTING} levels")
    return clean


def field_types(metadata: Mapping[str, Any], prefix: str = "metadata") -> dict[str, FieldType]:
    """The payload index each metadata field wants, by its path in the payload.

    Lists count by their first value, or a float among integers; long texts want none.

    >>> field_types({"year": 1984, "genres": ["comedy"], "seen": True, "added": "2026-11-21"})
    {'metadata.year': 'integer', 'metadata.genres': 'keyword', 'metadata.seen': 'bool', 'metadata.added': 'datetime'}
    """
    chosen = ((path, _chosen(kinds)) for path, kinds in _kinds(metadata, prefix))
    return {path: kind for path, kind in chosen if kind is not None}


def field_path(key: str, prefix: str = "metadata") -> str | None:
    """The path of a metadata key in the payload; None for a key that the engine's paths cannot name.

    >>> field_path("year"), field_path("a.b"), field_path('say "hi"')
    ('metadata.year', 'metadata."a.b"', None)
    """
    if _PLAIN_KEY.fullmatch(key):
        return f"{prefix}.{key}"
    # Dots and brackets have a meaning in a path. Quotes make them part of the name, and cannot be escaped themselves.
    return None if '"' in key or "\\" in key else f'{prefix}."{key}"'


def new_fields(points: Iterable[Point], known: Mapping[str, FieldType]) -> dict[str, FieldType]:
    """The indexes that these points want and `known` lacks.

    Of a field that is text here and a number there the first index stays: whatever it lacks, the engine finds by
    looking into the payloads. Only an index of integers takes floats for what it has and then misses them, so such a
    field is wanted again.
    """
    wanted: dict[str, FieldType] = {}
    for point in points:
        for path, kinds in _kinds(point.payload["metadata"]):
            have, kind = wanted.get(path, known.get(path)), _chosen(kinds)
            room = len(known) + len(wanted) < MAX_INDEXED_FIELDS + len(FIXED_FIELDS)
            if have == "integer" and "float" in kinds:
                wanted[path] = "float"
            elif have is None and kind is not None and room:
                wanted[path] = kind
    return wanted


def payload_json(payload: Mapping[str, Any]) -> bytes:
    """Return a payload as JSON. Raises TypeError or ValueError where it is none."""
    return json.dumps(dict(payload), allow_nan=False, ensure_ascii=False).encode()


def check_points(points: Sequence[Point], manifest: Manifest) -> list[bytes]:
    """Return the payloads as JSON, or refuse a batch that an engine would take and then break on.

    Nothing of it has been written yet.

    Raises:
        StoreError: a vector of a leg the collection lacks, a wrong length, a value that is not finite, a zero vector,
            or a payload that is not JSON.
    """
    texts = []
    for point in points:
        for leg, vector in point.vectors.items():
            if leg not in manifest.legs:
                raise StoreError(
                    f"{point.chunk_id!r} has a {leg!r} vector, but the collection has {list(manifest.legs)}."
                )
            problem = vector_problem(vector, manifest.legs[leg].dim)
            if problem:
                raise StoreError(f"The {leg} vector of {point.chunk_id!r} {problem}.")
        if _nesting(point.payload) > MAX_NESTING + 1:  # the payload itself is the one
            raise StoreError(f"The payload of {point.chunk_id!r} is nested deeper than {MAX_NESTING} levels.")
        try:
            texts.append(payload_json(point.payload))
        except (TypeError, ValueError) as error:
            raise StoreError(f"The payload of {point.chunk_id!r} is not JSON: {error}.") from error
    return texts


def being_built(name: str) -> str:
    """Why the legs of a collection cannot be changed while its first building is unfinished."""
    return (
        f"Collection {name!r} is being built and has not been finished yet, so its legs cannot be changed. "
        "Run the same `hybrid-search index` command again to finish it."
    )


def check_vectors(vectors: Mapping[str, Vector], spec: LegSpec) -> None:
    """Refuse vectors for a new leg that an engine would take and then break on.

    Raises:
        StoreError: a wrong kind or length, a value that is not finite, or a zero vector.
    """
    for chunk_id, vector in vectors.items():
        problem = vector_problem(vector, spec.dim)
        if problem:
            raise StoreError(f"The vector of {chunk_id!r} from {spec.model} {problem}.")


def check_requests(requests: Sequence[tuple[LegName, Vector]], limit: int, manifest: Manifest) -> None:
    """Refuse a search that one engine would refuse and another answer with nothing.

    Raises:
        InvalidArgument: a leg the collection lacks, a vector that does not fit it, or a limit below 1.
    """
    if limit < 1:
        raise InvalidArgument(f"limit={limit} cannot be searched for; take 1 or more.")
    for leg, vector in requests:
        if leg not in manifest.legs:
            raise InvalidArgument(f"The collection has no {leg!r} leg; it has {list(manifest.legs)}.")
        problem = vector_problem(vector, manifest.legs[leg].dim)
        if problem:
            raise InvalidArgument(f"The query vector for the {leg} leg {problem}.")


def present_vectors(point: Point, manifest: Manifest) -> dict[str, Vector]:
    """The vectors worth storing, by their names in the store: an empty sparse vector is the same as none."""
    names = manifest.vectors()
    return {names[leg]: vector for leg, vector in point.vectors.items() if is_present(vector)}


def present_bytes(vector: Vector) -> int:
    """About how much of the disk a vector takes: a sparse one is kept in storage and in the index."""
    if isinstance(vector, SparseVector):
        return 16 * len(vector.indices)
    return int(vector.nbytes + vector.nbytes // 4)  # and its links in the graph


def vector_name(leg: LegName, manifest: Manifest) -> str:
    """The name in the store of a leg's vectors; InvalidArgument where the collection has no such leg."""
    if leg not in manifest.legs:
        raise InvalidArgument(f"The collection has no {leg!r} leg; it has {list(manifest.legs)}.")
    return manifest.vectors()[leg]


def vector_of(raw: Any) -> Vector:
    """A vector as either engine returns it: sparse with indices and values, or a list of numbers."""
    if hasattr(raw, "indices"):
        indices = np.asarray(raw.indices, dtype=np.int64)
        if (indices[1:] > indices[:-1]).all():  # as they were written
            return SparseVector(indices.astype(np.int32), np.asarray(raw.values, dtype=np.float32), signed=True)
        return SparseVector.of(indices, raw.values, signed=True)
    return np.asarray(raw, dtype=np.float32)


def legible(raw: Any) -> Vector:
    """What `vector_of` gives; for what is no vector, one of NaN."""
    try:
        return vector_of(raw)
    except ValueError:
        return np.full(1, np.nan, np.float32)


def is_present(vector: Vector) -> bool:
    return not is_empty(vector)


def vector_problem(vector: Vector, dim: int) -> str | None:
    """What is wrong with a vector, in words, or None. `dim` is 0 for sparse."""
    if isinstance(vector, SparseVector):
        return None if dim == 0 else "is sparse, but the leg is dense"
    if dim == 0:
        return "is dense, but the leg is sparse"
    if vector.shape != (dim,):
        return f"has shape {vector.shape}, expected ({dim},)"
    if not np.isfinite(vector).all():
        return "holds a value that is not finite"
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(vector.astype(np.float64)))
    if not 1e-12 < norm < 1e12:
        return f"has length {norm:g}, expected about 1"
    return None


def _kinds(metadata: Mapping[str, Any], prefix: str = "metadata") -> Iterator[tuple[str, list[FieldType | None]]]:
    """The kinds of each field's values, by its path in the payload."""
    for key, value in metadata.items():
        path = field_path(key, prefix)
        if path is None:
            continue
        if isinstance(value, dict):
            yield from _kinds(value, path)
        else:
            yield path, [_field_type(each) for each in (value if isinstance(value, list) else [value])]


def _chosen(kinds: Sequence[FieldType | None]) -> FieldType | None:
    """The index for values of these kinds: of integers and floats one of floats, else that of the first value."""
    first = kinds[0] if kinds else None
    return "float" if first == "integer" and "float" in kinds else first


def _field_type(value: Any) -> FieldType | None:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "integer" if -(2**63) <= value < 2**63 else "float"
    if isinstance(value, float):
        return "float"
    if isinstance(value, str) and 0 < len(value) <= MAX_KEYWORD_LENGTH:
        return "keyword" if parse_timestamp(value) is None else "datetime"
    return None


def _nesting(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for item in level
            if isinstance(item, (Mapping, list, tuple))
            for inner in (item.values() if isinstance(item, Mapping) else item)
        ]
    return depth - 1
