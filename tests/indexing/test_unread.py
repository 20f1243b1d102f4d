"""A leg that reads nothing of a query abstains, and says so; chunks that a leg hardly reads are counted."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from hybrid_search import Indexer, Searcher
from hybrid_search.errors import FilterError
from hybrid_search.indexing.add_leg import add_leg
from hybrid_search.protocols import Reading
from hybrid_search.results import ABSTAINS
from tests.fake_models import FakeHybrid, words

ROWS = [
    {"_id": "en", "text": "the cat sat on the mat"},
    {"_id": "zh", "text": "猫坐在垫子上"},
    {"_id": "ko", "text": "고양이 ⵣ cat"},
    {"_id": "emoji", "text": "🎉🎈"},
    {"_id": "thai", "text": "แมวนั่งบนเสื่อ"},
]
HARD = ["猫", "고양이", "🎉", "แมว", "ⵣ", "…?!", "\u200b"]


@pytest.fixture
def mixed(settings, bundled):
    """Documents that the bundled model reads, and others, with BM25 beside it."""
    report = Indexer.open("mixed", settings=settings, profile="bundled", legs=["sparse", "dense", "bm25"]).index(ROWS)
    with closing(Searcher.open("mixed", settings=settings)) as searcher:
        yield searcher, report


def test_a_leg_that_reads_nothing_abstains(mixed):
    searcher, _ = mixed
    for query in HARD:
        for mode in ("sparse", "dense", "sparse+dense"):
            results = searcher.search(query, mode=mode)
            assert len(results) == 0, (query, mode)
            assert results.abstained == dict.fromkeys(mode.split("+"), ABSTAINS)
            told = results.to_dict()
            assert told["abstained"] == results.abstained
            assert json.loads(json.dumps(told))["hits"] == []
            assert "abstain" in results.remarks()[0]


def test_the_other_legs_answer(mixed):
    searcher, _ = mixed
    results = searcher.search("고양이")
    assert [hit.doc_id for hit in results] == ["ko"]
    assert results[0].legs["dense"] is None
    assert results[0].legs["bm25"].rank == 1
    assert set(results.abstained) == {"sparse", "dense"}
    assert results.unread == {"sparse": ("고양이",), "dense": ("고양이",)}
    assert "The legs sparse and dense abstain: their model reads nothing of the query." in results.remarks()


def test_what_is_not_known_of_a_query_is_told(mixed):
    searcher, _ = mixed
    results = searcher.search("cat 고양이 ⵣ")
    assert results.abstained == {}
    assert results.unread == {"sparse": ("고양이", "ⵣ"), "dense": ("고양이", "ⵣ")}
    assert results.remarks() == ("Not known to sparse and dense: 고양이, ⵣ.",)
    assert results.to_dict()["unread"] == {"sparse": ["고양이", "ⵣ"], "dense": ["고양이", "ⵣ"]}


def test_nothing_is_said_of_what_is_read(mixed):
    searcher, _ = mixed
    results = searcher.search("the cat on the mat")
    assert (results.abstained, results.unread, results.remarks()) == ({}, {}, ())
    assert not {"abstained", "unread"} & results.to_dict().keys()


def test_a_batch_is_its_queries_one_by_one(mixed):
    searcher, _ = mixed
    queries = ["cat", "猫", "cat 猫", "🎉", "mat"] * 15
    for many, query in zip(searcher.search_many(queries, k=3), queries, strict=True):
        alone = searcher.search(query, k=3)
        assert [hit.doc_id for hit in many] == [hit.doc_id for hit in alone]
        assert (many.abstained, many.unread) == (alone.abstained, alone.unread)


def test_fusion_weights_filters_and_depth_go_with_a_leg_that_abstains(mixed):
    searcher, _ = mixed
    for options in (
        {"weights": "auto"}, {"weights": {"dense": 2.0}}, {"fusion": "dbsf"}, {"fusion": "minmax"},
        {"k": 1, "depth": 1}, {"explain": True}, {"where": "doc_id = 'ko'"}, {"fold": True}, {"highlight": False},
    ):  # fmt: skip
        assert [hit.doc_id for hit in searcher.search("고양이", **options)] == ["ko"], options
    assert len(searcher.search("고양이", weights={"bm25": 0})) == 0
    with pytest.raises(FilterError, match="no document has a field"):
        searcher.search("🎉", mode="dense", where="nothing = 1")
    assert len(searcher.search("🎉", mode="dense", where="doc_id = 'en'")) == 0


def test_it_is_the_reason_that_is_given(mixed):
    searcher, _ = mixed
    why = searcher.explain("🎉", "emoji", mode="dense")
    assert why.verdict == "not found"
    assert why.reason == "The leg dense abstains: its model reads nothing of the query."
    why = searcher.explain("고양이", "en")
    assert why.reason.startswith("No leg finds it: it shares nothing with the query. The legs sparse and dense abstain")
    assert searcher.expansion("猫") == ()
    assert searcher.expansion("cat") != ()


def test_chunks_that_a_leg_hardly_reads_are_counted_and_named(mixed):
    _, report = mixed
    assert report.failed == 0
    assert report.unread == {"sparse": 4, "dense": 4, "bm25": 1}
    assert report.unread_origins["dense"] == ("item 2", "item 3", "item 4", "item 5")
    assert report.unread_origins["bm25"] == ("item 4",)


def test_no_more_than_a_few_are_named(settings, bundled):
    rows = [{"_id": f"d{n}", "text": "🎉" * (n + 1)} for n in range(40)]
    report = Indexer.open("c", settings=settings, profile="bundled").index([*rows, ROWS[0]])
    assert report.unread == {"sparse": 40, "dense": 40}
    assert report.unread_origins["dense"] == tuple(f"item {n}" for n in range(1, 6))
    assert Indexer.open("c", settings=settings).index([*rows, ROWS[0]]).unread == {}


def test_workers_count_them_too(settings, bundled):
    report = Indexer.open("c", settings=settings, profile="bundled").index(ROWS, workers=2)
    assert report.unread == {"sparse": 4, "dense": 4}


def test_a_leg_that_is_added_counts_them(settings, bundled):
    pytest.importorskip("ir_measures")
    Indexer.open("c", settings=settings, profile="bundled", legs=["bm25"]).index(ROWS)
    assert add_leg("c", "new", bundled, kind="dense", settings=settings).unread == {"new": 4}


class Half(FakeHybrid):
    """Knows the words that have an even number of letters."""

    def readings(self, texts):
        return [Reading(len(words(text)), sum(len(word) % 2 for word in words(text))) for text in texts]

    def reading_of_query(self, text):
        return self.readings([text])[0], tuple(word for word in words(text) if len(word) % 2)


def test_any_model_may_tell(settings, fakes, monkeypatch):
    load = fakes.load
    monkeypatch.setattr(fakes, "load", lambda card: Half(card) if card.kind == "hybrid" else load(card))
    indexer = Indexer.open("c", settings=settings, sparse="fake/both", dense="fake/dense")
    report = indexer.index([{"_id": "a", "text": "even odd odd"}, {"_id": "b", "text": "even four"}])
    assert report.unread == {"sparse": 1}
    with closing(Searcher.open("c", settings=settings)) as searcher:
        results = searcher.search("odd")
        assert results.abstained == {"sparse": ABSTAINS}
        assert [hit.legs["sparse"] for hit in results] == [None, None]
        assert searcher.search("odd four").unread == {"sparse": ("odd",)}
