"""Queries as weights of terms, on real collections in both stores: the hits of the text, and what is told of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from hybrid_search import WeightedQuery, add_leg
from hybrid_search.encoders.hybrid import unwrap
from hybrid_search.errors import InvalidArgument
from hybrid_search.indexer import Indexer
from hybrid_search.protocols import KnowsTerms
from hybrid_search.results import NO_TERM, NO_TEXT
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import Document
from tests.search.test_explain_terms import QUERIES, TEXTS
from tests.store.conftest import in_memory

SHARK = {"shark": 2.0, "island": 1.0}


@pytest.fixture(scope="module", params=["edge", "local"])
def films(request, tmp_path_factory, model_cache):
    place = Settings(store=str(tmp_path_factory.mktemp("weighted")), cache_dir=model_cache)
    store = EdgeStore(place.store) if request.param == "edge" else in_memory()
    documents = [Document(doc_id, text, metadata={"n": at}) for at, (doc_id, text) in enumerate(TEXTS.items())]
    legs = ("sparse", "dense", "bm25")
    Indexer.open("films", store=store, settings=place, profile="bundled", legs=legs).index(documents)
    with Searcher.open("films", store=store, settings=place) as searcher:
        yield searcher
    store.close()


def encoder_of(searcher, leg):
    return searcher._latest.opened.encoders[leg]


def own_weights(searcher, query, leg="sparse"):
    """What the leg's own model makes of a text, by term."""
    [vector] = encoder_of(searcher, leg).encode_queries([query])
    if leg == "bm25":
        words = query.lower().split()
        counts = {word: float(words.count(word)) for word in words}
        found = encoder_of(searcher, leg).dimensions(list(counts))  # stop words have none
        return {word: count for (word, count), at in zip(counts.items(), found, strict=True) if at is not None}
    return dict(zip(encoder_of(searcher, leg).terms(vector.indices.tolist()), vector.values.tolist(), strict=True))


def plain(results):
    """Everything but the times, that weights were given, and the confidence, which knows no weights of others."""
    return {
        name: value for name, value in results.to_dict().items() if name not in ("timings_ms", "vector", "confidence")
    }


# ---------------------------------------------------------------- the same as by text


@pytest.mark.parametrize("mode", ["hybrid", "sparse", "sparse+dense", "sparse+bm25", "bm25"])
def test_the_models_own_weights_find_what_the_text_finds(films, mode):
    leg = "bm25" if mode == "bm25" else "sparse"
    for query in QUERIES:
        weights = own_weights(films, query, leg)
        given = films.search(query, vector=weights, mode=mode, explain=True)
        wanted = films.search(query, mode=mode, explain=True)
        assert len(wanted)
        assert plain(given) == plain(wanted)
        assert given.vector == weights
        assert not wanted.vector


def test_without_a_text_the_leg_alone_answers(films):
    for query in QUERIES:
        weights = own_weights(films, query)
        alone = films.search("", vector=weights, mode="sparse", highlight=False)
        wanted = films.search(query, mode="sparse", highlight=False)
        assert plain(alone)["hits"] == plain(wanted)["hits"]
        both = films.search("", vector=weights)
        assert [hit.doc_id for hit in both] == [hit.doc_id for hit in wanted]
        assert [hit.legs["sparse"] for hit in both] == [hit.legs["sparse"] for hit in wanted]
        assert all(hit.legs["dense"] is hit.legs["bm25"] is None for hit in both)
        assert both.abstained == {"dense": NO_TEXT, "bm25": NO_TEXT}
        assert both.remarks() == (f"The legs dense and bm25 abstain: their model {NO_TEXT}.",)


