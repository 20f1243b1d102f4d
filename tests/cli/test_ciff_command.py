"""`export ciff` and `import ciff` on the command line: what they print, and their exit codes."""

import json

import pytest

from tests.interop import ciff_messages as proto

INDEX = {"a": {"apples": 3, "red": 200}, "b": {"pears": 9}, "c": {}}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "index.ciff"
    path.write_bytes(proto.file_of(proto.index(INDEX)))
    return path


def test_an_index_comes_in_is_searched_and_goes_out(run, file, tmp_path, jsonl):
    corpus = jsonl([{"_id": "a", "title": "Apples", "text": "Red apples."}])
    done = run("import", "ciff", file, "-c", "c", "--corpus", corpus, "--terms", "wordpieces", "--progress", "none")
    assert done.code == 0
    assert "documents without a text in corpus.jsonl ('b', 'c')" in " ".join(done.out.split())
    found = run("search", "apples", "-c", "c", "--format", "json")
    [hit] = json.loads(found.out)["hits"]
    assert (hit["doc_id"], hit["title"], hit["score"]) == ("a", "Apples", 3.0)
    queries = jsonl([{"_id": "q", "text": "apples"}], "queries.jsonl")
    out = tmp_path / "out"
    asked = ("--queries", queries, "--quantize", "1", "--verify", "--progress", "none")
    done = run("export", "ciff", "-c", "c", "--out", out, *asked)
    assert done.code == 0
    assert "overlap of the first ten: 1.0000, 1 queries" in done.out
    _, lists, records = proto.read((out / "index.ciff").read_bytes())
    assert proto.weights(lists, records) == INDEX
    assert (out / "topics.tsv").read_text() == "q\tapples\n"


def test_damage_is_exit_code_3_and_leaves_nothing(run, file):
    file.write_bytes(file.read_bytes()[:-5])
    done = run("import", "ciff", file, "-c", "c", "--progress", "none")
    assert done.code == 3
    assert "byte" in done.err
    assert "nothing was written" in done.err
    assert run("search", "apples", "-c", "c").code == 3


@pytest.mark.parametrize("options", [("--quantize", "none"), ("--quantize", "0"), ("--verify",), ("--idf", "both")])
def test_options_that_do_not_fit_are_exit_code_2(run, file, tmp_path, options):
    run("import", "ciff", file, "-c", "c", "--progress", "none")
    done = run("export", "ciff", "-c", "c", "--out", tmp_path / "out", *options)
    assert done.code == 2
    assert not (tmp_path / "out").exists()


def test_an_interrupted_import_says_how_to_go_on(run, file, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("hybrid_search.interop.import_ciff.fill_collection", stop)
    done = run("import", "ciff", file, "-c", "c", "--progress", "none")
    assert done.code == 130
    assert "Run the same command again to finish 'c'." in done.err
