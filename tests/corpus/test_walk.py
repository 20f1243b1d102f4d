"""Which files a folder means, in which order and under which names."""

from __future__ import annotations

import os
import sys

import pytest

from hybrid_search.corpus.readers import read
from hybrid_search.errors import InvalidArgument
from hybrid_search.types import Document, Failure

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="links and odd names need POSIX")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path, content="words"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def names(sources, **options):
    return [item.doc_id if isinstance(item, Document) else item for item in read(sources, **options)]


def test_a_folder_is_walked_sorted_without_hidden_files(here):
    for name in ("b.txt", "a.md", "B.TXT", "sub/z.rst", "sub/deep/y.log", ".hidden.txt", ".git/x.txt", "x.exe", "c"):
        put(here / "docs" / name)
    assert names(["docs"]) == ["B.TXT", "a.md", "b.txt", "c", "sub/deep/y.log", "sub/z.rst"]
    assert names(["docs"]) == names([here / "docs"]) == names(["docs/"]) == names(["./docs"])


def test_origins_are_as_the_user_gave_them(here):
    put(here / "docs" / "sub" / "a.jsonl", '{"text": "t"}')
    for given in ("docs", "./docs", str(here / "docs")):
        (found,) = read([given])
        assert found.origin == f"{given}{os.sep}sub{os.sep}a.jsonl:1"
        assert found.doc_id == "sub/a.jsonl:1"


def test_the_current_folder(here):
    put(here / "a.txt")
    assert names(["."]) == ["a.txt"]


def test_several_folders_put_their_names_in_front(here):
    put(here / "one" / "a.txt")
    put(here / "two" / "a.txt")
    put(here / "two" / "b.jsonl", '{"text": "t"}\n{"_id": "own", "text": "t"}')
    put(here / "c.txt")
    assert names(["one", "two", "c.txt"]) == ["one/a.txt", "two/a.txt", "two/b.jsonl:1", "own", "c.txt"]
    assert names(["one", "c.txt"]) == ["a.txt", "c.txt"]
    found = list(read(["one", "two"]))
    assert found[1].metadata == {"path": "two/a.txt", "suffix": ".txt"}


def test_gitignore_files_are_honoured_where_they_stand(here):
    put(here / "docs" / ".gitignore", "*.log\nbuild/\n/only_top.txt\n")
    put(here / "docs" / "sub" / ".gitignore", "\ufeff!keep.log\n!\nsecret*\n")
    for name in (
        "a.txt",
        "a.log",
        "only_top.txt",
        "build/x.txt",
        "sub/only_top.txt",
        "sub/keep.log",
        "sub/drop.log",
        "sub/secret.txt",
        "sub/build/y.txt",
        "other/keep.log",
        "other/secret.txt",
    ):
        put(here / "docs" / name)
    assert names(["docs"]) == ["a.txt", "other/secret.txt", "sub/keep.log", "sub/only_top.txt"]


def test_a_file_given_by_name_is_read_though_ignored_and_hidden(here):
    put(here / ".gitignore", "*")
    put(here / ".notes.txt")
    assert names([".notes.txt"]) == [".notes.txt"]


def test_globs_choose_and_open_the_way_for_any_suffix(here):
    for name in ("a.md", "b.py", "sub/c.py", "sub/d.md", ".hidden.py"):
        put(here / "docs" / name)
    put(here / "e.md")
    assert names(["docs"], globs=["*.py"]) == ["b.py", "sub/c.py"]
    assert names(["docs"], globs=["/*.py"]) == ["b.py"]
    assert names(["docs"], globs=["sub/**"]) == ["sub/c.py", "sub/d.md"]
    assert names(["docs"], globs=["*.md", "*.py", "!c.py"]) == ["a.md", "b.py", "sub/d.md"]
    assert names(["e.md"], globs=["*.py"]) == ["e.md"]  # a file given by name is meant


