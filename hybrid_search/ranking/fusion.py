"""From the legs' answers to one ranking."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

from hybrid_search.errors import FusionError
from hybrid_search.types import Hit, LegHit, Ranking

RRF_K = 60
"""Cormack's constant, added to a rank that counts from 1."""


def rank(leg: str, scored: Sequence[tuple[str, float]], depth: int) -> Ranking:
    """Rank what a leg brought: by score descending, ties by chunk_id, cut at `depth`.

    Scores that are the same once `settled` tie, on every engine. Each hit keeps the leg's own score, or, where a tie
    went against its last bits, the score of the hit before it, so that scores never increase.

    >>> [(hit.chunk_id, hit.rank) for hit in rank("sparse", [("b#0", 2.0), ("a#0", 2.0), ("c#0", 3.0)], 2)]
    [('c#0', 1), ('a#0', 2)]
    """
    ordered = sorted(scored, key=lambda item: (-settled(item[1]), item[0]))[:depth]
    scores = accumulate((score for _, score in ordered), min)
    return Ranking(
        tuple(
            Hit(chunk_id, place, score, {leg: LegHit(leg, place, score)})
            for place, ((chunk_id, _), score) in enumerate(zip(ordered, scores, strict=True), 1)
        )
    )


def settled(score: float) -> float:
    """A leg's score for comparing, rounded to what 32-bit sums agree on in any order: six digits, or four decimals.

    Engines add up a score's parts in an order that depends on their segments, so its last bits are chance.

    >>> settled(8.90260124), settled(0.439271688), settled(123.456789)
    (8.9026, 0.439272, 123.4568)
    """
    size = abs(score)
    return round(score, 6 if size < 1 else 5 if size < 10 else 4)


def rrf(legs: Mapping[str, Ranking], *, rrf_k: float = RRF_K, weights: Mapping[str, float] | None = None) -> Ranking:
    """Fuse rankings by reciprocal rank: score(d) = sum over legs of weight / (rrf_k + rank in the leg).

    Args:
        legs: one ranking a leg, for the same query. A chunk that a leg lacks gets nothing from it.
        rrf_k: >= 0; ranks count from 1. (Qdrant's own k counts from rank 0, so it is `rrf_k + 1`.)
        weights: by leg, >= 0, 1 where not given. They multiply the share; Qdrant's divide the rank instead.

    Returns:
        Every chunk that a leg with a weight above 0 found, by score descending, ties by chunk_id; each keeps its rank
        and score in every leg.

    Raises:
        FusionError: a weight names no leg, is negative or not finite, all are 0, or `rrf_k` is negative.

    Source: Cormack, Clarke & Büttcher, Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
    Methods, SIGIR 2009. The weights are the usual extension.

    >>> legs = {"sparse": rank("sparse", [("a#0", 9.0), ("b#0", 5.0)], 10), "dense": rank("dense", [("b#0", 0.8)], 10)}
    >>> [(hit.chunk_id, round(hit.score, 6)) for hit in rrf(legs)]
    [('b#0', 0.032522), ('a#0', 0.016393)]
    """
    share = check_weights(weights, tuple(legs))
    if not (math.isfinite(rrf_k) and rrf_k >= 0):
        raise FusionError(f"rrf_k is {rrf_k}; it must be a number >= 0 (the usual value is {RRF_K}).")
    scores: dict[str, float] = {}
    found: dict[str, Mapping[str, LegHit]] = {}
    for leg, ranking in legs.items():
        weight = share[leg]
        for hit in ranking.hits:
            earlier = found.get(hit.chunk_id)
            found[hit.chunk_id] = hit.legs if earlier is None else {**earlier, **hit.legs}
            if weight:
                scores[hit.chunk_id] = scores.get(hit.chunk_id, 0.0) + weight / (rrf_k + hit.rank)
    ordered = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return Ranking(
        tuple(Hit(chunk_id, place, score, found[chunk_id]) for place, (chunk_id, score) in enumerate(ordered, 1))
    )


def check_weights(weights: Mapping[str, float] | None, legs: Sequence[str]) -> dict[str, float]:
    """One weight for every leg, 1 where none is given.

    Raises:
        FusionError: a weight names no leg, is negative or not finite, or none is above 0.
    """
    given = dict(weights or {})
    for leg, weight in given.items():
        if leg not in legs:
            raise FusionError(f"There is a weight for the leg {leg!r}, but the legs are: {', '.join(legs)}.")
        if not (math.isfinite(weight) and weight >= 0):
            raise FusionError(f"The weight of {leg!r} is {weight}; it must be a number >= 0.")
    share = {leg: float(given.get(leg, 1.0)) for leg in legs}
    if legs and not any(share.values()):
        raise FusionError("Every leg has weight 0; give at least one a weight above 0, such as --weights sparse=1.")
    return share
