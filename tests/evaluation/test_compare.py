"""Two sides compared on a dataset: statistics against plain counting, evidence, and what is refused."""

import itertools
import json

import numpy as np
import pytest

from hybrid_search.collection.models import ModelRequest
from hybrid_search.corpus.trec import read_beir
from hybrid_search.errors import CollectionNotFound, EvaluationError, InvalidArgument
from hybrid_search.evaluation import measures
from hybrid_search.evaluation.compare import compare, measure_changes
from hybrid_search.evaluation.experiment import evaluate
from hybrid_search.evaluation.job import Job
from hybrid_search.indexer import Indexer
from hybrid_search.searcher import Searcher
from tests.evaluation.conftest import DOCUMENTS, QRELS

FAKES = "sparse=fake/sparse,dense=fake/dense"
A, B = f"sparse,{FAKES}", f"dense,{FAKES}"
NAMES = ["nDCG@10", "R@100", "RR@10", "AP"]


@pytest.fixture
def trec(tmp_path):
    """Write a run of (query, document, score); gives its path."""

    def write(rows, name="x.trec"):
        lines = [f"{q} Q0 {d} {rank} {score} tag\n" for rank, (q, d, score) in enumerate(rows, 1)]
        (tmp_path / name).write_text("".join(lines))
        return str(tmp_path / name)

    return write


GOOD = [("q1", "drums", 9), ("q1", "tap", 8), ("q2", "island", 9), ("q3", "tap", 9), ("q4", "mars", 9)]
OTHER = [("q1", "shark", 9), ("q1", "drums", 8), ("q2", "island", 9), ("q3", "mars", 9), ("q4", "shark", 9)]


# ---------------------------------------------------------------- statistics


def exact_p(differences):
    """The share of all exchanges whose mean difference is as large."""
    observed = abs(differences.sum())
    signs = itertools.product((1, -1), repeat=len(differences))
    sums = [abs((np.array(each) * differences).sum()) for each in signs]
    return np.mean([each >= observed - 1e-12 for each in sums])


def test_p_values_intervals_and_counts_are_those_of_plain_counting():
    random = np.random.default_rng(3)
    a = {name: random.random(11) for name in ("x", "y", "z")}
    shift = {"x": 0.25, "y": 0.0, "z": 0.05}
    b = {name: np.clip(a[name] + shift[name] + random.normal(0, 0.1, 11), 0, 1) for name in a}
    b["y"][:4] = a["y"][:4]
    b["y"][4] = a["y"][4] + 1e-9  # the rounding of a file is no change
    found = measure_changes(a, b)
    p_values = [exact_p(np.where(abs(b[name] - a[name]) > 1e-7, b[name] - a[name], 0)) for name in a]
    order = np.argsort(p_values)
    corrected = np.empty(3)
    corrected[order] = np.minimum(1, np.maximum.accumulate(np.array(p_values)[order] * [3, 2, 1]))
    for one, p, p_holm in zip(found, p_values, corrected, strict=True):
        difference = b[one.name] - a[one.name]
        means = [difference[np.random.default_rng(n).integers(0, 11, 11)].mean() for n in range(20_000)]
        assert one.difference == pytest.approx(difference.mean(), abs=1e-9)
        assert one.interval == pytest.approx(tuple(np.quantile(means, (0.025, 0.975))), abs=0.005)
        assert one.p == pytest.approx(p, abs=0.01)
        assert one.p_holm == pytest.approx(p_holm, abs=0.03)
        counts = [sum(difference > 1e-7), sum(abs(difference) <= 1e-7), sum(difference < -1e-7)]
        assert [one.better, one.same, one.worse] == counts
    assert [one.same for one in found] == [0, 5, 0]
    assert found[0].is_sure
    assert not found[1].is_sure


def test_what_differs_by_the_rounding_of_a_file_alone_is_the_same():
    [one] = measure_changes({"x": np.full(20, 0.5)}, {"x": np.full(20, 0.500000004)})
    assert (one.better, one.same, one.worse, one.p) == (0, 20, 0, 1.0)
    assert not one.is_sure


