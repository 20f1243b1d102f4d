"""The embedded Qdrant engine behind plain values: uuids, floats and dicts in and out, and our own errors.

This is the only module that imports `qdrant_edge`. The engine is fast and exact, but beta: it validates nothing, it
panics with exceptions that `except Exception` does not catch, and it hangs in a forked child. So callers check every
batch first (`schema.check_points`), and every call here goes through `_using` or `_engine`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import numpy as np
import xxhash

from hybrid_search.errors import CollectionDamaged, InvalidArgument, StoreError
from hybrid_search.manifest import Manifest
from hybrid_search.store.edge.engine_errors import translate_errors as _engine
from hybrid_search.store.filter_conditions import Engine
from hybrid_search.store.schema import FIXED_FIELDS, StoredPoint, vector_of, vector_or_nan
from hybrid_search.types import SparseVector, Vector

if TYPE_CHECKING:
    import qdrant_edge

SCROLL_PAGE = 5_000
EXAMINED_PAGE = 500
FINGERPRINTED_BYTES = 16 * 1024 * 1024

SEGMENT_POINTS = 27_000
"""Largest segment that is built by merging. Building a segment's indexes takes memory in proportion to its size."""

SPARSE_SEGMENT_KB = 2_000
SPARSE_INDEXED_FROM_KB = 1_000
"""Size of sparse vectors from which a segment is indexed, in a collection without dense vectors."""


def engine_conditions() -> Engine:
    """Return the engine's names for the conditions of a filter."""
    import qdrant_edge as q

    # It takes a bool of Python's for the integer 1, and one of numpy's for what it is.
    return Engine(q, q.RangeFloat, q.RangeDateTime, np.bool_, lambda points: q.HasIdCondition({*points}))


def engine_bm25(average_tokens: float, k: float, b: float, language: str) -> qdrant_edge.Bm25:
    """Return the engine's own BM25 text model: tokenizer, stop words and Snowball stemmer of `language`.

    Raises:
        InvalidArgument: the engine does not know the language.
    """
    import qdrant_edge

    try:
        return qdrant_edge.Bm25(qdrant_edge.Bm25Config(k=k, b=b, avg_len=average_tokens, language=language))
    except ValueError as error:
        raise InvalidArgument(f"BM25 cannot be set up for language {language!r}: {error}. Try 'english'.") from error


