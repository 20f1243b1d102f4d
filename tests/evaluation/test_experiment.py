"""A dataset judged from its folder to its report."""

import json

import pytest

from hybrid_search.collection.legs import swap_legs
from hybrid_search.corpus.trec import read_beir_qrels, read_run
from hybrid_search.errors import CollectionNotFound, CorpusError, EvaluationError, InvalidArgument
from hybrid_search.evaluation import cached_collections, measures
from hybrid_search.evaluation.experiment import evaluate
from hybrid_search.indexer import Indexer
from hybrid_search.indexing.add_leg import add_leg
from hybrid_search.searcher import Searcher
from hybrid_search.store.edge.store import EdgeStore
from tests.evaluation.conftest import DOCUMENTS, QRELS, QUERIES

BM25 = {"sparse": "qdrant/bm25-engine", "dense": "none"}


def by_mode(report):
    return {result.mode: result for result in report.results}


def test_all_four_modes_of_the_bundled_profile(dataset, settings, bundled, tmp_path, evaluations):
    folder, runs = dataset(), tmp_path / "runs"
    report = evaluate(folder, settings=settings, profile="bundled", runs=runs, measures=["nDCG@10", "R@100", "P@1"])
    assert (report.dataset, report.documents, report.queries, report.profile) == ("films", 6, 4, "bundled")
    found = by_mode(report)
    assert list(found) == ["bm25", "sparse", "dense", "hybrid"]
    assert found["bm25"].baseline_p is None
    assert found["sparse"].baseline_p is not None
    assert found["dense"].measures["nDCG@10"] > found["bm25"].measures["nDCG@10"]
    assert found["dense"].measures["R@100"] == round((1 + 1 + 1 + 0.5) / 4, 4)
    assert all(list(result.measures) == ["nDCG@10", "R@100", "P@1"] for result in report.results)
    assert set(report.timings_s) == {"index", "bm25", "sparse", "dense", "hybrid"}

    # The run files hold what was scored, in its order.
    parsed = measures.parse(["nDCG@10"])
    qrels = read_beir_qrels(folder / "qrels" / "test.tsv")
    for mode, result in found.items():
        run = read_run(runs / f"films.{mode}.trec")
        assert {row.query_id for row in run} <= {"q1", "q2", "q3", "q4"}
        again = measures.score(run, qrels, parsed)["nDCG@10"].mean()
        assert round(float(again), 4) == result.measures["nDCG@10"]
    (name,) = [name for name in evaluations.names() if evaluations.info(name).manifest.profile == "bundled"]
    with Searcher.open(name, store=evaluations, settings=settings) as searcher:
        expected = [hit.doc_id for hit in searcher.search("music", k=1000)]
    assert [row.doc_id for row in read_run(runs / "films.hybrid.trec") if row.query_id == "q1"] == expected


def test_the_second_time_nothing_is_indexed(dataset, settings, evaluations):
    first = evaluate(dataset(), settings=settings, **BM25)
    assert [job.documents for job in first.indexed] == [6]
    second = evaluate(dataset(), settings=settings, **BM25)
    assert second.indexed == ()
    assert second.timings_s["index"] == 0.0
    assert second.results == first.results
    third = evaluate(dataset("the-same-films-elsewhere"), settings=settings, **BM25)
    assert third.indexed == ()
    assert len(evaluations.names()) == 1
    assert EdgeStore(settings.store).names() == []


