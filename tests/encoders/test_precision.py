"""Eight bits, bf16 and fp16: close to fp32, the same in every batch, and known by their fingerprints."""

from __future__ import annotations

import json
from importlib import import_module

import numpy as np
import pytest

from hybrid_search._util import extras
from hybrid_search.encoders import load, openvino, precision_of
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.hashing import file_hash, fingerprint_of
from hybrid_search.encoders.onnx_graphs.int8 import quantize_matrix
from hybrid_search.errors import MissingExtra, ModelError
from tests import hub_models

TEXTS = ["A movie about music", "", "the sea " * 30, "spinal tap, the loudest band in england", "movie"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = tmp_path_factory.mktemp("made")
    dense = hub_models.dense_folder(made / "dense", onnx="model.onnx")
    (dense / "hybrid_search.json").write_text(json.dumps({"pooling": "mean"}), encoding="utf-8")
    return {
        "sparse": hub_models.splade_folder(made / "splade"),
        "dense": dense,
        "reranker": hub_models.reranker_folder(made / "reranker"),
    }


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def model(folders, cache, kind, precision="fp32"):
    return load(card(str(folders[kind]), kind), cache_dir=cache, precision=precision)


def rows(encoder, texts):
    found = encoder.encode_documents(texts)
    if isinstance(found, np.ndarray):
        return found
    full = np.zeros((len(texts), len(hub_models.VOCABULARY)), dtype=np.float32)
    for row, vector in zip(full, found, strict=True):
        row[vector.indices] = vector.values
    return full


def cosines(one, other):
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_eight_bits_are_close_and_not_the_same(folders, cache, kind):
    exact, small = (rows(model(folders, cache, kind, precision), TEXTS) for precision in ("fp32", "int8"))
    assert cosines(exact, small).min() > 0.98
    assert np.abs(exact - small).max() > 1e-4


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_fp16_is_closer_and_not_the_same(folders, cache, kind):
    """On the processor, which casts what it cannot compute: the graph is the one that a GPU runs."""
    exact, half = (rows(model(folders, cache, kind, precision), TEXTS) for precision in ("fp32", "fp16"))
    assert half.dtype == np.float32
    assert cosines(exact, half).min() > 0.9999
    assert 1e-6 < np.abs(exact - half).max() < 0.01


def test_the_reranker_runs_in_fp16(folders, cache):
    exact, half = (model(folders, cache, "reranker", each).score("music", TEXTS) for each in ("fp32", "fp16"))
    np.testing.assert_allclose(exact, half, atol=0.01)
    assert exact.tolist() != half.tolist()


def test_products_are_in_fp16_and_what_needs_the_range_is_not(folders, cache):
    derived = model(folders, cache, "sparse", "fp16")._derive()
    onnx = import_module("onnx")
    graph = onnx.ModelProto.FromString(derived.graph).graph
    gives = {name: node for node in graph.node for name in node.output}
    half, casts = onnx.TensorProto.FLOAT16, [node for node in graph.node if node.op_type == "Cast"]
    down = {node.output[0] for node in casts if node.attribute[0].i == half}
    for node in graph.node:
        if node.op_type in ("MatMul", "Attention"):
            assert node.input[0] in down
            assert derived.weights[node.input[1]].dtype == "<f2"
        elif node.op_type in ("LayerNormalization", "SkipLayerNormalization", "BiasGelu", "Add"):
            assert not down & set(node.input)
    # The logits, the largest array of all, are pooled before they are cast.
    [top] = [node for node in graph.node if node.op_type == "ReduceMax"]
    assert gives[top.input[0]].op_type == "MatMul"
    # The table of words stays; the matrices are half as large as they were.
    assert {weight.dtype for weight in derived.weights.values()} == {"<f2", "<f4"}


def test_a_matrix_beyond_the_range_of_fp16_stays(tmp_path, cache):
    folder = hub_models.splade_folder(tmp_path / "splade")
    onnx = import_module("onnx")
    network = onnx.load(folder / "model.onnx")
    products = {node.input[1] for node in network.graph.node if node.op_type == "MatMul"}
    large = next(tensor for tensor in network.graph.initializer if tensor.name in products)
    values = onnx.numpy_helper.to_array(large).copy()
    values[0, 0] = 1e5
    large.CopyFrom(onnx.numpy_helper.from_array(values, large.name))
    onnx.save(network, folder / "model.onnx")
    exact, half = (rows(model({"sparse": folder}, cache, "sparse", each), TEXTS) for each in ("fp32", "fp16"))
    assert np.isfinite(half).all()
    assert cosines(exact, half).min() > 0.99


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_a_texts_vector_does_not_depend_on_its_batch(folders, cache, kind):
    encoder = model(folders, cache, kind, "int8")
    together = rows(encoder, TEXTS)
    for place, text in enumerate(TEXTS):
        np.testing.assert_allclose(together[place], rows(encoder, [text])[0], atol=1e-5)


def test_the_reranker_runs_in_eight_bits(folders, cache):
    exact, small = (model(folders, cache, "reranker", each).score("music", TEXTS) for each in ("fp32", "int8"))
    np.testing.assert_allclose(exact, small, atol=0.1)
    assert exact.tolist() != small.tolist()


def test_products_are_in_eight_bits_and_word_embeddings_are_not(folders, cache):
    derived = model(folders, cache, "sparse", "int8")._derive()
    onnx = import_module("onnx")
    operators = [node.op_type for node in onnx.ModelProto.FromString(derived.graph).graph.node]
    # Six of each of two layers, of the attention too; the head's transform, and the decoder.
    assert operators.count("MatMulIntegerToFloat") == 2 * 6 + 2
    assert "Attention" not in operators
    assert "Gather" in operators
    kinds = {weight.dtype for weight in derived.weights.values()}
    assert "|i1" in kinds


def test_new_weights_are_kept_and_damage_is_noticed(folders, tmp_path):
    first = rows(model(folders, tmp_path, "sparse", "int8"), TEXTS)
    [kept] = (tmp_path / "derived").glob("*/weights.bin")
    content = kept.read_bytes()
    kept.write_bytes(content[: len(content) // 2])
    np.testing.assert_array_equal(rows(model(folders, tmp_path, "sparse", "int8"), TEXTS), first)
    assert kept.read_bytes() == content


def test_eight_bits_need_no_cache(folders, tmp_path):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    blocked = rows(model(folders, tmp_path / "file", "sparse", "int8"), TEXTS)
    np.testing.assert_array_equal(blocked, rows(model(folders, tmp_path, "sparse", "int8"), TEXTS))


def test_a_matrix_in_eight_bits_has_a_scale_a_column():
    kernel = np.random.default_rng(0).standard_normal((64, 5)).astype(np.float32) * [1, 10, 0.1, 0, 5]
    whole, scale = quantize_matrix(kernel.astype(np.float32))
    assert whole.dtype == np.int8
    assert np.abs(whole).max(axis=0).tolist() == [63, 63, 63, 0, 63]
    np.testing.assert_allclose(whole * scale, kernel, atol=float(np.abs(kernel).max()) / 120)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_a_precision_is_part_of_the_fingerprint(folders, cache, kind):
    exact, small = model(folders, cache, kind), model(folders, cache, kind, "int8")
    assert (exact.precision, small.precision) == ("fp32", "int8")
    assert exact.fingerprint() != small.fingerprint()
    assert exact.fingerprint() == model(folders, cache, kind).fingerprint()


def test_fingerprints_of_fp32_are_those_of_before(folders, cache):
    """Collections that were built before precisions were known stay valid."""
    known = card("prithivida/Splade_PP_en_v1", "sparse")
    assert fingerprint_of(known, {"model.onnx": "0" * 64}) == "b642c41953b455e67f0efd75e4831d93"
    encoder = model(folders, cache, "sparse")
    names = ("model.onnx", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    hashes = {name: file_hash(folders["sparse"] / name, cache) for name in names}
    assert encoder.fingerprint() == fingerprint_of(encoder.card, hashes)


@pytest.mark.parametrize(
    ("name", "kind", "precision"),
    [
        ("prithivida/Splade_PP_en_v1", "sparse", "int8"),
        ("bundled/all-MiniLM-L6-v2", "dense", "int8"),
        ("bundled/minilm-splade", "sparse", "fp32"),
        ("Qdrant/bm25", "sparse", "fp32"),
        ("qdrant/bm25-engine", "sparse", "fp32"),
        ("minishlab/potion-base-8M", "dense", "fp32"),
    ],
)
def test_what_has_no_choice_runs_as_it_is(name, kind, precision):
    assert precision_of(card(name, kind), "int8") == precision


def test_torch_has_no_eight_bits(tmp_path):
    with pytest.raises(ModelError, match="in fp32 or fp16 only; int8 is for ONNX models"):
        load(card("naver/splade-v3", "sparse"), cache_dir=tmp_path, precision="int8")


def test_a_processor_without_bf16_is_refused(folders, cache, monkeypatch):
    monkeypatch.setattr(openvino, "_processor", lambda: ("Some CPU", {"avx2"}))
    with pytest.raises(ModelError, match=r"\(Some CPU\) has neither. Take int8"):
        model(folders, cache, "sparse", "bf16")


@pytest.mark.parametrize("flags", [{"amx_bf16"}, {"avx512_bf16", "avx2"}, None])
def test_a_processor_with_bf16_asks_for_the_extra(folders, cache, monkeypatch, flags):
    monkeypatch.setattr(openvino, "_processor", lambda: ("Some CPU", flags))
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"'hybrid-search-qdrant\[openvino\]'"):
        model(folders, cache, "sparse", "bf16")


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_openvino_gives_what_onnxruntime_gives(folders, cache, monkeypatch, kind):
    """In fp32, which every processor has: the same road, but for the numbers."""
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    monkeypatch.setattr(openvino, "_processor", lambda: ("Some CPU", None))
    monkeypatch.setattr(openvino, "_HINT", "f32")
    exact, other = (rows(model(folders, cache, kind, precision), TEXTS) for precision in ("fp32", "bf16"))
    np.testing.assert_allclose(other, exact, atol=1e-4)
