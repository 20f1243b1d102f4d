"""The model inside the package, as it ships."""

import numpy as np
import pytest

from hybrid_search.encoders import load
from hybrid_search.encoders.bundled.hybrid import MAX_ACTIVE_DIMS, BundledHybrid
from hybrid_search.encoders.bundled.package import OWN_FOLDER, model_folder
from hybrid_search.encoders.catalog import BUNDLED_HYBRID, card
from hybrid_search.errors import ModelUnavailable
from hybrid_search.protocols import HybridEncoder

CARD = card(BUNDLED_HYBRID, "hybrid")
LONG = "The committee reviewed seventeen proposals about groundwater, taxation and cinema. " * 60


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(CARD, cache_dir=tmp_path_factory.mktemp("cache"))


def terms(model, text):
    [(sparse, _)] = model.encode_queries([text])
    return dict(zip(model.terms(sparse.indices), sparse.values.tolist(), strict=True))


def test_it_sits_in_the_seat(model):
    assert isinstance(model, HybridEncoder)
    assert sum(path.stat().st_size for path in OWN_FOLDER.iterdir()) < 40e6


def test_a_query_gets_words_it_does_not_have(model):
    found = terms(model, "heart attack")
    assert {"heart", "attack", "cardiac"} <= set(found)
    assert found["heart"] > found["cardiac"] > 0


def test_inflections_share_a_dimension_and_stop_words_have_none(model):
    one, other = terms(model, "computing machines"), terms(model, "the computers of a machine")
    assert {"computer", "machine"} <= set(one) & set(other)
    assert not {"the", "of", "a"} & (set(one) | set(other))


def test_a_document_is_its_own_words(model):
    [(sparse, _)] = model.encode_documents(["Compilers translate source code."])
    assert {"source", "code"} <= set(model.terms(sparse.indices))
    assert len(sparse.indices) < 10


def test_dims_are_bounded_and_the_dense_vector_has_unit_length(model):
    for encode, limit in zip((model.encode_queries, model.encode_documents), MAX_ACTIVE_DIMS, strict=True):
        for sparse, dense in encode([LONG, "", "?!", "\ud83d film", "東京"]):
            assert len(sparse.indices) <= limit
            assert dense.shape == (CARD.dim,)
            assert np.linalg.norm(dense) == pytest.approx(1.0, abs=1e-5)


def test_a_vector_does_not_depend_on_its_batch(model):
    texts = ["a film about music", LONG, "", "boundary layer in a supersonic stream", "one two three four five six"]
    for text, (sparse, dense) in zip(texts, model.encode_documents(texts), strict=True):
        [(alone, lone)] = model.encode_documents([text])
        np.testing.assert_array_equal(alone.indices, sparse.indices)
        np.testing.assert_allclose(alone.values, sparse.values, rtol=2e-3)
        assert float(lone @ dense) > 0.9999


def test_nothing_in_gives_nothing_out(model):
    assert model.encode_documents([]) == []
    assert model.encode_queries([]) == []


@pytest.mark.skipif(model_folder() is None, reason="compares with all-MiniLM-L6-v2, of the 'minilm' extra")
def test_the_dense_vector_is_minilms(model, tmp_path):
    plain = load(card("bundled/all-MiniLM-L6-v2", "dense"), cache_dir=tmp_path)
    texts = ["a film about music", "how do compilers optimise loops", LONG]
    for mine, theirs in zip(model.encode_documents(texts), plain.encode_documents(texts), strict=True):
        assert float(mine[1] @ theirs) > 0.985


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelUnavailable, match=r"model\.onnx, tokenizer\.json"):
        BundledHybrid(CARD, cache_dir=tmp_path, folder=tmp_path).encode_queries(["x"])
