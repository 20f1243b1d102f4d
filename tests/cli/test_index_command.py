"""`index`: what is said, what is counted, and everything that can be wrong with its input."""

import base64
import json
import os
import re
import shutil
import sys
from collections import namedtuple

import pytest

from hybrid_search.searcher import Searcher
from hybrid_search.settings import load_settings
from tests.odd_reading import InThisProcess
from tests.store.store_points import edit_manifests


def searched(query, name="c", k=10):
    with Searcher.open(name, settings=load_settings()) as searcher:
        return [hit.doc_id for hit in searcher.search(query, k=k)]


def index(run, *arguments, **options):
    return run("index", *arguments, "--sparse", "qdrant/bm25-engine", "--dense", "none", **options)


def test_the_summary_goes_to_stdout_and_the_exit_code_is_zero(run, jsonl, disk, monkeypatch):
    monkeypatch.setenv("HYBRID_SEARCH_STORE", str(disk))
    file = jsonl(
        [{"_id": "a", "text": "red apples"}, {"_id": "b", "text": "pears"}, {"_id": "a", "text": "red apples"}]
    )
    done = index(run, file, "-c", "c")
    assert (done.code, done.err) == (0, "")
    assert re.search(r"c  profile custom", done.out)
    assert re.search(r"documents indexed +2 in 2 chunks", done.out)
    assert re.search(r"repeated in the source +1", done.out)
    assert re.search(r"failed +0", done.out)
    assert re.search(r"on disk +\d\.\d MB", done.out)
    again = index(run, file, "-c", "c")
    assert re.search(r"documents indexed +0 in 0 chunks", again.out)
    assert re.search(r"unchanged +2", again.out)


def test_a_missing_file_is_an_error_that_offers_the_near_ones(run, jsonl, tmp_path):
    jsonl([{"_id": "a", "text": "x"}], "notes.jsonl")
    done = index(run, tmp_path / "note.jsonl", tmp_path / "away", "-c", "c")
    assert (done.code, done.out) == (3, "")
    assert "note.jsonl" in done.err
    assert "notes.jsonl" in done.err
    assert "away" in done.err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.txt", "empty.csv", "empty.json", "empty.parquet"])
def test_an_empty_file_is_named(run, jsonl, tmp_path, name):
    empty = tmp_path / name
    empty.write_bytes(b"")
    alone = index(run, empty, "-c", "c")
    assert (alone.code, alone.out) == (3, "")
    assert name in alone.err
    assert "empty" in alone.err or "no text" in alone.err
    beside = index(run, empty, jsonl([{"_id": "a", "text": "red apples"}]), "-c", "c")
    assert beside.code == 4
    assert name in beside.err
    assert searched("apples") == ["a"]


def test_broken_lines_are_named_with_path_and_line_and_the_others_go_in(run, jsonl):
    file = jsonl(
        [
            '{"_id": "a", "text": "red apples"}',
            '{"_id": "b", "text": ',
            "",
            "[1, 2]",
            '{"_id": "c", "text": "apples too"}',
        ]
    )
    done = index(run, file, "-c", "c")
    assert done.code == 4
    assert re.search(r"documents indexed +2", done.out)
    assert "2 documents could not be indexed" in done.err
    assert f"{file}:2: not valid JSON" in done.err
    assert f"{file}:4: expected a JSON object, found a list" in done.err
    assert searched("apples") == ["a", "c"] or searched("apples") == ["c", "a"]


def test_a_document_without_text_is_named(run, jsonl):
    file = jsonl([{"_id": "a", "text": ""}, {"_id": "b"}, {"_id": "c", "text": "fine"}, {"_id": "d", "text": " \n "}])
    done = index(run, file, "-c", "c")
    assert done.code == 4
    for line in (1, 2, 4):
        assert re.search(rf"{re.escape(str(file))}:{line}: no text", done.err)


def test_the_same_id_with_other_content_names_both_lines(run, jsonl):
    file = jsonl([{"_id": "a", "text": "one"}, {"_id": "b", "text": "x"}, {"_id": "a", "text": "two"}])
    done = index(run, file, "-c", "c")
    assert done.code == 4
    assert f"{file}:3: doc_id 'a' stands at {file}:1 too, with other content" in done.err
    assert searched("one") == ["a"]
    assert searched("two") == []


