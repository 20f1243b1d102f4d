"""The first half of a search: queries to encodings, encodings to one ranking a leg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from hybrid_search.asking import MAX_DEPTH
from hybrid_search.protocols import CollectionReader, DenseEncoder, Encoder, SparseEncoder
from hybrid_search.ranking.fusion import rank, rrf, settled
from hybrid_search.types import LegName, Ranking, Vector

TIE_ROOM = 4
"""Asked beyond the depth, to see whether the last score goes on: ties at the edge must not depend on the engine."""


def encode(
    queries: Sequence[str], encoders: Mapping[LegName, Encoder], legs: Sequence[LegName], threads: ThreadPoolExecutor
) -> dict[LegName, list[Vector]]:
    """The queries' vectors by leg, all legs at once: the models let go of the interpreter while they compute."""
    jobs = {leg: threads.submit(_encoded, encoders[leg], queries) for leg in legs[1:]}
    first = _encoded(encoders[legs[0]], queries)
    return {legs[0]: first, **{leg: job.result() for leg, job in jobs.items()}}


def retrieve(
    reader: CollectionReader, encoded: Mapping[LegName, Sequence[Vector]], depth: int
) -> list[dict[LegName, Ranking]]:
    """For each query the ranking of each leg, from one batched request."""
    requests = [(leg, vector) for leg, vectors in encoded.items() for vector in vectors]
    limit = depth + TIE_ROOM
    answers = reader.retrieve(requests, limit)
    while limit < MAX_DEPTH and any(_goes_on(answer, depth, limit) for answer in answers):
        limit = min(limit * 4, MAX_DEPTH)
        answers = reader.retrieve(requests, limit)
    ranked = iter(answers)
    by_leg = {leg: [rank(leg, next(ranked), depth) for _ in vectors] for leg, vectors in encoded.items()}
    return [dict(zip(by_leg, rankings, strict=True)) for rankings in zip(*by_leg.values(), strict=True)]


def fuse(rankings: Mapping[LegName, Ranking], rrf_k: float, weights: Mapping[str, float] | None) -> Ranking:
    """One leg keeps its own scores; several are fused."""
    if len(rankings) == 1:
        return next(iter(rankings.values()))
    return rrf(cast(Mapping[str, Ranking], rankings), rrf_k=rrf_k, weights=weights)


def _goes_on(answer: Sequence[tuple[str, float]], depth: int, limit: int) -> bool:
    """Whether chunks with the score at `depth` may have been left out of an answer."""
    return len(answer) == limit and settled(answer[-1][1]) == settled(answer[depth - 1][1])


def _encoded(encoder: Encoder, queries: Sequence[str]) -> list[Vector]:
    return list(cast("SparseEncoder | DenseEncoder", encoder).encode_queries(queries))
