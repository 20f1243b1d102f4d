"""One collection on a Qdrant server: for searching, and for indexing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from hybrid_search.errors import CollectionDamaged, ManifestMismatch, StoreError, StoreUnavailable
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.protocols import CollectionInfo, Head
from hybrid_search.store import filters
from hybrid_search.store.schema import (
    FIXED_FIELDS,
    FieldType,
    being_built,
    check_points,
    check_requests,
    check_vectors,
    is_present,
    new_fields,
    present_vectors,
    vector_name,
    vector_of,
)
from hybrid_search.store.transport import server_errors
from hybrid_search.types import LegName, Point, SparseVector, Vector, chunk_id_of, point_id_of
from hybrid_search.where import Condition, Test

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

MANIFEST_KEY = "hybrid_search"
UPSERT_BATCH = 128
SCROLL_PAGE = 1_000


class ServerReader:
    """One collection, for searching."""

    def __init__(self, client: QdrantClient, real: str, name: str, location: str) -> None:
        self._client, self._real, self._name, self._location = client, real, name, location
        self.manifest = manifest_of(client, real, name, location)
        self._known: set[str] = set()

    def retrieve(
        self, requests: Sequence[tuple[LegName, Vector]], limit: int, where: Condition | None = None
    ) -> list[list[tuple[str, float]]]:
        check_requests(requests, limit, self.manifest)
        if where is None:
            return self._query(requests, limit, None)
        kinds = self._kinds()
        filters.require_fields(where, kinds, self._exists(kinds), self.fields)
        engine = client_conditions()
        try:
            return self._query(requests, limit, filters.engine_filter(where, engine, kinds, self._scan))
        except StoreUnavailable:
            raise
        except StoreError:
            # A server may refuse fields without an index (strict mode), or be older than a condition; ids it knows.
            return self._query(requests, limit, filters.resolved(where, engine, self._scan))

    def fields(self) -> Mapping[str, str]:
        with server_errors(self._location):
            records, _ = self._client.scroll(self._real, limit=filters.SAMPLE, with_payload=["metadata"])
        return filters.fields_of(self._kinds(), (record.payload or {} for record in records))

    def doc_ids(self) -> Iterator[str]:
        heads = _scroll(self._client, self._real, _heads(), ["doc_id"], self._location)
        return (payload["doc_id"] for payload in heads)

    def payloads(self, chunk_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        return _retrieve(self._client, self._real, chunk_ids, True, self._location)

    def vectors(self, leg: LegName, chunk_ids: Sequence[str]) -> dict[str, Vector]:
        name = vector_name(leg, self.manifest)
        by_point = {str(point_id_of(chunk_id)): chunk_id for chunk_id in chunk_ids}
        with server_errors(self._location):
            records = self._client.retrieve(self._real, list(by_point), with_payload=False, with_vectors=[name])
        # One name among several comes as a dict; there is no unnamed vector here.
        found = {by_point[str(record.id)]: cast("dict[str, Any]", record.vector or {}).get(name) for record in records}
        return {chunk_id: vector_of(raw) for chunk_id, raw in found.items() if raw is not None}

    def info(self) -> CollectionInfo:
        return info_of(self._client, self._real, self._name, self.manifest, self._location)

    def close(self) -> None:
        """The client belongs to the store."""

    def _query(
        self, requests: Sequence[tuple[LegName, Vector]], limit: int, wanted: models.Filter | None
    ) -> list[list[tuple[str, float]]]:
        from qdrant_client import models

        called = self.manifest.vectors()
        with server_errors(self._location):
            about = 0 if wanted is None else self._client.count(self._real, wanted, exact=False).count
            exact = models.SearchParams(exact=True) if wanted is not None and about <= filters.EXACT_UP_TO else None
            asked = [
                models.QueryRequest(
                    query=_to_client(vector),
                    using=called[leg],
                    limit=limit,
                    filter=wanted,
                    params=None if isinstance(vector, SparseVector) else exact,
                    with_payload=["chunk_id"],
                )
                for leg, vector in requests
            ]
            answers = self._client.query_batch_points(self._real, asked)
        return [[(p.payload["chunk_id"], p.score) for p in answer.points if p.payload] for answer in answers]

    def _kinds(self) -> dict[str, str]:
        """The indexed fields now: a writer may add some."""
        with server_errors(self._location):
            schema = self._client.get_collection(self._real).payload_schema
        return {path: _field_kind(index) for path, index in schema.items()}

    def _exists(self, kinds: Mapping[str, str]) -> Callable[[Test], bool]:
        def exists(test: Test) -> bool:
            if test.field not in self._known:
                try:
                    wanted = filters.engine_filter(test, client_conditions(), kinds, self._scan)
                    with server_errors(self._location):
                        found, _ = self._client.scroll(self._real, wanted, limit=1, with_payload=False)
                except StoreUnavailable:
                    raise
                except StoreError:
                    return True  # refused: nobody can tell
                if not found:
                    return False
                self._known.add(test.field)
            return True

        return exists

    def _scan(self, fields: list[str], wanted: models.Filter | None) -> Iterator[tuple[UUID, dict[str, Any]]]:
        for payload in _scroll(self._client, self._real, wanted, ["chunk_id", *fields], self._location):
            yield point_id_of(payload["chunk_id"]), payload


class ServerWriter:
    """One collection, for indexing. Every write is acknowledged by the server before the next."""

    def __init__(
        self, client: QdrantClient, real: str, live: str | None, name: str, manifest: Manifest, location: str
    ) -> None:
        self._client, self._real, self._live, self._name, self._location = client, real, live, name, location
        found = manifest_of(client, real, name, location)
        if found.fingerprint() != manifest.fingerprint():
            raise ManifestMismatch(name, "the manifest", found.fingerprint(), manifest.fingerprint())
        self.manifest = found
        with server_errors(location):
            schema = client.get_collection(real).payload_schema
        self._fields: dict[str, FieldType] = {path: _field_kind(index) for path, index in schema.items()}

    def heads(self, doc_ids: Sequence[str]) -> dict[str, Head]:
        wanted = [chunk_id_of(doc_id, 0) for doc_id in doc_ids]
        found = _retrieve(self._client, self._real, wanted, ["doc_id", "stamp", "chunks"], self._location)
        return {p["doc_id"]: Head(p["stamp"], p["chunks"]) for p in found.values()}

    def stamps(self, chunk_ids: Sequence[str]) -> dict[str, str]:
        found = _retrieve(self._client, self._real, chunk_ids, ["stamp"], self._location)
        return {chunk_id: p["stamp"] for chunk_id, p in found.items() if "stamp" in p}

    def doc_ids(self) -> Iterator[str]:
        for payload in self._scroll(_heads(), ["doc_id"]):
            yield payload["doc_id"]

    def upsert(self, points: Sequence[Point]) -> None:
        from qdrant_client import models

        check_points(points, self.manifest)
        for path, kind in new_fields(points, self._fields).items():
            _index_field(self._client, self._real, path, kind, self._location)
            self._fields[path] = kind
        records = [
            models.PointStruct(
                id=str(point.point_id),
                vector={name: _to_client(vector) for name, vector in present_vectors(point, self.manifest).items()},
                payload=dict(point.payload),
            )
            for point in points
        ]
        with server_errors(self._location):
            for start in range(0, len(records), UPSERT_BATCH):
                self._client.upsert(self._real, records[start : start + UPSERT_BATCH], wait=True)

    def delete(self, chunk_ids: Iterable[str]) -> None:
        from qdrant_client import models

        ids: list[Any] = [str(point_id_of(chunk_id)) for chunk_id in chunk_ids]
        if ids:
            with server_errors(self._location):
                self._client.delete(self._real, models.PointIdsList(points=ids), wait=True)

    def publish(self, manifest: Manifest | None = None) -> None:
        from qdrant_client import models

        if manifest is not None and manifest != self.manifest:
            self.relabel(manifest)
        if self._live == self._real:
            return
        create = models.CreateAliasOperation(
            create_alias=models.CreateAlias(collection_name=self._real, alias_name=self._name)
        )
        drop = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self._name))
        with server_errors(self._location):
            self._client.update_collection_aliases([drop, create] if self._live else [create])
            if self._live:
                self._client.delete_collection(self._live)
        self._live = self._real

    def stored(self, without: str = "") -> Iterator[dict[str, Any]]:
        from qdrant_client import models

        lacking = models.Filter(must_not=[models.HasVectorCondition(has_vector=without)]) if without else None
        return self._scroll(lacking, True)

    def extend(self, spec: LegSpec) -> None:
        from qdrant_client import models

        self._require_live()
        self._drop_vectors({*self.manifest.vectors().values(), spec.vector})
        modifier = models.Modifier.IDF if spec.needs_idf else None
        dense = models.DenseVectorConfig(size=spec.dim or 1, distance=models.Distance.COSINE)
        sparse = models.SparseVectorConfig(modifier=modifier)
        config: Any = models.SparseVectorNameConfig(sparse=sparse)
        if spec.dim:
            config = models.DenseVectorNameConfig(dense=dense)
        try:
            with server_errors(self._location):
                self._client.create_vector_name(self._real, spec.vector, config, wait=True)
        except StoreUnavailable:
            raise
        except StoreError as error:
            raise StoreError(f"{error} (A vector can be added to a collection from Qdrant 1.18 on.)") from error

    def set_vectors(self, spec: LegSpec, vectors: Mapping[str, Vector]) -> None:
        from qdrant_client import models

        check_vectors(vectors, spec)
        records = [
            models.PointVectors(id=str(point_id_of(chunk_id)), vector={spec.vector: _to_client(vector)})
            for chunk_id, vector in vectors.items()
            if is_present(vector)
        ]
        with server_errors(self._location):
            for start in range(0, len(records), UPSERT_BATCH):
                self._client.update_vectors(self._real, records[start : start + UPSERT_BATCH], wait=True)

    def relabel(self, manifest: Manifest) -> None:
        self._require_live()
        with server_errors(self._location):
            self._client.update_collection(self._real, metadata={MANIFEST_KEY: manifest.to_dict()})
        self.manifest = manifest

    def tidy(self) -> None:
        self._drop_vectors(set(self.manifest.vectors().values()))

    def info(self) -> CollectionInfo:
        return info_of(self._client, self._real, self._name, self.manifest, self._location)

    def close(self) -> None:
        """The client belongs to the store."""

    def _drop_vectors(self, keep: set[str]) -> None:
        with server_errors(self._location):
            params = self._client.get_collection(self._real).config.params
            dense = params.vectors if isinstance(params.vectors, dict) else {}
            for name in sorted({*dense, *(params.sparse_vectors or {})} - keep):
                self._client.delete_vector_name(self._real, name, wait=True)

    def _scroll(self, wanted: models.Filter | None, fields: bool | list[str]) -> Iterator[dict[str, Any]]:
        return _scroll(self._client, self._real, wanted, fields, self._location)

    def _require_live(self) -> None:
        if self._live != self._real:
            raise StoreError(being_built(self._name))


def create(client: QdrantClient, real: str, manifest: Manifest, location: str) -> None:
    from qdrant_client import models

    names = manifest.vectors()
    client.create_collection(
        real,
        vectors_config={
            names[leg]: models.VectorParams(size=spec.dim, distance=models.Distance.COSINE)
            for leg, spec in manifest.legs.items()
            if spec.dim
        },
        sparse_vectors_config={
            names[leg]: models.SparseVectorParams(modifier=models.Modifier.IDF if spec.needs_idf else None)
            for leg, spec in manifest.legs.items()
            if not spec.dim
        },
        metadata={MANIFEST_KEY: manifest.to_dict()},
    )
    for path, kind in FIXED_FIELDS.items():
        _index_field(client, real, path, kind, location)


def _index_field(client: QdrantClient, real: str, path: str, kind: FieldType, location: str) -> None:
    from qdrant_client import models

    with server_errors(location), warnings.catch_warnings():
        # The client's own in-memory form says that it ignores payload indexes; its answers are the same without.
        warnings.filterwarnings("ignore", message="Payload indexes have no effect")
        client.create_payload_index(real, path, models.PayloadSchemaType(kind), wait=True)


def _field_kind(index: Any) -> FieldType:
    kind: FieldType = getattr(index.data_type, "value", index.data_type)
    return kind


def manifest_of(client: QdrantClient, real: str, name: str, location: str) -> Manifest:
    with server_errors(location):
        metadata = client.get_collection(real).config.metadata or {}
    if MANIFEST_KEY not in metadata:
        raise StoreError(
            f"Collection {name!r} in {location} was not made by hybrid-search: it has no manifest, so its models are "
            "not known. Index its documents into a new collection: hybrid-search index SOURCE -c NEW_NAME"
        )
    try:
        return Manifest.from_dict(metadata[MANIFEST_KEY])
    except ValueError as error:
        raise CollectionDamaged(f"The manifest of {name!r} in {location} cannot be read: {error}.") from error


def info_of(client: QdrantClient, real: str, name: str, manifest: Manifest, location: str) -> CollectionInfo:
    with server_errors(location):
        documents = client.count(real, _heads(), exact=True).count
        return CollectionInfo(name, documents, client.count(real, exact=True).count, None, manifest)


def _retrieve(
    client: QdrantClient, real: str, chunk_ids: Sequence[str], payload: bool | list[str], location: str
) -> dict[str, dict[str, Any]]:
    by_point = {str(point_id_of(chunk_id)): chunk_id for chunk_id in chunk_ids}
    with server_errors(location):
        records = client.retrieve(real, list(by_point), with_payload=payload)
    return {by_point[str(record.id)]: record.payload or {} for record in records}


def _scroll(
    client: QdrantClient, real: str, wanted: models.Filter | None, fields: bool | list[str], location: str
) -> Iterator[dict[str, Any]]:
    offset = None
    while True:
        with server_errors(location):
            records, offset = client.scroll(real, wanted, limit=SCROLL_PAGE, offset=offset, with_payload=fields)
        for record in records:
            yield record.payload or {}
        if offset is None:
            return


def client_conditions() -> filters.Engine:
    """What the client calls the conditions of a filter."""
    from qdrant_client import models

    def ids(points: set[UUID]) -> models.HasIdCondition:
        return models.HasIdCondition(has_id=sorted(map(str, points)))

    return filters.Engine(models, models.Range, models.DatetimeRange, bool, ids)


def _heads() -> models.Filter:
    from qdrant_client import models

    return models.Filter(must=[models.FieldCondition(key="number", match=models.MatchValue(value=0))])


def _to_client(vector: Vector) -> Any:
    from qdrant_client import models

    if isinstance(vector, SparseVector):
        return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
    return vector.tolist()
