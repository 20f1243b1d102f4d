"""Filters inside a store: what every engine answers is what `holds` says."""

import json
from pathlib import Path

import numpy as np
import pytest

from hybrid_search.holding import holds
from tests.random_filters import random_condition, random_metadata, random_test, seeded
from tests.store.store_points import DIM, build, point

ONES = np.ones(DIM, np.float32)
MOVIES = Path(__file__).resolve().parents[2] / "datasets" / "movies" / "corpus.jsonl"


def passing(reader, condition):
    return {chunk_id for chunk_id, _ in reader.retrieve([("dense", ONES)], 1_000, condition)[0]}


def films():
    rows = [json.loads(line) for line in MOVIES.read_text(encoding="utf-8").splitlines()]
    return [point(row["_id"], metadata=row["metadata"], text=row["text"]) for row in rows]


# ---------------------------------------------------------------- the same meaning


@pytest.fixture
def odd():
    """Two hundred points with whatever metadata may hold."""
    rng = seeded(5)
    return [point(f"d{number}", metadata=random_metadata(rng), text=f"some text {number}") for number in range(200)]


def test_an_engine_lets_pass_what_holds(store, name, odd):
    build(store, name, odd)
    reader, rng = store.reader(name), seeded(11)
    met = 0
    for _ in range(400):
        condition = random_test(rng) if rng.random() < 0.5 else random_condition(rng)
        expected = {p.chunk_id for p in odd if holds(condition, p.payload)}
        assert passing(reader, condition) == expected, str(condition)
        met += 0 < len(expected) < len(odd)
    assert met > 130
