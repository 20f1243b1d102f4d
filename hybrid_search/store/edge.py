"""Collections in a folder, searched by the Qdrant engine inside this process (Qdrant Edge). The default store.

One process alone may open a shard that is written to. So readers never open the writer's: they open published
generations of it (see `generations`), and any number of processes search while one indexes.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from filelock import FileLock

from hybrid_search.errors import CollectionDamaged, CollectionNotFound, ManifestMismatch, StoreError
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import CollectionInfo, Head
from hybrid_search.store import generations
from hybrid_search.store.schema import check_name, check_points, new_fields
from hybrid_search.store.shard import Shard
from hybrid_search.types import LegName, Point, Vector, chunk_id_of, point_id_of

log = logging.getLogger(__name__)

OPTIMIZE_FROM = 5_000
"""Points from which the engine has an index to build; below it scans, which is as fast."""

FLUSH_EVERY = 5_000
KNOWN_NAMES = 500_000
"""Chunk ids a reader remembers by point id, so that ranking needs no payload (about 150 bytes each)."""


class EdgeStore:
    """Collections under one folder.

    Args:
        folder: made on first write. Not on a network file system: the engine maps its files.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()

    @property
    def location(self) -> str:
        return str(self.folder)

    def names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in self.folder.iterdir() if (entry / "CURRENT").is_file())

    def reader(self, name: str) -> EdgeReader:
        root = self.folder / check_name(name)
        lease = generations.lease(root) if root.is_dir() else None
        if lease is None:
            if (root / "work" / "manifest.json").is_file():
                raise StoreError(
                    f"Collection {name!r} in {self.location} is being built and has not been finished yet. "
                    "Run the same `hybrid-search index` command again to finish it."
                )
            raise CollectionNotFound(name, self.names(), self.location)
        try:
            return EdgeReader(name, lease)
        except BaseException:
            lease.release()
            raise

    def manifest(self, name: str) -> Manifest | None:
        root = self.folder / check_name(name)
        for folder in (root / "work", generations.current(root) if root.is_dir() else None):
            if folder is not None and (folder / "manifest.json").is_file():
                return _read_manifest(folder)[0]
        return None

    def writer(self, name: str, manifest: Manifest, *, replace: bool = False, wait_s: float = 0.0) -> EdgeWriter:
        root = self.folder / check_name(name)
        lock = generations.lock_for_writing(root, wait_s)
        try:
            _warn_of_network(root)
            generations.require_space(root)
            return EdgeWriter(name, root, manifest, lock, replace=replace)
        except BaseException:
            lock.release()
            raise

    def delete(self, name: str) -> None:
        root = self.folder / check_name(name)
        if not root.is_dir():
            raise CollectionNotFound(name, self.names(), self.location)
        lock = generations.lock_for_writing(root, 0.0)
        try:
            generations.remove(root)
        finally:
            lock.release()
        generations.remove_folder(root)

    def info(self, name: str) -> CollectionInfo:
        """What `collections list` shows, without opening the engine."""
        root = self.folder / check_name(name)
        folder = generations.current(root)
        if folder is None:
            raise CollectionNotFound(name, self.names(), self.location)
        manifest, counts = _read_manifest(folder)
        return CollectionInfo(name, counts["documents"], counts["points"], generations.real_size(root), manifest)

    def close(self) -> None:
        """Nothing to let go of: readers and writers close themselves."""


