"""Searching one collection on a Qdrant server; also what reading and writing share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from hybrid_search.errors import CollectionChanged, CollectionDamaged, StoreError, StoreUnavailable
from hybrid_search.filters import Condition, Test
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import CollectionInfo
from hybrid_search.store import filter_translation
from hybrid_search.store.filter_conditions import Engine
from hybrid_search.store.idf import measured_frequencies
from hybrid_search.store.schema import FieldType, check_requests, vector_name, vector_of
from hybrid_search.store.server.client_errors import CollectionGone, LimitExceeded
from hybrid_search.store.server.connection import RetryingClient
from hybrid_search.store.server.counts import Frequencies
from hybrid_search.store.server.frequencies import COUNTS_KEY
from hybrid_search.store.server.limits import SearchLimits
from hybrid_search.store.server.live_counts import LiveCounts
from hybrid_search.store.server.scrolling import Ask, scroll_page, scroll_payloads
from hybrid_search.types import LegName, SparseVector, Vector, point_id_of

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

T = TypeVar("T")

MANIFEST_KEY = "hybrid_search"


LOOK_EVERY_S = 1.0


class ServerReader:
    """One collection, for searching. It switches to a rebuilt version if that has the same models.

    Writes are visible at once. Whether the collection was rebuilt, or its legs changed, is checked once a second at
    most, for that takes two requests.

    Args:
        line: to the server.
        real: the version that the name stands for.
        name: the collection's.
        resolve: returns the version that a name stands for now, or None.
        manifest: of that version.
        side: the collection that holds its document frequencies; None where the server counts them.
    """

    max_concurrency = 4
    """Searches wait for the network more than for the interpreter."""

    def __init__(
        self,
        line: RetryingClient,
        real: str,
        name: str,
        resolve: Callable[[str], str | None],
        manifest: Manifest,
        side: str | None = None,
    ) -> None:
        self._line, self._real, self._name, self._resolve = line, real, name, resolve
        self.manifest = manifest
        self._limits = SearchLimits()
        self._naming: bool | list[str] = ["chunk_id"]
        self._known: set[str] = set()
        self._looked = monotonic()
        self._counts = None if side is None else LiveCounts(self._ask, real, side)

    def is_stale(self) -> bool:
        if monotonic() - self._looked < LOOK_EVERY_S:
            return False
        self._looked = monotonic()
        real = self._resolve(self._name)
        return real is None or real != self._real or manifest_of(self._line, real, self._name) != self.manifest

    def retrieve(
        self, requests: Sequence[tuple[LegName, Vector]], limit: int, where: Condition | None = None
    ) -> list[list[tuple[str, float]]]:
        check_requests(requests, limit, self.manifest)
        if where is None:
            return self._query(requests, limit, None) if requests else []
        kinds = self._kinds()
        filter_translation.require_fields(where, kinds, self._exists(kinds), self.fields)
        if not requests:
            return []
        engine = self._conditions()
        try:
            return self._query(requests, limit, filter_translation.engine_filter(where, engine, kinds, self._scan))
        except StoreUnavailable:
            raise
        except StoreError:
            # A server may refuse fields without an index (strict mode), or be older than a condition; ids it knows.
            return self._query(requests, limit, filter_translation.filter_by_ids(where, engine, self._scan))

    def fields(self) -> Mapping[str, str]:
        sample = filter_translation.SAMPLE
        records, *_ = scroll_page(self._ask, lambda: self._real, None, ["metadata"], size=sample)
        return filter_translation.fields_of(self._kinds(), (record.payload or {} for record in records))

    def doc_ids(self) -> Iterator[str]:
        heads = scroll_payloads(self._ask, lambda: self._real, heads_only(), ["doc_id"])
        return (payload["doc_id"] for payload in heads)

    def payloads(self, chunk_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        return self._ask(lambda client: retrieve_payloads(client, self._real, chunk_ids, True))

    def vectors(self, leg: LegName, chunk_ids: Sequence[str]) -> dict[str, Vector]:
        name = vector_name(leg, self.manifest)
        by_point = {str(point_id_of(chunk_id)): chunk_id for chunk_id in chunk_ids}
        ids = list(by_point)
        records = self._ask(lambda c: c.retrieve(self._real, ids, with_payload=False, with_vectors=[name]))
        found = {by_point[str(record.id)]: by_name(record.vector) for record in records}
        return {chunk_id: vector_of(raw[name]) for chunk_id, raw in found.items() if name in raw}

    def inverse_frequencies(self, leg: LegName, dimensions: Sequence[int]) -> dict[int, float]:
        found = self._frequencies(leg)
        if found is None:
            return measured_frequencies(self, leg, dimensions)
        there = zip(found.of(dimensions).tolist(), found.idf(dimensions).tolist(), strict=True)
        return {one: idf if df else 0.0 for one, (df, idf) in zip(dimensions, there, strict=True)}

    def info(self) -> CollectionInfo:
        return info_of(self._ask, lambda: self._real, self._name, self.manifest)

    def close(self) -> None:
        """Do nothing: the client belongs to the store."""

    def notes(self) -> tuple[str, ...]:
        return self._limits.notes()

    def _query(
        self, requests: Sequence[tuple[LegName, Vector]], limit: int, wanted: models.Filter | None
    ) -> list[list[tuple[str, float]]]:
        """Ask as the server's limits allow, which are learned from its refusals."""
        while True:
            some = self._limits.searches or len(requests)
            try:
                return [
                    found
                    for start in range(0, len(requests), some)
                    for found in self._ask_for(requests[start : start + some], self._limits.most(limit), wanted)
                ]
            except LimitExceeded as error:
                if not self._limits.learn(error, limit, len(requests)):
                    raise

    def _ask_for(
        self, requests: Sequence[tuple[LegName, Vector]], limit: int, wanted: models.Filter | None
    ) -> list[list[tuple[str, float]]]:
        from qdrant_client import models

        requests = [(leg, self._weighted(leg, vector)) for leg, vector in requests]

        def query(client: QdrantClient) -> list[models.QueryResponse]:
            called = self.manifest.vectors()
            about = 0 if wanted is None else client.count(self._real, wanted, exact=False).count
            exact = (
                models.SearchParams(exact=True)
                if wanted is not None and about <= filter_translation.EXACT_UP_TO and self._limits.exact
                else None
            )
            asked = [
                models.QueryRequest(
                    query=to_client(vector),
                    using=called[leg],
                    limit=limit,
                    filter=wanted,
                    params=None if isinstance(vector, SparseVector) else exact,
                    with_payload=self._naming,
                )
                for leg, vector in requests
            ]
            return client.query_batch_points(self._real, asked)

        answers = self._ask(query)
        return [[(self._chunk_id(point), point.score) for point in answer.points] for answer in answers]

    def _weighted(self, leg: LegName, vector: Vector) -> Vector:
        """Multiply a query's weights by the inverse document frequencies that are counted here, not by the server."""
        found = self._frequencies(leg)
        if found is None or not isinstance(vector, SparseVector):
            return vector
        return SparseVector.of(vector.indices, vector.values * found.idf(vector.indices.tolist()), signed=vector.signed)

    def _frequencies(self, leg: LegName) -> Frequencies | None:
        """Return the document frequencies of a leg; None where the server itself multiplies by them, or nobody."""
        counts = self._counts
        if counts is None or leg not in self.manifest.legs or not self.manifest.legs[leg].needs_idf:
            return None
        name = vector_name(leg, self.manifest)
        try:
            return counts.of(name)
        except CollectionGone:
            if self._counts is counts:
                raise
            return None if self._counts is None else self._counts.of(name)  # of the version that came after

    def _chunk_id(self, point: models.ScoredPoint) -> str:
        """Return the chunk id of a point whose payload has the fields of `_naming`."""
        return str((point.payload or {})["chunk_id"])

    def _conditions(self) -> Engine:
        return client_conditions()

    def _ask(self, call: Callable[[QdrantClient], T]) -> T:
        """Call the client on the current version; once more on the next version where this one is gone."""
        real = self._real
        try:
            return self._line.call(call)
        except CollectionGone:
            if self._real == real:  # else another thread has been here
                self._follow()
            return self._line.call(call)

    def _follow(self) -> None:
        """Switch to the version that the name stands for now, if it was built alike.

        Where the name stands for no other version, nothing changes, and the caller's error stands.

        Raises:
            CollectionChanged: it was built with other models or other chunking.
        """
        real = self._resolve(self._name)
        if real is None or real == self._real:
            return
        metadata = metadata_of(self._line, real)
        manifest = parse_manifest(metadata, self._name, self._line.location)
        if manifest.fingerprint() != self.manifest.fingerprint():
            raise CollectionChanged(
                f"Collection {self._name!r} in {self._line.location} was rebuilt with other models or other chunking "
                "since it was opened. Open it again to search the new one."
            )
        side = metadata.get(COUNTS_KEY)
        self._counts = None if side is None else LiveCounts(self._ask, real, side)
        self.manifest, self._real = manifest, real

    def _kinds(self) -> dict[str, str]:
        """Return the kinds of the fields that are indexed now: a writer may add some."""
        schema = self._ask(lambda client: client.get_collection(self._real)).payload_schema
        return {path: field_kind(index) for path, index in schema.items()}

    def _exists(self, kinds: Mapping[str, str]) -> Callable[[Test], bool]:
        def exists(test: Test) -> bool:
            if test.field not in self._known:
                try:
                    wanted = filter_translation.engine_filter(test, self._conditions(), kinds, self._scan)
                    found, _ = self._ask(lambda c: c.scroll(self._real, wanted, limit=1, with_payload=False))
                except StoreUnavailable:
                    raise
                except StoreError:
                    return True  # refused: nobody can tell
                if not found:
                    return False
                self._known.add(test.field)
            return True

        return exists

    def _scan(self, fields: list[str], wanted: models.Filter | None) -> Iterator[tuple[Any, dict[str, Any]]]:
        for payload in scroll_payloads(self._ask, lambda: self._real, wanted, ["chunk_id", *fields]):
            yield point_id_of(payload["chunk_id"]), payload


