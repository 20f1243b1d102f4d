"""Fuses the rankings of the legs into one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Literal, get_args

from hybrid_search._util.arguments import is_number, shown
from hybrid_search.errors import FusionError
from hybrid_search.types import Hit, LegHit, Ranking

RRF_K = 60
"""Cormack's constant, added to a rank that counts from 1."""

MIN_RRF_K = 0.0
"""The least constant that makes sense: with it a hit's share is 1 / rank."""

Fusion = Literal["rrf", "dbsf", "minmax", "convex"]
"""How legs are fused: by rank, or by score once the legs' scores are comparable."""

FUSIONS: tuple[Fusion, ...] = get_args(Fusion)

COSINE_FLOOR = -1.0
"""The least score that a cosine can give; that of a sum of products of weights above 0 is 0."""

Shares = Callable[[Sequence[float]], Sequence[float]]
"""Returns what each hit of a leg adds to the fusion, of the leg's scores, best first, before the leg's weight."""


def rank(leg: str, scored: Sequence[tuple[str, float]], depth: int) -> Ranking:
    """Rank what a leg found: by score descending, ties by chunk_id, cut at `depth`.

    Scores that are equal once rounded (`round_score`) tie, on every engine. Each hit keeps the leg's own score; if a
    tie reversed two scores, it gets the score of the hit before it, so that scores never increase.

    >>> [(hit.chunk_id, hit.rank) for hit in rank("sparse", [("b#0", 2.0), ("a#0", 2.0), ("c#0", 3.0)], 2)]
    [('c#0', 1), ('a#0', 2)]
    """
    ordered = sorted([(-round_score(score), chunk_id, score) for chunk_id, score in scored])[:depth]
    scores = accumulate([score for _, _, score in ordered], min)
    return Ranking(
        tuple(
            Hit(chunk_id, place, score, {leg: LegHit(leg, place, score)})
            for place, ((_, chunk_id, _), score) in enumerate(zip(ordered, scores, strict=True), 1)
        )
    )


def round_score(score: float) -> float:
    """Round a leg's score for comparison, to what 32-bit sums in any order agree on: six digits, or four decimals.

    Engines add up a score's parts in an order that depends on their segments, so its last bits are chance.

    >>> round_score(8.90260124), round_score(0.439271688), round_score(123.456789)
    (8.9026, 0.439272, 123.4568)
    """
    size = abs(score)
    return round(score, 6 if size < 1 else 5 if size < 10 else 4)


def fuse(
    rankings: Mapping[str, Ranking],
    how: Fusion = "rrf",
    *,
    rrf_k: float = RRF_K,
    weights: Mapping[str, float] | None = None,
    floors: Mapping[str, float] | None = None,
) -> Ranking:
    """Fuse the rankings of any number of legs, for one query, in one of the ways below.

    Args:
        rankings: leg -> ranking. A chunk gets nothing from a leg that did not find it.
        how: `rrf`, `dbsf`, `minmax` or `convex`.
        rrf_k: the constant of `rrf`, >= 0.
        weights: leg -> factor of what it adds, >= 0; 1 by default.
        floors: leg -> the least score that its model can give, for `convex`; 0 by default, as sparse legs have it.

    Returns:
        Every chunk that a leg with a weight above 0 found, by score descending, ties by chunk_id; each keeps its rank
        and score in every leg.

    Raises:
        FusionError: there is no such way, a weight names no leg, is negative or not finite, all are 0, or `rrf_k` is
            negative.
    """
    if how == "rrf":
        return rrf(rankings, rrf_k=rrf_k, weights=weights)
    if how == "dbsf":
        return dbsf(rankings, weights=weights)
    if how == "minmax":
        return minmax(rankings, weights=weights)
    if how == "convex":
        return convex(rankings, weights=weights, floors=floors)
    raise FusionError(f"There is no fusion {how!r}; take one of: {', '.join(FUSIONS)}.")


def rrf(legs: Mapping[str, Ranking], *, rrf_k: float = RRF_K, weights: Mapping[str, float] | None = None) -> Ranking:
    """Fuse rankings by reciprocal rank: score(d) = sum over legs of weight / (rrf_k + rank in the leg).

    Args:
        legs: one ranking a leg, for the same query.
        rrf_k: >= 0; ranks count from 1. (Qdrant's own k counts from rank 0, so it is `rrf_k + 1`.)
        weights: as in `fuse`. (Qdrant's divide the rank instead, which hardly changes anything.)

    Raises:
        FusionError: as `fuse`.

    Source: Cormack, Clarke & Büttcher, Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
    Methods, SIGIR 2009. The weights are the usual extension.

    >>> legs = {"sparse": rank("sparse", [("a#0", 9.0), ("b#0", 5.0)], 10), "dense": rank("dense", [("b#0", 0.8)], 10)}
    >>> [(hit.chunk_id, round(hit.score, 6)) for hit in rrf(legs)]
    [('b#0', 0.032522), ('a#0', 0.016393)]
    """
    check_rrf_k(rrf_k)
    return _summed(legs, partial(_reciprocal, rrf_k), weights)