def test_the_two_sides_exchanged_are_the_same_with_the_other_sign(dataset, settings, trec):
    folder, files = dataset(), (trec(GOOD, "a.trec"), trec(OTHER, "b.trec"))
    there = compare(*files, folder, settings=settings)
    back = compare(*reversed(files), folder, settings=settings)
    for one, other in zip(there.measures, back.measures, strict=True):
        assert (one.a, one.b, one.p) == (other.b, other.a, other.p)
        assert (one.better, one.same, one.worse) == (other.worse, other.same, other.better)
        assert one.interval == pytest.approx([-bound for bound in reversed(other.interval)], abs=0.02)
    assert there.moves == back.moves | {
        "rose": back.moves["fell"],
        "fell": back.moves["rose"],
        "only_a": back.moves["only_b"],
        "only_b": back.moves["only_a"],
    }


# ---------------------------------------------------------------- searches


def test_means_are_those_of_an_evaluation(dataset, settings, fakes):
    folder = dataset()
    compared = compare(A, B, folder, settings=settings, measures=NAMES)
    job = Job(settings, read_beir(folder), "films", {}, {})
    models = {"sparse": "fake/sparse", "dense": "fake/dense"}
    with job.open:
        main = job.built(job.choose(ModelRequest("auto", models)))
        judged = [job.judge(main, mode, measures.parse(NAMES), None, 1000, False) for mode in ("sparse", "dense")]
    report = evaluate(folder, settings=settings, modes=["sparse", "dense"], measures=NAMES, **models)
    assert report.indexed == ()  # it is the collection that evaluate finds
    for one in compared.measures:
        for value, each, result in zip((one.a, one.b), judged, report.results, strict=True):
            assert value == pytest.approx(each.values[one.name].mean(), abs=1e-9)
            assert round(value, 4) == result.measures[one.name]
    assert [side.collection for side in (compared.a, compared.b)] == [main.name] * 2
    assert compared.k == 1000
    assert len(compared.indexed) == 1


def test_the_evidence_is_what_a_search_shows(dataset, settings, fakes):
    folder = dataset()
    Indexer.open("mine", settings=settings, sparse="fake/sparse", dense="fake/dense", chunk_tokens=0).index(folder)
    compared = compare("sparse", "mine", folder, settings=settings, collection="mine", query="q1")
    assert (compared.a.mode, compared.b.mode, compared.b.collection) == ("sparse", "hybrid", "mine")
    [one] = compared.queries
    with Searcher.open("mine", settings=settings) as searcher:
        for place, mode in enumerate(("sparse", "hybrid")):
            results = searcher.search("music", mode=mode, k=100)
            assert [document.doc_id for document in one.lists[place]] == [hit.doc_id for hit in results]
            for document, hit in zip(one.lists[place], results, strict=True):
                told = (document.a, document.b)[place]
                assert (told.rank, told.score) == (hit.rank, hit.score)
                assert dict(told.legs) == {leg: hit.legs[leg] for leg in results.legs}
                assert DOCUMENTS[document.doc_id].startswith(document.title)
    grades = {doc_id: grade for query_id, doc_id, grade in QRELS if query_id == "q1"}
    assert {document.doc_id: document.relevance for document in one.relevant} == grades
    assert compared.judged == 4


def test_settings_are_those_of_a_search(dataset, settings, fakes):
    folder = dataset()
    Indexer.open("mine", settings=settings, sparse="fake/sparse", dense="fake/dense", chunk_tokens=0).index(folder)
    options = {"settings": settings, "collection": "mine", "query": "q2"}
    text = "hybrid:convex,weights=sparse=1,dense=0.25,depth=3"
    [one] = compare("hybrid", text, folder, **options).queries
    with Searcher.open("mine", settings=settings) as searcher:
        hits = searcher.search(
            "alone far from home", k=3, fusion="convex", weights={"sparse": 1, "dense": 0.25}, depth=3
        )
    assert [(d.doc_id, d.b.score) for d in one.lists[1]] == [(hit.doc_id, hit.score) for hit in hits]
    notes = compare("hybrid", text, folder, **options).notes
    assert any("has 3 documents a query at most, fewer than the 100 compared" in note for note in notes)
    with pytest.raises(InvalidArgument, match="weight for the leg 'nope'"):
        compare("hybrid", "hybrid,weights=nope=1", folder, **options)


