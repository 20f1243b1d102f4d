"""Where models run, and what is refused by name. GPUs are claimed here by fakes; those marked `gpu` need one."""

from __future__ import annotations

import json
import logging
from importlib.util import find_spec

import numpy as np
import pytest

from hybrid_search.collection.models import ModelRequest
from hybrid_search.collection.profiles import select_models
from hybrid_search.encoders import devices, load
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.devices import NoCuda, check_building, resolve_device
from hybrid_search.errors import ModelError
from hybrid_search.settings import Settings
from tests import hub_models

TEXTS = ["A movie about music", "", "the sea " * 60, "spinal tap, the loudest band in england", "movie"]
SPLADE, BGE = "prithivida/Splade_PP_en_v1", "BAAI/bge-small-en-v1.5"
needs_torch = pytest.mark.skipif(
    find_spec("sentence_transformers") is None or find_spec("torch") is None,
    reason="the torch extra (sentence-transformers, torch) is not installed",
)


@pytest.fixture
def claimed(monkeypatch):
    """Both runtimes say that they have CUDA."""
    monkeypatch.setattr(devices, "onnx_has_cuda", lambda: True)
    monkeypatch.setattr(devices, "torch_has_cuda", lambda: True)


@pytest.fixture
def none(monkeypatch):
    """Neither does."""
    monkeypatch.setattr(devices, "onnx_has_cuda", lambda: False)
    monkeypatch.setattr(devices, "torch_has_cuda", lambda: False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = tmp_path_factory.mktemp("made")
    dense = hub_models.dense_folder(made / "dense", onnx="model.onnx")
    torch_dense = hub_models.torch_folder(made / "torch-dense", "BertModel", seed=9)
    for folder in (dense, torch_dense):
        (folder / "hybrid_search.json").write_text(json.dumps({"pooling": "mean"}), encoding="utf-8")
    return {
        ("onnx", "sparse"): hub_models.splade_folder(made / "splade"),
        ("onnx", "dense"): dense,
        ("onnx", "reranker"): hub_models.reranker_folder(made / "reranker"),
        ("torch", "sparse"): hub_models.torch_folder(made / "torch", "BertForMaskedLM", seed=7),
        ("torch", "dense"): torch_dense,
        ("torch", "reranker"): hub_models.torch_folder(made / "torch-r", "BertForSequenceClassification", seed=10),
    }


def outputs(encoder, texts=TEXTS):
    """What a model of any kind gives, as rows."""
    if encoder.card.kind == "reranker":
        return encoder.score("music", texts)
    found = encoder.encode_documents(texts)
    if encoder.card.kind == "dense":
        return found
    rows = np.zeros((len(texts), len(hub_models.VOCABULARY)), dtype=np.float32)
    for row, vector in zip(rows, found, strict=True):
        row[vector.indices] = vector.values
    return rows


@pytest.mark.parametrize(
    ("name", "kind", "precision", "there", "absent"),
    [
        (SPLADE, "sparse", "fp32", "cuda", "cpu"),
        (SPLADE, "sparse", "fp16", "cuda", "cpu"),
        (SPLADE, "sparse", "int8", "cpu", "cpu"),
        (SPLADE, "sparse", "bf16", "cpu", "cpu"),
        ("bundled/all-MiniLM-L6-v2", "dense", "fp32", "cuda", "cpu"),
        ("bundled/minilm-splade", "hybrid", "fp32", "cpu", "cpu"),
        ("naver/splade-v3", "sparse", "fp16", "cuda", "cpu"),
        ("Qdrant/bm25", "sparse", "fp32", "cpu", "cpu"),
        ("Qdrant/bm42-all-minilm-l6-v2-attentions", "sparse", "fp32", "cpu", "cpu"),
        ("minishlab/potion-base-8M", "dense", "fp32", "cpu", "cpu"),
    ],
)
def test_auto_takes_a_gpu_where_one_is_and_the_model_can(monkeypatch, name, kind, precision, there, absent):
    for has, wanted in ((True, there), (False, absent)):
        monkeypatch.setattr(devices, "onnx_has_cuda", lambda has=has: has)
        monkeypatch.setattr(devices, "torch_has_cuda", lambda has=has: has)
        assert resolve_device(card(name, kind), precision, "auto") == wanted
        assert resolve_device(card(name, kind), precision, "cpu") == "cpu"


@pytest.mark.parametrize(
    ("name", "kind", "precision", "message"),
    [
        (SPLADE, "sparse", "int8", r"Splade_PP_en_v1 cannot run on cuda: int8 runs on the processor.*fp16 or fp32"),
        (SPLADE, "sparse", "bf16", r"bf16 runs on the processor"),
        ("bundled/minilm-splade", "hybrid", "fp32", r"minilm-splade cannot .* eight bits.*--profile splade"),
        ("Qdrant/minicoil-v1", "sparse", "fp32", r"minicoil-v1 .* fastembed runs it here, on the processor"),
    ],
)
def test_a_model_of_the_processor_is_refused_by_name(claimed, tmp_path, name, kind, precision, message):
    with pytest.raises(NoCuda, match=message):
        load(card(name, kind), cache_dir=tmp_path, precision=precision, device="cuda")


def test_a_machine_without_cuda_says_what_to_install(none, tmp_path):
    with pytest.raises(NoCuda, match=r"no CUDAExecutionProvider.*pip install 'onnxruntime-gpu\[cuda,cudnn\]'"):
        load(card(SPLADE, "sparse"), cache_dir=tmp_path, device="cuda")


@needs_torch
def test_a_torch_without_a_gpu_says_what_it_needs(none, tmp_path):
    with pytest.raises(NoCuda, match=r"splade-v3 cannot run on cuda: torch finds no GPU.*NVIDIA driver"):
        load(card("naver/splade-v3", "sparse"), cache_dir=tmp_path, device="cuda")


def test_networks_mix_with_bm25_and_tables(claimed, tmp_path):
    settings = Settings(store=str(tmp_path), cache_dir=tmp_path, device="cuda")
    found = select_models(ModelRequest("splade", {}, ("sparse", "dense", "bm25")), settings)
    assert set(found.encoders) == {"sparse", "dense", "bm25"}
    assert select_models(
        ModelRequest("splade", {"sparse": "Qdrant/bm25", "dense": "minishlab/potion-base-8M"}), settings
    )
    with pytest.raises(NoCuda, match="minilm-splade"):
        select_models(ModelRequest("bundled"), settings)


def test_fp16_is_not_built_on_a_processor(none, tmp_path):
    settings = Settings(store=str(tmp_path), cache_dir=tmp_path)
    with pytest.raises(ModelError, match=r"not built in fp16 here: fp16 is for GPUs, and this onnxruntime .*Take int8"):
        select_models(ModelRequest("splade", precision="fp16"), settings)
    # The bundled model is in eight bits whatever is asked, so nothing is refused.
    assert select_models(ModelRequest("bundled", precision="fp16"), settings)


def test_fp16_is_built_on_a_gpu_and_not_beside_it(claimed):
    check_building(card(SPLADE, "sparse"), "fp16", "auto")
    with pytest.raises(ModelError, match="the device is cpu"):
        check_building(card(SPLADE, "sparse"), "fp16", "cpu")


def test_a_gpu_that_cannot_be_started_leaves_the_processor(claimed, folders, tmp_path, caplog):
    """An onnxruntime-gpu on a machine without a driver: it lists CUDA, and cannot open a graph on it."""
    folder = str(folders["onnx", "sparse"])
    encoder = load(card(folder, "sparse"), cache_dir=tmp_path)
    caplog.set_level(logging.WARNING)
    found = outputs(encoder)
    assert encoder._loaded().place == "cpu"
    assert "The processor is used instead" in caplog.text
    np.testing.assert_array_equal(found, outputs(load(card(folder, "sparse"), cache_dir=tmp_path, device="cpu")))
    with pytest.raises(NoCuda, match=r"GPU|CUDA"):
        load(card(folder, "sparse"), cache_dir=tmp_path, device="cuda").encode_documents(["music"])


@pytest.mark.parametrize(("device", "place"), [("auto", "cuda"), ("cuda", "cuda"), ("cpu", "cpu")])
def test_what_onnxruntime_is_asked_for(claimed, folders, tmp_path, monkeypatch, device, place):
    onnxruntime = pytest.importorskip("onnxruntime")
    asked, real = [], onnxruntime.InferenceSession

    class Claims(real):
        def __init__(self, graph, options, providers, **given):
            asked.append(providers)
            super().__init__(graph, options, providers=["CPUExecutionProvider"], **given)

        def get_providers(self):
            return [devices.PROVIDER]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Claims)
    for precision, tf32 in (("fp32", "0"), ("fp16", "1")):
        encoder = load(
            card(str(folders["onnx", "dense"]), "dense"), cache_dir=tmp_path, precision=precision, device=device
        )
        encoder.warm_up()
        assert encoder._loaded().place == place
        providers = asked.pop()
        assert (providers[0][0] == devices.PROVIDER) == (place == "cuda")
        if place == "cuda":
            assert providers[0][1]["use_tf32"] == tf32


