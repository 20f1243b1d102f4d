"""`index --save-encodings` and `--from-encodings`: what is said, written and refused."""

import re

import pytest

from tests.cli.conftest import BM25

pytest.importorskip("pyarrow")


@pytest.fixture
def file(run, jsonl, tmp_path):
    """The encodings of two documents, of the collection `c`."""
    source = jsonl([{"_id": "a", "text": "red apples"}, {"_id": "b", "text": "green pears"}])
    file = tmp_path / "c [1].parquet"
    done = run("index", source, "-c", "c", *BM25, "--save-encodings", file)
    assert (done.code, done.err) == (0, "")
    assert re.search(r"documents indexed +2 in 2 chunks", done.out)
    assert f"saved 2 documents in 2 chunks: {file}, 0.0 MB" in done.out
    return file


def test_a_file_fills_another_collection_and_is_written_again(run, file, tmp_path):
    done = run("index", "--from-encodings", file, "-c", "copy", "--progress", "json")
    assert done.code == 0
    assert '"total": 2' in done.err
    assert re.search(r"copy  profile custom\ndocuments indexed +2 in 2 chunks", done.out)
    assert '"doc_id": "b"' in run("search", "pears", "-c", "copy", "--format", "json").out
    again = run("index", "--from-encodings", file, "-c", "copy", "--prune", "--wait", "1")
    assert (again.code, again.err) == (0, "")
    assert re.search(r"unchanged +2", again.out)
    assert run("index", "--from-encodings", file, "-c", "copy", "--replace").code == 0
    other = tmp_path / "other.parquet"
    saved = run("index", "-c", "copy", "--save-encodings", other)
    assert (saved.code, saved.err) == (0, "")
    assert saved.out == f"saved 2 documents in 2 chunks: {other}, 0.0 MB\n"
    assert other.read_bytes() == file.read_bytes()


def test_a_file_is_saved_where_some_documents_failed(run, jsonl, tmp_path):
    source = jsonl([{"_id": "a", "text": "red apples"}, {"_id": "b"}])
    done = run("index", source, "-c", "c", *BM25, "--save-encodings", tmp_path / "c.parquet")
    assert done.code == 4
    assert "saved 1 documents in 1 chunks" in done.out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--from-encodings", "f", "SOURCE"], ["does not go with SOURCE", "--from-encodings f -c NAME"]),
        (["--from-encodings", "f", "--sparse", "x"], ["--sparse", "which models"]),
        (["--from-encodings", "f", "--chunk-tokens", "0", "--profile", "bundled"], ["--profile, --chunk-tokens"]),
        (["--from-encodings", "f", "--dry-run"], ["--dry-run"]),
        (["--from-encodings", "f", "--add-leg", "a=b"], ["--add-leg"]),
        (["--from-encodings", "f", "--save-encodings", "g"], ["cannot be given together"]),
        (["--save-encodings", "f", "--replace"], ["without SOURCE does not go with --replace", "name a SOURCE"]),
        (["--save-encodings", "f", "--legs", "bm25"], ["--legs"]),
        (["--save-encodings", "f", "--add-leg", "a=b"], ["--add-leg"]),
        (["--save-encodings", "f", "SOURCE", "--dry-run"], ["--dry-run"]),
        (["--save-encodings", "no-such-folder/f", "SOURCE"], ["There is no folder no-such-folder"]),
        (["--save-encodings", "."], ["is a folder"]),
    ],
)
def test_options_that_do_not_go_together_are_refused(run, tmp_path, options, named):
    done = run("index", "-c", "c", *options)
    assert (done.code, done.out) == (2, "")
    for words in named:
        assert words in done.err
    assert not (tmp_path / "store").exists()


def test_a_file_that_cannot_be_loaded_is_an_error_of_one_line(run, file, tmp_path):
    for wrong, named in ((tmp_path / "none.parquet", "There is no file"), (tmp_path / "corpus.jsonl", "no Parquet")):
        done = run("index", "--from-encodings", wrong, "-c", "d")
        assert (done.code, done.out) == (3, "")
        assert named in done.err
    assert run("index", "--save-encodings", tmp_path / "d.parquet", "-c", "d").code == 3
    assert not (tmp_path / "d.parquet").exists()


def test_an_interrupted_load_says_how_to_go_on(run, file, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("hybrid_search.interop.encodings._fill", stop)
    done = run("index", "--from-encodings", file, "-c", "copy")
    assert done.code == 130
    assert "Run the same command again to finish 'copy'." in done.err