def dbsf(legs: Mapping[str, Ranking], *, weights: Mapping[str, float] | None = None) -> Ranking:
    """Fuse rankings by distribution-based score fusion: score(d) = sum over legs of weight * (s - low) / (high - low).

    `s` is the chunk's score in the leg, `low` and `high` are the mean of the leg's scores minus and plus three of their
    standard deviations (the sample's, n - 1). If there is one score, or all are the same, each counts 0.5. Most
    shares lie in 0..1. One that is further out is not cut, so a score may be a little below 0 or above the sum of the
    weights. The mean is that of the hits the leg handed on, so another depth gives another score.

    Args:
        legs: one ranking a leg, for the same query.
        weights: as in `fuse`; Qdrant's version has none.

    Raises:
        FusionError: as `fuse`.

    Source: Mazzeschi, Distribution-Based Score Fusion (DBSF), a new approach to vector search ranking, 2023; the
    variance, the 0.5 and that nothing is cut are Qdrant's (`Fusion.DBSF`), whose numbers these are.

    >>> legs = {"sparse": rank("sparse", [("a#0", 9.0), ("b#0", 5.0)], 10), "dense": rank("dense", [("b#0", 0.8)], 10)}
    >>> [(hit.chunk_id, round(hit.score, 6)) for hit in dbsf(legs)]
    [('b#0', 0.882149), ('a#0', 0.617851)]
    """
    return _summed(legs, _spread, weights)


def minmax(legs: Mapping[str, Ranking], *, weights: Mapping[str, float] | None = None) -> Ranking:
    """Fuse rankings by scores scaled to 0..1 in each leg: score(d) = sum over legs of weight * (s - min) / (max - min).

    `s` is the chunk's score in the leg; `min` and `max` are the least and the greatest that the leg handed on, so
    another depth gives another score. A leg's last chunk gets 0 from it, like one that it did not find. If a leg has
    one hit, or all of its scores are the same, each counts 1: nothing better was found.

    Args:
        legs: one ranking a leg, for the same query.
        weights: as in `fuse`.

    Raises:
        FusionError: as `fuse`.

    Source: the sum is CombSUM of Fox & Shaw, Combination of Multiple Searches, TREC-2 1994; the scaling that of Lee,
    Analyses of Multiple Evidence Combination, SIGIR 1997; with weights it is the convex combination of Bruch, Gai &
    Ingber, An Analysis of Fusion Functions for Hybrid Retrieval, TOIS 2023.

    >>> legs = {"sparse": rank("sparse", [("a#0", 9.0), ("b#0", 5.0)], 10), "dense": rank("dense", [("b#0", 0.8)], 10)}
    >>> [(hit.chunk_id, round(hit.score, 6)) for hit in minmax(legs)]
    [('a#0', 1.0), ('b#0', 1.0)]
    """
    return _summed(legs, _scaled, weights)


def convex(
    legs: Mapping[str, Ranking],
    *,
    weights: Mapping[str, float] | None = None,
    floors: Mapping[str, float] | None = None,
) -> Ranking:
    """Fuse rankings by a convex combination: score(d) = sum over legs of weight * (s - floor) / (best - floor).

    `s` is the chunk's score in the leg, `best` the leg's greatest, and `floor` the least that its model can give: 0 for
    sparse vectors and BM25, -1 for a cosine. So a chunk's share is the same at every depth and on every page, as it is
    not with `minmax`; a chunk that a leg did not hand on gets 0 from it. Nothing is cut, so a
    score below the floor is a share below 0; where the best is not above the floor, shares are what lies below it.

    Args:
        legs: one ranking a leg, for the same query.
        weights: as in `fuse`.
        floors: leg -> floor; 0 by default.

    Raises:
        FusionError: as `fuse`.

    Source: Bruch, Gai & Ingber, An Analysis of Fusion Functions for Hybrid Retrieval, TOIS 2023: TM2C2, the linear
    interpolation of the literature on scores between a theoretical minimum and the maximum.

    >>> legs = {"sparse": rank("sparse", [("a#0", 9.0), ("b#0", 5.0)], 10), "dense": rank("dense", [("b#0", 0.8)], 10)}
    >>> [(hit.chunk_id, round(hit.score, 6)) for hit in convex(legs, floors={"dense": -1.0})]
    [('b#0', 1.555556), ('a#0', 1.0)]
    """
    lowest = floors or {}
    return _summed(legs, {leg: partial(_above, lowest.get(leg, 0.0)) for leg in legs}, weights)


