"""What the tests of this room index: points made by hand or by a seed, and a way to run code in another process."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.protocols import CollectionReader, Store
from hybrid_search.store.edge.files import read_checked, write_checked
from hybrid_search.store.schema import payload_of
from hybrid_search.types import Chunk, LegName, Point, SparseVector, Vector

ROOT = Path(__file__).resolve().parents[2]
DIM = 8


def manifest_of(legs: Sequence[LegName] = ("sparse", "dense"), *, idf: bool = False, model: str = "m") -> Manifest:
    specs: dict[LegName, LegSpec] = {
        "sparse": LegSpec(f"{model}-sparse", "f-sparse", needs_idf=idf),
        "dense": LegSpec(f"{model}-dense", "f-dense", dim=DIM),
    }
    return Manifest("custom", {leg: specs[leg] for leg in legs}, 256, 32, created="2026-11-21T00:00:00+00:00")


def point(
    doc_id: str,
    number: int = 0,
    *,
    chunks: int = 1,
    stamp: str = "stamp",
    sparse: SparseVector | None = None,
    dense: Any = None,
    legs: Sequence[LegName] = ("sparse", "dense"),
    metadata: Mapping[str, Any] | None = None,
    text: str = "some text",
) -> Point:
    """A point with vectors that depend on nothing but the document's id, where none are given."""
    rng = np.random.default_rng(list(f"{doc_id}#{number}".encode()))
    vectors: dict[LegName, Vector] = {
        "sparse": sparse if sparse is not None else random_sparse(rng),
        "dense": dense if dense is not None else rng.normal(size=DIM).astype(np.float32),
    }
    chunk = Chunk(doc_id, number, text, 0, len(text), "A title")
    payload = payload_of(chunk, metadata or {}, f"{doc_id}.txt", (stamp, chunks) if number == 0 else None)
    return Point(chunk.chunk_id, {leg: vectors[leg] for leg in legs}, payload)


def random_sparse(rng: np.random.Generator, vocabulary: int = 60, active: int = 8) -> SparseVector:
    return SparseVector.of(rng.choice(vocabulary, active, replace=False), rng.random(active) + 0.1)


def points(count: int, prefix: str = "d", **options: Any) -> list[Point]:
    return [point(f"{prefix}{number}", **options) for number in range(count)]


def build(store: Store, name: str, batch: Sequence[Point], manifest: Manifest | None = None) -> None:
    """Index a batch into a collection and publish it."""
    writer = store.writer(name, manifest or manifest_of())
    writer.upsert(batch)
    writer.publish()
    writer.close()


def edit_manifests(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change all manifests below a folder as if they had been written so."""
    for file in folder.rglob("manifest.json"):
        data = read_checked(file)
        change(data)
        write_checked(file, data)


def found(reader: CollectionReader, limit: int = 1_000) -> set[str]:
    """The chunk ids of everything in a collection that has dense vectors."""
    return {chunk_id for chunk_id, _ in reader.retrieve([("dense", np.ones(DIM, np.float32))], limit)[0]}


def python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start a Python of its own on this code, with this package and these helpers in reach."""
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
    )


def output_of(process: "subprocess.Popen[str]", timeout_s: float = 30.0) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a process; kills it when it takes too long."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"process hung; stdout {out!r}, stderr {err!r}") from None
    return process.returncode, out, err
