"""Surveying a collection on a server, and the server itself, with calls that only read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from hybrid_search.manifest import Manifest
from hybrid_search.store.filter_conditions import all_of
from hybrid_search.store.schema import vector_of
from hybrid_search.store.server.client_errors import CollectionGone
from hybrid_search.store.server.connection import RetryingClient
from hybrid_search.store.server.frequencies import COUNTS_KEY
from hybrid_search.store.server.reader import by_name, client_conditions, field_kind, heads_only, manifest_of, to_client
from hybrid_search.store.server.scrolling import scroll_page, scroll_points
from hybrid_search.store.survey import (
    SAMPLE,
    SCANNED_FIELDS,
    Leftover,
    Notice,
    PointScan,
    Probe,
    Survey,
    probe_legs,
    scan_points,
)
from hybrid_search.types import LegName, Vector

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

_STATUS = {
    "yellow": "it is being optimized",
    "grey": "its optimization waits for an update",
    "red": "one of its operations has failed",
}


def survey(line: RetryingClient, real: str, name: str) -> Survey:
    """Survey the version that a name stands for.

    Raises:
        StoreError: another program made it, and it was not adopted.
        CollectionDamaged: its manifest cannot be read.
    """
    manifest = manifest_of(line, real, name)
    info = line.call(lambda client: client.get_collection(real))
    ours = not manifest.adopted
    sample = _sample(line, real) if ours else {}
    is_local = _is_in_memory(line.client)
    return Survey(
        manifest,
        _count(line, real),
        _count(line, real, heads_only()) if ours else 0,
        {leg: _count(line, real, _having(vector)) for leg, vector in manifest.vectors().items()},
        weighted(info, manifest),
        None if is_local else {path: field_kind(index) for path, index in info.payload_schema.items()},
        None if is_local else info.segments_count,
        None if is_local else info.indexed_vectors_count,
        _trouble(info),
        _scan(line, real) if ours else None,
        list(sample.values()),
        _probes(line, real, manifest, sample),
        _limits(info.config.strict_mode_config),
        _split(info.config.params),
    )


def weighted(info: models.CollectionInfo, manifest: Manifest) -> dict[str, bool]:
    """Say by a sparse vector's name whether inverse document frequencies are multiplied in, by the server or by us."""
    names, here = manifest.vectors(), COUNTS_KEY in (info.config.metadata or {})
    counted = {names[leg] for leg, spec in manifest.legs.items() if here and spec.needs_idf}
    vectors = (info.config.params.sparse_vectors or {}).items()
    return {vector: one.modifier == "idf" or vector in counted for vector, one in vectors}


def _split(params: models.CollectionParams) -> int:
    """Return the number of shards, where there are several and the server multiplies by frequencies within each."""
    shards = params.shard_number or 1
    by_shard = any(one.modifier == "idf" for one in (params.sparse_vectors or {}).values())
    return shards if by_shard and shards > 1 else 0


def leftovers_of(line: RetryingClient) -> Iterator[Leftover]:
    """Yield the versions of collections that no name stands for."""
    aliases = line.call(lambda client: client.get_aliases()).aliases
    live = {alias.collection_name for alias in aliases}
    by_alias = {alias.alias_name: alias.collection_name for alias in aliases}
    for one in line.call(lambda client: client.get_collections()).collections:
        version = re.fullmatch(r"(.+)__v(\d+)", one.name)
        if version is None or one.name in live:
            continue
        name, number = version[1], int(version[2])
        now = re.fullmatch(r".+__v(\d+)", by_alias.get(name, ""))
        if now is not None and number < int(now[1]):
            text = f"{one.name} is an older version that nothing stands for; remove it at the server"
            yield Leftover(name, text, f"curl -X DELETE {line.location}/collections/{one.name}")
        else:
            replace = " --replace" if now else ""
            text = f"{one.name} was begun and is not finished; unless a job is at work, the same command goes on"
            yield Leftover(name, text, f"hybrid-search index SOURCE -c {name}{replace}")


def notices_of(line: RetryingClient) -> Iterator[Notice]:
    """Yield the server's version, and the issues that it knows of (`GET /issues`)."""
    if _is_in_memory(line.client):
        return
    version = line.call(lambda client: client.info()).version
    yield Notice("server", "ok", f"Qdrant {version} at {line.location}")
    try:
        issues = line.call(_issues)
    except CollectionGone:  # a path that it does not have
        yield Notice("server issues", "ok", "this version of the server keeps no list of issues")
        return
    for issue in issues:
        solution = issue.get("solution")
        text = str(issue.get("description") or issue.get("code") or "an issue without a description")
        yield Notice("server issue", "warning", text, solution if isinstance(solution, str) else _request(solution))


