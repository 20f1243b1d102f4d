"""The `manifest.json` of an embedded collection: one beside each writer's shard, one in each published generation."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_search.errors import CollectionDamaged
from hybrid_search.manifest import Manifest
from hybrid_search.store import generations


class Record(NamedTuple):
    """What the file holds.

    Args:
        counts: of a generation the points, the documents, and the points with a vector of each leg; else empty.
        build: which building this is; a collection that is built anew is another one. Those made by early versions
            have none.
    """

    manifest: Manifest
    counts: dict[str, int]
    build: str

    def to_dict(self) -> dict[str, Any]:
        counts = {"counts": self.counts} if self.counts else {}
        return {"manifest": self.manifest.to_dict(), **counts, "build": self.build}

    def with_legs(self, manifest: Manifest, build: str) -> Record:
        """The record of the same points under a manifest with other legs over vectors that are there."""
        by_vector = {name: self.counts[leg] for leg, name in self.manifest.vectors().items()}
        whole = {name: self.counts[name] for name in ("points", "documents")}
        counts = {**whole, **{leg: by_vector[name] for leg, name in manifest.vectors().items()}}
        return Record(manifest, counts, build)


def read_record(folder: Path) -> Record:
    """The record of `work`, of `rebuild` or of a generation.

    Raises:
        CollectionDamaged: it cannot be read.
    """
    file = folder / "manifest.json"
    published = folder.name not in ("work", "rebuild")
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        counts = data["counts"] if published else {}
        return Record(Manifest.from_dict(data["manifest"]), counts, data.get("build", ""))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CollectionDamaged(
            f"{file} cannot be read ({error}). Build the collection again from its sources (--replace)."
        ) from error


def going_on(root: Path, work: Path) -> Record:
    """What a writer of `work` goes on with. Of one building, what is published knows the legs: they change there first.

    Raises:
        CollectionDamaged: the writer's own record cannot be read.
    """
    own = read_record(work)
    with suppress(CollectionDamaged):
        folder = generations.current(root)
        published = None if folder is None else read_record(folder)
        if published is not None and published.build and published.build == own.build:
            return published._replace(counts={})
    return own if own.build else own._replace(build=uuid.uuid4().hex)


def working(root: Path) -> Path:
    """The folder of the shard that what readers have is filled from: a replacement's, from its publication on."""
    rebuild = root / "rebuild"
    with suppress(CollectionDamaged):
        folder = generations.current(root) if (rebuild / "manifest.json").is_file() else None
        if folder is not None and same_building(read_record(folder), read_record(rebuild)):
            return rebuild
    return root / "work"


def settled(root: Path) -> None:
    """Let a published replacement be the one that is worked on. Cut short, the next call does the rest."""
    rebuild = working(root)
    if rebuild != root / "work":
        generations.remove_folder(root / "work")
        rebuild.rename(root / "work")


def unfinished(root: Path, work: Path) -> Record | None:
    """The record of a building that was begun in this folder and that readers do not have; None for none."""
    if not (work / "manifest.json").is_file():
        return None
    try:
        folder = generations.current(root)
        own = read_record(work)
        return None if folder is not None and same_building(read_record(folder), own) else own
    except CollectionDamaged:
        return None


def same_building(published: Record, work: Record) -> bool:
    """Whether readers have what this writer fills, and not something older that it is to replace."""
    return published.build == work.build if published.build else published.manifest == work.manifest
