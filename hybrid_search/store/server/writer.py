"""Filling one collection on a Qdrant server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from hybrid_search.errors import ManifestMismatch, StoreError, StoreUnavailable
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.protocols import HEAD_FIELDS, CollectionInfo, DocumentHead
from hybrid_search.store.schema import (
    FIXED_FIELDS,
    MAX_INDEXED_FIELDS,
    FieldType,
    check_points,
    check_vectors,
    is_present,
    new_fields,
    present_vectors,
    unfinished_message,
)
from hybrid_search.store.server.connection import RetryingClient
from hybrid_search.store.server.counts import Counts, count
from hybrid_search.store.server.frequencies import (
    COUNTS_KEY,
    Ledger,
    can_count,
    counts_name,
    drop_version,
    make_counts,
)
from hybrid_search.store.server.limits import WriteLimits
from hybrid_search.store.server.payload_layouts import add_framework_keys
from hybrid_search.store.server.reader import (
    MANIFEST_KEY,
    ServerReader,
    field_kind,
    heads_only,
    index_field,
    info_of,
    manifest_of,
    retrieve_payloads,
    to_client,
)
from hybrid_search.store.server.scrolling import scroll_payloads
from hybrid_search.types import Moved, Point, Vector, chunk_id_of, point_id_of

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

UPSERT_BATCH = 128
REQUEST_BYTES = 16_000_000
"""Bytes of a request, about; a server takes 32 MiB, and hangs up on more while they are sent."""


class ServerWriter:
    """One collection, for indexing. The server acknowledges every write before the next is sent.

    Args:
        line: to the server; of this writer alone.
        real: the version to fill.
        live: the version that readers have under the name; None where there is none yet.
        name: the collection's.
        manifest: what the caller expects of the version.
        older: returns the versions of the name below one, which `publish` drops.
        resumed: whether the version existed, unpublished.
    """

    def __init__(
        self,
        line: RetryingClient,
        real: str,
        live: str | None,
        name: str,
        manifest: Manifest,
        *,
        older: Callable[[str], list[str]],
        resumed: bool = False,
    ) -> None:
        self._line, self._real, self._live, self._name, self._older = line, real, live, name, older
        self.resumed = resumed
        found = manifest_of(line, real, name)
        if found.fingerprint() != manifest.fingerprint():
            raise ManifestMismatch(name, "the manifest", found.fingerprint(), manifest.fingerprint())
        self.manifest = found
        described = line.call(lambda client: client.get_collection(real))
        strict = described.config.strict_mode_config
        most = strict.upsert_max_batchsize if strict and strict.enabled else None
        self._limits = WriteLimits(min(UPSERT_BATCH, most or UPSERT_BATCH), REQUEST_BYTES)
        side, schema = (described.config.metadata or {}).get(COUNTS_KEY), described.payload_schema
        self._ledger = None if side is None else Ledger(line.call, real, side)
        self._fields: dict[str, FieldType] = {path: field_kind(index) for path, index in schema.items()}
        self.index(FIXED_FIELDS)

    def index(self, fields: Mapping[str, FieldType]) -> None:
        """Create missing indexes; replace an integer index by a float one where floats came."""
        for path, kind in fields.items():
            have = self._fields.get(path)
            room = len(self._fields) < MAX_INDEXED_FIELDS + len(FIXED_FIELDS)
            if (have is None and room) or (have, kind) == ("integer", "float"):
                index_field(self._line, self._real, path, kind)
                self._fields[path] = kind

    def heads(self, doc_ids: Sequence[str]) -> dict[str, DocumentHead]:
        wanted = [chunk_id_of(doc_id, 0) for doc_id in doc_ids]
        found = self._line.call(lambda client: retrieve_payloads(client, self._real, wanted, HEAD_FIELDS))
        return {payload["doc_id"]: DocumentHead.of(payload) for payload in found.values()}

    def version_hashes(self, chunk_ids: Sequence[str]) -> dict[str, str]:
        found = self._line.call(lambda client: retrieve_payloads(client, self._real, chunk_ids, ["stamp"]))
        return {chunk_id: p["stamp"] for chunk_id, p in found.items() if "stamp" in p}

    def doc_ids(self) -> Iterator[str]:
        for payload in self._scroll(heads_only(), ["doc_id"]):
            yield payload["doc_id"]

    def upsert(self, points: Sequence[Point]) -> None:
        from qdrant_client import models

        check_points(points, self.manifest)
        self.index(new_fields(points, self._fields))
        records = [
            models.PointStruct(
                id=str(point.point_id),
                vector={name: to_client(vector) for name, vector in present_vectors(point, self.manifest).items()},
                payload=add_framework_keys(point.payload, self.manifest.layout),
            )
            for point in points
        ]
        names = self._counted()
        after = count((present_vectors(point, self.manifest) for point in points), names) if names else {}
        with self._change([record.id for record in records], names, after):
            self._in_batches(lambda client, some: client.upsert(self._real, some, wait=True), records)

    def delete(self, chunk_ids: Iterable[str]) -> None:
        from qdrant_client import models

        ids: list[Any] = [str(point_id_of(chunk_id)) for chunk_id in chunk_ids]
        if ids:
            with self._change(ids, self._counted(), {}):
                self._line.call(lambda client: client.delete(self._real, models.PointIdsList(points=ids), wait=True))

    def set_origins(self, moved: Sequence[Moved]) -> None:
        from qdrant_client import models

        changes: list[Any] = []
        for document in moved:
            points: list[Any] = [str(point_id_of(chunk_id)) for chunk_id in document.chunk_ids()]
            payload = models.SetPayload(payload={"origin": document.origin}, points=points)
            changes.append(models.SetPayloadOperation(set_payload=payload))
        self._in_batches(lambda client, some: client.batch_update_points(self._real, some, wait=True), changes)

    def flush(self) -> None:
        """Do nothing: what the server acknowledged is in its log."""

    def publish(self, manifest: Manifest | None = None) -> None:
        from qdrant_client import models

        if manifest is not None and manifest != self.manifest:
            write_manifest(self._line, self._real, manifest)
            self.manifest = manifest
        if self._ledger is not None:
            self._ledger.fold()
        if self._live == self._real:
            return
        create = models.CreateAliasOperation(
            create_alias=models.CreateAlias(collection_name=self._real, alias_name=self._name)
        )
        drop = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self._name))
        swap: list[Any] = [drop, create] if self._live else [create]
        self._line.call(lambda client: client.update_collection_aliases(swap))
        self._live = self._real
        # Not only the one before: a job may have been cut short just here.
        for real in self._older(self._real):
            drop_version(self._line, real)

    def iter_payloads(self, without: str = "") -> Iterator[dict[str, Any]]:
        from qdrant_client import models

        lacking = models.Filter(must_not=[models.HasVectorCondition(has_vector=without)]) if without else None
        return self._scroll(lacking, True)

    def written(self) -> ServerReader:
        """Return the version that is filled, to be read as long as this writer is open."""
        side = self._ledger.side if self._ledger else None
        return ServerReader(self._line, self._real, self._name, lambda _: self._real, self.manifest, side)

    def add_vector(self, spec: LegSpec) -> None:
        from qdrant_client import models

        self._require_live()
        self._drop_vectors({*self.manifest.vectors().values(), spec.vector})
        if spec.needs_idf and self._ledger is None and not self._counted_by_server():
            self._attach_counts()
        modifier = models.Modifier.IDF if spec.needs_idf and self._ledger is None else None
        dense = models.DenseVectorConfig(size=spec.dim or 1, distance=models.Distance.COSINE)
        sparse = models.SparseVectorConfig(modifier=modifier)
        config: Any = models.SparseVectorNameConfig(sparse=sparse)
        if spec.dim:
            config = models.DenseVectorNameConfig(dense=dense)
        try:
            self._line.call(lambda client: client.create_vector_name(self._real, spec.vector, config, wait=True))
        except StoreUnavailable:
            raise
        except StoreError as error:
            raise StoreError(f"{error} (A vector can be added to a collection from Qdrant 1.18 on.)") from error

    def set_vectors(self, spec: LegSpec, vectors: Mapping[str, Vector]) -> None:
        from qdrant_client import models

        check_vectors(vectors, spec)
        records = [
            models.PointVectors(id=str(point_id_of(chunk_id)), vector={spec.vector: to_client(vector)})
            for chunk_id, vector in vectors.items()
            if is_present(vector)
        ]
        names = [spec.vector] if spec.needs_idf else []
        with self._change(
            [record.id for record in records],
            names,
            count(({spec.vector: v} for v in vectors.values() if is_present(v)), names),
        ):
            self._in_batches(lambda client, some: client.update_vectors(self._real, some, wait=True), records)

    def replace_manifest(self, manifest: Manifest) -> None:
        self._require_live()
        write_manifest(self._line, self._real, manifest)
        self.manifest = manifest

    def drop_unused_vectors(self) -> None:
        self._drop_vectors(set(self.manifest.vectors().values()))

    def info(self) -> CollectionInfo:
        return info_of(self._line.call, lambda: self._real, self._name, self.manifest)

    def close(self) -> None:
        """Cancel all waiting for the server. The client belongs to the store."""
        self._line.cancel()

    def _in_batches(self, write: Callable[[QdrantClient, list[Any]], object], records: list[Any]) -> None:
        self._limits.write(lambda some: self._line.call(lambda client: write(client, some)), records, size_of)

    def _drop_vectors(self, keep: set[str]) -> None:
        params = self._line.call(lambda client: client.get_collection(self._real)).config.params
        dense = params.vectors if isinstance(params.vectors, dict) else {}
        gone = sorted({*dense, *(params.sparse_vectors or {})} - keep)
        for name in gone:
            self._line.call(lambda client, name=name: client.delete_vector_name(self._real, name, wait=True))  # type: ignore[misc]
        if self._ledger is not None and gone:
            self._ledger.fold(without=gone)

    def _counted(self) -> list[str]:
        """Return the names of the vectors whose frequencies are counted here."""
        if self._ledger is None:
            return []
        names = self.manifest.vectors()
        return [names[leg] for leg, spec in self.manifest.legs.items() if spec.needs_idf]

    def _change(self, points: Sequence[Any], names: Sequence[str], after: Counts) -> AbstractContextManager[None]:
        if self._ledger is None or not names or not points:
            return nullcontext()
        return self._ledger.change([str(point) for point in points], names, after)

    def _counted_by_server(self) -> bool:
        """Say whether the server counts here: the collection was made so, or the server is too old."""
        params = self._line.call(lambda client: client.get_collection(self._real)).config.params
        return any(one.modifier for one in (params.sparse_vectors or {}).values()) or not can_count(self._line)

    def _attach_counts(self) -> None:
        side = counts_name(self._real)
        self._line.call(lambda client: make_counts(client, side))
        self._line.call(lambda client: client.update_collection(self._real, metadata={COUNTS_KEY: side}))
        self._ledger = Ledger(self._line.call, self._real, side)

    def _scroll(self, wanted: models.Filter | None, fields: bool | list[str]) -> Iterator[dict[str, Any]]:
        return scroll_payloads(self._line.call, lambda: self._real, wanted, fields)

    def _require_live(self) -> None:
        if self._live != self._real:
            raise StoreError(unfinished_message(self._name))


def size_of(record: Any) -> int:
    """Return about how many bytes a point or a change takes in a request, as JSON, which is the longer form."""
    return sum(_length(part) for part in (getattr(record, "vector", None), getattr(record, "payload", None)))


def _length(part: Any) -> int:
    if isinstance(part, str):
        return 2 * len(part) + 4  # letters beyond ASCII, and signs that are escaped, take more than one byte
    if isinstance(part, dict):
        return sum(_length(key) + _length(value) for key, value in part.items())
    if isinstance(part, (list, tuple)):
        return 22 * len(part) if part and isinstance(part[0], float) else sum(map(_length, part))
    if hasattr(part, "indices"):
        return 34 * len(part.indices)
    return 24


def write_manifest(line: RetryingClient, real: str, manifest: Manifest) -> None:
    """Write a manifest into a collection's own metadata, beside what others keep there."""
    metadata = {MANIFEST_KEY: manifest.to_dict()}
    line.call(lambda client: client.update_collection(real, metadata=metadata))


def create(line: RetryingClient, real: str, manifest: Manifest) -> None:
    """Create an empty version; an existing one stays."""
    from qdrant_client import models

    names = manifest.vectors()
    vectors = {
        names[leg]: models.VectorParams(size=spec.dim, distance=models.Distance.COSINE)
        for leg, spec in manifest.legs.items()
        if spec.dim
    }
    weighted = any(spec.needs_idf for spec in manifest.legs.values())
    side = counts_name(real) if weighted and can_count(line) else None
    sparse = {
        names[leg]: models.SparseVectorParams(modifier=models.Modifier.IDF if spec.needs_idf and not side else None)
        for leg, spec in manifest.legs.items()
        if not spec.dim
    }
    metadata = {MANIFEST_KEY: manifest.to_dict(), **({COUNTS_KEY: side} if side else {})}

    def make(client: QdrantClient) -> None:
        # The answer to an earlier attempt may have been lost.
        if not client.collection_exists(real):
            if side:
                make_counts(client, side)
            client.create_collection(real, vectors_config=vectors, sparse_vectors_config=sparse, metadata=metadata)

    line.call(make)
