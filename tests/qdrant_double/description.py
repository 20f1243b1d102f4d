"""How Qdrant 1.18 describes a collection. What is never set in tests stands as that server answers it by default."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from qdrant_client.local.payload_value_extractor import value_by_key  # noqa: TID253

DEFAULTS: dict[str, Any] = {
    "hnsw_config": {
        "m": 16,
        "ef_construct": 100,
        "full_scan_threshold": 10000,
        "max_indexing_threads": 0,
        "on_disk": False,
    },
    "optimizer_config": {
        "deleted_threshold": 0.2,
        "vacuum_min_vector_number": 1000,
        "default_segment_number": 0,
        "max_segment_size": None,
        "memmap_threshold": None,
        "indexing_threshold": 10000,
        "flush_interval_sec": 5,
        "max_optimization_threads": None,
        "prevent_unoptimized": None,
    },
    "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1},
    "quantization_config": None,
}

PARAMETERS: dict[str, Any] = {
    "shard_number": 1,
    "replication_factor": 1,
    "write_consistency_factor": 1,
    "on_disk_payload": True,
}

SEGMENTS_A_SHARD = 2

STRICT_FIELDS = (
    "enabled",
    "max_query_limit",
    "max_timeout",
    "unindexed_filtering_retrieve",
    "unindexed_filtering_update",
    "search_max_hnsw_ef",
    "search_allow_exact",
    "upsert_max_batchsize",
    "search_max_batchsize",
    "read_rate_limit",
    "write_rate_limit",
    "filter_max_conditions",
)
"""The limits of strict mode that the test server knows, in the order in which Qdrant names them."""


def describe(vectors: Any, local: Any, settings: dict[str, Any], fields: dict[str, str]) -> dict[str, Any]:
    """Return what `GET /collections/NAME` answers.

    `vectors` has the dense and sparse vectors as the client tells them, `local` is its in-memory collection. `settings`
    has what created and changed it (`names_sparse`: sparse vectors were spoken of, be it of none), `fields` the payload
    indexes by path.
    """
    parameters = {name: settings.get(name) or value for name, value in PARAMETERS.items()}
    sparse = vectors.get("sparse_vectors")
    alive = [place for place in local.ids.values() if not local.deleted[place]]
    config = {"params": {"vectors": vectors["vectors"] or {}, **parameters}}
    if sparse or settings["names_sparse"]:
        config["params"]["sparse_vectors"] = sparse or {}
    config.update({part: with_changes(value, settings.get(PARTS.get(part, part))) for part, value in DEFAULTS.items()})
    for name in ("strict_mode_config", "metadata"):
        if settings.get(name):
            config[name] = settings[name]
    return {
        "status": "green",
        "optimizer_status": "ok",
        "indexed_vectors_count": sparse_vectors(local, alive),
        "points_count": len(alive),
        "segments_count": SEGMENTS_A_SHARD * parameters["shard_number"],
        "config": config,
        "payload_schema": {
            path: {"data_type": kind, "points": indexed(local, alive, path, kind)} for path, kind in fields.items()
        },
        "update_queue": {"length": 0},
    }


PARTS = {"optimizer_config": "optimizers_config"}
"""Parts of a description that the request which sets them calls otherwise."""


def with_changes(default: Any, changed: Any) -> Any:
    """Return a part of the configuration with what a request set of it."""
    return {**default, **changed} if isinstance(default, dict) and changed else changed or default


def sparse_vectors(local: Any, alive: list[int]) -> int:
    """Return how many sparse vectors have a term: they are indexed at once, dense ones when a segment is large."""
    return sum(bool(vectors[place].indices) for vectors in local.sparse_vectors.values() for place in alive)


def indexed(local: Any, alive: list[int], path: str, kind: str) -> int:
    """Return how many points have a value of this kind at a path."""
    return sum(any(map(SUITS[kind], flat(value_by_key(local.payload[place], path)))) for place in alive)


def flat(values: Any) -> list[Any]:
    """Return the values at a path without the lists that they stand in."""
    if isinstance(values, list):
        return [value for each in values for value in flat(each)]
    return [values]


def is_time(value: Any) -> bool:
    """Tell whether a value is a moment as Qdrant reads one."""
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value.replace("Z", "+00:00")))
    except ValueError:
        return False


def is_number(value: Any) -> bool:
    """Tell whether a value is a number; truth values are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


SUITS: dict[str, Any] = {
    "keyword": lambda value: isinstance(value, str),
    "text": lambda value: isinstance(value, str),
    "uuid": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": is_number,
    "bool": lambda value: isinstance(value, bool),
    "datetime": is_time,
    "geo": lambda value: isinstance(value, dict) and {"lat", "lon"} <= value.keys(),
}