def test_many_failures_are_cut_short_and_counted(run, jsonl):
    done = index(run, jsonl([{"_id": "good", "text": "x"}, *[{"_id": f"bad{n}"} for n in range(50)]]), "-c", "c")
    assert done.code == 4
    assert "50 documents could not be indexed" in done.err
    assert "and 30 more" in done.err
    assert done.err.count("no text") == 20


def test_a_document_of_five_megabytes(run, tmp_path):
    words = [f"word{n}" for n in range(20_000)]
    text = " ".join(words * 30)
    big = tmp_path / "big.txt"
    big.write_text(text + " needle.", encoding="utf-8")
    assert big.stat().st_size > 5_000_000
    done = index(run, big, "-c", "c", "--chunk-tokens", 0)
    assert done.code == 0
    assert searched("needle") == ["big.txt"]


def test_five_megabytes_in_chunks(run, tmp_path):
    paragraph = "The river runs past the old copper window of the winter garden, and a letter lies on the stone. "
    big = tmp_path / "big.txt"
    big.write_text((paragraph * 12 + "\n\n") * 4_500 + "needle", encoding="utf-8")
    assert big.stat().st_size > 5_000_000
    done = index(run, big, "-c", "c", "--chunk-tokens", 2_000)
    assert done.code == 0
    assert searched("needle") == ["big.txt"]


