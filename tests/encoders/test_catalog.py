"""The catalogue: look-ups, and the facts of fastembed's models held to fastembed's own lists."""

from __future__ import annotations

import pytest

from hybrid_search.encoders import load
from hybrid_search.encoders.catalog import BUNDLED_HYBRID, CARDS, PROFILES, Profile, card, cards, kind_of
from hybrid_search.encoders.published import PUBLISHED
from hybrid_search.errors import ModelError, UnknownModel
from hybrid_search.types import Published

NOT_CARRIED = {
    # image-text models
    "jinaai/jina-clip-v1",
    "Qdrant/clip-ViT-B-32-text",
    "google/siglip2-base-patch16-224",
    # halves of a pair: they encode only queries, or only documents
    "Qdrant/constella-zero",
    "Qdrant/constella-nano",
    "Qdrant/stella-en-400M-v5-doc-onnx",
    # a misspelt second name of SPLADE++
    "prithvida/Splade_PP_en_v1",
}


def fastembed_models():
    from fastembed.rerank.cross_encoder.text_cross_encoder import TextCrossEncoder
    from fastembed.sparse.sparse_text_embedding import SparseTextEmbedding
    from fastembed.text.text_embedding import TextEmbedding

    registries = {
        "dense": TextEmbedding.EMBEDDINGS_REGISTRY,
        "sparse": SparseTextEmbedding.EMBEDDINGS_REGISTRY,
        "reranker": TextCrossEncoder.CROSS_ENCODER_REGISTRY,
    }
    for kind, classes in registries.items():
        for model_class in classes:
            for model in model_class._list_supported_models():
                yield kind, model_class.__name__, model


def test_every_model_of_fastembed_is_a_card_or_left_out_for_a_reason():
    theirs = {model.model for _, _, model in fastembed_models()}
    ours = {found.name for found in CARDS if found.runtime in ("onnx", "fastembed")}
    assert ours == theirs - NOT_CARRIED
    assert theirs >= NOT_CARRIED


def test_cards_say_what_fastembed_says():
    families = {
        "SpladePP": "splade",
        "IfSplade": "inference_free_splade",
        "Bm25": "bm25",
        "Bm42": "bm42",
        "MiniCOIL": "minicoil",
        "OnnxTextCrossEncoder": "cross_encoder",
    }
    poolings = {
        "OnnxTextEmbedding": "cls",
        "PooledEmbedding": "mean",
        "PooledNormalizedEmbedding": "mean",
        "JinaEmbeddingV3": "mean",
        "LastTokenNormalizedEmbedding": "last_token",
        "BuiltinSentenceEmbedding": "none",
    }
    for kind, model_class, theirs in fastembed_models():
        if theirs.model in NOT_CARRIED:
            continue
        ours = card(theirs.model, kind)
        assert ours.family == families.get(model_class, "dense"), ours.name
        assert ours.pooling == poolings.get(model_class, ""), ours.name
        by_fastembed = ours.family in ("bm25", "bm42", "minicoil") or model_class == "StaticTextEmbedding"
        assert ours.runtime == ("fastembed" if by_fastembed else "onnx"), ours.name
        assert ours.source == theirs.sources.hf, ours.name
        assert ours.files == (theirs.model_file, *theirs.additional_files), ours.name
        assert ours.licence == theirs.license, ours.name
        assert ours.size_mb == round(theirs.size_in_GB * 1000), ours.name
        assert ours.dim == (getattr(theirs, "dim", None) or 0), ours.name
        assert ours.vocab_size == (getattr(theirs, "vocab_size", None) or 0), ours.name
        assert ours.needs_idf == bool(getattr(theirs, "requires_idf", None)), ours.name
        if "input tokens truncation" in theirs.description:
            limit = theirs.description.split(" input tokens truncation")[0].split()[-1]
            assert ours.max_tokens == int(limit), ours.name