class EdgeReader:
    """One published generation, open for searching."""

    def __init__(self, name: str, lease: generations.Lease) -> None:
        self._name = name
        self._lease = lease
        self.manifest, self._counts = _read_manifest(lease.folder)
        self._shard = Shard.load(lease.folder / "shard")
        self._names: dict[UUID, str] = {}
        found = self._shard.counts(self.manifest.legs)
        expected = {key: self._counts[key] for key in found}
        if found != expected:
            self._shard.close()
            raise CollectionDamaged(
                f"Collection {name!r} holds {found}, but {expected} were written: files in {lease.folder} are damaged. "
                f"Build it again from its sources: hybrid-search index SOURCE -c {name} --replace"
            )

    def retrieve(self, requests: Sequence[tuple[LegName, Vector]], limit: int) -> list[list[tuple[str, float]]]:
        answers = self._shard.query(requests, limit)
        unknown = {point for answer in answers for point, _ in answer if point not in self._names}
        if unknown:
            if len(self._names) > KNOWN_NAMES:
                self._names = {}
            found = self._shard.retrieve(list(unknown), ["chunk_id"])
            self._names = {**self._names, **{point: payload["chunk_id"] for point, payload in found.items()}}
        names = self._names
        return [[(names[point], score) for point, score in answer] for answer in answers]

    def payloads(self, chunk_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        found = self._shard.retrieve([point_id_of(chunk_id) for chunk_id in chunk_ids], True)
        return {payload["chunk_id"]: payload for payload in found.values()}

    def info(self) -> CollectionInfo:
        size = generations.real_size(self._lease.folder.parent)
        return CollectionInfo(self._name, self._counts["documents"], self._counts["points"], size, self.manifest)

    def close(self) -> None:
        self._shard.close()
        self._lease.release()


class EdgeWriter:
    """The one writer of a collection, on its own shard."""

    def __init__(self, name: str, root: Path, manifest: Manifest, lock: FileLock, *, replace: bool = False) -> None:
        self._name, self._root, self._lock = name, root, lock
        self._work = root / "work"
        if replace:
            generations.remove_folder(self._work)
        if not (self._work / "manifest.json").is_file():
            # The manifest is written last, so a creation cut short starts afresh.
            generations.remove_folder(self._work)
            self._shard = Shard.create(self._work / "shard", manifest)
            generations.write_json(self._work / "manifest.json", {"manifest": manifest.to_dict()})
            self._mark_changed()
        else:
            found = _read_manifest(self._work)[0]
            if found.fingerprint() != manifest.fingerprint():
                raise ManifestMismatch(name, "the manifest", found.fingerprint(), manifest.fingerprint())
            self._shard = Shard.load(self._work / "shard")
        self._fields = dict(self._shard.indexed_fields())
        self._unflushed = 0
        self.manifest = manifest

    def heads(self, doc_ids: Sequence[str]) -> dict[str, Head]:
        ids = [point_id_of(chunk_id_of(doc_id, 0)) for doc_id in doc_ids]
        found = self._shard.retrieve(ids, ["doc_id", "stamp", "chunks"])
        return {p["doc_id"]: Head(p["stamp"], p["chunks"]) for p in found.values()}

    def doc_ids(self) -> Iterator[str]:
        for payload in self._shard.scroll_heads():
            yield payload["doc_id"]

    def upsert(self, points: Sequence[Point]) -> None:
        check_points(points, self.manifest)
        generations.require_space(self._root)
        self._mark_changed()
        for path, kind in new_fields(points, self._fields).items():
            self._shard.index_field(path, kind)
            self._fields[path] = kind
        self._shard.upsert(points)
        self._count_write(len(points))

    def delete(self, chunk_ids: Iterable[str]) -> None:
        ids = [point_id_of(chunk_id) for chunk_id in chunk_ids]
        if ids:
            self._mark_changed()
            self._shard.delete(ids)
            self._count_write(len(ids))

    def publish(self) -> None:
        self._shard.flush()
        if not (self._work / "changed").exists() and generations.current(self._root) is not None:
            return
        if self._shard.count() >= OPTIMIZE_FROM:
            self._optimize()
        counts = {**self._shard.counts(self.manifest.legs), "documents": self._shard.count(heads=True)}
        generations.publish(self._root, self._work / "shard", {"manifest": self.manifest.to_dict(), "counts": counts})
        (self._work / "changed").unlink(missing_ok=True)
        generations.sweep(self._root)

    def info(self) -> CollectionInfo:
        size = generations.real_size(self._root)
        return CollectionInfo(self._name, self._shard.count(heads=True), self._shard.count(), size, self.manifest)

    def close(self) -> None:
        self._shard.close()
        self._lock.release()

    def _mark_changed(self) -> None:
        (self._work / "changed").touch()

    def _count_write(self, written: int) -> None:
        self._unflushed += written
        if self._unflushed >= FLUSH_EVERY:
            self._shard.flush()
            self._unflushed = 0

    def _optimize(self) -> None:
        """Build the engine's indexes in a child process: it holds the interpreter lock for seconds to minutes."""
        generations.require_space(self._root, 2 * generations.real_size(self._work))
        self._shard.close()
        path = self._work / "shard"
        code = "import sys; from hybrid_search.store.shard import optimize; optimize(sys.argv[1])"
        try:
            done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
        finally:
            self._shard = Shard.load(path)
        if done.returncode != 0:
            last_line = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            log.warning("Collection %s stays without its search index (slower, still right): %s", self._name, last_line)


def _read_manifest(folder: Path) -> tuple[Manifest, dict[str, int]]:
    file = folder / "manifest.json"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return Manifest.from_dict(data["manifest"]), data.get("counts", {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CollectionDamaged(
            f"{file} cannot be read ({error}). Build the collection again from its sources (--replace)."
        ) from error


def _warn_of_network(root: Path) -> None:
    kind = generations.network_file_system(root)
    if kind:
        log.warning("%s lies on %s: the embedded engine is not safe there. Use a local folder or a server.", root, kind)
