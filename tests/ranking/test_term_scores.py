import pytest

from hybrid_search.ranking.term_scores import contributions
from hybrid_search.results import Term
from hybrid_search.types import SparseVector

QUERY = SparseVector.of([3, 7, 9], [2.0, 1.0, 0.5])
DOCUMENT = SparseVector.of([1, 3, 9], [5.0, 0.25, 4.0])
TERMS = {3: Term("heart", 2.0, True), 7: Term("attack", 1.0, True), 9: Term("cardiac", 0.5, False)}


def test_products_of_the_shared_terms_sum_to_the_score():
    found = contributions("sparse", QUERY, DOCUMENT, TERMS)
    assert [(t.term, t.query_weight, t.document_weight, t.contribution, t.in_query) for t in found] == [
        ("cardiac", 0.5, 4.0, 2.0, False),
        ("heart", 2.0, 0.25, 0.5, True),
    ]
    assert sum(t.contribution for t in found) == pytest.approx(QUERY.dot(DOCUMENT))


def test_the_inverse_document_frequency_is_in_the_query_weight():
    found = contributions("bm25", QUERY, DOCUMENT, TERMS, {3: 10.0, 9: 1.0})
    assert [(t.term, t.query_weight, t.contribution) for t in found] == [("heart", 20.0, 5.0), ("cardiac", 0.5, 2.0)]


def test_vectors_that_share_nothing_contribute_nothing():
    assert contributions("sparse", QUERY, SparseVector.of([2], [1.0]), TERMS) == ()
