"""Checking every point of a shard in a child process: the engine may kill the process that opens damaged files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from hybrid_search.errors import StoreFull
from hybrid_search.store.edge.chunk_ids import ChunkIdMap
from hybrid_search.store.edge.locks import Lease, lease_with_links
from hybrid_search.store.edge.manifest_file import read_record
from hybrid_search.store.edge.shard import Shard
from hybrid_search.store.edge.shard_process import last_words, run_in_child
from hybrid_search.store.point_checks import PointReport, examine
from hybrid_search.types import Vector

_NAMES_AT_ONCE = 1_000

Described = tuple[UUID, dict[str, Any], dict[str, Vector]]


def inspect_in_child(folder: Path, handles: Sequence[int] = ()) -> PointReport:
    """Check every point of a generation, or of a writer's folder whose shard is closed, in a child process."""
    done = run_in_child("hybrid_search.store.edge.inspection.inspect", folder, handles=handles)
    if done.returncode:
        return PointReport(problems=[f"the engine cannot read it: {last_words(done)}"])
    return PointReport(**json.loads(done.stdout.splitlines()[-1]))


def inspect(folder: str) -> None:
    """Check every point, and print the result as JSON. Runs in a child of `inspect_in_child`."""
    path = Path(folder)
    record = read_record(path)
    try:
        shard = Shard.load(path / "shard")
    except StoreFull:
        shard = Shard.load(lease_with_links(Lease(path, None, None, os.getpid())).folder / "shard")
    if record.counts:
        names = ChunkIdMap(path / "names")
        found = examine(_with_mapped_ids(shard.iter_points(), names), record.manifest)
        counts = {"points": found.points, **found.vectors}
        expected = {key: record.counts.get(key) for key in counts}
        if counts != expected:
            found.problems.append(f"it holds {counts}, but {expected} were written")
        if len(names) != found.points:
            found.problems.append(f"it has {len(names):,} names for {found.points:,} points")
    else:
        found = examine(shard.iter_points(), record.manifest)
    shard.close()
    sys.stdout.write(json.dumps(asdict(found)) + "\n")


def _with_mapped_ids(points: Iterator[Described], names: ChunkIdMap) -> Iterator[Described]:
    """Yield every point; a payload whose chunk id differs from the stored chunk id map gets None for it."""
    while some := list(islice(points, _NAMES_AT_ONCE)):
        called = names.of([point for point, _, _ in some])
        for (point, payload, vectors), name in zip(some, called, strict=True):
            yield point, payload if payload.get("chunk_id") == name else {**payload, "chunk_id": None}, vectors
