"""Where memory runs out a batch is halved, the results and their order stay, and the smaller size is kept."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.encoders import batching, load
from hybrid_search.encoders.batching import BatchLimit, in_batches, out_of_memory
from hybrid_search.encoders.catalog import BUNDLED_HYBRID, card
from hybrid_search.encoders.threads import CONCURRENCY
from hybrid_search.errors import ModelError
from tests import hub_models

TEXTS = [" ".join(hub_models.WORDS[number : number + 1 + number % 13]) for number in range(60)]
FULL = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running MatMul node. "
    "bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool) Failed to allocate memory for "
    "requested buffer of size 939524096"
)
needs_torch = pytest.mark.skipif(
    find_spec("sentence_transformers") is None or find_spec("torch") is None,
    reason="the torch extra (sentence-transformers, torch) is not installed",
)


class Small:
    """A machine that has room for so many texts at once; `sizes` is what came through, `tries` all that was tried."""

    def __init__(self, most, fault=None):
        self.most, self.fault = most, fault or RuntimeError(FULL)
        self.sizes, self.tries = [], []

    def take(self, texts):
        self.tries.append(texts)
        if texts > self.most:
            raise self.fault
        self.sizes.append(texts)


@pytest.mark.parametrize("concurrency", [1, 2, 3])
@given(st.lists(st.integers(0, 600), max_size=60), st.integers(1, 9))
def test_every_place_once_whatever_fits(concurrency, lengths, most):
    small, room, seen = Small(most), BatchLimit(), []

    def run(batch):
        small.take(len(batch))
        return [lengths[place] for place in batch]

    for batch, found in in_batches(lengths, run, room, budget=2000, limit=16, concurrency=concurrency):
        assert found == [lengths[place] for place in batch]
        seen += batch.tolist()
    assert sorted(seen) == list(range(len(lengths)))


def test_the_batch_is_halved_and_the_smaller_size_is_kept():
    small, room = Small(3), BatchLimit()
    sizes = [len(batch) for batch, _ in in_batches([10] * 20, lambda b: small.take(len(b)), room, budget=160, limit=64)]
    assert small.tries[:4] == [16, 8, 4, 2]
    assert sizes == [2] * 10
    small.tries.clear()
    assert [len(batch) for batch, _ in in_batches([5] * 8, lambda b: small.take(len(b)), room, budget=160, limit=64)]
    assert small.tries[0] == 4  # twenty tokens, as before
    assert 16 not in small.tries


def test_memory_is_given_back_before_the_next_try(monkeypatch):
    given_back, small = [], Small(1)
    monkeypatch.setattr(batching, "release_memory", lambda: given_back.append(small.tries[-1]))
    assert len(list(in_batches([3, 3, 3, 3], lambda b: small.take(len(b)), BatchLimit(), budget=100, limit=9))) == 4
    assert given_back == [4, 2]


def test_other_faults_are_not_tried_again():
    small = Small(1, RuntimeError("the graph asks for more inputs"))
    with pytest.raises(RuntimeError, match="more inputs"):
        list(in_batches([3, 3], lambda b: small.take(len(b)), BatchLimit(), budget=100, limit=9))
    assert small.tries == [2]


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(),
        RuntimeError(FULL),
        RuntimeError("CUDA failure 2: out of memory ; GPU=0"),
        RuntimeError("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_how_runtimes_say_it(fault):
    assert out_of_memory(fault)
    assert not out_of_memory(ValueError("memory"))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    made = tmp_path_factory.mktemp("made")
    return {
        "sparse": hub_models.splade_folder(made / "splade"),
        "reranker": hub_models.reranker_folder(made / "reranker"),
        "torch": hub_models.torch_folder(made / "torch", "BertForMaskedLM", seed=7),
    }


def same(found, wanted):
    for mine, other in zip(found, wanted, strict=True):
        assert mine.indices.tolist() == other.indices.tolist()
        np.testing.assert_allclose(mine.values, other.values, atol=1e-5)


def starved(monkeypatch, holder, name, small, count):
    """Let a method fail where it is given too many texts."""
    real = getattr(holder, name)

    def method(texts, *others, **options):
        small.take(count(texts))
        return real(texts, *others, **options)

    monkeypatch.setattr(holder, name, method)


def test_onnx_goes_on_in_smaller_batches(models, tmp_path, monkeypatch):
    encoder = load(card(str(models["sparse"]), "sparse"), cache_dir=tmp_path)
    wanted, small = encoder.encode_documents(TEXTS), Small(4)
    starved(monkeypatch, encoder._loaded(narrow=True), "rows", small, len)
    same(encoder.encode_documents(TEXTS), wanted)
    assert len(small.tries) > len(small.sizes) > len(TEXTS) / 4
    before = len(small.tries) - len(small.sizes)
    same(encoder.encode_queries(TEXTS), wanted)
    assert (
        len(small.tries) - len(small.sizes) <= before + 2 * CONCURRENCY
    )  # as many are under way when the first one fails
    small.most = 0
    with pytest.raises(ModelError, match=r"Memory is not enough for .*splade, even for one text.*--device cpu"):
        encoder.encode_documents(["music"])


def test_scores_come_back_in_order(models, tmp_path, monkeypatch):
    encoder = load(card(str(models["reranker"]), "reranker"), cache_dir=tmp_path)
    wanted = encoder.score("music", TEXTS)
    starved(monkeypatch, encoder._loaded(narrow=True), "rows", Small(4), len)
    np.testing.assert_allclose(encoder.score("music", TEXTS), wanted, atol=1e-5)


def test_the_bundled_model_goes_on_in_smaller_batches(tmp_path, monkeypatch):
    encoder, small = load(card(BUNDLED_HYBRID, "hybrid"), cache_dir=tmp_path), Small(4)
    wanted = encoder.encode_documents(TEXTS)
    starved(monkeypatch, encoder, "_run", small, len)
    for (sparse, dense), (other_sparse, other_dense) in zip(encoder.encode_documents(TEXTS), wanted, strict=True):
        same([sparse], [other_sparse])
        np.testing.assert_allclose(dense, other_dense, atol=1e-5)
    assert max(small.sizes) <= 4


@needs_torch
@pytest.mark.filterwarnings("ignore")
def test_torch_goes_on_in_smaller_batches(models, tmp_path, monkeypatch):
    import torch

    encoder = load(card(str(models["torch"]), "sparse"), cache_dir=tmp_path)
    wanted, small = encoder.encode_documents(TEXTS), Small(4, torch.OutOfMemoryError("CUDA out of memory."))
    starved(monkeypatch, encoder._loaded(), "encode_document", small, len)
    same(encoder.encode_documents(TEXTS), wanted)
    assert max(small.sizes) <= 4
    small.most = 0
    with pytest.raises(ModelError, match="even for one text"):
        encoder.encode_documents(["music"])


@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_batches_are_larger_on_a_gpu(models, tmp_path, monkeypatch, place):
    encoder, small = load(card(str(models["sparse"]), "sparse"), cache_dir=tmp_path), Small(1000)
    network = encoder._loaded(narrow=True)
    network.place = place
    starved(monkeypatch, network, "rows", small, len)
    encoder.encode_documents(["music"] * 128)
    assert small.sizes == ([32] * 4 if place == "cpu" else [128])
