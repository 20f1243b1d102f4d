"""What a store tells of a collection without changing it: its numbers, its settings, and what a light look finds.

`verify` compares everything with what was written. A survey counts, reads a few fields of each point and the whole of
a few points, and searches for some of them: seconds where the other takes minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable
from uuid import UUID

from hybrid_search.manifest import Manifest
from hybrid_search.protocols import Store
from hybrid_search.types import LegName, Vector, point_id_of

SCANNED = 250_000
"""Points whose ids and document ids are read; beyond that a scan would take longer than somebody waits."""

SAMPLE = 200
"""Points that are read whole. Point ids are hashes, so the first ones are arbitrary, and always the same ones."""

SCANNED_FIELDS = ["chunk_id", "doc_id", "number", "chunks", "stamp"]
PROBE_DEPTH = 100
"""How many hits a known chunk is looked for in."""

_TRIED = 20
"""Chunks that are asked for a vector of a leg, before a leg counts as having none to search by."""

Search = Callable[[LegName, Vector, int, "UUID | None"], Sequence[tuple[UUID, float]]]
"""Returns the points nearest to a vector of a leg with their scores, best first; only the named one if one is named."""

VectorsOf = Callable[[LegName, Sequence[UUID]], Mapping[UUID, Vector]]


class Probe(NamedTuple):
    """What came of searching a leg by the vector of a chunk that it holds.

    Args:
        leg: that was searched.
        chunk_id: of the chunk.
        rank: where it was found, from 1; 0 for not among the first `PROBE_DEPTH`.
        own: its score; None if it was not found even when it alone was asked for.
        last: the score of the last hit, where the list was full; else minus infinity does not fit JSON, so None.
    """

    leg: LegName
    chunk_id: str
    rank: int
    own: float | None
    last: float | None


@dataclass
class PointScan:
    """What the ids of the points say.

    Args:
        read: points that were read; the rest is not known.
        foreign: points whose payload is none of ours; `misplaced` those that lie under the id of another chunk.
        duplicates: chunks that are there twice.
        headless: documents without their first chunk; `incomplete` those with fewer or more chunks than it says.
        unfinished: documents that a job began and did not finish.
        examples: of each kind that was found, one id.
    """

    read: int = 0
    foreign: int = 0
    misplaced: int = 0
    duplicates: int = 0
    headless: int = 0
    incomplete: int = 0
    unfinished: int = 0
    examples: dict[str, str] = field(default_factory=dict)

    def count(self, kind: str, example: str) -> None:
        """Count one of a kind."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.examples.setdefault(kind, example)


@dataclass(frozen=True)
class Survey:
    """What a store tells of a collection.

    Args:
        manifest: of the collection.
        points: number of points; `documents` of them are the first chunks of documents.
        vectors: by leg, the number of points with a vector.
        idf: by a sparse vector's name in the store, whether the store multiplies by inverse document frequencies.
        fields: the indexed payload fields with their kinds; None if the store has no such indexes.
        segments: their number; None if the store does not say.
        indexed: vectors in an index, of all legs; None if the store does not say.
        trouble: what the store itself says is wrong or at work, in words; empty for nothing.
        scan: what the ids say; None if the collection is another program's.
        sample: payloads of some points.
        probes: one for each leg that has a vector to search by.
        limits: what a server refuses in this collection (strict mode), in words; empty for nothing.
        split: shards, where each counts the document frequencies of its own part alone; 0 where none does.
    """

    manifest: Manifest
    points: int
    documents: int
    vectors: Mapping[LegName, int]
    idf: Mapping[str, bool]
    fields: Mapping[str, str] | None = None
    segments: int | None = None
    indexed: int | None = None
    trouble: str = ""
    scan: PointScan | None = None
    sample: Sequence[Mapping[str, Any]] = ()
    probes: Sequence[Probe] = ()
    limits: str = ""
    split: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON; the inverse of `from_dict`."""
        plain = {name: value for name, value in vars(self).items() if name not in ("manifest", "scan")}
        scan = None if self.scan is None else asdict(self.scan)
        return {**plain, "manifest": self.manifest.to_dict(), "scan": scan}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Survey:
        """Rebuild one from its dict."""
        scan = None if data["scan"] is None else PointScan(**data["scan"])
        probes = [Probe(*probe) for probe in data["probes"]]
        return cls(**{**data, "manifest": Manifest.from_dict(data["manifest"]), "scan": scan, "probes": probes})


class Leftover(NamedTuple):
    """Something that a job or a process left in a store.

    Args:
        collection: whose it is.
        text: what it is, and how it goes away.
        command: that removes or finishes it.
    """

    collection: str
    text: str
    command: str


class Notice(NamedTuple):
    """What a server says of itself: information, or an issue with the way to solve it."""

    subject: str
    state: Literal["ok", "warning"]
    text: str
    command: str = ""


@runtime_checkable
class SurveyedStore(Store, Protocol):
    """A store that can be surveyed. Nothing of it changes anything."""

    def survey(self, name: str) -> Survey:
        """Survey a collection. Raises CollectionNotFound, CollectionDamaged, StoreError, StoreUnavailable."""
        ...

    def leftovers(self) -> list[Leftover]:
        """List what jobs and processes left behind."""
        ...

    def notices(self) -> list[Notice]:
        """Return what the place says of itself, such as a server's version and its issues."""
        ...