def test_binary_junk_is_refused_and_the_others_go_in(run, jsonl, tmp_path):
    junk = tmp_path / "junk"
    junk.mkdir()
    (junk / "a.txt").write_bytes(bytes(range(256)) * 40)
    (junk / "b.jsonl").write_bytes(base64.b64decode("f0VMRgIBAQAAAAAAAAAAAAMAPgABAAAA") * 100)
    (junk / "c.txt").write_text("red apples")
    done = index(run, junk, "-c", "c")
    assert done.code == 4
    assert "a.txt" in done.err
    assert "b.jsonl" in done.err
    assert searched("apples") == ["c.txt"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252", "shift_jis"])
def test_other_encodings_are_read(run, tmp_path, encoding):
    text = {"shift_jis": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 20}.get(
        encoding, "Der Ärger über die süßen Äpfel währte länger als die Kälte. Öfen, Übung und Größe. " * 10
    )
    data = text.encode(encoding)
    file = tmp_path / "text.txt"
    file.write_bytes(b"\xff\xfe" + data if encoding == "utf-16-le" else data)
    assert index(run, file, "-c", "c").code == 0
    with Searcher.open("c", settings=load_settings()) as searcher:
        shown = searcher.search("名前" if encoding == "shift_jis" else "äpfel")
        assert "\ufffd" not in shown[0].passages[0].text if len(shown) else encoding == "shift_jis"


def test_stdin_is_a_source(run):
    rows = b'{"_id": "a", "text": "red apples"}\n{"_id": "b", "text": "pears"}\n'
    done = index(run, "-", "-c", "c", stdin=rows)
    assert (done.code, searched("apples")) == (0, ["a"])
    empty = index(run, "-", "-c", "d", stdin=b"")
    assert empty.code == 3
    assert "stdin" in empty.err


def test_fields_and_globs_choose_what_is_read(run, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "one.csv").write_text("key,headline,story,pages\n7,Apples,Red ones,3\n")
    (folder / "two.md").write_text("# Pears\n\nGreen ones\n")
    options = ("--glob", "*.csv", "--id-field", "key", "--text-fields", "headline,story")
    done = index(run, folder, "-c", "c", *options)
    assert done.code == 0
    assert searched("red") == ["7"]
    assert searched("apples") == ["7"]
    assert searched("green") == []
    missing = index(run, folder, "-c", "d", "--glob", "*.csv", "--id-field", "nokey")
    assert missing.code == 3
    assert "nokey" in missing.err


def test_progress_as_json_lines_on_stderr(run, jsonl):
    rows = [{"_id": f"d{n}", "text": f"word{n}"} for n in range(200)]
    file = jsonl([*rows, {"_id": "bad"}])
    done = index(run, file, "-c", "c", "--progress", "json")
    assert done.code == 4
    events = [json.loads(line) for line in done.err.splitlines()]
    assert [events[0][key] for key in ("event", "collection", "sources")] == ["start", "c", [str(file)]]
    told = [event for event in events if event["event"] == "progress"]
    assert len(told) >= 2
    assert (told[0]["documents"], told[0]["total"], told[0]["eta_s"]) == (0, 201, None)
    counts = {"documents": 200, "chunks": 200, "unchanged": 0, "failed": 1, "total": 201, "tokens": 200}
    measured = {key: told[-1].pop(key) for key in ("seconds", "eta_s", "saved")}
    assert told[-1] == {"event": "progress", "profile": "custom", **counts, "current": str(file)}
    assert measured["seconds"] > 0
    failure = {"path": f"{file}:201", "reason": "no text"}
    assert {**failure, "event": "failure"} in [{**event, "reason": event.get("reason", "")[:7]} for event in events]
    end = events[-1]
    assert (end["event"], end["documents"], end["failed"], end["collection"]) == ("end", 200, 1, "c")
    assert [one["path"] for one in end["failures"]] == [failure["path"]]
    assert index(run, file, "-c", "c", "--progress", "loud").code == 2
    good = jsonl(rows, "good.jsonl")
    assert index(run, good, "-c", "c", "--progress", "none").err == ""


def test_an_error_is_an_event_too(run, jsonl):
    done = index(run, jsonl([{"_id": "a"}]), "-c", "c", "--progress", "json")
    assert done.code == 3
    events = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    assert events[-1]["event"] == "error"
    assert events[-1]["type"] == "CorpusError"
    assert "no document to index" in events[-1]["message"]


def test_a_dry_run_writes_nothing(run, jsonl, tmp_path):
    done = index(run, jsonl([{"_id": "a", "text": "x"}, {"_id": "b"}]), "-c", "c", "--dry-run")
    assert done.code == 4
    assert re.search(r"would be read +1 in 1 chunks", done.out)
    assert not (tmp_path / "store").exists()


def test_prune_and_what_it_says_when_a_document_failed(run, jsonl):
    index(run, jsonl([{"_id": "a", "text": "apples"}, {"_id": "b", "text": "apples"}]), "-c", "c")
    failed = index(run, jsonl([{"_id": "a", "text": "apples"}, {"_id": "b"}]), "-c", "c", "--prune")
    assert failed.code == 4
    assert "--prune was skipped" in failed.err
    assert sorted(searched("apples")) == ["a", "b"]
    done = index(run, jsonl([{"_id": "a", "text": "apples"}]), "-c", "c", "--prune")
    assert re.search(r"removed +1", done.out)
    assert searched("apples") == ["a"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (
            ["--sparse", "qdrant/bm25-engin"],
            3,
            ["'qdrant/bm25-engin'", "Did you mean", "'qdrant/bm25-engine'", "models list"],
        ),
        (["--dense", "BAAI/bge-smal-en"], 3, ["BAAI/bge-small-en-v1.5"]),
        (["--profile", "spalde"], 2, ["'spalde'", "auto, splade, bundled"]),
        (["--sparse", "none", "--dense", "none"], 2, ["keep at least one"]),
        (["--chunk-tokens", "5"], 2, ["chunk_tokens is 5"]),
        (["--chunk-tokens", "32", "--overlap-tokens", "99"], 2, ["99"]),
        (["--sparse", "prithivida/Splade_PP_en_v1"], 3, ["not on this machine", "models download", "bundled"]),
    ],
)
def test_models_and_sizes_that_cannot_be_had(run, jsonl, tmp_path, options, code, words):
    file = jsonl([{"_id": "a", "text": "some words here " * 20}])
    usual = {"--dense": "none", "--sparse": "qdrant/bm25-engine"}
    left = [word for option, value in usual.items() if option not in options for word in (option, value)]
    done = run("index", file, "-c", "c", *left, *options)
    assert (done.code, done.out) == (code, "")
    for word in words:
        assert word in done.err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["", "two words", "../up", "a/b", ".hidden", "x" * 121, "a__v2"])
