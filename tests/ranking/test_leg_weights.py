"""Weights by the query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.ranking.fusion import rank
from hybrid_search.ranking.leg_weights import Features, agreement, features, leg_weights
from hybrid_search.results import Term

KINDS = {"sparse": "sparse", "dense": "dense"}
FEATURES = st.builds(Features, st.integers(0, 300), st.floats(0, 1), st.floats(0, 1))


def heads(**legs: str) -> dict:
    return {leg: rank(leg, [(f"{name}#0", -float(n)) for n, name in enumerate(ids)], 10) for leg, ids in legs.items()}


@pytest.mark.parametrize(
    ("legs", "expected"),
    [
        ({"sparse": "abcd", "dense": "cdef"}, 0.5),
        ({"sparse": "abcd", "dense": "abcd"}, 1.0),
        ({"sparse": "", "dense": "abcd"}, 0.0),
        ({"sparse": "", "dense": ""}, 0.0),
        ({"sparse": "abcd"}, 1.0),
        ({"sparse": "ab", "dense": "ab", "bm25": "cd"}, 1 / 3),
    ],
)
def test_agreement(legs: dict[str, str], expected: float) -> None:
    assert agreement(heads(**legs)) == pytest.approx(expected)


def test_only_the_head_counts() -> None:
    assert agreement(heads(sparse="abcdefghij", dense="abcdefghij"), head=3) == 1.0
    assert agreement(heads(sparse="abcdefghij", dense="jihgfedcba"), head=3) == 0.0


def test_features_of_a_query() -> None:
    terms = [Term("heart", 3.0, True), Term("cardiac", 1.0, False)]
    found = features("a heart, attack?", terms, heads(sparse="ab", dense="bc"))
    assert found == Features(3, 0.25, 0.5)
    assert features("zzz", [], {}).expanded == 0.0


def test_by_hand() -> None:
    """short (8 - 1) / 7 = 1, guessed 0.3 / 0.6 = 1 / 2, apart 1 / 4: the mean is 1 / 2, the dense share 0.7."""
    assert leg_weights(Features(1, 0.3, 0.75), KINDS) == pytest.approx({"sparse": 0.6, "dense": 1.4})


@pytest.mark.parametrize("neutral", [Features(8, 1, 0), Features(1, 0, 0), Features(1, 1, 1)])
def test_each_sign_has_to_speak_for_it(neutral: Features) -> None:
    assert leg_weights(neutral, KINDS) == {"sparse": 1.0, "dense": 1.0}


@given(FEATURES)
def test_weights_stay_in_bounds_and_add_up(found: Features) -> None:
    weights = leg_weights(found, KINDS)
    assert 0.2 <= weights["sparse"] <= 1.0 <= weights["dense"] <= 1.8
    assert sum(weights.values()) == pytest.approx(2)


@given(FEATURES)
def test_legs_of_one_kind_weigh_the_same(found: Features) -> None:
    assert leg_weights(found, {"sparse": "sparse", "bm25": "sparse"}) == {"sparse": 1.0, "bm25": 1.0}
    three = leg_weights(found, {**KINDS, "bm25": "sparse"})
    assert three["bm25"] == three["sparse"]
