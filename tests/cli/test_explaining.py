"""`search --explain` and `explain --doc`, as they are seen and as JSON."""

import json

import pytest

from hybrid_search.cli import console
from tests.cli.conftest import BM25, FRUIT

TWIN = {"_id": "a2", "title": "Apples", "text": "Red apples grow on old trees!"}
LONG = {"_id": "long", "text": "Many words come first. " * 30 + "Quinces are made into jelly. " + "More follow. " * 30}


@pytest.fixture
def fruit(run, jsonl):
    file = jsonl([*FRUIT, TWIN, LONG])
    assert run("index", file, "-c", "fruit", *BM25, "--progress", "none").code == 0
    return file


def test_explain_shows_what_each_word_gave(run, fruit):
    done = run("search", "red apples", "-c", "fruit", "-k", "1", "--explain")
    assert done.code == 0
    assert "sparse reads" in done.out
    assert "█" in done.out
    hit = json.loads(run("search", "red apples", "-c", "fruit", "--explain", "--format", "json").out)["hits"][0]
    assert {term["term"] for term in hit["matched_terms"]} == {"red", "apples"}
    total = sum(term["contribution"] for term in hit["matched_terms"])
    assert total == pytest.approx(hit["legs"]["sparse"]["score"], abs=1e-4)
    for term in hit["matched_terms"]:
        assert term["contribution"] == pytest.approx(term["query_weight"] * term["document_weight"])


def test_tables_fold_what_says_the_same_and_json_does_not(run, fruit):
    assert "that say the same: a" in run("search", "apples", "-c", "fruit").out
    assert "say the same" not in run("search", "apples", "-c", "fruit", "--no-fold").out
    ids = [hit["doc_id"] for hit in json.loads(run("search", "apples", "-c", "fruit", "--format", "json").out)["hits"]]
    assert sorted(ids) == ["a", "a2"]


def test_the_window_shows_the_match_and_full_everything(run, fruit):
    window = run("search", "quinces", "-c", "fruit").out
    assert "Quinces are made into jelly." in " ".join(window.split())
    assert window.count("Many words come first.") < 5
    assert " ".join(run("search", "quinces", "-c", "fruit", "--full").out.split()).count("More follow.") == 30


def test_a_hit_tells_where_it_was_read(run, fruit):
    assert f"{fruit.name}:1" in "".join(run("search", "apples", "-c", "fruit").out.split())
    hit = json.loads(run("search", "apples", "-c", "fruit", "--format", "json").out)["hits"][0]
    assert hit["origin"].startswith(str(fruit))


def test_the_second_page(run, fruit):
    first, second = (
        json.loads(run("search", "apples", "-c", "fruit", "-k", "1", "--offset", at, "--format", "json").out)
        for at in (0, 1)
    )
    assert [hit["rank"] for hit in (first["hits"] + second["hits"])] == [1, 2]
    assert first["hits"][0]["doc_id"] != second["hits"][0]["doc_id"]
    late = run("search", "apples", "-c", "fruit", "--offset", "7")
    assert (late.code, late.out) == (2, "")
    assert "offset is 7, but 1 document is found for 'apples'; take 0..0." in " ".join(late.err.split())
    late = run("search", "apples", "-c", "fruit", "--offset", "7", "--no-fold")
    assert "offset is 7, but 2 documents are found for 'apples'; take 0..1." in " ".join(late.err.split())
    assert run("search", "apples", "-c", "fruit", "--offset", "-1").code == 2


@pytest.mark.parametrize(
    ("doc", "options", "verdict", "words"),
    [
        ("a", (), "shown", "It is in the list, at rank 1."),
        ("b", (), "not found", "No leg finds it"),
        ("x", (), "not indexed", "The collection 'fruit' has no document 'x'."),
        ("a", ("--where", "year > 2000"), "filtered out", "year > 2000 does not hold"),
        ("a2", (), "folded", "It says the same as 'a'"),
        ("a2", ("--no-fold", "-k", "1"), "outranked", "It has rank 2 after fusion"),
    ],
)
def test_what_became_of_a_document(run, fruit, doc, options, verdict, words):
    told = run("explain", "apples", "-c", "fruit", "--doc", doc, *options)
    assert told.code == 0
    assert words in " ".join(told.out.split())
    found = json.loads(run("explain", "apples", "-c", "fruit", "--doc", doc, *options, "--format", "json").out)
    assert found["verdict"] == verdict
    assert words in found["reason"] + " does not hold" * (verdict == "filtered out")


def test_what_is_long_goes_through_the_pager_on_a_terminal(run, tmp_path, monkeypatch, capfd):
    seen = tmp_path / "seen"
    pager = tmp_path / "pager"
    pager.write_text(f"#!/bin/sh\ncat > {seen}\n")
    pager.chmod(0o755)
    monkeypatch.setenv("PAGER", str(pager))
    monkeypatch.setattr(console, "out", console._Console(force_terminal=True, height=5, width=60, highlight=False))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for lines in (3, 30):
        with console.paging():
            for line in range(lines):
                console.out.print(f"line {line}")
    assert "line 2" in capfd.readouterr().out
    assert seen.read_text().count("line") == 30
