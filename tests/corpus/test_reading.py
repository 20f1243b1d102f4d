"""Files are read in a process of their own: whatever one does there, it is named, and the next one is read."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hybrid_search.corpus import readers
from hybrid_search.corpus.bounded import Bound
from hybrid_search.corpus.readers import Reader, bound_of, read, read_all, read_file
from hybrid_search.corpus.walk import FoundFile
from hybrid_search.types import BrokeOff, Document, Failure
from tests import odd_reading

pytestmark = pytest.mark.usefixtures("own_processes")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def children():
    return {child.pid for child in psutil.Process().children()}


@pytest.mark.parametrize(
    ("name", "bound", "reason"),
    [
        ("raises", None, "cannot be read: KeyError: 'odd'"),
        ("spins", Bound(0.3, 900_000_000), "cannot be read: takes more than 0.3 s of processor time"),
        ("sleeps", Bound(6, 900_000_000, 0.3), "cannot be read: gives nothing within 0.3 s"),
        ("aborts", None, "cannot be read: the process that worked on it ended with signal SIGABRT; it may have needed"),
        ("exits", None, "cannot be read: the process that worked on it ended with exit code 9; it may have needed too"),
        ("eats", None, "cannot be read: takes more than 900 MB of memory"),
    ],
)
@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".py"])
def test_a_file_that_brings_its_process_down_is_named_and_the_others_are_read(
    here, monkeypatch, name, bound, reason, suffix
):
    monkeypatch.setattr(readers, "OPENER", odd_reading.OPENER)
    if bound:
        bounds = {f"{name}{suffix}": bound}
        monkeypatch.setattr(readers, "bound_of", lambda path: bounds.get(path.name, bound_of(path)))
    for other in ("a.txt", "z.txt", f"{name}{suffix}"):
        (here / other).write_text('{"text": "words"}\n')
    first, odd, last = sorted(read(["."]), key=lambda item: item.origin)
    assert (first.text, last.text) == ('{"text": "words"}\n', '{"text": "words"}\n')
    assert odd.origin == f".{os.sep}{name}{suffix}"
    assert odd.reason.startswith(reason)
    assert type(odd) is (BrokeOff if suffix == ".jsonl" else Failure)


def test_what_was_read_before_a_file_breaks_off_is_there(here, monkeypatch):
    monkeypatch.setattr(readers, "OPENER", odd_reading.OPENER)
    (here / "half.jsonl").write_text('{"text": "words"}\n' * 90)
    *documents, failure = read(["half.jsonl"])
    assert [document.origin for document in documents] == [f"half.jsonl:{n}" for n in range(1, 6)]
    assert failure == BrokeOff("half.jsonl", "cannot be read: KeyError: 'half'")


def test_the_process_ends_with_the_reading(here):
    before = children()
    for n in range(3):
        (here / f"{n}.txt").write_text("words")
    for taken in range(5):
        reading = read(["."])
        assert len(children() - before) == 1
        for _, _ in zip(range(taken), reading, strict=False):
            pass
        reading.close()
        gc.collect()
        assert children() == before
    with Reader() as reader:
        assert len(list(reader(FoundFile(here / "1.txt", "1.txt", "1.txt")))) == 1
        assert len(children() - before) == 1
    assert children() == before


def test_nobody_reads_who_only_has_documents_on_stdin(here):
    before = children()
    with (here / "in").open("w+b") as stdin:
        stdin.write(b'{"text": "words"}\n')
        stdin.seek(0)
        assert [item.text for item in read_all(["-"], stdin=stdin)] == ["words"]
        assert children() == before


@pytest.mark.skipif(sys.platform != "linux", reason="the system ends a child with its parent on Linux only")
def test_the_process_ends_with_who_reads(here):
    (here / "sleeps.txt").write_text("words")
    code = (
        "from hybrid_search.corpus import readers; readers.OPENER = 'tests.odd_reading:opened'\n"
        "list(readers.read(['sleeps.txt']))"
    )
    root = Path(__file__).parent.parent.parent
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(root)}) as process:
        end = time.monotonic() + 60
        while not (found := psutil.Process(process.pid).children()) and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.5)
        process.kill()
    _, alive = psutil.wait_procs(found, 10)
    assert not alive


def test_what_lies_in_the_working_folder_is_not_imported(here):
    for name in ("markitdown", "json", "yaml", "hybrid_search"):
        (here / f"{name}.py").write_text("raise SystemExit('mine')")
    (here / "a.md").write_text("---\ntitle: Tea\n---\nHot.")
    assert next(read(["a.md"])).title == "Tea"


def test_a_path_is_that_of_the_caller_wherever_the_process_was_started(here, monkeypatch):
    with Reader() as reader:
        reader.start()
        (here / "below").mkdir()
        monkeypatch.chdir(here / "below")
        (here / "below" / "a.txt").write_text("words")
        (found,) = reader(FoundFile(Path("a.txt"), "a.txt", "a.txt"))
    assert isinstance(found, Document)


@pytest.mark.skipif(not Path("/dev/stdin").exists(), reason="there is no /dev/stdin")
def test_a_file_that_is_called_after_a_process_is_that_of_the_caller(here):
    (here / "a.txt").write_text("words from a file")
    code = "from hybrid_search.corpus.readers import read; print([item.text for item in read(['/dev/stdin'])])"
    with (here / "a.txt").open() as stdin:
        done = subprocess.run([sys.executable, "-c", code], stdin=stdin, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['words from a file']"


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux")
@pytest.mark.parametrize("utf8", ["0", "1"])
def test_names_of_files_are_read_as_they_are_by_the_caller(here, utf8):
    for name in (b"caf\xc3\xa9.txt", b"caf\xe9.txt"):
        Path(os.fsdecode(name)).write_text("words")
    code = "from hybrid_search.corpus.readers import read; print([item.text for item in read(['.'])])"
    env = {**os.environ, "LC_ALL": "en_US.ISO-8859-1", "PYTHONUTF8": utf8, "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['words', 'words']"


def test_a_long_file_may_take_more_and_a_missing_one_is_a_failure(tmp_path):
    file = tmp_path / "a.txt"
    assert bound_of(file) == Bound(7.0, 900_000_000)
    file.write_bytes(b"x" * 10_000_000)
    assert bound_of(file) == Bound(70.0, 900_000_000 + 32 * 9_000_000)
    os.truncate(file, 10**12)
    assert bound_of(file).memory_bytes == 4_000_000_000
    gone = FoundFile(tmp_path / "gone.txt", "gone.txt", "gone.txt")
    assert list(read_file(gone)) == [Failure("gone.txt", "cannot be read: No such file or directory")]
