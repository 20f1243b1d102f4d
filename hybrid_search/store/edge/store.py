"""Collections in a folder, searched by the Qdrant engine inside this process (Qdrant Edge). The default store.

Only one process may open a shard that is written to. So readers never open the writer's shard: they open published
generations of it (see `generations`), and any number of processes search while one indexes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hybrid_search.errors import CollectionDamaged, CollectionNotFound, InvalidArgument, StoreError, StoreFull
from hybrid_search.filters import Condition, Test
from hybrid_search.manifest import Foreign, Manifest
from hybrid_search.protocols import CollectionInfo, Verification
from hybrid_search.store import filter_translation
from hybrid_search.store.edge import generations
from hybrid_search.store.edge.chunk_ids import ChunkIdMap
from hybrid_search.store.edge.disk import network_file_system, real_size, require_space
from hybrid_search.store.edge.generations import folder_names
from hybrid_search.store.edge.locks import Lease, lease_with_links, lock_for_writing
from hybrid_search.store.edge.manifest_file import read_record, resume_record, working_dir
from hybrid_search.store.edge.shard import Shard, engine_conditions
from hybrid_search.store.edge.survey import leftovers_of, survey_in_child
from hybrid_search.store.edge.verify import is_ours, verify_collection
from hybrid_search.store.edge.writer import EdgeWriter
from hybrid_search.store.idf import measured_frequencies
from hybrid_search.store.schema import check_name, check_requests, vector_name
from hybrid_search.store.survey import Leftover, Notice, Survey
from hybrid_search.types import LegName, Vector, point_id_of

log = logging.getLogger(__name__)

KNOWN_FILTERS = 32
KNOWN_NAMES = 500_000
"""Chunk ids that a reader caches by point id, so that ranking needs no lookup (about 150 bytes each)."""


class EdgeStore:
    """Collections under one folder.

    Args:
        folder: created on the first write. It must not be on a network file system: the engine maps its files.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()

    @property
    def location(self) -> str:
        return str(self.folder)

    def names(self) -> list[str]:
        return folder_names(self.folder)

    def reader(self, name: str) -> EdgeReader:
        root = self.folder / check_name(name)
        mark = generations.file_identity(root / "CURRENT")  # first: a change in between is seen later
        lease = generations.lease(root) if root.is_dir() else None
        if lease is None:
            raise self._missing_error(name)
        try:
            return EdgeReader(name, root, lease, mark)
        except BaseException:
            lease.release()
            raise

    def manifest(self, name: str) -> Manifest | None:
        root = self.folder / check_name(name)
        found = resume_record(root, working_dir(root))
        return None if found is None else found.manifest

    def writer(self, name: str, manifest: Manifest, *, replace: bool = False, wait_s: float = 0.0) -> EdgeWriter:
        if manifest.layout:
            raise InvalidArgument(
                f"The layout {manifest.layout!r} is for collections on a Qdrant server: nobody but hybrid-search reads "
                f"the folder {self.location}. Name a server (--store http://HOST:6333), or leave --layout out."
            )
        root = self.folder / check_name(name)
        lock = lock_for_writing(root, wait_s)
        try:
            _warn_of_network(root)
            require_space(root)
            return EdgeWriter(name, root, manifest, lock, replace=replace)
        except BaseException:
            lock.release()
            raise

    def described(self, name: str) -> Foreign:
        raise InvalidArgument(
            f"The store is {self.location}, and all its collections are ours. Name the server that has "
            f"{name!r}: --store http://HOST:6333"
        )

    def adopt(self, name: str, manifest: Manifest) -> None:
        self.described(name)

    def delete(self, name: str) -> None:
        root = self.folder / check_name(name)
        if not any((root / mark).is_file() for mark in ("CURRENT", "work/manifest.json")):
            raise CollectionNotFound(name, self.names(), self.location)  # whatever folder it is, it is not ours
        lock = lock_for_writing(root, 0.0)
        try:
            generations.remove(root)
        finally:
            lock.release()
        generations.remove_folder(root)

    def info(self, name: str) -> CollectionInfo:
        """Describe a collection without opening the engine."""
        root = self.folder / check_name(name)
        folder = generations.current(root)
        if folder is None:
            raise self._missing_error(name)
        manifest, counts, *_ = read_record(folder)
        return CollectionInfo(name, counts["documents"], counts["points"], real_size(root), manifest)

    def verify(self, name: str | None = None) -> list[Verification]:
        if name is not None:
            root = self.folder / check_name(name)
            if not root.is_dir() or not is_ours(root):
                raise CollectionNotFound(name, self.names(), self.location)
            return [verify_collection(root)]
        there = sorted(entry for entry in self.folder.iterdir() if entry.is_dir()) if self.folder.is_dir() else []
        return [verify_collection(root) for root in there if is_ours(root)]

    def survey(self, name: str) -> Survey:
        root = self.folder / check_name(name)
        if generations.current(root) is None:
            raise self._missing_error(name)
        return survey_in_child(root)

    def leftovers(self) -> list[Leftover]:
        there = sorted(entry for entry in self.folder.iterdir() if entry.is_dir()) if self.folder.is_dir() else []
        return [left for root in there if is_ours(root) for left in leftovers_of(root)]

    def notices(self) -> list[Notice]:
        kind = network_file_system(self.folder)
        text = f"{self.location} lies on {kind}, where the embedded engine is not safe: use a local folder or a server"
        return (
            [Notice(self.location, "warning", text, "hybrid-search --store FOLDER index SOURCE -c NAME")]
            if kind
            else []
        )

    def _missing_error(self, name: str) -> StoreError:
        if (self.folder / name / "work" / "manifest.json").is_file():
            return StoreError(
                f"Collection {name!r} in {self.location} is being built and has not been finished yet. "
                "Run the same `hybrid-search index` command again to finish it."
            )
        return CollectionNotFound(name, self.names(), self.location)

    def close(self) -> None:
        """Do nothing: readers and writers close themselves."""


