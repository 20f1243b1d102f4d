"""`export anserini` as a person and a program see it."""

import json

import pytest

from tests.cli.conftest import BM25, FRUIT


@pytest.fixture
def fruit(run, jsonl, tmp_path):
    assert run("index", jsonl(FRUIT), "-c", "fruit", *BM25).code == 0
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "green apples"}\n{"_id": "q2", "text": "kiwi"}\n')
    return tmp_path / "queries.jsonl"


def test_it_says_what_was_written_lost_and_how_to_go_on(run, fruit, tmp_path):
    done = run("export", "anserini", "-c", "fruit", "--out", tmp_path / "out", "--queries", fruit, "--verify")
    assert done.code == 0
    assert "exported 3 chunks and 2 queries" in done.out
    assert "query weights of terms that no document has: 1" in done.out
    assert "queries without terms: 1 (q2)" in done.out
    assert "overlap of the first ten: 1.0000, 2 queries" in done.out
    assert str(tmp_path / "out" / "README.md") in done.out.replace("\n", "")
    assert "IndexCollection" in (tmp_path / "out" / "README.md").read_text()


def test_the_report_as_json_is_the_file(run, fruit, tmp_path):
    done = run("export", "anserini", "-c", "fruit", "--out", tmp_path / "out", "--format", "json", "--progress", "none")
    assert json.loads(done.out) == json.loads((tmp_path / "out" / "report.json").read_text())
    assert done.err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["-c", "fruit", "--quantize", "much"], 2, "quantize is 'much'"),
        (["-c", "fruit", "--idf", "both"], 2, "idf is 'both'"),
        (["-c", "fruit", "--verify"], 2, "there are none"),
        (["-c", "fruit", "--leg", "dense"], 2, "has no sparse leg 'dense'"),
        (["-c", "nuts"], 3, "no collection"),
    ],
)
def test_what_it_refuses(run, fruit, tmp_path, arguments, code, why):
    done = run("export", "anserini", "--out", tmp_path / "out", *arguments)
    assert (done.code, why in done.err.lower() or why in done.err) == (code, True), done.err
    assert not (tmp_path / "out").exists()
