"""BM25 as a sparse encoder: its numbers by hand, its words by example."""

import math

import numpy as np
import pytest

from hybrid_search.errors import InvalidArgument
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.protocols import SparseEncoder
from hybrid_search.store.bm25 import Bm25Encoder
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.schema import payload_of
from hybrid_search.types import Chunk, ModelCard, Point, SparseVector
from tests.store.store_points import build

CARD = ModelCard("bm25", "sparse", "engine", "bm25", needs_idf=True)


@pytest.fixture(scope="module")
def encoder():
    return Bm25Encoder(CARD, average_tokens=4.0)


def weights(encoder, vector, words):
    """The weight of each word in a vector; 0 where it does not stand."""
    by_index = dict(zip(vector.indices.tolist(), vector.values.tolist(), strict=True))
    return [by_index.get(int(encoder.encode_queries([word])[0].indices[0]), 0.0) for word in words]


def test_it_takes_the_seat_of_a_sparse_encoder(encoder):
    assert isinstance(encoder, SparseEncoder)
    assert encoder.card is CARD
    encoder.warm_up()


@pytest.mark.parametrize(("k", "b", "average"), [(1.2, 0.75, 4.0), (0.9, 0.4, 2.5), (2.0, 0.0, 7.0), (1.2, 1.0, 100.0)])
def test_document_weights_are_the_formula(k, b, average):
    encoder = Bm25Encoder(CARD, average_tokens=average, k=k, b=b)
    text = "cat dog cat bird fish cat"
    length = 6
    vector = encoder.encode_documents([text])[0]
    expected = [tf * (k + 1) / (tf + k * (1 - b + b * length / average)) for tf in (3, 1, 1, 1, 0)]
    assert weights(encoder, vector, ["cat", "dog", "bird", "fish", "cow"]) == pytest.approx(expected, rel=1e-5)
    assert len(vector) == 4


def test_query_weights_are_term_frequencies(encoder):
    (vector,) = encoder.encode_queries(["cat dog cat cats bird cat"])
    assert weights(encoder, vector, ["cat", "dog", "bird", "fish"]) == [4.0, 1.0, 1.0, 0.0]
    (vector,) = encoder.encode_queries(["cat " * 5_000])
    assert vector.values.tolist() == [5_000.0]


def test_the_fitted_average_is_the_mean_length_without_stop_words(encoder):
    fitted = encoder.fitted(["the cat and the dog", "one bird sang", "", "the of and"])
    assert fitted.average_tokens == 2.5  # cat dog; one bird sang
    assert (fitted.k, fitted.b, fitted.language, fitted.card) == (encoder.k, encoder.b, encoder.language, encoder.card)
    assert encoder.average_tokens == 4.0
    assert fitted.fitted(["cat cat cat cat"]).average_tokens == 4.0


@pytest.mark.parametrize("texts", [[], [""], ["the of", "  \n"]])
def test_texts_without_a_token_fit_nothing(encoder, texts):
    assert encoder.fitted(texts) is encoder


def test_words_are_stemmed_and_stop_words_dropped(encoder):
    one, other = encoder.encode_documents(["The Foxes were running", "a fox runs"])
    assert one == other
    assert len(one) == 2
    assert len(encoder.encode_documents(["the and of to a"])[0]) == 0


def test_a_language_brings_its_own_words():
    german = Bm25Encoder(CARD, language="german")
    vectors = german.encode_documents(["die Katzen und der Hund", "Katze Hund"])
    assert vectors[0] == vectors[1]
    with pytest.raises(InvalidArgument, match="language 'klingon'"):
        Bm25Encoder(CARD, language="klingon").warm_up()


def test_the_fingerprint_is_a_function_of_the_settings(encoder):
    variants = [
        encoder,
        Bm25Encoder(CARD, average_tokens=5.0),
        Bm25Encoder(CARD, average_tokens=4.0, k=1.3),
        Bm25Encoder(CARD, average_tokens=4.0, b=0.7),
        Bm25Encoder(CARD, average_tokens=4.0, language="german"),
    ]
    prints = [variant.fingerprint() for variant in variants]
    assert len(set(prints)) == len(prints)
    assert Bm25Encoder(CARD, average_tokens=4.0).fingerprint() == prints[0]
    assert all(len(fingerprint) == 32 for fingerprint in prints)


@pytest.mark.parametrize("text", ["", " ", "\n\t", "...", "!?"])
def test_a_text_without_words_is_an_empty_vector(encoder, text):
    assert [len(v) for v in encoder.encode_documents([text]) + encoder.encode_queries([text])] == [0, 0]


def test_odd_text_is_no_obstacle(encoder):
    texts = ["cat \ud800 dog", "\udfff", "日本語 テキスト", "😀 cat", "cat\0dog", "x" * 100_000, "é" * 50]
    documents, queries = encoder.encode_documents(texts), encoder.encode_queries(texts)
    assert len(documents) == len(queries) == len(texts)
    assert weights(encoder, queries[0], ["cat", "dog"]) == [1.0, 1.0]
    for document, query in zip(documents, queries, strict=True):
        assert document.indices.tolist() == query.indices.tolist()


def test_a_batch_is_its_texts_one_by_one(encoder):
    texts = ["cat dog", "", "bird", "cat dog"]
    assert encoder.encode_documents(texts) == [encoder.encode_documents([text])[0] for text in texts]
    assert encoder.encode_queries([]) == encoder.encode_documents([]) == []


def test_it_reads_everything_and_has_no_names_for_its_dimensions(encoder):
    assert encoder.count_tokens(["cat " * 10_000, ""]) == [0, 0]
    assert encoder.terms([5, 77]) == ["#5", "#77"]


def test_in_a_store_the_score_is_bm25(tmp_path):
    texts = ["cat dog cat", "dog bird", "cat", "fish fish fish fish", "bird cat dog fish"]
    encoder = Bm25Encoder(CARD).fitted(texts)
    lengths = [3, 2, 1, 4, 4]
    average = np.mean(lengths)
    assert encoder.average_tokens == pytest.approx(average)
    batch = [
        Point(f"d{n}#0", {"sparse": vector}, payload_of(Chunk(f"d{n}", 0, text, 0, len(text)), {}, "", ("s", 1)))
        for n, (text, vector) in enumerate(zip(texts, encoder.encode_documents(texts), strict=True))
    ]
    manifest = Manifest("custom", {"sparse": LegSpec("bm25", encoder.fingerprint(), needs_idf=True)}, 0)
    store = EdgeStore(tmp_path)
    build(store, "c", batch, manifest)
    (answer,) = store.reader("c").retrieve([("sparse", encoder.encode_queries(["cats and fish, cats"])[0])], 10)

    def bm25(text, length):
        words = text.split()
        score = 0.0
        for term, times in (("cat", 2), ("fish", 1)):
            holding = sum(term in other.split() for other in texts)
            idf = math.log((len(texts) - holding + 0.5) / (holding + 0.5) + 1)
            tf = words.count(term)
            score += times * idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length / average))
        return score

    expected = {f"d{n}#0": bm25(text, lengths[n]) for n, text in enumerate(texts)}
    assert dict(answer) == pytest.approx({c: s for c, s in expected.items() if s > 0}, abs=1e-4)
    assert isinstance(batch[0].vectors["sparse"], SparseVector)
