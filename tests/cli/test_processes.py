"""What only a process of its own can show: signals, locks between processes, streams."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from threading import Thread

import numpy as np
import pytest

from hybrid_search.searcher import Searcher
from hybrid_search.settings import load_settings
from hybrid_search.store.edge.store import EdgeStore
from tests.waiting import Told, until

BM25 = ("--sparse", "qdrant/bm25-engine", "--dense", "none")
WORDS = ["river", "stone", "apple", "cloud", "winter", "garden", "copper", "window", "letter", "ocean"]


MANY = 3_000
"""Enough that a job is still at work when it is interrupted, on a busy machine as well."""


@pytest.fixture
def many(jsonl):
    random = np.random.default_rng(0)
    rows = [{"_id": f"d{n}", "text": " ".join(random.choice(WORDS, 30)) + f" number{n}"} for n in range(MANY)]
    return jsonl(rows, "many.jsonl")


@pytest.fixture
def feed(start):
    """An index job on stdin that has been given so many rows, and waits for more."""

    def begin(name, file, count, *options):
        process = start("index", "-", "-c", name, *BM25, "--progress", "json", *options, stdin=-1)
        lines = file.read_text().splitlines(keepends=True)
        process.stdin.write("".join(lines[:count]))
        process.stdin.flush()
        return process, "".join(lines[count:])

    return begin


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


QUERIES = [WORDS[0], "ocean river copper", "number7 window"]
"""Every document but a few holds each word."""


def answers(name, k):
    """For each query the score of each document, best first."""
    with Searcher.open(name, settings=load_settings()) as searcher:
        return [{hit.doc_id: hit.score for hit in results} for results in searcher.search_many(QUERIES, k=k)]


@pytest.mark.skipif(os.name == "nt", reason="a Windows process cannot be sent Ctrl-C alone")
def test_ctrl_c_keeps_what_was_done_and_the_next_run_finishes(run, start, many, environment):
    run("index", many, "-c", "whole", *BM25)
    process = start("index", many, "-c", "c", *BM25, "--progress", "json")
    events = 0
    for line in process.stderr:
        events += '"event": "progress"' in line and json.loads(line)["documents"] > 0
        if events:
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert out == ""
    assert "What was indexed so far is kept" in err
    assert "Traceback" not in err
    assert EdgeStore(environment["HYBRID_SEARCH_STORE"]).names() == ["whole"]
    done = run("index", many, "-c", "c", *BM25)
    assert done.code == 0
    unchanged = int(re.search(r"unchanged +([\d,]+)", done.out)[1].replace(",", ""))
    assert 0 < unchanged < MANY
    # The engine adds up in the order of its segments, so the last bit of a score may differ.
    for ours, whole in zip(answers("c", MANY), answers("whole", MANY), strict=True):
        assert ours == pytest.approx(whole, rel=1e-6)
        assert list(ours.values())[:10] == pytest.approx(list(whole.values())[:10], rel=1e-6)
    infos = [EdgeStore(environment["HYBRID_SEARCH_STORE"]).info(name) for name in ("c", "whole")]
    assert [(info.documents, info.points) for info in infos] == [(MANY, MANY)] * 2


def test_a_killed_process_leaves_the_last_good_one_and_no_lock(run, feed, many, fruit, environment):
    process, _ = feed("fruit", many, 400)
    work = load_settings().store
    wait_for(lambda: '"documents": 3' in (process.stderr.readline() or ""))
    process.kill()
    process.wait(30)
    assert EdgeStore(work).info("fruit").documents == 3
    assert run("search", "apples", "-c", "fruit").code == 0
    assert run("index", many, "-c", "fruit").code == 0
    assert EdgeStore(work).info("fruit").documents == MANY + 3


def test_two_processes_on_one_collection(run, start, feed, many, tmp_path):
    """The second one is refused by name, or waits when told to; searches go on meanwhile."""
    run("index", many, "-c", "c", *BM25)
    first, rest = feed("c", many, 300)
    wait_for(lambda: (tmp_path / "store" / "c" / "writer.json").is_file() and str(first.pid) in holder(tmp_path))
    busy = run("index", many, "-c", "c")
    assert (busy.code, busy.out) == (3, "")
    assert f"process {first.pid} " in busy.err
    assert "--wait" in busy.err
    assert run("search", "ocean", "-c", "c").code == 0
    short = run("index", many, "-c", "c", "--wait", 0.3)
    assert short.code == 3
    waiting = start("index", many, "-c", "c", "--wait", 60)
    time.sleep(1.2)
    assert waiting.poll() is None
    first.communicate(rest, timeout=30)
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, err
    assert re.search(rf"unchanged +{MANY:,}", out)


def holder(tmp_path):
    try:
        return (tmp_path / "store" / "c" / "writer.json").read_text()
    except OSError:
        return ""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour_on_a_terminal_unless_told_otherwise(start, fruit, extra, coloured):
    import pty

    controller, terminal = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
    process = start(
        "search", "apples", "-c", "fruit", stdout=terminal, env={**environment, "TERM": "xterm-256color", **extra}
    )
    os.close(terminal)
    shown = b""
    try:
        while block := os.read(controller, 4096):
            shown += block
    except OSError:  # Linux: the other end has been closed
        pass
    os.close(controller)
    assert process.wait(30) == 0
    assert b"Apples" in shown
    assert (re.search(rb"\x1b\[\d*;?3[0-9]m", shown) is not None) == coloured


def test_a_script_can_use_the_library_without_a_word_from_it(start, environment, tmp_path):
    """The library never prints: a script's streams are its own."""

    code = """
        from hybrid_search import Document, Indexer, Searcher
        report = Indexer.open("c", sparse="qdrant/bm25-engine", dense="none").index(
            [Document("a", "red apples"), Document("b", ""), {"_id": "c", "text": "green pears"}]
        )
        assert (report.documents, report.failed) == (2, 1)
        hit = Searcher.open("c").search("apples", k=5)[0]
        assert (hit.rank, hit.doc_id, hit.legs["sparse"].rank) == (1, "a", 1)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def lines_of(stream):
    """A process's output as it comes: a list that a thread fills."""
    found = Told()

    def take():
        for line in stream:
            found.append(line)

    Thread(target=take, daemon=True).start()
    return found