def test_what_was_built_is_in_the_cache_folder_and_can_be_cleared(dataset, settings, bundled, monkeypatch, tmp_path):
    monkeypatch.undo()
    settings = settings.model_copy(update={"cache_dir": tmp_path / "cache"})
    assert cached_collections.kept(settings) == (tmp_path / "cache" / "evaluation", 0, 0)
    evaluate(dataset(), settings=settings, **BM25)
    there = cached_collections.kept(settings)
    assert (there.folder, there.collections) == (tmp_path / "cache" / "evaluation", 1)
    assert there.bytes > 10_000
    (there.folder / "half-begun").mkdir()
    assert cached_collections.clear(settings) == there._replace(collections=2)
    assert cached_collections.kept(settings).collections == 1  # a folder that is none of ours stays
    assert sorted(path.name for path in there.folder.iterdir()) == ["half-begun"]
    assert not (tmp_path / "store").exists()
    assert evaluate(dataset(), settings=settings, **BM25).documents == 6


def test_a_run_is_as_deep_as_asked_for_whatever_is_measured(dataset, settings, tmp_path):
    many = {f"d{n}": f"music number {n}" for n in range(150)}
    folder = dataset(documents={**DOCUMENTS, **many})
    Indexer.open("mine", settings=settings, chunk_tokens=16, **BM25).index(folder)
    for collection in (None, "mine"):
        options = {"settings": settings, "collection": collection, "modes": ["sparse"], "measures": ["nDCG@10"]}
        options |= {} if collection else BM25
        for depth, expected in ((1000, 152), (120, 120), (3, 10)):
            evaluate(folder, runs=tmp_path / "runs", run_depth=depth, **options)
            rows = [row for row in read_run(tmp_path / "runs" / "films.sparse.trec") if row.query_id == "q1"]
            assert len(rows) == expected
    for wrong in (0, -1, 10_001):
        with pytest.raises(InvalidArgument, match="run_depth"):
            evaluate(folder, run_depth=wrong, settings=settings, **BM25)


def test_another_corpus_or_another_model_is_another_collection(dataset, settings, bundled, evaluations):
    evaluate(dataset(), settings=settings, **BM25)
    evaluate(dataset(documents={**DOCUMENTS, "new": "Something new."}), settings=settings, **BM25)
    report = evaluate(dataset(), settings=settings, sparse="none", dense=bundled, modes=["dense"])
    names = evaluations.names()
    assert len(names) == 3
    assert all(name.startswith("eval-films-") for name in names)
    assert [job.documents for job in report.indexed] == [6]


def test_the_baseline_is_built_beside_models_that_are_not_bm25(dataset, settings, bundled):
    report = evaluate(dataset(), settings=settings, sparse="none", dense=bundled)
    assert list(by_mode(report)) == ["bm25", "dense"]
    assert len(report.indexed) == 2
    assert by_mode(report)["bm25"] == by_mode(evaluate(dataset(), settings=settings, **BM25))["bm25"]


def test_a_build_cut_short_is_finished_the_next_time(dataset, settings, evaluations):
    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(dataset(), settings=settings, watch={"on_progress": stop}, **BM25)
    assert evaluations.names() == []
    report = evaluate(dataset(), settings=settings, **BM25)
    assert report.documents == 6


def test_a_collection_of_the_users_own_is_judged_as_it_is(dataset, settings):
    folder = dataset()
    Indexer.open("mine", settings=settings, chunk_tokens=16, **BM25).index(folder)
    report = evaluate(folder, settings=settings, collection="mine")
    assert list(by_mode(report)) == ["bm25", "sparse"]
    assert report.indexed == ()
    assert EdgeStore(settings.store).names() == ["mine"]
    with pytest.raises(InvalidArgument, match="no dense to judge"):
        evaluate(folder, settings=settings, collection="mine", modes=["dense"])
    with pytest.raises(CollectionNotFound, match="mien"):
        evaluate(folder, settings=settings, collection="mien")


@pytest.mark.parametrize(
    ("modes", "message"),
    [
        (["dense"], "no dense to judge: the models have a sparse leg only. Take any of: bm25, sparse"),
        (["sparse", "hybrid", "dense"], "no hybrid and no dense"),
        (["lexical"], "Unknown mode: lexical"),
        ([], "none given"),
    ],
)
def test_modes_that_cannot_be_are_refused_before_anything_is_built(dataset, settings, modes, message):
    with pytest.raises(InvalidArgument, match=message):
        evaluate(dataset(), settings=settings, modes=modes, **BM25)
    assert EdgeStore(settings.store).names() == []


