"""Texts to ids: what the tokenizers library gives when it cuts by itself, in bounded memory."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_search.encoders import load
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.tokenizer import TruncatingTokenizer, count_tokens, group_by_size
from tests import hub_models

WORDS = hub_models.WORDS
TEXTS = [
    "",
    " ",
    "\x00\x07",
    "a movie about music",
    "Ünïcödé naïve 東京 🙂 don't",
    "東京" * 40,
    "x" * 9000,
    " " * 9000 + "music",
    "music" + " " * 9000 + "movie",
    *(" ".join(WORDS[number % len(WORDS)] for number in range(length)) for length in (1, 5, 13, 14, 15, 16, 90)),
]


def tokenizer(folder, limit=None):
    from tokenizers import Tokenizer

    found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found.no_padding()
    found.no_truncation() if limit is None else found.enable_truncation(limit)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return hub_models.splade_folder(tmp_path_factory.mktemp("splade"))


def as_roberta(found):
    """Another way to put special tokens around texts: two of them between a pair, and one type for both."""
    from tokenizers.processors import TemplateProcessing

    ids = [(token, found.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    found.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS]:0 $A:0 [SEP]:0 [SEP]:0 $B:0 [SEP]:0", special_tokens=ids
    )
    return found


def as_qwen(found):
    """Nothing before a text, one token behind it."""
    from tokenizers.processors import TemplateProcessing

    ids = [("[SEP]", found.token_to_id("[SEP]"))]
    found.post_processor = TemplateProcessing(single="$A [SEP]", pair="$A $B [SEP]", special_tokens=ids)
    return found


def as_bert(found):
    return found


FORMS = pytest.mark.parametrize("form", [as_bert, as_roberta, as_qwen], ids=lambda form: form.__name__)


@FORMS
@pytest.mark.parametrize("limit", [8, 16, 64])
def test_texts_are_cut_as_the_library_cuts_them(folder, form, limit):
    ours = TruncatingTokenizer(form(tokenizer(folder)), limit).texts(TEXTS)
    theirs = form(tokenizer(folder, limit)).encode_batch(TEXTS)
    for mine, expected, text in zip(ours, theirs, TEXTS, strict=True):
        assert mine.tolist() == expected.ids, text[:40]


@FORMS
@pytest.mark.parametrize("query", ["music", " ".join(WORDS[:30]), ""])
def test_pairs_are_cut_as_the_library_cuts_them(folder, form, query):
    ours = TruncatingTokenizer(form(tokenizer(folder)), 24).pairs(query, TEXTS)
    theirs = form(tokenizer(folder, 24)).encode_batch([(query, text) for text in TEXTS])
    for mine, expected, text in zip(ours, theirs, TEXTS, strict=True):
        assert mine.ids.tolist() == expected.ids, text[:40]
        assert mine.types.tolist() == expected.type_ids, text[:40]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=400), max_size=4), st.integers(3, 40))
def test_any_texts_are_cut_as_the_library_cuts_them(texts, limit):
    found = test_any_texts_are_cut_as_the_library_cuts_them.folder
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    ours = TruncatingTokenizer(tokenizer(found), limit).texts(texts)
    assert [each.tolist() for each in ours] == [each.ids for each in tokenizer(found, limit).encode_batch(texts)]


@pytest.fixture(autouse=True, scope="module")
def _folder_for_hypothesis(folder):
    test_any_texts_are_cut_as_the_library_cuts_them.folder = folder


def test_no_limit_reads_everything(folder):
    [found] = TruncatingTokenizer(tokenizer(folder), 0).texts(["music " * 5000])
    assert len(found) == 5002


def test_tokens_are_counted_to_the_end(folder):
    texts = [*TEXTS, "music " * 30_000]
    assert count_tokens(tokenizer(folder), texts) == [len(each.ids) for each in tokenizer(folder).encode_batch(texts)]


def test_groups_hold_every_text_once():
    sizes = [5, 0, 3, 99, 1, 1, 50, 50]
    groups = list(group_by_size(sizes, at_once=100))
    assert [place for group in groups for place in range(len(sizes))[group]] == list(range(len(sizes)))
    assert all(sum(sizes[group]) <= 100 or group.stop - group.start == 1 for group in groups)
    assert list(group_by_size([])) == []


def test_of_a_long_text_only_a_beginning_is_kept(folder):
    texts = ["music " * 100_000] * 20
    reader = TruncatingTokenizer(tokenizer(folder), 512)
    tracemalloc.start()
    found = reader.texts(texts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(each) for each in found] == [512] * 20
    assert peak < 20_000_000


def test_many_short_texts_and_a_long_one_come_back_in_order(folder, tmp_path):
    encoder = load(card(str(folder), "sparse"), cache_dir=tmp_path)
    words = [WORDS[number % len(WORDS)] for number in range(2_000)]
    found = encoder.encode_documents([*words[:1000], "music " * 100_000, *words[1000:]])
    long = found.pop(1000)
    alone = dict(zip(WORDS, encoder.encode_documents(WORDS), strict=True))
    for word, vector in zip(words, found, strict=True):
        assert vector.indices.tolist() == alone[word].indices.tolist()
        np.testing.assert_allclose(vector.values, alone[word].values, atol=1e-5)
    assert len(long) > 10


def test_queries_by_table_load_no_network(tmp_path):
    folder = hub_models.inference_free_folder(tmp_path / "free")
    encoder = load(card(str(folder), "sparse"), cache_dir=tmp_path)
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(b"no network at all")
    encoder.warm_up()
    [found] = encoder.encode_queries(["music about music"])
    assert len(found) == 2
    assert encoder._model is None
    (folder / "model.onnx").write_bytes(content)
    assert len(encoder.encode_documents(["music"])[0]) > 2


@FORMS
@pytest.mark.parametrize("limit", [8, 16, 64])
def test_texts_are_cut_on_the_left_as_the_library_cuts_them(folder, form, limit):
    theirs = form(tokenizer(folder))
    theirs.enable_truncation(limit, direction="left")
    long = [*TEXTS, "sea " + "music movie " * 20_000, "x" * 9000 + " music"]
    ours = TruncatingTokenizer(form(tokenizer(folder)), limit, "left").texts(long)
    for mine, expected, text in zip(ours, theirs.encode_batch(long), long, strict=True):
        assert mine.tolist() == expected.ids, text[:40]


@FORMS
@pytest.mark.parametrize("query", ["music", " ".join(WORDS[:30]), ""])
def test_pairs_are_cut_on_the_left_as_the_library_cuts_them(folder, form, query):
    theirs = form(tokenizer(folder))
    theirs.enable_truncation(24, direction="left")
    ours = TruncatingTokenizer(form(tokenizer(folder)), 24, "left").pairs(query, TEXTS)
    for mine, expected, text in zip(ours, theirs.encode_batch([(query, text) for text in TEXTS]), TEXTS, strict=True):
        assert mine.ids.tolist() == expected.ids, text[:40]
        assert mine.types.tolist() == expected.type_ids, text[:40]


def test_the_side_is_the_tokenizer_configs(tmp_path):
    folders = [hub_models.splade_folder(tmp_path / name) for name in ("right", "left")]
    settings = json.loads((folders[1] / "tokenizer_config.json").read_text("utf-8"))
    settings["truncation_side"] = "left"
    (folders[1] / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    right, left = (load(card(str(folder), "sparse"), cache_dir=tmp_path) for folder in folders)
    text = "sea " * 300 + "music " * 600
    [begins], [ends], [music] = (
        model.encode_documents([each]) for model, each in ((right, text), (left, text), (left, "music " * 510))
    )
    assert ends == music
    assert begins != ends
    assert left.fingerprint() != right.fingerprint()
