"""The one writer of an embedded collection, on a shard of its own, and what becomes of that shard.

What readers have is filled from `work`. A replacement is filled in `rebuild` beside it, and takes the place of `work`
once it has been published; given up, it leaves `work` and what readers have as they were.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from filelock import FileLock

from hybrid_search.errors import ManifestMismatch, StoreError
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.protocols import HEAD_FIELDS, CollectionInfo, Head
from hybrid_search.store import generations
from hybrid_search.store.names import write_names
from hybrid_search.store.records import Record, going_on, read_record, same_building, settled, unfinished
from hybrid_search.store.schema import being_built, check_points, check_vectors, is_present, new_fields
from hybrid_search.store.shard import Shard
from hybrid_search.types import Moved, Point, Vector, chunk_id_of, point_id_of

log = logging.getLogger(__name__)

OPTIMIZE_FROM = 5_000
"""Points from which the engine has an index to build; below it scans, which is as fast."""

REOPEN_EVERY = 5_000
"""Points after which files are let go of: their pages, once touched, count as this process's memory."""

OPTIMIZE_EVERY = 20_000
"""Points after which what was written becomes a segment on the disk, so that memory does not grow with them."""


class EdgeWriter:
    """Fills `work`, or with `replace` a replacement of what is published."""

    def __init__(self, name: str, root: Path, manifest: Manifest, lock: FileLock, *, replace: bool = False) -> None:
        self._name, self._root, self._lock = name, root, lock
        self._pid = os.getpid()
        settled(root)
        self._beside = replace and (root / "CURRENT").exists()
        self._work = root / ("rebuild" if self._beside else "work")
        begun = unfinished(root, self._work)
        self.resumed = begun is not None and (not replace or begun.manifest.fingerprint() == manifest.fingerprint())
        if replace and not self.resumed:
            # First of all, so that a removal cut short is no collection to go on with.
            (self._work / "manifest.json").unlink(missing_ok=True)
        if not (self._work / "manifest.json").is_file():
            # The manifest is written last, so a creation cut short starts afresh.
            generations.remove_folder(self._work)
            self._build = uuid.uuid4().hex
            self._shard = Shard.create(self._work / "shard", manifest)
            self._keep(manifest)
            self._mark_changed()
        else:
            self.manifest, _, self._build = going_on(root, self._work)
            if self.manifest.fingerprint() != manifest.fingerprint():
                raise ManifestMismatch(name, "the manifest", self.manifest.fingerprint(), manifest.fingerprint())
            if read_record(self._work) != (self.manifest, {}, self._build):
                self._keep(self.manifest)
            self._shard = Shard.load(self._work / "shard")
        self._fields = dict(self._shard.indexed_fields())
        self._unoptimized = self._unopened = 0
        # One thread looks up what is there while another writes, and the shard is another one after `_optimize`.
        self._turn = threading.RLock()

    def heads(self, doc_ids: Sequence[str]) -> dict[str, Head]:
        ids = [point_id_of(chunk_id_of(doc_id, 0)) for doc_id in doc_ids]
        with self._turn:
            found = self._shard.retrieve(ids, HEAD_FIELDS)
        return {payload["doc_id"]: Head.of(payload) for payload in found.values()}

    def stamps(self, chunk_ids: Sequence[str]) -> dict[str, str]:
        with self._turn:
            found = self._shard.retrieve([point_id_of(chunk_id) for chunk_id in chunk_ids], ["chunk_id", "stamp"])
        return {p["chunk_id"]: p["stamp"] for p in found.values() if "stamp" in p}

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
        self._unoptimized += len(points)
        self._unopened += len(points)
        if self._unoptimized >= OPTIMIZE_EVERY:
            self._optimize()
        elif self._unopened >= REOPEN_EVERY:
            self._reopen()

    def delete(self, chunk_ids: Iterable[str]) -> None:
        ids = [point_id_of(chunk_id) for chunk_id in chunk_ids]
        if ids:
            self._mark_changed()
            self._shard.delete(ids)

    def set_origins(self, moved: Sequence[Moved]) -> None:
        if moved:
            self._mark_changed()
        for document in moved:
            ids = [point_id_of(chunk_id) for chunk_id in document.chunk_ids()]
            self._shard.set_payload(ids, {"origin": document.origin})

    def flush(self) -> None:
        self._shard.flush()

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

        def names(copy: Shard) -> Iterator[tuple[UUID, str]]:
            for place, (point, payload) in enumerate(copy.scroll(["chunk_id"])):
                if place % REOPEN_EVERY == REOPEN_EVERY - 1:
                    copy.reopen()
                yield point, payload["chunk_id"]

        def settle(path: Path) -> None:
            copy = Shard.load(path)
            try:
                found = copy.counts(manifest)
                write_names(path.parent / "names", names(copy))
            finally:
                copy.close()
            if found != whole:
                raise StoreError(f"The copy in {path} holds {found}, expected {whole}; readers keep what they have.")

        published = Record(manifest, counts, self._build).to_dict()
        with self._turn:
            self._shard.close()  # the copy is opened meanwhile: of two such only one is in memory
            try:
                generations.publish(self._root, self._work / "shard", published, settle)
            finally:
                self._shard = Shard.load(self._work / "shard")
        self._keep(manifest)
        (self._work / "changed").unlink(missing_ok=True)
        self._take_place()
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

    def _take_place(self) -> None:
        """After a replacement has been published: its shard is the one that is worked on from here on."""
        if not self._beside:
            return
        self._shard.close()
        settled(self._root)
        self._beside, self._work = False, self._root / "work"
        self._shard = Shard.load(self._work / "shard")

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
        if not (self._work / "changed").exists():
            # As durable as what is written after it: without it those writes would never be published.
            generations.write_text(self._work / "changed", "")

    def _reopen(self) -> None:
        with self._turn:
            self._shard.flush()
            self._shard.reopen()
        self._unopened = 0

    def _optimize(self) -> None:
        """Build the engine's indexes in a child process: it holds the interpreter lock for seconds to minutes."""
        generations.require_space(self._root, 2 * generations.real_size(self._work))
        path = self._work / "shard"
        code = "import sys; from hybrid_search.store.shard import optimize; optimize(sys.argv[1])"
        with self._turn:
            self._shard.flush()
            self._shard.close()
            try:
                command = [sys.executable, "-c", code, str(path)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            finally:
                self._shard = Shard.load(path)
                self._shard.flush()  # loading replays the last operation of the log
        self._unoptimized = self._unopened = 0
        if done.returncode != 0:
            last_line = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            log.warning("Collection %s stays without its search index (slower, still right): %s", self._name, last_line)
