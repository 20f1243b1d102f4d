"""A hybrid model as two encoders, and as one pass."""

import numpy as np
import pytest

from hybrid_search.encoders.hybrid import DenseHalf, SparseHalf, encode, group_by_model, unwrap, view_for
from hybrid_search.protocols import DenseEncoder, HybridEncoder, SparseEncoder
from tests.fake_models import DIM, FAKE_CARDS, FakeDense, FakeHybrid, FakeSparse

CARDS = {card.name: card for card in FAKE_CARDS}
TEXTS = ["red apples", "green pears", "red pears and plums"]


@pytest.fixture
def whole():
    return FakeHybrid(CARDS["fake/both-idf"])


def test_each_half_is_an_ordinary_encoder(whole):
    sparse, dense = view_for(whole, "sparse"), view_for(whole, "dense")
    assert isinstance(whole, HybridEncoder)
    assert isinstance(sparse, SparseEncoder)
    assert isinstance(dense, DenseEncoder)
    pairs = whole.encode_documents(TEXTS)
    assert sparse.encode_documents(TEXTS) == [pair[0] for pair in pairs]
    assert np.array_equal(dense.encode_queries(TEXTS), np.stack([pair[1] for pair in pairs]))
    assert dense.encode_documents(TEXTS).dtype == np.float32
    assert dense.encode_documents([]).shape == (0, DIM)
    assert sparse.encode_queries([]) == []
    assert sparse.terms([7]) == ["#7"]
    assert sparse.fingerprint() == dense.fingerprint() == whole.fingerprint()
    assert sparse.count_tokens(TEXTS) == [4, 4, 6]


def test_a_half_has_the_card_of_its_leg(whole):
    sparse, dense = SparseHalf(whole).card, DenseHalf(whole).card
    assert (sparse.kind, sparse.dim, sparse.vocab_size, sparse.needs_idf) == ("sparse", 0, 1 << 16, True)
    assert (dense.kind, dense.dim, dense.vocab_size, dense.needs_idf) == ("dense", DIM, 0, False)
    assert sparse.name == dense.name == whole.card.name


def test_legs_of_one_model_are_one_group_in_the_order_of_the_legs(whole):
    other = FakeSparse(CARDS["fake/sparse"])
    legs = {"sparse": view_for(whole, "sparse"), "bm": other, "dense": view_for(whole, "dense"), "again": other}
    assert [list(group) for group in group_by_model(legs)] == [["sparse", "dense"], ["bm", "again"]]
    assert [unwrap(encoder) for encoder in legs.values()] == [whole, other, whole, other]


@pytest.mark.parametrize("queries", [False, True])
def test_two_legs_of_one_model_take_one_pass(whole, queries):
    verb = "queries" if queries else "documents"
    other = FakeDense(CARDS["fake/dense"])
    found = encode(
        {"dense": view_for(whole, "dense"), "sparse": view_for(whole, "sparse"), "x": other}, TEXTS, queries=queries
    )
    assert list(found) == ["dense", "sparse", "x"]
    assert (whole.calls, other.calls) == ([(verb, 3)], [(verb, 3)])
    assert found["sparse"] == [whole.sparse(text) for text in TEXTS]
    assert all(np.array_equal(a, whole.dense(b)) for a, b in zip(found["dense"], TEXTS, strict=True))
    assert all(np.array_equal(a, other.dense(b)) for a, b in zip(found["x"], TEXTS, strict=True))


def test_two_models_with_one_card_are_two_models(whole):
    twin = FakeHybrid(whole.card)
    encode({"sparse": view_for(whole, "sparse"), "dense": view_for(twin, "dense")}, TEXTS)
    assert (len(whole.calls), len(twin.calls)) == (1, 1)
