"""The `manifest.json` of an embedded collection: one in each writer's folder, one in each published generation."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_search.errors import CollectionDamaged
from hybrid_search.manifest import Manifest
from hybrid_search.store.edge import generations
from hybrid_search.store.edge.clean_shutdown import RECORD, read_seal
from hybrid_search.store.edge.files import damages, read_checked


class Record(NamedTuple):
    """The content of the file.

    Args:
        manifest: of the collection.
        counts: of a generation the points, the documents, and the points with a vector of each leg; else empty.
        build: identifies the build; rebuilding a collection starts another one. Early versions wrote none.
        token: identifies the state of the points, in a generation or a recovery base.
        after: the token of the state that this one was made from, by the writes since.
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
        """Return the record of the same points under a manifest with other legs over the existing vectors."""
        by_vector = {name: self.counts[leg] for leg, name in self.manifest.vectors().items()}
        whole = {name: self.counts[name] for name in ("points", "documents")}
        counts = {**whole, **{leg: by_vector[name] for leg, name in manifest.vectors().items()}}
        return self._replace(manifest=manifest, counts=counts, build=build)


def read_record(folder: Path) -> Record:
    """Read the record of `work`, of `rebuild` or of a generation.

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
        raise generations.unreadable_manifest(file, error) from error


def resume_record(root: Path, work: Path) -> Record | None:
    """Return the record that a writer of `work` resumes from; None where there is none.

    If `work` and the published generation belong to one build, the published record wins: leg changes are written there
    first. It also wins where the writer's own record is missing, damaged, or of another build.

    Raises:
        CollectionDamaged: the writer's own record is damaged, and nothing is published.
    """
    published, own = None, writer_record(work)
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
        raise generations.unreadable_manifest(work / RECORD, ValueError("it is not what was written"))
    return None


def writer_record(work: Path) -> Record | None:
    """Return the writer's own record; None where it is missing or damaged."""
    with suppress(CollectionDamaged):
        sealed = read_seal(work) or {}
        if not damages(work, {name: sum_ for name, sum_ in sealed.items() if name == RECORD}):
            return read_record(work)
    return None


def working_dir(root: Path) -> Path:
    """Return the folder of the shard behind the published generation: a published `rebuild`, else `work`."""
    rebuild = root / "rebuild"
    with suppress(CollectionDamaged):
        folder = generations.current(root) if (rebuild / "manifest.json").is_file() else None
        if folder is not None and same_building(read_record(folder), read_record(rebuild)):
            return rebuild
    return root / "work"


def promote_rebuild(root: Path) -> None:
    """Rename a published `rebuild` to `work`. If it is interrupted, the next call finishes it."""
    rebuild = working_dir(root)
    if rebuild != root / "work":
        generations.remove_folder(root / "work")
        rebuild.rename(root / "work")


def pending_record(root: Path, work: Path) -> Record | None:
    """Return the record of a build in this folder that is not published yet; None for none."""
    own = writer_record(work)
    with suppress(CollectionDamaged):
        folder = generations.current(root)
        if own is not None and (folder is None or not same_building(read_record(folder), own)):
            return own
    return None


def same_building(published: Record, work: Record) -> bool:
    """Say whether the published generation belongs to this writer's build, and not to an older one that it replaces."""
    return published.build == work.build if published.build else published.manifest == work.manifest
