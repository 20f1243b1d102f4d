"""Collections on a Qdrant server or cluster, through qdrant-client.

A collection NAME is an alias of `NAME__v1`, `NAME__v2`, ...: a rebuild fills the next version beside the one in use and
moves the alias at the end, in one atomic call. The manifest lies in the collection's own metadata.
"""

from __future__ import annotations

import re
import socket
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hybrid_search.errors import (
    CollectionDamaged,
    CollectionNotFound,
    ConfigError,
    ManifestMismatch,
    StoreError,
    StoreUnavailable,
)
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import CollectionInfo, Head
from hybrid_search.store.schema import FIXED_FIELDS, FieldType, check_name, check_points, new_fields
from hybrid_search.types import LegName, Point, SparseVector, Vector, chunk_id_of, point_id_of

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

MANIFEST_KEY = "hybrid_search"
UPSERT_BATCH = 128
SCROLL_PAGE = 1_000
GRPC_PORT = 6334
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
        if api_key and parts.scheme == "http" and host not in _LOOPBACK:
            raise ConfigError(f"An API key would go to {url} unencrypted. Use an https:// URL.")
        port = parts.port or (443 if parts.scheme == "https" else 6333)
        grpc = _is_open(host, GRPC_PORT)
        with _server(url), warnings.catch_warnings():
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
            client.get_collections()
        return cls(client, url)

    @property
    def location(self) -> str:
        return self._location

    def names(self) -> list[str]:
        with _server(self._location):
            real = [collection.name for collection in self._client.get_collections().collections]
            aliases = [alias.alias_name for alias in self._client.get_aliases().aliases]
        return sorted(aliases + [name for name in real if not re.search(r"__v\d+$", name)])

    def reader(self, name: str) -> ServerReader:
        return ServerReader(self._client, self._require(name), name, self._location)

    def info(self, name: str) -> CollectionInfo:
        return self.reader(name).info()

    def manifest(self, name: str) -> Manifest | None:
        real = self._unfinished(name) or self._resolve(name)
        return None if real is None else _manifest(self._client, real, name, self._location)

    def writer(self, name: str, manifest: Manifest, *, replace: bool = False, wait_s: float = 0.0) -> ServerWriter:
        """`wait_s` does not count here: a server takes writes from many."""
        live = self._resolve(name)
        unfinished = self._unfinished(name)
        with _server(self._location):
            if unfinished and replace:
                self._client.delete_collection(unfinished)
                unfinished = None
            real = unfinished or (None if replace else live)
            if real is None:
                real = f"{check_name(name)}__v{_version(live) + 1}"
                _create(self._client, real, manifest)
        return ServerWriter(self._client, real, live, name, manifest, self._location)

    def delete(self, name: str) -> None:
        real = self._require(name)
        with _server(self._location):
            self._client.delete_collection(real)

    def close(self) -> None:
        self._client.close()

    def _require(self, name: str) -> str:
        real = self._resolve(name)
        if real is None:
            raise CollectionNotFound(name, self.names(), self._location)
        return real

    def _resolve(self, name: str) -> str | None:
        """The real collection behind a name, or None."""
        with _server(self._location):
            for alias in self._client.get_aliases().aliases:
                if alias.alias_name == name:
                    return str(alias.collection_name)
            return name if self._client.collection_exists(name) else None

    def _unfinished(self, name: str) -> str | None:
        """A version above the live one, which a job began and did not publish."""
        following = f"{check_name(name)}__v{_version(self._resolve(name)) + 1}"
        with _server(self._location):
            return following if self._client.collection_exists(following) else None


