"""The one writer of an embedded collection.

The published generation is filled from `work`. A replacement is filled in `rebuild` beside it, and becomes `work` once
it has been published. If it is given up, `work` and the published generation stay as they were.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from hybrid_search.errors import CollectionDamaged, ManifestMismatch, StoreError
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.protocols import HEAD_FIELDS, CollectionInfo, DocumentHead
from hybrid_search.store.edge import generations
from hybrid_search.store.edge.chunk_ids import write_chunk_ids
from hybrid_search.store.edge.disk import real_size, require_space
from hybrid_search.store.edge.files import sums_out, write_checked
from hybrid_search.store.edge.locks import WriterLock
from hybrid_search.store.edge.manifest_file import (
    Record,
    pending_record,
    promote_rebuild,
    read_record,
    resume_record,
    same_building,
    writer_record,
)
from hybrid_search.store.edge.shard_process import AnyShard
from hybrid_search.store.edge.working_reader import WorkingReader
from hybrid_search.store.edge.working_shard import WorkingShard
from hybrid_search.store.edge.write_log import (
    AddVector,
    Delete,
    DropVector,
    IndexField,
    SetPayload,
    SetVectors,
    Upsert,
    Write,
)
from hybrid_search.store.schema import (
    StoredPoint,
    check_points,
    check_vectors,
    is_present,
    new_fields,
    present_vectors,
    unfinished_message,
)
from hybrid_search.types import Moved, Point, Vector, chunk_id_of, point_id_of

log = logging.getLogger(__name__)

OPTIMIZE_FROM = 5_000
"""Points from which the engine builds an index; below it scans, which is as fast."""

REOPEN_EVERY = 5_000
"""Points after which files are released: their pages, once touched, count as this process's memory."""

OPTIMIZE_EVERY = 20_000
"""Points after which the written points become a segment on disk, so that memory stays constant."""

WRITE_BYTES = 4 * 1024 * 1024
"""Largest batch of points in one write, in bytes (but at least one point): the disk needs room for no more."""