def scan_points(points: Iterable[tuple[UUID, Mapping[str, Any]]], limit: int = SCANNED) -> PointScan:
    """Look at the ids of points.

    Args:
        points: each with its id and the payload fields `SCANNED_FIELDS`.
        limit: after how many points to stop. Then documents are not checked for their chunks, as some were not read.
    """
    found = PointScan()
    chunks: dict[str, int] = {}
    promised: dict[str, int] = {}
    seen: set[tuple[str, int]] = set()
    begun: set[str] = set()
    rest = iter(points)
    for point, payload in islice(rest, limit):
        found.read += 1
        chunk_id, doc_id, number = (payload.get(name) for name in ("chunk_id", "doc_id", "number"))
        if not (isinstance(chunk_id, str) and isinstance(doc_id, str) and isinstance(number, int)):
            found.count("foreign", str(point))
            continue
        if (doc_id, number) in seen:
            found.count("duplicates", chunk_id)
            continue
        if point_id_of(chunk_id) != point:
            found.count("misplaced", chunk_id)
            continue
        seen.add((doc_id, number))
        chunks[doc_id] = chunks.get(doc_id, 0) + 1
        if number == 0:
            promised[doc_id] = payload.get("chunks") if isinstance(payload.get("chunks"), int) else 0  # type: ignore[assignment]
            if payload.get("stamp") == "":
                begun.add(doc_id)
    if next(rest, None) is None:
        _compare(found, chunks, promised, begun)
    return found


def _compare(found: PointScan, chunks: Mapping[str, int], promised: Mapping[str, int], begun: set[str]) -> None:
    """Compare the chunks of each document with what its first one says."""
    for doc_id, count in chunks.items():
        if doc_id in begun:
            found.count("unfinished", doc_id)
        elif doc_id not in promised:
            found.count("headless", doc_id)
        elif promised[doc_id] != count:
            found.count("incomplete", doc_id)


def probe_legs(
    legs: Iterable[LegName], known: Mapping[UUID, str], vectors_of: VectorsOf, search: Search
) -> list[Probe]:
    """Search each leg by the vector of a chunk that it holds.

    Args:
        legs: to search. A leg without any vector among these chunks is left out.
        known: chunk ids by their points' ids.
        vectors_of: reads the vectors of a leg.
        search: searches a leg.
    """
    probes = []
    for leg in legs:
        tried = list(known)[:_TRIED]
        vectors = vectors_of(leg, tried)
        point = next((one for one in tried if one in vectors), None)
        if point is not None:
            probes.append(_probe(leg, point, known[point], vectors[point], search))
    return probes


def _probe(leg: LegName, point: UUID, chunk_id: str, vector: Vector, search: Search) -> Probe:
    hits = list(search(leg, vector, PROBE_DEPTH, None))
    rank = next((rank for rank, (found, _) in enumerate(hits, 1) if found == point), 0)
    alone = search(leg, vector, 1, point)
    last = hits[-1][1] if len(hits) == PROBE_DEPTH else None
    return Probe(leg, chunk_id, rank, alone[0][1] if alone else None, last)
