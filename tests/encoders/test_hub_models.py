"""The ONNX runner and fastembed over small models in the hub's layouts: the code that runs the real ones.

Every expected value is computed here in numpy from the network's raw output.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math

import numpy as np
import pytest

from hybrid_search.encoders import hub, load
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.pruning import PrunedEncoder
from hybrid_search.errors import ModelError, ModelUnavailable
from hybrid_search.manifest import Sparsity
from hybrid_search.protocols import DenseEncoder, KnowsTerms, Reranker, SparseEncoder
from tests import hub_models

TEXTS = [
    "A movie about music",
    "",
    "This is Spinal Tap, England's loudest band.",
    "the sea " * 400,
    "Ünïcödé naïve 東京 🙂",
    "movie",
]
SPLADE = "prithivida/Splade_PP_en_v1"
BGE = "BAAI/bge-small-en-v1.5"
RERANKER = "Xenova/ms-marco-MiniLM-L-6-v2"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder as downloads leave it, with one small model of each kind."""
    made, home = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("cache")
    hub_models.in_hub_cache(hub_models.splade_folder(made / "splade"), home, "Qdrant/Splade_PP_en_v1")
    hub_models.in_hub_cache(hub_models.dense_folder(made / "dense"), home, "Qdrant/bge-small-en-v1.5-onnx-Q")
    hub_models.in_hub_cache(hub_models.reranker_folder(made / "reranker"), home, RERANKER)
    hub_models.in_hub_cache(hub_models.bm25_folder(made / "bm25"), home, "Qdrant/bm25")
    name = "Qdrant/opensearch-neural-sparse-encoding-doc-v3-gte"
    hub_models.in_hub_cache(hub_models.inference_free_folder(made / "free"), home, name)
    return home


@pytest.fixture(scope="module")
def splade(cache):
    return load(card(SPLADE, "sparse"), cache_dir=cache)


@pytest.fixture(scope="module")
def dense(cache):
    found = dataclasses.replace(card(BGE, "dense"), dim=hub_models.HIDDEN)
    return load(found, cache_dir=cache)


def network(folder, onnx, text, pair=None, limit=512):
    """The raw output for one text, alone and so without padding, and the tokens read."""
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    found = tokenizer.encode(text, pair)
    rows = {"input_ids": found.ids, "attention_mask": found.attention_mask, "token_type_ids": found.type_ids}
    inputs = {name: np.array([row], dtype=np.int64) for name, row in rows.items()}
    session = onnxruntime.InferenceSession(str(folder / onnx), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0][0], found.tokens


def as_dense(vector, size):
    full = np.zeros(size)
    full[vector.indices] = vector.values
    return full


def test_the_seats_are_filled(cache, splade, dense):
    assert isinstance(splade, SparseEncoder)
    assert isinstance(dense, DenseEncoder)
    assert isinstance(load(card(RERANKER, "reranker"), cache_dir=cache), Reranker)


