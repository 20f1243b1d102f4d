"""Index jobs on a local Ray cluster of three worker processes, against a server over HTTP."""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hybrid_search import Indexer
from hybrid_search.collection.models import ModelRequest, open_store_for
from hybrid_search.collection.profiles import select_models
from hybrid_search.corpus.fields import FieldMap
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.corpus.readers import read_file
from hybrid_search.corpus.roots import NO_ROOTS
from hybrid_search.corpus.walk import find
from hybrid_search.errors import InvalidArgument
from hybrid_search.indexing import journal, ray_driver, ray_worker
from hybrid_search.indexing.progress import JobProgress
from hybrid_search.indexing.ray_driver import _add_summary, index_on_ray
from hybrid_search.indexing.ray_worker import RayJob, ShardSummary
from hybrid_search.indexing.sources import count, validated
from hybrid_search.settings import Settings
from hybrid_search.types import PassedOver
from tests import servers

ROOT = Path(__file__).resolve().parents[2]
LEGS = {"sparse": "fake/sparse", "dense": "fake/dense"}


# ---------------------------------------------------------------- what needs no cluster


def test_a_folder_is_no_store_for_many_machines(settings, jsonl):
    with pytest.raises(InvalidArgument, match=r"The store is the folder .*--store http://HOST:6333"):
        index_on_ray("c", [jsonl([{"_id": "a", "text": "x"}])], "auto", settings=settings)


def test_stdin_cannot_be_read_by_many(settings):
    server = settings.model_copy(update={"store": "http://127.0.0.1:1"})
    with pytest.raises(InvalidArgument, match="Stdin"):
        index_on_ray("c", ["-"], "auto", settings=server)


def test_the_journal_knows_the_job(settings, jsonl, monkeypatch, tmp_path, server_process_url):
    """Whatever the workers do, which here is nothing."""
    monkeypatch.setattr(journal, "user_data_path", lambda *_, **__: tmp_path)
    monkeypatch.setattr(ray_driver, "_cluster", lambda address: contextlib.nullcontext())
    seen = []

    def met(job, files, ledger, writer, tally):
        tally.emit()
        seen.extend(journal.recent_jobs(server_process_url))
        return [], 0

    monkeypatch.setattr(ray_driver, "_scan", met)
    server = settings.model_copy(update={"store": server_process_url})
    source = jsonl([{"_id": "a", "text": "x"}])
    index_on_ray("c", [source], "auto", asked=ModelRequest(legs=["bm25"]), settings=server)
    assert [(job.kind, job.state) for job in seen] == [("ray", "running")]
    assert [(job.kind, job.state, job.collection) for job in journal.recent_jobs(server_process_url)] == [
        ("ray", "finished", "c")
    ]
    monkeypatch.setattr(ray_driver, "_index_shards", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        index_on_ray("c", [source], "auto", settings=server)
    assert [(job.kind, job.state) for job in journal.recent_jobs(server_process_url)] == [("ray", "failed")]
    monkeypatch.setattr(ray_driver, "_index_shards", stopped)
    with pytest.raises(KeyboardInterrupt):
        index_on_ray("c", [source], "auto", settings=server)
    assert [(job.kind, job.state) for job in journal.recent_jobs(server_process_url)] == [("ray", "interrupted")]


def stopped(*_):
    raise KeyboardInterrupt


def test_what_the_readers_of_all_workers_left_out_is_summed(settings, tmp_path):
    table = tmp_path / "docs"
    table.mkdir()
    (table / "a.txt").write_bytes("Вчера вечером мы долго гуляли".encode("koi8-r"))
    (table / "b.md").write_text("![a cat](data:image/png;base64,AAAA)")
    (table / "c.png").write_bytes(b"x")
    shards, whole = [], JobProgress("c", "", "", None, None)
    for found in find([str(table)]):
        if isinstance(found, PassedOver):
            count(found, whole)
            continue
        tally = JobProgress("c", "", "", None, None)
        with Ledger() as ledger:
            list(validated(read_file(found), ledger, tally))
        shards.append(ShardSummary(tally.failed, tally.failures, tally.repeated, 0, {}, tally.passed, tally.guessed))
    for seen in pickle.loads(pickle.dumps(shards)):
        _add_summary(seen, whole)
    report = whole.report()
    assert (report.passed_over, report.guessed) == ({"files .png": 1, "images": 1}, {"koi8-r": 1})
    assert pickle.loads(pickle.dumps(FieldMap(encoding="koi8-r"))).encoding == "koi8-r"


def test_a_worker_opens_once_the_version_that_the_driver_has_made(settings, server_process_url):
    server = settings.model_copy(update={"store": server_process_url})
    manifest = select_models(ModelRequest(legs=["bm25"]), server).manifest(64, 0)
    with contextlib.closing(open_store_for(None, server).writer("c", manifest)) as driver:
        job = RayJob("c", driver.manifest, server.model_dump(), FieldMap(), False, NO_ROOTS, "this run")
        with contextlib.closing(ray_worker._writer(job)) as worker:
            assert worker.manifest == driver.manifest
            assert ray_worker._writer(job) is worker
            assert worker.heads(["a"]) == {}
    ray_worker._writer_of.cache_clear()


# ---------------------------------------------------------------- on a cluster


@pytest.fixture
def url(server_process_url):
    return server_process_url


@pytest.fixture
def started(url, model_cache, tmp_path):
    """Start jobs on a cluster, one after the other, in a process of its own."""
    pytest.importorskip("ray.data")
    processes = []

    def start(*jobs, pass_s=0.0):
        options = {"url": url, "cache": str(model_cache), "jobs": [{"collection": "c", **job} for job in jobs]}
        env = {**os.environ, "PYTHONPATH": str(ROOT), "HS_PIDS": str(tmp_path / "pids"), "HS_PASS_S": str(pass_s)}
        env |= {"OMP_NUM_THREADS": "1", "RAY_DEDUP_LOGS": "0"}
        with (tmp_path / "errors").open("w") as told:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "tests" / "ray_job.py"), json.dumps(options)],
                stdout=subprocess.PIPE,
                stderr=told,
                text=True,
                env=env,
                cwd=tmp_path,
            )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def reports(process, tmp_path, timeout_s=400):
    """What each job of a process did."""
    try:
        out, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the job hung: {(tmp_path / 'errors').read_text()[-3000:]}") from None
    assert process.returncode == 0, (tmp_path / "errors").read_text()[-3000:]
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def pids(tmp_path):
    """The worker of every pass so far, in order."""
    with contextlib.suppress(FileNotFoundError):
        return [int(line) for line in (tmp_path / "pids").read_text().split("\n")[:-1]]
    return []


