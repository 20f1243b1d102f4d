"""Reads an ONNX file without its weights: a graph of a few hundred kilobytes, and where in which file each weight lies.

A graph of half a gigabyte is edited without being read: its weights stay where they are and are memory-mapped. The file
is parsed as a protocol buffer. Source: protobuf.dev/programming-guides/encoding and onnx/onnx.proto.

`onnx.load` would be shorter, but it reads all weights twice over. Measured as the growth of the peak resident memory
(`ru_maxrss`) of a fresh process with onnx 1.23 imported: 3 MB here against 59 MB for the bundled model's graph (30 MB),
2 MB against 977 MB for a graph with one weight of 500 MB.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import ModelError

# A smaller weight stays in the graph: shapes and axes must be seen by whoever optimises it.
_LEAST_BYTES = 4096
# Field numbers of onnx.proto.
_MODEL_GRAPH, _GRAPH_INITIALIZER = 7, 5
_DIMS, _TYPE, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 8, 9, 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Element types of ONNX that numpy has; weights of other types stay in the graph.
TYPES = {1: "<f4", 2: "|u1", 3: "|i1", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}


class Weight(NamedTuple):
    """Where a weight lies.

    Args:
        file: path inside the model's folder; empty for the file of weights beside a derived graph.
        offset: position of the first byte.
        dtype: as numpy writes it, little-endian.
        shape: its dimensions.
    """

    file: str
    offset: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


Weights = Mapping[str, Weight]


def strip_weights(folder: Path, file: str) -> tuple[bytes, dict[str, Weight]]:
    """Return the graph of an ONNX file without its large weights, and name -> where each of those lies.

    The graph marks them as external data. Weights that are external already are neither changed nor listed.

    Raises:
        ModelError: the file is cut off, or not an ONNX graph.
        OSError: the file cannot be read.
    """
    with (folder / file).open("rb") as opened:
        try:
            data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as fault:
            raise ModelError(f"{folder / file} is empty.") from fault
    weights: dict[str, Weight] = {}
    with data, memoryview(data) as view:
        try:
            model = bytearray()
            for number, start, value, end in _fields(view, 0, len(view)):
                if number == _MODEL_GRAPH:
                    _write(model, number, _graph(view, value, end, file, weights))
                else:
                    model += view[start:end]
        except (IndexError, ValueError, UnicodeDecodeError) as fault:
            raise ModelError(f"{folder / file} is damaged or no ONNX graph: {fault}") from fault
    return bytes(model), weights


class WeightFiles:
    """Files of weights on disk, mapped into memory when one of their weights is needed."""

    def __init__(self, folder: Path, own: Path | bytes | None = None) -> None:
        """`own` is the file of weights that has no name, or its content."""
        self._folder, self._own = folder, own
        self._open: dict[str, mmap.mmap | bytes] = {}

    def array(self, weight: Weight) -> NDArray[Any]:
        """Return the weight, read-only, not copied.

        Raises:
            ModelError: the file ends inside the weight.
        """
        data = self._data(weight.file)
        if weight.offset + weight.size > len(data):
            raise ModelError(f"{weight.file or self._own!s} is cut off: {len(data)} bytes are left of it.")
        count = int(np.prod(weight.shape, dtype=np.int64))
        return np.frombuffer(data, weight.dtype, count, weight.offset).reshape(weight.shape)

    def release_memory(self) -> None:
        """Tell the system that pages of the files may leave memory; they are read again if needed."""
        for data in self._open.values():
            if isinstance(data, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                data.madvise(mmap.MADV_DONTNEED)

    def _data(self, file: str) -> mmap.mmap | bytes:
        if file not in self._open:
            if not file and isinstance(self._own, bytes):
                self._open[file] = self._own
            else:
                path = self._folder / file if file else self._own
                assert isinstance(path, Path)
                with path.open("rb") as opened:
                    self._open[file] = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        return self._open[file]


def _graph(view: memoryview, start: int, end: int, file: str, weights: dict[str, Weight]) -> bytes:
    graph = bytearray()
    for number, at, value, stop in _fields(view, start, end):
        lean = _lean(view, value, stop, file, weights) if number == _GRAPH_INITIALIZER else None
        if lean is None:
            graph += view[at:stop]
        else:
            _write(graph, number, lean)
    return bytes(graph)


def _lean(view: memoryview, start: int, end: int, file: str, weights: dict[str, Weight]) -> bytes | None:
    """Return a tensor without its data, which `weights` records; None if the tensor stays as it is."""
    if end - start < _LEAST_BYTES:
        return None
    tensor, shape, kind, name, offset = bytearray(), [], 0, "", -1
    for number, at, value, stop in _fields(view, start, end):
        if number == _RAW:
            offset, size = value, stop - value
            continue
        tensor += view[at:stop]
        if number == _DIMS:
            # One number, or all of them packed together.
            packed = view[at] & 7 == _BYTES
            shape += list(_varints(view, value, stop)) if packed else [_varint(view, value)[0]]
        elif number == _TYPE:
            kind = _varint(view, value)[0]
        elif number == _NAME:
            name = bytes(view[value:stop]).decode("utf-8")
    if offset < 0 or kind not in TYPES or not name or size < _LEAST_BYTES:
        return None
    weight = Weight(file, offset, TYPES[kind], tuple(shape))
    if weight.size != size:
        raise ValueError(f"{name} has {size} bytes for {weight.size}")
    weights[name] = weight
    for key, text in (("location", "elsewhere"), ("offset", "0"), ("length", str(size))):
        entry = bytearray()
        _write(entry, 1, key.encode())
        _write(entry, 2, text.encode())
        _write(tensor, _EXTERNAL, bytes(entry))
    tensor += bytes([_LOCATION << 3 | _VARINT, 1])
    return bytes(tensor)


def _fields(view: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (number, first byte, first byte of the value, byte behind it) of each field of a message."""
    at = start
    while at < end:
        tag, value = _varint(view, at)
        wire = tag & 7
        if wire == _BYTES:
            size, value = _varint(view, value)
            stop = value + size
        elif wire == _VARINT:
            stop = _varint(view, value)[1]
        elif wire in (_FIXED32, _FIXED64):
            stop = value + (4 if wire == _FIXED32 else 8)
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if stop > end:
            raise ValueError(f"it ends at byte {end}, within a field")
        yield tag >> 3, at, value, stop
        at = stop


def _varints(view: memoryview, start: int, end: int) -> Iterator[int]:
    while start < end:
        number, start = _varint(view, start)
        yield number


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = view[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError(f"no number at byte {at}")


def _write(out: bytearray, number: int, content: bytes) -> None:
    for value in (number << 3 | _BYTES, len(content)):
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
    out += content
