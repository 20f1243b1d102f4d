"""Evaluation during training: ranks and measures against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from hybrid_search.training.evaluation import expected_flops, judge
from hybrid_search.training.examples import HeldOut
from hybrid_search.types import SparseVector

pytest.importorskip("ir_measures", reason="the eval extra is not installed")

VECTORS = {
    "red": SparseVector.of([1, 2], [1.0, 0.5]),
    "blue": SparseVector.of([3], [1.0]),
    "red sea": SparseVector.of([1, 4], [2.0, 1.0]),
    "red tree": SparseVector.of([1], [1.0]),
    "sky": SparseVector.of([3, 5], [1.0, 1.0]),
    "nothing": SparseVector.of([], []),
}


def encode(texts):
    return [VECTORS[text] for text in texts]


def held_out(qrels, queries=("red", "blue")):
    documents = {text: text for text in ("red tree", "red sea", "sky", "nothing")}
    return HeldOut({query: query for query in queries}, documents, qrels)


def test_numbers_by_hand():
    found = judge(encode, encode, held_out({"red": {"red tree": 1}, "blue": {"sky": 1}}), 7)
    # red: sea (2.0) before tree (1.0), so the answer is second; blue: sky is first.
    assert found.ndcg == pytest.approx((1 / math.log2(3) + 1) / 2)
    assert (found.step, found.query_dims, found.document_dims) == (7, 1.5, 5 / 4)
    # Dimension 1 is in half of the queries and half of the documents, 3 in half and a quarter.
    assert found.flops == pytest.approx(0.5 * 0.5 + 0.5 * 0.25)


def test_grades_count():
    better = judge(encode, encode, held_out({"red": {"red sea": 2, "red tree": 1}, "blue": {"sky": 1}}), 0)
    worse = judge(encode, encode, held_out({"red": {"red sea": 1, "red tree": 2}, "blue": {"sky": 1}}), 0)
    assert better.ndcg == pytest.approx(1.0)
    assert worse.ndcg < 1.0


def test_what_shares_no_word_is_not_found():
    found = judge(encode, encode, held_out({"red": {"nothing": 1}, "blue": {"red sea": 1}}), 0)
    assert found.ndcg == 0.0


def test_ties_break_by_id():
    documents = {"b": "red tree", "a": "red tree"}
    asked = {"red": "red"}
    assert judge(encode, encode, HeldOut(asked, documents, {"red": {"a": 1}}), 0).ndcg == 1.0
    assert judge(encode, encode, HeldOut(asked, documents, {"red": {"b": 1}}), 0).ndcg < 1.0


def test_flops_of_nothing():
    assert expected_flops([], []) == 0.0
    assert expected_flops([VECTORS["nothing"]], [VECTORS["sky"]]) == 0.0
