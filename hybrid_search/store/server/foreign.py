"""Collections on a Qdrant server that another program wrote: describing them, and searching them as they are.

Their points keep their ids, so a chunk id here consists of the document's id and the point's (see `payload_layouts`).
`ID#3` works too, as the fourth chunk of a document. Payloads are read as ours. Nothing is written but the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hybrid_search.errors import StoreError
from hybrid_search.filters.syntax import path_of
from hybrid_search.manifest import DenseVectors, Foreign, Layout, Manifest
from hybrid_search.protocols import CollectionInfo
from hybrid_search.store import filter_translation
from hybrid_search.store.filter_conditions import Engine, engine_path
from hybrid_search.store.schema import vector_name, vector_of
from hybrid_search.store.server.connection import RetryingClient
from hybrid_search.store.server.frequencies import COUNTS_KEY
from hybrid_search.store.server.payload_layouts import (
    PointId,
    chunk_id_in,
    document_in,
    place_in,
    point_in,
    read_as_ours,
)
from hybrid_search.store.server.reader import (
    MANIFEST_KEY,
    ServerReader,
    by_name,
    client_conditions,
    manifest_of,
    metadata_of,
    parse_manifest,
)
from hybrid_search.store.server.scrolling import scroll_page, scroll_points
from hybrid_search.types import LegName, Vector

if TYPE_CHECKING:
    from qdrant_client import models

SAMPLE = 64
"""Points that are read to recognize the layout of a collection."""

_PREFIX = "metadata."


def read_only(name: str, manifest: Manifest) -> StoreError:
    """Say why an adopted collection is not written to."""
    whose = manifest.adopted.name if manifest.adopted else "given"
    made = "somebody else" if whose == "given" else whose
    return StoreError(
        f"Collection {name!r} was adopted: {made} writes it, and here it is only searched. Write to it there, or index "
        "its documents into a new collection: hybrid-search index SOURCE -c NEW_NAME"
    )


def described(line: RetryingClient, real: str, name: str) -> Foreign:
    """Describe a collection."""
    info = line.call(lambda client: client.get_collection(real))
    params, metadata = info.config.params, info.config.metadata or {}
    dense = params.vectors if isinstance(params.vectors, dict) else {"": params.vectors} if params.vectors else {}
    page, *_ = scroll_page(line.call, lambda: real, None, True, True, size=SAMPLE)
    return Foreign(
        points=line.call(lambda client: client.count(real, exact=True)).count,
        dense={
            called: DenseVectors(
                one.size, str(getattr(one.distance, "value", one.distance)), bool(one.multivector_config)
            )
            for called, one in dense.items()
        },
        sparse={called: one.modifier == "idf" for called, one in (params.sparse_vectors or {}).items()},
        payloads=[record.payload or {} for record in page],
        vectors=[_vectors(record.vector) for record in page],
        manifest=manifest_of(line, real, name) if MANIFEST_KEY in metadata else None,
    )


def open_reader(line: RetryingClient, real: str, name: str, resolve: Callable[[str], str | None]) -> ServerReader:
    """Open a version for searching, whoever wrote it."""
    metadata = metadata_of(line, real)
    manifest = parse_manifest(metadata, name, line.location)
    if manifest.adopted is None:
        return ServerReader(line, real, name, resolve, manifest, metadata.get(COUNTS_KEY))
    return AdoptedReader(line, real, name, resolve, manifest, manifest.adopted)


class AdoptedReader(ServerReader):
    """A collection of another program, for searching. It answers from what is stored at the moment."""

    def __init__(
        self,
        line: RetryingClient,
        real: str,
        name: str,
        resolve: Callable[[str], str | None],
        manifest: Manifest,
        layout: Layout,
    ) -> None:
        super().__init__(line, real, name, resolve, manifest)
        self._layout = layout
        self._naming = [path_of(layout.doc_id)[0]] if layout.doc_id else False
        self._prefix = f"{engine_path(path_of(layout.metadata))}." if layout.metadata else ""
        self._documents: tuple[int, int] = (0, 0)

    def fields(self) -> Mapping[str, str]:
        page, *_ = scroll_page(self._ask, lambda: self._real, None, True, size=filter_translation.SAMPLE)
        return filter_translation.fields_of(self._kinds(), (self._read(record) for record in page))

    def doc_ids(self) -> Iterator[str]:
        seen = set()
        for record in scroll_points(self._ask, lambda: self._real, None, self._naming):
            doc_id = document_in(record.payload or {}, self._layout) or str(record.id)
            if doc_id not in seen:
                if self._layout.doc_id:  # else every point is another one
                    seen.add(doc_id)
                yield doc_id

    def payloads(self, chunk_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        return {
            chunk_id: self._read(record, number, chunks)
            for chunk_id, (record, number, chunks) in self._find(chunk_ids).items()
        }

    def vectors(self, leg: LegName, chunk_ids: Sequence[str]) -> dict[str, Vector]:
        name = vector_name(leg, self.manifest)
        found = {chunk_id: _vectors(record.vector) for chunk_id, (record, *_) in self._find(chunk_ids, name).items()}
        return {chunk_id: vectors[name] for chunk_id, vectors in found.items() if name in vectors}

    def info(self) -> CollectionInfo:
        points = self._ask(lambda client: client.count(self._real, exact=True)).count
        documents = points
        if self._layout.doc_id:
            if self._documents[0] != points:  # counting reads every point
                self._documents = (points, sum(1 for _ in self.doc_ids()))
            documents = self._documents[1]
        return CollectionInfo(self._name, documents, points, None, self.manifest)

    def _chunk_id(self, point: models.ScoredPoint) -> str:
        return chunk_id_in(point.id, point.payload or {}, self._layout)

    def _read(self, record: models.Record, number: int = 0, chunks: int = 1) -> dict[str, Any]:
        return read_as_ours(record.id, record.payload or {}, self._layout, number, chunks)

    def _conditions(self) -> Engine:
        return client_conditions()._replace(ids=_has_id, key=self._theirs, hidden=self._hidden)

    def _theirs(self, path: str) -> str:
        """Return their path for a path of ours in the metadata, in the engine's notation."""
        return self._prefix + path.removeprefix(_PREFIX)

    def _hidden(self, path: tuple[str, ...]) -> bool:
        """Say whether the engine cannot decide: a document's own fields may be missing, inside JSON, or of any kind."""
        return path[0] != "metadata" or (not self._layout.metadata and path[1] in self._layout.hidden)

    def _kinds(self) -> dict[str, str]:
        """Return the kinds of the indexed metadata fields, by our paths."""
        kinds = super()._kinds()
        inside = {
            path.removeprefix(self._prefix): kind for path, kind in kinds.items() if path.startswith(self._prefix)
        }
        return {_PREFIX + path: kind for path, kind in inside.items() if not self._hidden(("metadata", path))}

    def _scan(self, fields: list[str], wanted: models.Filter | None) -> Iterator[tuple[Any, dict[str, Any]]]:
        for record in scroll_points(self._ask, lambda: self._real, wanted, True):
            yield record.id, self._read(record)

    def _find(self, chunk_ids: Sequence[str], vector: str | None = None) -> dict[str, tuple[models.Record, int, int]]:
        """Return (point, number, chunks of the document) of each chunk that exists.

        The number and the count are 0 and 1 unless the chunk was asked for by its number.
        """
        vectors = None if vector is None else [vector]
        points = {chunk_id: point for chunk_id in chunk_ids if (point := point_in(chunk_id)) is not None}
        by_point = self._retrieve(list(dict.fromkeys(points.values())), vectors)
        found: dict[str, tuple[models.Record, int, int]] = {}
        for chunk_id, point in points.items():
            record = by_point.get(point)
            if record is not None and chunk_id_in(record.id, record.payload or {}, self._layout) == chunk_id:
                found[chunk_id] = (record, 0, 1)
        rest = {chunk_id for chunk_id in chunk_ids if chunk_id not in found and chunk_id.rpartition("#")[2].isdecimal()}
        for doc_id in {chunk_id.rpartition("#")[0] for chunk_id in rest} if self._layout.doc_id else ():
            parts = self._of_document(doc_id, vectors)
            named = {f"{doc_id}#{number}": (record, number, len(parts)) for number, record in enumerate(parts)}
            found.update({chunk_id: named[chunk_id] for chunk_id in rest & named.keys()})
        return {chunk_id: found[chunk_id] for chunk_id in chunk_ids if chunk_id in found}

    def _retrieve(self, points: list[PointId], vectors: list[str] | None) -> dict[PointId, models.Record]:
        if not points:
            return {}
        found = self._ask(
            lambda client: client.retrieve(self._real, points, with_payload=True, with_vectors=vectors or False)
        )
        return {record.id if isinstance(record.id, int) else str(record.id): record for record in found}

    def _of_document(self, doc_id: str, vectors: list[str] | None) -> list[models.Record]:
        """Return the points of a document in the order of their text."""
        from qdrant_client import models

        key = engine_path(path_of(self._layout.doc_id)) or ""
        values: list[str | int] = [doc_id, *([int(doc_id)] if doc_id.isdecimal() else [])]
        either: list[Any] = [models.FieldCondition(key=key, match=models.MatchValue(value=value)) for value in values]
        found = scroll_points(self._ask, lambda: self._real, models.Filter(should=either), True, vectors)
        mine = [record for record in found if document_in(record.payload or {}, self._layout) == doc_id]
        return sorted(mine, key=lambda record: (place_in(record.payload or {}, self._layout), str(record.id)))


def _has_id(points: set[Any]) -> models.HasIdCondition:
    from qdrant_client import models

    return models.HasIdCondition(has_id=sorted(points, key=str))


def _vectors(raw: Any) -> dict[str, Vector]:
    """Return a point's vectors by name, without multi-vectors."""
    return {name: vector_of(one) for name, one in by_name(raw).items() if not _is_many(one)}


def _is_many(raw: Any) -> bool:
    return isinstance(raw, list) and bool(raw) and isinstance(raw[0], list)
