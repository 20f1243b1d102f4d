"""The payload of a point, and the checks that keep a malformed point out of an engine.

The payload of a point is `{chunk_id, doc_id, number, start, end, text, title, origin, metadata}`. Some keys are there
only where they apply: `own` names the metadata that is the chunk's and not its document's (its page), `line` is the
line of the file on which the chunk begins, and `context` is what models read with it. `terms` names the dimensions of
a sparse vector that came with the names of its terms: by the vector's name in the store, in the order of its indices.

Chunk number 0 is the document's head. It also carries `stamp`, which is the version hash, and `chunks`, which is their
number. It is written after all the others, so where a head is, the document is complete. In a document too long for one
batch every chunk carries the `stamp`, and a head with an empty one is written first.
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
"""Deepest nesting of a payload. The embedded engine takes more, and then fails every filtered query (at about 127)."""

MAX_INDEXED_FIELDS = 64
MAX_KEYWORD_LENGTH = 256
FIXED_FIELDS: dict[str, FieldType] = {"number": "integer", "doc_id": "keyword"}

_PLAIN_KEY = re.compile(r"[\w-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


class StoredPoint(NamedTuple):
    """A point as an engine gets it: vectors by their names in the store, and the payload, also as JSON."""

    id: UUID
    vectors: Mapping[str, Vector]
    payload: Mapping[str, Any]
    json: bytes

    def size(self) -> int:
        """Estimate its size in bytes."""
        vectors = (8 * len(v) if isinstance(v, SparseVector) else v.nbytes for v in self.vectors.values())
        return len(self.json) + sum(vectors)


def check_name(name: str) -> str:
    """Validate and return a collection's name, which every store must be able to hold.

    Raises:
        InvalidArgument: empty, over 120 characters, or anything but letters, digits, `.`, `_` and `-`.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or "__v" in name:
        raise InvalidArgument(
            f"Collection name {shown(name, 240)} cannot be used: take letters, digits, '.', '_' and '-', start with a "
            "letter or digit, at most 120 characters, without '__v' (reserved for versions)."
        )
    return name