def test_a_name_that_no_store_can_hold(run, jsonl, name):
    done = index(run, jsonl([{"_id": "a", "text": "x"}]), "-c", name)
    assert done.code == 2
    assert "Collection name" in done.err


def test_another_model_than_the_manifests_is_refused_with_the_fix(run, jsonl, fruit):
    done = run("index", fruit, "-c", "fruit", "--sparse", "Qdrant/bm25")
    assert done.code == 3
    for words in ("'fruit'", "'qdrant/bm25-engine'", "'Qdrant/bm25'", "--replace"):
        assert words in done.err
    assert run("index", fruit, "-c", "fruit").code == 0


def test_a_model_in_the_manifest_that_nobody_knows(run, fruit, tmp_path):
    edit_manifests(tmp_path / "store", lambda data: data["manifest"]["legs"]["sparse"].update(model="acme/model-9"))
    for arguments in (("search", "apples", "-c", "fruit"), ("index", fruit, "-c", "fruit")):
        done = run(*arguments)
        assert done.code == 3
        assert "'acme/model-9'" in done.err
        assert "--replace" in done.err


def test_a_file_in_the_place_of_the_store(run, jsonl, tmp_path):
    (tmp_path / "store").write_text("I am a file")
    done = index(run, jsonl([{"_id": "a", "text": "x"}]), "-c", "c")
    assert (done.code, done.out) == (3, "")
    assert str(tmp_path / "store") in done.err
    assert "--store" in done.err
    assert "fault of ours" not in done.err
    for arguments in (("search", "x", "-c", "c"), ("collections", "list"), ("collections", "show", "c")):
        done = run(*arguments)
        assert "fault of ours" not in done.err
        assert done.code == (0 if arguments[1] == "list" else 3)


def test_a_full_disk_keeps_what_was_written(run, jsonl, monkeypatch):
    file = jsonl([{"_id": f"d{n}", "text": f"common word{n}"} for n in range(300)])
    usage, calls = namedtuple("usage", "total used free"), []

    def filling(path):
        calls.append(path)
        return usage(10**12, 0, 10**11 if len(calls) < 4 else 10**6)

    monkeypatch.setattr("hybrid_search.indexing.pipeline.BATCH_TOKENS", 128)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", filling)
        done = index(run, file, "-c", "c")
    assert (done.code, done.out) == (3, "")
    assert "What was indexed so far is kept" in done.err
    unfinished = run("search", "common", "-c", "c")
    assert unfinished.code == 3
    assert "not been finished" in unfinished.err
    again = index(run, file, "-c", "c")
    assert again.code == 0
    assert int(re.search(r"unchanged +(\d+)", again.out)[1]) >= 64
    assert len(searched("common", k=1_000)) == 300


