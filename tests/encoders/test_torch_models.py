"""sentence-transformers' runtime over tiny models on disk; the ONNX form of the same weights must agree with it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest

from hybrid_search._util import extras
from hybrid_search.encoders import load
from hybrid_search.encoders.catalog import card
from hybrid_search.errors import MissingExtra, ModelUnavailable
from hybrid_search.protocols import DenseEncoder, Reranker, SparseEncoder
from tests import hub_models

TEXTS = ["A movie about music", "", "This is Spinal Tap", "the sea " * 400, "Ünïcödé 東京", "\ud83d movie"]

needs_torch = pytest.mark.skipif(
    find_spec("sentence_transformers") is None or find_spec("torch") is None,
    reason="the torch extra (sentence-transformers, torch) is not installed",
)
# torch and transformers warn of their own future; what we do is checked elsewhere with warnings as errors.
pytestmark = pytest.mark.filterwarnings("ignore")


def as_rows(vectors):
    rows = np.zeros((len(vectors), len(hub_models.VOCABULARY)))
    for row, vector in zip(rows, vectors, strict=True):
        row[vector.indices] = vector.values
    return rows


@needs_torch
def test_splade_agrees_with_onnx(tmp_path, capfd):
    ours = load(
        card(str(hub_models.torch_folder(tmp_path / "t", "BertForMaskedLM", seed=7)), "sparse"), cache_dir=tmp_path
    )
    onnx = load(card(str(hub_models.splade_folder(tmp_path / "o", seed=7)), "sparse"), cache_dir=tmp_path)
    assert isinstance(ours, SparseEncoder)
    for verb in ("encode_documents", "encode_queries"):
        found, wanted = getattr(ours, verb)(TEXTS), getattr(onnx, verb)(TEXTS)
        np.testing.assert_allclose(as_rows(found), as_rows(wanted), atol=1e-4)
    assert ours.count_tokens(TEXTS) == onnx.count_tokens(TEXTS)
    assert ours.terms([5]) == ["a"]
    assert ours.encode_documents([]) == []
    assert len(ours.fingerprint()) == 32
    assert capfd.readouterr() == ("", "")


@needs_torch
def test_dense_agrees_with_onnx(tmp_path):
    torch_folder = hub_models.torch_folder(tmp_path / "t", "BertModel", seed=9)
    onnx_folder = hub_models.dense_folder(tmp_path / "o", onnx="model.onnx", seed=9)
    for folder in (torch_folder, onnx_folder):
        own = {"pooling": "mean", "query_prefix": "the "}
        (folder / "hybrid_search.json").write_text(json.dumps(own), encoding="utf-8")
    ours, onnx = (load(card(str(folder), "dense"), cache_dir=tmp_path) for folder in (torch_folder, onnx_folder))
    assert isinstance(ours, DenseEncoder)
    for verb in ("encode_documents", "encode_queries"):
        np.testing.assert_allclose(getattr(ours, verb)(TEXTS), getattr(onnx, verb)(TEXTS), atol=1e-5)
    assert not np.allclose(ours.encode_queries(TEXTS[:1]), ours.encode_documents(TEXTS[:1]), atol=1e-3)
    assert ours.encode_documents([]).shape == (0, hub_models.HIDDEN)


@needs_torch
def test_reranker_agrees_with_onnx(tmp_path):
    architecture = "BertForSequenceClassification"
    ours = load(
        card(str(hub_models.torch_folder(tmp_path / "t", architecture, seed=10)), "reranker"), cache_dir=tmp_path
    )
    onnx = load(card(str(hub_models.reranker_folder(tmp_path / "o", seed=10)), "reranker"), cache_dir=tmp_path)
    assert isinstance(ours, Reranker)
    np.testing.assert_allclose(ours.score("music", TEXTS), onnx.score("music", TEXTS), atol=1e-4)
    assert ours.score("music", []).shape == (0,)


@pytest.fixture(scope="module")
def inference_free(tmp_path_factory):
    """A router of sentence-transformers as its own library saves it; and the folder of its documents' network."""
    import torch
    from sentence_transformers import SparseEncoder as Theirs
    from sentence_transformers.models import Router
    from sentence_transformers.sparse_encoder import models
    from transformers import AutoTokenizer

    home = tmp_path_factory.mktemp("free")
    base = hub_models.torch_folder(home / "base", "BertForMaskedLM", seed=8)
    table = models.SparseStaticEmbedding(AutoTokenizer.from_pretrained(base), frozen=True)
    table.tokenizer.model_max_length = 40
    with torch.no_grad():
        table.weight[:] = torch.arange(len(hub_models.VOCABULARY)) / 100
    document = [models.MLMTransformer(str(base)), models.SpladePooling("max")]
    router = Router.for_query_document(query_modules=[table], document_modules=document)
    Theirs(modules=[router]).save(str(home / "saved"))
    return home / "saved", base


@needs_torch
def test_a_saved_inference_free_model(inference_free, tmp_path):
    saved, base = inference_free
    found = card(str(saved), "sparse")
    assert (found.family, found.runtime) == ("inference_free_splade", "torch")
    encoder = load(found, cache_dir=tmp_path)
    (query,) = encoder.encode_queries(["music"])
    place = hub_models.VOCABULARY.index("music")
    assert dict(zip(query.indices.tolist(), query.values.tolist(), strict=True))[place] == pytest.approx(place / 100)
    plain = load(card(str(base), "sparse"), cache_dir=tmp_path)
    np.testing.assert_allclose(
        as_rows(encoder.encode_documents(TEXTS[:1])), as_rows(plain.encode_documents(TEXTS[:1])), atol=1e-5
    )


