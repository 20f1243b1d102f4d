"""Scores of runs: which queries count, what order counts, and values worked out by hand."""

import math
import shutil

import numpy as np
import pytest

from hybrid_search.corpus.trec import Qrel, ScoredDoc
from hybrid_search.errors import EvaluationError, MissingExtra
from hybrid_search.evaluation import measures

QRELS = [Qrel("1", "a", 3), Qrel("1", "b", 1), Qrel("1", "c", 0), Qrel("2", "a", 1), Qrel("3", "z", 2)]


def scores(run, names=("nDCG@10", "R@100", "RR@10"), qrels=QRELS):
    return {name: values.tolist() for name, values in measures.score(run, qrels, measures.parse(names)).items()}


def test_ndcg_by_hand():
    run = [ScoredDoc("1", "c", 9.0), ScoredDoc("1", "b", 8.0), ScoredDoc("1", "x", 7.0), ScoredDoc("1", "a", 6.0)]
    gain = 1 / math.log2(3) + 3 / math.log2(5)
    ideal = 3 / math.log2(2) + 1 / math.log2(3)
    found = scores(run, ["nDCG@10", "nDCG@2", "RR@10", "R@2", "P@4", "AP"])
    assert found["nDCG@10"] == [pytest.approx(gain / ideal), 0.0, 0.0]
    assert found["nDCG@2"] == [pytest.approx(1 / math.log2(3) / ideal), 0.0, 0.0]
    assert found["RR@10"] == [0.5, 0.0, 0.0]
    assert found["R@2"] == [0.5, 0.0, 0.0]
    assert found["P@4"] == [0.5, 0.0, 0.0]
    assert found["AP"] == [pytest.approx((1 / 2 + 2 / 4) / 2), 0.0, 0.0]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ([], [0.0, 0.0, 0.0]),
        ([ScoredDoc("2", "a", 1.0)], [0.0, 1.0, 0.0]),
        ([ScoredDoc("2", "unjudged", 2.0), ScoredDoc("2", "a", 1.0)], [0.0, 0.5, 0.0]),
        ([ScoredDoc("2", "unjudged", 2.0)], [0.0, 0.0, 0.0]),
        ([ScoredDoc("9", "a", 1.0)], [0.0, 0.0, 0.0]),
        ([ScoredDoc("9", "a", 1.0), ScoredDoc("3", "z", 1.0), ScoredDoc("1", "a", 1.0)], [1.0, 0.0, 1.0]),
    ],
    ids=["no run", "a part", "unjudged first", "only unjudged", "a query without judgements", "both"],
)
def test_every_judged_query_counts_and_no_other(run, expected):
    assert scores(run, ["RR@10"]) == {"RR@10": expected}


def test_what_counts_is_the_place_and_not_the_score():
    for equal in ([1.0, 1.0, 1.0], [3.0, 2.0, 1.0], [-1.0, -1.0, -1.0], [1e-9, 1e-9, 0.0]):
        for order, expected in ((["a", "x", "y"], 1.0), (["x", "a", "y"], 0.5), (["y", "x", "a"], 1 / 3)):
            run = [ScoredDoc("2", doc_id, score) for doc_id, score in zip(order, equal, strict=True)]
            assert scores(run, ["RR@10"])["RR@10"][1] == pytest.approx(expected)


def test_interleaved_queries_keep_their_own_order():
    run = [ScoredDoc("1", "x", 1.0), ScoredDoc("2", "a", 1.0), ScoredDoc("1", "a", 1.0), ScoredDoc("2", "x", 1.0)]
    assert scores(run, ["RR@10"]) == {"RR@10": [0.5, 1.0, 0.0]}


def test_a_long_run_keeps_its_order_beyond_what_32_bits_tell_apart():
    run = [ScoredDoc("2", f"x{n}", 1.0) for n in range(50_000)]
    run.insert(40_000, ScoredDoc("2", "a", 1.0))
    assert scores(run, ["RR"])["RR"][1] == pytest.approx(1 / 40_001)


def test_names_are_those_of_the_measures():
    assert list(scores([], ["nDCG@5", "AP", "Success@1"])) == ["nDCG@5", "AP", "Success@1"]
    assert [str(measure) for measure in measures.parse(measures.DEFAULT_MEASURES)] == ["nDCG@10", "R@100", "RR@10"]


def test_all_names_that_are_no_measure_are_told_at_once():
    with pytest.raises(EvaluationError) as caught:
        measures.parse(["nDCG@10", "nope", "R@@5", "P@", "", "print('x')", "AP(rel="])
    message = str(caught.value)
    for name in ("nope", "R@@5", "P@", "print", "AP(rel="):
        assert name in message
    assert "'nDCG@10'" not in message
    assert "ir-measur.es" in message
    with pytest.raises(EvaluationError, match="none given"):
        measures.parse([])


@pytest.mark.parametrize(
    "name",
    [
        *("AP(rel=2)", "P(rel=2)@5", "Rprec", "ERR@10", "Judged@10", "NumRet", "IPrec@0.1", "SetF", "infAP"),
        *("Compat(p=0.8)", "nDCG(dcg='exp-log2')@10", "P(rel=2, judged_only=True)@5"),
    ],
)
@pytest.mark.parametrize("names", [{}, {"1": "a query", "2": "q\u00e9", "a": "my notes.md"}], ids=["plain", "odd ids"])
def test_other_measures_have_a_value_for_each_query(name, names):
    """Some are computed by programs that take numbers for queries."""
    if name in ("ERR@10", "nDCG(dcg='exp-log2')@10") and shutil.which("perl") is None:
        pytest.skip("there is no perl, which computes it")
    run = [ScoredDoc(names.get("1", "1"), names.get(doc_id, doc_id), 1.0) for doc_id in "cba"]
    qrels = [Qrel(names.get(q.query_id, q.query_id), names.get(q.doc_id, q.doc_id), q.relevance) for q in QRELS]
    [values] = measures.score(run, qrels, measures.parse([name])).values()
    assert values[0] > 0
    assert values.shape == (3,)
    assert np.isfinite(values).all()
    assert values[1:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["INST@10", "SDCG@10", "BPM(T=1)", "INSQ"])
def test_a_measure_that_nothing_computes_is_refused_before_the_search(name):
    with pytest.raises(EvaluationError, match=r"No measure|cannot be computed here"):
        measures.parse([name])


def test_the_deepest_rank_that_is_looked_at():
    assert measures.max_cutoff(measures.parse(["nDCG@10", "R@100", "RR@10"])) == 100
    assert measures.max_cutoff(measures.parse(["P@1"])) == 1
    assert measures.max_cutoff(measures.parse(["nDCG@10", "AP"])) == 1_000


def test_a_missing_package_is_an_error_with_the_install_line(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(MissingExtra, match=r"pip install 'hybrid-search-qdrant\[eval\]'"):
        measures.parse(["nDCG@10"])


def test_the_mean_is_over_the_queries_in_the_order_of_the_judgements():
    values = measures.score([ScoredDoc("3", "z", 1.0)], list(reversed(QRELS)), measures.parse(["RR@10"]))["RR@10"]
    assert isinstance(values, np.ndarray)
    assert values.tolist() == [1.0, 0.0, 0.0]