class Shard:
    """An open shard. It works neither in a fork nor after `close`."""

    def __init__(self, shard: qdrant_edge.EdgeShard, path: Path) -> None:
        self._shard, self._path = shard, path
        self._pid = os.getpid()
        self._closed = False
        self._closing = threading.Lock()
        self._damage: CollectionDamaged | None = None
        self.is_lost = False
        """Whether the engine has failed. What its files hold then is unknown."""

    @classmethod
    def create(cls, path: Path, manifest: Manifest) -> Shard:
        import qdrant_edge as q

        names, cold = manifest.vectors(), q.Memory.Cold
        dense: dict[str, q.EdgeVectorParams] = {
            names[leg]: q.EdgeVectorParams(spec.dim, q.Distance.Cosine, memory=cold)
            for leg, spec in manifest.legs.items()
            if spec.dim
        }
        sparse: dict[str, q.EdgeSparseVectorParams] = {
            names[leg]: q.EdgeSparseVectorParams(modifier=q.Modifier.Idf if spec.needs_idf else None, memory=cold)
            for leg, spec in manifest.legs.items()
            if not spec.dim
        }
        with _engine(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            config = q.EdgeConfig(
                vectors=dense,
                sparse_vectors=sparse,
                optimizers=_optimizers(manifest),
                payload_memory=cold,
                id_tracker_memory=cold,
                wal_enabled=False,  # there is a log of ours beside it (see `write_log`)
            )
            shard = cls(q.EdgeShard.create(str(path), config), path)
        for field, kind in FIXED_FIELDS.items():
            shard.index_field(field, kind)
        return shard

    @classmethod
    def load(cls, path: Path) -> Shard:
        import qdrant_edge as q

        with _engine(path):
            return cls(q.EdgeShard.load(str(path)), path)

    def index_field(self, path: str, kind: str) -> None:
        import qdrant_edge as q

        # On the disk: of doc_id, for one, every value is another one, and the index would grow with the collection.
        cold: Any = {"memory": q.Memory.Cold}
        if kind == "integer":
            cold |= {"lookup": True, "range": path not in FIXED_FIELDS}
        schema = getattr(q, f"{kind.capitalize()}IndexParams")(**cold)
        self._update(q.UpdateOperation.create_field_index(path, schema))

    def indexed_fields(self) -> dict[str, Any]:
        return {path: str(one.data_type).rpartition(".")[2].lower() for path, one in self.info().payload_schema.items()}

    def upsert(self, points: Sequence[StoredPoint]) -> None:
        import qdrant_edge as q

        with self._using():
            records = [
                q.Point(point.id, {name: _to_engine(v) for name, v in point.vectors.items()}, dict(point.payload))
                for point in points
            ]
        self._update(q.UpdateOperation.upsert_points(records))

    def vector_names(self) -> set[str]:
        """Return the names of the vectors that points may have."""
        config = json.loads((self._path / "edge_config.json").read_text(encoding="utf-8"))
        return {*config.get("vectors", {}), *config.get("sparse_vectors", {})}

    def add_vector(self, name: str, dim: int, needs_idf: bool) -> None:
        """Add a vector field to the shard, a sparse one where `dim` is 0. An existing field stays as it is."""
        import qdrant_edge as q

        if dim:
            self._update(q.UpdateOperation.create_dense_vector(name, dim, q.Distance.Cosine))
        else:
            self._update(q.UpdateOperation.create_sparse_vector(name, q.Modifier.Idf if needs_idf else None))

    def drop_vector(self, name: str) -> None:
        import qdrant_edge as q

        self._update(q.UpdateOperation.delete_vector_name(name))

    def set_vectors(self, name: str, vectors: Mapping[UUID, Vector]) -> None:
        """Set one vector of existing points; they keep their others."""
        import qdrant_edge as q

        with self._using():
            records = [q.PointVectors(point, {name: _to_engine(vector)}) for point, vector in vectors.items()]
        self._update(q.UpdateOperation.update_vectors(records))

    def set_payload(self, ids: Sequence[UUID], payload: Mapping[str, Any]) -> None:
        """Overwrite some keys in the payloads of existing points."""
        import qdrant_edge as q

        self._update(q.UpdateOperation.set_payload(list(ids), dict(payload)))

    def delete(self, ids: Sequence[UUID]) -> None:
        import qdrant_edge as q

        self._update(q.UpdateOperation.delete_points(list(ids)))

    def query(
        self,
        requests: Sequence[tuple[str, Vector]],
        limit: int,
        wanted: qdrant_edge.Filter | None = None,
        *,
        exact: bool = False,
    ) -> list[list[tuple[UUID, float]]]:
        """Return for each (vector's name, query) the nearest points with their scores, among those that pass a filter.

        With `exact` all of them are compared, without an approximate index.
        """
        import qdrant_edge as q

        params = q.SearchParams(exact=True) if exact else None
        asked = [
            q.QueryRequest(
                query=q.Query.Nearest(_to_engine(vector), using=name),
                limit=limit,
                filter=wanted,
                params=None if isinstance(vector, SparseVector) else params,
            )
            for name, vector in requests
        ]
        with self._using():
            answers = self._shard.query_batch(q.QueryBatchRequest(asked))
        return [[(cast(UUID, point.id), point.score) for point in answer] for answer in answers]

    def retrieve(self, ids: Sequence[UUID], payload: bool | list[str]) -> dict[UUID, dict[str, Any]]:
        with self._using():
            records = self._shard.retrieve(list(ids), payload, False)
        return {cast(UUID, record.id): record.payload or {} for record in records}

    def vectors_of(self, name: str, ids: Sequence[UUID]) -> dict[UUID, Vector]:
        """Return the vector of this name of each point that has one."""
        with self._using():
            records = self._shard.retrieve(list(ids), False, [name])
        found = {cast(UUID, record.id): cast("dict[str, Any]", record.vector or {}).get(name) for record in records}
        return {point: vector_of(raw) for point, raw in found.items() if raw is not None}

    def first(self, count: int) -> list[UUID]:
        """Return the first points by id. Ids are hashes, so these are arbitrary points, but always the same ones."""
        return [point for point, _ in self.read(False, None, count)] if count else []

    def fingerprints(self, ids: Sequence[UUID], bounded: bool) -> dict[UUID, str]:
        """Return a hash of each point's payload and vectors. If `bounded`, stop after `FINGERPRINTED_BYTES`."""
        found, size = {}, 0
        for point in ids:
            with self._using():
                records = self._shard.retrieve([point], True, True)
            for record in records:
                found[point], length = _fingerprint(record)
                size += length
            if bounded and size > FINGERPRINTED_BYTES:
                break
        return found

    def scroll(
        self, fields: bool | list[str], *, heads: bool = False, without: str = ""
    ) -> Iterator[tuple[UUID, dict[str, Any]]]:
        """Yield these payload fields of every point, of every document's head, or of every point without a vector."""
        offset = None
        while True:
            some, offset = self.page(fields, heads, without, offset)
            yield from some
            if offset is None:
                return

    def page(
        self, fields: bool | list[str], heads: bool, without: str, offset: Any
    ) -> tuple[list[tuple[UUID, dict[str, Any]]], Any]:
        """Return the next page of what `scroll` yields, and the offset of the page after it; None at the end."""
        import qdrant_edge as q

        lacking = q.Filter(must_not=[q.HasVectorCondition(without)]) if without else None
        return self._page(fields, _heads() if heads else lacking, SCROLL_PAGE, offset)

    def read(
        self, fields: bool | list[str], wanted: qdrant_edge.Filter | None, limit: int | None = None
    ) -> Iterator[tuple[UUID, dict[str, Any]]]:
        """Yield these payload fields of the points that pass a filter, of the first `limit` or of all."""
        offset = None
        while True:
            some, offset = self._page(fields, wanted, limit or SCROLL_PAGE, offset)
            yield from some
            if offset is None or limit is not None:
                return

    def iter_points(self) -> Iterator[tuple[UUID, dict[str, Any], dict[str, Vector]]]:
        """Yield every point with its payload and its vectors by name; an unreadable vector becomes one NaN."""
        import qdrant_edge as q

        offset = None
        while True:
            page = q.ScrollRequest(limit=EXAMINED_PAGE, offset=offset, with_payload=True, with_vector=True)
            with self._using():
                records, offset = self._shard.scroll(page)
            for record in records:
                raw = cast("dict[str, Any]", record.vector or {})
                vectors = {name: vector_or_nan(one) for name, one in raw.items()}
                yield cast(UUID, record.id), record.payload or {}, vectors
            if offset is None:
                return

    def estimate_count(self, wanted: qdrant_edge.Filter) -> int:
        """Estimate how many points pass a filter, without counting them."""
        import qdrant_edge as q

        with self._using():
            return self._shard.count(q.CountRequest(filter=wanted, exact=False))

    def count(self, *, heads: bool = False, vector: str = "") -> int:
        import qdrant_edge as q

        wanted = _heads() if heads else q.Filter(must=[q.HasVectorCondition(vector)]) if vector else None
        with self._using():
            return self._shard.count(q.CountRequest(filter=wanted, exact=True))

    def counts(self, manifest: Manifest) -> dict[str, int]:
        """Count the points, and those with a vector of each leg. A damaged file may change these without an error."""
        found = {leg: self.count(vector=name) for leg, name in manifest.vectors().items()}
        return {"points": self.count(), **found}

    def flush(self) -> None:
        self._require_whole()
        with self._using():
            self._shard.flush()

    def optimize(self) -> None:
        with self._using():
            self._shard.optimize()

    def reopen(self) -> None:
        """Release the files that were read so far: their pages count as this process's memory."""
        import qdrant_edge as q

        with self._using():
            self._shard.close()
            self._shard = q.EdgeShard.load(str(self._path))

    def close(self) -> None:
        with self._closing:
            if not self._closed and os.getpid() == self._pid:
                self._closed = True
                with _engine(self._path):
                    self._shard.close()

    def info(self) -> Any:
        """Return the engine's own summary: `segments_count`, `indexed_vectors_count`, `payload_schema`."""
        with self._using():
            return self._shard.info()

    def _page(
        self, fields: bool | list[str], wanted: qdrant_edge.Filter | None, limit: int, offset: Any
    ) -> tuple[list[tuple[UUID, dict[str, Any]]], Any]:
        import qdrant_edge as q

        page = q.ScrollRequest(limit=limit, offset=offset, filter=wanted, with_payload=fields)
        with self._using():
            records, offset = self._shard.scroll(page)
        return [(cast(UUID, record.id), record.payload or {}) for record in records], offset

    def _update(self, operation: qdrant_edge.UpdateOperation) -> None:
        self._require_whole()
        try:
            with self._using():
                self._shard.update(operation)
        except CollectionDamaged as error:
            self._damage = error
            raise

    def _require_whole(self) -> None:
        # After a panic the engine still says that a flush went well, so nothing may be published from here on.
        if self._damage is not None:
            raise CollectionDamaged(str(self._damage)) from self._damage

    @contextmanager
    def _using(self) -> Iterator[None]:
        if os.getpid() != self._pid:
            raise StoreError(
                f"{self._path} was opened by process {self._pid} and cannot be used in its fork {os.getpid()}: the "
                "engine would hang. Open the collection inside the worker, or start workers with 'spawn'."
            )
        if self._closed:
            raise StoreError(f"The collection in {self._path.parent} has been closed; open it again.")
        try:
            with _engine(self._path):
                yield
        except StoreError:
            self.is_lost = True
            raise


def _optimizers(manifest: Manifest) -> qdrant_edge.EdgeOptimizersConfig:
    import qdrant_edge as q

    dim = max(spec.dim for spec in manifest.legs.values())
    if dim:
        return q.EdgeOptimizersConfig(max_segment_size=SEGMENT_POINTS * dim * 4 // 1024)
    return q.EdgeOptimizersConfig(max_segment_size=SPARSE_SEGMENT_KB, indexing_threshold=SPARSE_INDEXED_FROM_KB)


def _fingerprint(record: Any) -> tuple[str, int]:
    """Hash a point as the engine returns it. Returns the hash and the number of bytes hashed."""
    said = [json.dumps(record.payload, sort_keys=True).encode()]
    for name, raw in sorted((record.vector or {}).items()):
        vector = vector_of(raw)
        parts = [vector.indices, vector.values] if isinstance(vector, SparseVector) else [vector]
        said += [name.encode(), *(part.tobytes() for part in parts)]
    whole = b"\0".join(said)
    return xxhash.xxh3_64_hexdigest(whole), len(whole)


def _to_engine(vector: Vector) -> Any:
    if isinstance(vector, SparseVector):
        import qdrant_edge

        return qdrant_edge.SparseVector(vector.indices.tolist(), vector.values.tolist())
    return vector


def _heads() -> qdrant_edge.Filter:
    import qdrant_edge as q

    return q.Filter(must=[q.FieldCondition(key="number", match=q.MatchValue(0))])