def test_a_collection_with_one_leg_is_searched_in_it(dataset, settings):
    folder = dataset()
    Indexer.open("mine", settings=settings, sparse="qdrant/bm25-engine", dense="none", chunk_tokens=0).index(folder)
    compared = compare("mine", "bm25", folder, settings=settings, collection="mine")
    assert (compared.a.mode, compared.b.mode) == ("sparse", "bm25")
    assert compared.same_lists == compared.judged == 4
    assert compared.moves == {**dict.fromkeys(compared.moves, 0), "same": 4, "neither": 4}
    assert [one.difference for one in compared.measures] == [0, 0, 0]
    tap = next(document for one in compared.queries for document in one.relevant if document.a)
    assert (list(tap.a.legs), list(tap.b.legs)) == (["sparse"], ["bm25"])
    with pytest.raises(InvalidArgument, match="no dense to judge"):
        compare("sparse", "dense", folder, settings=settings, collection="mine")
    with pytest.raises(CollectionNotFound, match="mien"):
        compare("mine", "mien@sparse", folder, settings=settings)
    with pytest.raises(CollectionNotFound, match="mien"):
        compare("sparse", "dense", folder, settings=settings, collection="mien")


# ---------------------------------------------------------------- files


def test_two_runs_side_by_side(dataset, settings, trec):
    compared = compare(trec(GOOD, "a.trec"), trec(OTHER, "b.trec"), dataset(), settings=settings, measures=["RR@10"])
    by_query = {one.query_id: one for one in compared.queries}
    assert {query_id: one.values["RR@10"] for query_id, one in by_query.items()} == {
        "q1": (1.0, 0.5),
        "q2": (1.0, 1.0),
        "q3": (1.0, 0.0),
        "q4": (0.0, 1.0),
    }
    assert [one.query_id for one in compared.queries][2:] == ["q1", "q2"]
    assert compared.moves == {"rose": 0, "fell": 1, "same": 1, "only_a": 2, "only_b": 1, "neither": 3}
    assert compared.same_lists == 1
    q1 = by_query["q1"]
    assert [(d.doc_id, d.move) for d in q1.relevant] == [("drums", "fell"), ("tap", "only_a"), ("mozart", "neither")]
    assert q1.relevant[0].a[:2] == (1, 9.0)
    assert q1.relevant[0].b[:2] == (2, 8.0)
    assert q1.relevant[0].title == DOCUMENTS["drums"]
    assert [d.doc_id for d in q1.only_b] == ["shark"]
    assert q1.overlap == 0.5
    assert compared.a.recall[1] == pytest.approx((1 / 3 + 1 / 2 + 1 + 0) / 4)


def test_a_run_of_our_own_is_the_search_that_made_it(dataset, settings, fakes, tmp_path):
    folder, models = dataset(), {"sparse": "fake/sparse", "dense": "fake/dense"}
    evaluate(folder, settings=settings, runs=tmp_path, modes=["hybrid"], **models)
    compared = compare(str(tmp_path / "films.hybrid.trec"), f"hybrid,{FAKES}", folder, settings=settings)
    assert compared.same_lists == compared.judged
    assert {one.p for one in compared.measures} == {1.0}


def earlier(folder, settings, path, modes=("bm25", "sparse"), **options):
    models = {"sparse": "qdrant/bm25-engine", "dense": "none"}
    report = evaluate(folder, settings=settings, modes=list(modes), **{**models, **options})
    path.write_text(json.dumps(report.to_dict()))
    return str(path)


