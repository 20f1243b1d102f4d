"""Reciprocal rank fusion: by hand, by property, and against the engine's own."""

from __future__ import annotations

import math
import uuid
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.errors import FusionError
from hybrid_search.ranking.fusion import check_weights, rank, round_score, rrf
from hybrid_search.types import LegHit, Ranking

IDS = [f"d{number}#0" for number in range(12)]
LEG = st.lists(st.tuples(st.sampled_from(IDS), st.floats(0, 10, width=16)), unique_by=lambda row: row[0])
LEGS = st.dictionaries(st.sampled_from(["sparse", "dense", "third"]), LEG, min_size=1)


def ranked(legs: dict[str, list[tuple[str, float]]], depth: int = 100) -> dict[str, Ranking]:
    return {leg: rank(leg, scored, depth) for leg, scored in legs.items()}


def order(ranking: Ranking) -> list[str]:
    return [hit.chunk_id for hit in ranking]


def test_golden_by_hand() -> None:
    legs = ranked(
        {"sparse": [("a#0", 9.0), ("b#0", 5.0), ("c#0", 1.0)], "dense": [("c#0", 0.9), ("a#0", 0.8), ("d#0", 0.1)]}
    )
    fused = rrf(legs)
    assert [(hit.chunk_id, hit.rank) for hit in fused] == [("a#0", 1), ("c#0", 2), ("b#0", 3), ("d#0", 4)]
    expected = [1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62, 1 / 63]
    assert [hit.score for hit in fused] == pytest.approx(expected, abs=1e-12)
    assert fused[1].legs == {"sparse": LegHit("sparse", 3, 1.0), "dense": LegHit("dense", 1, 0.9)}
    assert fused[3].legs == {"dense": LegHit("dense", 3, 0.1)}


def test_weights_multiply_the_share() -> None:
    legs = ranked({"sparse": [("a#0", 1.0)], "dense": [("b#0", 1.0)]})
    fused = rrf(legs, weights={"sparse": 1, "dense": 3})
    assert [(hit.chunk_id, hit.score) for hit in fused] == [
        ("b#0", pytest.approx(3 / 61)),
        ("a#0", pytest.approx(1 / 61)),
    ]


def test_a_leg_of_weight_zero_brings_nothing_but_its_evidence_stays() -> None:
    legs = ranked({"sparse": [("a#0", 1.0), ("b#0", 0.5)], "dense": [("b#0", 1.0), ("c#0", 0.5)]})
    fused = rrf(legs, weights={"dense": 0})
    assert order(fused) == ["a#0", "b#0"]
    assert fused[1].legs["dense"] == LegHit("dense", 1, 1.0)


def test_rrf_k_decides_how_much_the_head_counts() -> None:
    legs = ranked({"sparse": [("a#0", 2.0), ("b#0", 1.0)], "dense": [("c#0", 3.0), ("d#0", 2.0), ("b#0", 1.0)]})
    assert order(rrf(legs, rrf_k=60))[0] == "b#0"
    assert order(rrf(legs, rrf_k=0))[0] == "a#0"


def test_equal_scores_go_by_chunk_id() -> None:
    assert order(rank("sparse", [("b#0", 1.0), ("a#0", 1.0), ("c#0", 2.0)], 10)) == ["c#0", "a#0", "b#0"]
    assert order(rrf(ranked({"sparse": [("b#0", 1.0)], "dense": [("a#0", 1.0)]}))) == ["a#0", "b#0"]


def test_nothing_in_nothing_out() -> None:
    assert len(rrf(ranked({"sparse": [], "dense": []}))) == 0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"colour": 1.0}, "'colour', but the legs are: sparse, dense"),
        ({"sparse": -1.0}, "'sparse' is -1.0; it must be a number >= 0"),
        ({"sparse": math.nan}, "nan"),
        ({"sparse": 0.0, "dense": 0.0}, "Every leg has weight 0"),
    ],
)
def test_weights_that_cannot_be_meant(weights: dict[str, float], message: str) -> None:
    with pytest.raises(FusionError, match=message):
        check_weights(weights, ("sparse", "dense"))


@pytest.mark.parametrize("rrf_k", [-1, math.nan, math.inf])
def test_an_rrf_k_that_cannot_be_meant(rrf_k: float) -> None:
    with pytest.raises(FusionError, match="rrf_k"):
        rrf(ranked({"sparse": [("a#0", 1.0)]}), rrf_k=rrf_k)


