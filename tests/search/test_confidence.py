"""The confidence of searches, the least confidence and the least scores, on a collection of films."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from hybrid_search.errors import InvalidArgument
from hybrid_search.indexer import Indexer
from hybrid_search.ranking.confidence import DEPTH
from hybrid_search.results import Confidence, Results
from hybrid_search.search.handed_on import read_least_scores, share_read
from hybrid_search.search.request import SearchRequest
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings

MOVIES = Path(__file__).parents[2] / "datasets" / "movies" / "corpus.jsonl"
ASKED = "a film about music"
FOREIGN = "quarterly depreciation of municipal bonds under the amended tax statute"


@pytest.fixture(scope="module")
def films(tmp_path_factory, model_cache):
    place = Settings(store=str(tmp_path_factory.mktemp("confidence")), cache_dir=model_cache)
    rows = [json.loads(line) for line in MOVIES.read_text(encoding="utf-8").splitlines()[:120]]
    rows = [{"id": row["_id"], "text": row["text"], "year": row["metadata"]["year"]} for row in rows]
    Indexer.open("films", settings=place, profile="bundled", legs=("sparse", "dense", "bm25")).index(rows)
    with Searcher.open("films", settings=place) as searcher:
        yield searcher


def ids(results):
    return [hit.doc_id for hit in results]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse", "sparse+dense"])
def test_a_query_for_another_collection_has_less_confidence_than_an_own_one(films, mode):
    own, foreign = films.search_many([ASKED, FOREIGN], mode=mode)
    assert own.confidence.value > foreign.confidence.value
    assert foreign.confidence.word == "low"


def test_it_depends_on_nothing_but_what_is_found(films):
    wanted = films.search(ASKED).confidence
    for options in (
        {"k": 1}, {"k": 100}, {"offset": 20}, {"depth": 10}, {"depth": 120}, {"fusion": "minmax"}, {"explain": True},
        {"fold": True}, {"weights": "auto"}, {"min_score": {"dense": 0.99}}, {"min_confidence": 1.0},
    ):  # fmt: skip
        assert films.search(ASKED, **options).confidence == wanted, options
    assert films.search_many(["space", ASKED])[1].confidence == wanted
    assert films.search_by_vector(films._latest.opened.encoders["dense"].encode_queries([ASKED])[0]).confidence == (
        films.search(ASKED, mode="dense").confidence
    )


def test_a_search_that_is_not_deep_finds_what_it_found_before(films):
    deep = films.search(ASKED, mode="dense", k=DEPTH + 10)
    for depth in (1, 3, 49, 51):
        assert ids(films.search(ASKED, mode="dense", k=1, depth=depth)) == ids(deep)[:1]
    legs = {leg for hit in films.search(ASKED, k=3, depth=3, mode="sparse+dense") for leg in hit.legs.values() if leg}
    assert max(leg.rank for leg in legs) <= 3


def test_legs_that_abstain_do_not_count(films):
    assert films.search("猫猫", mode="hybrid").confidence in (None, Confidence(0.0, "low"))
    partly = films.search(f"{ASKED} 猫猫猫猫猫猫猫猫猫猫")
    assert partly.confidence.value < films.search(ASKED).confidence.value
    given = films.search("", vector={"music": 2.0}, mode="sparse+dense")
    assert given.abstained.keys() == {"dense"}
    assert given.confidence == films.search("", vector={"music": 2.0}, mode="sparse").confidence


def test_nothing_found_is_low_and_is_not_said_twice(films):
    nothing = films.search(ASKED, where="year > 3000")
    assert (len(nothing), nothing.confidence) == (0, Confidence(0.0, "low"))
    assert not any("good answer" in remark for remark in nothing.remarks())


def test_where_nothing_tells_it_hits_are_shown(films):
    for options in ({"mode": "bm25"}, {"where": "year = 1927"}):
        found = films.search("a man and a woman", min_confidence=1.0, **options)
        assert found.confidence is None
        assert "confidence" not in found.to_dict()
        assert len(found)


def test_a_low_confidence_is_told_with_the_hits(films):
    found = films.search(FOREIGN)
    [remark] = found.remarks()
    assert remark == f"Probably no good answer: the confidence is {found.confidence.value:.2f}."
    assert found.to_dict()["confidence"] == {"value": found.confidence.value, "word": "low"}
    assert not films.search("a vampire count travels to a German town").remarks()


def test_below_the_least_confidence_no_hits_are_shown_and_it_is_said_why(films):
    found = films.search(FOREIGN, min_confidence=0.99)
    value = found.confidence.value
    assert (len(found), found.notes) == (
        0, (f"No hits are shown: the confidence is {value:.2f}, and 0.99 is wanted (min_confidence).",),
    )  # fmt: skip
    assert found.remarks() == found.notes
    assert ids(films.search(FOREIGN, min_confidence=value)) == ids(films.search(FOREIGN))
    assert len(films.search(FOREIGN, min_confidence=0.99, offset=5_000)) == 0
    shown = ids(films.search(FOREIGN))[0]
    told = films.explain(FOREIGN, shown, min_confidence=0.99)
    assert (told.verdict, told.reason) == ("withheld", found.notes[0])
    assert films.explain(FOREIGN, shown).verdict == "shown"


def test_hits_below_a_leg_s_least_score_are_not_handed_on(films):
    whole = films.search(ASKED, k=100)
    dense = sorted((hit.legs["dense"].score for hit in whole if hit.legs["dense"]), reverse=True)
    found = films.search(ASKED, k=100, min_score=f"dense={dense[4]!r}")
    assert all(hit.legs["dense"].score >= dense[4] for hit in found if hit.legs["dense"])
    assert sum(hit.legs["dense"] is not None for hit in found) == 5
    assert {hit.doc_id for hit in found if hit.legs["sparse"]} == {hit.doc_id for hit in whole if hit.legs["sparse"]}
    alone = films.search(ASKED, mode="dense", k=100, min_score={"dense": dense[4], "bm25": 3})
    assert len(alone) == 5
    nothing = films.search(ASKED, mode="dense", min_score={"dense": 2.0})
    assert (len(nothing), nothing.notes) == (0, ("Hits below these scores are not handed on (min_score): dense 2.",))


def test_an_explanation_says_that_a_score_is_below_the_least_one(films):
    last = films.search(ASKED, mode="dense", k=50)[49]
    told = films.explain(ASKED, last.doc_id, mode="dense", k=50, min_score={"dense": last.score + 0.01})
    assert told.verdict == "below depth"
    assert "min_score" in told.reason
    assert told.legs["dense"].handed_on is False


def test_a_least_score_for_a_leg_that_is_not_there_is_refused(films):
    with pytest.raises(InvalidArgument, match=r"min_score names the leg 'words', but the legs of 'films' are: "):
        films.search(ASKED, min_score={"words": 1})
    with pytest.raises(InvalidArgument, match="min_score names the leg 'words'"):
        films.search_by_vector([0.1] * 384, min_score={"words": 1})


@pytest.mark.parametrize(
    "wrong", [{}, "", "dense", "dense=x", 3, True, [1], {"dense": math.nan}, {"dense": "1"}, {1: 2}, "dense=inf"]
)
def test_invalid_least_scores_are_refused_by_name(wrong):
    with pytest.raises(InvalidArgument, match="min_score"):
        SearchRequest(min_score=wrong)


def test_least_scores_are_read_from_a_text():
    assert read_least_scores("sparse=8, dense=-0.3") == {"sparse": 8.0, "dense": -0.3}
    assert SearchRequest(min_score="dense=0.25").least_scores == {"dense": 0.25}
    assert SearchRequest().least_scores == {}


@pytest.mark.parametrize(
    ("query", "unread", "share"),
    [
        ("", [], 1.0),
        ("  ", [["猫"]], 1.0),
        ("猫", [["猫"]], 0.0),
        ("ab 猫猫", [["猫猫"], []], 0.75),
        ("a", [["bcd"]], 0.0),
    ],
)
def test_the_share_of_a_query_that_is_read(query, unread, share):
    assert share_read(query, unread) == share


def test_results_without_a_confidence_have_no_key():
    assert "confidence" not in Results("q", "c", "dense", 10, (), {}).to_dict()


def test_an_agent_is_told_of_a_low_confidence(films):
    pytest.importorskip("mcp", reason="needs the extra 'mcp'")
    from hybrid_search.integrations.mcp import formatting, rendering

    for options, said in (({}, "Probably no good answer: "), ({"min_confidence": 0.99}, "No hits are shown: ")):
        results = films.search(FOREIGN, **options)
        found = rendering.shown_results(results, rendering.shown_hits(results), 500, len(results))
        assert said in formatting.found_text(found, results)
        assert found["confidence"] == {"value": results.confidence.value, "word": "low"}
