"""Surveying an embedded collection without changing a file of it, in a child process.

The engine touches files that it opens, and may kill the process that opens damaged ones. So the child opens a private
copy of the published generation: 400 MB, those of 100,000 chunks, take half a second.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from hybrid_search.errors import CollectionDamaged
from hybrid_search.manifest import Manifest
from hybrid_search.store.edge import generations
from hybrid_search.store.edge.clean_shutdown import was_left_open
from hybrid_search.store.edge.locks import is_locked
from hybrid_search.store.edge.manifest_file import read_record
from hybrid_search.store.edge.shard import Shard, engine_conditions
from hybrid_search.store.edge.shard_process import last_words, run_in_child
from hybrid_search.store.filter_conditions import all_of
from hybrid_search.store.survey import SAMPLE, SCANNED_FIELDS, Leftover, Survey, probe_legs, scan_points
from hybrid_search.types import LegName, Vector


def survey_in_child(root: Path) -> Survey:
    """Survey the published generation of a collection.

    Raises:
        CollectionDamaged: its files are not as they were written, or the engine cannot read them.
        StoreFull: there is no room for the copy.
        StoreError: the folder cannot be read.
    """
    lease = generations.lease(root, private=True)
    if lease is None:
        raise CollectionDamaged(f"Nothing of {root} has been published.")
    try:
        damaged = generations.damaged_files(root / lease.folder.name)
        if damaged:
            more = f", and {len(damaged) - 1:,} more" if len(damaged) > 1 else ""
            raise _damage(root, f"{damaged[0]} is missing or not as it was written{more}")
        done = run_in_child("hybrid_search.store.edge.survey.survey", lease.folder)
    finally:
        lease.release()
    if done.returncode:
        raise _damage(root, f"the engine cannot read it: {last_words(done)}")
    return Survey.from_dict(json.loads(done.stdout.splitlines()[-1]))


def survey(folder: str) -> None:
    """Survey a copy of a generation, and print the survey as JSON. Runs in a child of `survey_in_child`."""
    path = Path(folder)
    shard = Shard.load(path / "shard")
    config = json.loads((path / "shard" / "edge_config.json").read_text(encoding="utf-8"))
    found = _survey(shard, read_record(path).manifest, config)
    shard.close()
    sys.stdout.write(json.dumps(found.to_dict()) + "\n")


def _survey(shard: Shard, manifest: Manifest, config: dict[str, Any]) -> Survey:
    sample = dict(shard.read(True, None, SAMPLE))
    known = {point: str(payload["chunk_id"]) for point, payload in sample.items() if "chunk_id" in payload}
    names, engine = manifest.vectors(), engine_conditions()

    def search(leg: LegName, vector: Vector, limit: int, only: UUID | None) -> list[tuple[UUID, float]]:
        wanted = None if only is None else all_of(engine, [engine.ids({only})])
        return shard.query([(names[leg], vector)], limit, wanted)[0]

    info = shard.info()
    return Survey(
        manifest,
        shard.count(),
        shard.count(heads=True),
        {leg: shard.count(vector=name) for leg, name in names.items()},
        {name: one.get("modifier") == "idf" for name, one in config.get("sparse_vectors", {}).items()},
        shard.indexed_fields(),
        info.segments_count,
        info.indexed_vectors_count,
        scan=scan_points(shard.read(SCANNED_FIELDS, None)),
        sample=list(sample.values()),
        probes=probe_legs(names, known, lambda leg, points: shard.vectors_of(names[leg], points), search),
    )


def leftovers_of(root: Path) -> Iterator[Leftover]:
    """Yield what jobs and readers left in the folder of a collection."""
    name = root.name
    again = f"hybrid-search index SOURCE -c {name}"
    if is_locked(root):
        return  # what lies there belongs to the writer that is at work
    if (root / "rebuild").exists():
        yield Leftover(name, "a replacement was begun and not finished; the same command goes on", f"{again} --replace")
    if not (root / "CURRENT").exists() and (root / "work").exists():
        yield Leftover(
            name, "it was begun and never finished, so it cannot be searched; the same command goes on", again
        )
    elif was_left_open(root / "work"):
        yield Leftover(name, "a job was killed, and its last writes are not published; the same command goes on", again)
    if (root / "writer.json").exists():
        yield Leftover(name, "writer.json was left by a writer that was killed; the next one replaces it", again)
    dead = [file.name for file in root.glob("leases/*.lock") if not is_locked(file)]
    if dead:
        yield Leftover(
            name, f"{len(dead):,} locks were left by readers that were killed; the next job removes them", again
        )
    old = [folder.name for folder in _unused(root)]
    if old:
        yield Leftover(name, f"{', '.join(old)} is of no use any more; the next job removes it", again)


def _unused(root: Path) -> Iterator[Path]:
    """Yield the generations, complete or not, that CURRENT does not name and nobody reads; none if it is damaged."""
    try:
        keep = generations.current(root)
    except CollectionDamaged:  # which is found where the collection is opened
        return
    for folder in [*generations.generations(root), *root.glob("g*.building")]:
        held = is_locked(folder, shared=True) or any(map(is_locked, root.glob(f"leases/{folder.name}.*.lock")))
        if folder != keep and not held:
            yield folder


def _damage(root: Path, how: str) -> CollectionDamaged:
    return CollectionDamaged(
        f"Collection {root.name!r} is damaged, in {root}: {how}. Build it again from its sources: "
        f"{generations.rebuild_command(root.name)}"
    )
