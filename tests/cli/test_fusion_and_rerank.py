"""`search` and `evaluate` with their options of fusion and re-ranking."""

import json
import re

import pytest

from hybrid_search.cli.values import valued
from tests import hub_models

ROWS = [
    {"_id": "a", "title": "Apples", "text": "Red apples grow on old trees."},
    {"_id": "b", "text": "Green pears and apples are sweet in autumn."},
    {"_id": "c", "text": "Yellow bananas come by ship, apples do not, and pears do not."},
]


@pytest.fixture
def three(run, jsonl, bundled):
    """The collection `three`, with BM25 and the dense vectors of the bundled model."""
    done = run("index", jsonl(ROWS), "-c", "three", "--sparse", "qdrant/bm25-engine", "--dense", bundled)
    assert done.code == 0


@pytest.fixture(scope="module")
def cross(tmp_path_factory):
    return hub_models.reranker_folder(tmp_path_factory.mktemp("cross") / "model")


@pytest.fixture
def tiny(tmp_path):
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps(row) + "\n" for row in ROWS]
    (folder / "corpus.jsonl").write_text("".join(lines))
    (folder / "queries.jsonl").write_text('{"_id": "1", "text": "apples"}\n{"_id": "2", "text": "pears"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n2\tb\t1\n")
    return folder


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--rerank"], ["--rerank", ""]),
        (["q", "--rerank", "--k", "3"], ["q", "--rerank", "", "--k", "3"]),
        (["q", "--rerank", "-k", "3"], ["q", "--rerank", "", "-k", "3"]),
        (["q", "--rerank", "a/b", "-k", "3"], ["q", "--rerank", "a/b", "-k", "3"]),
        (["q", "--rerank=a/b"], ["q", "--rerank=a/b"]),
        (["q", "--rerank-depth", "5"], ["q", "--rerank-depth", "5"]),
        (["--", "--rerank"], ["--", "--rerank"]),
    ],
)
def test_an_option_whose_value_may_be_missing(given, expected):
    assert valued(given) == expected


def test_search_takes_every_fusion(run, three):
    seen = {}
    for how in ("rrf", "dbsf", "minmax"):
        done = run("search", "apples", "-c", "three", "--fusion", how, "--format", "json")
        assert (done.code, done.err) == (0, "")
        seen[how] = [hit["score"] for hit in json.loads(done.out)["hits"]]
        assert len(seen[how]) == 3
    assert seen["rrf"] != seen["dbsf"] != seen["minmax"]
    assert max(seen["minmax"]) <= 2.0


def test_automatic_weights_are_shown(run, three):
    shown = json.loads(run("search", "apples", "-c", "three", "--weights", "auto", "--format", "json").out)
    assert list(shown["weights"]) == ["sparse", "dense"]
    assert "weights sparse 1.00, dense 1.00" in run("search", "apples", "-c", "three", "--weights", "auto").out
    done = run("search", "apples", "-c", "three", "--weights", "automatic")
    assert (done.code, done.out) == (2, "")
    assert "write name=number" in done.err


def test_rerank_with_a_model_shows_both_ranks(run, three, cross):
    done = run("search", "apples", "-c", "three", "--rerank", cross, "--rerank-depth", 2, "--format", "json")
    assert (done.code, done.err) == (0, "")
    shown = json.loads(done.out)
    assert (shown["reranker"], shown["reranked"], shown["rerank_depth"]) == (str(cross), 2, 2)
    assert sorted(hit["fused_rank"] for hit in shown["hits"]) == [1, 2, 3]
    first, second, third = shown["hits"]
    assert first["rerank_score"] > second["rerank_score"]
    assert (third["rerank_score"], third["fused_rank"]) == (None, 3)
    assert shown["timings_ms"]["rerank"] > 0
    table = run("search", "apples", "-c", "three", "--rerank", cross, "--rerank-depth", 2).out
    assert re.search(r"re-ranked -?\d+\.\d{3}, was [12]  ·  0\.\d{4}  =  sparse", table)
    assert "not re-ranked, was 3" in table
    assert "re-ranked 2 of 2 by " in table


