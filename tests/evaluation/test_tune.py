"""Settings chosen on judged queries: found where one is better, left alone where none is, and the same as searched."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from hybrid_search.collection.defaults import set_search_defaults
from hybrid_search.errors import EvaluationError, InvalidArgument
from hybrid_search.evaluation import measures
from hybrid_search.evaluation.datasets import read_dataset
from hybrid_search.evaluation.tune import tune
from hybrid_search.evaluation.tune_candidates import Candidate, ways_to_fuse
from hybrid_search.evaluation.tune_learned import SHARES, fit
from hybrid_search.evaluation.tune_rankings import QueryRankings
from hybrid_search.evaluation.tune_selection import best_of, corrected_p, folds, held_out_gain, queries_needed, verdict
from hybrid_search.evaluation.tune_trial import Trial
from hybrid_search.indexer import Indexer
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.ranking.fusion import FUSIONS, fuse, rank
from hybrid_search.ranking.leg_weights import Features, leg_weights
from hybrid_search.searcher import Searcher
from tests.conftest import ROOT

KINDS = {"sparse": "sparse", "dense": "dense"}
MOVIES = ROOT / "datasets" / "movies"


def chooser(matrix):
    """A way to choose among the columns of a matrix of values, the first being the default."""
    return lambda rows: best_of(range(matrix.shape[1]), lambda column: matrix[:, column], rows)


def outcome(matrix, seed=0):
    choose = chooser(matrix)
    gain = held_out_gain(choose, lambda column: matrix[:, column], matrix[:, 0], seed)
    chosen = choose(np.arange(len(matrix)))
    p = corrected_p(matrix[:, chosen], list(matrix.T), matrix[:, 0], seed)
    return verdict(gain, p, chosen != 0, len(matrix)), gain


def noise(random, queries, candidates, spread=0.1):
    """Values of candidates that differ by chance alone; many queries do not change at all.

    They are not cut at 0 and 1: that would lift those that begin near 0 on the whole.
    """
    default = random.beta(0.5, 0.7, queries)
    changes = random.normal(0, spread, (queries, candidates)) * (random.random((queries, candidates)) < 0.5)
    return np.column_stack([default, default[:, None] + changes])


def test_where_all_are_alike_the_default_is_kept():
    found = Counter(outcome(noise(np.random.default_rng(seed), 100, 30), seed)[0] for seed in range(60))
    assert found["recommend"] <= 2


@pytest.mark.parametrize("gain", [0.04, 0.08])
def test_where_one_is_better_it_is_found(gain):
    for seed in range(10):
        random = np.random.default_rng(seed)
        matrix = noise(random, 200, 20, 0.05)
        matrix[:, 7] = np.clip(matrix[:, 0] + random.normal(gain, 0.1, 200), 0, 2)
        said, found = outcome(matrix, seed)
        assert said == "recommend"
        assert found.low <= gain + 0.03
        assert chooser(matrix)(np.arange(200)) == 7


def test_too_few_labels_are_inconclusive_however_good_one_looks():
    matrix = np.column_stack([np.zeros(20), np.ones(20)])
    assert outcome(matrix)[0] == "inconclusive"
    assert queries_needed(outcome(matrix)[1], 20) >= 50


def test_a_gain_that_is_not_worth_a_setting_is_none():
    matrix = np.column_stack([np.full(300, 0.5), np.full(300, 0.503)])
    assert outcome(matrix)[0] == "keep"


def test_the_simplest_of_those_that_are_as_good_is_chosen():
    random = np.random.default_rng(1)
    base = random.random(100)
    columns = np.column_stack([base, base + 0.2, base + 0.2 + random.normal(0.001, 0.05, 100)])
    assert chooser(columns)(np.arange(100)) == 1


def test_each_query_is_held_out_as_often_and_never_chosen_on():
    times = np.zeros(23)
    for rows, held_out in folds(23, 7):
        assert not set(rows) & set(held_out)
        assert len(rows) + len(held_out) == 23
        times[held_out] += 1
    assert set(times) == {10}
    assert [list(h) for _, h in folds(23, 7)] == [list(h) for _, h in folds(23, 7)]


# ---------------------------------------------------------------- the same as fusion


@pytest.mark.parametrize("how", FUSIONS)
@pytest.mark.parametrize("legs", [("sparse", "dense"), ("sparse", "dense", "bm25")])
def test_documents_and_scores_are_those_of_fusion(how, legs):
    random = np.random.default_rng(3)
    for _ in range(20):
        rankings = {}
        for leg in legs:
            chunks = random.choice(60, 30, replace=False)
            scores = random.integers(1, 9, 30) / 7  # with ties
            scored = [(f"d{c // 2}#{c % 2}", float(score)) for c, score in zip(chunks, scores, strict=True)]
            rankings[leg] = rank(leg, scored, 30)
        kept = QueryRankings.of("q", rankings, Features(1, 0.0, 1.0))
        for depth in (5, 30):
            weights = {"sparse": 0.5, "dense": 3.0, "bm25": 0.0}
            floors = {"dense": -1.0}
            cut = {leg: type(one)(one.hits[:depth]) for leg, one in rankings.items()}
            mine = {leg: weights[leg] for leg in legs}
            expected = {}
            for hit in fuse(cut, how, rrf_k=20, weights=mine, floors=floors).hits:
                expected.setdefault(hit.doc_id, hit.score)
            found = kept.fused(how, 20, mine, depth, frozenset({"dense"}), 100)
            assert [doc_id for doc_id, _ in found] == list(expected)
            assert [score for _, score in found] == pytest.approx(list(expected.values()), abs=1e-12)


def spec(kind):
    return LegSpec("m", "f", dim=4 if kind == "dense" else 0)


@pytest.mark.parametrize("kinds", [("sparse",), ("sparse", "dense"), ("sparse", "bm25"), ("sparse", "dense", "bm25")])
def test_candidates_differ_and_begin_with_the_default(kinds):
    manifest = Manifest("custom", {kind: spec(kind) for kind in kinds}, 0)
    found = ways_to_fuse(manifest)
    assert found[0] == Candidate()
    assert len(set(map(str, found))) == len(found)
    assert all(set(dict(one.weights)) < set(kinds) for one in found if one.weights)
    assert len(found) == 1 if len(kinds) == 1 else len(found) > 20
    assert not found[0].defaults(manifest).choices()


def test_a_regression_follows_the_feature_that_tells():
    features = [Features(words, 0.0, 0.5) for words in (1, 8) for _ in range(40)]
    shares = np.array(SHARES)
    values = np.array([1 - abs(shares - (0.8 if one.words == 1 else 0.2)) for one in features])
    found = fit(features, values)
    weights = {words: leg_weights(Features(words, 0.0, 0.5), KINDS, found)["dense"] for words in (1, 8)}
    assert weights[1] > 1.2 > 0.8 > weights[8]
    assert fit(features, np.ones((80, len(SHARES)))) == {}


# ---------------------------------------------------------------- on a collection


@pytest.fixture(scope="module")
def movies(tmp_path_factory, model_cache):
    from hybrid_search.settings import Settings

    settings = Settings(store=str(tmp_path_factory.mktemp("tuned")), cache_dir=model_cache)
    Indexer.open("movies", settings=settings, profile="bundled").index(MOVIES)
    return settings


@pytest.fixture(scope="module")
def report(movies):
    return tune(MOVIES, settings=movies, collection="movies")


def test_what_is_chosen_is_what_a_search_with_it_gives(movies, report):
    assert report.verdict == "recommend"
    assert report.gain["low"] > 0
    from hybrid_search.evaluation.experiment import evaluate

    before = evaluate(MOVIES, settings=movies, collection="movies", modes=["hybrid"], measures=["nDCG@10"])
    set_search_defaults("movies", report.to_apply(), settings=movies)
    same_documents(movies, report)
    with Searcher.open("movies", settings=movies) as searcher:
        found = searcher.search("a heist", k=3)
        assert found.defaults["evidence"]["measure"] == "nDCG@10"
    after = evaluate(MOVIES, settings=movies, collection="movies", modes=["hybrid"], measures=["nDCG@10"])
    set_search_defaults("movies", None, settings=movies)
    assert before.results[0].measures["nDCG@10"] == pytest.approx(report.default, abs=2e-3)
    assert after.results[0].measures["nDCG@10"] > before.results[0].measures["nDCG@10"] + 0.03


def same_documents(settings, report):
    """What was reckoned for the choice are the documents, in order, that searches of the tuned collection give."""
    (parsed,) = measures.parse(["nDCG@10"])
    data, _ = read_dataset(MOVIES, settings=settings)
    with Searcher.open("movies", settings=settings) as searcher:
        trial = Trial(data, searcher, parsed, None, lambda *_: None)
        found = report.defaults
        weights = dict(found.weights or dict.fromkeys(searcher.manifest.fused(), 1.0))
        for query, one in list(zip(data.queries, trial.rankings(), strict=True))[:40]:
            reckoned = one.fused(found.fusion or "rrf", 60, weights, found.depth or 100, frozenset({"dense"}), 10)
            searched = searcher.search(query.text, k=10)
            assert [doc_id for doc_id, _ in reckoned] == [hit.doc_id for hit in searched]
            assert [score for _, score in reckoned] == pytest.approx([hit.score for hit in searched], rel=1e-5)


def test_the_same_seed_gives_the_same_report(movies, report):
    again = tune(MOVIES, settings=movies, collection="movies").to_dict()
    first = report.to_dict()
    for one in (first, again):
        json.dumps(one)
        del one["latency_ms"], one["date"]
    assert again == first


def test_a_few_queries_are_inconclusive_and_say_how_many_would_do(movies, tmp_path):
    kept = set()
    (tmp_path / "qrels").mkdir()
    lines = (MOVIES / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines[1:] if len(kept | {line.split("\t")[0]}) <= 12 and not kept.add(line.split("\t")[0])]
    (tmp_path / "qrels" / "test.tsv").write_text("\n".join([lines[0], *rows]) + "\n", encoding="utf-8")
    for name in ("corpus.jsonl", "queries.jsonl"):
        (tmp_path / name).write_bytes((MOVIES / name).read_bytes())
    found = tune(tmp_path, settings=movies, collection="movies")
    assert (found.verdict, found.queries) == ("inconclusive", 12)
    assert found.needed >= 50
    assert not found.defaults.choices()


def test_what_cannot_be_tuned_is_said(movies, tmp_path):
    with pytest.raises(EvaluationError):
        tune(MOVIES, settings=movies, collection="movies", measure="beauty")
    Indexer.open("one", settings=movies, profile="bundled", legs=["dense"]).index(MOVIES)
    with pytest.raises(InvalidArgument, match=r"only leg is 'dense'"):
        tune(MOVIES, settings=movies, collection="one")
