"""Re-ranking: what is scored, in which order it ends, how far it comes in its time, and what cannot be loaded."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from hybrid_search.encoders import catalog
from hybrid_search.errors import InvalidArgument, MissingExtra, ModelError, ModelUnavailable, UnknownModel
from hybrid_search.indexer import Indexer
from hybrid_search.search import rerank
from hybrid_search.search.request import SearchRequest
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.types import Document, Hit, ModelCard
from tests import hub_models

BM25 = {"sparse": "qdrant/bm25-engine", "dense": "none"}
RIVERS = [Document(f"d{n}", "river " * (9 - n) + f"stone{n}", title=f"T{n}") for n in range(8)]
NAME = "fake/reader"


class Reader:
    """A re-ranker that likes long ids of stones, remembers what it read, and takes its time on a clock of its own."""

    card = ModelCard(NAME, "reranker", "bundled", "cross_encoder")

    def __init__(self, seconds_a_text=0.0, scores=None):
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self.warmed = 0
        self.now = 100.0
        self._seconds, self._scores = seconds_a_text, scores

    def warm_up(self):
        self.warmed += 1
        self.now += 1000

    def score(self, query, texts):
        if query != "warm":
            self.calls.append((query, tuple(texts)))
        self.now += self._seconds * len(texts)
        if self._scores is not None or query == "warm":
            return np.array([self._scores or 0.0] * len(texts), np.float32)
        return np.array([float(text.rpartition("stone")[2]) for text in texts], np.float32)

    def clock(self):
        return self.now


@pytest.fixture
def reader(monkeypatch):
    """The fake re-ranker, in the catalogue."""
    made = Reader()
    load = rerank.load
    monkeypatch.setattr(catalog, "CARDS", (*catalog.CARDS, Reader.card))
    monkeypatch.setattr(rerank, "load", lambda card, **o: made if card.name == NAME else load(card, **o))
    return made


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no-hub"))
    return tmp_path / "no-hub"


@pytest.fixture
def rivers(settings):
    Indexer.open("rivers", settings=settings, **BM25).index(RIVERS)
    with Searcher.open("rivers", settings=settings) as searcher:
        yield searcher


def ids(results):
    return [hit.doc_id for hit in results]


# ---------------------------------------------------------------- the order, and what a hit tells


def test_the_first_documents_are_put_in_the_order_of_its_scores(rivers, reader):
    plain = rivers.search("river")
    assert ids(plain) == [f"d{n}" for n in range(8)]
    assert (plain.reranker, plain.reranked, plain.rerank_depth) == ("", 0, 0)
    assert [(hit.fused_rank, hit.rerank_score) for hit in plain] == [(None, None)] * 8

    found = rivers.search("river", rerank=NAME, rerank_depth=3)
    assert ids(found) == ["d2", "d1", "d0", "d3", "d4", "d5", "d6", "d7"]
    assert [hit.rank for hit in found] == list(range(1, 9))
    assert [hit.fused_rank for hit in found] == [3, 2, 1, 4, 5, 6, 7, 8]
    assert [hit.rerank_score for hit in found] == [2.0, 1.0, 0.0] + [None] * 5
    assert (found.reranker, found.reranked, found.rerank_depth) == (NAME, 3, 3)
    by_id = {hit.doc_id: hit for hit in plain}
    assert all(hit.score == by_id[hit.doc_id].score and hit.legs == by_id[hit.doc_id].legs for hit in found)
    assert found.run_scores() == [1 / rank for rank in range(1, 9)]


def test_it_reads_title_and_text_of_the_best_chunk(rivers, reader):
    rivers.search("river", rerank=NAME, rerank_depth=2)
    assert reader.calls == [("river", ("T0\n" + RIVERS[0].text, "T1\n" + RIVERS[1].text))]
    assert reader.warmed == 1


def test_of_a_document_with_many_chunks_the_best_is_read(settings, reader):
    text = "\n\n".join(["sea " * 60 + "stone1", "river river river stone7", "sea " * 60 + "stone3"])
    Indexer.open("long", settings=settings, chunk_tokens=64, **BM25).index([Document("long", text)])
    with Searcher.open("long", settings=settings) as searcher:
        found = searcher.search("river", rerank=NAME)
    ((_, (read,)),) = reader.calls
    assert "river" in read
    assert read == found[0].passages[0].text


def test_documents_beyond_k_are_read_too_and_may_come_up(rivers, reader):
    found = rivers.search("river", k=1, rerank=NAME)
    assert ids(found) == ["d7"]
    assert (found[0].fused_rank, found.reranked, found.rerank_depth) == (8, 8, 8)


def test_a_depth_below_k_is_no_error(rivers, reader):
    assert ids(rivers.search("river", k=5, rerank=NAME, rerank_depth=2)) == ["d1", "d0", "d2", "d3", "d4"]


def test_where_chunks_of_a_few_fill_the_legs_it_looks_deep_enough(settings, reader):
    many = Document("many", "\n\n".join("river " * 70 + f"stone{n}" for n in range(120)))
    reader._scores = 0.5
    Indexer.open("deep", settings=settings, chunk_tokens=64, **BM25).index([many, *RIVERS])
    with Searcher.open("deep", settings=settings) as searcher:
        found = searcher.search("river", k=1, rerank=NAME, rerank_depth=9)
    assert found.rerank_depth == 9


def test_a_depth_that_was_asked_for_bounds_what_is_read(rivers, reader):
    assert rivers.search("river", k=2, depth=3, rerank=NAME).rerank_depth == 3


@pytest.mark.parametrize(
    ("options", "deep", "wanted"),
    [
        ({}, 100, 10),
        ({"k": 200}, 200, 200),
        ({"rerank": True}, 100, 50),
        ({"rerank": True, "rerank_depth": 300}, 300, 300),
        ({"rerank": True, "depth": 20}, 20, 20),
        ({"rerank": True, "k": 60, "depth": 80}, 80, 60),
    ],
)
def test_how_deep_it_looks(options, deep, wanted):
    request = SearchRequest(**options)
    assert (request.effective_depth, request.candidates_needed) == (deep, wanted)


def test_one_loading_serves_many_queries_and_its_time_is_told(rivers, reader):
    answers = rivers.search_many(["river", "stone3", "zzz"], rerank=NAME)
    assert [one.reranked for one in answers] == [8, 1, 0]
    assert [one.reranker for one in answers] == [NAME] * 3
    assert answers[0].timings_ms["rerank"] > 0
    assert answers[0].timings_ms["total"] >= sum(
        answers[0].timings_ms[stage] for stage in ("encode", "retrieve", "fuse", "rerank")
    )
    assert ids(asyncio.run(rivers.asearch("river", rerank=NAME))) == ids(answers[0])
    assert reader.warmed == 1


def test_json_tells_how_far_it_came_and_has_no_new_keys_without(rivers, reader):
    plain, found = rivers.search("river").to_dict(), rivers.search("river", rerank=NAME, rerank_depth=3).to_dict()
    assert (found["reranker"], found["reranked"], found["rerank_depth"]) == (NAME, 3, 3)
    assert found["hits"][0]["fused_rank"] == 3
    assert set(found) - set(plain) == {"reranker", "reranked", "rerank_depth"}
    assert set(found["hits"][0]) - set(plain["hits"][0]) == {"fused_rank"}


def test_a_score_that_is_no_number_is_an_error(rivers, reader):
    reader._scores = float("nan")
    with pytest.raises(ModelError, match=r"fake/reader gave a score that is not a number for the query 'river'"):
        rivers.search("river", rerank=NAME)


# ---------------------------------------------------------------- the budget


def documents(count):
    return [(Hit(f"d{n}#0", n + 1, 1 / (n + 1)),) for n in range(count)]


def payloads(chunk_ids):
    return {
        one: {"doc_id": one[:-2], "number": 0, "title": "", "text": f"stone{one[1:-2]}", "start": 0, "end": 6}
        for one in chunk_ids
    }


def within(budget_ms, seconds_a_text, count=40):
    reader = Reader(seconds_a_text)
    request = SearchRequest(rerank=True, rerank_budget_ms=budget_ms, rerank_depth=30)
    start = reader.now
    found = rerank.rerank_documents("q", documents(count), payloads, reader, request, reader.clock)
    return found, (reader.now - start) * 1e3, reader


@pytest.mark.parametrize(("budget_ms", "most"), [(100, 10), (250, 25), (55, 5), (10_000, 30)])
def test_it_stops_in_time_in_rank_order(budget_ms, most):
    found, took_ms, reader = within(budget_ms, seconds_a_text=0.01)
    assert took_ms <= budget_ms
    assert 1 <= found.scored <= most
    assert found.scored >= most // 2
    assert found.candidates == 30
    read = [text for _, texts in reader.calls for text in texts]
    assert read == [f"stone{n}" for n in range(found.scored)]
    assert [placed.fused_rank for placed in found.documents[: found.scored]] == list(range(found.scored, 0, -1))
    assert [placed.fused_rank for placed in found.documents[found.scored :]] == list(range(found.scored + 1, 41))
    assert max(len(texts) for _, texts in reader.calls) <= rerank.BATCH


def test_a_budget_that_one_text_uses_up_scores_one():
    found, _, _ = within(1, seconds_a_text=0.5)
    assert (found.scored, found.candidates) == (1, 30)
    assert [placed.fused_rank for placed in found.documents] == list(range(1, 41))


def test_without_a_budget_everything_is_read_at_once():
    _, _, reader = within(None, seconds_a_text=0.5)
    assert [len(texts) for _, texts in reader.calls] == [30]


def test_longer_texts_are_expected_to_take_longer():
    """0.1 ms a character: the first of 10 takes 1 ms; one of 1,000 would not end in 50 ms, so it is not begun."""

    class ByLength(Reader):
        def score(self, query, texts):
            self.now += 1e-4 * sum(map(len, texts))
            return np.zeros(len(texts), np.float32)

    reader = ByLength()
    texts = ["x" * 10] * 4 + ["x" * 1000] + ["x" * 10]
    assert len(rerank.score_until(reader.now + 0.05, reader, "", texts, reader.clock)) == 4


def test_loading_the_model_is_not_part_of_the_budget(rivers, reader):
    found = rivers.search("river", rerank=NAME, rerank_budget_ms=60_000)
    assert reader.warmed == 1
    assert found.reranked == 8


# ---------------------------------------------------------------- which model


def test_a_folder_with_a_cross_encoder(rivers, tmp_path):
    folder = hub_models.reranker_folder(tmp_path / "cross")
    found = rivers.search("river", rerank=str(folder))
    assert found.reranker == str(folder.resolve())
    assert found.reranked == 8
    scores = [hit.rerank_score for hit in found]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1


def test_the_usual_one_is_the_settings_or_the_catalogues_first(settings, rivers, tmp_path, no_hub):
    first = catalog.cards("reranker")[0]
    assert rerank.default_name(settings) == first.name
    hub_models.in_hub_cache(hub_models.reranker_folder(tmp_path / "one"), no_hub, first.source)
    assert rivers.search("river", rerank=True).reranker == first.name
    folder = hub_models.reranker_folder(tmp_path / "mine", seed=3)
    mine = Settings(store=settings.store, cache_dir=settings.cache_dir, reranker=str(folder))
    with Searcher.open("rivers", settings=mine) as searcher:
        searcher.warm_up(rerank=True)
        assert searcher.search("river", rerank=True).reranker == str(folder)


def test_eight_bits_where_the_settings_say_so(settings, rivers, tmp_path):
    folder = hub_models.reranker_folder(tmp_path / "cross")
    small = Settings(store=settings.store, cache_dir=settings.cache_dir, precision="int8")
    with Searcher.open("rivers", settings=small) as searcher:
        assert searcher.search("river", rerank=str(folder)).reranked == 8
    assert rerank.open_reranker(str(folder), small).precision == "int8"


def test_what_cannot_be_loaded_is_an_error_that_names_the_others(rivers, tmp_path, no_hub):
    with pytest.raises(
        ModelUnavailable, match=r"(?s)MiniLM-L-6-v2\..*not on this machine.*No other re-ranker is on this"
    ):
        rivers.search("river", rerank=True)
    hub_models.in_hub_cache(hub_models.reranker_folder(tmp_path / "one"), no_hub, "Xenova/ms-marco-MiniLM-L-12-v2")
    with pytest.raises(ModelUnavailable, match=r"Re-rankers on this machine: Xenova/ms-marco-MiniLM-L-12-v2\."):
        rivers.search("river", rerank=True)
    assert rivers.search("river", rerank="xenova/ms-marco-minilm-l-12-v2").reranked == 8


def test_a_missing_extra_is_told_with_the_others(rivers, reader, tmp_path, no_hub, monkeypatch):
    def lacking():
        raise MissingExtra("torch", "The model fake/reader")

    monkeypatch.setattr(reader, "warm_up", lacking)
    hub_models.in_hub_cache(hub_models.reranker_folder(tmp_path / "one"), no_hub, "BAAI/bge-reranker-base")
    with pytest.raises(
        ModelUnavailable, match=r"pip install 'hybrid-search-qdrant\[torch\]'.*machine: BAAI/bge-reranker-base\."
    ):
        rivers.search("river", rerank=NAME)


def test_what_is_no_reranker(rivers, tmp_path):
    with pytest.raises(UnknownModel, match=r"Unknown reranker model 'Xenova/ms-marco-MiniLM-L6'.*Did you mean"):
        rivers.search("river", rerank="Xenova/ms-marco-MiniLM-L6")
    with pytest.raises(ModelError, match=r"is a hybrid model; a reranker model was expected"):
        rivers.search("river", rerank="bundled/minilm-splade")
    with pytest.raises(ModelError, match=r"a reranker model was expected"):
        rivers.search("river", rerank=str(hub_models.splade_folder(tmp_path / "splade")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rerank": True, "rerank_depth": 0}, "rerank_depth is 0; it must lie in 1..10,000"),
        ({"rerank": True, "rerank_budget_ms": 0}, "rerank_budget_ms is 0; it must be a number of milliseconds > 0"),
        ({"rerank": True, "rerank_budget_ms": float("nan")}, "rerank_budget_ms is nan"),
        ({"rerank_budget_ms": 20}, "rerank_budget_ms is 20, but nothing is re-ranked"),
        ({"rerank": ""}, "rerank is ''; give True, or the name or folder"),
        ({"rerank": 3}, "rerank is 3"),
    ],
)
def test_options_that_cannot_be_meant(rivers, options, message):
    with pytest.raises(InvalidArgument, match=message):
        rivers.search("river", **options)