class ServerReader:
    """One collection, for searching."""

    def __init__(self, client: QdrantClient, real: str, name: str, location: str) -> None:
        self._client, self._real, self._name, self._location = client, real, name, location
        self.manifest = _manifest(client, real, name, location)

    def retrieve(self, requests: Sequence[tuple[LegName, Vector]], limit: int) -> list[list[tuple[str, float]]]:
        from qdrant_client import models

        asked = [
            models.QueryRequest(query=_to_client(vector), using=leg, limit=limit, with_payload=["chunk_id"])
            for leg, vector in requests
        ]
        with _server(self._location):
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
        with _server(location):
            schema = client.get_collection(real).payload_schema
        self._fields: dict[str, FieldType] = {path: _field_kind(index) for path, index in schema.items()}

    def heads(self, doc_ids: Sequence[str]) -> dict[str, Head]:
        wanted = [chunk_id_of(doc_id, 0) for doc_id in doc_ids]
        found = _retrieve(self._client, self._real, wanted, ["doc_id", "stamp", "chunks"], self._location)
        return {p["doc_id"]: Head(p["stamp"], p["chunks"]) for p in found.values()}

    def doc_ids(self) -> Iterator[str]:
        offset = None
        while True:
            with _server(self._location):
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
                vector={
                    leg: _to_client(v)
                    for leg, v in point.vectors.items()
                    if not (isinstance(v, SparseVector) and len(v) == 0)
                },
                payload=dict(point.payload),
            )
            for point in points
        ]
        with _server(self._location):
            for start in range(0, len(records), UPSERT_BATCH):
                self._client.upsert(self._real, records[start : start + UPSERT_BATCH], wait=True)

    def delete(self, chunk_ids: Iterable[str]) -> None:
        from qdrant_client import models

        ids: list[Any] = [str(point_id_of(chunk_id)) for chunk_id in chunk_ids]
        if ids:
            with _server(self._location):
                self._client.delete(self._real, models.PointIdsList(points=ids), wait=True)

    def publish(self) -> None:
        from qdrant_client import models

        if self._live == self._real:
            return
        create = models.CreateAliasOperation(
            create_alias=models.CreateAlias(collection_name=self._real, alias_name=self._name)
        )
        drop = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=self._name))
        with _server(self._location):
            self._client.update_collection_aliases([drop, create] if self._live else [create])
            if self._live:
                self._client.delete_collection(self._live)
        self._live = self._real

    def info(self) -> CollectionInfo:
        return _info(self._client, self._real, self._name, self.manifest, self._location)

    def close(self) -> None:
        """The client belongs to the store."""


def _create(client: QdrantClient, real: str, manifest: Manifest) -> None:
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
        _index_field(client, real, path, kind, real)


def _index_field(client: QdrantClient, real: str, path: str, kind: FieldType, location: str) -> None:
    from qdrant_client import models

    with _server(location), warnings.catch_warnings():
        # The client's own in-memory form says that it ignores payload indexes; its answers are the same without.
        warnings.filterwarnings("ignore", message="Payload indexes have no effect")
        client.create_payload_index(real, path, models.PayloadSchemaType(kind), wait=True)


def _field_kind(index: Any) -> FieldType:
    kind: FieldType = getattr(index.data_type, "value", index.data_type)
    return kind


def _manifest(client: QdrantClient, real: str, name: str, location: str) -> Manifest:
    with _server(location):
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
    with _server(location):
        documents = client.count(real, _heads(), exact=True).count
        return CollectionInfo(name, documents, client.count(real, exact=True).count, None, manifest)


def _retrieve(
    client: QdrantClient, real: str, chunk_ids: Sequence[str], payload: bool | list[str], location: str
) -> dict[str, dict[str, Any]]:
    by_point = {str(point_id_of(chunk_id)): chunk_id for chunk_id in chunk_ids}
    with _server(location):
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


def _version(real: str | None) -> int:
    found = re.search(r"__v(\d+)$", real or "")
    return int(found.group(1)) if found else 0


def _is_open(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=0.3):
        return True
    return False


@contextmanager
def _server(location: str) -> Iterator[None]:
    """Turn what qdrant-client and its transports raise into errors of ours."""
    from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

    try:
        yield
    except UnexpectedResponse as error:
        status = error.status_code or 0
        detail = error.content.decode("utf-8", "replace")[:300] if error.content else error.reason_phrase
        if status in (401, 403):
            raise ConfigError(
                f"{location} refused the API key ({status}). Set HYBRID_SEARCH_API_KEY to one that may do this."
            ) from error
        if status == 429 or status >= 500:
            raise StoreUnavailable(f"{location} answered {status}: {detail}. Try again later.") from error
        raise StoreError(f"{location} refused the request ({status}): {detail}") from error
    except ResponseHandlingException as error:
        raise StoreUnavailable(
            f"No answer from {location}: {error}. Is the server running (docker compose up -d), is the URL right?"
        ) from error
    except ApiException as error:
        raise StoreUnavailable(f"{location} cannot answer now: {error}. Try again later.") from error
    except Exception as error:
        if type(error).__module__.startswith("grpc"):
            code = getattr(error, "code", lambda: "unknown")()
            detail = getattr(error, "details", lambda: "")() or ""
            raise StoreUnavailable(f"{location} failed over gRPC ({code}): {detail[:300]}") from error
        raise
