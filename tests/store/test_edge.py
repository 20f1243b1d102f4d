"""The embedded store: a test for each guard against what its engine does not check. The rest is in test_generations."""

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from hybrid_search.errors import CollectionDamaged, StoreBusy, StoreError, StoreFull
from hybrid_search.store.edge import disk, generations, shard_process
from hybrid_search.store.edge import store as edge_store
from hybrid_search.store.edge import writer as edge_writer
from hybrid_search.store.edge.files import read_checked, write_checked
from hybrid_search.store.edge.shard import Shard
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import Point, SparseVector
from tests.store import conftest
from tests.store.store_points import DIM, ROOT, build, found, manifest_of, output_of, point, points, python

ONES = np.ones(DIM, np.float32)
store = conftest.edge_store


# ---------------------------------------------------------------- guards


def test_g1_a_bad_vector_is_refused_before_the_engine_sees_it(store):
    writer = store.writer("c", manifest_of())
    for vectors, words in [
        ({"dense": ONES * np.nan}, "not finite"),
        ({"dense": ONES * np.inf}, "not finite"),
        ({"dense": ONES * 0}, "has length 0"),
        ({"dense": ONES * 1e38}, "has length"),
        ({"dense": np.ones(DIM + 1, np.float32)}, r"has shape \(9,\)"),
        ({"dense": np.ones((1, DIM), np.float32)}, r"has shape \(1, 8\)"),
        ({"sparse": ONES}, "is dense, but the leg is sparse"),
        ({"dense": SparseVector.of([1], [1])}, "is sparse, but the leg is dense"),
        ({"colbert": ONES}, "the collection has"),
    ]:
        with pytest.raises(StoreError, match=words):
            writer.upsert([Point("bad#0", vectors, point("bad").payload)])
    writer.upsert([point("good")])
    writer.publish()
    writer.close()
    store.writer("c", manifest_of()).close()  # the log holds nothing that would stop it
    assert found(store.reader("c")) == {"good#0"}


@pytest.mark.parametrize(
    ("indices", "values"),
    [([1, 2], [1.0]), ([1, 1], [1.0, 2.0]), ([1], [np.inf]), ([1], [np.nan]), ([-1], [1.0]), ([2**31], [1.0])],
)
def test_g1_a_bad_sparse_vector_cannot_even_be_made(indices, values):
    with pytest.raises((ValueError, OverflowError)):
        SparseVector(np.array(indices), np.array(values, np.float32))


def test_g2_flags_come_back_as_flags_and_get_an_index_of_their_own(store):
    """Filters on them are not part of this room yet; they will have to ask with `numpy.bool_`."""
    build(store, "c", [point("a", metadata={"seen": True}), point("b", metadata={"seen": False})])
    payloads = store.reader("c").payloads(["a#0", "b#0"])
    assert payloads["a#0"]["metadata"]["seen"] is True
    assert payloads["b#0"]["metadata"]["seen"] is False
    writer = store.writer("c", manifest_of())
    assert writer._shard.indexed_fields() == {"number": "integer", "doc_id": "keyword", "metadata.seen": "bool"}
    writer.close()


def test_g3_the_index_is_built_in_a_process_of_its_own(store, monkeypatch):
    commands = []

    def run(command, **options):
        commands.append(command)
        return subprocess_run(command, **options)

    subprocess_run = subprocess.run
    monkeypatch.setattr(edge_writer, "OPTIMIZE_FROM", 50)
    monkeypatch.setattr(shard_process.subprocess, "run", run)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    batch = points(60)
    build(store, "c", batch)
    assert [command[0] for command in commands] == [sys.executable]
    assert found(store.reader("c")) == {p.chunk_id for p in batch}
    writer = store.writer("c", manifest_of())
    writer.upsert([point("late")])
    writer.publish()
    writer.close()
    assert "late#0" in found(store.reader("c"))


def test_g3_a_failing_build_of_the_index_costs_speed_only(store, monkeypatch, caplog):
    run = subprocess.run
    monkeypatch.setattr(edge_writer, "OPTIMIZE_FROM", 50)
    failing = "import sys; sys.exit('out of memory')"
    monkeypatch.setattr(shard_process.subprocess, "run", lambda command, **o: run([command[0], "-c", failing], **o))
    batch = points(60)
    with caplog.at_level(logging.WARNING):
        build(store, "c", batch)
    assert "Collection c stays without its search index (slower, still right): out of memory" in caplog.text
    assert found(store.reader("c")) == {p.chunk_id for p in batch}


