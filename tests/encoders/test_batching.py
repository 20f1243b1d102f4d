"""Batches and readable texts."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.encoders.batching import BatchLimit, batches, in_batches, readable


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


@given(st.lists(st.integers(0, 90), max_size=40), st.integers(2, 4))
def test_concurrent_batches_give_every_text_once_in_its_place(lengths, concurrency):
    found = dict.fromkeys(range(len(lengths)), -1)
    for places, result in in_batches(
        lengths, lambda b: b * 2, BatchLimit(), budget=200, limit=8, concurrency=concurrency
    ):
        assert np.array_equal(result, places * 2)
        for place in places:
            found[int(place)] += 1
    assert not any(found.values())


def test_batches_run_side_by_side_and_few_texts_are_shared_out():
    both = threading.Barrier(2, timeout=10)
    found = list(in_batches([50] * 4, lambda batch: both.wait(), BatchLimit(), budget=1000, limit=64, concurrency=2))
    assert [len(batch) for batch, _ in found] == [2, 2]


def test_a_fault_in_one_lane_is_raised_and_ends_the_others():
    def run(batch):
        if 3 in batch:
            raise ValueError("broken")
        return len(batch)

    with pytest.raises(ValueError, match="broken"):
        list(in_batches([100] * 8, run, BatchLimit(), budget=100, limit=64, concurrency=2))