@needs_torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("device", "place"), [("auto", "cuda"), ("cuda", "cuda"), ("cpu", "cpu")])
@pytest.mark.parametrize(
    ("kind", "theirs"), [("sparse", "SparseEncoder"), ("dense", "SentenceTransformer"), ("reranker", "CrossEncoder")]
)
def test_what_torch_is_asked_for(claimed, folders, tmp_path, monkeypatch, kind, theirs, device, place):
    asked = []

    def opens(folder, **given):
        asked.append(given["device"])
        raise RuntimeError("seen")

    monkeypatch.setattr(f"sentence_transformers.{theirs}", opens)
    encoder = load(card(str(folders["torch", kind]), kind), cache_dir=tmp_path, device=device)
    with pytest.raises(ModelError, match="seen"):
        encoder.warm_up()
    assert asked == [place]


@needs_torch
@pytest.mark.filterwarnings("ignore")
def test_torch_computes_in_fp32_on_a_processor(folders, tmp_path):
    folder = str(folders["torch", "sparse"])
    half = load(card(folder, "sparse"), cache_dir=tmp_path, precision="fp16", device="cpu")
    exact = load(card(folder, "sparse"), cache_dir=tmp_path, device="cpu")
    np.testing.assert_array_equal(outputs(half), outputs(exact))
    assert (half.precision, half.fingerprint() != exact.fingerprint()) == ("fp16", True)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["sparse", "dense", "reranker"])