def test_beside_a_text_the_other_legs_read_it(films):
    given = films.search("music", vector="shark=2 island")
    sparse, dense = films.search("", vector=SHARK, mode="sparse"), films.search("music", mode="dense")
    words = films.search("music", mode="bm25")
    for leg, alone in {"sparse": sparse, "dense": dense, "bm25": words}.items():
        ranks = {hit.doc_id: hit.legs[leg].rank for hit in alone}
        assert {hit.doc_id: hit.legs[leg].rank for hit in given if hit.legs[leg]} == ranks
        assert ranks
    assert not given.abstained
    assert given.query == "music"


def test_many_queries_have_weights_each_of_its_own(films):
    queries = [
        "music",
        WeightedQuery("", SHARK),
        WeightedQuery("music", SHARK),
        WeightedQuery("alone on an island"),
        WeightedQuery("music", {}),
        *(WeightedQuery("", own_weights(films, query)) for query in QUERIES * 9),
    ]
    answers = films.search_many(queries, k=3)
    assert len(answers) == len(queries) > 32  # more than one batch
    singles = [
        films.search("music", k=3),
        films.search("", vector=SHARK, k=3),
        films.search("music", vector=SHARK, k=3),
    ]
    singles.append(films.search("alone on an island", k=3))
    for one, single in zip(answers, singles, strict=False):
        assert plain(one) == plain(single)
    assert answers[4].abstained == {"sparse": NO_TERM}
    assert [hit.doc_id for hit in answers[4]] == [hit.doc_id for hit in films.search("music", mode="dense+bm25", k=3)]
    for at, query in enumerate(QUERIES * 9, 5):
        assert plain(answers[at]) == plain(films.search("", vector=own_weights(films, query), k=3))


def test_forty_searches_at_once_answer_as_one_after_the_other(films):
    asked = [(query, own_weights(films, query)) for query in QUERIES for _ in range(8)]
    wanted = [plain(films.search(query, vector=weights, explain=True)) for query, weights in asked]
    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(lambda one: plain(films.search(one[0], vector=one[1], explain=True)), asked))
    assert found == wanted


# ---------------------------------------------------------------- evidence


@pytest.mark.parametrize("text", ["", "music"])
def test_what_terms_gave_sums_to_the_score_and_has_the_given_names(films, text):
    for mode, weights in (("hybrid", SHARK), ("bm25", {"sharks": 2.0, "islands": 0.5}), ("sparse", SHARK)):
        results = films.search(text, vector=weights, mode=mode, explain=True)
        leg = "bm25" if mode == "bm25" else "sparse"
        assert {term.term: term.weight for term in results.expansion[leg]} == weights
        assert len(results)
        for hit in results:
            mine = [term for term in hit.matched_terms if term.leg == leg]
            assert {term.term for term in mine} <= set(weights)
            score = hit.legs[leg].score if hit.legs[leg] else 0.0
            assert sum(term.contribution for term in mine) == pytest.approx(score, abs=1e-4)
            assert all(term.in_query != bool(text) for term in mine)


def test_the_store_multiplies_by_the_inverse_document_frequency_as_always(films):
    """The weight of a term in an explanation is that which was given, times the frequency."""
    once, twice = (films.search("", vector={"sharks": w}, mode="bm25", explain=True) for w in (1.0, 2.0))
    for one, other in zip(once, twice, strict=True):
        assert other.score == pytest.approx(2 * one.score, rel=1e-5)
        assert one.matched_terms[0].query_weight != pytest.approx(1.0)
    text = films.search("sharks", mode="bm25")
    assert [hit.score for hit in once] == pytest.approx([hit.score for hit in text], rel=1e-6)


def test_given_words_are_marked_and_a_piece_of_a_word_is_none(films):
    [hit, *_] = films.search("", vector={"shark": 1.0, "##s": 0.1}, mode="sparse")
    marked = [hit.passages[0].text[mark.start : mark.end] for mark in hit.passages[0].highlight.marks]
    assert marked == ["shark"]