def test_the_profile_that_was_chosen_is_said_before_the_work(run, jsonl, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    file = jsonl([{"_id": "a", "text": "one text"}])
    done = run("index", file, "-c", "c", "--progress", "none", "--dense", "none")
    assert done.err.startswith("profile ")
    assert "the model hub does not answer" in done.err
    assert run("index", file, "-c", "c", "--progress", "none").err == ""


def test_a_source_that_changes_while_it_is_read_is_named_and_the_next_run_is_whole(run, jsonl, monkeypatch):
    from hybrid_search.corpus import readers, reading

    file = jsonl([{"_id": f"d{n}", "text": f"apples {n}"} for n in range(50)])
    real = reading.read_jsonl

    def changing(*arguments, **options):
        yield from real(*arguments, **options)
        with file.open("a") as stream:
            stream.write('{"_id": "late", "text": "late apples"}\n')

    with monkeypatch.context() as patch:
        patch.setattr(readers, "BoundedProcess", InThisProcess)
        patch.setattr(reading, "read_jsonl", changing)
        done = index(run, file, "-c", "c")
    assert done.code == 4
    assert f"{file}: changed while it was read" in done.err
    assert "Run it again" in done.err
    assert len(searched("apples", k=100)) == 50
    assert index(run, file, "-c", "c").code == 0
    assert "late" in searched("apples", k=100)


def test_a_ray_cluster_needs_a_server_to_write_to(run, jsonl):
    corpus = jsonl([{"_id": "a", "text": "apples"}])
    done = run("index", corpus, "-c", "c", "--ray", "local")
    assert done.code == 2
    assert "Ray's workers write to a Qdrant server: --store http://" in " ".join(done.err.split())
    assert run("index", corpus, "-c", "c", "--ray", "local", "--dry-run").code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_out_of_a_source_are_counted_and_named(run, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("red apples")
    (tmp_path / "secret.txt").write_text("the secret word is wombat")
    (tmp_path / "docs" / "link.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(tmp_path / "docs" / "pipe.txt")
    done = index(run, tmp_path / "docs", "-c", "c", "--progress", "json")
    assert done.code == 0
    told = "links out of the source 1, pipes, sockets and devices 1 (--follow-links reads those)"
    assert re.search(rf"passed over +{re.escape(told)}", " ".join(done.out.split()))
    end = json.loads(done.err.splitlines()[-1])
    assert end["passed_over"] == {"links out of the source": 1, "pipes, sockets and devices": 1}
    assert searched("wombat") == []
    assert run("index", tmp_path / "docs", "-c", "c", "--follow-links").code == 0
    assert searched("wombat") == ["link.txt"]
    assert index(run, tmp_path / "docs" / "link.txt", "-c", "by-name").code == 0
    assert searched("wombat", "by-name") == ["link.txt"]
    (tmp_path / "docs" / "a.txt").unlink()
    alone = index(run, tmp_path / "docs", "-c", "alone")
    assert (alone.code, alone.out) == (3, "")
    assert "passed over were links out of the source (1), pipes, sockets and devices (1)" in alone.err


def test_expansions_are_counted_and_named(run, jsonl):
    file = jsonl([{"_id": name, "text": f"{name} is read"} for name in ("a", "b", "c")])
    rows = [{"id": "a", "queries": ["samovar"]}, {"id": "x\ny", "queries": ["nothing"]}, {"id": "b", "queries": []}]
    expansions = jsonl(rows, "expansions.jsonl")
    done = index(run, file, "-c", "c", "--expand-with", expansions)
    assert (done.code, done.err) == (0, "")
    assert re.search(r"documents with an expansion +1 *\n", done.out)
    assert re.search(r"documents without one +2: b, c *\n", done.out)
    assert re.search(r"expansions without a document +1: x.+y *\n", done.out)
    assert searched("samovar") == ["a"]

    dry = index(run, file, "-c", "new", "--expand-with", expansions, "--dry-run", "--progress", "json")
    end = json.loads(dry.err.splitlines()[-1])
    assert end["expanded"] == {
        "documents": 1,
        "without": 2,
        "unused": 1,
        "without_ids": ["b", "c"],
        "unused_ids": ["x\ny"],
    }
    assert end["expansions_cut"] == {}
    plain = index(run, file, "-c", "plain", "--progress", "json")
    assert json.loads(plain.err.splitlines()[-1])["expanded"] is None


def test_expansions_that_cannot_be_used_are_refused(run, jsonl):
    file = jsonl([{"_id": "a", "text": "x"}])
    good, broken = jsonl([{"id": "a", "queries": "samovar"}], "good.jsonl"), jsonl(['{"id"'], "broken.jsonl")
    for arguments, code, reason in (
        (["--expand-with", broken], 3, "broken.jsonl:1: not valid JSON"),
        (["--expand-with", "away.jsonl"], 3, "no file of expansions 'away.jsonl'"),
        (["--expand-samples", "3"], 2, "no model is named"),
        (["--expand-with", good, "--expand-samples", "3"], 2, "samples are for a model"),
        (["--expand-with", good, "--ray", "local", "--store", "http://localhost:1"], 2, "--workers N"),
    ):
        done = index(run, file, "-c", "c", *arguments)
        assert done.code == code, done.err
        assert reason in " ".join(done.err.split())
    assert index(run, file, "-c", "c").code == 0
    done = index(run, file, "-c", "c", "--expand-with", good)
    assert done.code == 3
    assert "the expansion none" in done.err
    assert "--replace" in done.err
