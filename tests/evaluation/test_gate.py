"""An evaluation held against the JSON of an earlier one."""

import json

import pytest

from hybrid_search.errors import EvaluationError, InvalidArgument
from hybrid_search.evaluation import gate
from hybrid_search.evaluation.experiment import evaluate
from tests.evaluation.conftest import DOCUMENTS, QRELS, QUERIES

BM25 = {"sparse": "qdrant/bm25-engine", "dense": "none"}


@pytest.fixture
def earlier(dataset, settings, tmp_path):
    """Evaluate the dataset, and write the JSON after a change of it; gives the file."""

    def write(change=lambda told: None, **options):
        told = evaluate(dataset(), settings=settings, **{**BM25, **options}).to_dict()
        change(told)
        path = tmp_path / "before.json"
        path.write_text(json.dumps(told), encoding="utf-8")
        return path

    return write


def with_values(mode, measure, value):
    """Return a change that sets each query's value."""

    def change(told):
        for result in told["results"]:
            if result["mode"] == mode:
                for row in result["per_query"]:
                    row[measure] = value

    return change


def test_nothing_has_changed(earlier, dataset, settings):
    before = gate.read_earlier(earlier())
    report = evaluate(dataset(), settings=settings, earlier=before, **BM25)
    found = gate.changes(report, before)
    assert len(found) == 2 * 3
    assert {(change.difference, change.p) for change in found} == {(0.0, 1.0)}
    assert gate.regressions(found, 0.0) == []
    assert list(gate.remarks(report, before, found)) == []


def test_what_fell_is_told_with_its_size_and_significance(earlier, dataset, settings):
    before = gate.read_earlier(earlier(with_values("sparse", "RR@10", 1.0)))
    report = evaluate(dataset(), settings=settings, earlier=before, **BM25)
    found = gate.changes(report, before)
    [fallen] = gate.regressions(found, 0.01)
    assert (fallen.mode, fallen.measure, fallen.before) == ("sparse", "RR@10", 1.0)
    assert fallen.now == pytest.approx(report.results[1].measures["RR@10"], abs=1e-4)
    assert fallen.difference == pytest.approx(fallen.now - 1.0)
    assert 0 < fallen.p <= 1
    assert gate.regressions(found, -fallen.difference) == []
    assert gate.regressions(found, -fallen.difference - 1e-4) == [fallen]
    assert gate.regressions(found, 1.0) == []


def test_the_deepest_fall_comes_first():
    found = [gate.Change("m", str(now), 0.5, now, 0.5) for now in (0.45, 0.2, 0.6, 0.3)]
    assert [change.now for change in gate.regressions(found, 0.01)] == [0.2, 0.3, 0.45]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"documents": {**DOCUMENTS, "new": "Something new."}}, ["corpus"]),
        ({"queries": {**QUERIES, "q1": "songs"}}, ["queries"]),
        ({"qrels": QRELS[:-1]}, ["qrels"]),
        ({"qrels": [*QRELS[:-1], ("q4", "not-in-the-corpus", 2)]}, ["qrels"]),
        ({"qrels": QRELS[:5]}, ["queries", "qrels"]),
    ],
)
def test_a_baseline_of_other_data_is_refused_before_anything_is_built(
    earlier, dataset, settings, evaluations, changed, named
):
    before = gate.read_earlier(earlier())
    names = evaluations.names()
    with pytest.raises(InvalidArgument, match="measured over other data than 'other'") as caught:
        evaluate(dataset("other", **changed), settings=settings, earlier=before, **BM25)
    message = str(caught.value)
    assert str(before.path) in message
    for part in gate.DATA:
        assert (f"{part} {before.fingerprints[part][:12]}, now " in message) == (part in named)
    assert evaluations.names() == names


def test_the_order_of_queries_and_judgements_does_not_matter(earlier, dataset, settings):
    before = gate.read_earlier(earlier())
    other = dataset("other", queries=dict(reversed(QUERIES.items())), qrels=QRELS[::-1])
    found = gate.changes(evaluate(other, settings=settings, earlier=before, **BM25), before)
    assert gate.regressions(found, 0.0) == []


def test_what_is_not_compared_and_other_models_are_told(earlier, dataset, settings, fakes):
    before = gate.read_earlier(earlier())
    options = {"sparse": "fake/sparse", "dense": "none", "measures": ["RR@10"], "modes": ["sparse"]}
    report = evaluate(dataset(), settings=settings, earlier=before, **options)
    found = gate.changes(report, before)
    assert [(change.mode, change.measure) for change in found] == [("sparse", "RR@10")]
    lost, models = gate.remarks(report, before, found)
    assert "nDCG@10 of bm25" in lost
    assert "R@100 of sparse" in lost
    assert "RR@10 of sparse" not in lost
    assert "sparse: qdrant/bm25-engine" in models
    assert "now fake/sparse" in models
    with pytest.raises(InvalidArgument, match=r"shares no mode and measure.*It has bm25 \(nDCG@10, R@100, RR@10\)"):
        gate.changes(evaluate(dataset(), settings=settings, **{**options, "measures": ["P@1"]}), before)


def without(*path):
    """Return a change that removes a key."""

    def change(told):
        for key in path[:-1]:
            told = told[key]
        del told[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("fingerprints"), "it lacks 'fingerprints'"),
        (without("results"), "it lacks 'results'"),
        (without("results", 0, "per_query"), "it lacks 'per_query'"),
        (without("results", 1, "per_query", 2, "RR@10"), "it lacks 'RR@10'"),
        (with_values("sparse", "RR@10", float("nan")), r"RR@10 of query 'q1' in mode 'sparse' is nan"),
        (with_values("sparse", "RR@10", None), "not what"),
        (with_values("sparse", "RR@10", "much"), "could not convert"),
    ],
)
def test_what_is_no_baseline_is_refused(earlier, change, message):
    with pytest.raises(EvaluationError, match=message) as caught:
        gate.read_earlier(earlier(change))
    assert "before.json" in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "3", '"text"', "[" * 100_000, '{"dataset": 1}', "\x00"])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "before.json"
    path.write_text(content)
    with pytest.raises(EvaluationError, match=r"before\.json is not what `evaluate --format json` prints"):
        gate.read_earlier(path)
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(EvaluationError, match=r"before\.json is not what"):
        gate.read_earlier(path)


def test_a_file_that_is_not_there(tmp_path):
    for path in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(EvaluationError, match="cannot be read"):
            gate.read_earlier(path)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_regression_that_is_no_number(value):
    with pytest.raises(InvalidArgument, match="max_regression"):
        gate.check_max_regression(value)