@needs_torch
def test_queries_by_table_are_the_librarys(inference_free, tmp_path):
    encoder = load(card(str(inference_free[0]), "sparse"), cache_dir=tmp_path)
    texts = [*TEXTS, "music [SEP] music", " ".join(hub_models.WORDS)]
    found = encoder.encode_queries(texts)
    assert encoder._model is None
    theirs = encoder._encode(encoder._queries(texts), "encode_query")
    for mine, other in zip(found, theirs, strict=True):
        assert mine.indices.tolist() == other.indices.tolist()
        np.testing.assert_array_equal(mine.values, other.values)


@needs_torch
def test_queries_by_table_load_no_torch(inference_free, tmp_path):
    script = (
        "from pathlib import Path\nimport sys\nfrom hybrid_search.encoders import load\n"
        "from hybrid_search.encoders.catalog import card\n"
        f"model = load(card({str(inference_free[0])!r}, 'sparse'), cache_dir=Path({str(tmp_path)!r}))\n"
        "model.warm_up()\nmodel.fingerprint()\nassert len(model.encode_queries(['music'])[0]) == 1\n"
        "print([name for name in ('torch', 'transformers', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@needs_torch
def test_a_query_side_of_another_kind_takes_torch(inference_free, tmp_path):
    folder = shutil.copytree(inference_free[0], tmp_path / "copy")
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "max_active_dims": 2}), encoding="utf-8")
    encoder = load(card(str(folder), "sparse"), cache_dir=tmp_path)
    [found] = encoder.encode_queries(["music movie sea"])
    assert encoder._model is not None
    assert len(found) == 2


@needs_torch
def test_the_second_logarithm_is_the_folders(inference_free, tmp_path):
    """OpenSearch's second series takes one (`relu`), the third two (`log1p_relu`)."""
    folder = shutil.copytree(inference_free[0], tmp_path / "third")
    (place,) = folder.glob("*_SpladePooling")
    settings = json.loads((place / "config.json").read_text("utf-8"))
    assert settings["activation_function"] == "relu"
    (place / "config.json").write_text(json.dumps({**settings, "activation_function": "log1p_relu"}), encoding="utf-8")
    second, third = (load(card(str(each), "sparse"), cache_dir=tmp_path) for each in (inference_free[0], folder))
    rows = as_rows(second.encode_documents(TEXTS[:3]))
    np.testing.assert_allclose(as_rows(third.encode_documents(TEXTS[:3])), np.log1p(rows), atol=1e-5)
    assert second.fingerprint() != third.fingerprint()


@needs_torch
def test_a_model_in_half_precision_computes_in_fp32_and_keeps_its_cards_terms(tmp_path):
    """As granite-embedding-30m-sparse: weights in bfloat16; 50 terms of a query and 192 of a document."""
    import torch

    files = import_module("safetensors.torch")
    half, single = (hub_models.torch_folder(tmp_path / name, "BertForMaskedLM", seed=7) for name in ("half", "single"))
    weights = {name: tensor.bfloat16() for name, tensor in files.load_file(half / "model.safetensors").items()}
    files.save_file(weights, half / "model.safetensors", {"format": "pt"})
    files.save_file(
        {name: one.float() for name, one in weights.items()}, single / "model.safetensors", {"format": "pt"}
    )
    for folder, dtype in ((half, "bfloat16"), (single, "float32")):
        settings = json.loads((folder / "config.json").read_text("utf-8"))
        (folder / "config.json").write_text(json.dumps({**settings, "torch_dtype": dtype}), encoding="utf-8")
    whole = load(card(str(single), "sparse"), cache_dir=tmp_path)
    granite = card("ibm-granite/granite-embedding-30m-sparse", "sparse")
    hub_models.in_hub_cache(half, tmp_path / "cache", granite.source)
    cut = load(granite, cache_dir=tmp_path / "cache")
    for verb, cap in (("encode_queries", 50), ("encode_documents", 192)):
        for every, some in zip(getattr(whole, verb)(TEXTS[:4]), getattr(cut, verb)(TEXTS[:4]), strict=True):
            assert len(every) > cap or verb == "encode_documents"
            assert len(some) == min(cap, len(every))
            np.testing.assert_allclose(sorted(some.values)[::-1], sorted(every.values)[::-1][:cap], atol=1e-5)
    assert next(cut._model.parameters()).dtype == torch.float32


@needs_torch
def test_weights_that_would_be_random_are_refused(tmp_path):
    folder = hub_models.torch_folder(tmp_path, "BertModel", seed=7)
    settings = json.loads((folder / "config.json").read_text("utf-8"))
    settings["architectures"] = ["BertForMaskedLM"]
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(ModelUnavailable, match=r"lack cls\.predictions\..*not those of a splade model"):
        load(card(str(folder), "sparse"), cache_dir=tmp_path).warm_up()


def test_the_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    encoder = load(card("naver/splade-v3", "sparse"), cache_dir=tmp_path)
    with pytest.raises(MissingExtra, match=r"pip install 'hybrid-search-qdrant\[torch\]'"):
        encoder.encode_queries(["music"])