def rows(start, count):
    return [
        {
            "_id": f"d{n}",
            "title": f"title{n % 5}",
            "text": " ".join(f"word{(n * 7 + place) % 301}" for place in range(20 + n * 37 % 400)),
            "rating": n if n % 3 else n + 0.5,
        }
        for n in range(start, start + count)
    ]


@pytest.fixture
def library(jsonl, tmp_path):
    """A folder of several files of several kinds."""
    for part in range(5):
        jsonl(rows(part * 60, 60), name=f"library/part{part}.jsonl")
    (tmp_path / "library" / "notes.md").write_text("# Notes\n\nSome words about words.\n")
    return tmp_path / "library"


def everything(url, name):
    """Every point of a collection as it is stored, and the types of its indexes."""
    client = servers.client_of(url)
    records, _ = client.scroll(name, limit=100_000, with_payload=True, with_vectors=True)
    fields = {path: index.data_type.value for path, index in client.get_collection(name).payload_schema.items()}
    client.close()
    return {record.id: (record.payload, record.vector) for record in records}, fields


def same_as_without_ray(url, sources, settings, name="c"):
    """The collection on the server is the one that a job without Ray makes; gives the number of its points."""
    store = servers.store_of(url)
    Indexer.open("alone", store=store, settings=settings, **LEGS, replace=True).index(sources)
    store.close()
    (made, made_fields), (alone, alone_fields) = everything(url, name), everything(url, "alone")
    assert made.keys() == alone.keys()
    assert made_fields == alone_fields
    for point_id, (payload, vectors) in alone.items():
        assert made[point_id][0] == payload
        assert made[point_id][1]["sparse"] == vectors["sparse"]
        np.testing.assert_allclose(made[point_id][1]["dense"], vectors["dense"], atol=1e-6)
    return len(alone)


def job(library, **more):
    return {"sources": [str(library)], "names": LEGS, **more}


