"""What readers leave out and guess: in the summary of `index`, of a dry run, and in the event `end`."""

from __future__ import annotations

import json
import re

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