def test_the_values_of_an_earlier_evaluation_are_compared_without_ranks(dataset, settings, trec, tmp_path):
    folder = dataset()
    file = earlier(folder, settings, tmp_path / "before.json")
    compared = compare(f"{file}@sparse", trec(GOOD), folder, settings=settings, query="q1")
    means = {r["mode"]: r["measures"] for r in json.loads((tmp_path / "before.json").read_text())["results"]}
    assert {one.name: round(one.a, 4) for one in compared.measures} == means["sparse"]
    assert (compared.moves, compared.same_lists, compared.a.recall) == ({}, None, {})
    assert compared.b.recall
    assert compared.queries[0].lists is None
    assert any("where documents stand in it cannot be told" in note for note in compared.notes)
    with pytest.raises(InvalidArgument, match=r"has several modes\. Name one of bm25, sparse"):
        compare(file, trec(GOOD), folder, settings=settings)
    with pytest.raises(InvalidArgument, match="has no mode 'dense'"):
        compare(f"{file}@dense", trec(GOOD), folder, settings=settings)
    with pytest.raises(InvalidArgument, match="has no AP of sparse; it has nDCG@10, R@100, RR@10"):
        compare(f"{file}@sparse", trec(GOOD), folder, settings=settings, measures=["AP"])
    both = compare(f"{file}@sparse", f"{file}@bm25", folder, settings=settings)
    assert {one.difference for one in both.measures} == {0.0}


def test_only_what_earlier_evaluations_have_is_compared_by_default(dataset, settings, trec, tmp_path):
    folder = dataset()
    file = earlier(folder, settings, tmp_path / "one.json", ["sparse"], measures=["AP", "RR@10"])
    assert [one.name for one in compare(file, trec(GOOD), folder, settings=settings).measures] == ["RR@10"]
    file = earlier(folder, settings, tmp_path / "two.json", ["sparse"], measures=["AP", "P@1"])
    assert [one.name for one in compare(file, trec(GOOD), folder, settings=settings).measures] == ["AP", "P@1"]


# ---------------------------------------------------------------- what is refused


def test_an_evaluation_that_cannot_be_compared(dataset, settings, trec, tmp_path):
    folder = dataset()
    file = earlier(folder, settings, tmp_path / "before.json")
    other = dataset("other", documents={**DOCUMENTS, "new": "Something new."})
    with pytest.raises(InvalidArgument, match=r"The file .*before\.json .*other data than 'other': corpus"):
        compare(f"{file}@sparse", trec(GOOD), other, settings=settings)
    told = json.loads((tmp_path / "before.json").read_text())
    told["results"][1]["per_query"].pop(0)
    (tmp_path / "before.json").write_text(json.dumps(told))
    with pytest.raises(EvaluationError, match=r"has no nDCG@10 of sparse for 1 query \('q1'\)"):
        compare(f"{file}@sparse", trec(GOOD), folder, settings=settings)
    for text in ("{}", '{"results": [', '{"dataset": 1, "fingerprints": {}, "results": [{"mode": "x"}]}'):
        (tmp_path / "before.json").write_text(text)
        with pytest.raises(
            EvaluationError, match=r"The file .*before\.json is not what `evaluate --format json` prints"
        ):
            compare(f"{file}@sparse", trec(GOOD), folder, settings=settings)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("1", "tap", 1), ("2", "mars", 1)], r"none of the 4 judged queries of films. It has 2 queries \('1', '2'\)"),
        ([("q1", "a-1", 1), ("q2", "b-2", 1)], r"no document of films. It has 2 documents \('a-1', 'b-2'\)"),
        ([("q1", "tap", "nan")], r"x\.trec:1: the score nan is not finite"),
        ([("q1", "tap", 2), ("q1", "tap", 1)], "more than once"),
        ([], "holds no line of a run"),
        ([("q1", "tap", "high")], r"x\.trec:1"),
    ],
)
def test_a_run_of_something_else_or_that_is_broken(dataset, settings, trec, rows, message):
    with pytest.raises(EvaluationError, match=message):
        compare(trec(GOOD, "good.trec"), trec(rows), dataset(), settings=settings)


def test_a_run_with_nothing_but_documents_that_nobody_judged_is_a_bad_run(dataset, settings, trec):
    folder = dataset(documents={**DOCUMENTS, "plain": "Something else."})
    compared = compare(trec(GOOD, "a.trec"), trec([("q1", "plain", 1)]), folder, settings=settings)
    assert compared.measures[0].b == 0
    assert any("has nothing for 3 queries" in note for note in compared.notes)