@pytest.mark.slow
def test_g3_an_index_that_was_really_built_finds_the_same(store, monkeypatch):
    """7 000 vectors of 384 numbers are more than the engine scans by default (10 000 KB)."""
    from hybrid_search.manifest import LegSpec, Manifest

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(350, 384)), 20, axis=0) + 0.3 * rng.normal(size=(7_000, 384))
    vectors = vectors.astype(np.float32)
    manifest = Manifest("custom", {"dense": LegSpec("m", "f", dim=384)}, 0)
    writer = store.writer("c", manifest)
    for start in range(0, len(vectors), 500):
        writer.upsert([point(f"d{n}", legs=["dense"], dense=vectors[n]) for n in range(start, start + 500)])
    writer.publish()
    writer.close()
    folder = generations.current(store.folder / "c")
    assert list(folder.rglob("graph*.bin")) or list(folder.rglob("*links*"))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for _ in range(2):  # a second reader finds what the first left
        reader = store.reader("c")
        shared = 0
        for query in vectors[::350]:
            answer = {c for c, _ in reader.retrieve([("dense", query)], 10)[0]}
            shared += len(answer & {f"d{n}#0" for n in np.argsort(-(unit @ query))[:10]})
        reader.close()
        assert shared >= 190  # of 200


WRITER = """
import sys, time
from hybrid_search.store.edge.store import EdgeStore
from tests.store.store_points import manifest_of, points
writer = EdgeStore(sys.argv[1]).writer("c", manifest_of())
writer.upsert(points(3))
print("holding")
time.sleep(float(sys.argv[2]))
writer.publish()
writer.close()
"""


def test_g4_a_second_writer_is_told_who_the_first_is(store):
    process = python(WRITER, store.folder, 20)
    assert process.stdout.readline() == "holding\n"
    started = time.monotonic()
    with pytest.raises(StoreBusy, match=rf"'c' is being written by process {process.pid} on .* since 20\d\d-"):
        store.writer("c", manifest_of())
    with pytest.raises(StoreBusy, match=str(process.pid)):
        store.delete("c")
    assert time.monotonic() - started < 15
    with pytest.raises(StoreBusy):
        store.writer("c", manifest_of(), wait_s=0.3)
    process.kill()
    process.communicate()
    writer = store.writer("c", manifest_of(), wait_s=5)
    assert sorted(writer.doc_ids()) == ["d0", "d1", "d2"]
    writer.close()


def test_g4_a_second_writer_waits_for_the_first(store):
    process = python(WRITER, store.folder, 0.7)
    assert process.stdout.readline() == "holding\n"
    writer = store.writer("c", manifest_of(), wait_s=20)
    assert sorted(writer.doc_ids()) == ["d0", "d1", "d2"]
    writer.close()
    assert output_of(process)[0] == 0
    assert found(store.reader("c")) == {"d0#0", "d1#0", "d2#0"}


def test_g4_a_second_writer_in_the_same_process_is_refused_too(store):
    writer = store.writer("c", manifest_of())
    with pytest.raises(StoreBusy, match=f"process {os.getpid()}"):
        store.writer("c", manifest_of())
    writer.close()
    writer.close()
    store.writer("c", manifest_of()).close()