def test_a_reranked_run_falls_in_the_order_shown(run, three, cross):
    arguments = ("search", "apples", "-c", "three", "--rerank", cross, "--rerank-depth", 2)
    hits = json.loads(run(*arguments, "--format", "json").out)["hits"]
    lines = [line.split() for line in run(*arguments, "--format", "trec").out.splitlines()]
    assert [line[2] for line in lines] == [hit["doc_id"] for hit in hits]
    assert [float(line[4]) for line in lines] == pytest.approx([1, 1 / 2, 1 / 3])


def test_rerank_alone_takes_the_usual_model(run, three, cross, monkeypatch):
    """None is here, so it says which others are, and what to do; a setting names another one."""
    for arguments in (("--rerank", "-k", 3), ("-k", 3, "--rerank")):
        done = run("search", "apples", "-c", "three", *arguments)
        assert (done.code, done.out) == (3, "")
        assert "Nothing can be re-ranked with Xenova/ms-marco-MiniLM-L-6-v2" in done.err
        assert "No other re-ranker is on this machine" in done.err
    monkeypatch.setenv("HYBRID_SEARCH_RERANKER", str(cross))
    done = run("search", "apples", "-c", "three", "--rerank", "--rerank-budget-ms", 60_000)
    assert done.code == 0
    assert "re-ranked 3 of 3 by " in done.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fusion", "magic"], "rrf, dbsf, minmax, convex"),
        (["--rerank", "--rerank-depth", "0"], "rerank_depth is 0"),
        (["--rerank", "--rerank-budget-ms", "0"], "milliseconds > 0"),
        (["--rerank-budget-ms", "5"], "nothing is re-ranked; add rerank (--rerank)"),
        (["--rrf-k", "-1"], "rrf_k is -1"),
    ],
)
def test_usage_errors_are_exit_code_two(run, three, options, message):
    done = run("search", "apples", "-c", "three", *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_evaluate_judges_reranked_modes(run, tiny, cross, bundled, tmp_path):
    models = ("--sparse", "qdrant/bm25-engine", "--dense", bundled)
    command = ("evaluate", tiny, *models, "--rerank", cross, "--rerank-depth", 2, "--format", "json")
    done = run(*command, "--runs", tmp_path / "runs")
    assert done.code == 0
    modes = [row["mode"] for row in json.loads(done.out)["results"]]
    assert modes == ["bm25", "sparse", "dense", "hybrid", "hybrid+rerank"]
    assert (tmp_path / "runs" / "tiny.hybrid+rerank.trec").is_file()
    done = run(*command, "--modes", "sparse+rerank,hybrid+auto,hybrid+auto+rerank,hybrid", "--fusion", "minmax")
    assert [row["mode"] for row in json.loads(done.out)["results"]] == [
        "sparse+rerank",
        "hybrid+auto",
        "hybrid+auto+rerank",
        "hybrid",
    ]


@pytest.mark.parametrize("mode", ["rerank", "auto", "dense+auto", "bm25+auto", "colbert+rerank", "hybrid+rerank+auto"])
def test_modes_that_are_none(run, tiny, mode):
    done = run("evaluate", tiny, "--sparse", "qdrant/bm25-engine", "--dense", "none", "--modes", mode)
    assert (done.code, done.out) == (2, "")
    assert f"Unknown mode: {mode}" in done.err


def test_evaluate_with_no_reranker_at_hand_is_an_error(run, tiny):
    arguments = ("--sparse", "qdrant/bm25-engine", "--dense", "none", "--modes", "sparse+rerank")
    done = run("evaluate", tiny, *arguments)
    assert (done.code, done.out) == (3, "")
    assert "Nothing can be re-ranked" in done.err