def test_queries_without_an_answer_count_as_zero(dataset, settings):
    report = evaluate(dataset(queries={"q1": "music", "q2": "zzz"}, qrels=QRELS[:5]), settings=settings, **BM25)
    assert by_mode(report)["sparse"].measures["RR@10"] == 0.5


def test_a_document_without_text_is_told_and_does_not_stop_it(dataset, settings):
    report = evaluate(dataset(documents={**DOCUMENTS, "blank": ""}), settings=settings, **BM25)
    assert report.documents == 6
    assert [failure.reason.split(":")[0] for failure in report.indexed[0].failures] == ["no text"]


@pytest.mark.parametrize("name", ["ünïcode and spaces", "a__v2", "-" + "x" * 150])
def test_a_folder_may_have_any_name(dataset, settings, name):
    report = evaluate(dataset(name), settings=settings, modes=["sparse"], **BM25)
    assert report.dataset == name
    assert report.documents == 6


def test_the_report_as_json(dataset, settings):
    shown = evaluate(dataset(), settings=settings, measures=["P@1"], **BM25).to_dict()
    assert list(shown) == [
        *("dataset", "documents", "queries", "profile", "results", "timings_s", "baseline", "fingerprints", "notes")
    ]
    assert shown["results"][1] == {
        "mode": "sparse",
        "measures": {"P@1": 0.75},
        "baseline_p": 1.0,
        "baseline_p_holm": 1.0,
        "intervals": {"P@1": [0.25, 1.0]},
        "per_query": [{"query_id": f"q{n}", "P@1": value} for n, value in enumerate((1.0, 1.0, 1.0, 0.0), 1)],
    }
    assert list(shown["fingerprints"]) == ["corpus", "queries", "qrels", "models"]
    assert json.loads(json.dumps(shown)) == shown


def test_a_folder_that_lacks_a_piece(dataset, settings):
    folder = dataset()
    (folder / "queries.jsonl").unlink()
    with pytest.raises(EvaluationError, match=r"queries\.jsonl"):
        evaluate(folder, settings=settings, **BM25)


# ---------------------------------------------------------------- any legs


def test_three_legs_are_judged_each_alone_and_together(dataset, settings, fakes):
    folder = dataset()
    both = {"sparse": "fake/both", "dense": "fake/both"}
    report = evaluate(folder, settings=settings, legs=["sparse", "dense", "bm25"], **both)
    found = by_mode(report)
    assert list(found) == ["bm25", "sparse", "dense", "hybrid"]
    assert len(report.indexed) == 1  # its own bm25 leg is the baseline
    alone = by_mode(evaluate(folder, settings=settings, **BM25))["bm25"].measures
    assert found["bm25"].measures == alone
    two = by_mode(evaluate(folder, settings=settings, modes=["bm25", "hybrid"], **both))
    assert (two["bm25"].measures, list(two)) == (alone, ["bm25", "hybrid"])
    fused = evaluate(
        folder, settings=settings, legs=["sparse", "dense", "bm25"], modes=["sparse+dense", "bm25+dense"], **both
    )
    assert by_mode(fused)["sparse+dense"].measures == two["hybrid"].measures