def check_rrf_k(rrf_k: float) -> None:
    """Refuse an invalid constant.

    Raises:
        FusionError: it is not a number, negative or not finite.
    """
    if not (is_number(rrf_k) and rrf_k >= MIN_RRF_K):
        raise FusionError(
            f"rrf_k is {shown(rrf_k)}; it must be a number >= {MIN_RRF_K:g} (the usual value is {RRF_K})."
        )


def check_weights(weights: Mapping[str, float] | None, legs: Sequence[str]) -> dict[str, float]:
    """Return one weight for every leg, 1 by default.

    Raises:
        FusionError: a weight names no leg, is negative or not finite, or none is above 0.
    """
    given = dict(weights or {})
    for leg in given:
        if leg not in legs:
            raise FusionError(f"There is a weight for the leg {shown(leg)}, but the legs are: {', '.join(legs)}.")
    check_shares(given)
    share = {leg: float(given.get(leg, 1.0)) for leg in legs}
    if legs and not any(share.values()):
        raise FusionError("Every leg has weight 0; give at least one a weight above 0, such as --weights sparse=1.")
    return share


def check_shares(weights: Mapping[str, float]) -> None:
    """Refuse weights that are invalid for any legs.

    Raises:
        FusionError: one is not a number, negative or not finite.
    """
    for leg, weight in weights.items():
        if not (is_number(weight) and weight >= 0):
            raise FusionError(f"The weight of {shown(leg)} is {shown(weight)}; it must be a number >= 0.")


def _summed(
    legs: Mapping[str, Ranking], shares: Shares | Mapping[str, Shares], weights: Mapping[str, float] | None
) -> Ranking:
    """Return the weighted sum over the legs of their shares, which may be made in a way of each leg's own.

    Sums are exact (`fsum`), so the order of the legs changes no last bit.
    """
    share = check_weights(weights, tuple(legs))
    parts: dict[str, list[float]] = {}
    found: dict[str, Mapping[str, LegHit]] = {}
    for leg, ranking in legs.items():
        weight, way = share[leg], shares if callable(shares) else shares[leg]
        for hit, value in zip(ranking.hits, way([hit.score for hit in ranking.hits]), strict=True):
            earlier = found.get(hit.chunk_id)
            found[hit.chunk_id] = hit.legs if earlier is None else {**earlier, **hit.legs}
            if weight:
                parts.setdefault(hit.chunk_id, []).append(weight * value)
    # Of one or two parts a plain sum is as exact, and sooner there.
    add = sum if len(legs) <= 2 else math.fsum
    scores = {chunk_id: add(some) for chunk_id, some in parts.items()}
    ordered = sorted([(-score, chunk_id) for chunk_id, score in scores.items()])
    return Ranking(
        tuple(Hit(chunk_id, place, -less, found[chunk_id]) for place, (less, chunk_id) in enumerate(ordered, 1))
    )


def shares_of(how: Fusion, scores: Sequence[float], *, rrf_k: float = RRF_K, floor: float = 0.0) -> Sequence[float]:
    """Return what each hit of a leg adds to a fusion, before the leg's weight.

    Args:
        how: the fusion.
        scores: of the leg's hits, best first; the first has rank 1.
        rrf_k: the constant of `rrf`.
        floor: the least score that the leg's model can give, for `convex`.
    """
    ways: dict[Fusion, Shares] = {
        "rrf": partial(_reciprocal, rrf_k),
        "dbsf": _spread,
        "minmax": _scaled,
        "convex": partial(_above, floor),
    }
    return ways[how](scores)


def _reciprocal(rrf_k: float, scores: Sequence[float]) -> list[float]:
    return [1 / (rrf_k + rank) for rank in range(1, len(scores) + 1)]


def _spread(scores: Sequence[float]) -> list[float]:
    # Settled, so that the last bits, which differ from engine to engine, decide nothing.
    scores = [round_score(score) for score in scores]
    if not scores or scores[0] == scores[-1]:
        return [0.5] * len(scores)
    mean = math.fsum(scores) / len(scores)
    deviation = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (len(scores) - 1))
    # (score - low) / (high - low), with low and high three deviations below and above the mean
    return [0.5 + (score - mean) / (6 * deviation) for score in scores]


def _scaled(scores: Sequence[float]) -> list[float]:
    scores = [round_score(score) for score in scores]
    if not scores or scores[0] == scores[-1]:
        return [1.0] * len(scores)
    most, least = scores[0], scores[-1]
    return [(score - least) / (most - least) for score in scores]


def _above(floor: float, scores: Sequence[float]) -> list[float]:
    # Scores as they are: a rounded one would say less than the leg does, and the greatest is the same on every engine.
    span = scores[0] - floor if scores and scores[0] > floor else 1.0
    return [(score - floor) / span for score in scores]
