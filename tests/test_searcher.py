"""Road two, on a real collection with both legs."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hybrid_search.collection.models import ModelSet
from hybrid_search.errors import (
    CollectionNotFound,
    FilterError,
    FusionError,
    InvalidArgument,
    ManifestMismatch,
    StoreError,
)
from hybrid_search.filters import And, Compare, Match, Not
from hybrid_search.indexer import Indexer
from hybrid_search.ranking.confidence import DEPTH as CONFIDENCE_DEPTH
from hybrid_search.results import DocumentHit
from hybrid_search.search.request import SearchRequest
from hybrid_search.search.retrieval import TIE_MARGIN
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.types import Document

BM25 = {"sparse": "qdrant/bm25-engine", "dense": "none"}
FILMS = {
    "spinal-tap": "A documentary follows an English rock band on tour in America; the amplifiers go to eleven.",
    "whiplash": "A young drummer at a music school is driven to the edge by his teacher.",
    "amadeus": "An old composer confesses his envy of Mozart and his music in Vienna.",
    "cast-away": "After a plane crash a man lives alone on an island for four years.",
    "the-martian": "An astronaut is left behind on Mars and grows potatoes until help comes.",
    "gravity": "Two astronauts drift in orbit after their shuttle is destroyed.",
    "jaws": "A shark hunts swimmers off a holiday island, and three men go out to kill it.",
    "babe": "A piglet learns to herd sheep on a farm and wins a contest.",
    "ratatouille": "A rat cooks in a Paris restaurant, hidden under a boy's hat.",
    "up": "An old man flies his house to South America with balloons.",
    "alien": "The crew of a cargo ship in space is hunted by a creature.",
    "casablanca": "A bar owner meets a lost love again in wartime Morocco.",
}
QUERIES = [
    "a film about music",
    "alone on an island",
    "space",
    "cooking",
    "old man",
    "drummer",
    "shark Mozart potatoes",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory, model_cache):
    return Settings(store=str(tmp_path_factory.mktemp("searcher")), cache_dir=model_cache)


@pytest.fixture(scope="module")
def films(place):
    documents = [
        Document(name, text, title=name.title(), metadata={"letters": len(name)}) for name, text in FILMS.items()
    ]
    models = {"sparse": "qdrant/bm25-engine", "dense": "bundled/minilm-splade"}
    Indexer.open("films", settings=place, **models).index(documents)
    with Searcher.open("films", settings=place) as searcher:
        yield searcher


@pytest.fixture
def bm25(settings):
    """Make a BM25 collection of these documents and open it."""
    opened = []

    def make(documents, name="c", **options):
        Indexer.open(name, settings=settings, **{**BM25, **options}).index(documents)
        opened.append(Searcher.open(name, settings=settings))
        return opened[-1]

    yield make
    for searcher in opened:
        searcher.close()


def places(results):
    return [(hit.rank, hit.doc_id, hit.score) for hit in results]


def without_times(results):
    return {**results.to_dict(), "timings_ms": None}


# ---------------------------------------------------------------- evidence


@pytest.mark.parametrize("query", QUERIES)
def test_the_evidence_is_what_each_leg_alone_says(films, query):
    hybrid = films.search(query, k=12)
    alone = {leg: {hit.doc_id: hit for hit in films.search(query, k=12, mode=leg)} for leg in ("sparse", "dense")}
    assert {hit.doc_id for hit in hybrid} == {*alone["sparse"], *alone["dense"]}
    for hit in hybrid:
        score = 0.0
        for leg in ("sparse", "dense"):
            there = alone[leg].get(hit.doc_id)
            assert (hit.legs[leg] is None) == (there is None)
            if there is not None:
                assert hit.legs[leg].rank == there.rank
                assert hit.legs[leg].score == pytest.approx(there.score, rel=1e-6)
                score += 1 / (60 + there.rank)
        assert hit.score == pytest.approx(score, rel=1e-12)
    assert [hit.rank for hit in hybrid] == list(range(1, len(hybrid) + 1))
    assert [hit.score for hit in hybrid] == sorted((hit.score for hit in hybrid), reverse=True)


@pytest.mark.parametrize("leg", ["sparse", "dense"])
def test_one_leg_alone_keeps_its_own_scores(films, leg):
    other = {"sparse": "dense", "dense": "sparse"}[leg]
    results = films.search("music", mode=leg)
    assert results.mode == leg
    for hit in results:
        assert hit.score == hit.legs[leg].score
        assert hit.rank == hit.legs[leg].rank
        assert hit.legs[other] is None


def test_a_leg_that_finds_nothing_is_none_in_the_evidence(films):
    results = films.search("zzgrmbl qwrtz", k=3)
    assert len(results) == 3
    assert all(hit.legs["sparse"] is None and hit.legs["dense"] is not None for hit in results)
    assert len(films.search("zzgrmbl qwrtz", mode="sparse")) == 0


def test_stop_words_alone_are_no_error(films, bm25):
    assert len(films.search("the of and")) == 10
    assert len(bm25([Document("a", "the of and x")]).search("the of and")) == 0


def test_weights_shift_the_fusion(films):
    query = "alone on an island"
    dense, sparse = films.search(query, mode="dense"), films.search(query, mode="sparse")
    only = films.search(query, weights={"sparse": 0.0})
    assert [hit.doc_id for hit in only] == [hit.doc_id for hit in dense]
    assert only[0].legs["sparse"] is not None
    only = films.search(query, weights={"dense": 0.0})
    assert [hit.doc_id for hit in only] == [hit.doc_id for hit in sparse]
    twice = films.search(query, weights={"sparse": 2.0})
    best = twice[0]
    assert best.score == pytest.approx(2 / (60 + best.legs["sparse"].rank) + 1 / (60 + best.legs["dense"].rank))
    assert places(films.search(query, weights={"sparse": 1, "dense": 1})) == places(films.search(query))


def test_rrf_k_is_the_constant_of_the_fusion(films):
    for rrf_k in (0, 1, 60.5):
        hit = films.search("Mozart music", rrf_k=rrf_k)[0]
        assert hit.score == pytest.approx(sum(1 / (rrf_k + leg.rank) for leg in hit.legs.values() if leg))


# ---------------------------------------------------------------- k, depth, ties


def test_k_counts_documents_when_one_document_has_all_the_chunks(bm25):
    crowd = Document(
        "crowd", " ".join(f"ocean river stone{n} apple{n} cloud{n} winter{n} garden{n}." for n in range(1_000))
    )
    small = [
        Document(f"small-{n:02}", f"One ocean, {n} long letters about copper and windows far away.") for n in range(12)
    ]
    searcher = bm25([crowd, *small], chunk_tokens=24)
    assert searcher._latest.opened.reader.info().points > 300
    results = searcher.search("ocean river", k=10)
    assert len(results) == 10
    assert results[0].doc_id == "crowd"
    assert len({hit.doc_id for hit in results}) == 10
    assert len(results[0].passages) == 3
    assert len(searcher.search("ocean river", k=50)) == 13
    assert [hit.doc_id for hit in searcher.search("ocean river", k=10)] == [hit.doc_id for hit in results]


def test_passages_are_the_best_chunks_of_the_document_best_first(bm25):
    text = " ".join(["filler words here."] * 20 + ["ocean ocean ocean."] * 3 + ["more filler text."] * 20 + ["ocean."])
    searcher = bm25([Document("a", text), Document("b", "nothing at all")], chunk_tokens=16)
    hit = searcher.search("ocean")[0]
    scores = [passage.score for passage in hit.passages]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == hit.score
    for passage in hit.passages:
        assert text[passage.start : passage.end] == passage.text
        assert "ocean" in passage.text
        assert passage.chunk_id.startswith("a#")


def test_ties_stand_in_the_order_of_their_ids_however_many(bm25):
    documents = [Document(f"d{n:03}", "same words in every document") for n in range(150)]
    results = bm25(list(reversed(documents))).search("words", k=20, depth=20)
    assert [hit.doc_id for hit in results] == [f"d{n:03}" for n in range(20)]
    assert len({hit.score for hit in results}) == 1


def test_k_is_the_most_and_fewer_come_only_where_fewer_match(films):
    for k in (1, 5, 12, 13, 10_000):
        assert len(films.search("music", k=k)) == min(k, 12)


def test_depth_is_what_each_leg_hands_on(films):
    results = films.search("old man", k=3, depth=3)
    assert len(results) == 3
    assert all(leg is None or leg.rank <= 3 for hit in results for leg in hit.legs.values())


# ---------------------------------------------------------------- many at once


def test_many_queries_at_once_answer_like_one_by_one(settings, fakes):
    documents = [Document(name, text) for name, text in FILMS.items()]
    Indexer.open("c", settings=settings, sparse="qdrant/bm25-engine", dense="fake/dense").index(documents)
    with Searcher.open("c", settings=settings) as films:
        check_many_at_once(films)


def check_many_at_once(films):
    for options in ({}, {"mode": "sparse"}, {"mode": "dense", "k": 3}, {"weights": {"dense": 0.5}, "rrf_k": 10}):
        together = films.search_many(QUERIES, **options)
        for query, results in zip(QUERIES, together, strict=True):
            one = films.search(query, **options)
            assert results.query == query
            assert [hit.doc_id for hit in results] == [hit.doc_id for hit in one]
            assert [hit.score for hit in results] == pytest.approx([hit.score for hit in one], rel=1e-5)
    assert films.search_many([]) == []
    twice = films.search_many(["music", "music"])
    assert without_times(twice[0]) == without_times(twice[1])


def test_threads_and_coroutines_get_the_same_answers(films):
    expected = {query: without_times(films.search(query)) for query in QUERIES}
    with ThreadPoolExecutor(8) as pool:
        for query, results in zip(QUERIES * 10, pool.map(films.search, QUERIES * 10), strict=True):
            assert without_times(results) == expected[query]

    async def all_at_once():
        return await asyncio.gather(*(films.asearch(query, k=10) for query in QUERIES))

    for query, results in zip(QUERIES, asyncio.run(all_at_once()), strict=True):
        assert without_times(results) == expected[query]


# ---------------------------------------------------------------- what comes back


def test_the_shape_of_results(films):
    results = films.search("Mozart", k=2)
    shown = results.to_dict()
    assert list(shown) == ["query", "collection", "mode", "k", "timings_ms", "hits", "confidence"]
    assert (shown["query"], shown["collection"], shown["mode"], shown["k"]) == ("Mozart", "films", "hybrid", 2)
    assert list(shown["timings_ms"]) == ["encode", "retrieve", "fuse", "rerank", "total"]
    stages = {name: value for name, value in results.timings_ms.items() if name != "total"}
    assert results.timings_ms["total"] >= sum(stages.values())  # reading the passages counts only there
    assert all(value >= 0 for value in stages.values())
    assert (stages["encode"] > 0, stages["retrieve"] > 0, stages["rerank"]) == (True, True, 0.0)
    best, second = shown["hits"]
    assert (best["rank"], best["doc_id"], best["title"]) == (1, "amadeus", "Amadeus")
    assert best["metadata"] == {"letters": 7}
    [chunk] = best["chunks"]
    marks, window = chunk.pop("highlights"), chunk.pop("window")
    assert chunk == {"chunk_id": "amadeus#0", "start": 0, "end": len(FILMS["amadeus"]), "text": FILMS["amadeus"]}
    assert window == {"start": 0, "end": len(FILMS["amadeus"])}
    assert {FILMS["amadeus"][mark["start"] : mark["end"]] for mark in marks if mark["kind"] == "literal"} == {"Mozart"}
    assert best["legs"]["sparse"]["rank"] == best["legs"]["dense"]["rank"] == 1
    assert best["rerank_score"] is None
    assert second["legs"]["sparse"] is None
    assert json.loads(json.dumps(shown)) == shown
    assert (results[0].doc_id, len(results), [hit.rank for hit in results]) == ("amadeus", 2, [1, 2])


def test_a_collection_with_one_leg_says_which_mode_it_was_searched_in(bm25):
    searcher = bm25([Document("a", "red apples"), Document("b", "green pears")])
    for mode in ("hybrid", "sparse"):
        results = searcher.search("apples", mode=mode)
        assert results.mode == "sparse"
        assert results[0].legs["sparse"].rank == 1
        assert results[0].legs["dense"] is None
    with pytest.raises(InvalidArgument, match=r"no 'dense' leg.*--mode sparse"):
        searcher.search("apples", mode="dense")


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, InvalidArgument, "k is 0"),
        ({"k": -3}, InvalidArgument, "k is -3"),
        ({"k": 10_001}, InvalidArgument, "10,000"),
        ({"k": 5, "depth": 4}, InvalidArgument, "depth is 4"),
        ({"depth": 10_001}, InvalidArgument, "depth is 10001"),
        ({"mode": "lexical"}, InvalidArgument, "no 'lexical' leg.*--mode hybrid, sparse or dense"),
        ({"weights": {"sprase": 1.0}}, FusionError, "sprase"),
        ({"weights": {"sparse": -1.0}}, FusionError, "-1.0"),
        ({"weights": {"sparse": float("nan")}}, FusionError, "nan"),
        ({"weights": {"sparse": 0, "dense": 0}}, FusionError, "weight 0"),
        ({"rrf_k": -1}, FusionError, "rrf_k is -1"),
        ({"rrf_k": float("inf")}, FusionError, "rrf_k is inf"),
    ],
)
def test_what_cannot_be_meant_is_refused(films, options, error, message):
    with pytest.raises(error, match=message):
        films.search("music", **options)


NAN = float("nan")
WRONG = {
    "k": ["3", True, 2.0, NAN, None, [3], 1e3, b"3", 10**30],
    "offset": ["0", True, 0.5, None, -1],
    "depth": ["100", True, 100.0, 0, NAN, []],
    "mode": [[], 3, None, b"hybrid", {"sparse": 1}],
    "fusion": ["RRF", 3, [], b"rrf"],
    "rrf_k": ["60", True, NAN, [60], -0.5, 1j],
    "weights": [
        {},
        [],
        "much",
        2.0,
        True,
        {"sparse": "1"},
        {"sparse": True},
        {"sparse": None},
        {"sparse": NAN},
        {3: 1},
    ],
    "rerank": [3, "", [], {}, b"x", 0.5],
    "rerank_depth": ["50", True, 50.0, 0],
    "rerank_budget_ms": ["200", True, 0, -1, NAN, []],
    "where": [123, True, [], {}, {"a": 1}, b"a = 1", "", "a >"],
    "fold": ["yes", 1, None, []],
    "highlight": [1, "no", None],
    "explain": [0, "x", None],
    "min_confidence": ["0.5", True, 0, 1.1, NAN, []],
    "min_score": [3, True, [], {}, "", "dense", {"dense": "1"}, {"dense": NAN}, {3: 1}],
}


@pytest.mark.parametrize(("option", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_an_option_of_another_type_is_refused_by_name(films, option, value):
    given = {"rerank": True} if option == "rerank_budget_ms" else {}
    for ask in (films.search, films.explain):
        with pytest.raises(InvalidArgument) as caught:
            ask("music", *([next(iter(FILMS))] if ask == films.explain else []), **{**given, option: value})
        named = {"weights": "weight", "where": "filter", "min_score": "min_score"}.get(option, f"{option} is ")
        assert named in str(caught.value)


@pytest.mark.parametrize("value", [np.int64(3), np.int32(3)])
def test_whole_numbers_of_numpy_are_whole_numbers(films, value):
    results = films.search("music", k=value, offset=np.int64(0), depth=np.int64(50), rrf_k=np.float32(60))
    assert type(results.k) is int
    assert len(json.loads(json.dumps(results.to_dict()))["hits"]) == 3


@pytest.mark.parametrize("query", [None, 3, 3.5, True, b"music", ["music"], {"query": "music"}, object()])
def test_a_query_that_is_no_text_is_refused(films, query):
    for ask in (
        lambda: films.search(query),
        lambda: films.search_many(["music", query]),
        lambda: films.explain(query, "jaws"),
        lambda: films.expansion(query, "sparse"),
        lambda: asyncio.run(films.asearch(query)),
    ):
        with pytest.raises(InvalidArgument, match=r"(The query|queries\[1\]) is .*; it must be a text"):
            ask()


@pytest.mark.parametrize("queries", ["lantern", b"lantern", "", None, 3, {"lantern": 1}])
def test_several_queries_are_a_list(films, queries):
    for ask in (lambda: films.search_many(queries), lambda: asyncio.run(films.asearch_many(queries))):
        with pytest.raises(InvalidArgument, match="queries is ") as caught:
            ask()
        if isinstance(queries, str):
            assert f"search_many([{queries!r}]), or search({queries!r}) for one" in str(caught.value)
    assert [len(results) for results in films.search_many(query for query in ("music", "sea"))] == [10, 10]
    assert len(films.search_many(("music", "sea"), k=1)) == 2
    assert films.search_many([]) == []


def test_a_document_s_id_and_a_leg_are_texts(films):
    for doc_id in (None, 3, b"x", ["x"]):
        with pytest.raises(InvalidArgument, match="doc_id is "):
            films.explain("music", doc_id)
    for leg in (None, 3, ["sparse"]):
        with pytest.raises(InvalidArgument, match="leg is "):
            films.expansion("music", leg)


def test_a_query_of_a_million_letters_is_read_as_far_as_the_models_read(films):
    long = "music " * 170_000
    assert len(films.search(long, k=3)) == 3
    assert len(films.search(long.replace(" ", "\0"), k=3).hits) <= 3


@pytest.mark.parametrize("query", ["", " \t\n", "\u3000"])
def test_an_empty_query_is_refused(films, query):
    with pytest.raises(InvalidArgument, match="query is empty"):
        films.search(query)
    with pytest.raises(InvalidArgument, match="query is empty"):
        films.search_many(["fine", query])


@pytest.mark.parametrize("query", ["\ud800 music", "music \0", "漢字 ünï 🎬", "music " * 20_000])
def test_odd_queries_are_answered(films, query):
    assert len(films.search(query, k=3)) == 3


def test_a_word_too_long_for_the_vocabulary_is_not_known(films):
    results = films.search("a" * 200_000, k=3)
    assert len(results) == 0
    assert set(results.abstained) == {"dense"}
    assert films.search("music " + "a" * 200_000, k=3).unread == {"dense": ("a" * 40 + "…",)}


# ---------------------------------------------------------------- filters


@pytest.mark.parametrize("mode", ["hybrid", "sparse", "dense"])
def test_a_filter_is_applied_in_every_leg_and_a_text_is_the_same_as_its_tree(films, mode):
    text = "letters > 5 and not title ~ 'amadeus'"
    tree = And((Compare("letters", ">", 5), Not(Match("title", "~", "amadeus"))))
    results = films.search("a film about music", where=text, mode=mode)
    assert without_times(results) == without_times(films.search("a film about music", where=tree, mode=mode))
    found = {hit.doc_id for hit in results}
    wanted = {name for name in FILMS if len(name) > 5 and name != "amadeus"}
    assert found <= wanted
    if mode != "sparse":
        assert found == wanted
        assert sorted(hit.legs["dense"].rank for hit in results) == list(range(1, len(wanted) + 1))
    many = films.search_many(["music", "space"], where=tree, mode=mode)
    assert [hit.doc_id for hit in many[1]] == [hit.doc_id for hit in films.search("space", where=text, mode=mode)]


def test_a_filter_that_lets_nothing_pass_finds_nothing(films):
    assert len(films.search("music", where="letters > 1000")) == 0


def test_more_hits_than_the_depth_are_looked_for_behind_a_filter(bm25):
    documents = [Document(f"d{n}", "the same words", metadata={"n": n}) for n in range(60)]
    results = bm25(documents).search("words", k=10, depth=10, where="n >= 40")
    assert sorted(hit.metadata["n"] for hit in results) == list(range(40, 50))


@pytest.mark.parametrize("where", ["letters >", "", "lettres > 5", 7, Compare("lettres", "=", 1)])
def test_a_filter_that_cannot_be_meant_is_refused(films, where):
    with pytest.raises(FilterError):
        films.search("music", where=where)


def test_an_unknown_collection_is_named_with_its_neighbours(films, place):
    with pytest.raises(CollectionNotFound) as caught:
        Searcher.open("fims", settings=place)
    assert caught.value.near == ("films",)


@pytest.mark.parametrize("mode", ["hybrid", "sparse", "dense"])
def test_a_closed_searcher_says_so(films, place, mode):
    searcher = Searcher.open("films", settings=place)
    searcher.search("music")
    searcher.close()
    searcher.close()
    with pytest.raises(StoreError, match=r"closed.*Searcher\.open"):
        searcher.search("music", mode=mode)


def test_other_models_than_the_manifests_are_refused_by_name(tmp_path):
    settings = Settings(store=str(tmp_path / "store"), cache_dir=tmp_path / "cache")
    Indexer.open("words", settings=settings, **BM25).index([Document("a", "a drummer")])
    with Searcher.open("words", settings=settings, **BM25) as searcher:
        assert len(searcher.search("drummer")) == 1
    with pytest.raises(ManifestMismatch, match=r"'qdrant/bm25-engine', not with 'Qdrant/bm25'.*--replace"):
        Searcher.open("words", settings=settings, sparse="Qdrant/bm25")
    with pytest.raises(ManifestMismatch, match="built with the dense model 'none'"):
        Searcher.open("words", settings=settings, dense="BAAI/bge-small-en-v1.5")
    with pytest.raises(ManifestMismatch, match="not with 'bundled/minilm-splade'"):
        Searcher.open("words", settings=settings, profile="bundled")


class Instead:
    """A reader with some methods of its own."""

    def __init__(self, reader, **methods):
        self._reader = reader
        self.__dict__.update(methods)

    def __getattr__(self, name):
        return getattr(self._reader, name)


@pytest.mark.parametrize(
    "options",
    [{}, {"explain": True}, {"fold": True}, {"fold": True, "k": 2, "offset": 3}, {"weights": "auto"}],
    ids=str,
)
def test_the_payload_of_a_chunk_is_read_once_a_query_and_a_hit_is_made_once(films, options, monkeypatch):
    """Near-duplicates, evidence and the hits themselves read the same texts."""
    opened, read, made = films._latest.opened, [], []
    reader = opened.reader

    def payloads(chunk_ids):
        read.extend(chunk_ids)
        return reader.payloads(chunk_ids)

    check = DocumentHit.__init__
    monkeypatch.setattr(DocumentHit, "__init__", lambda hit, **fields: (made.append(hit), check(hit, **fields))[1])
    watched = Searcher("films", Instead(reader, payloads=payloads), ModelSet("custom", opened.encoders))
    results = watched.search(QUERIES[0], **options)
    assert len(read) == len(set(read)) > 0
    assert len(made) == len(results) > 0
    assert all(passage.highlight for hit in results for passage in hit.passages)


def test_a_vector_finds_what_a_search_of_its_leg_finds(films):
    vector = films._latest.opened.encoders["dense"].encode_queries([QUERIES[0]])[0]
    for options in ({}, {"k": 3, "offset": 1}, {"where": "letters > 5"}, {"fold": True}):
        wanted = films.search(QUERIES[0], mode="dense", highlight=False, **options)
        for given in (vector, vector.tolist()):
            found = films.search_by_vector(given, **options)
            assert found.hits == wanted.hits
        assert films.search_by_vector(vector, "dense", request=SearchRequest(**options)).hits == wanted.hits


@pytest.mark.parametrize(
    ("vector", "options", "message"),
    [
        ([0.0] * 384, {"explain": True}, "takes the text of a query"),
        ([0.0] * 384, {"rerank": True}, "takes the text of a query"),
        ("music", {}, "The vector is 'music'; it must be a list of numbers"),
        ([0.0] * 3, {}, "3"),
        ([0.0] * 384, {"k": 0}, "k is 0"),
    ],
)
def test_a_vector_that_does_not_fit_is_refused(films, vector, options, message):
    with pytest.raises(InvalidArgument, match=message):
        films.search_by_vector(vector, **options)


def test_a_request_is_taken_instead_of_keywords_and_is_not_checked_again(films, monkeypatch):
    request = SearchRequest(k=2, mode="sparse", where="letters > 3", weights="auto")
    wanted = films.search("music", k=2, mode="sparse", where="letters > 3", weights="auto").hits
    monkeypatch.setattr(SearchRequest, "__post_init__", lambda request: pytest.fail("checked again"))
    assert films.search("music", request=request).hits == wanted
    assert [one.hits for one in films.search_many(["music"], request=request)] == [wanted]
    assert asyncio.run(films.asearch("music", request=request)).hits == wanted
    assert films.explain("music", wanted[0].doc_id, request=request).rank == 1
    with pytest.raises(InvalidArgument, match="k and a request are given"):
        films.search("music", k=3, request=request)
    with pytest.raises(InvalidArgument, match="request is 3; it must be a SearchRequest"):
        films.search("music", request=3)


def test_follow_is_the_earlier_name_of_refresh(films, place):
    with pytest.warns(DeprecationWarning, match="refresh"), Searcher.open("films", settings=place, follow=False) as old:
        assert old._latest._renew is None
    with Searcher.open("films", settings=place, refresh=False) as kept:
        assert kept._latest._renew is None


def test_it_looks_no_deeper_where_there_are_no_other_documents(tmp_path):
    settings = Settings(store=str(tmp_path / "store"), cache_dir=tmp_path / "cache")
    words = " ".join(f"drummer number{n}." for n in range(200))
    report = Indexer.open("one", settings=settings, chunk_tokens=16, **BM25).index([Document("a", words)])
    assert report.chunks > 20
    with Searcher.open("one", settings=settings, **BM25) as searcher:
        opened, limits = searcher._latest.opened, []
        reader = opened.reader

        def retrieve(requests, limit, where=None):
            limits.append(limit)
            return reader.retrieve(requests, limit, where)

        watched = Searcher("one", Instead(reader, retrieve=retrieve), ModelSet("custom", opened.encoders))
        assert len(watched.search("drummer", k=10, depth=10)) == 1
    assert limits[0] == CONFIDENCE_DEPTH + TIE_MARGIN
    assert 40 + TIE_MARGIN not in limits  # four times the depth, for more documents


@pytest.mark.parametrize(
    ("where", "note"),
    [
        ("zip = 90210", "zip holds texts, which 90210 never equals: write texts and dates in quotes."),
        ("zip in (1234, 90210)", "zip holds texts, which 1234 or 90210 never equals"),
        ("year = '1984'", "year holds numbers, which '1984' never equals: write numbers without quotes."),
        ("year > '1984-01-01'", "year holds numbers"),
        ("seen = 'true'", "seen holds truth values, which 'true' never equals: write true or false without quotes."),
        ("seen = 1", "seen holds truth values"),
        ("day > 2024", "day holds texts"),
        ("zip = '00000'", ""),
        ("year = 1", ""),
    ],
)
def test_a_filter_of_another_kind_than_the_field_is_told(settings, fakes, where, note):
    row = {"_id": "a", "text": "a text", "zip": "90210", "year": 1984, "seen": True, "day": "2024-05-06"}
    Indexer.open("c", settings=settings, sparse="fake/both", dense="fake/both").index([row])
    with Searcher.open("c", settings=settings) as searcher:
        results = searcher.search("text", where=where)
        assert len(results) == 0
        assert (note in "".join(results.notes)) if note else not results.notes
        assert results.to_dict().get("notes", []) == list(results.notes) == list(results.remarks())
        assert searcher.search("text", where=f"not ({where})").notes == ()
