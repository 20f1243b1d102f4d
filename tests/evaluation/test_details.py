"""Latency, the oracle's order, and the engine's approximate search against the exact one; modes with a fusion."""

import numpy as np
import pytest

from hybrid_search.corpus.trec import Qrel, ScoredDoc
from hybrid_search.errors import EvaluationError, InvalidArgument
from hybrid_search.evaluation import measures
from hybrid_search.evaluation.approximation import recall_of_engine
from hybrid_search.evaluation.experiment import evaluate
from hybrid_search.evaluation.latency import latency, sample
from hybrid_search.evaluation.modes import expand_modes, parse_mode
from hybrid_search.evaluation.oracle import oracle
from tests.evaluation.conftest import DOCUMENTS

MODELS = {"sparse": "fake/sparse", "dense": "fake/dense"}


def by_mode(report):
    return {result.mode: result for result in report.results}


# ---------------------------------------------------------------- fusions


def test_each_fusion_is_a_mode_and_the_same_as_that_fusion_of_hybrid(dataset, settings, fakes):
    folder = dataset()
    found = by_mode(evaluate(folder, settings=settings, modes=["hybrid:all", "hybrid", "sparse+dense:dbsf"], **MODELS))
    fusions = [f"hybrid:{how}" for how in ("rrf", "dbsf", "minmax", "convex")]
    assert list(found) == [*fusions, "hybrid", "sparse+dense:dbsf"]
    for how in ("rrf", "dbsf", "minmax", "convex"):
        alone = by_mode(evaluate(folder, settings=settings, modes=["hybrid"], search={"fusion": how}, **MODELS))
        assert alone["hybrid"].per_query == found[f"hybrid:{how}"].per_query
    assert found["sparse+dense:dbsf"].per_query == found["hybrid:dbsf"].per_query


@pytest.mark.parametrize(
    "mode", ["hybrid:", "hybrid:best", "sparse:rrf", "bm25:rrf", "hybrid:rrf:rrf", "hybrid+auto:rrf"]
)
def test_a_fusion_that_is_none_is_refused(dataset, settings, fakes, mode):
    with pytest.raises(InvalidArgument, match=r"Unknown mode: .*hybrid:convex \(any of rrf, dbsf, minmax, convex"):
        evaluate(dataset(), settings=settings, modes=[mode], **MODELS)


def test_the_endings_of_a_mode():
    assert parse_mode("a+b:dbsf+auto+rerank") == ("a+b", "dbsf", True, True)
    assert parse_mode("hybrid") == ("hybrid", "", False, False)
    assert expand_modes(None) is None
    assert expand_modes(["hybrid:all+rerank"]) == [
        f"hybrid:{how}+rerank" for how in ("rrf", "dbsf", "minmax", "convex")
    ]


def test_without_bm25_the_first_mode_is_the_baseline(dataset, settings, fakes):
    report = evaluate(dataset(), settings=settings, modes=["dense", "sparse", "hybrid"], **MODELS)
    assert report.baseline == "dense"
    assert [result.baseline_p is None for result in report.results] == [True, False, False]
    for result in report.results[1:]:
        assert result.baseline_p <= result.baseline_p_holm <= min(1, 2 * result.baseline_p) + 1e-4


# ---------------------------------------------------------------- details


def test_details_are_there_where_they_are_asked_for(dataset, settings, fakes):
    plain = evaluate(dataset(), settings=settings, **MODELS)
    report = evaluate(dataset(), settings=settings, details=True, **MODELS)
    assert [result.measures for result in report.results] == [result.measures for result in plain.results]
    for before, result in zip(plain.to_dict()["results"], report.to_dict()["results"], strict=True):
        assert not {"latency_ms", "oracle"} & before.keys()
        assert list(result["oracle"]) == ["10", "20", "50", "100"]
        assert result["measures"]["nDCG@10"] <= result["oracle"]["10"] + 1e-4
        assert result["latency_ms"]["queries"] == 4
        assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p99"]
        assert 0 <= result["latency_ms"]["encode"] <= result["latency_ms"]["p99"]
    found = report.approximation
    assert list(found) == ["dense"]
    assert found["dense"] == {"queries": 4, "chunks": 6, "recall@10": 1.0, "recall@100": 1.0}
    assert "approximation" not in plain.to_dict()
    lexical = evaluate(dataset(), settings=settings, details=True, sparse="fake/sparse", dense="none")
    assert lexical.approximation == {}


def test_details_of_queries_as_weights_and_of_a_run_of_another_engine(dataset, settings, fakes, tmp_path):
    (tmp_path / "topics.jsonl").write_text('{"id": "q1", "vector": {"music": 2.0}}\n')
    (tmp_path / "other.trec").write_text("q1 Q0 shark 1 2 other\nq1 Q0 tap 2 1 other\n")
    options = {"query_vectors": tmp_path / "topics.jsonl", "outside_runs": [tmp_path / "other.trec"], "details": True}
    report = evaluate(dataset(), settings=settings, modes=["sparse", "hybrid"], **options, **MODELS)
    found = by_mode(report)
    assert set(report.lacking) == {"q2", "q3", "q4"}
    assert found["sparse"].latency_ms["queries"] == 4
    assert (found["other"].latency_ms, list(found["other"].oracle)) == ({}, [10, 20, 50, 100])
    assert found["other"].oracle[10] > found["other"].measures["nDCG@10"]


def test_latency_by_hand():
    timings = [{"encode": float(n), "total": float(10 * n)} for n in range(1, 101)]
    assert latency(timings) == {"queries": 100, "p50": 505.0, "p99": 990.1, "encode": 50.5}
    assert sample(3, 5) == [0, 1, 2]
    assert len(set(sample(1000, 200))) == 200


