"""The randomization test, against its own definition."""

import itertools

import numpy as np
import pytest

from hybrid_search.evaluation.significance import ROUNDS, paired_p

RANDOM = np.random.default_rng(7)
ONE, OTHER = RANDOM.random(40), RANDOM.random(40)


def exact(ours, theirs):
    """All 2^n exchanges."""
    differences = np.asarray(ours) - np.asarray(theirs)
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=len(differences))]
    return np.mean([value >= abs(differences.sum()) - 1e-12 for value in sums])


def test_it_is_symmetric_and_the_same_every_time():
    assert paired_p(ONE, OTHER) == paired_p(OTHER, ONE)
    assert paired_p(ONE, OTHER) == paired_p(ONE, OTHER)
    assert paired_p(ONE, OTHER, seed=1) == paired_p(ONE, OTHER, seed=1)
    assert paired_p(ONE, OTHER, seed=1) == pytest.approx(paired_p(ONE, OTHER), abs=0.02)


@pytest.mark.parametrize("size", [1, 2, 5, 10])
def test_it_comes_near_the_exact_value(size):
    assert paired_p(ONE[:size], OTHER[:size]) == pytest.approx(exact(ONE[:size], OTHER[:size]), abs=0.02)


def test_a_clear_difference_a_chance_difference_and_none():
    assert paired_p(ONE + 0.5, ONE) == pytest.approx(1 / (ROUNDS + 1))
    assert paired_p(ONE, ONE) == 1.0
    assert paired_p(np.array([0.5, 0.1]), np.array([0.1, 0.5])) == 1.0
    assert 0 < paired_p(ONE, OTHER) <= 1
