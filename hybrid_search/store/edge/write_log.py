"""A writer's writes as values, and the write-ahead log of them, from which a shard is recovered.

The engine's own log lies inside its shard. What is left of a shard after a kill, a full disk or damage cannot be told
from what was written. So the engine's log is off, and this one is kept beside the shard:

    a line of JSON       {"format": 1, "after": TOKEN}: the state of the points that the writes apply to
    then for each write  its sizes with a checksum of all and one of these numbers; itself in JSON; its arrays

A write is in the log before the engine gets it. A log that is truncated anywhere, or damaged, still yields the writes
before that place.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import numpy as np
import xxhash
from numpy.typing import NDArray

from hybrid_search.store.edge.disk import cannot_write
from hybrid_search.store.edge.files import write_text
from hybrid_search.store.schema import StoredPoint
from hybrid_search.types import SparseVector, Vector

_SIZES = struct.Struct("<IIQQ")
_HEAD = _SIZES.size + 8
_FORMAT = 1

Array = NDArray[Any]


class Writable(Protocol):
    """The operations of a shard that writes apply."""

    def upsert(self, points: Sequence[StoredPoint]) -> None: ...
    def set_vectors(self, name: str, vectors: Mapping[UUID, Vector]) -> None: ...
    def set_payload(self, ids: Sequence[UUID], payload: Mapping[str, Any]) -> None: ...
    def delete(self, ids: Sequence[UUID]) -> None: ...
    def index_field(self, path: str, kind: str) -> None: ...
    def add_vector(self, name: str, dim: int, needs_idf: bool) -> None: ...
    def drop_vector(self, name: str) -> None: ...


class Upsert(NamedTuple):
    """Points to insert, or to replace as a whole."""

    points: Sequence[StoredPoint]

    def apply(self, shard: Writable) -> None:
        shard.upsert(self.points)

    def ids(self) -> list[UUID]:
        return [point.id for point in self.points]


class SetVectors(NamedTuple):
    """One vector more for existing points."""

    name: str
    vectors: Mapping[UUID, Vector]

    def apply(self, shard: Writable) -> None:
        shard.set_vectors(self.name, self.vectors)

    def ids(self) -> list[UUID]:
        return list(self.vectors)


class SetPayload(NamedTuple):
    """Keys to overwrite in the payloads of existing points."""

    points: Sequence[UUID]
    payload: Mapping[str, Any]

    def apply(self, shard: Writable) -> None:
        shard.set_payload(self.points, self.payload)

    def ids(self) -> list[UUID]:
        return list(self.points)


class Delete(NamedTuple):
    """Points to delete."""

    points: Sequence[UUID]

    def apply(self, shard: Writable) -> None:
        shard.delete(self.points)

    def ids(self) -> list[UUID]:
        return list(self.points)


class IndexField(NamedTuple):
    """An index on a payload field."""

    path: str
    kind: str

    def apply(self, shard: Writable) -> None:
        shard.index_field(self.path, self.kind)

    def ids(self) -> list[UUID]:
        return []


class AddVector(NamedTuple):
    """A vector field to add; a dimension of 0 makes it sparse."""

    name: str
    dim: int
    needs_idf: bool

    def apply(self, shard: Writable) -> None:
        shard.add_vector(self.name, self.dim, self.needs_idf)

    def ids(self) -> list[UUID]:
        return []


class DropVector(NamedTuple):
    """A vector field to drop."""

    name: str

    def apply(self, shard: Writable) -> None:
        shard.drop_vector(self.name)

    def ids(self) -> list[UUID]:
        return []


Write = Upsert | SetVectors | SetPayload | Delete | IndexField | AddVector | DropVector


class LogScan(NamedTuple):
    """What a scan of a log found.

    Args:
        after: the token of the state that the writes apply to; empty where the log's first line is unreadable.
        ends: the offset behind each whole write; the first number is where the first write begins.
        points: number of points in those writes.
        damaged: whether more follows than an incomplete last write.
        cut_off: whether an incomplete last write follows.
    """

    after: str
    ends: list[int]
    points: int
    damaged: bool
    cut_off: bool = False


class WriteLog:
    """The log of one shard, for appending."""

    def __init__(self, file: Path, after: str, points: int) -> None:
        self.file, self.after, self.points = file, after, points
        self._handle = os.open(file, os.O_RDWR | getattr(os, "O_BINARY", 0))
        self._end = os.lseek(self._handle, 0, os.SEEK_END)

    @classmethod
    def begin(cls, file: Path, after: str) -> WriteLog:
        """Replace the log by an empty one, durably: after a power loss without it nothing could be published.

        Raises:
            StoreFull, StoreError: it cannot be written.
        """
        try:
            write_text(file, json.dumps({"format": _FORMAT, "after": after}) + "\n")
        except OSError as error:
            raise cannot_write(file.parent, error) from error
        return cls(file, after, 0)

    @classmethod
    def resume(cls, file: Path) -> WriteLog:
        """Open a log for appending behind its last whole write."""
        found = scan(file)
        os.truncate(file, found.ends[-1])
        return cls(file, found.after, found.points)

    def append(self, frame: bytes, points: int) -> None:
        """Append a write (see `encode_write`). If that fails, the log is as it was.

        Raises:
            StoreFull, StoreError: it cannot be written.
        """
        try:
            left = memoryview(frame)
            while left:
                left = left[os.write(self._handle, left) :]
        except BaseException as error:
            os.ftruncate(self._handle, os.lseek(self._handle, self._end, os.SEEK_SET))
            if isinstance(error, OSError):
                raise cannot_write(self.file.parent, error) from error
            raise
        self._end += len(frame)
        self.points += points

    def sync(self) -> None:
        """Make its content survive a power loss."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            raise cannot_write(self.file.parent, error) from error

    def close(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def __del__(self) -> None:
        self.close()


def encode_write(write: Write) -> bytes:
    """Encode a write for the log."""
    said, arrays = _split_write(write)
    shapes = [[array.dtype.str, array.shape] for array in arrays]
    text = json.dumps({"write": type(write).__name__, **said, "arrays": shapes}, ensure_ascii=False).encode()
    if isinstance(write, Upsert):  # the payloads are text already
        text = text[:-1] + b', "payloads": [' + b", ".join(point.json for point in write.points) + b"]}"
    body = [text, *(np.ascontiguousarray(array).tobytes() for array in arrays)]
    made = xxhash.xxh3_64()
    for part in body:
        made.update(part)
    points = 0 if isinstance(write, Delete) else len(write.ids())
    sizes = _SIZES.pack(len(text), points, sum(map(len, body[1:])), made.intdigest())
    return b"".join([sizes, xxhash.xxh3_64_digest(sizes), *body])


def scan(file: Path) -> LogScan:
    """Find the whole writes in a log, by their checksums."""
    with file.open("rb") as handle:
        after = _after(handle.readline())
        ends, points = [handle.tell()], 0
        while after:
            head = handle.read(_HEAD)
            if len(head) < _HEAD:
                return LogScan(after, ends, points, False, len(head) > 0)
            if xxhash.xxh3_64_digest(head[: _SIZES.size]) != head[_SIZES.size :]:
                return LogScan(after, ends, points, True)
            text, more, arrays, digest = _SIZES.unpack(head[: _SIZES.size])
            body = handle.read(text + arrays)
            if len(body) < text + arrays:
                return LogScan(after, ends, points, False, True)
            if xxhash.xxh3_64_intdigest(body) != digest:
                return LogScan(after, ends, points, True)
            ends.append(handle.tell())
            points += more
    return LogScan("", [0], 0, file.stat().st_size > 0)


def read_writes(file: Path, found: LogScan) -> Iterator[Write]:
    """Yield the writes of a log in order."""
    with file.open("rb") as handle:
        handle.seek(found.ends[0])
        for _ in found.ends[1:]:
            text, _, arrays, _ = _SIZES.unpack(handle.read(_HEAD)[: _SIZES.size])
            said = json.loads(handle.read(text))
            yield _build_write(said, memoryview(handle.read(arrays)))


def _after(line: bytes) -> str:
    try:
        head = json.loads(line)
        return str(head["after"]) if head["format"] == _FORMAT and line.endswith(b"\n") else ""
    except (ValueError, KeyError, TypeError):
        return ""


def _split_write(write: Write) -> tuple[dict[str, Any], list[Array]]:
    """Split a write into what is stored as JSON and its arrays."""
    if isinstance(write, Upsert):
        names = sorted({name for point in write.points for name in point.vectors})
        by_name = [[point.vectors.get(name) for point in write.points] for name in names]
        return {"ids": [point.id.hex for point in write.points], "vectors": names}, [
            array for vectors in by_name for array in _pack(vectors)
        ]
    if isinstance(write, SetVectors):
        ids = [point.hex for point in write.vectors]
        return {"name": write.name, "ids": ids}, _pack(list(write.vectors.values()))
    if isinstance(write, SetPayload):
        return {"ids": [point.hex for point in write.points], "payload": write.payload}, []
    if isinstance(write, Delete):
        return {"ids": [point.hex for point in write.points]}, []
    return write._asdict(), []


def _build_write(said: dict[str, Any], body: memoryview) -> Write:
    """Rebuild a write; the inverse of `_split_write`."""
    arrays = _arrays(said.pop("arrays"), body)
    kind = said.pop("write")
    if kind == "Upsert":
        vectors = {name: _unpack(arrays) for name in said["vectors"]}
        points = []
        for place, (text, payload) in enumerate(zip(said["ids"], said["payloads"], strict=True)):
            there = {name: v for name in vectors if (v := vectors[name][place]) is not None}
            points.append(StoredPoint(UUID(text), there, payload, b""))
        return Upsert(points)
    if kind == "SetVectors":
        found = zip((UUID(text) for text in said["ids"]), _unpack(arrays), strict=True)
        return SetVectors(said["name"], {point: vector for point, vector in found if vector is not None})
    if kind == "SetPayload":
        return SetPayload([UUID(text) for text in said["ids"]], said["payload"])
    if kind == "Delete":
        return Delete([UUID(text) for text in said["ids"]])
    others: dict[str, Any] = {"IndexField": IndexField, "AddVector": AddVector, "DropVector": DropVector}
    made: Write = others[kind](**said)
    return made


def _pack(vectors: Sequence[Vector | None]) -> list[Array]:
    """Pack vectors of one name into arrays: lengths (-1 for no vector), indices if they are sparse, values."""
    lengths = np.array([-1 if vector is None else len(vector) for vector in vectors], np.int64)
    there = [vector for vector in vectors if vector is not None]
    sparse = [vector for vector in there if isinstance(vector, SparseVector)]
    values = [vector.values if isinstance(vector, SparseVector) else vector for vector in there]
    return [lengths, _concatenate((v.indices for v in sparse), np.int32), _concatenate(values, np.float32)]


def _unpack(arrays: Iterator[Array]) -> list[Vector | None]:
    """Unpack vectors, consuming three arrays; the inverse of `_pack`."""
    lengths, indices, values = next(arrays), next(arrays), next(arrays)
    found: list[Vector | None] = []
    end = 0
    for length in lengths.tolist():
        start, end = end, end + max(length, 0)
        if length < 0:
            found.append(None)
        elif len(indices):
            found.append(SparseVector(indices[start:end], values[start:end], signed=True))
        else:
            found.append(values[start:end])
    return found


def _concatenate(arrays: Iterable[Array], kind: type) -> Array:
    some: list[Array] = [np.asarray(array, kind) for array in arrays]
    return np.concatenate(some) if some else np.empty(0, kind)


def _arrays(shapes: list[Any], body: memoryview) -> Iterator[Array]:
    place = 0
    for kind, shape in shapes:
        count = int(np.prod(shape))
        array = np.frombuffer(body, np.dtype(kind), count, place).reshape(shape)
        place += array.nbytes
        yield array