def test_a_new_leg_is_judged_beside_the_old_one_and_so_is_hybrid_with_each(dataset, settings, fakes, tmp_path):
    folder = dataset()
    Indexer.open("mine", settings=settings, sparse="fake/sparse", dense="fake/dense").index(folder)
    add_leg("mine", "new", "fake/sparse-2", settings=settings)
    report = evaluate(folder, settings=settings, collection="mine", runs=tmp_path)
    before = by_mode(report)
    assert list(before) == ["bm25", "sparse", "dense", "new", "hybrid", "new+dense"]
    assert before["new+dense"].baseline_p is not None
    assert (tmp_path / "films.new+dense.trec").is_file()
    assert "new+dense" in report.timings_s
    few = evaluate(folder, settings=settings, collection="mine", modes=["sparse", "new", "hybrid", "dense+new"])
    assert list(by_mode(few)) == ["sparse", "new", "hybrid", "dense+new"]
    assert by_mode(few)["dense+new"].measures == before["new+dense"].measures
    swap_legs("mine", "sparse", "new", settings=settings)
    after = by_mode(evaluate(folder, settings=settings, collection="mine"))
    for one, other in (("sparse", "new"), ("new", "sparse"), ("hybrid", "new+dense"), ("new+dense", "hybrid")):
        assert after[one].measures == before[other].measures


@pytest.mark.parametrize(
    ("modes", "message"),
    [
        (["new+colbert"], r"Unknown mode: new\+colbert. Take any of: bm25, sparse, dense, new, hybrid; or legs fused"),
        (["hybrid+new"], r"Unknown mode: hybrid\+new"),
        (["colbert"], "Unknown mode: colbert"),
        (["dense"], "no dense to judge: the models have a sparse and a new leg only"),
        (["hybrid"], "no hybrid to judge"),
    ],
)
def test_modes_that_a_collection_does_not_have(dataset, settings, fakes, modes, message):
    Indexer.open("mine", settings=settings, sparse="fake/sparse", dense="none").index(dataset())
    add_leg("mine", "new", "fake/sparse-2", settings=settings)
    with pytest.raises(InvalidArgument, match=message):
        evaluate(dataset(), settings=settings, collection="mine", modes=modes)


# ---------------------------------------------------------------- weights of terms, and runs of other engines

MODELS = {"sparse": "fake/sparse", "dense": "fake/dense"}


@pytest.fixture
def topics(tmp_path):
    """Write the weights of queries' terms; gives the file."""

    def write(weights):
        file = tmp_path / "topics.jsonl"
        lines = (json.dumps({"id": query_id, "vector": vector}) for query_id, vector in weights.items())
        file.write_text("".join(f"{line}\n" for line in lines))
        return file

    return write


def counted_weights():
    """What `fake/sparse` makes of the queries: 1 and the length of each word."""
    return {query_id: {word: 1.0 + len(word) for word in text.split()} for query_id, text in QUERIES.items()}


def test_the_models_own_weights_from_a_file_are_judged_as_the_texts_are(dataset, settings, fakes, topics, tmp_path):
    folder = dataset()
    wanted = evaluate(folder, settings=settings, **MODELS, runs=tmp_path / "texts")
    fakes.calls("sparse")
    weights = {**counted_weights(), "q99": {"more": 1}}
    found = evaluate(folder, settings=settings, **MODELS, runs=tmp_path / "given", query_vectors=topics(weights))
    assert found.results == wanted.results
    for mode in ("bm25", "sparse", "dense", "hybrid"):
        name = f"films.{mode}.trec"
        assert (tmp_path / "given" / name).read_text() == (tmp_path / "texts" / name).read_text()
    assert not fakes.calls("sparse")
    assert not found.lacking
    assert found.notes == (
        "2 queries of the file are not judged, and were not searched.",
        "The collection lacks 1 relevant document ('not-in-the-corpus') of 7; no mode can find what is not there.",
    )
    assert not {"lacking", "outside", "approximation"} & wanted.to_dict().keys()


def test_other_weights_change_the_sparse_leg_alone(dataset, settings, fakes, topics):
    texts = by_mode(evaluate(dataset(), settings=settings, **MODELS))
    weights = {query_id: {"shark": 1.0} for query_id in QUERIES}
    given = by_mode(evaluate(dataset(), settings=settings, **MODELS, query_vectors=topics(weights)))
    assert given["bm25"] == texts["bm25"]
    assert given["dense"].measures == texts["dense"].measures
    assert given["sparse"].measures["RR@10"] == 0.25  # q4
    assert given["hybrid"].measures != texts["hybrid"].measures