def test_terms_with_one_stem_add_up(films):
    one = films.search("", vector={"shark": 1.0, "sharks": 0.5}, mode="bm25", explain=True)
    assert [hit.score for hit in one] == pytest.approx(
        [hit.score for hit in films.search("", vector={"shark": 1.5}, mode="bm25")]
    )
    assert {term.term for hit in one for term in hit.matched_terms} == {"shark"}


def test_a_document_is_followed_through_such_a_search(films):
    shown = films.explain("", "jaws", vector=SHARK)
    assert (shown.verdict, shown.query) == ("shown", "shark island")
    ranks = {hit.doc_id: hit.rank for hit in films.search("", vector=SHARK, mode="sparse")}
    assert shown.legs["sparse"].rank == ranks["jaws"] <= 2
    missing = films.explain("", "rat", vector={"shark": 1.0})
    assert missing.verdict == "not found"
    assert NO_TEXT in missing.reason


def test_weights_by_the_query_filters_and_pages_go_with_it(films):
    auto = films.search("", vector=SHARK, weights="auto")
    assert set(auto.weights) == {"sparse", "dense", "bm25"}
    assert [hit.doc_id for hit in films.search("", vector=SHARK, where="n = 4", k=1)] == ["jaws"]
    assert not films.search("", vector=SHARK, where="n > 99")
    with pytest.raises(InvalidArgument, match="found for 'shark island'"):
        films.search("", vector=SHARK, offset=50)


# ---------------------------------------------------------------- what the model does not have


def test_unknown_terms_are_named_and_the_others_search(films):
    results = films.search("", vector={**SHARK, "qwxyz": 3.0, "Shark": 1.0})
    assert plain(results)["unread"] == {"sparse": ["qwxyz", "Shark"]}
    assert "Not known to sparse: qwxyz, Shark." in results.remarks()
    assert [hit.score for hit in results] == [hit.score for hit in films.search("", vector=SHARK)]


def test_where_no_term_is_known_that_is_an_error_alone_and_an_abstention_among_many(films):
    with pytest.raises(
        InvalidArgument, match=r"the leg sparse, has none of the terms of the vector: 'qwxyz', 'the film'"
    ):
        films.search("music", vector={"qwxyz": 1, "the film": 1})
    with pytest.raises(InvalidArgument, match=r"bm25, has none .*: 'the', 'two words'"):
        films.search("", vector={"the": 1, "two words": 1}, mode="bm25")
    with pytest.raises(InvalidArgument, match=r"'w9' and 30 more"):
        films.search("", vector={f"w{n}": 1 for n in range(40)}, mode="sparse")
    [one, other] = films.search_many([WeightedQuery("", {"qwxyz": 1.0}), WeightedQuery("", SHARK)])
    assert (len(one), one.abstained["sparse"], one.unread["sparse"]) == (0, NO_TERM, ("qwxyz",))
    assert len(other)


# ---------------------------------------------------------------- what does not go together


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda films: films.search("", vector=SHARK, mode="dense"), "mode 'dense' has no sparse leg, only dense"),
        (lambda films: films.search(""), "The query is empty"),
        (lambda films: films.search(" ", vector={}), "The vector has no term"),
        (lambda films: films.search("", vector=""), "The vector has no term"),
        (lambda films: films.search("", vector=[1.0]), r"vector is \[1.0\]; give the weights of terms"),
        (lambda films: films.search("", vector={"shark": -1}), "The weight of 'shark' is -1"),
        (lambda films: films.search(None, vector=SHARK), "The query is None; it must be a text"),
        (lambda films: films.search("", vector=SHARK, rerank=True), "Nothing can be re-ranked for terms alone"),
        (lambda films: films.search_many(["a", "b"], vector=SHARK), "vector is for one query, and there are 2"),
        (lambda films: films.search_many([WeightedQuery("a", SHARK)], vector=SHARK), "give them once"),
        (lambda films: films.search_many(["a", WeightedQuery("", {})]), r"The query is empty \(queries\[1\]\)"),
        (lambda films: films.search_many([WeightedQuery("a", "shark=1"), "b"]), "they must be a mapping"),
        (lambda films: films.search_many([WeightedQuery("a", {"shark": 0}), "b"]), "The weight of 'shark' is 0"),
        (lambda films: films.search_by_vector([1.0] * 384, vector=SHARK), "multiple values"),
    ],
)
def test_what_does_not_go_together_is_refused(films, call, told):
    with pytest.raises((InvalidArgument, TypeError), match=told):
        call(films)


