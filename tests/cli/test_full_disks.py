"""A full disk is a message and exit code 3, whatever is done on it, and what was done is kept. Searching goes on."""

import json
import os
import random
import shutil
import threading
from contextlib import contextmanager

import numpy as np
import pytest

BM25 = ("--sparse", "qdrant/bm25-engine", "--dense", "none")
KB, MB = 1_000, 1_000_000
MORE = 1_500
"""Megabytes that a disk has when it has grown."""


def texts(jsonl, size, total):
    """Documents of so many bytes, so many of them together."""
    noise = np.random.default_rng(0)
    rows = []
    for number in range(max(2, total // size)):
        text = noise.bytes(size // 2).hex()
        words = " ".join(text[place : place + 8] for place in range(0, len(text), 8)) if size < 10 * KB else text
        rows.append({"_id": f"d{number}", "text": f"number{number} {words}"})
    return jsonl(rows, "many.jsonl")


@pytest.fixture
def command(start, small_disk):
    """Run a command on the small disk; gives its code and what it said on stderr."""

    def call(*arguments):
        process = start(*arguments, "--store", small_disk[0] / "store")
        out, err = process.communicate(timeout=300)
        assert "Traceback" not in err
        return process.returncode, out, err

    return call


@contextmanager
def eaten(disk, keep):
    """Somebody takes all of a disk but `keep` bytes, gives it back, and takes it again."""
    stop, made, file = threading.Event(), random.Random(1), disk / "eaten"

    def eat():
        while not stop.wait(made.uniform(0.05, 0.6)):
            fill(file, max(0, shutil.disk_usage(disk).free - keep))
            stop.wait(made.uniform(0.02, 0.3))
            file.unlink()

    thread = threading.Thread(target=eat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def fill(file, size):
    """Make a file of so many bytes, or of as many as there is room for."""
    handle = os.open(file, os.O_CREAT | os.O_WRONLY)
    try:
        while size > 0:
            size -= os.write(handle, bytes(min(size, MB)))
    except OSError:
        pass
    finally:
        os.close(handle)


def is_told(code, err):
    return code == 3 and "error: " in err and ("disk under" in err or "The disk" in err)


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [60, 120, 150, 200, 300])
@pytest.mark.parametrize(
    ("size", "total"), [(KB, 20 * MB), (200 * KB, 90 * MB), (5 * MB, 90 * MB), (60 * MB, 120 * MB)]
)
def test_documents_of_any_size_on_a_disk_of_any_size(command, small_disk, jsonl, size, total, megabytes):
    disk, grow = small_disk
    assert grow(megabytes).returncode == 0
    job = ("index", texts(jsonl, size, total), "-c", "c", *BM25, "--chunk-tokens", 0, "--progress", "none")
    code, out, err = command(*job)
    assert is_told(code, err), err
    assert out == ""
    assert "What was indexed so far is kept" in err
    assert not (disk / "store" / "c" / "CURRENT").exists()
    assert grow(MORE).returncode == 0
    code, out, err = command(*job)
    assert code == 0, err
    kept = int(next(line for line in out.splitlines() if "unchanged" in line).split()[-1].replace(",", ""))
    room = megabytes * MB - 105 * MB
    assert kept > 0 or room < 5 * max(size, 4 * MB)
    assert command("collections", "verify", "c")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0, 200 * KB, 110 * MB])
@pytest.mark.parametrize("size", [KB, 200 * KB, 5 * MB])
@pytest.mark.parametrize("megabytes", [150, 400])
def test_a_disk_that_somebody_else_fills_meanwhile(command, small_disk, jsonl, size, keep, megabytes):
    """The engine's process dies of it; ours does not."""
    disk, grow = small_disk
    assert grow(megabytes).returncode == 0
    job = ("index", texts(jsonl, size, 60 * MB if size > KB else 8 * MB), "-c", "c", *BM25, "--chunk-tokens", 0)
    with eaten(disk, keep):
        code, _, err = command(*job, "--progress", "none")
    assert code == 0 or is_told(code, err), err
    assert grow(MORE).returncode == 0
    assert command(*job)[0] == 0
    assert command("collections", "verify", "c")[0] == 0


@pytest.fixture
def published(command, small_disk, jsonl):
    """A collection that takes a third of its disk, and all else is full but for what a test asks for."""
    disk, grow = small_disk
    assert grow(400).returncode == 0
    assert command("index", texts(jsonl, 200 * KB, 40 * MB), "-c", "c", *BM25, "--chunk-tokens", 0)[0] == 0

    def leave(free):
        (disk / "full").unlink(missing_ok=True)
        fill(disk / "full", shutil.disk_usage(disk).free - free)

    return leave


ADDED = [
    ("a document", ["index", "{new}", "-c", "c"]),
    ("a leg", ["collections", "add-leg", "c", "more", "bundled/minilm-splade"]),
    ("encodings", ["import", "parquet", "{file}", "-c", "other"]),
    ("a replacement", ["index", "{new}", "-c", "c", "--replace", *BM25]),
]


@pytest.mark.slow
@pytest.mark.parametrize("free", [0, 30 * MB, 106 * MB, 120 * MB])
@pytest.mark.parametrize(("what", "words"), ADDED, ids=[what for what, _ in ADDED])
def test_whatever_is_added_on_a_full_disk(command, small_disk, jsonl, tmp_path, published, what, words, free):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    file = tmp_path / "saved.parquet"
    assert command("export", "parquet", file, "-c", "c")[0] == 0
    new = jsonl([{"_id": f"new{n}", "text": f"plum {n} " + "stone " * 30_000} for n in range(60)], "new.jsonl")
    job = [word.format(new=new, file=file) for word in words]
    published(free)
    before = command("search", "number7", "-c", "c", "--format", "json")[1]
    code, _, err = command(*job)
    assert is_told(code, err), (code, err)
    after = command("search", "number7", "-c", "c", "--format", "json")
    assert after[0] == 0, after[2]
    assert json.loads(after[1])["hits"] == json.loads(before)["hits"]
    small_disk[1](MORE)
    code, _, err = command(*job)
    assert code == 0, err
    assert command("collections", "verify")[0] == 0


@pytest.mark.slow
def test_searching_a_disk_without_a_byte_or_a_file_to_spare(command, small_disk, published):
    disk, grow = small_disk
    wanted = json.loads(command("search", "number7 number3", "-c", "c", "--format", "json")[1])["hits"]
    published(0)
    assert shutil.disk_usage(disk).free == 0
    shutil.rmtree(disk / "store" / "c" / "leases", ignore_errors=True)
    used = os.statvfs(disk)
    assert grow(400, f",nr_inodes={used.f_files - used.f_ffree}").returncode == 0
    with pytest.raises(OSError, match="No space left"):
        (disk / "file").touch()
    code, out, err = command("search", "number7 number3", "-c", "c", "--format", "json")
    assert (code, json.loads(out)["hits"]) == (0, wanted), err
    assert command("collections", "show", "c")[0] == 0
