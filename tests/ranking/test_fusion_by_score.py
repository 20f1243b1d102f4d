"""The fusions by score, and what every fusion must hold: by hand, by property, and against the engine's own."""

from __future__ import annotations

import math
import uuid
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.errors import FusionError
from hybrid_search.ranking.fusion import FUSIONS, convex, dbsf, fuse, minmax, rank
from hybrid_search.types import LegHit, Ranking

IDS = [f"d{number}#0" for number in range(12)]
LEG = st.lists(st.tuples(st.sampled_from(IDS), st.floats(-10, 300, width=32)), unique_by=lambda row: row[0])
LEGS = st.dictionaries(st.sampled_from(["sparse", "dense", "bm25", "new"]), LEG, min_size=1)
HOW = st.sampled_from(FUSIONS)


def ranked(legs: dict[str, list[tuple[str, float]]], depth: int = 100) -> dict[str, Ranking]:
    return {leg: rank(leg, scored, depth) for leg, scored in legs.items()}


def order(ranking: Ranking) -> list[str]:
    return [hit.chunk_id for hit in ranking]


def scores(ranking: Ranking) -> dict[str, float]:
    return {hit.chunk_id: hit.score for hit in ranking}


SPARSE = [("a#0", 8.0), ("b#0", 6.0), ("c#0", 4.0)]
DENSE = [("c#0", 0.9), ("a#0", 0.5), ("d#0", 0.1)]

# ---------------------------------------------------------------- by hand


def test_dbsf_by_hand() -> None:
    """Sparse: mean 6, deviation 2, so 0..12. Dense: mean 0.5, deviation 0.4, so -0.7..1.7."""
    fused = dbsf(ranked({"sparse": SPARSE, "dense": DENSE}))
    assert order(fused) == ["a#0", "c#0", "b#0", "d#0"]
    assert [hit.score for hit in fused] == pytest.approx([8 / 12 + 1.2 / 2.4, 4 / 12 + 1.6 / 2.4, 6 / 12, 0.8 / 2.4])
    assert fused[1].legs == {"sparse": LegHit("sparse", 3, 4.0), "dense": LegHit("dense", 1, 0.9)}


def test_minmax_by_hand() -> None:
    fused = minmax(ranked({"sparse": SPARSE, "dense": DENSE}), weights={"sparse": 2})
    assert [(hit.chunk_id, hit.rank) for hit in fused] == [("a#0", 1), ("b#0", 2), ("c#0", 3), ("d#0", 4)]
    assert [hit.score for hit in fused] == pytest.approx([2 * 1.0 + 0.5, 2 * 0.5, 0.0 + 1.0, 0.0])


def test_convex_by_hand() -> None:
    """Sparse: of 0..8; dense: of -1..0.9. The deepest chunk of a leg keeps its share."""
    fused = convex(ranked({"sparse": SPARSE, "dense": DENSE}), weights={"sparse": 2}, floors={"dense": -1.0})
    expected = {"a#0": 2 * 1.0 + 1.5 / 1.9, "b#0": 2 * 6 / 8, "c#0": 2 * 4 / 8 + 1.0, "d#0": 1.1 / 1.9}
    assert scores(fused) == pytest.approx(expected, abs=1e-12)


@given(
    legs=st.dictionaries(
        st.sampled_from(["sparse", "dense", "bm25"]),
        st.dictionaries(st.sampled_from([f"{n}#0" for n in range(40)]), st.floats(-0.875, 30, width=32), max_size=30),
        min_size=1,
    )
)
def test_convex_is_what_numpy_says(legs: dict[str, dict[str, float]]) -> None:
    floors = {"dense": -1.0}
    wanted: dict[str, float] = {}
    rankings = ranked({leg: list(found.items()) for leg, found in legs.items()})  # scores that tie are settled there
    for leg, ranking in rankings.items():
        found = scores(ranking)
        values = np.array(list(found.values()))
        floor, best = floors.get(leg, 0.0), values.max(initial=-np.inf)
        shares = (values - floor) / (best - floor if best > floor else 1.0)
        for chunk_id, share in zip(found, shares, strict=True):
            wanted[chunk_id] = wanted.get(chunk_id, 0.0) + share
    fused = convex(rankings, floors=floors)
    assert scores(fused) == pytest.approx(wanted, abs=1e-9)
    assert [hit.score for hit in fused] == sorted((hit.score for hit in fused), reverse=True)


