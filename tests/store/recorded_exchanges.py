"""Exchanges recorded from a true Qdrant, sent to another server, and in what its answers differ."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "qdrant"

OF_THE_RUN = {
    "operation_id",
    "version",
    "peer_id",
    "term",
    "commit",
    "leader",
    "last_update",
    "latest_error_timestamp",
    "checksum",
    "creation_time",
    "disk_bytes",
    "ram_bytes",
    "cached_bytes",
    "expected_cache_bytes",
}
"""What every run numbers, stamps or weighs anew: its kind is compared, its value is not."""


UNORDERED = (".result.vectors", ".result.sparse_vectors", ".result.payload_index")
"""Lists of the report on memory: their order is a hash's."""


def read(file: str) -> list[dict[str, Any]]:
    """Return the exchanges of a file, or none where the recordings are not there."""
    path = RECORDINGS / file
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


class Replay:
    """A connection that sends recorded requests."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def differences(self, exchange: dict[str, Any]) -> list[str]:
        """Send a request; return in what the answer differs from the recorded one."""
        asked = exchange["request"]
        body = None if asked is None else json.dumps(asked)
        self._connection.request(exchange["method"], exchange["path"], body)
        response = self._connection.getresponse()
        raw = response.read()
        answer = json.loads(raw) if raw else None
        if isinstance(answer, dict):
            answer.pop("time", None)
        kept = ("content-type", "retry-after")
        headers = {name.lower(): value for name, value in response.getheaders() if name.lower() in kept}
        found = {"status": response.status, "headers": headers, "answer": answer}
        return list(compare(found, {part: exchange[part] for part in found}))


def compare(found: Any, wanted: Any, where: str = "") -> Iterator[str]:
    """Yield each place at which two values differ: in shape, kind or value; scores by more than 1e-5."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in sorted(found.keys() | wanted.keys()):
            if name not in wanted or name not in found:
                yield f"{where}.{name}: {'too much' if name in found else 'missing'}"
            elif name in OF_THE_RUN and type(found[name]) is type(wanted[name]):
                continue
            else:
                yield from compare(found[name], wanted[name], f"{where}.{name}")
    elif isinstance(found, list) and isinstance(wanted, list):
        if where.endswith(UNORDERED):
            found, wanted = (sorted(each, key=itemgetter("name")) for each in (found, wanted))
        if len(found) != len(wanted):
            yield f"{where}: {len(found)} instead of {len(wanted)}"
        for place, pair in enumerate(zip(found, wanted, strict=False)):
            yield from compare(*pair, f"{where}[{place}]")
    elif isinstance(wanted, str) and wanted.endswith(".snapshot"):
        if not re.fullmatch(r"\w+-\d+-\d{4}(-\d\d){5}\.snapshot", str(found)):
            yield f"{where}: {found!r} is no name of a snapshot"
    elif isinstance(wanted, float) and type(found) in (int, float):
        if abs(found - wanted) > 1e-5:
            yield f"{where}: {found} instead of {wanted}"
    elif type(found) is not type(wanted) or found != wanted:
        yield f"{where}: {found!r} instead of {wanted!r}"