class EdgeWriter:
    """Fills `work`, or with `replace` a replacement of the published collection."""

    def __init__(self, name: str, root: Path, manifest: Manifest, lock: WriterLock, *, replace: bool = False) -> None:
        self._name, self._root, self._lock = name, root, lock
        self._pid = os.getpid()
        self.manifest = manifest
        promote_rebuild(root)
        self._beside = replace and (root / "CURRENT").exists()
        self._work = root / ("rebuild" if self._beside else "work")
        begun = pending_record(root, self._work)
        self.resumed = begun is not None and (not replace or begun.manifest.fingerprint() == manifest.fingerprint())
        if replace and not self.resumed:
            # First of all, so that a removal cut short is no collection to go on with.
            (self._work / "manifest.json").unlink(missing_ok=True)
        # One thread looks up what is there while another writes, and the shard is another one after `_optimize`.
        self._turn = threading.RLock()
        known = None if replace and not self.resumed else resume_record(root, self._work)
        if known is None:
            self._create(manifest)
        else:
            self._resume(known, manifest)
        try:
            self._fields = dict(self._shard.indexed_fields())
        except BaseException:
            self._working.close()
            raise
        self._unoptimized, self._unopened = self._working.logged_points, 0

    @property
    def _shard(self) -> AnyShard:
        with self._turn:
            return self._working.shard

    def heads(self, doc_ids: Sequence[str]) -> dict[str, DocumentHead]:
        ids = [point_id_of(chunk_id_of(doc_id, 0)) for doc_id in doc_ids]
        with self._turn:
            found = self._shard.retrieve(ids, HEAD_FIELDS)
        return {payload["doc_id"]: DocumentHead.of(payload) for payload in found.values()}

    def version_hashes(self, chunk_ids: Sequence[str]) -> dict[str, str]:
        with self._turn:
            found = self._shard.retrieve([point_id_of(chunk_id) for chunk_id in chunk_ids], ["chunk_id", "stamp"])
        return {p["chunk_id"]: p["stamp"] for p in found.values() if "stamp" in p}

    def doc_ids(self) -> Iterator[str]:
        for _, payload in self._shard.scroll(["doc_id"], heads=True):
            yield payload["doc_id"]

    def upsert(self, points: Sequence[Point]) -> None:
        texts = check_points(points, self.manifest)
        for path, kind in new_fields(points, self._fields).items():
            self._write(IndexField(path, kind))
            self._fields[path] = kind
        for some in _batches_by_bytes(
            StoredPoint(point.point_id, present_vectors(point, self.manifest), point.payload, text)
            for point, text in zip(points, texts, strict=True)
        ):
            self._write(Upsert(some))
        self._unoptimized += len(points)
        self._unopened += len(points)
        if self._unoptimized >= OPTIMIZE_EVERY:
            self._optimize(keep=True)
        elif self._unopened >= REOPEN_EVERY:
            self._reopen()

    def delete(self, chunk_ids: Iterable[str]) -> None:
        ids = [point_id_of(chunk_id) for chunk_id in chunk_ids]
        if ids:
            self._write(Delete(ids))

    def set_origins(self, moved: Sequence[Moved]) -> None:
        for document in moved:
            ids = [point_id_of(chunk_id) for chunk_id in document.chunk_ids()]
            self._write(SetPayload(ids, {"origin": document.origin}))

    def flush(self) -> None:
        self._working.sync()

    def publish(self, manifest: Manifest | None = None) -> None:
        manifest = manifest or self.manifest
        self._working.sync()
        if not self._working.unpublished and manifest == self.manifest and self._is_published():
            return
        with self._turn:
            if self._shard.count() >= OPTIMIZE_FROM:
                self._optimize(keep=False)
            counts = {**self._shard.counts(manifest), "documents": self._shard.count(heads=True)}
            self._working.publish(Record(manifest, counts, self._build), _write_chunk_ids)
            self.manifest = manifest
            self._promote()
        generations.sweep(self._root)

    def iter_payloads(self, without: str = "") -> Iterator[dict[str, Any]]:
        for _, payload in self._shard.scroll(True, without=without):
            yield payload

    def written(self) -> WorkingReader:
        """Return what has been written so far, to be read as long as this writer is open."""
        return WorkingReader(lambda: self._shard, self.manifest)

    def add_vector(self, spec: LegSpec) -> None:
        self._require_live()
        self._drop_vectors({*self.manifest.vectors().values(), spec.vector})
        if spec.vector not in self._shard.vector_names():
            self._write(AddVector(spec.vector, spec.dim, spec.needs_idf))

    def set_vectors(self, spec: LegSpec, vectors: Mapping[str, Vector]) -> None:
        check_vectors(vectors, spec)
        by_point = {point_id_of(chunk_id): vector for chunk_id, vector in vectors.items() if is_present(vector)}
        if by_point:
            self._write(SetVectors(spec.vector, by_point))

    def replace_manifest(self, manifest: Manifest) -> None:
        folder = self._require_live()
        record = read_record(folder).with_legs(manifest, self._build)
        sums = sums_out(generations.published_sums(folder))
        # The published record first: it decides if this process ends between the two (`resume_record`).
        write_checked(folder / "manifest.json", {**record.to_dict(), **sums})
        self._keep(manifest)

    def drop_unused_vectors(self) -> None:
        self._drop_vectors(set(self.manifest.vectors().values()))

    def info(self) -> CollectionInfo:
        size = real_size(self._root)
        return CollectionInfo(self._name, self._shard.count(heads=True), self._shard.count(), size, self.manifest)

    def close(self) -> None:
        if os.getpid() != self._pid:
            return  # a fork: shard and lock are its parent's
        try:
            with self._turn:
                self._working.close()
        finally:
            self._lock.release()

    def _create(self, manifest: Manifest) -> None:
        """Create an empty shard. The manifest is written last, so that an interrupted creation starts afresh."""
        generations.remove_folder(self._work)
        self._build = uuid.uuid4().hex
        self._working = WorkingShard.create(self._name, self._lock, self._work, manifest)
        self._keep(manifest)

    def _resume(self, known: Record, manifest: Manifest) -> None:
        """Resume the existing shard, if it was built alike."""
        if known.manifest.fingerprint() != manifest.fingerprint():
            raise ManifestMismatch(self._name, "the manifest", known.manifest.fingerprint(), manifest.fingerprint())
        self.manifest, self._build = known.manifest, known.build
        own = writer_record(self._work)
        if own is None or own.build != self._build:
            self._work.mkdir(exist_ok=True)
            write_checked(self._work / "manifest.json", Record(self.manifest, {}, self._build).to_dict())
        self._working = WorkingShard.resume(self._name, self._lock, self._work)
        if own is None or own.manifest != self.manifest:
            self._keep(self.manifest)

    def _keep(self, manifest: Manifest) -> None:
        self._working.describe(Record(manifest, {}, self._build))
        self.manifest = manifest

    def _write(self, write: Write) -> None:
        with self._turn:
            self._working.write(write)

    def _promote(self) -> None:
        """Make a published replacement the working shard."""
        if self._beside:
            promote_rebuild(self._root)
            self._beside, self._work = False, self._root / "work"
            self._working.move_to(self._work)

    def _drop_vectors(self, keep: set[str]) -> None:
        for name in sorted(self._shard.vector_names() - keep):
            self._write(DropVector(name))

    def _is_published(self) -> bool:
        """Say whether a generation is published whose files have the right lengths."""
        try:
            folder = generations.current(self._root)
            return folder is not None and not generations.damaged_files(folder)
        except CollectionDamaged:
            return False

    def _require_live(self) -> Path:
        """Return the published generation's folder; refuse if it belongs to another build."""
        folder = generations.current(self._root)
        if folder is None or not same_building(read_record(folder), read_record(self._work)):
            raise StoreError(unfinished_message(self._name))
        return folder

    def _reopen(self) -> None:
        with self._turn:
            self._working.reopen()
        self._unopened = 0

    def _optimize(self, *, keep: bool) -> None:
        """Build the engine's indexes in a child process: that holds the interpreter lock for seconds to minutes."""
        require_space(self._root, 2 * real_size(self._work / "shard"))
        with self._turn:
            problem = self._working.optimize(Record(self.manifest, {}, self._build) if keep else None)
        self._unoptimized = self._unopened = 0
        if problem:
            log.warning("Collection %s stays without its search index (slower, still right): %s", self._name, problem)


def _batches_by_bytes(points: Iterable[StoredPoint]) -> Iterator[list[StoredPoint]]:
    """Yield points in lists of about `WRITE_BYTES`, at least one in each."""
    some: list[StoredPoint] = []
    size = 0
    for point in points:
        more = point.size()
        if some and size + more > WRITE_BYTES:
            yield some
            some, size = [], 0
        some.append(point)
        size += more
    if some:
        yield some


def _write_chunk_ids(copy: AnyShard, folder: Path) -> None:
    """Write the map of all chunk ids beside a copy of their shard."""

    def names() -> Iterator[tuple[UUID, str]]:
        for place, (point, payload) in enumerate(copy.scroll(["chunk_id"])):
            if place % REOPEN_EVERY == REOPEN_EVERY - 1:
                copy.reopen()
            yield point, payload["chunk_id"]

    write_chunk_ids(folder / "names", names())
