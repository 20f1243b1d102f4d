"""The confidence of a search: from what the legs return to a value and a word."""

from __future__ import annotations

import math
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.ranking.confidence import (
    DEPTH,
    FITS,
    LegEvidence,
    closeness,
    confidence,
    signals,
    strength,
    support,
    word_of,
)
from hybrid_search.ranking.fusion import rank
from hybrid_search.results import Confidence
from hybrid_search.types import Hit, Ranking

FAR = [(f"d{n}#0", 0.30 - n * 0.002) for n in range(100)]
"""Nothing stands out."""
NEAR = [("a#0", 0.85), ("b#0", 0.8), *FAR]
"""Two hits stand out."""
WORDS = [("a#0", 20.0), ("b#0", 18.0), *((f"w{n}#0", 6.0 - n * 0.02) for n in range(100))]
OTHER = [(f"w{n}#0", 6.0 - n * 0.02) for n in range(100)]

SCORES = st.lists(st.floats(-2, 60, width=32), max_size=70)


def dense(scored) -> LegEvidence:
    return LegEvidence("dense", rank("dense", scored, 1000))


def sparse(scored, norm: float = 4.0) -> LegEvidence:
    return LegEvidence("sparse", rank("sparse", scored, 1000), norm)


def both(scored, words) -> Confidence:
    found = confidence({"sparse": sparse(words), "dense": dense(scored)})
    assert found is not None
    return found


def test_what_stands_out_in_both_legs_is_surer_than_what_does_not() -> None:
    values = [both(NEAR, WORDS).value, both(NEAR, OTHER).value, both(FAR, OTHER).value]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 3
    assert (both(NEAR, WORDS).word, both(FAR, OTHER).word) == ("high", "low")


@pytest.mark.parametrize("leg", [dense(NEAR), sparse(WORDS)], ids=["dense", "sparse"])
def test_one_leg_alone_has_a_confidence_of_its_own(leg) -> None:
    less = dense(FAR) if leg.kind == "dense" else sparse(OTHER)
    one, other = confidence({"x": leg}), confidence({"x": less})
    assert one is not None
    assert other is not None
    assert one.value > other.value


def test_of_several_legs_of_a_kind_the_first_that_tells_anything_counts() -> None:
    short = dense(NEAR[:5])
    assert signals({"new": short, "dense": dense(NEAR)}).closeness == signals({"dense": dense(NEAR)}).closeness
    bm25 = sparse(WORDS, norm=0.0)
    assert signals({"bm25": bm25, "sparse": sparse(WORDS)}).strength == 5.0


def test_no_hit_at_all_is_no_answer() -> None:
    assert confidence({}) == Confidence(0.0, "low")
    assert confidence({"sparse": sparse([]), "dense": dense([])}) == Confidence(0.0, "low")
    assert confidence({"bm25": sparse([], norm=0.0)}) == Confidence(0.0, "low")


def test_a_leg_that_finds_nothing_supports_nothing() -> None:
    found = confidence({"sparse": sparse([]), "dense": dense(NEAR)})
    assert found is not None
    assert found.value == both(NEAR, OTHER).value


@pytest.mark.parametrize(
    "legs",
    [
        {"bm25": sparse(WORDS, norm=0.0)},
        {"dense": dense(NEAR[:9])},
        {"sparse": sparse(WORDS), "dense": dense(NEAR[:9])},
        {"sparse": sparse([("a#0", math.inf)], norm=math.nan)},
    ],
    ids=["idf", "few", "few of two", "no norm"],
)
def test_where_nothing_tells_it_there_is_none(legs) -> None:
    assert confidence(legs) is None


def test_only_the_first_hits_count() -> None:
    longer = [*NEAR[:DEPTH], *((f"z{n}#0", -0.5) for n in range(50))]
    assert both(NEAR, WORDS) == both(longer, WORDS) == both(NEAR[:DEPTH], WORDS[:DEPTH])


@pytest.mark.parametrize(("scale", "shift"), [(0.1, 0.9), (0.5, 0.5)])
def test_a_model_whose_cosines_lie_close_together_is_compared_with_itself(scale: float, shift: float) -> None:
    moved = [(chunk_id, shift + scale * score) for chunk_id, score in NEAR]
    assert closeness(dense(moved).ranking) == pytest.approx(closeness(dense(NEAR).ranking), abs=1e-6)


def test_support_does_not_depend_on_the_scale() -> None:
    legs = {"sparse": sparse(WORDS).ranking, "dense": dense(NEAR).ranking}
    larger = {**legs, "sparse": sparse([(chunk_id, 10 * score) for chunk_id, score in WORDS]).ranking}
    assert support(legs) == pytest.approx(support(larger))
    assert support(legs) == 1.0
    assert support({"dense": legs["dense"]}) is None


def test_the_strength_is_relative_to_the_query() -> None:
    assert strength(sparse(WORDS).ranking, 4.0) == 5.0
    assert strength(sparse([("a#0", -1.0)]).ranking, 4.0) == 0.0
    assert strength(sparse([]).ranking, 4.0) == 0.0


@pytest.mark.parametrize("read", [0.0, 0.25, 0.5, 1.0, 7.0, -1.0])
def test_what_was_not_read_takes_its_share(read: float) -> None:
    legs = {"sparse": sparse(WORDS), "dense": dense(NEAR)}
    found = confidence(legs, read)
    assert found is not None
    assert found.value == pytest.approx(min(max(read, 0), 1) * both(NEAR, WORDS).value, abs=1e-4)


def test_the_words_have_their_bounds() -> None:
    assert [word_of(value) for value in (0.0, 0.2999, 0.3, 0.7999, 0.8, 1.0)] == [
        "low", "low", "fair", "fair", "high", "high",
    ]  # fmt: skip


def test_every_signal_speaks_for_an_answer() -> None:
    assert all(weight > 0 for fit in FITS for weight in fit.weights)


@given(SCORES, SCORES, st.floats(0, 100, width=32))
def test_it_is_a_probability_whatever_the_scores(one: list[float], other: list[float], norm: float) -> None:
    legs = {
        "dense": dense([(f"d{n}#0", score) for n, score in enumerate(one)]),
        "sparse": sparse([(f"d{n * 2}#0", score) for n, score in enumerate(other)], norm),
    }
    for some in (legs, {"dense": legs["dense"]}, {"sparse": legs["sparse"]}):
        found = confidence(some)
        if found is not None:
            assert 0 <= found.value <= 1
            assert found.word == word_of(found.value)
            assert found == confidence(some)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 20, 49])
def test_scores_that_are_no_numbers_make_no_confidence_that_is_none(wrong: float, place: int) -> None:
    scores = [0.9 - n / 100 for n in range(DEPTH)]
    scores[place] = wrong
    hits = tuple(Hit(f"d{n}#0", n + 1, score) for n, score in enumerate(scores))
    broken = object.__new__(Ranking)  # one that the checks of a ranking have not seen
    object.__setattr__(broken, "hits", hits)
    legs = {"dense": LegEvidence("dense", broken), "sparse": LegEvidence("sparse", broken, 2.0)}
    for some in (legs, {"dense": legs["dense"]}, {"sparse": legs["sparse"]}):
        found = confidence(some)
        assert found is None or 0 <= found.value <= 1


def test_it_takes_next_to_no_time() -> None:
    legs = {"sparse": sparse(WORDS), "dense": dense(NEAR)}
    times = []
    for _ in range(200):
        start = perf_counter()
        confidence(legs)
        times.append(perf_counter() - start)
    assert min(times) < 200e-6
