"""What readers leave out and guess: in the summary of `index`, of a dry run, and in the event `end`."""

from __future__ import annotations

import json
import re

import pytest

from tests.cli.conftest import BM25

RUSSIAN = "Вчера вечером мы долго гуляли по набережной"


def ends(done) -> dict:
    [end] = [event for event in map(json.loads, done.err.splitlines()) if event["event"] == "end"]
    return end


def test_guessed_encodings_are_counted_and_an_encoding_may_be_named(run, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.txt").write_bytes(RUSSIAN.encode("koi8-r"))
    (folder / "b.txt").write_bytes(RUSSIAN.encode("cp1251"))
    (folder / "c.txt").write_text(RUSSIAN, encoding="utf-8")
    dry = run("index", folder, "-c", "c", *BM25, "--dry-run")
    assert re.search(r"encoding guessed +cp1251 1, koi8-r 1 \(--encoding says it\)", dry.out)
    done = run("index", folder, "-c", "c", *BM25, "--progress", "json")
    assert (done.code, ends(done)["guessed"]) == (0, {"cp1251": 1, "koi8-r": 1})
    again = run("index", folder / "a.txt", "-c", "c", *BM25, "--encoding", "koi8-r")
    assert "guessed" not in again.out
    assert re.search(r"unchanged +1", again.out)


def test_a_bad_encoding_is_refused_before_anything_is_read(run, tmp_path):
    done = run("index", tmp_path / "nowhere", "-c", "c", "--encoding", "utf-9")
    assert (done.code, done.out) == (2, "")
    assert "The encoding 'utf-9' is not known" in done.err


SPHINX = """<!DOCTYPE html><html><head><meta charset="utf-8"><title>Install — Tool 1.0 documentation</title>
<script src="jquery.js"></script></head><body><a class="skip-link" href="#main">Skip to content</a>
<div class="related" role="navigation" aria-label="Related"><ul><li><a href="genindex.html">index</a></li></ul></div>
<div class="body" role="main"><section id="install"><h1>Install<a class="headerlink" href="#install"
title="Link to this heading">¶</a></h1><p>Unpack the quinces and run them.</p>
<div hidden><p>Not shown</p></div></section></div>
<div class="sphinxsidebar" role="navigation"><h3>Table of Contents</h3></div></body></html>"""


def test_what_pages_hold_beside_their_text_is_counted(run, tmp_path):
    pytest.importorskip("markdownify", reason="the extra `documents` is not installed")
    (tmp_path / "a.html").write_text(SPHINX, encoding="utf-8")
    done = run("index", tmp_path / "a.html", "-c", "c", *BM25, "--progress", "json")
    assert (done.code, ends(done)["passed_over"]) == (0, {"hidden elements": 1, "navigation": 3, "permalinks": 1})
    assert re.search(r"passed over +navigation 3, hidden elements 1, permalinks 1", done.out)
    found = json.loads(run("search", "quinces", "-c", "c", "--format", "json").out)
    assert found["hits"][0]["chunks"][0]["text"] == "# Install\n\nUnpack the quinces and run them."


def test_files_that_are_no_text_are_counted_by_suffix(run, tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.zip", "d.dat"):
        (folder / name).write_bytes(bytes(range(256)) * 4)
    alone = run("index", folder, "-c", "c", *BM25)
    assert alone.code == 3
    assert "passed over were files .dat (1), files .png (2), files .zip (1)" in " ".join(alone.err.split())
    (folder / "README").write_text("Plant the quinces in March.", encoding="utf-8")
    counts = {"files .dat": 1, "files .png": 2, "files .zip": 1}
    dry = run("index", folder, "-c", "c", *BM25, "--dry-run", "--progress", "json")
    assert (dry.code, ends(dry)["passed_over"]) == (0, counts)
    assert re.search(r"passed over +files .png 2, files .dat 1, files .zip 1", dry.out)
    done = run("index", folder, "-c", "c", *BM25, "--progress", "json")
    assert (done.code, ends(done)["passed_over"], ends(done)["failed"]) == (0, counts, 0)
