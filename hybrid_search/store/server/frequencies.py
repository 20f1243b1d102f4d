"""Document frequencies of a collection on a server: in how many chunks of the whole of it each dimension occurs.

The server's own modifier counts within a shard, so it gives other weights on several shards than on one. The counts
here are those of all shards. They stand in a collection beside (`counts_name`, of one shard, payloads alone), which the
metadata of the counted collection names. Nothing there is ever trusted more than the points themselves:

- A change (one batch that is written or deleted) has a row. It first names its points, as `work`, and so locks them:
  another change of one of them waits. Then it adds what those points counted `before`. Then the points are written.
  Then the row becomes `done`, with the difference.
- What a killed job left is a row that is still `work`: whoever reads it counts its points as they are now, less
  `before`. That is right whether none, some or all of the batch was written. The next writer settles it so.
- Rows that are done are folded into a base by whoever publishes, or finds many of them. Of two who fold at once one
  wins, for the id of a base is that of its generation and is inserted only where it is new.

So the sum of the newest base, of the rows that it does not name, and of the work under way is exact, in every state.

"""

from __future__ import annotations

import random
import re
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from hybrid_search.errors import StoreBusy, StoreError
from hybrid_search.store.schema import vector_of
from hybrid_search.store.server.connection import RetryingClient
from hybrid_search.store.server.counts import Counts, count, pack, total, unpack
from hybrid_search.store.server.owners import is_dead, owner
from hybrid_search.types import Vector

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

T = TypeVar("T")

COUNTS_KEY = "hybrid_search_counts"
"""In a collection's metadata, the name of the collection that holds its counts."""

FOLD_AT = 32
"""Rows that readers may have to add up, before a writer folds them."""

LEASE_S = 150.0
"""After so long without a sign a change on another machine counts as dead: above the patience of a writer's retries."""

CONDITIONS_SINCE = (1, 18)
"""The server that conditional updates were tried on."""

_SIDE = "__idf_"
_WORK, _DONE, _BASE = "work", "done", "base"
_AT_WORK: set[str] = set()
"""Rows of changes that this process is in."""


class Ask(Protocol):
    """Runs a call on the client."""

    def __call__(self, call: Callable[[QdrantClient], T], /) -> T: ...


class Row(NamedTuple):
    """What one point beside the collection says, by its id."""

    id: str
    payload: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.payload["kind"])


def counts_name(real: str) -> str:
    """Return a new name for the counts of a version; that of no other attempt to create it."""
    return f"{real}{_SIDE}{uuid.uuid4().hex[:8]}"


def can_count(line: RetryingClient) -> bool:
    """Say whether the server knows points that are inserted only where they are new, and conditions of an update."""
    version = line.call(lambda client: client.info()).version
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2]) >= CONDITIONS_SINCE


