"""Collections in a folder, searched by the Qdrant engine inside this process (Qdrant Edge). The default store.

One process alone may open a shard that is written to. So readers never open the writer's: they open published
generations of it (see `generations`), and any number of processes search while one indexes.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from hybrid_search.errors import CollectionDamaged, CollectionNotFound, ManifestMismatch, StoreError
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.protocols import CollectionInfo, Head
from hybrid_search.store import filters, generations
from hybrid_search.store.names import Names, write_names
from hybrid_search.store.records import Record, going_on, read_record, same_building
from hybrid_search.store.schema import (
    being_built,
    check_name,
    check_points,
    check_requests,
    check_vectors,
    is_present,
    new_fields,
    vector_name,
)
from hybrid_search.store.shard import Shard, engine_conditions
from hybrid_search.types import LegName, Point, Vector, chunk_id_of, point_id_of
from hybrid_search.where import Condition, Test

log = logging.getLogger(__name__)

OPTIMIZE_FROM = 5_000
"""Points from which the engine has an index to build; below it scans, which is as fast."""

FLUSH_EVERY = 5_000
KNOWN_FILTERS = 32
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
            raise self._missing(name)
        try:
            return EdgeReader(name, lease)
        except BaseException:
            lease.release()
            raise

    def manifest(self, name: str) -> Manifest | None:
        root = self.folder / check_name(name)
        if (root / "work" / "manifest.json").is_file():
            return going_on(root).manifest
        folder = generations.current(root)
        return None if folder is None else read_record(folder).manifest

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
        if not any((root / mark).is_file() for mark in ("CURRENT", "work/manifest.json")):
            raise CollectionNotFound(name, self.names(), self.location)  # whatever folder it is, it is not ours
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
            raise self._missing(name)
        manifest, counts, _ = read_record(folder)
        return CollectionInfo(name, counts["documents"], counts["points"], generations.real_size(root), manifest)

    def _missing(self, name: str) -> StoreError:
        if (self.folder / name / "work" / "manifest.json").is_file():
            return StoreError(
                f"Collection {name!r} in {self.location} is being built and has not been finished yet. "
                "Run the same `hybrid-search index` command again to finish it."
            )
        return CollectionNotFound(name, self.names(), self.location)

    def close(self) -> None:
        """Nothing to let go of: readers and writers close themselves."""


class EdgeReader:
    """One published generation, open for searching."""

    def __init__(self, name: str, lease: generations.Lease) -> None:
        self._name = name
        self._lease = lease
        self.manifest, self._counts, _ = read_record(lease.folder)
        rebuild = f"Build it again from its sources: hybrid-search index SOURCE -c {name} --replace"
        damaged = generations.damaged_files(lease.folder)
        if damaged:
            raise CollectionDamaged(
                f"Collection {name!r} is damaged: {len(damaged)} files in {lease.folder} are missing or not as long as "
                f"they were written, first {damaged[0]}. {rebuild}"
            )
        try:
            self._stored = Names(lease.folder / "names")
        except (OSError, ValueError) as error:
            raise CollectionDamaged(f"Collection {name!r} has lost its names ({error}). {rebuild}") from error
        self._shard = Shard.load(lease.folder / "shard")
        self._filters: dict[str, Any] = {}
        self._names: dict[int, str] = {}  # by the point id's integer, which hashes ten times as fast as the UUID
        found = self._shard.counts(self.manifest)
        expected = {key: self._counts.get(key) for key in found}
        if found != expected:
            self._shard.close()
            raise CollectionDamaged(
                f"Collection {name!r} holds {found}, but {expected} were written: files in {lease.folder} are damaged. "
                f"{rebuild}"
            )

    def retrieve(
        self, requests: Sequence[tuple[LegName, Vector]], limit: int, where: Condition | None = None
    ) -> list[list[tuple[str, float]]]:
        check_requests(requests, limit, self.manifest)
        called = self.manifest.vectors()
        wanted = None if where is None else self._filter(where)
        exact = wanted is not None and self._shard.about(wanted) <= filters.EXACT_UP_TO
        answers = self._shard.query([(called[leg], vector) for leg, vector in requests], limit, wanted, exact=exact)
        # Other threads read and fill the same dict, so it only grows; a full one is left to them and a new one begun.
        names = self._names if len(self._names) < KNOWN_NAMES else {}
        unknown = [point for answer in answers for point, _ in answer if point.int not in names]
        if unknown:
            names.update(zip((point.int for point in unknown), self._stored.of(unknown), strict=True))
            self._names = names
        return [[(names[point.int], score) for point, score in answer] for answer in answers]

    def doc_ids(self) -> Iterator[str]:
        return (payload["doc_id"] for _, payload in self._shard.scroll(["doc_id"], heads=True))

    def payloads(self, chunk_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        found = self._shard.retrieve([point_id_of(chunk_id) for chunk_id in chunk_ids], True)
        return {payload["chunk_id"]: payload for payload in found.values()}

    def vectors(self, leg: LegName, chunk_ids: Sequence[str]) -> dict[str, Vector]:
        by_point = {point_id_of(chunk_id): chunk_id for chunk_id in chunk_ids}
        found = self._shard.vectors_of(vector_name(leg, self.manifest), list(by_point))
        return {by_point[point]: vector for point, vector in found.items()}

    def fields(self) -> Mapping[str, str]:
        sample = (payload for _, payload in self._shard.read(["metadata"], None, filters.SAMPLE))
        return filters.fields_of(self._shard.indexed_fields(), sample)

    def _filter(self, where: Condition) -> Any:
        """The engine's filter; remembered, for a generation never changes."""
        made = self._filters.get(repr(where))
        if made is None:
            engine, kinds = engine_conditions(), self._shard.indexed_fields()

            def exists(test: Test) -> bool:
                made = filters.engine_filter(test, engine, kinds, self._shard.read)
                return any(True for _ in self._shard.read(["number"], made, 1))

            filters.require_fields(where, kinds, exists, self.fields)
            made = filters.engine_filter(where, engine, kinds, self._shard.read)
            # Other threads read the same dict, so a full one is left to them and a new one begun.
            known = self._filters if len(self._filters) < KNOWN_FILTERS else {}
            self._filters = {**known, repr(where): made}
        return made

    def info(self) -> CollectionInfo:
        size = generations.real_size(self._lease.folder.parent)
        return CollectionInfo(self._name, self._counts["documents"], self._counts["points"], size, self.manifest)

    def close(self) -> None:
        try:
            self._shard.close()
        finally:
            self._lease.release()


