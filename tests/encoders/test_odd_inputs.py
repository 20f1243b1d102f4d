"""Every runtime over texts that nobody would write: each has the vector it has alone, in its own place.

What a text's vector is at all is held by the other tests of this room; here it must not depend on what stands beside
it, and broken text must be read as the text that it can be.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pytest

from hybrid_search.encoders import load
from hybrid_search.encoders.base import TABLE_QUERIES
from hybrid_search.encoders.catalog import BM25_ENGINE, BUNDLED_HYBRID, card
from hybrid_search.store.bm25 import Bm25Encoder
from hybrid_search.types import SparseVector
from tests import hub_models

pytestmark = pytest.mark.filterwarnings("ignore")  # torch and transformers warn of their own future

LONG = " ".join(["music", "movie", "sea"] * 33_334)
ODD = [
    "",
    " ",
    "\n\t\r\n",
    "\x00\x07\x1b[31m",
    "a \x00 movie\x08 about music",
    "🙂🎬",
    "👩‍👩‍👧‍👦 family",
    "\ud83d",
    "\udc80 movie",
    "\ud83d\ude00 movie",
    LONG,
    "x" * 20_000,
    " " * 20_000 + "music",
    "\u200b\u202e\ufeff",
    "東京 Ünïcödé",
    "movie",
]
# What a text must be read as.
SAME = {"\ud83d": "\ufffd", "\udc80 movie": "\ufffd movie", "\ud83d\ude00 movie": "😀 movie"}
WORDS = [*hub_models.WORDS[:37], "", "🙂", "\ud83d"]

TORCH = "torch" if find_spec("sentence_transformers") and find_spec("torch") else ""
MODELS = ["splade", "splade int8", "splade fp16", "dense", "inference-free", "reranker", "bundled", "engine"]
MODELS += ["bm25", "bm42", "minicoil", "static"]
OF_TORCH = ["torch splade", "torch dense", "torch reranker", "torch inference-free"]
OF_TORCH += ["torch unicoil", "torch sparta", "torch deepimpact"]
needs_torch = pytest.mark.skipif(not TORCH, reason="the torch extra (sentence-transformers, torch) is not installed")
EVERY = [*MODELS, *(pytest.param(name, marks=needs_torch) for name in OF_TORCH)]


def pooled(folder):
    (folder / "hybrid_search.json").write_text(json.dumps({"pooling": "mean"}), encoding="utf-8")
    return folder


def static_folder(folder):
    """As minishlab/potion-base-8M: a matrix and a tokenizer."""
    folder.mkdir()
    hub_models.tokenizer_files(folder)
    draw = np.random.default_rng(3).standard_normal((len(hub_models.VOCABULARY), 256))
    hub_models.write_safetensors(folder / "model.safetensors", {"embeddings": draw.astype(np.float32)})
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


def saved_router(home):
    """Queries by a table, documents by a network, as sentence-transformers saves them."""
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.models import Router
    from sentence_transformers.sparse_encoder import models
    from transformers import AutoTokenizer

    base = hub_models.torch_folder(home / "base", "BertForMaskedLM", seed=8)
    table = models.SparseStaticEmbedding(AutoTokenizer.from_pretrained(base), frozen=True)
    with torch.no_grad():
        table.weight[:] = torch.arange(len(hub_models.VOCABULARY)) / 100
    document = [models.MLMTransformer(str(base)), models.SpladePooling("max")]
    router = Router.for_query_document(query_modules=[table], document_modules=document)
    SparseEncoder(modules=[router]).save(str(home / "saved"))
    return home / "saved"


def opened(name, home):
    """The model that a parameter names, of its own folder."""
    options = {"cache_dir": home, "precision": name.split()[1]} if name in MODELS[1:3] else {"cache_dir": home}
    hub = {
        "bm25": ("Qdrant/bm25", "sparse", hub_models.bm25_folder),
        "bm42": ("Qdrant/bm42-all-minilm-l6-v2-attentions", "sparse", hub_models.bm42_folder),
        "minicoil": (
            "Qdrant/minicoil-v1",
            "sparse",
            lambda folder: hub_models.minicoil_folder(folder, known={"music": "music", "movi": "movie"}),
        ),
        "static": ("minishlab/potion-base-8M", "dense", static_folder),
    }
    draw = np.random.default_rng(31).standard_normal((1, hub_models.HIDDEN)).astype(np.float32)
    head = np.abs(draw), np.array([0.5], dtype=np.float32)
    local = {
        "splade": ("sparse", hub_models.splade_folder),
        "dense": ("dense", lambda folder: pooled(hub_models.dense_folder(folder, onnx="model.onnx"))),
        "inference-free": ("sparse", hub_models.inference_free_folder),
        "reranker": ("reranker", hub_models.reranker_folder),
        "torch splade": ("sparse", lambda folder: hub_models.torch_folder(folder, "BertForMaskedLM", seed=7)),
        "torch dense": ("dense", lambda folder: pooled(hub_models.torch_folder(folder, "BertModel", seed=9))),
        "torch reranker": (
            "reranker",
            lambda folder: hub_models.torch_folder(folder, "BertForSequenceClassification", seed=10),
        ),
        "torch inference-free": ("sparse", saved_router),
        "torch unicoil": ("sparse", lambda folder: hub_models.unicoil_folder(folder, head)),
        "torch sparta": ("sparse", hub_models.sparta_folder),
        "torch deepimpact": ("sparse", lambda folder: hub_models.deepimpact_folder(folder, {0: head})),
    }
    if name == "engine":
        return Bm25Encoder(card(BM25_ENGINE, "sparse")).fitted(["a movie about music"])
    if name == "bundled":
        return load(card(BUNDLED_HYBRID, "hybrid"), **options)
    if name in hub:
        known, kind, make = hub[name]
        found = dataclasses.replace(card(known, kind), max_tokens=min(card(known, kind).max_tokens, 512))
        hub_models.in_hub_cache(make(home / "made"), home, found.source)
        return load(found, **options)
    kind, make = local[name if name in local else name.split()[0]]
    return load(card(str(make(home / "made")), kind), **options)


class Verbs(NamedTuple):
    """What the model makes of texts, by verb: for each a tuple of vectors, or of a score; and the verb of the many."""

    each: dict[str, Callable[[list[str]], list[Any]]]
    many: str


@pytest.fixture(scope="module", params=EVERY)
def verbs(request, tmp_path_factory):
    encoder = opened(request.param, tmp_path_factory.mktemp("model"))
    if encoder.card.kind == "reranker":
        return Verbs({"score": lambda texts: [(score,) for score in encoder.score("a movie", texts)]}, "score")
    whole = encoder.card.kind == "hybrid"  # two vectors a text

    def listed(run):
        return lambda texts: list(run(texts)) if whole else [(found,) for found in run(texts)]

    each = {verb: listed(getattr(encoder, verb)) for verb in ("encode_documents", "encode_queries")}
    # Queries take the road of documents, but for those that are looked up.
    return Verbs(each, "encode_queries" if encoder.card.family in TABLE_QUERIES else "encode_documents")


def agree(found, wanted, text):
    """The same to rounding: a weight that is all but 0 may be there or not."""
    for mine, other in zip(found, wanted, strict=True):
        if not isinstance(mine, SparseVector):
            assert np.isfinite(mine).all()
            np.testing.assert_allclose(mine, other, atol=2e-5, err_msg=text[:40])
            continue
        weights = [dict(zip(one.indices.tolist(), one.values.tolist(), strict=True)) for one in (mine, other)]
        for place in {*weights[0], *weights[1]}:
            assert weights[0].get(place, 0) == pytest.approx(weights[1].get(place, 0), abs=2e-5), text[:40]


def test_each_has_the_vector_it_has_alone(verbs):
    for run in verbs.each.values():
        for text, found in zip(ODD, run(ODD), strict=True):
            [alone] = run([SAME.get(text, text)])
            agree(found, alone, text)


MANY = 3_000
"""Texts of several batches."""


def test_thousands_of_words_come_back_in_order(verbs):
    run = verbs.each[verbs.many]
    texts = [WORDS[(number * 7 + number // 40) % len(WORDS)] for number in range(MANY)]
    alone = {word: run([word])[0] for word in WORDS}
    found = run(texts)
    assert len(found) == len(texts)
    for number in [*range(0, MANY, 29), MANY - 1]:
        agree(found[number], alone[texts[number]], texts[number])


def test_a_text_of_a_hundred_thousand_words_is_its_beginning(verbs):
    """Of what reads all of a text the vector is that of every word."""
    for verb, run in verbs.each.items():
        [(*found,)], [(*empty,)] = run([LONG]), run([""])
        for mine, nothing in zip(found, empty, strict=True):
            if isinstance(mine, SparseVector):
                assert len(mine) > 0, verb
            else:
                assert np.abs(np.asarray(mine) - np.asarray(nothing)).max() > 1e-3, verb