def test_g4_a_writer_that_could_not_start_holds_nothing(store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        with pytest.raises(StoreFull):
            store.writer("c", manifest_of())
    store.writer("c", manifest_of()).close()


READERS = """
import sys, time
from pathlib import Path
from hybrid_search.store.edge.store import EdgeStore
from tests.store.store_points import found
store, stop, rounds = EdgeStore(sys.argv[1]), Path(sys.argv[2]), 0
print("ready")
while not stop.exists():
    reader = store.reader("c")
    chunk_ids = found(reader)
    # A generation is 20 documents of version n and 5 more for each publication: never a mixture, never a part.
    assert len(chunk_ids) == reader.info().points == 20 + 5 * (len(chunk_ids) // 5 - 4), len(chunk_ids)
    assert len(reader.payloads(sorted(chunk_ids))) == len(chunk_ids)
    assert store.names() == ["c"]
    store.info("c")
    reader.close()
    rounds += 1
print(rounds)
"""


def test_g4_many_processes_search_while_one_writes_and_publishes(store, tmp_path):
    build(store, "c", points(20))
    stop = tmp_path / "stop"
    readers = [python(READERS, store.folder, stop) for _ in range(3)]
    try:
        for reader in readers:
            assert reader.stdout.readline() == "ready\n"
        writer = store.writer("c", manifest_of())
        for turn in range(8):
            writer.upsert(points(5, f"turn{turn}-"))
            time.sleep(0.05)
            writer.publish()
        writer.close()
    finally:
        stop.touch()
        results = [output_of(reader) for reader in readers]
    assert [(code, err) for code, _, err in results] == [(0, "")] * 3
    assert all(int(out) >= 3 for _, out, _ in results)
    assert len(found(store.reader("c"))) == 60


def test_g4_an_open_reader_keeps_its_generation_until_it_is_closed(store, root):
    build(store, "c", points(2))
    reader = store.reader("c")
    writer = store.writer("c", manifest_of())
    for turn in range(3):
        writer.upsert([point(f"new{turn}")])
        writer.publish()
    assert sorted(f.name for f in root.glob("g*")) == ["g000001", "g000004"]
    assert found(reader) == {"d0#0", "d1#0"}
    reader.close()
    writer.upsert([point("last")])
    writer.publish()
    writer.close()
    assert [f.name for f in root.glob("g*")] == ["g000005"]


FORK = """
import os, sys, warnings
from hybrid_search.errors import StoreError
from hybrid_search.store.edge.store import EdgeStore
from tests.store.store_points import found, manifest_of, point
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads; the engine has some
store = EdgeStore(sys.argv[1])
writer, reader = store.writer("c", manifest_of()), store.reader("c")
child = os.fork()
if child == 0:
    code = 0
    for use in (lambda: found(reader), lambda: writer.upsert([point("x")]), writer.publish):
        try:
            use()
            code = 1
        except StoreError as error:
            if "cannot be used in its fork" not in str(error) or str(os.getppid()) not in str(error):
                code = 2
    reader.close()
    writer.close()
    sys.exit(code)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(len(found(reader)), len(list((store.folder / "c" / "leases").iterdir())))
sys.stdin.close()
other = __import__("subprocess").run([sys.executable, "-c", sys.argv[2], sys.argv[1]], capture_output=True, text=True)
print(other.stdout + other.stderr)
writer.publish()
"""

TRY_TO_WRITE = """
import sys
from hybrid_search.errors import StoreBusy
from hybrid_search.store.edge.store import EdgeStore
from tests.store.store_points import manifest_of
try:
    EdgeStore(sys.argv[1]).writer("c", manifest_of())
except StoreBusy:
    print("busy")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_g5_a_fork_may_use_nothing_and_takes_nothing_from_its_parent(store):
    build(store, "c", points(4))
    code, out, err = output_of(python(FORK, store.folder, TRY_TO_WRITE))
    assert (code, err) == (0, "")
    assert out.split() == ["4", "1", "busy"]


def test_g6_a_nearly_full_disk_stops_a_batch_before_it_is_written(store, monkeypatch):
    writer = store.writer("c", manifest_of())
    writer.upsert(points(3))
    with monkeypatch.context() as patch:
        patch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=99 * 1024 * 1024))
        for act in (lambda: writer.upsert([point("late")]), writer.publish):
            with pytest.raises(StoreFull, match=r"has 104 MB left, 1\d\d MB are needed"):
                act()
    assert sorted(writer.doc_ids()) == ["d0", "d1", "d2"]
    assert store.names() == []
    writer.publish()
    writer.close()
    assert store.names() == ["c"]


FILL = """
import shutil, sys
from hybrid_search.errors import StoreFull
from hybrid_search.store.edge.store import EdgeStore
from tests.store.store_points import found, manifest_of, point, points
store = EdgeStore(sys.argv[1])
writer = store.writer("c", manifest_of())
writer.upsert(points(5))
writer.publish()
full = 0
try:
    for n in range(200):
        writer.upsert([point(f"big{n}-{i}", text="x" * 40_000) for i in range(20)])
except StoreFull:
    full += 1
try:
    writer.publish()
except StoreFull:
    full += 1
free = shutil.disk_usage(sys.argv[1]).free
with open(sys.argv[2], "wb") as filler:  # now let somebody else take the very rest
    filler.write(b"x" * (free - 8_192))
try:
    writer.upsert([point("more")])
except StoreFull:
    full += 1
writer.close()
reader = store.reader("c")
print(full, len(found(reader)))
reader.close()
try:
    store.writer("c", manifest_of())
except StoreFull:
    print("still full")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0 or sys.platform != "linux", reason="mounts a disk")
