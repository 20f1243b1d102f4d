"""Graphs derived from models' own, made once and kept: `CACHE/derived/<hash>/`.

A kept graph holds no large weight: those of the original stay in its files, new ones (eight bits) lie beside the graph.
The folder's name is a hash of the original's files, of what was wanted and of VERSION, so a changed original or a newer
derivation never meets an old graph; the graphs that earlier versions made of the same are removed when it is made.
Where the folder cannot be written the graph is made in memory each time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.files import file_hash, write_atomically
from hybrid_search.encoders.graphs.folding import Wanted
from hybrid_search.encoders.graphs.skeleton import TYPES, Maps, Weight, skeleton
from hybrid_search.errors import ModelError

VERSION = 1
"""Goes into the name of the folder: raise it, by one, whenever other graphs are made."""

_GRAPH, OWN, _INDEX = "graph.onnx", "weights.bin", "index.json"
_ALIGNED = 64

Array = NDArray[Any]


class Source(NamedTuple):
    """A model's own graph.

    Args:
        folder: of its files.
        file: the graph, relative to it; where `make` is given, what to call it.
        hashes: SHA-256 of the graph and of every file that holds weights of it, by name.
        make: writes the graph into a folder, for a model that has none of its own.
    """

    folder: Path
    file: str
    hashes: Mapping[str, str]
    make: Callable[[Path], None] | None = None


class Derived(NamedTuple):
    """A graph to run.

    Args:
        graph: the ONNX file, without its large weights.
        weights: these, by name; not read yet.
        maps: what gives them.
        inputs: the graph's inputs, with their ONNX element types.
        pooled: the rows were pooled here, and are the plain maximum or an unscaled sum.
        file: where the graph is kept; None where it is not.
    """

    graph: bytes
    weights: Mapping[str, Weight]
    maps: Maps
    inputs: Mapping[str, int]
    pooled: bool
    file: Path | None = None

    def arrays(self) -> dict[str, Array]:
        return {name: self.maps.array(weight) for name, weight in self.weights.items()}


class Made(NamedTuple):
    """A derived graph that was just made: new weights are values, old ones places."""

    graph: bytes
    old: Mapping[str, Weight]
    new: Mapping[str, Array]
    inputs: Mapping[str, int]
    pooled: bool


def derived(source: Source, wanted: Wanted, precision: str, cache_dir: Path) -> Derived:
    """The graph that gives what is wanted: the kept one, or a new one.

    Raises:
        ModelError: the original is damaged, or has no output that can be meant.
        OSError: it cannot be read.
    """
    folder = cache_dir / "derived" / _name(VERSION, source, wanted, precision)
    kept = _kept(folder, source, cache_dir)
    if kept is not None:
        return kept
    from hybrid_search.encoders.graphs.making import make

    made = make(source, wanted, precision)
    own, places = placed(made.new)
    try:
        found = _keep(folder, made, own, places, source, cache_dir)
        for version in range(1, VERSION):
            # A process that has it open keeps what it mapped; where that forbids removing (Windows) it stays.
            shutil.rmtree(folder.with_name(_name(version, source, wanted, precision)), ignore_errors=True)
        return found
    except OSError:  # a read-only or full cache; another process may hold the file open (Windows)
        content = b"".join(own)
        return Derived(made.graph, {**made.old, **places}, Maps(source.folder, content), made.inputs, made.pooled)


def _name(version: int, source: Source, wanted: Wanted, precision: str) -> str:
    """The folder of a graph; the same formula in all versions, so that each knows the names its forerunners gave."""
    key = json.dumps([version, wanted, precision, dict(source.hashes)], sort_keys=True)
    return hashlib.blake2b(key.encode(), digest_size=12).hexdigest()


def _kept(folder: Path, source: Source, cache_dir: Path) -> Derived | None:
    """The kept graph; None where there is none, or it is not what was written."""
    try:
        index = json.loads((folder / _INDEX).read_text("utf-8"))
        graph = (folder / _GRAPH).read_bytes()
        if hashlib.sha256(graph).hexdigest() != index["graph"]:
            return None
        if index["own"] and file_hash(folder / OWN, cache_dir) != index["own"]:
            return None
        places = index["weights"].items()
        weights = {name: Weight(file, at, kind, tuple(dims)) for name, (file, at, kind, dims) in places}
        maps = Maps(source.folder, folder / OWN)
        return Derived(graph, weights, maps, index["inputs"], index["pooled"], folder / _GRAPH)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _keep(
    folder: Path, made: Made, own: list[bytes], places: Mapping[str, Weight], source: Source, cache_dir: Path
) -> Derived:
    """Write the parts, and last the index that vouches for them."""
    weights = {**made.old, **places}
    if own:
        write_atomically(folder / OWN, own)
    write_atomically(folder / _GRAPH, made.graph)
    index = {
        "graph": hashlib.sha256(made.graph).hexdigest(),
        "own": file_hash(folder / OWN, cache_dir, trust_memory=False) if own else "",
        "inputs": dict(made.inputs),
        "pooled": made.pooled,
        "weights": weights,
    }
    write_atomically(folder / _INDEX, json.dumps(index).encode())
    maps = Maps(source.folder, folder / OWN)
    return Derived(made.graph, weights, maps, made.inputs, made.pooled, folder / _GRAPH)


def placed(new: Mapping[str, Array]) -> tuple[list[bytes], dict[str, Weight]]:
    """New weights as the content of one file, and where each lies in it."""
    content: list[bytes] = []
    places, at = {}, 0
    for name, array in new.items():
        kind = next(kind for kind in TYPES.values() if np.dtype(kind) == array.dtype)
        data = np.ascontiguousarray(array, dtype=kind).tobytes()
        content += [data, bytes(-len(data) % _ALIGNED)]
        places[name] = Weight("", at, kind, array.shape)
        at += len(content[-2]) + len(content[-1])
    return content, places


def original(source: Source, folder: Path) -> tuple[Any, dict[str, Weight]]:
    """The original's graph as an `onnx.ModelProto` without large weights, and where all of those lie.

    Args:
        source: the original.
        folder: where its graph is: the source's own folder, or where it has just been made.

    Raises:
        ModelError: it is damaged, or its weights lie outside of its folder.
    """
    import onnx

    lean, weights = skeleton(folder, source.file)
    try:
        model = onnx.ModelProto.FromString(lean)
    except Exception as fault:  # protobuf's own error
        raise ModelError(f"{folder / source.file} is damaged or no ONNX graph: {fault}") from fault
    home = Path(source.file).parent
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL or tensor.name in weights:
            continue
        given = {entry.key: entry.value for entry in tensor.external_data}
        place = home / given.get("location", "")
        if place.is_absolute() or ".." in place.parts or tensor.data_type not in TYPES:
            raise ModelError(f"The weight {tensor.name} of {source.file} cannot be read from {place}.")
        weights[tensor.name] = Weight(
            place.as_posix(), int(given.get("offset", 0)), TYPES[tensor.data_type], tuple(tensor.dims)
        )
    return model, weights