class EdgeWriter:
    """The one writer of a collection, on its own shard."""

    def __init__(self, name: str, root: Path, manifest: Manifest, lock: FileLock, *, replace: bool = False) -> None:
        self._name, self._root, self._lock = name, root, lock
        self._work = root / "work"
        self._pid = os.getpid()
        if replace:
            # First of all, so that a removal cut short is no collection to go on with.
            (self._work / "manifest.json").unlink(missing_ok=True)
            generations.remove_folder(self._work)
        if not (self._work / "manifest.json").is_file():
            # The manifest is written last, so a creation cut short starts afresh.
            generations.remove_folder(self._work)
            self._build = uuid.uuid4().hex
            self._shard = Shard.create(self._work / "shard", manifest)
            self._keep(manifest)
            self._mark_changed()
        else:
            self.manifest, _, self._build = going_on(root)
            if self.manifest.fingerprint() != manifest.fingerprint():
                raise ManifestMismatch(name, "the manifest", self.manifest.fingerprint(), manifest.fingerprint())
            if read_record(self._work) != (self.manifest, {}, self._build):
                self._keep(self.manifest)
            self._shard = Shard.load(self._work / "shard")
        self._fields = dict(self._shard.indexed_fields())
        self._unflushed = 0

    def heads(self, doc_ids: Sequence[str]) -> dict[str, Head]:
        ids = [point_id_of(chunk_id_of(doc_id, 0)) for doc_id in doc_ids]
        found = self._shard.retrieve(ids, ["doc_id", "stamp", "chunks"])
        return {p["doc_id"]: Head(p["stamp"], p["chunks"]) for p in found.values()}

    def doc_ids(self) -> Iterator[str]:
        for _, payload in self._shard.scroll(["doc_id"], heads=True):
            yield payload["doc_id"]

    def upsert(self, points: Sequence[Point]) -> None:
        check_points(points, self.manifest)
        generations.require_space(self._root)
        self._mark_changed()
        for path, kind in new_fields(points, self._fields).items():
            self._shard.index_field(path, kind)
            self._fields[path] = kind
        self._shard.upsert(points, self.manifest)
        self._count_write(len(points))

    def delete(self, chunk_ids: Iterable[str]) -> None:
        ids = [point_id_of(chunk_id) for chunk_id in chunk_ids]
        if ids:
            self._mark_changed()
            self._shard.delete(ids)
            self._count_write(len(ids))

    def publish(self, manifest: Manifest | None = None) -> None:
        manifest = manifest or self.manifest
        self._shard.flush()
        written = (self._work / "changed").exists() or manifest != self.manifest
        if not written and generations.current(self._root) is not None:
            return
        if self._shard.count() >= OPTIMIZE_FROM:
            self._optimize()
        whole = self._shard.counts(manifest)
        counts = {**whole, "documents": self._shard.count(heads=True)}

        def settle(path: Path) -> None:
            copy = Shard.load(path)
            try:
                found = copy.counts(manifest)
                points = copy.scroll(["chunk_id"])
                write_names(path.parent / "names", ((point, payload["chunk_id"]) for point, payload in points))
            finally:
                copy.close()
            if found != whole:
                raise StoreError(f"The copy in {path} holds {found}, expected {whole}; readers keep what they have.")

        published = Record(manifest, counts, self._build).to_dict()
        generations.publish(self._root, self._work / "shard", published, settle)
        self._keep(manifest)
        (self._work / "changed").unlink(missing_ok=True)
        generations.sweep(self._root)

    def stored(self, without: str = "") -> Iterator[dict[str, Any]]:
        for _, payload in self._shard.scroll(True, without=without):
            yield payload

    def extend(self, spec: LegSpec) -> None:
        self._require_live()
        self._drop_vectors({*self.manifest.vectors().values(), spec.vector})
        if spec.vector not in self._shard.vectors():
            self._mark_changed()
            self._shard.add_vector(spec)

    def set_vectors(self, spec: LegSpec, vectors: Mapping[str, Vector]) -> None:
        check_vectors(vectors, spec)
        generations.require_space(self._root)
        by_point = {point_id_of(chunk_id): vector for chunk_id, vector in vectors.items() if is_present(vector)}
        if by_point:
            self._mark_changed()
            self._shard.set_vectors(spec.vector, by_point)
            self._count_write(len(by_point))

    def relabel(self, manifest: Manifest) -> None:
        folder = self._require_live()
        record = read_record(folder).with_legs(manifest, self._build)
        files = json.loads((folder / "manifest.json").read_text(encoding="utf-8")).get("files", {})
        # What is published comes first: it decides, should this process end between the two (`records.going_on`).
        generations.write_json(folder / "manifest.json", {**record.to_dict(), "files": files})
        self._keep(manifest)

    def tidy(self) -> None:
        self._drop_vectors(set(self.manifest.vectors().values()))

    def info(self) -> CollectionInfo:
        size = generations.real_size(self._root)
        return CollectionInfo(self._name, self._shard.count(heads=True), self._shard.count(), size, self.manifest)

    def close(self) -> None:
        if os.getpid() != self._pid:
            return  # a fork: shard and lock are its parent's
        try:
            self._shard.close()
        finally:
            self._lock.release()

    def _keep(self, manifest: Manifest) -> None:
        self.manifest = manifest
        generations.write_json(self._work / "manifest.json", Record(manifest, {}, self._build).to_dict())

    def _drop_vectors(self, keep: set[str]) -> None:
        for name in sorted(self._shard.vectors() - keep):
            self._mark_changed()
            self._shard.drop_vector(name)

    def _require_live(self) -> Path:
        """The generation that readers have, if it is one of this shard's."""
        folder = generations.current(self._root)
        if folder is None or not same_building(read_record(folder), read_record(self._work)):
            raise StoreError(being_built(self._name))
        return folder

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
            self._shard.flush()  # loading replays the last operation of the log
        if done.returncode != 0:
            last_line = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            log.warning("Collection %s stays without its search index (slower, still right): %s", self._name, last_line)


def _warn_of_network(root: Path) -> None:
    kind = generations.network_file_system(root)
    if kind:
        log.warning("%s lies on %s: the embedded engine is not safe there. Use a local folder or a server.", root, kind)