def _issues(client: QdrantClient) -> list[Mapping[str, Any]]:
    """Return the issues that the server lists; the client has no name for the request of its own."""
    answer = cast(Any, client).http.client.request(type_=object, method="GET", url="/issues")
    issues = (answer.get("result") or {}).get("issues") or [] if isinstance(answer, dict) else []
    return [issue for issue in issues if isinstance(issue, dict)]


def _request(solution: Any) -> str:
    """Return the request that the server proposes, as a line for people; empty where it proposes none."""
    made = solution.get("immediate") if isinstance(solution, dict) else None
    if not isinstance(made, dict):
        return ""
    return f"{made.get('method', '')} {made.get('uri', '')} {made.get('body', '')}".strip()


def _is_in_memory(client: QdrantClient) -> bool:
    """Say whether there is no server behind a client: its own in-memory form has neither indexes nor a version."""
    from qdrant_client.local.qdrant_local import QdrantLocal

    return isinstance(client._client, QdrantLocal)


def _count(line: RetryingClient, real: str, wanted: models.Filter | None = None) -> int:
    return line.call(lambda client: client.count(real, wanted, exact=True)).count


def _having(vector: str) -> models.Filter:
    from qdrant_client import models

    return models.Filter(must=[models.HasVectorCondition(has_vector=vector)])


def _sample(line: RetryingClient, real: str) -> dict[UUID, dict[str, Any]]:
    """Return the payloads of the first points by id."""
    page, *_ = scroll_page(line.call, lambda: real, None, True, size=SAMPLE)
    return {UUID(str(record.id)): record.payload or {} for record in page if _is_uuid(record.id)}


def _is_uuid(point: object) -> bool:
    return isinstance(point, (str, UUID))


def _scan(line: RetryingClient, real: str) -> PointScan:
    records = scroll_points(line.call, lambda: real, None, SCANNED_FIELDS)
    return scan_points((_uuid(record.id), record.payload or {}) for record in records)


def _uuid(point: object) -> UUID:
    """Return a point's id; a number, which none of ours has, as the UUID of that number."""
    return UUID(str(point)) if _is_uuid(point) else UUID(int=int(cast(int, point)))


def _probes(
    line: RetryingClient, real: str, manifest: Manifest, sample: Mapping[UUID, Mapping[str, Any]]
) -> list[Probe]:
    names, engine = manifest.vectors(), client_conditions()

    def vectors_of(leg: LegName, points: Sequence[UUID]) -> dict[UUID, Vector]:
        ids = [str(point) for point in points]
        records = line.call(lambda c: c.retrieve(real, ids, with_payload=False, with_vectors=[names[leg]]))
        found = {UUID(str(record.id)): by_name(record.vector).get(names[leg]) for record in records}
        return {point: vector_of(raw) for point, raw in found.items() if raw is not None}

    def search(leg: LegName, vector: Vector, limit: int, only: UUID | None) -> list[tuple[UUID, float]]:
        wanted = None if only is None else all_of(engine, [engine.ids({only})])
        answer = line.call(
            lambda c: c.query_points(
                real, query=to_client(vector), using=names[leg], limit=limit, query_filter=wanted, with_payload=False
            )
        )
        return [(_uuid(point.id), point.score) for point in answer.points]

    known = {point: str(payload["chunk_id"]) for point, payload in sample.items() if "chunk_id" in payload}
    return probe_legs(names, dict(islice(known.items(), SAMPLE)), vectors_of, search)


def _trouble(info: models.CollectionInfo) -> str:
    """Return what the server says of the state of a collection, in words; empty where all is well."""
    status = str(getattr(info.status, "value", info.status))
    error = getattr(info.optimizer_status, "error", "")
    said = [*([f"the optimizer says: {error}"] if error else []), *([_STATUS[status]] if status in _STATUS else [])]
    return "; ".join(said)


def _limits(strict: models.StrictModeConfigOutput | None) -> str:
    """Return what strict mode forbids, in words; empty where it is off."""
    if strict is None or not strict.enabled:
        return ""
    limits = {name: value for name, value in strict.model_dump(exclude_none=True).items() if name != "enabled"}
    return ", ".join(f"{name}={value}" for name, value in sorted(limits.items())) or "without limits"
