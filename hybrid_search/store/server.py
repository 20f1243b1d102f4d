"""Collections on a Qdrant server or cluster, through qdrant-client.

A collection NAME is an alias of `NAME__v1`, `NAME__v2`, ...: a rebuild fills the next version beside the one in use and
moves the alias at the end, in one atomic call. The manifest lies in the collection's own metadata.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hybrid_search.errors import (
    CollectionDamaged,
    CollectionNotFound,
    ConfigError,
    ManifestMismatch,
    StoreError,
)
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import CollectionInfo, Head
from hybrid_search.store.schema import (
    FIXED_FIELDS,
    FieldType,
    check_name,
    check_points,
    check_requests,
    new_fields,
    present_vectors,
)
from hybrid_search.store.transport import is_open, server_errors
from hybrid_search.types import LegName, Point, SparseVector, Vector, chunk_id_of, point_id_of

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

MANIFEST_KEY = "hybrid_search"
UPSERT_BATCH = 128
SCROLL_PAGE = 1_000
REST_PORT, GRPC_PORT = 6333, 6334
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class ServerStore:
    """Collections on one server.

    Args:
        client: an open `QdrantClient`; `connect` makes one from a URL.
        location: shown in messages.
    """

    def __init__(self, client: QdrantClient, location: str = "the Qdrant client") -> None:
        self._client = client
        self._location = location

    @classmethod
    def connect(cls, url: str, *, api_key: str | None = None, timeout_s: float = 30.0) -> ServerStore:
        """Reach a server; gRPC is used where its port is open.

        Raises:
            ConfigError: an API key would travel unencrypted to another machine.
            StoreUnavailable: the server does not answer within `timeout_s`.
        """
        from qdrant_client import QdrantClient

        parts = urlsplit(url)
        host = parts.hostname or ""
        try:
            port = parts.port or (443 if parts.scheme == "https" else REST_PORT)
        except ValueError:
            port = 0
        if not host or not port:
            raise ConfigError(f"{url} is not the URL of a server. Write http://HOST:{REST_PORT}.")
        if api_key and parts.scheme == "http" and host not in _LOOPBACK:
            raise ConfigError(f"An API key would go to {url} unencrypted. Use an https:// URL.")
        # Behind any other port the usual gRPC port may belong to another server.
        grpc = port == REST_PORT and is_open(host, GRPC_PORT)
        with server_errors(url), warnings.catch_warnings():
            # The key over plain http is judged above, and the version check below is a real request.
            warnings.simplefilter("ignore")
            client = QdrantClient(
                url=url,
                port=port,
                api_key=api_key,
                timeout=max(1, round(timeout_s)),
                prefer_grpc=grpc,
                grpc_port=GRPC_PORT,
                check_compatibility=False,
            )
            try:
                client.get_collections()
            except BaseException:
                client.close()
                raise
        return cls(client, url)

    @property
    def location(self) -> str:
        return self._location

    def names(self) -> list[str]:
        """Aliases of versions of the same name: what others keep on this server has no manifest to search it by."""
        with server_errors(self._location):
            aliases = self._client.get_aliases().aliases
        return sorted(a.alias_name for a in aliases if _version_of(a.alias_name, a.collection_name))

    def reader(self, name: str) -> ServerReader:
        return ServerReader(self._client, self._require(name), name, self._location)

    def info(self, name: str) -> CollectionInfo:
        return self.reader(name).info()

    def manifest(self, name: str) -> Manifest | None:
        live = self._resolve(name)
        real = self._unfinished(name, live) or live
        return None if real is None else _manifest(self._client, real, name, self._location)

    def writer(self, name: str, manifest: Manifest, *, replace: bool = False, wait_s: float = 0.0) -> ServerWriter:
        """`wait_s` does not count here: a server takes writes from many."""
        live = self._resolve(name)
        if live is not None and not _version_of(name, live):
            _manifest(self._client, live, name, self._location)
            if replace:
                raise StoreError(
                    f"{name!r} in {self._location} stands for {live!r}, which a new version cannot replace. "
                    "Index into a new name: hybrid-search index SOURCE -c NEW_NAME"
                )
        unfinished = self._unfinished(name, live)
        with server_errors(self._location):
            if unfinished and replace:
                self._client.delete_collection(unfinished)
                unfinished = None
            real = unfinished or (None if replace else live)
            if real is None:
                real = f"{name}__v{_version_of(name, live) + 1}"
                _create(self._client, real, manifest, self._location)
        return ServerWriter(self._client, real, live, name, manifest, self._location)

    def delete(self, name: str) -> None:
        versions = self._versions(name)
        if not versions:
            versions = [self._require(name)]
            _manifest(self._client, versions[0], name, self._location)  # what others made is not ours to delete
        with server_errors(self._location):
            for real in versions:
                self._client.delete_collection(real)

    def close(self) -> None:
        self._client.close()

    def _require(self, name: str) -> str:
        real = self._resolve(name)
        if real is None and self._unfinished(name, None):
            raise StoreError(
                f"Collection {name!r} in {self._location} is being built and has not been finished yet. "
                "Run the same `hybrid-search index` command again to finish it."
            )
        if real is None:
            raise CollectionNotFound(name, self.names(), self._location)
        return real

    def _versions(self, name: str) -> list[str]:
        """Every version of a name, the live one and unfinished ones."""
        with server_errors(self._location):
            real = [collection.name for collection in self._client.get_collections().collections]
        return [version for version in real if _version_of(check_name(name), version)]

    def _resolve(self, name: str) -> str | None:
        """The real collection behind a name, or None."""
        check_name(name)
        with server_errors(self._location):
            for alias in self._client.get_aliases().aliases:
                if alias.alias_name == name:
                    return str(alias.collection_name)
            return name if self._client.collection_exists(name) else None

    def _unfinished(self, name: str, live: str | None) -> str | None:
        """A version above the live one, which a job began and did not publish."""
        following = f"{name}__v{_version_of(name, live) + 1}"
        with server_errors(self._location):
            return following if self._client.collection_exists(following) else None


class ServerReader:
    """One collection, for searching."""

    def __init__(self, client: QdrantClient, real: str, name: str, location: str) -> None:
        self._client, self._real, self._name, self._location = client, real, name, location
        self.manifest = _manifest(client, real, name, location)

    def retrieve(self, requests: Sequence[tuple[LegName, Vector]], limit: int) -> list[list[tuple[str, float]]]:
        from qdrant_client import models

        check_requests(requests, limit, self.manifest)
        asked = [
            models.QueryRequest(query=_to_client(vector), using=leg, limit=limit, with_payload=["chunk_id"])
            for leg, vector in requests
        ]
        with server_errors(self._location):
            answers = self._client.query_batch_points(self._real, asked)
        return [[(p.payload["chunk_id"], p.score) for p in answer.points if p.payload] for answer in answers]

    def payloads(self, chunk_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        return _retrieve(self._client, self._real, chunk_ids, True, self._location)

    def info(self) -> CollectionInfo:
        return _info(self._client, self._real, self._name, self.manifest, self._location)

    def close(self) -> None:
        """The client belongs to the store."""


class ServerWriter:
    """One collection, for indexing. Every write is acknowledged by the server before the next."""

    def __init__(
        self, client: QdrantClient, real: str, live: str | None, name: str, manifest: Manifest, location: str
    ) -> None:
        self._client, self._real, self._live, self._name, self._location = client, real, live, name, location
        found = _manifest(client, real, name, location)
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

    def doc_ids(self) -> Iterator[str]:
        offset = None
        while True:
            with server_errors(self._location):
                records, offset = self._client.scroll(
                    self._real, _heads(), limit=SCROLL_PAGE, offset=offset, with_payload=["doc_id"]
                )
            for record in records:
                yield (record.payload or {})["doc_id"]
            if offset is None:
                return

    def upsert(self, points: Sequence[Point]) -> None:
        from qdrant_client import models

        check_points(points, self.manifest)
        for path, kind in new_fields(points, self._fields).items():
            _index_field(self._client, self._real, path, kind, self._location)
            self._fields[path] = kind
        records = [
            models.PointStruct(
                id=str(point.point_id),
                vector={leg: _to_client(vector) for leg, vector in present_vectors(point).items()},
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

    def publish(self) -> None:
        from qdrant_client import models

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

    def info(self) -> CollectionInfo:
        return _info(self._client, self._real, self._name, self.manifest, self._location)

    def close(self) -> None:
        """The client belongs to the store."""


def _create(client: QdrantClient, real: str, manifest: Manifest, location: str) -> None:
    from qdrant_client import models

    client.create_collection(
        real,
        vectors_config={
            name: models.VectorParams(size=leg.dim, distance=models.Distance.COSINE)
            for name, leg in manifest.legs.items()
            if leg.dim
        },
        sparse_vectors_config={
            name: models.SparseVectorParams(modifier=models.Modifier.IDF if leg.needs_idf else None)
            for name, leg in manifest.legs.items()
            if not leg.dim
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


def _manifest(client: QdrantClient, real: str, name: str, location: str) -> Manifest:
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


def _info(client: QdrantClient, real: str, name: str, manifest: Manifest, location: str) -> CollectionInfo:
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


def _heads() -> models.Filter:
    from qdrant_client import models

    return models.Filter(must=[models.FieldCondition(key="number", match=models.MatchValue(value=0))])


def _to_client(vector: Vector) -> Any:
    from qdrant_client import models

    if isinstance(vector, SparseVector):
        return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
    return vector.tolist()


def _version_of(name: str, real: str | None) -> int:
    """The number of a version of `name`, from 1; 0 where `real` is none."""
    found = re.fullmatch(re.escape(name) + r"__v(\d+)", real or "")
    return int(found.group(1)) if found else 0