def test_a_share_of_convex_is_the_same_at_every_depth() -> None:
    generator = np.random.default_rng(7)
    whole = {leg: [(f"{n}#0", float(s)) for n, s in enumerate(generator.random(1_000))] for leg in ("sparse", "dense")}
    pages = []
    for depth in (50, 100, 1_000):
        cut = {leg: rank(leg, scored, depth) for leg, scored in whole.items()}
        both = {hit.chunk_id for hit in cut["sparse"]} & {hit.chunk_id for hit in cut["dense"]}
        pages.append({hit.chunk_id: hit.score for hit in convex(cut, floors={"dense": -1.0}) if hit.chunk_id in both})
    shallow, middle, deep = pages
    assert shallow
    assert shallow.items() <= middle.items() <= deep.items()


def test_where_nothing_is_above_the_floor_the_order_stays() -> None:
    fused = convex(ranked({"sparse": [("a#0", -2.0), ("b#0", -0.5), ("c#0", 0.0)]}))
    assert [(hit.chunk_id, hit.score) for hit in fused] == [("c#0", 0.0), ("b#0", -0.5), ("a#0", -2.0)]
    assert scores(convex(ranked({"dense": [("a#0", -1.0)]}), floors={"dense": -1.0})) == {"a#0": 0.0}


@pytest.mark.parametrize("scored", [[("a#0", 7.0)], [("a#0", 7.0), ("b#0", 7.0), ("c#0", 7.0)]])
def test_one_hit_or_equal_scores(scored: list[tuple[str, float]]) -> None:
    assert set(scores(dbsf(ranked({"sparse": scored}))).values()) == {0.5}
    assert set(scores(minmax(ranked({"sparse": scored}))).values()) == {1.0}


def test_dbsf_does_not_cut_what_lies_far_out() -> None:
    """Of 99 zeros and a one the last lies 9.9 deviations above the mean: (99 / 100) / 0.1 of them, n - 1."""
    scored = [(f"d{n:02}#0", 0.0) for n in range(99)] + [("far#0", 1.0)]
    best = dbsf(ranked({"dense": scored}))[0]
    assert (best.chunk_id, best.score) == ("far#0", pytest.approx(0.5 + 0.99 / 0.1 / 6))


def test_last_bits_decide_nothing() -> None:
    """Two engines that differ in the last bits of a 32-bit score give the same fused scores."""
    other = [(chunk_id, score * (1 + 1e-8)) for chunk_id, score in SPARSE]
    for how in ("dbsf", "minmax"):
        assert scores(fuse(ranked({"sparse": SPARSE, "dense": DENSE}), how)) == scores(
            fuse(ranked({"sparse": other, "dense": DENSE}), how)
        )


# ---------------------------------------------------------------- what every fusion must hold


@given(HOW, LEGS)
def test_the_order_of_the_legs_does_not_matter(how: str, legs: dict[str, list[tuple[str, float]]]) -> None:
    results = [fuse(ranked(dict(some)), how) for some in permutations(legs.items())]
    assert all([(hit.chunk_id, hit.score) for hit in result] == [*scores(results[0]).items()] for result in results)


@given(HOW, LEG)
def test_one_leg_keeps_its_order(how: str, leg: list[tuple[str, float]]) -> None:
    alone = rank("sparse", leg, 100)
    assert order(fuse({"sparse": alone}, how)) == order(alone)


@given(HOW, LEGS)
def test_no_document_is_invented_none_is_lost_and_every_score_is_finite(
    how: str, legs: dict[str, list[tuple[str, float]]]
) -> None:
    fused = fuse(ranked(legs), how)
    assert set(order(fused)) == {chunk_id for leg in legs.values() for chunk_id, _ in leg}
    assert all(math.isfinite(hit.score) for hit in fused)


