"""The ways to fuse and the weights, asked of a real collection."""

from __future__ import annotations

import pytest

from hybrid_search.errors import FusionError, InvalidArgument
from hybrid_search.indexer import Indexer
from hybrid_search.ranking.fusion import fuse, rank
from hybrid_search.search.request import resolve_mode
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.types import Document

TEXTS = [
    "A documentary follows an English rock band on tour in America.",
    "A young drummer at a music school is driven to the edge by his teacher.",
    "An old composer confesses his envy of Mozart and his music in Vienna.",
    "After a plane crash a man lives alone on an island for four years.",
    "A shark hunts swimmers off a holiday island.",
    "A rat cooks in a Paris restaurant, hidden under a boy's hat.",
]


@pytest.fixture(scope="module")
def films(tmp_path_factory, model_cache):
    place = Settings(store=str(tmp_path_factory.mktemp("fused")), cache_dir=model_cache)
    documents = [Document(f"d{number}", text) for number, text in enumerate(TEXTS)]
    legs = ("sparse", "dense", "bm25")
    Indexer.open("films", settings=place, profile="bundled", legs=legs).index(documents)
    with Searcher.open("films", settings=place) as searcher:
        yield searcher


def alone(films, query, mode):
    """What each leg of a mode says, from searches in it alone."""
    legs = resolve_mode(mode, films.manifest, films.collection)[1]
    found = {leg: films.search(query, mode=leg, k=100) for leg in legs}
    return {leg: rank(leg, [(f"{hit.doc_id}#0", hit.score) for hit in hits], 100) for leg, hits in found.items()}


@pytest.mark.parametrize("mode", ["hybrid", "sparse+dense", "dense+bm25"])
@pytest.mark.parametrize("how", ["rrf", "dbsf", "minmax", "convex"])
@pytest.mark.parametrize("weights", [None, {"dense": 3.0}])
def test_hybrid_is_the_fusion_of_its_legs(films, how, mode, weights):
    for query in ("a film about music", "island"):
        found = films.search(query, k=100, mode=mode, fusion=how, weights=weights)
        expected = fuse(alone(films, query, mode), how, weights=weights, floors={"dense": -1.0})
        assert [hit.doc_id for hit in found] == [hit.doc_id for hit in expected]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], rel=1e-5, abs=1e-6)
        assert found.weights == (weights or {})


@pytest.mark.parametrize("how", ["rrf", "dbsf", "minmax", "convex"])
def test_the_head_of_more_is_fewer(films, how):
    for query in ("music", "alone on an island", "a man"):
        ten, five = (films.search(query, k=k, fusion=how) for k in (6, 3))
        assert [(hit.doc_id, hit.score) for hit in ten][:3] == [(hit.doc_id, hit.score) for hit in five]


def test_many_queries_are_fused_each_by_itself(films):
    queries = ["music", "alone on an island", "cooking"]
    together = films.search_many(queries, fusion="dbsf", weights="auto")
    for query, results in zip(queries, together, strict=True):
        one = films.search(query, fusion="dbsf", weights="auto")
        assert [(hit.doc_id, hit.score) for hit in results] == [(hit.doc_id, hit.score) for hit in one]
        assert results.weights == one.weights


def test_automatic_weights_are_told_and_are_those_of_the_fusion(films):
    found = films.search("cooking", weights="auto")
    assert set(found.weights) == {"sparse", "dense", "bm25"}
    assert found.weights["sparse"] == found.weights["bm25"] < 1 < found.weights["dense"]
    again = films.search("cooking", weights=found.weights)
    assert [(hit.doc_id, hit.score) for hit in again] == [(hit.doc_id, hit.score) for hit in found]
    assert found.to_dict()["weights"] == found.weights
    assert "weights" not in films.search("cooking").to_dict()
    words = "a man who lives on an island for many years after his plane has gone down"
    assert set(films.search(words, weights="auto").weights.values()) == {1.0}


def test_one_leg_has_no_weights_to_choose(films):
    found = films.search("music", mode="dense", weights="auto", fusion="minmax")
    assert found.weights == {}
    assert [hit.score for hit in found] == [hit.score for hit in films.search("music", mode="dense")]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fusion": "magic"}, InvalidArgument, "fusion is 'magic'; take one of: rrf, dbsf, minmax, convex"),
        ({"weights": "much"}, FusionError, "weights is 'much'; give a number by leg, such as sparse=1, or 'auto'"),
        ({"weights": 2.0}, FusionError, "weights is 2.0"),
        ({"weights": {"colour": 1}, "fusion": "dbsf"}, FusionError, "'colour', but the legs are"),
        ({"weights": {"dense": -1}, "fusion": "minmax"}, FusionError, "'dense' is -1"),
        ({"rrf_k": -1}, FusionError, "rrf_k is -1"),
        ({"rrf_k": -1, "mode": "dense"}, FusionError, "rrf_k is -1"),
    ],
)
def test_what_cannot_be_meant(films, options, error, message):
    with pytest.raises(error, match=message):
        films.search("music", **options)
