"""Reads a writer's own shard, before it is published."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hybrid_search.manifest import Manifest
from hybrid_search.store.edge.shard_process import AnyShard
from hybrid_search.store.schema import check_requests, vector_name
from hybrid_search.types import LegName, Vector, point_id_of


class WorkingReader:
    """What a writer has written (see `store.written`). No other thread may write meanwhile.

    Args:
        shard: returns the writer's shard, which is another one after some writes.
        manifest: of the collection.
    """

    def __init__(self, shard: Callable[[], AnyShard], manifest: Manifest) -> None:
        self._shard, self.manifest = shard, manifest

    def retrieve(self, requests: Sequence[tuple[LegName, Vector]], limit: int) -> list[list[tuple[str, float]]]:
        check_requests(requests, limit, self.manifest)
        if not requests:
            return []
        called, shard = self.manifest.vectors(), self._shard()
        answers = shard.query([(called[leg], vector) for leg, vector in requests], limit)
        points = list({point for answer in answers for point, _ in answer})
        names = shard.retrieve(points, ["chunk_id"])
        return [[(str(names[point]["chunk_id"]), score) for point, score in answer] for answer in answers]

    def vectors(self, leg: LegName, chunk_ids: Sequence[str]) -> dict[str, Vector]:
        by_point = {point_id_of(chunk_id): chunk_id for chunk_id in chunk_ids}
        found = self._shard().vectors_of(vector_name(leg, self.manifest), list(by_point))
        return {by_point[point]: vector for point, vector in found.items()}
