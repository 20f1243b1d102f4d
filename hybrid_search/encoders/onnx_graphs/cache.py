"""Keeps graphs derived from models' own: `CACHE/derived/<hash>/`, made once.

A kept graph holds no large weight. Weights of the original stay in its files; new ones (int8) lie beside the graph. The
folder's name is a hash of the original's files, of the wanted output and of VERSION, so a changed original or a newer
derivation never meets an old graph. Making a graph removes those that earlier versions made of the same original. If
the folder cannot be written, the graph is made in memory each time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from hybrid_search._util import atomic_write
from hybrid_search.encoders.hashing import file_hash
from hybrid_search.encoders.onnx_graphs.artifacts import OWN, Derived, GraphDraft, Source, pack_weights
from hybrid_search.encoders.onnx_graphs.pooling import OutputSpec
from hybrid_search.encoders.onnx_graphs.weights import Weight, WeightFiles

VERSION = 1
"""Part of the folder's name: raise it, by one, whenever other graphs are made."""

_GRAPH, _INDEX = "graph.onnx", "index.json"


def get_or_build(source: Source, wanted: OutputSpec, precision: str, cache_dir: Path) -> Derived:
    """Return the derived graph: the kept one, or a new one.

    Raises:
        ModelError: the original is damaged or has no usable output.
        OSError: the original cannot be read.
    """
    folder = cache_dir / "derived" / _name(VERSION, source, wanted, precision)
    cached = _kept(folder, source, cache_dir)
    if cached is not None:
        return cached
    from hybrid_search.encoders.onnx_graphs.build import make

    made = make(source, wanted, precision)
    own, places = pack_weights(made.new)
    try:
        found = _keep(folder, made, own, places, source, cache_dir)
        for version in range(1, VERSION):
            # A process that has it open keeps what it mapped; where that forbids removing (Windows) it stays.
            shutil.rmtree(folder.with_name(_name(version, source, wanted, precision)), ignore_errors=True)
        return found
    except OSError:  # a read-only or full cache; another process may hold the file open (Windows)
        content = b"".join(own)
        return Derived(
            made.graph, {**made.old, **places}, WeightFiles(source.folder, content), made.inputs, made.pooled
        )


def _name(version: int, source: Source, wanted: OutputSpec, precision: str) -> str:
    """Return a graph's folder name. The formula is the same in all versions, so each knows its predecessors' names."""
    key = json.dumps([version, wanted, precision, dict(source.hashes)], sort_keys=True)
    return hashlib.blake2b(key.encode(), digest_size=12).hexdigest()


def _kept(folder: Path, source: Source, cache_dir: Path) -> Derived | None:
    """Return the kept graph; None if there is none, or it is not what was written."""
    try:
        index = json.loads((folder / _INDEX).read_text("utf-8"))
        graph = (folder / _GRAPH).read_bytes()
        if hashlib.sha256(graph).hexdigest() != index["graph"]:
            return None
        if index["own"] and file_hash(folder / OWN, cache_dir) != index["own"]:
            return None
        places = index["weights"].items()
        weights = {name: Weight(file, at, kind, tuple(dims)) for name, (file, at, kind, dims) in places}
        maps = WeightFiles(source.folder, folder / OWN)
        return Derived(graph, weights, maps, index["inputs"], index["pooled"], folder / _GRAPH)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _keep(
    folder: Path, made: GraphDraft, own: list[bytes], places: Mapping[str, Weight], source: Source, cache_dir: Path
) -> Derived:
    """Write the parts, and then the index that vouches for them."""
    weights = {**made.old, **places}
    folder.mkdir(parents=True, exist_ok=True)
    if own:
        atomic_write(folder / OWN, own)
    atomic_write(folder / _GRAPH, made.graph)
    index = {
        "graph": hashlib.sha256(made.graph).hexdigest(),
        "own": file_hash(folder / OWN, cache_dir, trust_memory=False) if own else "",
        "inputs": dict(made.inputs),
        "pooled": made.pooled,
        "weights": weights,
    }
    atomic_write(folder / _INDEX, json.dumps(index).encode())
    maps = WeightFiles(source.folder, folder / OWN)
    return Derived(made.graph, weights, maps, made.inputs, made.pooled, folder / _GRAPH)
