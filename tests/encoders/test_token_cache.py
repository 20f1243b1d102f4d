"""Texts that several models with one vocabulary read are read once, and give what each would have read alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_search.encoders import token_cache
from hybrid_search.encoders.tokenizer import TruncatingTokenizer
from tests import hub_models
from tests.encoders.test_tokenizer import TEXTS, as_roberta, tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return hub_models.splade_folder(tmp_path_factory.mktemp("splade"))


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(token_cache, "_VOCABULARIES", {})


class Counting(TruncatingTokenizer):
    """A reader that says how many texts it has read itself."""

    read = 0

    def pieces(self, texts, room):
        self.read += len(texts)
        return super().pieces(texts, room)


def same(found, expected):
    return all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_the_second_model_with_the_vocabulary_reads_nothing(folder):
    first, second = Counting(tokenizer(folder), 16), Counting(as_roberta(tokenizer(folder)), 16)
    texts = ["a movie about music", "music", "a movie about music"]
    found = first.texts(texts, shared=True), second.texts(texts, shared=True)
    assert (first.read, second.read) == (2, 0)
    for reader, ours in zip((first, second), found, strict=True):
        assert same(ours, reader.texts(texts))


@pytest.mark.parametrize("limits", [(8, 40), (40, 8), (16, 16), (0, 16), (16, 0)])
def test_each_gets_what_it_would_have_read_alone(folder, limits):
    for limit in limits * 2:
        reader = TruncatingTokenizer(tokenizer(folder), limit)
        assert same(reader.texts(TEXTS, shared=True), reader.texts(TEXTS))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(TEXTS), max_size=4), st.sampled_from([0, 5, 16, 50]), st.booleans()),
        max_size=6,
    )
)
def test_whatever_was_read_before_changes_nothing(folder, calls):
    for texts, limit, left in calls:
        reader = TruncatingTokenizer(tokenizer(folder), limit, "left" if left else "right")
        assert same(reader.texts(texts, shared=True), reader.texts(texts))


def test_only_the_last_batch_is_kept_and_no_large_one(folder):
    reader = Counting(tokenizer(folder), 16)
    reader.texts(["music"], shared=True)
    reader.texts(["movie"], shared=True)
    reader.texts(["music"], shared=True)
    assert reader.read == 3
    large = ["music " * 300_000]
    reader.texts(large, shared=True)
    reader.texts(large, shared=True)
    assert reader.read == 5