@given(HOW, LEGS)
def test_equal_scores_go_by_chunk_id_and_every_hit_keeps_its_places(
    how: str, legs: dict[str, list[tuple[str, float]]]
) -> None:
    rankings = ranked(legs)
    fused = fuse(rankings, how)
    assert order(fused) == [hit.chunk_id for hit in sorted(fused, key=lambda hit: (-hit.score, hit.chunk_id))]
    for hit in fused:
        assert hit.legs == {
            leg: LegHit(leg, found.rank, found.score)
            for leg, ranking in rankings.items()
            for found in ranking
            if found.chunk_id == hit.chunk_id
        }


@given(HOW, LEGS, st.floats(0.1, 10))
def test_weights_in_the_same_proportion_give_the_same_order(
    how: str, legs: dict[str, list[tuple[str, float]]], factor: float
) -> None:
    """Up to ties: the product with a factor may round two scores apart that are the same without it."""
    plain = fuse(ranked(legs), how)
    scaled = scores(fuse(ranked(legs), how, weights=dict.fromkeys(legs, factor)))
    assert scaled == pytest.approx({hit.chunk_id: hit.score * factor for hit in plain}, abs=1e-9)


@given(HOW, LEGS)
def test_a_leg_of_weight_zero_brings_nothing(how: str, legs: dict[str, list[tuple[str, float]]]) -> None:
    first, *others = legs
    if not others:
        return
    without = {leg: scored for leg, scored in legs.items() if leg != first}
    assert scores(fuse(ranked(legs), how, weights={first: 0})) == scores(fuse(ranked(without), how))


@given(HOW, LEGS)
def test_more_weight_on_a_leg_never_lowers_its_first(how: str, legs: dict[str, list[tuple[str, float]]]) -> None:
    leg, scored = next(iter(legs.items()))
    if not scored:
        return
    rankings = ranked(legs)
    first = rankings[leg][0].chunk_id
    places = [order(fuse(rankings, how, weights={leg: weight})).index(first) for weight in (1, 4, 16)]
    assert places == sorted(places, reverse=True)


def test_any_number_of_legs() -> None:
    legs = {f"leg{n}": [(f"d{m:02}#0", float((m * (n + 3)) % 17)) for m in range(17)] for n in range(9)}
    for how in FUSIONS:
        assert len(fuse(ranked(legs), how)) == 17
    assert len(fuse({}, "dbsf")) == 0


def test_an_unknown_way() -> None:
    with pytest.raises(FusionError, match="no fusion 'magic'; take one of: rrf, dbsf, minmax, convex"):
        fuse(ranked({"sparse": SPARSE}), "magic")  # type: ignore[arg-type]


def test_dbsf_is_the_engines_own(tmp_path: Path) -> None:
    import numpy as np
    import qdrant_edge as q

    random = np.random.default_rng(7)
    parameters = q.EdgeVectorParams(8, q.Distance.Cosine)
    shard = q.EdgeShard.create(str(tmp_path / "shard"), q.EdgeConfig(vectors={"one": parameters, "two": parameters}))
    vectors = random.normal(size=(60, 2, 8)).astype(np.float32)
    names = {uuid.uuid5(uuid.NAMESPACE_URL, str(row)): f"d{row:02}#0" for row in range(60)}
    points = [q.Point(point, {"one": v[0], "two": v[1]}, {}) for point, v in zip(names, vectors, strict=True)]
    shard.update(q.UpdateOperation.upsert_points(points))
    for depth in (30, 2, 1):
        asked = {name: random.normal(size=8).astype(np.float32) for name in ("one", "two")}
        requests = [q.QueryRequest(query=q.Query.Nearest(v, using=name), limit=depth) for name, v in asked.items()]
        answers = shard.query_batch(q.QueryBatchRequest(requests))
        legs = {
            name: rank(name, [(names[point.id], point.score) for point in answer], depth)
            for name, answer in zip(asked, answers, strict=True)
        }
        prefetches = [q.Prefetch(query=q.Query.Nearest(v, using=name), limit=depth) for name, v in asked.items()]
        request = q.QueryRequest(prefetches=prefetches, query=q.Fusion.Dbsf(), limit=60)
        theirs = {names[point.id]: point.score for point in shard.query_batch(q.QueryBatchRequest([request]))[0]}
        assert scores(dbsf(legs)) == pytest.approx(theirs, abs=1e-4)
    shard.close()
