"""Maximal marginal relevance."""

import numpy as np
import pytest

from hybrid_search.errors import InvalidArgument
from hybrid_search.ranking.mmr import mmr

QUERY = np.array([1.0, 0.0, 0.0])
DOCUMENTS = np.array([[0.9, 0.1, 0.0], [0.9, 0.11, 0.0], [0.6, 0.0, 0.8], [0.0, 0.0, 5.0]])


def test_relevance_alone_is_the_order_of_the_cosines():
    assert mmr(QUERY, DOCUMENTS, 4, 1.0) == [0, 1, 2, 3]


def test_the_second_one_is_another_than_the_first_one_said_again():
    assert mmr(QUERY, DOCUMENTS, 2, 0.5) == [0, 2]


def test_difference_alone_still_begins_with_the_nearest():
    assert mmr(QUERY, DOCUMENTS, 2, 0.0) == [0, 3]


def test_lengths_do_not_count():
    assert mmr(7 * QUERY, DOCUMENTS * [[1], [9], [2], [3]], 3, 0.4) == mmr(QUERY, DOCUMENTS, 3, 0.4)


def test_by_the_formula_worked_step_by_step():
    rng = np.random.default_rng(3)
    query, documents = rng.normal(size=8), rng.normal(size=(12, 8))
    cos = lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)  # noqa: E731
    left, chosen = list(range(12)), []
    for _ in range(5):
        gains = {
            d: 0.6 * cos(query, documents[d])
            - (0.4 * max(cos(documents[c], documents[d]) for c in chosen) if chosen else 0)
            for d in left
        }
        chosen.append(max(gains, key=gains.get))
        left.remove(chosen[-1])
    assert mmr(query, documents, 5, 0.6) == chosen


def test_fewer_documents_none_and_a_weight_that_cannot_be_meant():
    assert sorted(mmr(QUERY, DOCUMENTS, 9)) == [0, 1, 2, 3]
    assert mmr(QUERY, np.zeros((0, 3)), 9) == []
    with pytest.raises(InvalidArgument, match=r"1\.5"):
        mmr(QUERY, DOCUMENTS, 2, 1.5)
