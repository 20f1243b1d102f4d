"""What a job takes and how it is spread: dry runs, memory, several processes."""

import mmap
import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from hybrid_search.errors import InvalidArgument, MemoryExceeded, ModelError
from hybrid_search.indexer import Indexer
from hybrid_search.indexing import memory, pipeline
from hybrid_search.indexing.memory import parse_size, resident_bytes
from hybrid_search.settings import Settings
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import Document

MOVIES = Path(__file__).parents[2] / "datasets" / "movies"
linux = pytest.mark.skipif(resident_bytes() is None, reason="this system does not tell how much memory a process holds")


@pytest.fixture
def settings(tmp_path):
    return Settings(store=str(tmp_path / "store"))


def documents(count):
    return [Document(f"d{n}", f"The river stone number {n} lies beside stone {n + 1}.") for n in range(count)]


def everything(settings, name):
    """Payloads and vectors of a collection by chunk id."""
    reader = EdgeStore(settings.store).reader(name)
    try:
        chunk_ids = [f"{doc_id}#0" for doc_id in sorted(reader.doc_ids())]
        vectors = {leg: reader.vectors(leg, chunk_ids) for leg in reader.manifest.legs}
        return reader.payloads(chunk_ids), vectors
    finally:
        reader.close()


# ---------------------------------------------------------------- dry runs


def test_a_dry_run_tells_what_it_would_take_and_writes_nothing(settings):
    report = Indexer.open("c", settings=settings, profile="bundled").index(MOVIES, dry_run=True)
    told = report.estimate
    assert report.dry_run
    assert (report.documents, report.chunks) == (392, 392)
    assert told.sampled == 32
    assert 20_000 < told.tokens < 40_000
    assert 0 < told.seconds < 600
    assert 1e6 < told.disk_bytes < 1e9
    assert not Path(settings.store).exists()


def test_a_dry_run_knows_what_is_there_already(settings):
    Indexer.open("c", settings=settings, legs=["bm25"]).index(documents(30))
    again = Indexer.open("c", settings=settings).index([*documents(40)], dry_run=True)
    assert (again.documents, again.unchanged) == (10, 30)
    rebuilt = Indexer.open("c", settings=settings, legs=["bm25"], replace=True).index(documents(40), dry_run=True)
    assert (rebuilt.documents, rebuilt.unchanged) == (40, 0)
    nothing = Indexer.open("c", settings=settings).index(documents(30), dry_run=True)
    assert (nothing.documents, nothing.estimate.sampled, nothing.estimate.tokens) == (0, 0, 0)


def test_the_estimates_of_disk_and_memory_are_near_what_it_took(settings, disk):
    settings = settings.model_copy(update={"store": str(disk)})
    told = Indexer.open("c", settings=settings, legs=["bm25"]).index(documents(3_000), dry_run=True).estimate
    report = Indexer.open("c", settings=settings, legs=["bm25"]).index(documents(3_000))
    assert told.disk_bytes / 4 < report.bytes_on_disk < told.disk_bytes * 4


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("text", ["", "2 GBB", "much", "-1GB", "1.5.2M", "GB", "2.GB", "2Gbit", "1_000"])
def test_a_size_that_cannot_be_read_is_refused(text):
    with pytest.raises(InvalidArgument, match="write a number with a unit"):
        parse_size(text)


@linux
def test_what_is_held_grows_with_what_is_taken():
    before = resident_bytes()
    with mmap.mmap(-1, 50_000_000, flags=mmap.MAP_PRIVATE) as taken:  # new to the process, not freed by another test
        taken.write(b"1" * len(taken))
        assert resident_bytes() - before > 40_000_000


@linux
def test_a_job_that_cannot_be_kept_small_ends_and_keeps_what_it_wrote(settings, monkeypatch):
    monkeypatch.setattr(pipeline, "BATCH_TOKENS", 1_024)
    with pytest.raises(MemoryExceeded, match="allow more"):
        Indexer.open("c", settings=settings, legs=["bm25"]).index(documents(2_000), max_memory=1_000_000)
    report = Indexer.open("c", settings=settings, legs=["bm25"]).index(documents(2_000))
    assert 0 < report.unchanged < 2_000


@linux
def test_batches_become_smaller_where_memory_is_short(monkeypatch):
    amounts = iter([95, 96, 96, 97, 97, 80, 80, 99, 99, 120, 120, 120])
    monkeypatch.setattr(memory, "resident_bytes", lambda: next(amounts))
    cap = memory.MemoryLimit(100)
    seen = []

    def batches():
        while True:
            cap.check()
            seen.append(cap.budget.tokens)

    with pytest.raises(MemoryExceeded) as error:
        batches()
    assert seen[0] == pipeline.BATCH_TOKENS // 2
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == memory.LEAST_TOKENS
    assert error.value.held == 120


def test_a_cap_that_cannot_be_kept_is_refused(monkeypatch):
    def denied(*_):
        raise psutil.AccessDenied

    monkeypatch.setattr(memory.psutil, "Process", denied)
    with pytest.raises(InvalidArgument, match="does not tell"):
        memory.MemoryLimit(10**9)


# ---------------------------------------------------------------- several processes


@pytest.mark.parametrize("workers", [0, -1, 1_000])
def test_a_number_of_workers_that_cannot_be_is_refused_before_anything_is_read(settings, workers):
    with pytest.raises(InvalidArgument, match="workers is"):
        Indexer.open("c", settings=settings).index(["/nowhere"], workers=workers)


def test_two_workers_make_what_one_makes(settings, monkeypatch):
    monkeypatch.setattr(pipeline, "BATCH_TOKENS", 512)
    some = documents(120)
    Indexer.open("one", settings=settings, profile="bundled").index(some)
    report = Indexer.open("two", settings=settings, profile="bundled").index(some, workers=2)
    assert (report.documents, report.tokens > 0) == (120, True)
    (payloads, vectors), (expected, wanted) = everything(settings, "two"), everything(settings, "one")
    assert payloads == expected
    for chunk_id, vector in wanted["dense"].items():
        np.testing.assert_allclose(vectors["dense"][chunk_id], vector, atol=1e-6)
    for chunk_id, vector in wanted["sparse"].items():
        assert vectors["sparse"][chunk_id].indices.tolist() == vector.indices.tolist()
        np.testing.assert_allclose(vectors["sparse"][chunk_id].values, vector.values, atol=1e-5)


def children():
    return [int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]


@linux
def test_a_worker_that_dies_loses_nothing(settings, monkeypatch, caplog):
    monkeypatch.setattr(pipeline, "BATCH_TOKENS", 256)
    killed = []

    def kill(progress):
        if progress.documents and not killed:
            workers = [pid for pid in children() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            os.kill(workers[0], signal.SIGKILL)
            killed.append(workers[0])
            time.sleep(0.2)

    report = Indexer.open("c", settings=settings, profile="bundled").index(documents(300), workers=2, on_progress=kill)
    assert killed
    assert report.documents == 300
    assert EdgeStore(settings.store).info("c").documents == 300
    assert "A worker died" in caplog.text


def test_workers_that_die_again_and_again_end_the_job(settings, monkeypatch):
    from hybrid_search.indexing import workers

    def dying(*_):
        raise workers.BrokenProcessPool("gone")

    class Pool:
        def __init__(self, *_, **__): ...

        def submit(self, *_):
            dying()

        def shutdown(self, **_): ...

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Pool)
    with pytest.raises(ModelError, match="died 3 times"):
        Indexer.open("c", settings=settings, legs=["bm25"]).index(documents(3), workers=2)