def test_models_that_need_prefixes_have_them():
    from fastembed.text.text_embedding import TextEmbedding

    for model_class in TextEmbedding.EMBEDDINGS_REGISTRY:
        for theirs in model_class._list_supported_models():
            needed = "documents: necessary" in theirs.description or "{" in theirs.description
            if needed and theirs.model not in NOT_CARRIED:
                assert card(theirs.model, "dense").query_prefix, theirs.model
    assert card("BAAI/bge-small-en-v1.5", "dense").query_prefix == (
        "Represent this sentence for searching relevant passages: "
    )
    e5 = card("intfloat/multilingual-e5-large", "dense")
    assert (e5.query_prefix, e5.document_prefix) == ("query: ", "passage: ")


def test_cards_are_sound():
    assert len({found.name.lower() for found in CARDS}) == len(CARDS)
    for found in CARDS:
        assert (found.dim > 0) == (found.kind in ("dense", "hybrid") and found.runtime != "torch"), found.name
        assert found.kind != "hybrid" or found.vocab_size > 0, found.name
        assert found.extra == ("torch" if found.runtime == "torch" else ""), found.name
        assert bool(found.source) == (found.runtime in ("onnx", "fastembed", "torch")), found.name
        assert (found.max_tokens == 0) == (found.family in ("bm25", "term_weights")), found.name
        weighs_itself = found.family not in ("bm25", "bm42", "minicoil") and found.name != BUNDLED_HYBRID
        assert found.needs_idf != weighs_itself, found.name


def test_the_engine_card_is_the_stores():
    found = card("qdrant/bm25-engine", "sparse")
    assert (found.runtime, found.family, found.needs_idf, found.max_tokens) == ("engine", "bm25", True, 0)


def test_loading_the_engine_is_refused(tmp_path):
    with pytest.raises(ModelError, match="the store supplies"):
        load(card("qdrant/bm25-engine", "sparse"), cache_dir=tmp_path)


def test_profiles_name_cards():
    assert set(PROFILES) == {"splade", "bundled"}
    for profile in PROFILES.values():
        card(profile.sparse, "sparse")
        card(profile.dense, "dense")
    assert PROFILES["bundled"] == Profile("bundled/minilm-splade", "bundled/minilm-splade")


def test_a_hybrid_model_serves_either_leg_and_nothing_else():
    for kind in ("sparse", "dense", "hybrid"):
        assert card("bundled/minilm-splade", kind).kind == "hybrid"
        assert "bundled/minilm-splade" in [found.name for found in cards(kind)]
    assert [found.kind for found in cards("hybrid")] == ["hybrid"]
    with pytest.raises(ModelError, match="is a hybrid model; a reranker model was expected"):
        card("bundled/minilm-splade", "reranker")
    with pytest.raises(ModelError, match="is a dense model; a hybrid model was expected"):
        card("BAAI/bge-small-en-v1.5", "hybrid")


def test_the_kind_of_a_model_that_nobody_said():
    assert kind_of("prithivida/Splade_PP_en_v1") == kind_of("bundled/minilm-splade") == "sparse"
    assert kind_of("bundled/minilm-splade", "dense") == kind_of("BAAI/bge-small-en-v1.5") == "dense"
    assert kind_of("bundled/minilm-splade", "other") == kind_of("qdrant/bm25-engine", "dense") == "sparse"
    with pytest.raises(ModelError, match="is a reranker model"):
        kind_of("BAAI/bge-reranker-base")
    with pytest.raises(UnknownModel, match="sparse or dense model") as caught:
        kind_of("BAAI/bge-smal-en-v1.5")
    assert caught.value.near[0] == "BAAI/bge-small-en-v1.5"


def test_the_kind_of_a_folder_is_read_from_it(tmp_path):
    from tests import hub_models

    assert kind_of(str(hub_models.splade_folder(tmp_path / "splade"))) == "sparse"
    assert kind_of(str(hub_models.dense_folder(tmp_path / "dense", onnx="model.onnx"))) == "dense"
    with pytest.raises(ModelError, match="holds no model"):
        kind_of(str(tmp_path))