@pytest.mark.parametrize("verb", ["encode_documents", "encode_queries"])
def test_splade_is_the_log_of_the_relu_max_pooled(cache, splade, verb):
    folder = hub.folder_of(splade.card, cache)
    for text, encoded in zip(TEXTS, getattr(splade, verb)(TEXTS), strict=True):
        logits, tokens = network(folder, "model.onnx", text)
        assert len(tokens) <= 512
        expected = np.log1p(np.maximum(logits, 0)).max(axis=0)
        np.testing.assert_allclose(as_dense(encoded, len(hub_models.VOCABULARY)), expected, atol=1e-5)


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize(("activation", "logs"), [("relu", 1), ("log1p_relu", 2), (None, None)])
def test_the_logarithm_is_taken_as_often_as_the_folder_says(tmp_path, free, activation, logs):
    """Inference-free models of OpenSearch's second series take it once, those of the third twice."""
    make = hub_models.inference_free_folder if free else hub_models.splade_folder
    plain = load(card(str(make(tmp_path / "plain")), "sparse"), cache_dir=tmp_path)
    folder = make(tmp_path / "model")
    if activation:
        place = folder / ("document_1_SpladePooling" if free else "1_SpladePooling")
        place.mkdir()
        settings = {"pooling_strategy": "max", "activation_function": activation}
        (place / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    encoder = load(card(str(folder), "sparse"), cache_dir=tmp_path)
    expected = np.maximum(network(folder, "model.onnx", TEXTS[0])[0], 0).max(axis=0)
    for _ in range(logs or (2 if free else 1)):
        expected = np.log1p(expected)
    if free:
        expected[: len(hub_models.SPECIAL)] = 0
    (found,) = encoder.encode_documents(TEXTS[:1])
    np.testing.assert_allclose(as_dense(found, len(hub_models.VOCABULARY)), expected, atol=1e-5)
    usual = logs in (None, 2 if free else 1)
    assert (encoder.fingerprint() == plain.fingerprint()) is usual


def test_an_activation_nobody_knows_is_named(tmp_path):
    folder = hub_models.splade_folder(tmp_path / "model")
    (folder / "1_SpladePooling").mkdir()
    (folder / "1_SpladePooling" / "config.json").write_text('{"activation_function": "gelu"}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"asks for activation 'gelu'; known are relu, log1p_relu"):
        load(card(str(folder), "sparse"), cache_dir=tmp_path).encode_documents(["music"])


@pytest.mark.parametrize("make", [hub_models.splade_folder, hub_models.inference_free_folder])
def test_a_card_caps_the_terms_of_queries_and_of_documents(tmp_path, make):
    """As granite-embedding-30m-sparse, which keeps 50 and 192."""
    folder = make(tmp_path / "model")
    whole = load(card(str(folder), "sparse"), cache_dir=tmp_path)
    (folder / "hybrid_search.json").write_text('{"max_active_dims": [2, 9]}', encoding="utf-8")
    cut = load(card(str(folder), "sparse"), cache_dir=tmp_path)
    for verb, cap in (("encode_queries", 2), ("encode_documents", 9)):
        for every, some in zip(getattr(whole, verb)(TEXTS), getattr(cut, verb)(TEXTS), strict=True):
            assert len(some) == min(cap, len(every))
            assert sorted(some.values)[::-1] == pytest.approx(sorted(every.values)[::-1][:cap])
    assert whole.fingerprint() != cut.fingerprint()


def test_splade_gives_different_texts_different_vectors(splade):
    first, second = splade.encode_documents([TEXTS[0], TEXTS[2]])
    assert first != second
    assert 10 < len(first) < len(hub_models.VOCABULARY)


def test_many_texts_come_back_in_order(splade):
    texts = [" ".join(hub_models.WORDS[number : number + 1 + number % 9]) for number in range(70)]
    together = splade.encode_documents(texts)
    for place in (0, 8, 33, 69):
        (alone,) = splade.encode_documents([texts[place]])
        size = len(hub_models.VOCABULARY)
        np.testing.assert_allclose(as_dense(together[place], size), as_dense(alone, size), atol=1e-5)


def test_terms_are_the_vocabulary(splade):
    assert splade.terms([0, 5, len(hub_models.VOCABULARY)]) == ["[PAD]", "a", f"#{len(hub_models.VOCABULARY)}"]


def test_dimensions_are_the_inverse_of_terms(splade, cache):
    table = load(card("opensearch-project/opensearch-neural-sparse-encoding-doc-v3-gte", "sparse"), cache_dir=cache)
    every = list(range(len(hub_models.VOCABULARY)))
    for encoder in (splade, table, PrunedEncoder(splade, Sparsity((3, 8), (0.0, 0.0)))):
        assert isinstance(encoder, KnowsTerms)
        assert encoder.dimensions(encoder.terms(every)) == every
        assert encoder.dimensions(["Music", "music movie", "", "#5", "zzz", "\ufffd"]) == [None] * 6
        assert encoder.dimensions([]) == []


def test_tokens_are_counted_without_the_limit(splade, dense):
    # [CLS] a movie about music [SEP]; [CLS] [SEP]; twice four hundred words
    assert splade.count_tokens([TEXTS[0], "", TEXTS[3]]) == [6, 2, 802]
    assert dense.count_tokens(["a movie"]) == [4]


def test_the_tokenizer_is_handed_out_without_limit_or_padding(splade):
    tokenizer = splade.tokenizer()
    assert tokenizer.truncation is None
    assert tokenizer.padding is None


def test_the_limit_is_the_cards(cache):
    short = load(dataclasses.replace(card(SPLADE, "sparse"), max_tokens=6), cache_dir=cache)
    cut, whole = short.encode_documents(["a movie about music and the sea", "a movie about music"])
    assert cut == whole


def test_nothing_in_nothing_out(splade, dense, cache):
    assert splade.encode_documents([]) == []
    assert splade.encode_queries([]) == []
    assert splade.count_tokens([]) == []
    assert dense.encode_documents([]).shape == (0, hub_models.HIDDEN)
    assert dense.encode_queries([]).dtype == np.float32
    assert load(card(RERANKER, "reranker"), cache_dir=cache).score("x", []).shape == (0,)


def test_broken_characters_do_no_harm(splade, dense, cache):
    broken = ["\ud83d music \x00\x07", "\udc80"]
    assert len(splade.encode_documents(broken)) == 2
    assert np.isfinite(dense.encode_queries(broken)).all()
    assert splade.count_tokens(broken)[0] >= 3
    assert len(load(card("Qdrant/bm25", "sparse"), cache_dir=cache).encode_documents(broken)) == 2
    assert len(load(card(RERANKER, "reranker"), cache_dir=cache).score(broken[0], broken)) == 2


def test_dense_is_the_first_token_at_unit_length_with_the_prefix(cache, dense):
    folder = hub.folder_of(dense.card, cache)
    for prefix, rows in (
        ("", dense.encode_documents(TEXTS)),
        ("Represent this sentence for searching relevant passages: ", dense.encode_queries(TEXTS)),
    ):
        assert rows.dtype == np.float32
        for text, row in zip(TEXTS, rows, strict=True):
            hidden, _ = network(folder, "model_optimized.onnx", prefix + text)
            np.testing.assert_allclose(row, hidden[0] / np.linalg.norm(hidden[0]), atol=1e-5)


def test_models_that_leave_vectors_long_are_brought_to_unit_length(tmp_path):
    name = "intfloat/multilingual-e5-large"
    folder = hub_models.dense_folder(tmp_path / "made", onnx="model.onnx")
    (folder / "model.onnx_data").write_bytes(b"")
    hub_models.in_hub_cache(folder, tmp_path, "Qdrant/multilingual-e5-large-onnx")
    found = dataclasses.replace(card(name, "dense"), dim=hub_models.HIDDEN)
    rows = load(found, cache_dir=tmp_path).encode_documents(TEXTS)
    for text, row in zip(TEXTS, rows, strict=True):
        hidden, _ = network(folder, "model.onnx", "passage: " + text)
        mean = hidden.mean(axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-5)


def test_wrong_dimensions_are_refused(cache):
    with pytest.raises(ModelError, match="gave 32 dimensions; its card says 384"):
        load(card(BGE, "dense"), cache_dir=cache).encode_documents(["x"])


@pytest.mark.parametrize("pooling", ["mean", "cls", "last_token"])
def test_a_local_dense_folder_pools_as_it_says(tmp_path, pooling):
    folder = hub_models.dense_folder(tmp_path / "model", onnx="onnx/model.onnx")
    (folder / "hybrid_search.json").write_text(json.dumps({"pooling": pooling}), encoding="utf-8")
    rows = load(card(str(folder), "dense"), cache_dir=tmp_path).encode_documents(TEXTS)
    for text, row in zip(TEXTS, rows, strict=True):
        hidden, _ = network(folder, "onnx/model.onnx", text)
        pooled = {"mean": hidden.mean(axis=0), "cls": hidden[0], "last_token": hidden[-1]}[pooling]
        np.testing.assert_allclose(row, pooled / np.linalg.norm(pooled), atol=1e-5)


def test_a_local_dense_folder_that_does_not_say_is_refused(tmp_path):
    folder = hub_models.dense_folder(tmp_path / "model", onnx="model.onnx")
    with pytest.raises(ModelError, match="does not say how its token vectors become one"):
        load(card(str(folder), "dense"), cache_dir=tmp_path).warm_up()


def test_a_local_splade_folder(tmp_path, splade):
    folder = hub_models.splade_folder(tmp_path / "model", onnx="onnx/model.onnx")
    found = load(card(str(folder), "sparse"), cache_dir=tmp_path)
    assert found.encode_documents(TEXTS[:1]) == splade.encode_documents(TEXTS[:1])


def test_inference_free_queries_are_a_table(cache):
    encoder = load(card("opensearch-project/opensearch-neural-sparse-encoding-doc-v3-gte", "sparse"), cache_dir=cache)
    (query,) = encoder.encode_queries(["Music about music zz"])
    weights = json.loads((hub.folder_of(encoder.card, cache) / "idf.json").read_text("utf-8"))
    terms = dict(zip(encoder.terms(query.indices), query.values.tolist(), strict=True))
    assert terms == pytest.approx({"about": weights["about"], "music": weights["music"]})


def test_inference_free_documents_are_logged_twice(cache):
    encoder = load(card("opensearch-project/opensearch-neural-sparse-encoding-doc-v3-gte", "sparse"), cache_dir=cache)
    (found,) = encoder.encode_documents(TEXTS[:1])
    logits, _ = network(hub.folder_of(encoder.card, cache), "model.onnx", TEXTS[0])
    expected = np.log1p(np.log1p(np.maximum(logits.max(axis=0), 0)))
    expected[: len(hub_models.SPECIAL)] = 0
    np.testing.assert_allclose(as_dense(found, len(hub_models.VOCABULARY)), expected, atol=1e-5)


def test_bm25_weighs_documents_and_counts_queries_once(cache):
    encoder = load(card("Qdrant/bm25", "sparse"), cache_dir=cache)
    (document,) = encoder.encode_documents(["The bands, a band: this is music"])
    (query,) = encoder.encode_queries(["music music the"])
    assert query.values.tolist() == [1.0]
    weights = dict(zip(document.indices.tolist(), document.values.tolist(), strict=True))
    assert len(weights) == 2
    assert set(query.indices.tolist()) < set(weights)
    length = 1.2 * (1 - 0.75 + 0.75 * 3 / 256)
    assert sorted(weights.values()) == pytest.approx([2.2 / (1 + length), 2 * 2.2 / (2 + length)])
    assert encoder.terms([7]) == ["#7"]
    assert encoder.dimensions(["music", "the", "music movie", "music music", ""]) == [query.indices[0], *[None] * 4]
    assert encoder.count_tokens(["a b"]) == [0]
    assert encoder.tokenizer() is None


def test_bm42_weighs_words_by_attention(tmp_path):
    source = "Qdrant/all_miniLM_L6_v2_with_attentions"
    hub_models.in_hub_cache(hub_models.bm42_folder(tmp_path / "made"), tmp_path, source)
    encoder = load(card("Qdrant/bm42-all-minilm-l6-v2-attentions", "sparse"), cache_dir=tmp_path)
    text = "the movies about music"
    (query,) = encoder.encode_queries([text])
    assert query.values.tolist() == [1.0, 1.0]
    (document,) = encoder.encode_documents([text])
    assert document.indices.tolist() == query.indices.tolist()
    attention, tokens = network(hub.folder_of(encoder.card, tmp_path), "model.onnx", text)
    assert tokens == ["[CLS]", "the", "movie", "##s", "about", "music", "[SEP]"]
    first = attention[0][0]
    expected = [math.sqrt(math.log1p(weight)) for weight in (first[2] + first[3], first[5])]
    assert sorted(document.values.tolist()) == pytest.approx(sorted(expected), abs=1e-5)


def test_minicoil_keeps_the_sign_of_its_weights(tmp_path):
    folder = hub_models.minicoil_folder(tmp_path / "made", known={"music": "music", "movi": "movie"})
    hub_models.in_hub_cache(folder, tmp_path, "Qdrant/minicoil-v1")
    encoder = load(card("Qdrant/minicoil-v1", "sparse"), cache_dir=tmp_path)
    (unknown,) = encoder.encode_documents(["the sea"])
    assert len(unknown) == 1
    (known,) = encoder.encode_documents(["music and movie"])
    assert known.signed
    assert (known.values < 0).any()
    assert (known.values > 0).any()
    assert (known.values != 0).all()


def test_a_graph_that_is_not_what_its_card_says_is_named(tmp_path):
    folder = hub_models.dense_folder(tmp_path / "model", onnx="model.onnx")
    card_file = {"kind": "reranker", "family": "cross_encoder"}
    (folder / "hybrid_search.json").write_text(json.dumps(card_file), encoding="utf-8")
    with pytest.raises(ModelError, match=r"\(cross_encoder\) failed on a batch of texts"):
        load(card(str(folder), "reranker"), cache_dir=tmp_path).score("music", ["sea"])


def test_the_reranker_reads_query_and_text_together(cache):
    encoder = load(card(RERANKER, "reranker"), cache_dir=cache)
    scores = encoder.score("music", TEXTS)
    assert scores.dtype == np.float32
    folder = hub.folder_of(encoder.card, cache)
    expected = [network(folder, "onnx/model.onnx", "music", text)[0][0] for text in TEXTS]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert len({round(float(score), 4) for score in scores}) > 3


def test_fingerprints_follow_what_changes_the_output(cache, tmp_path, splade):
    first = splade.fingerprint()
    assert first == load(splade.card, cache_dir=cache).fingerprint()
    same = hub_models.splade_folder(tmp_path / "elsewhere")
    assert load(card(str(same), "sparse"), cache_dir=tmp_path).fingerprint() == first
    other = hub_models.splade_folder(tmp_path / "other", seed=3)
    assert load(card(str(other), "sparse"), cache_dir=tmp_path).fingerprint() != first
    for change in ({"max_tokens": 256}, {"document_prefix": "d: "}, {"query_prefix": "q: "}, {"family": "x"}):
        changed = dataclasses.replace(splade.card, **change)
        assert load(changed, cache_dir=cache).fingerprint() != first, change
    named = dataclasses.replace(splade.card, note="another note", size_mb=1)
    assert load(named, cache_dir=cache).fingerprint() == first


def test_pooling_is_part_of_the_fingerprint(tmp_path):
    folder = hub_models.dense_folder(tmp_path / "model", onnx="model.onnx")
    prints = set()
    for pooling in ("mean", "cls"):
        (folder / "hybrid_search.json").write_text(json.dumps({"pooling": pooling}), encoding="utf-8")
        prints.add(load(card(str(folder), "dense"), cache_dir=tmp_path).fingerprint())
    assert len(prints) == 2


def test_a_damaged_graph_says_so(tmp_path):
    folder = hub_models.splade_folder(tmp_path / "model")
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelUnavailable, match=r"cannot be loaded from .*models verify"):
        load(card(str(folder), "sparse"), cache_dir=tmp_path).warm_up()


def test_nothing_is_written_to_the_terminal(cache, capfd, caplog):
    caplog.set_level(logging.WARNING)
    load(card(SPLADE, "sparse"), cache_dir=cache).encode_documents(TEXTS)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.hub
def test_the_real_splade_gives_the_published_weights(tmp_path_factory):
    """Figures published for SPLADE++: query "A movie about music"."""
    home = tmp_path_factory.getbasetemp() / "hub"
    found = card(SPLADE, "sparse")
    if hub.folder_of(found, home) is None and not hub.hub_answers():
        pytest.skip("no model hub answers here, and SPLADE++ is not in the Hugging Face cache")
    encoder = load(found, cache_dir=home)
    (query,) = encoder.encode_queries(["A movie about music"])
    weights = dict(zip(encoder.terms(query.indices), query.values.tolist(), strict=True))
    published = {"music": 2.764, "movie": 2.675, "film": 2.349, "musical": 2.276, "about": 2.125}
    for term, weight in published.items():
        assert math.isclose(weights[term], weight, abs_tol=0.01), (term, weights[term])