def make_counts(client: QdrantClient, side: str) -> None:
    """Make the collection for counts, with an empty base; what an attempt whose answer was lost made stays."""
    from qdrant_client import models

    if not client.collection_exists(side):
        client.create_collection(side, vectors_config={}, shard_number=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Payload indexes have no effect")  # in the client's in-memory form
        for path in ("kind", "points"):  # a server in strict mode filters by nothing else
            client.create_payload_index(side, path, models.PayloadSchemaType.KEYWORD, wait=True)
    _insert_base(client, side, 0, {}, [])


def drop_version(line: RetryingClient, real: str) -> None:
    """Delete a version, and then what holds its counts."""
    line.call(lambda client: client.delete_collection(real))
    for one in line.call(lambda client: client.get_collections()).collections:
        if one.name.startswith(f"{real}{_SIDE}"):
            line.call(lambda client, side=one.name: client.delete_collection(side))  # type: ignore[misc]


def _base_id(side: str, generation: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{side}/{generation}"))


def _insert_base(client: QdrantClient, side: str, generation: int, counts: Counts, folds: Sequence[str]) -> str:
    from qdrant_client import models

    token = uuid.uuid4().hex
    payload = {"kind": _BASE, "generation": generation, "by": token, "folds": list(folds), "counts": pack(counts)}
    point = models.PointStruct(id=_base_id(side, generation), vector={}, payload=payload)
    strong, mode = models.WriteOrdering.STRONG, models.UpdateMode.INSERT_ONLY
    client.upsert(side, [point], wait=True, ordering=strong, update_mode=mode)
    return token


def rows_of(ask: Ask, side: str) -> list[Row]:
    """Read all rows. They are few: a base, the work under way, and what has not been folded yet."""
    found: list[Row] = []
    offset: Any = None
    while True:
        page, offset = ask(lambda c, offset=offset: c.scroll(side, limit=256, offset=offset, with_payload=True))  # type: ignore[misc]
        found += [Row(str(record.id), record.payload or {}) for record in page]
        if offset is None:
            return found


def signs_of(ask: Ask, side: str) -> frozenset[tuple[str, str, int]]:
    """Return what tells one state of the rows from another: ids, kinds and steps, without the counts."""
    page, _ = ask(lambda c: c.scroll(side, limit=1_000, with_payload=["kind", "step"]))
    rows = [Row(str(record.id), record.payload or {}) for record in page]
    return frozenset((row.id, row.kind, int(row.payload.get("step", 0))) for row in rows)


def newest(rows: Sequence[Row], side: str) -> Row:
    """Return the base that counts.

    Raises:
        StoreError: there is none.
    """
    bases = [row for row in rows if row.kind == _BASE]
    if not bases:
        raise StoreError(
            f"{side!r} holds no document frequencies, so nothing tells the weights of terms. Build the collection "
            "again: hybrid-search index SOURCE -c NAME --replace"
        )
    return max(bases, key=lambda row: int(row.payload["generation"]))


def done_of(rows: Sequence[Row], base: Row) -> list[Row]:
    """Return the rows that are done and not in the base."""
    folded = set(base.payload["folds"])
    return [row for row in rows if row.kind == _DONE and row.id not in folded]


def read_counts(ask: Ask, real: str, side: str, rows: Sequence[Row]) -> Counts:
    """Return the counts of all points as they are, with what work under way has changed until now."""
    base = newest(rows, side)
    parts = [(1, unpack(row.payload["counts"])) for row in (base, *done_of(rows, base))]
    for row in rows:
        if row.kind == _WORK and row.payload.get("before") is not None:
            parts += difference(ask, real, row)
    return total(parts)


def difference(ask: Ask, real: str, row: Row) -> list[tuple[int, Counts]]:
    """Return what the points of a change count now, and less what they counted before it."""
    before = unpack(row.payload["before"])
    return [(1, counted_now(ask, real, row.payload["points"], list(before))), (-1, before)]


def counted_now(ask: Ask, real: str, points: Sequence[str], names: Sequence[str]) -> Counts:
    """Count the named vectors of points as they are stored."""
    ids: list[Any] = list(points)
    records = ask(lambda client: client.retrieve(real, ids, with_payload=False, with_vectors=list(names)))
    return count((_stored(record) for record in records), names)


def _stored(record: models.Record) -> dict[str, Vector]:
    raw: Any = record.vector if isinstance(record.vector, dict) else {}
    return {name: vector_of(one) for name, one in raw.items()}


@dataclass(eq=False)
class Ledger:
    """The counts of one version, for a writer.

    Args:
        ask: runs a call on the client.
        real: the version.
        side: the collection that holds its counts.
        clock: seconds; replaced in tests.
        rest: waits so many seconds; replaced in tests.
    """

    ask: Ask
    real: str
    side: str
    clock: Callable[[], float] = monotonic
    rest: Callable[[float], object] = sleep
    _done: int = field(default=0, init=False)

    @contextmanager
    def change(self, points: Sequence[str], names: Sequence[str], after: Counts) -> Iterator[None]:
        """Count a change: inside, the points are written.

        Args:
            points: ids of all points that are written or deleted.
            names: of the vectors that are counted.
            after: what those points count when it is done.

        Raises:
            StoreBusy: another change holds some of the points for too long.
        """
        row, points = str(uuid.uuid4()), sorted(set(points))
        started = self.clock()
        _AT_WORK.add(row)
        try:
            self._lock(row, points)
            before = counted_now(self.ask, self.real, points, names)
            self._upsert(row, {**_work(points), "step": 1, "before": pack(before)}, "update_only", None)
            yield
            self._finish(row, total([(1, after), (-1, before)]), self.clock() - started)
        finally:
            _AT_WORK.discard(row)
        self._done += 1
        if self._done % FOLD_AT == 0:
            self.fold()

    def fold(self, without: Iterable[str] = ()) -> None:
        """Make one base of all that is done, and settle what dead jobs left.

        Args:
            without: names of vectors that there are no longer.
        """
        rows = rows_of(self.ask, self.side)
        for row in rows:
            if row.kind == _WORK and _is_dead(row):
                self.settle(row)
        rows = rows_of(self.ask, self.side)
        base, gone = newest(rows, self.side), set(without)
        done = done_of(rows, base)
        old = [row.id for row in rows if row.kind == _DONE]
        bases = [row.id for row in rows if row.kind == _BASE]
        if not done and not gone & base.payload["counts"].keys():
            self._delete([*old, *(one for one in bases if one != base.id)])  # left where a fold was cut short
            return
        counts = total((1, unpack(row.payload["counts"])) for row in (base, *done))
        kept = {name: one for name, one in counts.items() if name not in gone}
        if self._won(int(base.payload["generation"]) + 1, kept, old):
            self._delete([*old, *bases])

    def settle(self, row: Row) -> None:
        """Bring the change of a dead job to its end: what was written of it counts."""
        if row.payload.get("before") is None:
            self._delete([row.id])  # nothing was written yet
            return
        self._close(row.id, total(difference(self.ask, self.real, row)))

    def _won(self, generation: int, counts: Counts, folds: Sequence[str]) -> bool:
        token = self.ask(lambda client: _insert_base(client, self.side, generation, counts, folds))
        place = _base_id(self.side, generation)
        found = self.ask(lambda client: client.retrieve(self.side, [place], with_payload=["by"]))
        return bool(found) and (found[0].payload or {}).get("by") == token

    def _lock(self, row: str, points: Sequence[str]) -> None:
        """Lock points for a change: when none of them is in another one."""
        watched: dict[str, tuple[Row, float]] = {}
        while True:
            self._upsert(row, {**_work(points), "step": 0}, "upsert", None)
            others = self._others(row, points)
            if not others:
                return
            self._delete([row])
            for other in others:
                before, since = watched.get(other.id, (other, self.clock()))
                since = since if before == other else self.clock()
                watched[other.id] = (other, since)
                if _is_dead(other) or self.clock() - since > LEASE_S:
                    self.settle(other)
            self.rest(random.uniform(0.01, 0.1))
            if watched and min(since for _, since in watched.values()) + 4 * LEASE_S < self.clock():
                raise StoreBusy(
                    f"Other jobs write to the same documents of {self.real!r} all the time. Try again later."
                )

    def _others(self, row: str, points: Sequence[str]) -> list[Row]:
        from qdrant_client import models

        same: Any = models.FieldCondition(key="points", match=models.MatchAny(any=list(points)))
        work: Any = models.FieldCondition(key="kind", match=models.MatchValue(value=_WORK))
        wanted = models.Filter(must=[work, same], must_not=[models.HasIdCondition(has_id=[row])])
        page, _ = self.ask(lambda client: client.scroll(self.side, wanted, limit=1_000, with_payload=True))
        return [Row(str(record.id), record.payload or {}) for record in page]

    def _finish(self, row: str, counts: Counts, took: float) -> None:
        self._close(row, counts)
        if took < LEASE_S:
            return
        found = self.ask(lambda client: client.retrieve(self.side, [row], with_payload=True))
        if not found or (found[0].payload or {}).get("counts") != pack(counts):
            raise StoreError(
                f"A batch took {took:.0f} s, so that another job took it for dead, and the document frequencies of "
                f"{self.real!r} may be wrong. Build it again: hybrid-search index SOURCE -c NAME --replace"
            )

    def _close(self, row: str, counts: Counts) -> None:
        """Turn work into what is done; a row that is done already, or folded, stays as it is."""
        from qdrant_client import models

        work: Any = models.FieldCondition(key="kind", match=models.MatchValue(value=_WORK))
        payload = {"kind": _DONE, "step": 2, "counts": pack(counts)}
        self._upsert(row, payload, "update_only", models.Filter(must=[work]))

    def _upsert(self, row: str, payload: Mapping[str, Any], how: str, wanted: models.Filter | None) -> None:
        from qdrant_client import models

        mode = models.UpdateMode(how)
        point = models.PointStruct(id=row, vector={}, payload=dict(payload))
        strong = models.WriteOrdering.STRONG
        self.ask(
            lambda client: client.upsert(
                self.side, [point], wait=True, ordering=strong, update_mode=mode, update_filter=wanted
            )
        )

    def _delete(self, ids: Sequence[str]) -> None:
        from qdrant_client import models

        points: list[Any] = list(ids)
        if points:
            self.ask(lambda client: client.delete(self.side, models.PointIdsList(points=points), wait=True))


def _work(points: Sequence[str]) -> dict[str, Any]:
    return {"kind": _WORK, "points": list(points), "owner": owner()}


def is_work(kind: str) -> bool:
    """Say whether a row of this kind stands for a change that has not come to its end."""
    return kind == _WORK


def _is_dead(row: Row) -> bool:
    return is_dead(row.payload.get("owner") or {}, at_work=row.id in _AT_WORK)