@pytest.mark.slow
def test_a_cluster_makes_what_one_process_makes_and_keeps_it_in_step(
    url, started, library, jsonl, settings, fakes, tmp_path
):
    jsonl([*rows(0, 2), {"_id": "d7", "text": "another seven"}, "no json"], name="library/zz.jsonl")
    process = started(job(library), job(library), job(library, replace=True), pass_s=0.1)
    first, second, third = reports(process, tmp_path)
    assert "error" not in first, first
    assert (first["documents"], first["unchanged"], first["repeated"], first["failed"]) == (301, 0, 2, 2)
    assert [reason for _, reason in first["failures"] if "d7" in reason] == [
        f"doc_id 'd7' stands at {library}/part0.jsonl:8 too, with other content"
    ]
    assert (second["documents"], second["unchanged"], second["repeated"], second["failed"]) == (0, 301, 2, 2)
    assert (third["documents"], third["chunks"]) == (301, first["chunks"])
    assert len(set(pids(tmp_path))) >= 2
    assert same_as_without_ray(url, [library], settings) == first["chunks"]

    (library / "zz.jsonl").unlink()
    (library / "part1.jsonl").unlink()
    jsonl([*rows(0, 59), {"_id": "d59", "text": "short now"}], name="library/part0.jsonl")
    (pruned,) = reports(started(job(library, prune=True)), tmp_path)
    assert (pruned["documents"], pruned["unchanged"], pruned["removed"], pruned["failed"]) == (1, 240, 60, 0)
    same_as_without_ray(url, [library], settings)


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(url, started, library, settings, fakes, tmp_path):
    process = started(job(library), pass_s=0.5)
    killed = []
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline and len(killed) < 2:
        fresh = [pid for pid in pids(tmp_path)[2:] if pid not in killed]
        if fresh and len(pids(tmp_path)) > 3 + 4 * len(killed):
            with contextlib.suppress(ProcessLookupError):
                os.kill(fresh[-1], signal.SIGKILL)
                killed.append(fresh[-1])
        time.sleep(0.05)
    (report,) = reports(process, tmp_path)
    assert len(killed) == 2
    assert "error" not in report, report
    assert (report["documents"] + report["unchanged"], report["failed"]) == (301, 0)
    assert len(set(pids(tmp_path))) > 2
    same_as_without_ray(url, [library], settings)


@pytest.mark.slow
def test_a_job_that_is_killed_is_gone_on_with(url, started, library, settings, fakes, tmp_path):
    process = started(job(library, replace=True), pass_s=0.5)
    deadline = time.monotonic() + 300
    while len(pids(tmp_path)) < 5 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(3)  # the workers notice that their driver has gone
    (report,) = reports(started(job(library, replace=True)), tmp_path)
    assert "error" not in report, report
    assert report["unchanged"] > 0
    assert report["documents"] + report["unchanged"] == 301
    same_as_without_ray(url, [library], settings)


@pytest.mark.slow
def test_what_fails_in_a_worker_is_told_and_nothing_is_published(url, started, library, settings, tmp_path):
    elsewhere = dict.fromkeys(LEGS, "none") | {"dense": "fake/nothing"}
    unknown, done, other = reports(
        started(job(library, names=elsewhere), job(library), job(library, names={"dense": "fake/dense-2"})), tmp_path
    )
    assert unknown["error"] == "UnknownModel"
    assert done["documents"] == 301
    assert other["error"] == "ManifestMismatch"
    assert Settings(store=url).store == url


@pytest.mark.slow
def test_a_source_that_breaks_off_removes_and_replaces_nothing(url, started, library, settings, tmp_path):
    whole = (library / "part2.jsonl").read_text().splitlines()
    (library / "part2.jsonl").unlink()
    (library / "part2.json").write_text("[" + ",\n".join(whole) + "]")
    (done,) = reports(started(job(library)), tmp_path)
    assert (done["documents"], done["failed"]) == (301, 0)
    before = everything(url, "c")
    (library / "part2.json").write_text("[" + ",\n".join(whole[:20]) + ",")
    replaced, pruned, again = reports(
        started(job(library, replace=True), job(library, prune=True), job(library)), tmp_path
    )
    assert replaced["error"] == "CorpusError"
    assert "part2.json" in replaced["message"]
    assert (pruned["failed"], pruned["removed"], pruned["documents"]) == (1, 0, 0)
    assert (again["failed"], again["unchanged"]) == (1, 261)
    assert everything(url, "c") == before
