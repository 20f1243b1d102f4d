"""The randomization test, Holm's correction and the bootstrap, each against its own definition."""

import itertools

import numpy as np
import pytest

from hybrid_search.evaluation.significance import (
    ROUNDS,
    bootstrap_intervals,
    holm,
    paired_p,
    paired_randomization_test,
)

RANDOM = np.random.default_rng(7)
ONE, OTHER = RANDOM.random(40), RANDOM.random(40)


def exact(ours, theirs):
    """All 2^n exchanges."""
    differences = np.asarray(ours) - np.asarray(theirs)
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=len(differences))]
    return np.mean([value >= abs(differences.sum()) - 1e-12 for value in sums])


def test_it_is_symmetric_and_the_same_every_time():
    assert paired_randomization_test(ONE, OTHER) == paired_randomization_test(OTHER, ONE)
    assert paired_randomization_test(ONE, OTHER) == paired_randomization_test(ONE, OTHER)
    assert paired_randomization_test(ONE, OTHER, seed=1) == paired_randomization_test(ONE, OTHER, seed=1)
    assert paired_randomization_test(ONE, OTHER, seed=1) == pytest.approx(
        paired_randomization_test(ONE, OTHER), abs=0.02
    )


@pytest.mark.parametrize("size", [1, 2, 5, 10])
def test_it_comes_near_the_exact_value(size):
    assert paired_randomization_test(ONE[:size], OTHER[:size]) == pytest.approx(
        exact(ONE[:size], OTHER[:size]), abs=0.02
    )


def test_a_clear_difference_a_chance_difference_and_none():
    assert paired_randomization_test(ONE + 0.5, ONE) == pytest.approx(1 / (ROUNDS + 1))
    assert paired_randomization_test(ONE, ONE) == 1.0
    assert paired_randomization_test(np.array([0.5, 0.1]), np.array([0.1, 0.5])) == 1.0
    assert 0 < paired_randomization_test(ONE, OTHER) <= 1


def test_the_earlier_name_is_the_same_test():
    assert paired_p is paired_randomization_test


@pytest.mark.parametrize("size", [0, 1, 2, 7, 30])
def test_holm_rejects_what_its_steps_reject(size):
    """The procedure as Holm wrote it: from the smallest on, stop at the first above alpha / (tests that are left)."""
    p_values = np.random.default_rng(size).random(size) ** 3
    corrected = np.array(holm(p_values.tolist()))
    for alpha in (0.001, 0.01, 0.05, 0.2, 0.5):
        rejected = np.zeros(size, bool)
        for left, place in zip(range(size, 0, -1), np.argsort(p_values), strict=True):
            if p_values[place] > alpha / left:
                break
            rejected[place] = True
        assert (corrected <= alpha).tolist() == rejected.tolist()
    assert all(corrected >= p_values)


def test_holm_of_ties_and_of_large_values():
    assert holm([0.5, 0.5, 0.5]) == [1.0, 1.0, 1.0]
    assert holm([0.02, 0.02]) == [0.04, 0.04]
    assert holm([1.0, 0.0]) == [1.0, 0.0]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_bootstrap_comes_near_the_quantiles_of_all_draws(size):
    values = ONE[:size]
    means = sorted(np.mean(draw) for draw in itertools.product(values, repeat=size))
    low, high = np.quantile(means, (0.025, 0.975), method="inverted_cdf")
    [found] = bootstrap_intervals(values[:, None])
    assert found == pytest.approx([low, high], abs=0.06)
    assert bootstrap_intervals(values[:, None], seed=1) == pytest.approx(found[None], abs=0.06)


def test_the_bootstrap_of_many_values_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(0.4, 0.3, (400, 2))
    for column, (low, high) in zip(values.T, bootstrap_intervals(values), strict=True):
        error = 1.96 * column.std() / np.sqrt(len(column))
        assert (low, high) == pytest.approx((column.mean() - error, column.mean() + error), abs=0.002)


def test_the_bootstrap_is_seeded_and_draws_the_same_queries_for_every_measure():
    one, both = ONE[:, None], np.stack([ONE, OTHER, ONE], axis=1)
    assert bootstrap_intervals(both).tolist() == bootstrap_intervals(both).tolist()
    assert bootstrap_intervals(both)[0].tolist() == bootstrap_intervals(both)[2].tolist()
    assert bootstrap_intervals(both)[0] == pytest.approx(bootstrap_intervals(one)[0])
    assert bootstrap_intervals(both, seed=3).tolist() != bootstrap_intervals(both).tolist()


def test_the_bootstrap_in_several_blocks(monkeypatch):
    whole = bootstrap_intervals(ONE[:, None])
    monkeypatch.setattr("hybrid_search.evaluation.significance._CELLS", 40 * 333)
    assert bootstrap_intervals(ONE[:, None]) == pytest.approx(whole, abs=1e-12)