def test_the_leg_is_the_modes_own_or_the_one_called_sparse_or_the_only_one(films):
    assert films.search("", vector={"shark": 1.0}, mode="bm25").legs == ("bm25",)
    assert set(films.search("music", vector={"shark": 1.0}, mode="bm25+dense").unread) == set()
    assert films.search("music", vector={"qwxyz": 1.0, "shark": 1.0}, mode="sparse+bm25").unread.keys() == {"sparse"}


def test_of_several_sparse_legs_without_the_plain_name_none_is_guessed(fakes, settings):
    models = {"sparse": "fake/sparse", "dense": "none"}
    Indexer.open("c", settings=settings, legs=("sparse", "bm25"), **models).index([Document("a", "red apple")])
    add_leg("c", "new", "fake/sparse-2", settings=settings)
    with Searcher.open("c", settings=settings) as searcher:
        assert searcher.search("", vector="apple", mode="new").legs == ("new",)
        assert searcher.search("", vector="apple", mode="new+sparse").abstained == {"new": NO_TEXT}
        with pytest.raises(InvalidArgument, match=r"several sparse legs, bm25, new\. Search with --mode .*new"):
            searcher.search("", vector="apple", mode="new+bm25")


# ---------------------------------------------------------------- terms and dimensions


def test_dimensions_are_the_inverse_of_terms(films):
    sparse = encoder_of(films, "sparse")
    assert isinstance(sparse, KnowsTerms)
    assert isinstance(unwrap(sparse), KnowsTerms)
    places = [0, 101, 2000, 30000]
    assert sparse.dimensions(sparse.terms(places)) == places
    assert sparse.dimensions(["qwxyz", "", " ", "Film", "two words", "\ufffd"]) == [None] * 6
    bm25 = encoder_of(films, "bm25")
    [vector] = bm25.encode_queries(["amplifiers"])
    assert bm25.dimensions(["amplifiers", "amplifier", "the", "a film about", ""])[:2] == vector.indices.tolist() * 2
    assert bm25.dimensions(["the", "shark film", "shark shark", ""]) == [None] * 4


def test_a_model_that_cannot_tell_dimensions_says_so(fakes, settings):
    Indexer.open("c", settings=settings, sparse="fake/sparse", dense="none").index([Document("a", "red apple")])
    with Searcher.open("c", settings=settings) as searcher:
        assert [hit.doc_id for hit in searcher.search("", vector="apple=2")] == ["a"]
        model = unwrap(encoder_of(searcher, "sparse"))
        unable = type("Unable", (), {"card": model.card})()
        searcher._latest.opened.encoders["sparse"] = unable
        with pytest.raises(
            InvalidArgument, match="fake/sparse, the model of the leg sparse, takes no weights of terms"
        ):
            searcher.search("", vector="apple=2")


def test_no_model_runs_for_a_query_of_terms_alone(fakes, settings):
    Indexer.open("c", settings=settings, sparse="fake/sparse", dense="fake/dense").index([Document("a", "red apple")])
    fakes.calls("sparse"), fakes.calls("dense")
    with Searcher.open("c", settings=settings) as searcher:
        assert len(searcher.search("", vector="apple=2", explain=True)) == 1
        assert not fakes.calls("sparse")
        assert not fakes.calls("dense")
        searcher.search("apple", vector="apple=2")
        assert not fakes.calls("sparse")
        assert len(fakes.calls("dense")) == 1