def test_a_bad_glob_is_refused_at_once(here):
    put(here / "a.txt")
    with pytest.raises(InvalidArgument, match="A glob cannot be read"):
        read(["."], globs=["!"])


def test_a_folder_with_nothing_to_read_says_what_was_looked_for(here):
    put(here / "docs" / "x.exe")
    (only,) = read(["docs"])
    assert only.origin == "docs"
    assert only.reason.startswith("no file to read in this folder; looked for .csv .docx")
    assert only.reason.endswith(".txt, source code")
    assert names(["docs"], globs=["*.md"]) == [Failure("docs", "no file to read in this folder; looked for *.md")]


def test_a_beir_folder_gives_its_corpus_only(here):
    for name in ("queries.jsonl", "qrels/test.tsv", "README.md"):
        put(here / "beir" / "cacm" / name)
    put(here / "beir" / "cacm" / "corpus.jsonl", '{"_id": "1", "title": "T", "text": "", "metadata": {"year": 1}}\n')
    assert list(read(["beir/cacm"])) == [Document("1", "T", "", {"year": 1}, f"beir/cacm{os.sep}corpus.jsonl:1")]
    assert names(["beir"]) == ["1"]
    assert names(["beir/cacm"], globs=["*.md"]) == ["README.md"]


@posix_only
def test_links_that_lead_in_circles_do_not_hang(here):
    put(here / "docs" / "a.txt")
    put(here / "docs" / "sub" / "b.txt")
    (here / "docs" / "sub" / "up").symlink_to(here / "docs", target_is_directory=True)
    (here / "docs" / "out").symlink_to(here, target_is_directory=True)
    (here / "docs" / "self").symlink_to(here / "docs" / "self")
    (here / "docs" / "round.txt").symlink_to(here / "docs" / "round.txt")
    (here / "docs" / "gone.txt").symlink_to(here / "nowhere.txt")
    found = list(read(["docs"]))
    assert [item.doc_id for item in found if isinstance(item, Document)] == ["a.txt", "sub/b.txt"]
    failures = [item for item in found if isinstance(item, Failure)]
    assert [item.origin for item in failures] == ["docs/gone.txt", "docs/round.txt"]
    assert failures[0].reason == "cannot be read: No such file or directory"
    assert failures[1].reason.startswith("cannot be read: Too many levels of symbolic links")


@posix_only
def test_links_to_folders_outside_are_followed_once(here):
    put(here / "elsewhere" / "deep" / "x.txt")
    put(here / "docs" / "a.txt")
    (here / "docs" / "link").symlink_to(here / "elsewhere", target_is_directory=True)
    (here / "docs" / "link2").symlink_to(here / "elsewhere", target_is_directory=True)
    (here / "elsewhere" / "deep" / "again").symlink_to(here / "elsewhere", target_is_directory=True)
    assert names(["docs"]) == ["a.txt", "link/deep/x.txt"]


@posix_only
def test_a_linked_file_and_a_linked_source_are_read(here):
    put(here / "real" / "a.txt")
    (here / "docs").symlink_to(here / "real", target_is_directory=True)
    (here / "real" / "b.txt").symlink_to(here / "real" / "a.txt")
    assert names(["docs"]) == ["a.txt", "b.txt"]


@posix_only
def test_pipes_in_a_folder_are_passed_over(here):
    put(here / "docs" / "a.txt")
    os.mkfifo(here / "docs" / "pipe.txt")
    (here / "docs" / "to_pipe.txt").symlink_to(here / "docs" / "pipe.txt")
    assert names(["docs"]) == ["a.txt"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes as a file's name")
def test_names_that_are_no_utf8_give_ids_that_can_be_written(here):
    put(here / "docs" / os.fsdecode(b"caf\xe9.txt"))
    (found,) = read(["docs"])
    assert found.doc_id == "caf\\xe9.txt"
    assert found.origin.encode() == b"docs/caf\\xe9.txt"
