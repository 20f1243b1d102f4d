"""The journal of index jobs, as another process finds it."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from hybrid_search.corpus.ledger import Ledger
from hybrid_search.errors import CorpusError, StoreError
from hybrid_search.indexer import Indexer
from hybrid_search.indexing import journal
from hybrid_search.indexing.add_leg import add_leg
from hybrid_search.indexing.job import index_job
from hybrid_search.indexing.journal import Job, journal_file, journal_problem, recent_jobs
from hybrid_search.indexing.progress import JobProgress
from hybrid_search.interop.encodings import load_encodings, save_encodings
from hybrid_search.settings import Settings
from hybrid_search.store import open_store
from hybrid_search.types import Document

BM25 = {"legs": ["bm25"]}


@pytest.fixture
def settings(tmp_path):
    return Settings(store=str(tmp_path / "store"))


def documents(count):
    return [Document(f"d{n}", f"stone river number{n}") for n in range(count)]


def test_a_finished_job_is_told_with_its_counts(settings):
    Indexer.open("c", settings=settings, **BM25).index([*documents(5), Document("bad", " ")])
    (job,) = recent_jobs(settings.store)
    assert isinstance(job, Job)
    assert (job.collection, job.state, job.documents, job.failed, job.total) == ("c", "finished", 5, 1, 6)
    assert (job.pid, job.saved, job.message) == (os.getpid(), 5, "")
    assert job.started <= job.updated


def test_a_job_at_work_is_running_and_an_interrupted_one_says_so(settings):
    seen = []

    def stop(progress):
        if progress.documents:
            seen.extend(recent_jobs(settings.store))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Indexer.open("c", settings=settings, **BM25).index(documents(5), on_progress=stop)
    assert [job.state for job in seen] == ["running"]
    (job,) = recent_jobs(settings.store)
    assert (job.state, job.documents) == ("interrupted", 5)


def test_a_failure_is_told_with_its_reason(settings, monkeypatch):
    def broken(*_):
        raise CorpusError("the tape tore")

    monkeypatch.setattr("hybrid_search.indexing.pipeline.write", broken)
    with pytest.raises(CorpusError):
        Indexer.open("c", settings=settings, **BM25).index(documents(5))
    (job,) = recent_jobs(settings.store)
    assert (job.state, job.message) == ("failed", "CorpusError: the tape tore")


def test_every_kind_of_job_is_known(settings, fakes, tmp_path):
    Indexer.open("c", settings=settings, **BM25).index(documents(5))
    seen = []
    add_leg(
        "c", "new", "fake/sparse", settings=settings, on_progress=lambda now: seen.extend(recent_jobs(settings.store))
    )
    assert ("add-leg", "running") in {(job.kind, job.state) for job in seen}
    (job,) = recent_jobs(settings.store)
    assert (job.kind, job.state, job.documents, job.chunks) == ("add-leg", "finished", 5, 5)
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    save_encodings("c", tmp_path / "c.parquet", settings=settings)
    load_encodings("loaded", tmp_path / "c.parquet", settings=settings)
    assert [(job.collection, job.kind, job.state, job.documents) for job in recent_jobs(settings.store)] == [
        ("loaded", "load", "finished", 5),
        ("c", "add-leg", "finished", 5),
    ]
    assert [job.kind for job in recent_jobs(settings.store, "c")] == ["add-leg", "index"]


def test_a_job_without_a_report_is_an_error_and_publishes_nothing(settings):
    Indexer.open("c", settings=settings, **BM25).index(documents(5))
    store = open_store(settings.store)
    with closing(store.writer("c", store.manifest("c"))) as writer:
        writer.delete([f"d{n}#0" for n in range(5)])
        progress = JobProgress("c", "", "", None, None)
        with pytest.raises(StoreError, match="ended without its report"), index_job("load", store, writer, progress):
            pass
    assert [(job.kind, job.state) for job in recent_jobs(settings.store)] == [("load", "failed")]
    assert store.info("c").documents == 5


def test_a_stage_that_has_not_ended_is_never_published(settings):
    Indexer.open("c", settings=settings, **BM25).index(documents(5))
    store = open_store(settings.store)
    with closing(store.writer("c", store.manifest("c"))) as writer, Ledger() as ledger:
        writer.delete(["d0#0"])
        progress = JobProgress("c", "", "", None, None)

        def partly():
            with index_job("index", store, writer, progress) as job:
                next(job.threads.lookup_batches(iter(documents(5_000))))
                job.conclude(ledger, prune=True)

        with pytest.raises(StoreError, match="before reading had come to an end"):
            partly()
    assert store.info("c").documents == 5
    assert [job.state for job in recent_jobs(settings.store)] == ["failed"]


def test_what_ends_them_is_known(settings, fakes, tmp_path):
    Indexer.open("c", settings=settings, **BM25).index(documents(5))
    with pytest.raises(KeyboardInterrupt):
        add_leg("c", "new", "fake/sparse", settings=settings, on_progress=interrupted)
    (job,) = recent_jobs(settings.store)
    assert (job.kind, job.state) == ("add-leg", "interrupted")
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    save_encodings("c", tmp_path / "c.parquet", settings=settings)
    with pytest.raises(KeyboardInterrupt):
        load_encodings("loaded", tmp_path / "c.parquet", settings=settings, on_progress=interrupted)
    assert [(job.kind, job.state) for job in recent_jobs(settings.store, "loaded")] == [("load", "interrupted")]


def interrupted(progress):
    if progress.documents:
        raise KeyboardInterrupt


SLOW = """
import sys, time
from hybrid_search.indexing.add_leg import add_leg
from hybrid_search.interop.encodings import load_encodings