def test_what_is_refused_before_anything_is_read_or_built(dataset, settings, trec, evaluations):
    folder, one = dataset(), trec(GOOD)
    for sides in (("hybrid", "hybrid"), (one, one), ("hybrid,depth=9,rrf_k=2", "hybrid,rrf_k=2,depth=9")):
        with pytest.raises(InvalidArgument, match="are the same"):
            compare(*sides, folder, settings=settings)
    for k in (0, -1, 10_001):
        with pytest.raises(InvalidArgument, match=f"k is {k}"):
            compare("sparse", "dense", folder, settings=settings, k=k)
    with pytest.raises(InvalidArgument, match=r"no judged query 'q5' in films. It has 4 queries \('q1', 'q2', 'q3'"):
        compare("sparse", "dense", folder, settings=settings, query="q5")
    with pytest.raises(EvaluationError, match="nDCC"):
        compare("sparse", "dense", folder, settings=settings, measures=["nDCC"])
    with pytest.raises(EvaluationError, match="not a BEIR folder"):
        compare("sparse", "dense", folder / "qrels", settings=settings)
    assert evaluations.names() == []


def test_k_cuts_what_is_compared(dataset, settings, trec):
    compared = compare(trec(GOOD, "a.trec"), trec(OTHER, "b.trec"), dataset(), settings=settings, k=1, query="q1")
    [one] = compared.queries
    assert [len(ranking) for ranking in one.lists] == [1, 1]
    assert {d.doc_id: d.move for d in one.relevant} == {"drums": "only_a", "tap": "neither", "mozart": "neither"}
    assert list(compared.a.recall) == [1]


def test_a_collection_of_another_corpus_is_refused_and_what_it_lacks_is_told(dataset, settings, trec):
    folder = dataset()
    models = {"sparse": "qdrant/bm25-engine", "dense": "none"}
    Indexer.open("else", settings=settings, **models).index([{"_id": "x", "text": "another corpus"}])
    with pytest.raises(EvaluationError, match="None of the documents"):
        compare(trec(GOOD), "else", folder, settings=settings)
    Indexer.open("mine", settings=settings, **models).index(folder)
    compared = compare(trec(GOOD), "mine", folder, settings=settings)
    assert any("lacks 1 relevant document ('not-in-the-corpus')" in note for note in compared.notes)


# ---------------------------------------------------------------- JSON


def keys(value):
    if isinstance(value, dict):
        return {key: keys(inner) for key, inner in value.items()}
    return [keys(value[0])] if isinstance(value, list) and value else None


def test_the_json_is_plain_and_of_one_shape(dataset, settings, trec):
    compared = compare(trec(GOOD, "a.trec"), trec(OTHER, "b.trec"), dataset(), settings=settings, query="q1")
    told = json.loads(json.dumps(compared.to_dict(), allow_nan=False))
    assert list(told) == [
        *("dataset", "queries", "k", "a", "b", "measures", "relevant_documents", "same_lists", "per_query", "notes")
    ]
    place = {"rank": None, "score": None}
    document = {"doc_id": None, "title": None, "relevance": None, "move": None, "a": place, "b": place}
    values = {name: {"a": None, "b": None, "difference": None} for name in ("nDCG@10", "R@100", "RR@10")}
    assert keys(told["per_query"]) == [
        {
            "query_id": None,
            "query": None,
            "measures": values,
            "overlap@10": None,
            "same_list": None,
            "relevant": [document],
            "only_a": [{**document, "b": None}],
            "only_b": [{**document, "a": None}],
            "a": [document],
            "b": [{**document, "a": None}],
        }
    ]
    assert set(told["measures"][0]) == {
        *("measure", "a", "b", "difference", "interval", "p", "p_holm", "better", "same", "worse")
    }
    assert set(told["a"]) == {"label", "kind", "collection", "mode", "settings", "models", "recall"}
    again = compare(trec(GOOD, "a.trec"), trec(OTHER, "b.trec"), dataset(), settings=settings, query="q1")
    assert again.to_dict() == compared.to_dict()
