"""Checking every point: whether it is what its id says, and whether every document has all of its chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from hybrid_search.manifest import Manifest
from hybrid_search.store.schema import vector_problem
from hybrid_search.types import LegName, Vector, point_id_of

SHOWN = 5

_KEYS = {"chunk_id": str, "doc_id": str, "number": int, "text": str, "metadata": dict}


@dataclass
class PointReport:
    """What the check found.

    Args:
        points: number of points; `heads` of them are the first chunks of documents.
        vectors: by leg, the number of points with a vector.
        unfinished: documents that an index job began and did not finish.
        problems: what is wrong, in words; of many alike problems the first `SHOWN`.
    """

    points: int = 0
    heads: int = 0
    vectors: dict[LegName, int] = field(default_factory=dict)
    unfinished: int = 0
    problems: list[str] = field(default_factory=list)


def examine(points: Iterable[tuple[UUID, Mapping[str, Any], Mapping[str, Vector]]], manifest: Manifest) -> PointReport:
    """Check every point of a collection.

    Args:
        points: each with its id, its payload and its vectors by their names in the store.
        manifest: of the collection.
    """
    found = PointReport(vectors=dict.fromkeys(manifest.legs, 0))
    wrong = 0
    missing: dict[int, int] = {}  # by a document's hash, chunks that its head promises less those that are there
    begun = set()
    for point, payload, vectors in points:
        found.points += 1
        problems = [*_payload_problems(point, payload), *_vector_problems(vectors, manifest, found.vectors)]
        wrong += bool(problems)
        if problems:
            if wrong <= SHOWN:
                found.problems.append(f"point {payload.get('chunk_id', str(point))!r} {problems[0]}")
            continue
        document = hash(payload["doc_id"])
        chunks = payload.get("chunks", 0) if payload["number"] == 0 else 0
        found.heads += payload["number"] == 0
        if payload["number"] == 0 and payload.get("stamp") == "":
            begun.add(document)
        missing[document] = missing.get(document, 0) + chunks - 1
    lacking = [document for document, count in missing.items() if count and document not in begun]
    found.unfinished = len(begun)
    if wrong > SHOWN:
        found.problems.append(f"and {wrong - SHOWN:,} more points")
    if lacking:
        found.problems.append(f"{len(lacking):,} documents do not have the chunks that their first one tells of")
    return found


def _payload_problems(point: UUID, payload: Mapping[str, Any]) -> list[str]:
    wrong = [key for key, kind in _KEYS.items() if not isinstance(payload.get(key), kind)]
    if wrong:
        return [f"has no {', '.join(wrong)}"]
    return [] if point_id_of(payload["chunk_id"]) == point else [f"lies under {point}, which is the id of another one"]


def _vector_problems(vectors: Mapping[str, Vector], manifest: Manifest, counts: dict[LegName, int]) -> list[str]:
    problems = []
    for leg, name in manifest.vectors().items():
        vector = vectors.get(name)
        if vector is not None:
            counts[leg] += 1
            problem = vector_problem(vector, manifest.legs[leg].dim)
            problems += [f"has a {leg} vector that {problem}"] if problem else []
    return problems
