"""`export elasticsearch`, `opensearch`, `seismic`, `vespa`, and `import` of bulk files, as a person sees them."""

import json

import pytest

from tests.cli.conftest import BM25, FRUIT

FILES = {
    "elasticsearch": {"mapping.json", "bulk-00000.ndjson", "queries.jsonl"},
    "opensearch": {"mapping.json", "bulk-00000.ndjson", "queries.jsonl", "neural.jsonl"},
    "seismic": {"documents.jsonl", "queries.jsonl"},
    "vespa": {"schema.sd", "feed-00000.jsonl", "queries.jsonl"},
}


@pytest.fixture
def fruit(run, jsonl, tmp_path):
    assert run("index", jsonl(FRUIT), "-c", "fruit", *BM25).code == 0
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "green apples"}\n{"_id": "q2", "text": "kiwi"}\n')
    return tmp_path / "queries.jsonl"


@pytest.mark.parametrize("format", FILES)
def test_it_says_what_was_written_and_lost(run, fruit, tmp_path, format):
    done = run("export", format, "-c", "fruit", "--out", tmp_path / "out", "--queries", fruit, "--verify")
    assert done.code == 0, done.err
    assert "exported 3 chunks and 2 queries" in done.out
    assert "queries without terms: 1 (q2)" in done.out
    assert "overlap of the first ten: 1.0000, 2 queries" in done.out
    assert {file.name for file in (tmp_path / "out").iterdir()} == {*FILES[format], "README.md", "report.json"}


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["opensearch", "--form", "dense"], 2, "form is 'dense'"),
        (["opensearch", "--idf", "both"], 2, "idf is 'both'"),
        (["elasticsearch", "--semantic-text", "e5", "--verify", "--queries", "QUERIES"], 2, "none to verify"),
        (["seismic", "--verify"], 2, "there are none"),
        (["vespa", "--queries", "nowhere.jsonl"], 3, "nowhere.jsonl"),
    ],
)
def test_what_it_refuses(run, fruit, tmp_path, arguments, code, why):
    given = [str(fruit) if argument == "QUERIES" else argument for argument in arguments]
    done = run("export", *given, "-c", "fruit", "--out", tmp_path / "out")
    assert (done.code, why in done.err.replace("\n", " ")) == (code, True), done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", ["elasticsearch", "opensearch"])
def test_files_of_others_come_in_go_out_and_come_back(run, environment, tmp_path, format):
    theirs = [{"index": {"_id": "7"}}, {"text": "A boxer rises.", "tokens": {"boxer": 2.5, "no.1": 1.5}, "year": 1976}]
    (tmp_path / "theirs.ndjson").write_text("".join(json.dumps(line) + "\n" for line in theirs))
    come = run("import", format, tmp_path / "theirs.ndjson", "-c", "films", "--field", "tokens", "--terms", "words")
    assert (come.code, "1 in 1 chunks" in come.out or "1 in 1 chunk" in come.out) == (0, True), come.err
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "the boxer"}\n')
    gone = run("export", format, "-c", "films", "--out", tmp_path / "out", "--queries", tmp_path / "queries.jsonl")
    assert gone.code == 0, gone.err
    assert run("import", format, tmp_path / "out", "-c", "back").code == 0
    [hit] = json.loads(run("search", "boxer", "-c", "back", "--format", "json").out)["hits"]
    assert (hit["doc_id"], hit["metadata"], hit["score"]) == ("7", {"year": 1976}, 2.5)


def test_a_broken_line_is_an_error_with_its_place_and_nothing_is_imported(run, fruit, tmp_path):
    run("export", "elasticsearch", "-c", "fruit", "--out", tmp_path / "out")
    file = tmp_path / "out" / "bulk-00000.ndjson"
    file.write_text(file.read_text()[:-40])
    done = run("import", "elasticsearch", file, "-c", "back", "--terms", "words")
    assert done.code == 3
    assert "bulk-00000.ndjson:6: it is no JSON" in done.err.replace("\n", "")
    assert '"back"' not in run("collections", "list", "--format", "json").out
