"""A folder as a card: what is read, what goes before what, and what is said where something is missing."""

from __future__ import annotations

import json

import pytest

from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.local_card import local_card, pooling_of
from hybrid_search.errors import ModelError
from tests import hub_models


def dump(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_a_splade_folder(tmp_path):
    folder = hub_models.splade_folder(tmp_path / "any-name-at-all")
    found = card(str(folder), "sparse")
    assert found.name == str(folder.resolve())
    assert (found.runtime, found.family, found.files) == ("onnx", "splade", ("model.onnx",))
    assert (found.vocab_size, found.max_tokens, found.dim) == (len(hub_models.VOCABULARY), 512, 0)
    assert (found.needs_idf, found.source, found.extra) == (False, "", "")


def test_an_idf_table_makes_it_inference_free(tmp_path):
    found = local_card(hub_models.inference_free_folder(tmp_path), "sparse")
    assert (found.family, found.files) == ("inference_free_splade", ("model.onnx", "idf.json"))


def test_a_dense_folder(tmp_path):
    folder = hub_models.dense_folder(tmp_path, onnx="onnx/model.onnx")
    dump(folder / "sentence_bert_config.json", {"max_seq_length": 256})
    dump(folder / "config_sentence_transformers.json", {"prompts": {"query": "q: ", "document": "d: "}})
    found = local_card(folder, "dense")
    assert (found.family, found.files, found.dim) == ("dense", ("onnx/model.onnx",), hub_models.HIDDEN)
    assert (found.max_tokens, found.query_prefix, found.document_prefix) == (256, "q: ", "d: ")


def test_weights_beside_the_graph_are_part_of_it(tmp_path):
    folder = hub_models.dense_folder(tmp_path, onnx="onnx/model.onnx")
    (folder / "onnx/model.onnx_data").write_bytes(b"x")
    assert local_card(folder, "dense").files == ("onnx/model.onnx", "onnx/model.onnx_data")


def test_a_reranker_folder_is_no_dense_model(tmp_path):
    folder = hub_models.reranker_folder(tmp_path)
    assert local_card(folder, "reranker").family == "cross_encoder"
    with pytest.raises(ModelError, match=r"holds a reranker model .* a dense model was expected"):
        local_card(folder, "dense")


def test_without_onnx_torch_runs_it(tmp_path):
    dump(
        tmp_path / "config.json", {"architectures": ["BertForMaskedLM"], "vocab_size": 7, "max_position_embeddings": 64}
    )
    (tmp_path / "model.safetensors").write_bytes(b"")
    found = local_card(tmp_path, "sparse")
    assert (found.runtime, found.extra, found.files, found.max_tokens) == ("torch", "torch", (), 64)


def test_a_router_of_sentence_transformers_is_inference_free(tmp_path):
    dump(tmp_path / "config_sentence_transformers.json", {"model_type": "SparseEncoder"})
    dump(tmp_path / "router_config.json", {})
    dump(tmp_path / "modules.json", [])
    dump(tmp_path / "hybrid_search.json", {"max_tokens": 512})
    found = local_card(tmp_path, "sparse")
    assert (found.family, found.runtime) == ("inference_free_splade", "torch")


def test_the_last_dense_layer_gives_the_dimensions(tmp_path):
    folder = hub_models.dense_folder(tmp_path)
    dump(folder / "2_Dense/config.json", {"in_features": 32, "out_features": 16})
    assert local_card(folder, "dense").dim == 16


def test_an_absurd_tokenizer_limit_is_no_limit(tmp_path):
    folder = hub_models.dense_folder(tmp_path)
    dump(folder / "tokenizer_config.json", {"model_max_length": 1000000000000000019884624838656, "max_length": None})
    assert local_card(folder, "dense").max_tokens == hub_models.POSITIONS


def test_what_the_model_reads_goes_before_what_it_was_last_cut_at(tmp_path):
    folder = hub_models.dense_folder(tmp_path)
    dump(folder / "tokenizer_config.json", {"model_max_length": 512, "max_length": 128})
    assert local_card(folder, "dense").max_tokens == 512
    dump(folder / "tokenizer_config.json", {"model_max_length": 64, "max_length": 128})
    assert local_card(folder, "dense").max_tokens == 64
    dump(folder / "tokenizer_config.json", {"max_length": 128})
    assert local_card(folder, "dense").max_tokens == 128


def test_own_fields_go_first(tmp_path):
    folder = hub_models.dense_folder(tmp_path)
    dump(folder / "hybrid_search.json", {"max_tokens": 99, "licence": "mit", "query_prefix": "q:", "pooling": "cls"})
    found = local_card(folder, "dense")
    assert (found.max_tokens, found.licence, found.query_prefix) == (99, "mit", "q:")
    assert pooling_of(folder) == "cls"


def test_unknown_own_fields_are_named(tmp_path):
    folder = hub_models.dense_folder(tmp_path)
    dump(folder / "hybrid_search.json", {"max_length": 99})
    with pytest.raises(ModelError, match=r"unknown fields max_length; known are .*max_tokens"):
        local_card(folder, "dense")


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_lasttoken": True}, "last_token"),
        ({"pooling_mode": "lasttoken"}, "last_token"),
        ({"pooling_mode": ["mean"]}, "mean"),
    ],
)
def test_pooling(tmp_path, config, pooling):
    assert pooling_of(tmp_path) is None
    dump(tmp_path / "1_Pooling/config.json", config)
    assert pooling_of(tmp_path) == pooling


def test_an_unknown_pooling_is_an_error(tmp_path):
    dump(tmp_path / "1_Pooling/config.json", {"pooling_mode_max_tokens": True})
    with pytest.raises(ModelError, match="pooling not known"):
        pooling_of(tmp_path)


def test_missing_things_are_named(tmp_path):
    with pytest.raises(ModelError, match="No model folder"):
        local_card(tmp_path / "nowhere", "dense")
    with pytest.raises(ModelError, match=r"holds no model: expected one of model\.onnx"):
        local_card(tmp_path, "dense")
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match=r"config\.json with `architectures` is missing"):
        local_card(tmp_path, "dense")
    dump(tmp_path / "config.json", {"architectures": ["BertModel"]})
    with pytest.raises(ModelError, match="does not say its dimensions"):
        local_card(tmp_path, "dense")
    dump(tmp_path / "config.json", {"architectures": ["BertModel"], "hidden_size": 8})
    with pytest.raises(ModelError, match="does not say how much the model reads"):
        local_card(tmp_path, "dense")


def test_damaged_json_is_named(tmp_path):
    folder = hub_models.dense_folder(tmp_path)
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        local_card(folder, "dense")


def test_families_that_need_the_idf_say_so(tmp_path):
    folder = hub_models.bm42_folder(tmp_path)
    dump(folder / "hybrid_search.json", {"family": "bm42", "files": ["model.onnx", "stopwords.txt"]})
    found = local_card(folder, "sparse")
    assert (found.family, found.needs_idf, found.files) == ("bm42", True, ("model.onnx", "stopwords.txt"))


@pytest.mark.parametrize(("told", "languages"), [(["de", "en"], ("de", "en")), ("fr", ("fr",)), (None, ())])
def test_a_folder_may_say_its_languages_and_without_a_word_they_are_unknown(tmp_path, told, languages):
    folder = hub_models.dense_folder(tmp_path, onnx="onnx/model.onnx")
    dump(folder / "sentence_bert_config.json", {"max_seq_length": 256})
    if told is not None:
        dump(folder / "hybrid_search.json", {"languages": told})
    assert local_card(folder, "dense").languages == languages