def payload_of(
    chunk: Chunk,
    metadata: Mapping[str, Any],
    origin: str,
    head: tuple[str, int] | None,
    terms: Mapping[LegName, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return the payload of one chunk.

    Args:
        chunk: the chunk.
        metadata: its document's.
        origin: where the document was read.
        head: (version hash, number of chunks) for chunk 0, None for the others.
        terms: the names of its sparse vectors' dimensions, by the vectors' names in the store; None for none.
    """
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
    if terms:
        payload["terms"] = {name: list(some) for name, some in terms.items()}
    if head is not None:
        payload["stamp"], payload["chunks"] = head
    return payload


def chunk_of(payload: Mapping[str, Any]) -> Chunk:
    """Rebuild the chunk from its payload; the inverse of `payload_of`."""
    parts = {name: payload[name] for name in ("doc_id", "number", "text", "start", "end", "title")}
    more = {"line": payload.get("line", 0), "context": payload.get("context", "")}
    return Chunk(**parts, metadata=own_metadata(payload), **more)


def clean_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy with JSON values only, string keys, and no lone surrogates.

    Raises:
        ValueError: a value that JSON does not know (a set, a date, NaN), or nesting beyond `MAX_NESTING`.
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
    """Choose the payload index for each metadata field, by its path in the payload.

    A list counts as its first value, or as a float if one follows an integer. Long texts get no index.

    >>> field_types({"year": 1984, "genres": ["comedy"], "seen": True, "added": "2026-11-21"})
    {'metadata.year': 'integer', 'metadata.genres': 'keyword', 'metadata.seen': 'bool', 'metadata.added': 'datetime'}
    """
    chosen = ((path, _index_kind(kinds)) for path, kinds in _kinds(metadata, prefix))
    return {path: kind for path, kind in chosen if kind is not None}


def field_path(key: str, prefix: str = "metadata") -> str | None:
    """Return the path of a metadata key in the payload; None for a key that the engine's paths cannot name.

    >>> field_path("year"), field_path("a.b"), field_path('say "hi"')
    ('metadata.year', 'metadata."a.b"', None)
    """
    if _PLAIN_KEY.fullmatch(key):
        return f"{prefix}.{key}"
    # Dots and brackets have a meaning in a path. Quotes make them part of the name, and cannot be escaped themselves.
    return None if '"' in key or "\\" in key else f'{prefix}."{key}"'


def new_fields(points: Iterable[Point], known: Mapping[str, FieldType]) -> dict[str, FieldType]:
    """Return the indexes that these points need and `known` lacks.

    Where a field is text in one point and a number in another, the first index stays: what it lacks, the engine finds
    by reading payloads. Only an integer index claims floats and then misses them, so such a field gets a new index.
    """
    wanted: dict[str, FieldType] = {}
    for point in points:
        for path, kinds in _kinds(point.payload["metadata"]):
            have, kind = wanted.get(path, known.get(path)), _index_kind(kinds)
            room = len(known) + len(wanted) < MAX_INDEXED_FIELDS + len(FIXED_FIELDS)
            if have == "integer" and "float" in kinds:
                wanted[path] = "float"
            elif have is None and kind is not None and room:
                wanted[path] = kind
    return wanted


def payload_json(payload: Mapping[str, Any]) -> bytes:
    """Return a payload as JSON. Raises TypeError or ValueError where it cannot be."""
    return json.dumps(dict(payload), allow_nan=False, ensure_ascii=False).encode()


def check_points(points: Sequence[Point], manifest: Manifest) -> list[bytes]:
    """Return the payloads as JSON; refuse a batch that an engine would accept and then break on.

    Raises before anything is written.

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


def unfinished_message(name: str) -> str:
    """Return the message why the legs of a collection cannot be changed before its first build is complete."""
    return (
        f"Collection {name!r} is being built and has not been finished yet, so its legs cannot be changed. "
        "Run the same `hybrid-search index` command again to finish it."
    )


def check_vectors(vectors: Mapping[str, Vector], spec: LegSpec) -> None:
    """Refuse vectors for a new leg that an engine would accept and then break on.

    Raises:
        StoreError: a wrong kind or length, a value that is not finite, or a zero vector.
    """
    for chunk_id, vector in vectors.items():
        problem = vector_problem(vector, spec.dim)
        if problem:
            raise StoreError(f"The vector of {chunk_id!r} from {spec.model} {problem}.")


def check_requests(requests: Sequence[tuple[LegName, Vector]], limit: int, manifest: Manifest) -> None:
    """Refuse a search that one engine would refuse and the other answer with nothing.

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
    """Return the vectors to store, by their names in the store. An empty sparse vector is not stored."""
    names = manifest.vectors()
    return {names[leg]: vector for leg, vector in point.vectors.items() if is_present(vector)}


def present_bytes(vector: Vector) -> int:
    """Estimate how many bytes of disk a vector takes. A sparse one is stored twice: in storage and in the index."""
    if isinstance(vector, SparseVector):
        return 16 * len(vector.indices)
    return int(vector.nbytes + vector.nbytes // 4)  # and its links in the graph


def vector_name(leg: LegName, manifest: Manifest) -> str:
    """Return the name in the store of a leg's vectors. Raises InvalidArgument where the collection has no such leg."""
    if leg not in manifest.legs:
        raise InvalidArgument(f"The collection has no {leg!r} leg; it has {list(manifest.legs)}.")
    return manifest.vectors()[leg]


def vector_of(raw: Any) -> Vector:
    """Convert a vector from either engine: one with indices and values, or a list of numbers."""
    if hasattr(raw, "indices"):
        indices = np.asarray(raw.indices, dtype=np.int64)
        if (indices[1:] > indices[:-1]).all():  # as they were written
            return SparseVector(indices.astype(np.int32), np.asarray(raw.values, dtype=np.float32), signed=True)
        return SparseVector.of(indices, raw.values, signed=True)
    return np.asarray(raw, dtype=np.float32)


def vector_or_nan(raw: Any) -> Vector:
    """Convert as `vector_of` does; return a vector of one NaN for anything that is no vector."""
    try:
        return vector_of(raw)
    except ValueError:
        return np.full(1, np.nan, np.float32)


def is_present(vector: Vector) -> bool:
    return not is_empty(vector)


def vector_problem(vector: Vector, dim: int) -> str | None:
    """Return what is wrong with a vector, in words; None for nothing. `dim` is 0 for sparse."""
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
    """Yield (path in the payload, kinds of its values) for each field."""
    for key, value in metadata.items():
        path = field_path(key, prefix)
        if path is None:
            continue
        if isinstance(value, dict):
            yield from _kinds(value, path)
        else:
            yield path, [_field_type(each) for each in (value if isinstance(value, list) else [value])]


def _index_kind(kinds: Sequence[FieldType | None]) -> FieldType | None:
    """Return the index for values of these kinds: a float one for integers and floats, else that of the first value."""
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