def test_queries_that_the_file_or_the_model_lacks_are_counted_and_named(dataset, settings, fakes, topics, tmp_path):
    weights = {**counted_weights(), "q2": {"Unknown term": 2.0}, "q3": {"rock": 2.0, "A Band": 1.0}}
    del weights["q1"]
    found = evaluate(
        dataset(), settings=settings, **MODELS, modes=["sparse", "hybrid"], query_vectors=topics(weights), runs=tmp_path
    )
    assert found.lacking == {
        "q1": "the file has no vector for it",
        "q2": "the model has none of its terms",
    }
    assert found.to_dict()["lacking"] == found.lacking
    assert found.notes[:3] == (
        "The sparse leg finds nothing for 1 query ('q1'): the file has no vector for it.",
        "The sparse leg finds nothing for 1 query ('q2'): the model has none of its terms.",
        "The model does not have 1 term ('A Band'), of 1 queries.",
    )
    assert {row.query_id for row in read_run(tmp_path / "films.sparse.trec")} <= {"q3", "q4"}
    assert {row.query_id for row in read_run(tmp_path / "films.hybrid.trec")} == {"q1", "q2", "q3", "q4"}


def test_a_collection_that_exists_is_judged_with_weights_too(dataset, settings, fakes, topics):
    folder = dataset()
    Indexer.open("mine", settings=settings, **MODELS).index(folder)
    options = {"settings": settings, "collection": "mine", "modes": ["sparse", "hybrid"]}
    given = evaluate(folder, **options, query_vectors=topics(counted_weights()))
    assert given.results == evaluate(folder, **options).results


def test_broken_weights_are_refused_before_anything_is_built(dataset, settings, fakes, topics, evaluations):
    with pytest.raises(CorpusError, match=r"topics\.jsonl:1: The weight of 'music' is -1"):
        evaluate(dataset(), settings=settings, **MODELS, query_vectors=topics({"q1": {"music": -1}}))
    assert not evaluations.names()


def test_a_run_of_another_engine_is_judged_beside_the_modes(dataset, settings, tmp_path):
    folder, runs = dataset(), tmp_path / "runs"
    own = evaluate(folder, settings=settings, **BM25, runs=runs, run_depth=100)
    rows = [line.split() for line in (runs / "films.bm25.trec").read_text().splitlines()]
    other = tmp_path / "other.trec"
    other.write_text("".join(f"{q} Q0 {doc}#{rank} {rank} {score} Lucene\n" for q, _, doc, rank, score, _ in rows))
    perfect = tmp_path / "perfect.trec"
    rows = [f"{query_id} Q0 {doc_id} 1 {1 + relevance} ideal\n" for query_id, doc_id, relevance in QRELS]
    perfect.write_text("".join(rows))
    report = evaluate(folder, settings=settings, **BM25, outside_runs=[other, perfect])
    found = by_mode(report)
    assert list(found) == ["bm25", "sparse", "Lucene", "ideal"]
    assert found["Lucene"].measures == by_mode(own)["bm25"].measures
    assert set(found["ideal"].measures.values()) == {1.0}
    assert found["ideal"].baseline_p is not None
    assert report.outside == ("Lucene", "ideal")
    assert report.to_dict()["outside"] == ["Lucene", "ideal"]


def test_a_broken_run_is_refused_with_its_line(dataset, settings, tmp_path):
    file = tmp_path / "broken.trec"
    file.write_text("q1 Q0 tap 1 1 x\nq1 Q0 mars\n")
    with pytest.raises(EvaluationError, match=r"broken\.trec:2: expected 6 columns, found 3"):
        evaluate(dataset(), settings=settings, **BM25, outside_runs=[file])