def slowly(progress):
    if progress.documents:
        print("writing", flush=True)
        time.sleep(30)

kind, store, file = sys.argv[1:]
if kind == "load":
    load_encodings("c", file, store=store, replace=True, on_progress=slowly)
else:
    add_leg("c", "new", "qdrant/bm25-engine", store=store, on_progress=slowly)
"""


@pytest.mark.parametrize("kind", ["add-leg", "load"])
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_a_kill_during_other_kinds_say_interrupted(settings, fakes, tmp_path, kind, sign):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    Indexer.open("c", settings=settings, sparse="fake/sparse", dense="none").index(documents(5))
    before = open_store(settings.store).info("c")
    save_encodings("c", tmp_path / "c.parquet", settings=settings)
    script = [sys.executable, "-c", SLOW, kind, settings.store, str(tmp_path / "c.parquet")]
    child = subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout is not None
    with child, child.stdout:
        assert child.stdout.readline() == "writing\n"
        (at_work,) = recent_jobs(settings.store)
        child.send_signal(sign)
        child.wait()
    assert (at_work.kind, at_work.state, at_work.pid) == (kind, "running", child.pid)
    (job,) = recent_jobs(settings.store)
    assert (job.kind, job.state, job.number) == (kind, "interrupted", at_work.number)
    assert open_store(settings.store).info("c").manifest == before.manifest


KILLED = """
import sys
from hybrid_search.indexer import Indexer
from hybrid_search.types import Document

def endless():
    n = 0
    while True:
        yield Document(f"d{n}", f"stone river number{n}")
        n += 1
        if n % 200 == 0:
            print(n, flush=True)