def index_field(line: RetryingClient, real: str, path: str, kind: FieldType) -> None:
    """Index a field; an index of the same kind stays."""
    from qdrant_client import models

    with warnings.catch_warnings():
        # The client's own in-memory form says that it ignores payload indexes; its answers are the same without.
        warnings.filterwarnings("ignore", message="Payload indexes have no effect")
        line.call(lambda client: client.create_payload_index(real, path, models.PayloadSchemaType(kind), wait=True))


def field_kind(index: Any) -> FieldType:
    """Return the kind of an index from the server's description."""
    kind: FieldType = getattr(index.data_type, "value", index.data_type)
    return kind


def manifest_of(line: RetryingClient, real: str, name: str) -> Manifest:
    """Read the manifest of a version.

    Raises:
        StoreError: it has no manifest, so another program made it.
        CollectionDamaged: the manifest cannot be read.
    """
    return parse_manifest(metadata_of(line, real), name, line.location)


def metadata_of(line: RetryingClient, real: str) -> dict[str, Any]:
    """Read what is kept in a version's own metadata."""
    return line.call(lambda client: client.get_collection(real)).config.metadata or {}


def parse_manifest(metadata: Mapping[str, Any], name: str, location: str) -> Manifest:
    """Read the manifest in a version's metadata; raises as `manifest_of`."""
    if MANIFEST_KEY not in metadata:
        raise StoreError(
            f"Collection {name!r} in {location} was not made by hybrid-search: it has no manifest, so its models "
            f"are not known. Name them to search it as it is: hybrid-search collections adopt {name} --dense MODEL "
            "(--sparse MODEL); or index its documents into a new one: hybrid-search index SOURCE -c NEW_NAME"
        )
    try:
        return Manifest.from_dict(metadata[MANIFEST_KEY])
    except ValueError as error:
        raise CollectionDamaged(f"The manifest of {name!r} in {location} cannot be read: {error}.") from error