class EdgeReader:
    """One published generation, open for searching.

    Args:
        name: of the collection.
        root: its folder.
        lease: on the generation.
        mark: of CURRENT when it named this generation, or from before.
    """

    max_concurrency = 1
    """qdrant_edge holds the interpreter lock, so parallel searches gain nothing and stall an event loop."""

    def __init__(self, name: str, root: Path, lease: Lease, mark: tuple[int, int, int]) -> None:
        self._name, self._root = name, root
        self._folder, self._lease = lease.folder, lease
        manifest = root / lease.folder.name / "manifest.json"  # replaced where legs change their names
        self._marks = {root / "CURRENT": mark, manifest: generations.file_identity(manifest)}
        self.manifest, self._counts, *_ = read_record(lease.folder)
        damaged = generations.damaged_files(lease.folder)
        if damaged:
            raise self._damage(f"{len(damaged)} files are missing or not as they were written: {damaged[0]}")
        try:
            self._stored = ChunkIdMap(lease.folder / "names")
        except (OSError, ValueError, EOFError) as error:
            raise self._damage(f"its names cannot be read ({error})") from error
        self._shard = self._open_shard()
        self._filters: dict[str, Any] = {}
        self._names: dict[int, str] = {}  # by the point id's integer, which hashes ten times as fast as the UUID
        try:
            found = self._shard.counts(self.manifest)
            expected = {key: self._counts.get(key) for key in found}
            if found != expected or len(self._stored) != found["points"]:
                raise self._damage(f"it holds {found}, but {expected} were written, with {len(self._stored)} names")
        except BaseException:
            self.close()
            raise

    def _open_shard(self) -> Shard:
        """Open the shard; where its disk is too full for the engine to open it, through a folder of links."""
        try:
            return Shard.load(self._folder / "shard")
        except StoreFull:
            linked = lease_with_links(self._lease)
        try:
            shard = Shard.load(linked.folder / "shard")
        except BaseException:
            linked.release()
            raise
        self._lease = linked
        return shard

    def _damage(self, how: str) -> CollectionDamaged:
        return CollectionDamaged(
            f"Collection {self._name!r} is damaged, in {self._folder}: {how}. Build it again from its sources: "
            f"{generations.rebuild_command(self._name)}"
        )

    def is_stale(self) -> bool:
        return any(generations.file_identity(file) != mark for file, mark in self._marks.items())

    def retrieve(
        self, requests: Sequence[tuple[LegName, Vector]], limit: int, where: Condition | None = None
    ) -> list[list[tuple[str, float]]]:
        check_requests(requests, limit, self.manifest)
        called = self.manifest.vectors()
        wanted = None if where is None else self._filter(where)
        exact = wanted is not None and self._shard.estimate_count(wanted) <= filter_translation.EXACT_UP_TO
        answers = self._shard.query([(called[leg], vector) for leg, vector in requests], limit, wanted, exact=exact)
        # Other threads read and fill the same dict, so it only grows; a full one is left to them and a new one begun.
        names = self._names if len(self._names) < KNOWN_NAMES else {}
        unknown = [point for answer in answers for point, _ in answer if point.int not in names]
        if unknown:
            try:
                names.update(zip((point.int for point in unknown), self._stored.of(unknown), strict=True))
            except (IndexError, ValueError) as error:
                raise self._damage(f"its names do not fit its points ({error})") from error
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

    def inverse_frequencies(self, leg: LegName, dimensions: Sequence[int]) -> dict[int, float]:
        return measured_frequencies(self, leg, dimensions)

    def fields(self) -> Mapping[str, str]:
        sample = (payload for _, payload in self._shard.read(["metadata"], None, filter_translation.SAMPLE))
        return filter_translation.fields_of(self._shard.indexed_fields(), sample)

    def _filter(self, where: Condition) -> Any:
        """Return the engine's filter, cached: a generation never changes."""
        made = self._filters.get(repr(where))
        if made is None:
            engine, kinds = engine_conditions(), self._shard.indexed_fields()

            def exists(test: Test) -> bool:
                made = filter_translation.engine_filter(test, engine, kinds, self._shard.read)
                return any(True for _ in self._shard.read(["number"], made, 1))

            filter_translation.require_fields(where, kinds, exists, self.fields)
            made = filter_translation.engine_filter(where, engine, kinds, self._shard.read)
            # Other threads read the same dict, so a full one is left to them and a new one begun.
            known = self._filters if len(self._filters) < KNOWN_FILTERS else {}
            self._filters = {**known, repr(where): made}
        return made

    def info(self) -> CollectionInfo:
        size = real_size(self._root)
        return CollectionInfo(self._name, self._counts["documents"], self._counts["points"], size, self.manifest)

    def close(self) -> None:
        try:
            with suppress(StoreFull):  # nothing of a reader's is worth keeping
                self._shard.close()
        finally:
            self._lease.release()


def _warn_of_network(root: Path) -> None:
    kind = network_file_system(root)
    if kind:
        log.warning("%s lies on %s: the embedded engine is not safe there. Use a local folder or a server.", root, kind)
