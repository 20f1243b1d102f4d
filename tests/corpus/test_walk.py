"""Which files a folder means, in which order and under which names."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from hybrid_search.corpus.readers import count_documents, read, read_all
from hybrid_search.errors import CorpusError, InvalidArgument
from hybrid_search.types import Document, Failure, PassedOver

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="links and odd names need POSIX")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path, content="words"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def names(sources, **options):
    return [item.doc_id if isinstance(item, Document) else item for item in read_all(sources, **options)]


def test_a_folder_is_walked_sorted_without_hidden_files(here):
    for name in ("b.txt", "a.md", "B.TXT", "sub/z.rst", "sub/deep/y.log", ".hidden.txt", ".git/x.txt", "x.exe", "c"):
        put(here / "docs" / name)
    left_out = PassedOver(os.path.join("docs", "x.exe"), "files .exe")  # noqa: PTH118
    found = ["B.TXT", "a.md", "b.txt", "c", "sub/deep/y.log", "sub/z.rst"]
    assert names(["docs"]) == [*found, left_out]
    for given in (here / "docs", "docs/", "./docs"):
        assert names([given])[:-1] == found


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


OUT = "links out of the source"


@posix_only
def test_links_out_of_the_source_are_passed_over_unless_asked_for(here):
    put(here / "elsewhere" / "deep" / "x.txt")
    put(here / "elsewhere" / "secret.txt")
    put(here / "docs" / "a.txt")
    (here / "docs" / "link").symlink_to(here / "elsewhere", target_is_directory=True)
    (here / "docs" / "link2").symlink_to(here / "elsewhere", target_is_directory=True)
    (here / "elsewhere" / "deep" / "again").symlink_to(here / "elsewhere", target_is_directory=True)
    (here / "docs" / "secret.txt").symlink_to("../elsewhere/secret.txt")
    (here / "docs" / "sub").mkdir()
    (here / "docs" / "sub" / "twice.txt").symlink_to("../secret.txt")
    (here / "docs" / "up").symlink_to(here, target_is_directory=True)
    (here / "docs" / "unknown.exe").symlink_to(here / "elsewhere" / "secret.txt")
    assert names(["docs"]) == [
        "a.txt",
        PassedOver("docs/link", OUT),
        PassedOver("docs/link2", OUT),
        PassedOver("docs/secret.txt", OUT),
        PassedOver("docs/sub/twice.txt", OUT),
        PassedOver("docs/unknown.exe", OUT),
        PassedOver("docs/up", OUT),
    ]
    followed = [
        "a.txt",
        "link/deep/x.txt",
        "link/secret.txt",
        "secret.txt",
        "sub/twice.txt",
        PassedOver("docs/unknown.exe", "files .exe"),
        PassedOver("docs/up", OUT),
    ]
    assert names(["docs"], follow_links=True) == followed
    assert names(["docs/secret.txt", "docs/sub/twice.txt"]) == ["secret.txt", "twice.txt"]  # given by name
    assert names(["docs/link"]) == ["deep/x.txt", "secret.txt"]
    assert count_documents(["docs"]) == 1
    assert count_documents(["docs"], follow_links=True) == 5


@posix_only
def test_a_linked_corpus_outside_is_passed_over_as_any_file_is(here):
    put(here / "elsewhere" / "corpus.jsonl", '{"_id": "1", "text": "x"}\n')
    (here / "beir").mkdir()
    (here / "beir" / "corpus.jsonl").symlink_to(here / "elsewhere" / "corpus.jsonl")
    passed_over, nothing = names(["beir"])
    assert passed_over == PassedOver("beir/corpus.jsonl", OUT)
    assert "no file to read in this folder" in nothing.reason
    assert names(["beir"], follow_links=True) == names(["beir/corpus.jsonl"]) == ["1"]


@posix_only
def test_a_linked_file_and_a_linked_source_are_read(here):
    put(here / "real" / "a.txt")
    (here / "docs").symlink_to(here / "real", target_is_directory=True)
    (here / "real" / "b.txt").symlink_to(here / "real" / "a.txt")
    (here / "real" / "sub").mkdir()
    (here / "real" / "sub" / "c.txt").symlink_to("../a.txt")
    assert names(["docs"]) == ["a.txt", "b.txt", "sub/c.txt"]


@posix_only
def test_pipes_and_the_like_are_passed_over_and_links_to_them_fail(here):
    put(here / "docs" / "a.txt")
    os.mkfifo(here / "docs" / "pipe.txt")
    (here / "docs" / "to_pipe.txt").symlink_to("pipe.txt")
    (here / "docs" / "via.txt").symlink_to("to_pipe.txt")
    (here / "docs" / "to_device.pdf").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as open_socket:
        open_socket.bind("s.sock")
        (here / "docs" / "to_socket.jsonl").symlink_to(here / "s.sock")
        assert names(["docs"]) == [
            "a.txt",
            PassedOver("docs/pipe.txt", "pipes, sockets and devices"),
            Failure("docs/to_device.pdf", "leads to a device, not to a file, and is not read"),
            Failure("docs/to_pipe.txt", "leads to a pipe, not to a file, and is not read"),
            Failure("docs/to_socket.jsonl", "leads to a socket, not to a file, and is not read"),
            Failure("docs/via.txt", "leads to a pipe, not to a file, and is not read"),
        ]
        assert names(["docs"], follow_links=True) == names(["docs"])
        assert names(["docs"], globs=["*"]) == names(["docs"])
        for given, kind in (
            ("docs/pipe.txt", "a pipe"),
            ("docs/via.txt", "a pipe"),
            ("docs/to_device.pdf", "a device"),
            ("/dev/zero", "a device"),
            ("s.sock", "a socket"),
        ):
            with pytest.raises(CorpusError, match=f"'{given}' is neither a file nor a folder but {kind}; pipe it in"):
                read([given])


@posix_only
def test_a_pipe_in_the_place_of_a_corpus_or_of_rules(here):
    put(here / "beir" / "a.txt")
    os.mkfifo(here / "pipe")
    (here / "beir" / "corpus.jsonl").symlink_to(here / "pipe")
    (here / "beir" / ".gitignore").symlink_to(here / "pipe")
    failure = Failure("beir/corpus.jsonl", "leads to a pipe, not to a file, and is not read")
    assert names(["beir"]) == ["a.txt", failure]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes as a file's name")
def test_names_that_are_no_utf8_give_ids_that_can_be_written(here):
    put(here / "docs" / os.fsdecode(b"caf\xe9.txt"))
    (found,) = read(["docs"])
    assert found.doc_id == "caf\\xe9.txt"
    assert found.origin.encode() == b"docs/caf\\xe9.txt"