@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.filterwarnings("ignore")
def test_a_gpu_gives_what_the_processor_gives(folders, tmp_path, runtime, kind):
    """Not run by those who wrote it: fp32 on CUDA to 1e-4, fp16 to a hundredth."""
    if not (devices.onnx_has_cuda() if runtime == "onnx" else devices.torch_has_cuda()):
        pytest.skip(f"{runtime} has no CUDA here")
    found = card(str(folders[runtime, kind]), kind)
    texts = TEXTS * 20
    wanted = outputs(load(found, cache_dir=tmp_path, device="cpu"), texts)
    for precision, near in (("fp32", 1e-4), ("fp16", 2e-2)):
        encoder = load(found, cache_dir=tmp_path, precision=precision, device="cuda")
        np.testing.assert_allclose(outputs(encoder, texts), wanted, atol=near)


@pytest.mark.gpu
@needs_torch
@pytest.mark.filterwarnings("ignore")
def test_a_small_gpu_is_enough(folders, tmp_path):
    """Not run by those who wrote it: with a hundredth of the memory batches are halved, and the rows are the same."""
    import torch

    if not devices.torch_has_cuda():
        pytest.skip("torch has no CUDA here")
    found, texts = card(str(folders["torch", "sparse"]), "sparse"), ["the sea " * 400] * 200
    wanted = outputs(load(found, cache_dir=tmp_path, device="cpu"), texts[:1])
    encoder = load(found, cache_dir=tmp_path, device="cuda")
    encoder.warm_up()
    torch.cuda.set_per_process_memory_fraction(64e6 / torch.cuda.get_device_properties(0).total_memory)
    try:
        rows = outputs(encoder, texts)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert encoder._room.tokens is not None
    np.testing.assert_allclose(rows, np.repeat(wanted, len(texts), axis=0), atol=1e-4)
