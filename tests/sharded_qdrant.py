"""The client's in-memory form as a server with several shards answers: its IDF modifier counts within a shard."""

from __future__ import annotations

import zlib
from typing import Any

from qdrant_client import QdrantClient, models  # noqa: TID253


class ShardedQdrant(QdrantClient):
    """Points lie on shards by their ids; each shard is searched by itself, and the best of all are handed on."""

    def __init__(self, shards: int) -> None:
        super().__init__(":memory:")
        self._shards = shards

    def query_batch_points(self, collection_name: str, requests: Any, *_: Any, **options: Any) -> Any:
        return [self._merged(collection_name, request, options) for request in requests]

    def _merged(self, name: str, request: models.QueryRequest, options: dict[str, Any]) -> Any:
        if self._shards == 1 or not self._weighs(name, request):  # each point has the same score on any shard
            return super().query_batch_points(name, [request], **options)[0]
        found: list[models.ScoredPoint] = []
        answer: Any = None
        for ids in self._by_shard(name):
            here: Any = models.Filter(must=[models.HasIdCondition(has_id=ids)])
            wanted = here if request.filter is None else models.Filter(must=[here, request.filter])
            params = models.SearchParams(idf=models.IdfCorpusParams(corpus=here))
            asked = request.model_copy(update={"filter": wanted, "params": params})
            answer = super().query_batch_points(name, [asked], **options)[0]
            found += answer.points
        found.sort(key=lambda point: -point.score)
        if answer is None:
            return super().query_batch_points(name, [request], **options)[0]
        return answer.model_copy(update={"points": found[: request.limit]})

    def _weighs(self, name: str, request: models.QueryRequest) -> bool:
        """Whether the server itself multiplies by inverse document frequencies, which are those of a shard."""
        fields = self.get_collection(name).config.params.sparse_vectors or {}
        return request.using in fields and fields[request.using].modifier == models.Modifier.IDF

    def _by_shard(self, name: str) -> list[list[Any]]:
        points, _ = self.scroll(name, limit=1_000_000, with_payload=False)
        shards: list[list[Any]] = [[] for _ in range(self._shards)]
        for point in points:
            shards[zlib.crc32(str(point.id).encode()) % self._shards].append(point.id)
        return [ids for ids in shards if ids]