def test_g6_a_disk_that_is_really_full_kills_no_process(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=220m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("may not mount here")
    try:
        code, out, err = output_of(python(FILL, disk / "store", disk / "filler"), 60)
        assert (code, err) == (0, "")
        assert out.split() == ["3", "5", "still", "full"]
        (disk / "filler").unlink()
        folder = tmp_path / "elsewhere"
        shutil.copytree(disk / "store", folder)
        writer = EdgeStore(folder).writer("c", manifest_of())
        assert writer.info().points >= 25
        writer.publish()
        writer.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_g7_updates_after_a_publication_count(store, root):
    """The engine numbers writes by its own log, and takes those of a new log for old ones. It has none here."""
    build(store, "c", [point("a", stamp="old"), point("b")])
    for _ in range(2):
        writer = store.writer("c", manifest_of())
        writer.upsert([point("a", stamp="new", metadata={"new": True})])
        writer.delete(["b#0"])
        writer.publish()
        assert writer.heads(["a", "b"])["a"].version_hash == "new"
        writer.close()
        assert not (root / "work" / "shard" / "wal").exists()
    reader = store.reader("c")
    assert found(reader) == {"a#0"}
    assert reader.payloads(["a#0"])["a#0"]["metadata"] == {"new": True}


def test_g8_payloads_may_nest_32_levels_and_no_more(store):
    def nested(levels):
        value = {}
        for _ in range(levels):
            value = {"x": value}
        return value

    writer = store.writer("c", manifest_of())
    writer.upsert([point("fits", metadata=nested(32))])
    for levels in (33, 1_000):
        with pytest.raises(StoreError, match="'deep#0' is nested deeper than 32 levels"):
            writer.upsert([point("deep", metadata=nested(levels))])
    writer.publish()
    writer.close()
    assert store.reader("c").payloads(["fits#0"])["fits#0"]["metadata"] == nested(32)


def test_g9_a_batch_with_one_bad_point_writes_nothing_even_after_a_replay(store):
    writer = store.writer("c", manifest_of())
    writer.upsert([point("before")])
    with pytest.raises(StoreError, match="'bad#0'"):
        writer.upsert([*points(20), point("bad", dense=np.ones(DIM + 1, np.float32)), *points(20, "e")])
    writer.close()
    writer = store.writer("c", manifest_of())
    assert list(writer.doc_ids()) == ["before"]
    assert writer.info().points == 1
    writer.close()


def poisoned(monkeypatch):
    """Have the engine get an operation that it panics on."""
    import qdrant_edge

    poison = qdrant_edge.SparseVector([1, 2], [1.0])
    operation = qdrant_edge.UpdateOperation.upsert_points([qdrant_edge.Point(1, {"sparse": poison}, {})])
    monkeypatch.setattr(Shard, "upsert", lambda self, points: self._update(operation))


def test_g10_a_panic_of_the_engine_ends_a_writer_and_the_next_one_is_whole(store, root, monkeypatch):
    build(store, "c", points(3))
    writer = store.writer("c", manifest_of())
    with monkeypatch.context() as patch:
        poisoned(patch)
        with pytest.raises(CollectionDamaged, match="The engine gave up") as caught:
            writer.upsert([point("new")])
    assert type(caught.value.__cause__).__name__ == "PanicException"
    for act in (lambda: writer.upsert([point("late")]), lambda: writer.delete(["d0#0"]), writer.publish):
        with pytest.raises(CollectionDamaged, match="--replace"):
            act()
    writer.close()
    assert generations.current(root).name == "g000001"
    assert len(found(store.reader("c"))) == 3
    # What the engine was left with is not gone on with: the shard is made again of what was published and written.
    writer = store.writer("c", manifest_of())
    assert sorted(writer.doc_ids()) == ["d0", "d1", "d2", "new"]
    writer.publish()
    writer.close()
    assert found(store.reader("c")) == {"d0#0", "d1#0", "d2#0", "new#0"}


def test_g10_a_write_that_the_engine_never_takes_is_given_up(store, monkeypatch):
    build(store, "c", points(3))
    poisoned(monkeypatch)
    writer = store.writer("c", manifest_of())
    with pytest.raises(CollectionDamaged):
        writer.upsert([point("bad")])
    writer.close()
    for _ in range(2):
        writer = store.writer("c", manifest_of())
        assert sorted(writer.doc_ids()) == ["d0", "d1", "d2"]
        writer.close()


def test_g10_an_interrupt_stays_an_interrupt():
    from hybrid_search.store.edge.shard import _engine

    for kind in (KeyboardInterrupt, SystemExit):
        with pytest.raises(kind), _engine(Path("x")):
            raise kind


OPEN = """
import sys
from hybrid_search.errors import CollectionDamaged
from hybrid_search.store.edge.store import EdgeStore
try:
    EdgeStore(sys.argv[1]).reader("c")
except CollectionDamaged as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("file", "keep"),
    [
        ("segments/*/version.info", None),
        ("segments/*/version.info", 0),
        ("segments/*/segment.json", 0),
        ("segments/*/*id_tracker.mappings", 0.5),
        ("segments/*/*id_tracker.versions", 0.5),
        ("segments/*/payload_storage/tracker.dat", 0),
        ("segments/*/vector_storage-dense/vectors/*.mmap", 0.5),
        ("segments/*/vector_storage-sparse/store/page_0.dat", 0),
        ("edge_config.json", 0.5),
    ],
)
def test_g11_a_published_file_that_is_gone_or_cut_short_is_noticed(store, root, file, keep):
    build(store, "c", points(50))
    (damaged,) = (root / "g000001" / "shard").glob(file)
    if keep is None:
        damaged.unlink()
    else:
        os.truncate(damaged, int(damaged.stat().st_size * keep))
    with pytest.raises(CollectionDamaged, match="missing or not as they were written") as caught:
        store.reader("c")
    assert "--replace" in str(caught.value)
    assert damaged.name in str(caught.value)
    assert store.names() == ["c"]


@pytest.mark.parametrize("place", [None, 0, 1, 8, 300, -30, -25, -17, -9, -1])
def test_g11_a_damaged_file_does_not_end_the_process(store, root, place):
    """The engine itself aborts on this one, so it has to be seen from outside."""
    build(store, "c", points(50))
    (damaged,) = (root / "g000001" / "shard").glob("segments/*/*id_tracker.mappings")
    if place is None:
        os.truncate(damaged, 700)
    else:
        data = bytearray(damaged.read_bytes())
        data[place] ^= 0x55
        damaged.write_bytes(data)
    code, out, err = output_of(python(OPEN, store.folder))
    assert (code, err) == (0, "")
    assert "is damaged" in out
    assert ": 1 files are missing" in out


def test_g11_points_that_are_fewer_than_were_written_are_noticed(store, root):
    build(store, "c", points(50))
    file = root / "g000001" / "manifest.json"
    data = read_checked(file)
    data["counts"]["dense"] += 1
    write_checked(file, data)
    with pytest.raises(CollectionDamaged, match=r"'dense': 50.*but .*'dense': 51.* were written"):
        store.reader("c")


def test_g11_a_damaged_manifest_is_noticed(store, root):
    build(store, "c", points(2))
    for text in ("", "{", "[]", "null", '{"manifest": {}}', '{"counts": {}}', "\0\0\0"):
        (root / "g000001" / "manifest.json").write_text(text, encoding="utf-8")
        for opening in (store.reader, store.info):
            with pytest.raises(CollectionDamaged, match=r"manifest\.json cannot be read"):
                opening("c")


def test_g11_a_damaged_pointer_is_noticed_and_a_rebuild_repairs_it(store, root):
    build(store, "c", points(2))
    for text in ("", "\0\0\0\0\0\0\0", "../../etc", "g000002"):
        (root / "CURRENT").write_text(text, encoding="utf-8")
        for opening in (store.reader, store.info):
            with pytest.raises(CollectionDamaged):
                opening("c")
        assert store.manifest("c") == manifest_of()
    writer = store.writer("c", manifest_of(), replace=True)
    writer.upsert([point("new")])
    writer.publish()
    writer.close()
    assert found(store.reader("c")) == {"new#0"}


def test_g12_a_network_file_system_is_warned_of(store, monkeypatch, caplog):
    monkeypatch.setattr(edge_store, "network_file_system", lambda _: "nfs4")
    with caplog.at_level(logging.WARNING):
        store.writer("c", manifest_of()).close()
    assert "lies on nfs4: the embedded engine is not safe there" in caplog.text


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/mnt/nfs/store", "nfs4"),
        ("/mnt/nfs", "nfs4"),
        ("/mnt/nfs-not/store", None),
        ("/mnt/nfs/local/store", None),
        ("/mnt/my share/store", "cifs"),
        ("/mnt/c/Users/me", "9p"),
        ("/over/store", "nfs"),
        ("/home/me", None),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="the paths are those of POSIX")
def test_g12_the_file_system_is_read_from_the_mounts(monkeypatch, folder, kind):
    kinds = {"/": "ext4", "/mnt/nfs": "nfs4", "/mnt/nfs/local": "ext4", "/mnt/my share": "cifs", "/mnt/c": "9p"}
    mounted = [*kinds.items(), ("/over", "tmpfs"), ("/over", "nfs")]
    told = [SimpleNamespace(mountpoint=mountpoint, fstype=fstype) for mountpoint, fstype in mounted]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: told)
    assert disk.network_file_system(Path(folder)) == kind
