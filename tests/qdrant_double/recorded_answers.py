"""What Qdrant 1.18.3 answers about itself: optimisations, memory, snapshots, its version. Figures are of one run."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from typing import Any

VERSION = "1.18.3"
COMMIT = "db8fa43fcb6aedec1e739487e17a99731b74590a"

STORAGE = {"disk_bytes": 69206228, "ram_bytes": 0, "cached_bytes": 8404, "expected_cache_bytes": 69206228}
SPARSE_STORAGE = {"disk_bytes": 71369316, "ram_bytes": 0, "cached_bytes": 25188, "expected_cache_bytes": 0}
PAYLOAD = {"disk_bytes": 69272130, "ram_bytes": 0, "cached_bytes": 16962, "expected_cache_bytes": 0}
NOTHING = {"disk_bytes": 0, "ram_bytes": 0, "cached_bytes": 0, "expected_cache_bytes": 0}


def optimizations(description: dict[str, Any]) -> dict[str, Any]:
    """Return what an idle collection says about its optimisations."""
    idle = {"idle_segments": description["segments_count"]}
    queued = {"queued_optimizations": 0, "queued_segments": 0, "queued_points": 0}
    return {"summary": {**queued, **idle}, "running": []}


def memory(description: dict[str, Any]) -> dict[str, Any]:
    """Return the memory of a collection by part: its shape is true, its figures are those of a small collection."""
    parameters = description["config"]["params"]
    dense = [{"name": name, "storage": STORAGE, "index": NOTHING} for name in parameters["vectors"]]
    sparse = [
        {"name": name, "storage": SPARSE_STORAGE, "index": {**NOTHING, "ram_bytes": 12}}
        for name in parameters.get("sparse_vectors", {})
    ]
    fields = [{"name": path, **NOTHING} for path in description["payload_schema"]]
    tracker = {**NOTHING, "ram_bytes": 392}
    parts = [part[kind] for part in dense + sparse for kind in ("storage", "index")] + [PAYLOAD, tracker]
    return {
        "total": {figure: sum(part[figure] for part in parts) for figure in NOTHING},
        "vectors": dense,
        "sparse_vectors": sparse,
        "payload": PAYLOAD,
        "payload_index": fields,
        "other": {"id_tracker": tracker},
    }


def snapshot(name: str) -> dict[str, Any]:
    """Return the entry of a snapshot that has just been made. Nothing is kept of the collection itself."""
    made = datetime.now(timezone.utc)
    called = f"{name}-4330550476341492-{made:%Y-%m-%d-%H-%M-%S}.snapshot"
    checksum = hashlib.sha256(called.encode()).hexdigest()
    return {"name": called, "creation_time": f"{made:%Y-%m-%dT%H:%M:%S}", "size": 139264, "checksum": checksum}


def about(version: str) -> dict[str, str]:
    """Return what the server says of itself."""
    return {"title": "qdrant - vector search engine", "version": version, "commit": COMMIT}
