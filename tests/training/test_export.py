"""Exported folders: the same vectors as torch, through the road that a search takes."""

from __future__ import annotations

import json
from importlib import import_module

import numpy as np
import pytest

from hybrid_search.encoders import load
from hybrid_search.encoders.catalog import card
from hybrid_search.errors import TrainingError
from hybrid_search.training import export as exporting
from hybrid_search.training.evaluation import encoding
from hybrid_search.training.examples import HeldOut
from hybrid_search.training.export import TOLERANCE, export
from hybrid_search.training.models import load_base, without_inference
from hybrid_search.training.pooling import parts
from tests import hub_models
from tests.training.conftest import texts

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("train_extra")]

TEXTS = texts(40)
NOTHING = HeldOut({}, {}, {})


def made(model, out, held_out=NOTHING):
    return export(model, out, TEXTS, held_out, step=9, licence="mit")


def opened(folder, cache):
    return load(card(str(folder), "sparse"), cache_dir=cache)


def rows(vectors):
    found = np.zeros((len(vectors), len(hub_models.VOCABULARY)))
    for row, vector in zip(found, vectors, strict=True):
        row[vector.indices] = vector.values
    return found


@pytest.fixture(scope="module")
def base(bases):
    return load_base(str(bases["BertForMaskedLM"]), (), max_tokens=24, device="cpu").model


@pytest.fixture(scope="module")
def exported(base, tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "films"
    return out, made(base, out, tiny.held_out)


def test_fp32_is_what_torch_gives(base, exported, tmp_path):
    out, report = exported
    assert 0 < report.difference <= TOLERANCE
    encoder = opened(out / "model", tmp_path)
    assert (encoder.card.family, encoder.card.runtime, encoder.card.max_tokens) == ("splade", "onnx", 24)
    assert (encoder.card.licence, encoder.card.vocab_size) == ("mit", len(hub_models.VOCABULARY))
    new = texts(10, seed=99)
    for side, verb in (("query", encoder.encode_queries), ("document", encoder.encode_documents)):
        np.testing.assert_allclose(rows(verb(new)), rows(encoding(base, side)(new)), atol=TOLERANCE)
    assert encoder.terms([hub_models.VOCABULARY.index("music")]) == ["music"]


def test_word_embeddings_are_kept_once(exported):
    onnx = import_module("onnx")
    weights = onnx.load(exported[0] / "model" / "model.onnx").graph.initializer
    size = len(hub_models.VOCABULARY)
    assert [tuple(weight.dims) for weight in weights if size in weight.dims] == [(size, 32), (size,)]


def test_int8_is_near_and_smaller(exported, tmp_path):
    out, report = exported
    assert 0.9 < report.int8_cosine < 1
    assert report.megabytes[1] < report.megabytes[0]
    assert opened(out / "int8", tmp_path).encode_queries(["music"])[0] is not None
    assert (report.full.step, report.int8.step) == (9, 9)
    assert report.full.ndcg == pytest.approx(report.int8.ndcg, abs=0.2)


def test_the_whole_folder_stands_for_its_model(exported):
    out, _ = exported
    assert card(str(out), "sparse").name == str((out / "model").resolve())


def test_the_torch_folder_runs_too_and_trains_on(base, exported, tmp_path):
    out, _ = exported
    again = load_base(str(out), (), max_tokens=24, device="cpu").model
    np.testing.assert_allclose(
        rows(encoding(again, "query")(TEXTS[:3])), rows(encoding(base, "query")(TEXTS[:3])), atol=1e-6
    )
    torch = opened(out / "torch", tmp_path)
    assert torch.card.runtime == "torch"
    np.testing.assert_allclose(
        rows(torch.encode_queries(TEXTS[:3])), rows(encoding(base, "query")(TEXTS[:3])), atol=1e-6
    )


@pytest.mark.parametrize(("free", "activation"), [(False, "log1p_relu"), (True, "log1p_relu"), (True, "relu")])
def test_any_number_of_logarithms(bases, tmp_path, free, activation):
    base = load_base(str(bases["BertForMaskedLM"]), (), max_tokens=24, device="cpu")
    base = without_inference(base, TEXTS) if free else base
    parts(base.model)[1].activation_function = activation
    report = made(base.model, tmp_path / "out")
    assert report.difference <= TOLERANCE
    found = opened(tmp_path / "out", tmp_path)
    assert found.card.family == ("inference_free_splade" if free else "splade")


def test_a_query_table_comes_along(bases, tmp_path):
    base = without_inference(load_base(str(bases["BertForMaskedLM"]), (), max_tokens=24, device="cpu"), TEXTS)
    made(base.model, tmp_path / "out")
    table = json.loads((tmp_path / "out" / "model" / "idf.json").read_text("utf-8"))
    assert {"music", "sea"} <= table.keys()
    assert not {"[CLS]", "[PAD]"} & table.keys()
    assert min(table.values()) > 0
    (query,) = opened(tmp_path / "out", tmp_path).encode_queries(["music, sea"])
    assert len(query) == 3


@pytest.mark.parametrize("kind", ["distilbert", "roberta"])
def test_other_transformers_go_through_torch(tmp_path, bases, kind):
    transformers = import_module("transformers")
    torch = import_module("torch")
    size = len(hub_models.VOCABULARY)
    torch.manual_seed(0)
    if kind == "distilbert":
        config = transformers.DistilBertConfig(vocab_size=size, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
        mlm = transformers.DistilBertForMaskedLM(config)
    else:
        config = transformers.RobertaConfig(
            vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
            pad_token_id=0, max_position_embeddings=130, type_vocab_size=1,
        )  # fmt: skip
        mlm = transformers.RobertaForMaskedLM(config)
    mlm.save_pretrained(tmp_path / kind)
    hub_models.tokenizer_files(tmp_path / kind)
    settings = json.loads((tmp_path / kind / "tokenizer_config.json").read_text("utf-8"))
    settings["model_input_names"] = ["input_ids", "attention_mask"]
    (tmp_path / kind / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    base = load_base(str(tmp_path / kind), (), max_tokens=300, device="cpu").model
    assert base.max_seq_length == (300 if kind == "distilbert" else 128)
    assert made(base, tmp_path / "out").difference <= TOLERANCE


def test_a_wrong_export_is_no_export(base, tmp_path, monkeypatch):
    right = exporting.onnx_model(base)
    other = load_base(base_of(base, tmp_path), (), max_tokens=24, device="cpu").model
    with import_module("torch").no_grad():
        parts(other)[0].auto_model.get_output_embeddings().bias += 0.01
    monkeypatch.setattr(exporting, "onnx_model", lambda *_, **__: right)
    with pytest.raises(TrainingError, match=r"differs from the trained one by 0\.\d+ on the query"):
        made(other, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["torch"]


def base_of(model, tmp_path):
    model.save_pretrained(str(tmp_path / "copy"), create_model_card=False)
    return str(tmp_path / "copy")


def test_no_room_for_the_export_is_told(base, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "_write", full)
    with pytest.raises(TrainingError, match=r"could not be written to .*No space left.*--resume"):
        made(base, tmp_path / "out")