def info_of(ask: Ask, real: Callable[[], str], name: str, manifest: Manifest) -> CollectionInfo:
    """Describe a version from outside."""
    documents = ask(lambda client: client.count(real(), heads_only(), exact=True)).count
    return CollectionInfo(name, documents, ask(lambda client: client.count(real(), exact=True)).count, None, manifest)


def retrieve_payloads(
    client: QdrantClient, real: str, chunk_ids: Sequence[str], payload: bool | list[str]
) -> dict[str, dict[str, Any]]:
    """Read the payloads, or some fields of them, of the chunks that exist, by chunk id."""
    by_point = {str(point_id_of(chunk_id)): chunk_id for chunk_id in chunk_ids}
    records = client.retrieve(real, list(by_point), with_payload=payload)
    return {by_point[str(record.id)]: record.payload or {} for record in records}


def by_name(vectors: Any) -> dict[str, Any]:
    """Return a point's vectors by name. The client gives a dict, or for a single vector without a name that vector."""
    return vectors if isinstance(vectors, dict) else {} if vectors is None else {"": vectors}


def client_conditions() -> Engine:
    """Return the client's names for the conditions of a filter."""
    from qdrant_client import models

    def ids(points: set[Any]) -> models.HasIdCondition:
        return models.HasIdCondition(has_id=sorted(map(str, points)))

    return Engine(models, models.Range, models.DatetimeRange, bool, ids)


def heads_only() -> models.Filter:
    """Return the filter that passes the first chunk of every document."""
    from qdrant_client import models

    return models.Filter(must=[models.FieldCondition(key="number", match=models.MatchValue(value=0))])


def to_client(vector: Vector) -> Any:
    """Convert a vector to the client's type."""
    from qdrant_client import models

    if isinstance(vector, SparseVector):
        return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
    return vector.tolist()
