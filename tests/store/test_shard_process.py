"""A shard whose engine runs in a process of its own, as it does where little room is left."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from hybrid_search.errors import StoreBusy, StoreError, StoreFull
from hybrid_search.store.edge import disk, shard_process
from hybrid_search.store.edge.shard_process import ShardProcess
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import SparseVector
from tests.store.store_points import DIM, ROOT, build, found, manifest_of, output_of, point, points, python
from tests.store.test_contract_legs import NEW, add, searched, sparse_vectors


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store on a disk that is taken for nearly full."""
    monkeypatch.setattr(disk, "LOW_BYTES", 1 << 60)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return EdgeStore(tmp_path / "store")


def child_of(writer):
    return writer._working.shard._child


def test_all_that_a_writer_does_is_done_over_there(store):
    writer = store.writer("c", manifest_of())
    assert isinstance(writer._working.shard, ShardProcess)
    writer.upsert(points(30, metadata={"year": 1984}))
    writer.delete(["d1#0"])
    assert sorted(writer.heads(["d0", "d1"])) == ["d0"]
    assert len(list(writer.doc_ids())) == writer.info().points == 29
    assert set(writer.written().vectors("sparse", ["d0#0", "d1#0"])) == {"d0#0"}
    assert len(writer.written().retrieve([("dense", np.ones(DIM, np.float32))], 50)[0]) == 29
    writer.publish()
    writer.close()
    vectors = sparse_vectors([f"d{n}#0" for n in range(30) if n != 1])
    add(store, "c", "new", NEW, vectors)
    assert len(found(store.reader("c"))) == 29
    assert len(searched(store, "c", "new", SparseVector.of(range(60), np.ones(60)), 100)) == 29
    assert store.reader("c").fields()["year"] == "integer"
    assert store.verify("c")[0].whole


def test_an_error_over_there_is_one_here(store):
    build(store, "c", points(3))
    writer = store.writer("c", manifest_of())
    with pytest.raises(StoreError, match="Not existing vector name"):
        writer.set_vectors(NEW, sparse_vectors(["d0#0"]))
    writer.close()
    writer = store.writer("c", manifest_of())
    assert len(list(writer.doc_ids())) == 3
    writer.close()


@pytest.mark.parametrize("low", [True, False])
def test_the_end_of_the_child_is_an_error_and_nothing_written_is_lost(store, monkeypatch, low):
    build(store, "c", points(3))
    writer = store.writer("c", manifest_of())
    writer.upsert(points(5, "e"))
    child_of(writer).send_signal(signal.SIGBUS)
    child_of(writer).wait(10)
    if not low:
        monkeypatch.setattr(shard_process, "is_low", lambda _: False)
    kind, words = (
        (StoreFull, "became full while the engine wrote") if low else (StoreError, "ended by itself, .*SIGBUS")
    )
    with pytest.raises(kind, match=words):
        writer.upsert(points(5, "f"))
    with pytest.raises(StoreError, match="cannot be written to after this"):
        writer.publish()
    writer.close()
    assert found(store.reader("c")) == {f"d{n}#0" for n in range(3)}
    writer = store.writer("c", manifest_of())
    assert len(list(writer.doc_ids())) == 13  # what was logged is done, too
    writer.publish()
    writer.close()
    assert len(found(store.reader("c"))) == 13


def test_a_disk_that_gets_low_takes_the_engine_out_of_this_process(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    store = EdgeStore(tmp_path / "store")
    writer = store.writer("c", manifest_of())
    writer.upsert(points(3))
    assert not isinstance(writer._working.shard, ShardProcess)
    monkeypatch.setattr(disk, "LOW_BYTES", 1 << 60)
    writer.upsert(points(3, "e"))
    assert isinstance(writer._working.shard, ShardProcess)
    writer.publish()
    writer.close()
    assert len(found(store.reader("c"))) == 6


ORPHANING = """
import sys, time
from hybrid_search.store.edge import disk
disk.LOW_BYTES = 1 << 60
from hybrid_search.store.edge.store import EdgeStore
from tests.store.store_points import manifest_of, points
writer = EdgeStore(sys.argv[1]).writer("c", manifest_of())
writer.upsert(points(5))
child = writer._working.shard._child
if sys.argv[2] == "stopped":
    import os, signal
    os.kill(child.pid, signal.SIGSTOP)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="stops and kills processes")
def test_a_killed_writer_s_child_ends_and_until_then_nobody_else_writes(store, monkeypatch):
    monkeypatch.setattr("hybrid_search.store.edge.locks._ORPHANS_S", 0.3)
    process = python(ORPHANING, store.folder, "stopped")
    child = int(process.stdout.readline())
    process.kill()
    process.wait(10)
    with pytest.raises(StoreBusy, match=rf"process {process.pid} "):
        store.writer("c", manifest_of())
    monkeypatch.setattr("hybrid_search.store.edge.locks._ORPHANS_S", 20.0)
    os.kill(child, signal.SIGCONT)
    writer = store.writer("c", manifest_of())
    assert len(list(writer.doc_ids())) == 5
    writer.close()
    output_of(process)


def test_ctrl_c_is_not_for_the_child(store):
    writer = store.writer("c", manifest_of())
    child_of(writer).send_signal(signal.SIGINT)
    time.sleep(0.1)
    writer.upsert(points(2))
    assert len(list(writer.doc_ids())) == 2
    writer.close()


def test_a_fork_may_not_use_it(store, monkeypatch):
    writer = store.writer("c", manifest_of())
    mine = os.getpid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: mine + 1)
        with pytest.raises(StoreError, match="cannot be used in its fork"):
            writer.heads(["a"])
    writer.close()
    with pytest.raises(StoreError, match="has been closed"):
        writer.heads(["a"])


def test_a_shard_that_cannot_be_opened_leaves_no_child(tmp_path):
    with pytest.raises(StoreError):
        ShardProcess.load(tmp_path / "nothing")


def test_the_child_of_a_point_that_is_large_gets_all_of_it(store):
    writer = store.writer("c", manifest_of())
    writer.upsert([point("big", text="x" * 9_000_000), point("small")])
    writer.publish()
    writer.close()
    assert len(store.reader("c").payloads(["big#0"])["big#0"]["text"]) == 9_000_000


def test_building_the_index_ends_with_its_parent(tmp_path):
    """A child that finds itself without the parent it was started by does nothing."""
    code = "from hybrid_search.store.edge.shard_process import optimize; import sys; optimize(sys.argv[1], '1')"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr.strip()) == (1, "its parent has ended")
