"""`export parquet` and `import parquet`, and the flags of `index` that they were: what is said, written and refused."""

import json
import re
import shlex

import pytest

from tests.cli.conftest import BM25

pytest.importorskip("pyarrow")


@pytest.fixture
def source(jsonl):
    return jsonl([{"_id": "a", "text": "red apples"}, {"_id": "b", "text": "green pears"}])


@pytest.fixture
def file(run, source, tmp_path):
    """The encodings of two documents, of the collection `c`."""
    file = tmp_path / "c [1].parquet"
    assert run("index", source, "-c", "c", *BM25).code == 0
    done = run("export", "parquet", file, "-c", "c")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"saved 2 documents in 2 chunks: {file}, 0.0 MB\n"
    return file


def test_a_file_fills_another_collection_and_is_written_again(run, file, tmp_path):
    done = run("import", "parquet", file, "-c", "copy", "--progress", "json")
    assert done.code == 0
    events = [json.loads(line) for line in done.err.splitlines()]
    assert (events[-1]["event"], events[-1]["documents"]) == ("end", 2)
    assert {event.get("total", 2) for event in events} == {2}
    assert re.search(r"copy  profile custom\ndocuments indexed +2 in 2 chunks", done.out)
    assert '"doc_id": "b"' in run("search", "pears", "-c", "copy", "--format", "json").out
    again = run("import", "parquet", file, "-c", "copy", "--prune", "--wait", "1")
    assert (again.code, again.err) == (0, "")
    assert re.search(r"unchanged +2", again.out)
    assert run("import", "parquet", file, "-c", "copy", "--replace").code == 0
    other = tmp_path / "other.parquet"
    saved = run("export", "parquet", other, "-c", "copy")
    assert (saved.code, saved.err) == (0, "")
    assert other.read_bytes() == file.read_bytes()


def test_the_old_flags_do_the_same_and_say_what_to_type_instead(run, file, source, tmp_path):
    """Each prints one line on stderr, which is a command that can be typed as it stands."""
    other = tmp_path / "other.parquet"
    done = run("index", "--save-encodings", other, "-c", "c")
    assert (done.code, done.out) == (0, f"saved 2 documents in 2 chunks: {other}, 0.0 MB\n")
    assert done.err.endswith(f"Type instead: hybrid-search export parquet {other} -c c\n")
    assert done.err.count("\n") == 1
    assert other.read_bytes() == file.read_bytes()

    store = str(tmp_path / "a store")
    done = run("index", "--store", store, "--from-encodings", file, "-c", "copy")
    typed = shlex.split(done.err.partition("Type instead: ")[2])
    assert typed == [
        "hybrid-search",
        "--store",
        str(tmp_path / "a store"),
        "import",
        "parquet",
        str(file),
        "-c",
        "copy",
    ]
    assert re.search(r"unchanged +2", run(*typed[1:]).out)

    done = run("index", "--from-encodings", file, "-c", "copy", "--prune", "--wait", "2")
    assert re.search(r"documents indexed +2 in 2 chunks", done.out)
    assert done.err.endswith(f"hybrid-search import parquet '{file}' -c copy --prune --wait 2.0\n")
    assert (done.code, done.err.count("\n")) == (0, 1)

    done = run("index", source, "-c", "new", *BM25, "--save-encodings", other, "--progress", "json")
    assert re.search(r"documents indexed +2 in 2 chunks.*saved 2 documents in 2 chunks", done.out, re.DOTALL)
    events = [json.loads(line) for line in done.err.splitlines()]
    assert [event["message"] for event in events if event["event"] == "deprecated"] == [
        f"`index --save-encodings` is going to be removed. Type instead: hybrid-search export parquet {other} -c new"
    ]


def test_the_old_flags_are_not_in_help(run):
    told = run("index", "--help").out
    assert not [flag for flag in ("--add-leg", "--save-encodings", "--from-encodings") if flag in told]


def test_a_file_is_saved_where_some_documents_failed(run, jsonl, tmp_path):
    source = jsonl([{"_id": "a", "text": "red apples"}, {"_id": "b"}])
    done = run("index", source, "-c", "c", *BM25, "--save-encodings", tmp_path / "c.parquet")
    assert done.code == 4
    assert "saved 1 documents in 1 chunks" in done.out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--from-encodings", "f", "SOURCE"], ["does not go with SOURCE", "import parquet f -c c"]),
        (["--from-encodings", "f", "--sparse", "x"], ["--sparse", "which models"]),
        (["--from-encodings", "f", "--chunk-tokens", "0", "--profile", "bundled"], ["--profile, --chunk-tokens"]),
        (["--from-encodings", "f", "--dry-run"], ["--dry-run"]),
        (["--from-encodings", "f", "--watch", "--ray", "auto"], ["--watch, --ray"]),
        (["--from-encodings", "f", "--add-leg", "a=b"], ["--add-leg"]),
        (["--from-encodings", "f", "--save-encodings", "g"], ["does not go with --save-encodings"]),
        (["--save-encodings", "f", "--replace"], ["without SOURCE does not go with --replace", "name a SOURCE"]),
        (["--save-encodings", "f", "--legs", "bm25"], ["--legs", "export parquet f -c c"]),
        (["--save-encodings", "f", "--add-leg", "a=b"], ["--add-leg"]),
        (["--save-encodings", "f", "SOURCE", "--dry-run"], ["--dry-run"]),
        (["--save-encodings", "f", "SOURCE", "--watch"], ["--watch"]),
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
        done = run("import", "parquet", wrong, "-c", "d")
        assert (done.code, done.out) == (3, "")
        assert named in done.err
    assert run("export", "parquet", tmp_path / "d.parquet", "-c", "d").code == 3
    assert not (tmp_path / "d.parquet").exists()


@pytest.mark.parametrize("arguments", [["export", "parquet", "no-such-folder/f"], ["export", "parquet", "."]])
def test_a_file_that_cannot_be_written_is_refused(run, file, arguments):
    done = run(*arguments, "-c", "c")
    assert (done.code, done.out) == (2, "")
    assert "folder" in done.err


def test_an_interrupted_load_says_how_to_go_on(run, file, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("hybrid_search.interop.encodings.fill", stop)
    done = run("import", "parquet", file, "-c", "copy")
    assert done.code == 130
    assert "Run the same command again to finish 'copy'." in done.err
