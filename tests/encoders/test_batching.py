"""Batches and readable texts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.encoders.batching import batches, readable


@given(st.lists(st.integers(0, 600), max_size=60), st.integers(1, 2000), st.integers(1, 16))
def test_every_place_once_within_the_bounds(lengths, budget, limit):
    found = list(batches(lengths, budget=budget, limit=limit))
    assert sorted(np.concatenate(found).tolist() if found else []) == list(range(len(lengths)))
    for batch in found:
        longest = max(lengths[place] for place in batch)
        assert len(batch) <= limit
        assert len(batch) == 1 or longest * len(batch) <= budget


def test_nothing_gives_nothing():
    assert list(batches([], budget=10, limit=2)) == []


@given(st.text(st.characters()))
def test_readable_can_always_be_encoded(text):
    readable(text).encode("utf-8")


def test_good_text_stays_itself():
    text = "café 東京 🙂 \x00\t"
    assert readable(text) is text
