"""Verifying a collection on a server from outside. Its files are the server's responsibility."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from hybrid_search.errors import CollectionDamaged
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import Finding, Verification
from hybrid_search.store.point_checks import examine
from hybrid_search.store.schema import vector_or_nan
from hybrid_search.store.server.connection import RetryingClient
from hybrid_search.store.server.reader import by_name, manifest_of
from hybrid_search.store.server.scrolling import scroll_points
from hybrid_search.types import Vector


def verify_collection(line: RetryingClient, real: str, name: str) -> Verification:
    """Verify the version that a name stands for: its manifest and every point."""
    try:
        manifest = manifest_of(line, real, name)
    except CollectionDamaged as error:
        return Verification(name, [Finding("manifest", "damaged", str(error))])
    findings = [Finding("manifest", "whole", f"of schema {manifest.schema}, for the legs {', '.join(manifest.legs)}")]
    if manifest.adopted:
        text = f"the collection was adopted: its points are those of {manifest.adopted.name}"
        return Verification(name, [*findings, Finding("points", "unchecked", text)])
    return Verification(name, [*findings, _points(line, real, manifest)])


def _points(line: RetryingClient, real: str, manifest: Manifest) -> Finding:
    count = line.call(lambda client: client.count(real, exact=True)).count
    found = examine(_iter_points(line, real, manifest), manifest)
    problems = list(found.problems)
    if count != found.points:
        problems.append(f"the server counts {count:,} points and gives {found.points:,}; is it being written to?")
    vectors = ", ".join(f"{number:,} {leg}" for leg, number in found.vectors.items())
    text = f"{found.points:,} chunks of {found.heads:,} documents, with their vectors ({vectors})"
    if found.unfinished:
        text += f"; {found.unfinished:,} documents are not there completely, for a job is at work or was cut short"
    return Finding("points", "damaged" if problems else "whole", "; ".join(problems) or text)


def _iter_points(
    line: RetryingClient, real: str, manifest: Manifest
) -> Iterator[tuple[UUID, dict[str, Any], dict[str, Vector]]]:
    names = list(manifest.vectors().values())
    for record in scroll_points(line.call, lambda: real, None, True, names):
        vectors = {name: vector_or_nan(raw) for name, raw in by_name(record.vector).items()}
        yield UUID(str(record.id)), record.payload or {}, vectors
