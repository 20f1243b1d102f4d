"""Weights that several processes map from one file: the same vectors, and what is there is not written again."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_search.encoders import load, onnx_session
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.onnx_graphs import shared_weights
from tests import hub_models

TEXTS = ["A movie about music", "the sea " * 30, "spinal tap, the loudest band"]


@pytest.fixture
def sharing(monkeypatch):
    monkeypatch.setattr(shared_weights, "LEAST_BYTES", 0)
    monkeypatch.setattr(onnx_session, "_shared", [True])


def rows(folder, cache, precision):
    found = load(card(str(folder), "sparse"), cache_dir=cache, precision=precision).encode_documents(TEXTS)
    made = np.zeros((len(found), len(hub_models.VOCABULARY)), np.float32)
    for row, vector in zip(made, found, strict=True):
        row[vector.indices] = vector.values
    return made


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_shared_weights_give_the_same_vectors(tmp_path, monkeypatch, precision):
    folder, cache = hub_models.splade_folder(tmp_path / "splade"), tmp_path / "cache"
    own = rows(folder, cache, precision)
    assert not list(cache.rglob("shared.*"))
    monkeypatch.setattr(shared_weights, "LEAST_BYTES", 0)
    monkeypatch.setattr(onnx_session, "_shared", [True])
    np.testing.assert_allclose(rows(folder, cache, precision), own, atol=2e-5)
    [graph] = cache.rglob("shared.onnx")
    [weights] = cache.rglob("shared.bin")
    assert weights.parent == graph.parent
    before = weights.stat().st_mtime_ns
    rows(folder, cache, precision)
    assert weights.stat().st_mtime_ns == before


def test_a_small_model_is_not_shared(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_session, "_shared", [True])
    folder, cache = hub_models.splade_folder(tmp_path / "splade"), tmp_path / "cache"
    rows(folder, cache, "fp32")
    assert not list(cache.rglob("shared.*"))


def test_a_model_that_is_not_kept_has_weights_of_its_own(tmp_path, sharing):
    folder, cache = hub_models.splade_folder(tmp_path / "splade"), tmp_path / "cache"
    cache.write_text("no folder")
    assert rows(folder, cache, "fp32").any()