@pytest.mark.skipif(os.name == "nt", reason="a Windows process cannot be sent Ctrl-C alone")
def test_watch_keeps_up_with_a_folder_until_ctrl_c(start, environment, tmp_path):
    pytest.importorskip("watchfiles", reason="needs the extra watch")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text("red apples")
    process = start("index", notes, "-c", "c", *BM25, "--watch")
    out, err = lines_of(process.stdout), lines_of(process.stderr)
    until(lambda: any("Watching" in line for line in err))
    (notes / "b.md").write_text("green pears")
    until(lambda: any("1 indexed, 1 unchanged" in line for line in out))
    (notes / "b.md").write_bytes(bytes(100))
    until(lambda: any("b.md: looks binary" in line for line in err))
    (notes / "b.md").unlink()
    until(lambda: any("1 removed, 1 unchanged" in line for line in out))
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    until(lambda: any("Interrupted." in line for line in err))
    assert "What was indexed so far is kept" in "".join(err)
    assert "Traceback" not in "".join(err)
    assert EdgeStore(environment["HYBRID_SEARCH_STORE"]).info("c").documents == 1


@pytest.mark.skipif(os.name == "nt", reason="a Windows process cannot be sent Ctrl-C alone")
def test_watch_keeps_what_other_sources_brought(start, fruit, environment, tmp_path):
    pytest.importorskip("watchfiles", reason="needs the extra watch")
    notes = tmp_path / "notes"
    notes.mkdir()
    for name in "xy":
        (notes / f"{name}.md").write_text(f"plum {name}")
    process = start("index", notes, "-c", "fruit", "--watch")
    out, err = lines_of(process.stdout), lines_of(process.stderr)
    until(lambda: any("holds 3 documents that these sources do not" in line for line in err))
    (notes / "y.md").unlink()
    (notes / "z.md").write_text("plum z")
    until(lambda: any("1 indexed, 1 unchanged" in line for line in out))
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert EdgeStore(environment["HYBRID_SEARCH_STORE"]).info("fruit").documents == 6


@pytest.mark.parametrize("options", [["--replace"], ["--dry-run"], ["-"], ["--add-leg", "new=fake"]])
def test_what_watch_does_not_go_with(run, fruit, options):
    done = run("index", *([] if "--add-leg" in options else [fruit]), "-c", "fruit", "--watch", *options)
    assert (done.code, done.out) == (2, "")


@pytest.mark.slow
def test_a_disk_that_is_full_keeps_what_was_written_and_the_next_run_finishes(start, small_disk, jsonl, environment):
    disk, grow = small_disk
    noise = np.random.default_rng(0)
    rows = [{"_id": f"d{n}", "text": f"number{n} {noise.bytes(100_000).hex()}"} for n in range(400)]
    file = jsonl(rows, "many.jsonl")
    command = ("index", file, "-c", "c", *BM25, "--chunk-tokens", 0, "--store", disk / "store", "--progress", "none")
    process = start(*command)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (3, ""), err
    assert "The disk under" in err
    assert "What was indexed so far is kept" in err
    assert EdgeStore(disk / "store").names() == []
    assert grow(600).returncode == 0
    process = start(*command)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert int(re.search(r"unchanged +([\d,]+)", out)[1].replace(",", "")) > 0
    assert EdgeStore(disk / "store").info("c").documents == 400