@given(LEGS)
def test_the_order_of_the_legs_does_not_matter(legs: dict[str, list[tuple[str, float]]]) -> None:
    results = [rrf(ranked(dict(some))) for some in permutations(legs.items())]
    assert all(order(result) == order(results[0]) for result in results)


@given(LEG)
def test_one_leg_keeps_its_order(leg: list[tuple[str, float]]) -> None:
    alone = rank("sparse", leg, 100)
    assert order(rrf({"sparse": alone})) == order(alone)


@given(LEGS)
def test_no_document_is_invented_and_none_is_lost(legs: dict[str, list[tuple[str, float]]]) -> None:
    assert set(order(rrf(ranked(legs)))) == {chunk_id for leg in legs.values() for chunk_id, _ in leg}


@given(LEGS, st.integers(1, 12))
def test_a_better_rank_in_a_leg_never_hurts(legs: dict[str, list[tuple[str, float]]], place: int) -> None:
    leg, scored = next(iter(legs.items()))
    if len(scored) < 2:
        return
    chunk_id = order(rank(leg, scored, 100))[min(place, len(scored) - 1)]
    lifted = [(name, 99.0 if name == chunk_id else score) for name, score in scored]
    before, after = order(rrf(ranked(legs))), order(rrf(ranked({**legs, leg: lifted})))
    assert after.index(chunk_id) <= before.index(chunk_id)


@given(LEGS)
def test_scores_are_the_sum_over_the_evidence(legs: dict[str, list[tuple[str, float]]]) -> None:
    for hit in rrf(ranked(legs)):
        assert hit.score == pytest.approx(sum(1 / (60 + found.rank) for found in hit.legs.values()))


def test_congruent_with_the_engines_own_fusion(tmp_path: Path) -> None:
    """Edge's `Fusion.Rrf(k)` is 1 / (position from 0 + k), so its k = 61 is our 60."""
    import numpy as np
    import qdrant_edge as q

    random = np.random.default_rng(7)
    parameters = q.EdgeVectorParams(8, q.Distance.Cosine)
    shard = q.EdgeShard.create(str(tmp_path / "shard"), q.EdgeConfig(vectors={"one": parameters, "two": parameters}))
    vectors = random.normal(size=(60, 2, 8)).astype(np.float32)
    names = {uuid.uuid5(uuid.NAMESPACE_URL, str(row)): f"d{row:02}#0" for row in range(60)}
    points = [q.Point(point, {"one": v[0], "two": v[1]}, {}) for point, v in zip(names, vectors, strict=True)]
    shard.update(q.UpdateOperation.upsert_points(points))
    for _ in range(20):
        asked = {name: random.normal(size=8).astype(np.float32) for name in ("one", "two")}
        requests = [q.QueryRequest(query=q.Query.Nearest(v, using=name), limit=30) for name, v in asked.items()]
        answers = shard.query_batch(q.QueryBatchRequest(requests))
        legs = {
            name: rank(name, [(names[point.id], point.score) for point in answer], 30)
            for name, answer in zip(asked, answers, strict=True)
        }
        prefetches = [q.Prefetch(query=q.Query.Nearest(v, using=name), limit=30) for name, v in asked.items()]
        request = q.QueryRequest(prefetches=prefetches, query=q.Fusion.Rrf(61), limit=60)
        theirs = {names[point.id]: point.score for point in shard.query_batch(q.QueryBatchRequest([request]))[0]}
        ours = {hit.chunk_id: hit.score for hit in rrf(legs)}
        assert ours == pytest.approx(theirs, abs=1e-6)
    shard.close()


@given(st.floats(2**-10, 300, width=32))
def test_settled_hides_the_last_bits_and_little_else(score: float) -> None:
    assert abs(round_score(score) - score) <= 5.1e-5
    assert abs(round_score(score) - score) <= max(5.1e-6 * score, 5.1e-7)


@pytest.mark.parametrize("score", [0.4392717, 8.902601, 57.25013])
def test_scores_that_differ_in_the_last_bit_tie(score: float) -> None:
    import numpy as np

    one = np.float32(score)
    next_one = np.nextafter(one, np.float32(np.inf))
    ranking = rank("sparse", [("b#0", float(next_one)), ("a#0", float(one))], 10)
    assert [(hit.chunk_id, hit.score) for hit in ranking] == [("a#0", float(one)), ("b#0", float(one))]


def test_a_hit_keeps_the_legs_own_score() -> None:
    scored = [("a#0", 57.250127), ("b#0", 8.90260124), ("c#0", 0.43927168)]
    assert [(hit.chunk_id, hit.score) for hit in rank("sparse", scored, 10)] == scored