Indexer.open("c", store=sys.argv[1], legs=["bm25"]).index(endless())
"""


def test_a_killed_job_is_interrupted_and_nothing_else_is(settings):
    child = subprocess.Popen([sys.executable, "-c", KILLED, settings.store], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        child.stdout.readline()
        deadline = time.monotonic() + 30
        while not (told := recent_jobs(settings.store)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [(job.state, job.pid) for job in told] == [("running", child.pid)]
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert [job.state for job in recent_jobs(settings.store)] == ["interrupted"]
    assert Indexer.open("c", settings=settings, **BM25).index(documents(5)).documents + 0 <= 5
    assert [job.state for job in recent_jobs(settings.store)] == ["finished"]
    assert [job.state for job in recent_jobs(settings.store, "c")] == ["finished", "interrupted"]


def test_of_each_collection_the_last_job_is_told_and_old_ones_are_forgotten(settings, monkeypatch):
    monkeypatch.setattr(journal, "KEPT_JOBS", 3)
    for _ in range(5):
        Indexer.open("c", settings=settings, **BM25).index(documents(2))
    Indexer.open("e", settings=settings, **BM25).index(documents(1))
    assert [(job.collection, job.number) for job in recent_jobs(settings.store)] == [("e", 6), ("c", 5)]
    assert [job.number for job in recent_jobs(settings.store, "c")] == [5, 4, 3]


def test_what_cannot_be_written_stops_no_job(settings, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "jobs.sqlite").write_bytes(b"no database at all, but long enough to be taken for one" * 20)
    assert Indexer.open("c", settings=settings, **BM25).index(documents(2)).documents == 2


def test_nothing_is_known_of_a_place_that_is_not_there(tmp_path):
    assert recent_jobs(str(tmp_path / "nowhere")) == []
    assert journal_file("the Qdrant client") is None
    assert str(journal_file("http://127.0.0.1:6333")).endswith("jobs.sqlite")


def test_a_tally_tells_where_it_stands_without_being_watched():
    tally = JobProgress("c", "custom", "", 3, None)
    tally.add(1, 2)
    assert (tally.now().documents, tally.now().chunks, tally.now().total) == (1, 2, 3)


def damaged_journal(settings, how):
    Indexer.open("c", settings=settings, **BM25).index(documents(3))
    file = journal_file(settings.store)
    data = file.read_bytes()
    if how == "a folder":
        file.unlink()
        file.mkdir()
        return file
    changed = {
        "garbage": b"no database",
        "emptied": b"",
        "zeroed": bytes(len(data)),
        "cut": data[: len(data) // 2 + 7],
        "a row": data.replace(b'"collection"', b'"collec\xfftion'),
        "no JSON": data.replace(b'"finished"', b"'finished'"),
    }[how]
    assert changed != data
    file.write_bytes(changed)
    return file


@pytest.mark.parametrize("how", ["garbage", "emptied", "zeroed", "cut", "a row", "no JSON", "a folder"])
def test_a_damaged_journal_is_told_of_and_stops_no_job(settings, how, caplog):
    file = damaged_journal(settings, how)
    assert str(file) in journal_problem(settings.store)
    if how in ("garbage", "zeroed", "cut"):
        with pytest.raises(StoreError, match="the next job begins a new one"):
            recent_jobs(settings.store)
    else:
        assert recent_jobs(settings.store) == []
    report = Indexer.open("c", settings=settings, **BM25).index(documents(4))
    assert report.documents == 1
    if how == "a folder":
        return
    assert [job.documents for job in recent_jobs(settings.store)][:1] == [1]
    if how in ("garbage", "zeroed", "cut"):
        assert "was damaged" in caplog.text
        assert (file.parent / "jobs.sqlite.damaged").is_file()
        assert journal_problem(settings.store) == ""


def test_a_journal_that_another_process_has_locked_is_not_set_aside(settings, monkeypatch):
    Indexer.open("c", settings=settings, **BM25).index(documents(3))
    file = journal_file(settings.store)
    connect = sqlite3.connect
    monkeypatch.setattr(journal.sqlite3, "connect", lambda path, **o: connect(path, **{**o, "timeout": 0.05}))
    other = connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        Indexer.open("c", settings=settings, **BM25).index(documents(4))
    finally:
        other.close()
    assert not (file.parent / "jobs.sqlite.damaged").exists()
    assert len(recent_jobs(settings.store)) == 1