def test_the_oracle_by_hand_and_by_trying_every_order():
    qrels = [Qrel("1", "a", 3), Qrel("1", "b", 1), Qrel("1", "c", 2), Qrel("1", "far", 3), Qrel("2", "x", 1)]
    run = [
        ScoredDoc("1", doc, -n) for n, doc in enumerate(["n0", "b", "n1", "c", "n2", "a", *map(str, range(20)), "far"])
    ]
    ideal = 3 + 3 / np.log2(3) + 2 / 2 + 1 / np.log2(5)
    found = oracle(run, qrels, [1, 2, 4, 6, 26, 27])
    expected = [0, 1, 2 + 1 / np.log2(3), 3 + 2 / np.log2(3) + 1 / 2, 3 + 2 / np.log2(3) + 1 / 2, ideal]
    assert list(found.values()) == pytest.approx([value / ideal / 2 for value in expected], abs=1e-4)
    assert oracle([], qrels, [10]) == {10: 0.0}


def test_the_oracle_never_falls_with_the_depth_and_is_never_below_the_run():
    random = np.random.default_rng(3)
    qrels = [Qrel(f"q{q}", f"d{d}", int(random.integers(0, 4))) for q in range(20) for d in random.permutation(90)[:9]]
    run = [ScoredDoc(f"q{q}", f"d{d}", -float(n)) for q in range(20) for n, d in enumerate(random.permutation(90))]
    found = list(oracle(run, qrels).values())
    assert found == sorted(found)
    assert found[0] >= measures.score(run, qrels, measures.parse(["nDCG@10"]))["nDCG@10"].mean() - 1e-4
    assert found[-1] == 1.0


class Reader:
    """A collection of random vectors, whose search returns the exact best but for those it forgets."""

    def __init__(self, documents=50, chunks=3, forgets=()):
        random = np.random.default_rng(0)
        self.of = {f"d{d}#{c}": random.normal(size=8) * 5 for d in range(documents) for c in range(chunks)}
        self.documents, self.forgets = documents, set(forgets)

    def doc_ids(self):
        return (f"d{d}" for d in range(self.documents))

    def vectors(self, leg, chunk_ids):
        assert leg == "dense"
        return {one: self.of[one] for one in chunk_ids if one in self.of}

    def exact(self, query):
        cosines = {one: vector @ query / np.linalg.norm(vector) for one, vector in self.of.items()}
        return sorted(cosines.items(), key=lambda pair: -pair[1])

    def retrieve(self, requests, limit):
        return [[pair for pair in self.exact(query) if pair[0] not in self.forgets][:limit] for _, query in requests]


@pytest.mark.parametrize("block", [7, 4096])
def test_what_the_engine_forgets_is_missed(monkeypatch, block):
    monkeypatch.setattr("hybrid_search.evaluation.approximation.CHUNKS", block)
    query = np.ones(8)
    best = [chunk_id for chunk_id, _ in Reader().exact(query)]
    for forgotten, expected in (([], (1.0, 1.0)), (best[:3], (0.7, 0.97)), (best[10:], (1.0, 0.1))):
        found = recall_of_engine(Reader(forgets=forgotten), "dense", [query])
        assert found == {"queries": 1, "chunks": 150, "recall@10": expected[0], "recall@100": expected[1]}


def test_equals_count_as_found_and_few_chunks_are_all():
    reader = Reader(documents=4, chunks=1)
    reader.of = dict.fromkeys(reader.of, np.ones(8))
    reader.forgets = {"d1#0"}
    reader.retrieve = lambda requests, limit: [[("d0#0", 1.0), ("d2#0", 1.0), ("d3#0", 1.0), ("d0#0", 1.0)]]
    assert recall_of_engine(reader, "dense", [np.ones(8)], [2])["recall@2"] == 1.0
    with pytest.raises(EvaluationError, match="No chunk of the leg 'dense'"):
        recall_of_engine(Reader(documents=0), "dense", [np.ones(8)])


# ---------------------------------------------------------------- data that do not fit


def test_judgements_of_another_corpus_are_an_error_that_says_where(dataset, settings):
    folder = dataset(qrels=[("q1", "other-1", 1), ("q2", "other-2", 1), ("q2", "tap", 0)])
    with pytest.raises(EvaluationError, match=r"qrels calls relevant.*2 documents \('other-1', 'other-2'\)") as caught:
        evaluate(folder, settings=settings, sparse="qdrant/bm25-engine", dense="none")
    assert str(folder) in str(caught.value)


def test_some_judgements_of_what_is_not_there_are_told(dataset, settings):
    report = evaluate(dataset(), settings=settings, sparse="qdrant/bm25-engine", dense="none")
    assert report.notes == (
        "The collection lacks 1 relevant document ('not-in-the-corpus') of 7; no mode can find what is not there.",
    )
    whole = dataset("whole", documents={**DOCUMENTS, "not-in-the-corpus": "It is."})
    assert evaluate(whole, settings=settings, sparse="qdrant/bm25-engine", dense="none").notes == ()


@pytest.mark.parametrize("content", ["", " \n\n"])
@pytest.mark.parametrize("part", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_an_empty_part_of_a_dataset_is_an_error_that_names_it(dataset, settings, part, content):
    folder = dataset()
    (folder / part).write_text(content)
    with pytest.raises(EvaluationError) as caught:
        evaluate(folder, settings=settings, sparse="qdrant/bm25-engine", dense="none")
    assert part.split("/")[-1] in str(caught.value)