def test_names_are_exact_but_for_case():
    assert card("baai/BGE-small-EN-v1.5", "dense").name == "BAAI/bge-small-en-v1.5"
    with pytest.raises(UnknownModel) as caught:
        card("BAAI/bge-small", "dense")
    assert caught.value.near[0] in ("BAAI/bge-small-en", "BAAI/bge-small-en-v1.5")
    assert "models list" in str(caught.value)


def test_near_names_are_of_the_kind_asked_for():
    with pytest.raises(UnknownModel) as caught:
        card("prithivida/Splade_PP_en", "sparse")
    assert caught.value.near[0] == "prithivida/Splade_PP_en_v1"


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(ModelError, match="is a dense model; a sparse model was expected"):
        card("BAAI/bge-small-en-v1.5", "sparse")


def test_cards_by_kind():
    assert cards() == CARDS
    assert {found.kind for found in cards("reranker")} == {"reranker"}
    assert cards("sparse")[0].name == PROFILES["splade"].sparse


def test_every_card_names_its_languages():
    for one in CARDS:
        assert one.languages, one.name
        assert all(code.islower() and len(code) in (2, 3) for code in one.languages), one.name
        english = "English" in one.note and "Chinese" not in one.note
        assert (one.languages == ("mul",)) == any(word in one.note for word in ("Multilingual", " languages.")), (
            one.name
        )
        assert not english or "en" in one.languages, one.name
    assert card("BAAI/bge-small-zh-v1.5", "dense").languages == ("zh",)
    assert card("BAAI/bge-reranker-base", "reranker").languages == ("en", "zh")
    assert card("jinaai/jina-embeddings-v2-base-de", "dense").languages == ("en", "de")
    assert {card(name, kind).languages for kind in ("sparse", "dense") for name in (PROFILES["bundled"].sparse,)} == {
        ("en",)
    }


def test_published_figures_are_those_of_the_sources():
    """Mean nDCG@10 over 13 collections of BEIR and MRR@10 of MS MARCO, as the pages print them."""
    figures = {one.name: one.published for one in CARDS if one.published != Published()}
    assert set(figures) == set(PUBLISHED)
    opensearch = "opensearch-project/opensearch-neural-sparse-encoding"
    beir = {f"{opensearch}-doc-v3-gte": 54.6, f"{opensearch}-doc-v3-distill": 51.7, f"{opensearch}-doc-v2-mini": 49.7}
    beir |= {"naver/splade-v3": 51.7, "ibm-granite/granite-embedding-30m-sparse": 50.8}
    beir |= {"prithivida/Splade_PP_en_v1": 48.7, "naver/splade-cocondenser-ensembledistil": 50.5}
    assert {name: found.beir for name, found in figures.items() if found.beir} == beir
    assert figures["naver/splade-v3"].msmarco == 40.2
    for name, found in figures.items():
        assert found.source, name
        assert (found.beir, found.msmarco) != (None, None), name


def test_cards_of_models_that_weigh_terms():
    granite = card("ibm-granite/granite-embedding-30m-sparse", "sparse")
    assert (granite.family, granite.max_active_dims, granite.licence) == ("splade", (50, 192), "apache-2.0")
    mini = card("opensearch-project/opensearch-neural-sparse-encoding-doc-v2-mini", "sparse")
    assert (mini.family, mini.max_active_dims, mini.licence) == ("inference_free_splade", (0, 0), "apache-2.0")
    sparta = card("BeIR/sparta-msmarco-distilbert-base-v1", "sparse")
    assert (sparta.family, sparta.max_active_dims, sparta.max_tokens) == ("sparta", (0, 2000), 500)
    assert {one.family for one in CARDS if "unicoil" in one.name} == {"unicoil"}
    assert all(one.source == one.name for one in CARDS if one.runtime == "torch")
