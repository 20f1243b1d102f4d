"""The `manifest.json` of an embedded collection: one beside each writer's shard, one in each published generation."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_search.errors import CollectionDamaged
from hybrid_search.manifest import Manifest
from hybrid_search.store.edge import generations
from hybrid_search.store.edge.files import damages, read_checked
from hybrid_search.store.edge.seals import RECORD, seal_of


class Record(NamedTuple):
    """What the file holds.

    Args:
        counts: of a generation the points, the documents, and the points with a vector of each leg; else empty.
        build: which building this is; a collection that is built anew is another one. Those made by early versions
            have none.
        token: of a generation, or of what a writer keeps beside its shard: which state of the points it is.
        after: the state that this one was made of, with what was written meanwhile.
    """

    manifest: Manifest
    counts: dict[str, int]
    build: str
    token: str = ""
    after: str = ""

    def to_dict(self) -> dict[str, Any]:
        counts = {"counts": self.counts} if self.counts else {}
        state = {"token": self.token, "after": self.after} if self.token else {}
        return {"manifest": self.manifest.to_dict(), **counts, **state, "build": self.build}

    def with_legs(self, manifest: Manifest, build: str) -> Record:
        """The record of the same points under a manifest with other legs over vectors that are there."""
        by_vector = {name: self.counts[leg] for leg, name in self.manifest.vectors().items()}
        whole = {name: self.counts[name] for name in ("points", "documents")}
        counts = {**whole, **{leg: by_vector[name] for leg, name in manifest.vectors().items()}}
        return self._replace(manifest=manifest, counts=counts, build=build)


def read_record(folder: Path) -> Record:
    """The record of `work`, of `rebuild` or of a generation.

    Raises:
        CollectionDamaged: it cannot be read.
    """
    file = folder / "manifest.json"
    published = folder.name not in ("work", "rebuild", "base")
    try:
        data = read_checked(file)
        counts = data["counts"] if published else {}
        token = str(data.get("token", folder.name if published else ""))  # early generations have none
        state = {"token": token, "after": str(data.get("after", ""))}
        return Record(Manifest.from_dict(data["manifest"]), counts, data.get("build", ""), **state)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise generations.unreadable(file, error) from error


def resume_record(root: Path, work: Path) -> Record | None:
    """What a writer of `work` goes on with; None where there is nothing.

    Of one building, what is published knows the legs: they change there first. Where the writer's own record is
    missing, damaged, or of another building than what readers have, theirs is gone on with.

    Raises:
        CollectionDamaged: the writer's own record is damaged, and nothing is published.
    """
    published, own = None, own_record(work)
    with suppress(CollectionDamaged):
        folder = generations.current(root)
        published = None if folder is None else read_record(folder)
    if published is not None and published.build:
        same = own is not None and own.build == published.build
        own = published if same or work.name == "work" else own
    elif own is None and work.name == "work":
        own = published
    if own is not None:
        return own._replace(counts={}, build=own.build or uuid.uuid4().hex)
    if (work / RECORD).exists():
        raise generations.unreadable(work / RECORD, ValueError("it is not what was written"))
    return None


def own_record(work: Path) -> Record | None:
    """What a writer wrote of what it builds; None where that is not there, or is damaged."""
    with suppress(CollectionDamaged):
        sealed = seal_of(work) or {}
        if not damages(work, {name: sum_ for name, sum_ in sealed.items() if name == RECORD}):
            return read_record(work)
    return None


def working_dir(root: Path) -> Path:
    """The folder of the shard that what readers have is filled from: a replacement's, from its publication on."""
    rebuild = root / "rebuild"
    with suppress(CollectionDamaged):
        folder = generations.current(root) if (rebuild / "manifest.json").is_file() else None
        if folder is not None and same_building(read_record(folder), read_record(rebuild)):
            return rebuild
    return root / "work"


def promote_rebuild(root: Path) -> None:
    """Let a published replacement be the one that is worked on. Cut short, the next call does the rest."""
    rebuild = working_dir(root)
    if rebuild != root / "work":
        generations.remove_folder(root / "work")
        rebuild.rename(root / "work")


def pending_record(root: Path, work: Path) -> Record | None:
    """The record of a building that was begun in this folder and that readers do not have; None for none."""
    own = own_record(work)
    with suppress(CollectionDamaged):
        folder = generations.current(root)
        if own is not None and (folder is None or not same_building(read_record(folder), own)):
            return own
    return None


def same_building(published: Record, work: Record) -> bool:
    """Whether readers have what this writer fills, and not something older that it is to replace."""
    return published.build == work.build if published.build else published.manifest == work.manifest
