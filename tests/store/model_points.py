"""What the model of a store writes, and what it expects to be found: all of it follows from names and numbers."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np

from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.store.schema import payload_of
from hybrid_search.types import Chunk, LegName, Moved, Point, SparseVector, Vector, chunk_id_of
from tests.store.store_points import DIM

NEW = LegSpec("new-model", "f-new", vector="new.12345678", shadow=True)


class Stored(NamedTuple):
    """A chunk as it is stored: the version of its document, by the name of a vector what it was made of, its place."""

    version: int
    chunks: int
    vectors: dict[str, int]
    folder: str = ""


Points = dict[str, Stored]


def written(document: str, version: int, manifest: Manifest) -> Points:
    """The chunks of a version of a document, and what they are stored as."""
    count = 1 + zlib.crc32(f"{document} {version}".encode()) % 3
    vectors = dict.fromkeys(manifest.vectors().values(), version)
    return {chunk_id_of(document, number): Stored(version, count, vectors) for number in range(count)}


def points_of(document: str, version: int, manifest: Manifest) -> list[Point]:
    """The same as points; the first chunk last."""
    made = written(document, version, manifest)
    called = manifest.vectors()
    points = [
        Point(
            chunk_id,
            {
                leg: vector_of(chunk_id, called[leg], stored.vectors[called[leg]], spec.dim)
                for leg, spec in legs_of(manifest)
            },
            payload(chunk_id, stored),
        )
        for chunk_id, stored in made.items()
    ]
    return points[::-1]


def legs_of(manifest: Manifest) -> list[tuple[LegName, LegSpec]]:
    return sorted(manifest.legs.items())


def payload(chunk_id: str, stored: Stored) -> dict[str, Any]:
    document, _, number = chunk_id.rpartition("#")
    text = f"version {stored.version} of {chunk_id}"
    metadata = {"version": stored.version, "rate": stored.version / 7, "tags": ["a", chunk_id]}
    chunk = Chunk(document, int(number), text, 0, len(text), "A title")
    head = (f"stamp {stored.version}", stored.chunks) if number == "0" else None
    return payload_of(chunk, metadata, f"{stored.folder}{document}.txt", head)


def vector_of(chunk_id: str, name: str, version: int, dim: int) -> Vector:
    rng = np.random.default_rng(zlib.crc32(f"{chunk_id} {name} {version}".encode()))
    if not dim:
        return SparseVector.of(rng.choice(40, 6, replace=False), rng.random(6) + 0.1)
    made = rng.normal(size=dim).astype(np.float32)
    return made / np.linalg.norm(made)


def queries(manifest: Manifest) -> list[tuple[LegName, Vector]]:
    everything = SparseVector.of(range(40), np.ones(40))
    return [(leg, np.ones(DIM, np.float32) if spec.dim else everything) for leg, spec in legs_of(manifest)]


def scores(points: Points, manifest: Manifest) -> list[dict[str, float]]:
    """By query the score of every chunk that has such a vector."""
    called = manifest.vectors()
    found = []
    for leg, query in queries(manifest):
        name, dim = called[leg], manifest.legs[leg].dim
        there = {
            c: vector_of(c, name, stored.vectors[name], dim) for c, stored in points.items() if name in stored.vectors
        }
        unit = query if isinstance(query, SparseVector) else query / np.linalg.norm(query)
        found.append({c: float(unit.dot(v) if isinstance(v, SparseVector) else unit @ v) for c, v in there.items()})
    return found


def with_new(manifest: Manifest) -> Manifest:
    return manifest.with_legs({**manifest.legs, "new": NEW}, "custom")


def swapped(manifest: Manifest) -> Manifest:
    """`sparse` and `new` with each other's vectors."""
    called, legs = manifest.vectors(), dict(manifest.legs)
    old, new = legs["sparse"], legs["new"]
    legs["sparse"] = LegSpec(new.model, new.fingerprint, vector=called["new"])
    legs["new"] = LegSpec(old.model, old.fingerprint, vector=called["sparse"], shadow=True)
    return manifest.with_legs(legs, "custom")


def act(writer: Any, what: str, **how: Any) -> Any:
    """Do one thing with a writer; what it takes and gives is JSON."""
    if what == "upsert":
        made = [points_of(document, version, writer.manifest) for document, version in how["documents"]]
        gone = [chunk_id_of(document, number) for document, _ in how["documents"] for number in range(3)]
        if how["clean"]:
            writer.delete(gone)
        return writer.upsert([point for points in made for point in points])
    if what == "move":
        return writer.set_origins([Moved(*moved) for moved in how["moved"]])
    if what == "delete":
        return writer.delete(how["chunk_ids"])
    if what == "extend":
        return writer.add_vector(NEW)
    if what == "set":
        vectors = {c: vector_of(c, NEW.vector, how["version"], 0) for c in how["chunk_ids"]}
        return writer.set_vectors(NEW, vectors)
    if what == "publish":
        return writer.publish(with_new(writer.manifest) if how["new"] else None)
    if what == "swap":
        return writer.replace_manifest(swapped(writer.manifest))
    if what == "drop":
        legs = {leg: spec for leg, spec in writer.manifest.legs.items() if leg != "new"}
        writer.replace_manifest(writer.manifest.with_legs(legs, "custom"))
        return writer.drop_unused_vectors()
    if what == "versions":
        return sorted([payload["chunk_id"], payload["metadata"]["version"]] for payload in writer.iter_payloads())
    return getattr(writer, what)()
