"""The embedded store's folder: publishing, dying at a bad moment, leases, and folders that are not in order."""

import errno
import os
import shutil
import sys
from contextlib import suppress

import numpy as np
import pytest

from hybrid_search.errors import CollectionDamaged, CollectionNotFound, StoreError, StoreFull
from hybrid_search.store.edge import generations, locks
from hybrid_search.store.edge import store as edge_store
from hybrid_search.store.edge.disk import real_size
from hybrid_search.store.edge.shard import Shard
from hybrid_search.store.edge.store import EdgeStore
from tests.store import conftest
from tests.store.store_points import DIM, build, found, manifest_of, output_of, point, points, python, random_sparse

store = conftest.edge_store


def content_of(folder):
    return {str(file): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


# ---------------------------------------------------------------- dying at a bad moment

ENDLESS = """
import sys
from hybrid_search.store.edge.store import EdgeStore
from tests.store.store_points import manifest_of, point
writer = EdgeStore(sys.argv[1]).writer("c", manifest_of())
for turn in range(100_000):
    writer.upsert([point(f"t{turn}-{i}") for i in range(10)])
    print(turn)
"""


def test_a_killed_writer_loses_nothing_that_was_acknowledged(store, root):
    build(store, "c", points(3))
    process = python(ENDLESS, store.folder)
    acknowledged = [process.stdout.readline() for _ in range(15)]
    process.kill()
    acknowledged += process.communicate()[0].splitlines(keepends=True)
    turns = [int(line) for line in acknowledged if line.endswith("\n")]
    assert len(turns) >= 15

    assert found(store.reader("c")) == {"d0#0", "d1#0", "d2#0"}  # the old generation, whole
    assert (root / "work" / "changed").exists()
    writer = store.writer("c", manifest_of())
    kept = set(writer.doc_ids())
    assert kept >= {f"t{turn}-{i}" for turn in turns for i in range(10)}
    writer.publish()  # this run wrote nothing itself
    writer.close()
    assert not (root / "work" / "changed").exists()
    assert found(store.reader("c"), 100_000) == {f"{doc_id}#0" for doc_id in kept}


def test_a_run_that_wrote_nothing_publishes_nothing(store, root):
    build(store, "c", points(3))
    writer = store.writer("c", manifest_of())
    writer.publish()
    writer.close()
    assert [f.name for f in root.glob("g*")] == ["g000001"]


@pytest.mark.parametrize("step", ["copy_tree", "write_checked", "sync", "sums_of"])
def test_an_interrupted_publication_leaves_what_was_published(store, root, monkeypatch, step):
    build(store, "c", points(3))
    writer = store.writer("c", manifest_of())
    writer.upsert([point("late")])
    with monkeypatch.context() as patch:
        patch.setattr(generations, step, lambda *a, **o: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            writer.publish()
    writer.close()
    assert generations.current(root).name == "g000001"
    assert found(store.reader("c")) == {"d0#0", "d1#0", "d2#0"}
    writer = store.writer("c", manifest_of())
    writer.publish()
    writer.close()
    assert "late#0" in found(store.reader("c"))
    assert [f.name for f in root.glob("g*")] in (["g000002"], ["g000003"])


def test_a_disk_that_fails_while_publishing_is_told_in_words(store, monkeypatch):
    writer = store.writer("c", manifest_of())
    writer.upsert(points(3))
    with monkeypatch.context() as patch:
        patch.setattr(generations, "sync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(StoreFull, match="No space left on device"):
            writer.publish()
    writer.publish()
    writer.close()


def test_a_copy_that_lost_points_is_not_published(store, root, monkeypatch):
    build(store, "c", points(3))
    writer = store.writer("c", manifest_of())
    writer.upsert(points(50, "e"))
    copy = generations.copy_tree

    def copy_badly(source, target, leave_out=""):
        sums = copy(source, target, leave_out)
        for file in target.glob("segments/*/*id_tracker.mappings"):
            os.truncate(file, 0)
        return sums

    with monkeypatch.context() as patch:
        patch.setattr(generations, "copy_tree", copy_badly)
        with pytest.raises(StoreError):
            writer.publish()
    assert generations.current(root).name == "g000001"
    writer.publish()
    writer.close()
    assert len(found(store.reader("c"))) == 53


def test_a_replacement_cut_short_while_clearing_leaves_nothing_to_go_on_with(store, root, monkeypatch):
    build(store, "c", points(3))
    begun = store.writer("c", manifest_of(model="other"), replace=True)
    begun.upsert(points(2, "begun"))
    begun.close()

    def clear_half(folder):
        shutil.rmtree(folder / "shard")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(generations, "remove_folder", clear_half)
        with pytest.raises(KeyboardInterrupt):
            store.writer("c", manifest_of(), replace=True)
    assert found(store.reader("c")) == {"d0#0", "d1#0", "d2#0"}
    for model in ("other", "m-dense"):
        writer = store.writer("c", manifest_of(model=model), replace=True)
        assert not writer.resumed
        assert list(writer.doc_ids()) == []
        writer.close()


DYING_READER = """
import os, sys
from hybrid_search.store.edge.store import EdgeStore
reader = EdgeStore(sys.argv[1]).reader("c")
print("open")
sys.stdin.read() if len(sys.argv) > 2 else os._exit(0)
"""


def test_leases_of_dead_readers_are_cleared(store, root):
    build(store, "c", points(2))
    assert output_of(python(DYING_READER, store.folder))[0] == 0
    assert len(list((root / "leases").iterdir())) == 1
    writer = store.writer("c", manifest_of())
    writer.upsert([point("late")])
    writer.publish()
    writer.close()
    assert [f.name for f in root.glob("g*")] == ["g000002"]
    assert list((root / "leases").iterdir()) == []


def test_a_reader_takes_the_generation_that_is_current_when_it_holds_its_lease(store, root, monkeypatch):
    """A publication between reading CURRENT and holding the lease must not leave a reader on a removed folder."""
    build(store, "c", points(2))
    writer = store.writer("c", manifest_of())
    writer.upsert([point("late")])
    hold = generations.hold

    def publish_first(root, folder):
        monkeypatch.undo()
        writer.publish()
        return hold(root, folder)

    monkeypatch.setattr(generations, "hold", publish_first)
    reader = store.reader("c")
    assert found(reader) == {"d0#0", "d1#0", "late#0"}
    assert len(list((root / "leases").iterdir())) == 1
    reader.close()
    writer.close()


# ---------------------------------------------------------------- folders


def test_a_store_that_is_not_there_yet_holds_nothing(store):
    assert store.names() == []
    assert store.manifest("c") is None
    for opening in (store.reader, store.info, store.delete):
        with pytest.raises(CollectionNotFound, match="It holds none yet"):
            opening("c")
    assert not store.folder.exists()


def test_a_folder_that_cannot_be_made_is_an_error_with_a_way_out(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        store = EdgeStore(folder)
        with pytest.raises(StoreError, match=r"Cannot write to .*--store"):
            store.writer("c", manifest_of())
        assert store.names() == []
        with pytest.raises(CollectionNotFound):
            store.reader("c")


def test_a_file_in_the_place_of_a_collection_is_no_collection(store):
    build(store, "c", points(1))
    (store.folder / "f").write_text("x", encoding="utf-8")
    assert store.names() == ["c"]
    for opening in (store.reader, store.info, store.delete):
        with pytest.raises(CollectionNotFound):
            opening("f")
    with pytest.raises(StoreError, match="Cannot write to"):
        store.writer("f", manifest_of())


def test_a_folder_of_somebody_else_is_never_deleted(store):
    build(store, "c", points(1))
    (store.folder / "photos").mkdir()
    (store.folder / "photos" / "cat.jpg").write_text("x", encoding="utf-8")
    with pytest.raises(CollectionNotFound):
        store.delete("photos")
    assert (store.folder / "photos" / "cat.jpg").exists()
    assert store.names() == ["c"]


def test_a_folder_that_may_not_be_written_is_read_from_a_private_copy(store, root, monkeypatch):
    build(store, "c", points(5))
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*")}
    access = os.access
    monkeypatch.setattr(generations.os, "access", lambda path, mode: False if path == root else access(path, mode))
    reader = store.reader("c")
    assert found(reader) == {f"d{i}#0" for i in range(5)}
    private = reader._lease.folder
    assert root not in private.parents
    reader.close()
    assert not private.exists()
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*")} == before


def test_deleting_leaves_open_readers_what_they_hold(store, root):
    build(store, "c", points(5))
    reader = store.reader("c")
    store.delete("c")
    assert store.names() == []
    if os.name != "nt":
        assert found(reader) == {f"d{i}#0" for i in range(5)}
        assert not root.exists()
    reader.close()


def test_a_closed_collection_says_so(store):
    build(store, "c", points(2))
    reader, writer = store.reader("c"), store.writer("c", manifest_of())
    for one in (reader, writer):
        one.close()
        one.close()
    for use in (lambda: found(reader), lambda: reader.payloads(["d0#0"]), lambda: writer.heads(["d0"])):
        with pytest.raises(StoreError, match="has been closed; open it again"):
            use()


def test_holes_in_files_stay_holes(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "wal").mkdir(parents=True)
    (source / "deep" / "er").mkdir(parents=True)
    with (source / "deep" / "er" / "file").open("wb") as file:
        file.write(b"head")
        file.seek(50_000_000)
        file.write(b"middle")
        file.truncate(90_000_000)
    (source / "zeros").write_bytes(bytes(3_000_000) + b"end")
    (source / "empty").touch()
    generations.copy_tree(source, target, leave_out="wal")
    assert content_of(target) == {k.replace(str(source), str(target)): v for k, v in content_of(source).items()}
    assert not (target / "wal").exists()
    if sys.platform == "linux":
        assert real_size(target) <= 7 * 4_096


def test_a_reader_forgets_names_beyond_its_limit_and_still_answers(store, monkeypatch):
    monkeypatch.setattr(edge_store, "KNOWN_NAMES", 10)
    batch = points(40)
    build(store, "c", batch)
    reader = store.reader("c")
    rng = np.random.default_rng(2)
    for _ in range(20):
        requests = [("dense", rng.normal(size=DIM).astype(np.float32)), ("sparse", random_sparse(rng))]
        for answer in reader.retrieve(requests, 6):
            assert {c for c, _ in answer} <= {p.chunk_id for p in batch}
        assert len(reader._names) <= 22
    assert len(found(reader)) == 40


def test_fields_get_their_index_once_and_a_whole_number_that_turns_broken_gets_another(store):
    writer = store.writer("c", manifest_of())
    keys = ["plain", "größe", "a.b", "a b", "a[0]", "", "😀", "a:b", 'quo"te', "back\\slash"]
    writer.upsert(
        [point("a", metadata={**dict.fromkeys(keys, "x"), "rate": 1, "in": {"side": 2.5}, "on": "2026-11-21"})]
    )
    wanted = {
        "number": "integer",
        "doc_id": "keyword",
        "metadata.plain": "keyword",
        "metadata.größe": "keyword",
        'metadata."a.b"': "keyword",
        'metadata."a b"': "keyword",
        'metadata."a[0]"': "keyword",
        'metadata.""': "keyword",
        'metadata."😀"': "keyword",
        'metadata."a:b"': "keyword",
        "metadata.rate": "integer",
        "metadata.in.side": "float",
        "metadata.on": "datetime",
    }
    assert writer._shard.indexed_fields() == wanted
    writer.upsert([point("b", metadata={"rate": 1.5})])
    assert writer._shard.indexed_fields() == {**wanted, "metadata.rate": "float"}
    writer.close()
    writer = store.writer("c", manifest_of())
    assert writer._fields == {**wanted, "metadata.rate": "float"}
    writer.close()


# ---------------------------------------------------------------- full disks


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked there")
def test_where_no_file_can_be_made_the_generation_itself_is_locked(store, root):
    build(store, "c", points(3))
    readers = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locks, "FileLock", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        readers = [store.reader("c"), store.reader("c")]
    assert list((root / "leases").iterdir()) == []
    build(store, "c", [point("late")])
    build(store, "c", [point("later")])
    assert sorted(folder.name for folder in root.glob("g*")) == ["g000001", "g000003"]
    assert [found(reader) for reader in readers] == [{"d0#0", "d1#0", "d2#0"}] * 2
    readers[0].close()
    build(store, "c", [point("last")])
    assert (root / "g000001").exists()
    readers[1].close()
    build(store, "c", [point("very last")])
    assert [folder.name for folder in root.glob("g*")] == ["g000005"]


def test_another_reason_why_no_file_can_be_made_is_an_error(store, monkeypatch):
    build(store, "c", points(3))
    denied = OSError(errno.EACCES, "Permission denied")
    monkeypatch.setattr(locks, "FileLock", lambda *_, **__: (_ for _ in ()).throw(denied))
    with pytest.raises(StoreError, match="Permission denied"):
        store.reader("c")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_where_the_engine_cannot_write_it_gets_a_folder_of_links(store, root, monkeypatch):
    build(store, "c", [point("a", metadata={"year": 1984}), *points(20)])
    load = Shard.load.__func__

    def full(cls, path):
        if root in path.parents:
            raise StoreFull("No space left on device")
        return load(cls, path)

    monkeypatch.setattr(Shard, "load", classmethod(full))
    reader = store.reader("c")
    private = reader._lease.folder.parent
    assert root not in private.parents
    assert sum(file.stat().st_size for file in private.rglob("*") if not file.is_symlink()) < 100_000
    assert len(found(reader)) == 21
    assert reader.payloads(["a#0"])["a#0"]["metadata"] == {"year": 1984}
    assert reader.fields()["year"] == "integer"
    assert len(list((root / "leases").iterdir())) == 1
    reader.close()
    assert not private.exists()
    assert list((root / "leases").iterdir()) == []
    monkeypatch.setattr(Shard, "load", classmethod(lambda cls, path: (_ for _ in ()).throw(StoreFull("full"))))
    with pytest.raises(StoreFull):
        store.reader("c")
    assert list((root / "leases").iterdir()) == []
    assert store.verify("c")[0].whole


def test_where_no_disk_has_room_that_is_said(store, monkeypatch):
    build(store, "c", points(3))
    monkeypatch.setattr(Shard, "load", classmethod(lambda cls, path: (_ for _ in ()).throw(StoreFull("full"))))
    full = OSError(errno.ENOSPC, "full")
    monkeypatch.setattr(locks.tempfile, "TemporaryDirectory", lambda **_: (_ for _ in ()).throw(full))
    with pytest.raises(StoreFull, match="TMPDIR"):
        store.reader("c")


def test_a_full_disk_while_a_reader_closes_is_nothing_to_its_answers(store, monkeypatch):
    build(store, "c", points(3))
    reader = store.reader("c")
    monkeypatch.setattr(Shard, "close", lambda self: (_ for _ in ()).throw(StoreFull("full")))
    reader.close()


def test_a_writer_that_cannot_be_sealed_for_want_of_room_loses_nothing(store, monkeypatch):
    build(store, "c", points(3))
    writer = store.writer("c", manifest_of())
    writer.upsert([point("late")])
    full = OSError(errno.ENOSPC, "full")
    with monkeypatch.context() as patch:
        patch.setattr("hybrid_search.store.edge.working_shard.seal", lambda *_: (_ for _ in ()).throw(full))
        writer.close()
    writer = store.writer("c", manifest_of())
    assert len(list(writer.doc_ids())) == 4
    writer.close()


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("file", ["upper.npy", "lower.npy", "spans.npy", "text.npy"])
@pytest.mark.parametrize("how", ["removed", "emptied", "header", "zeroed", "another's"])
def test_damaged_names_are_an_error_in_words_or_do_not_matter(store, root, file, how):
    build(store, "c", points(40))
    build(store, "other", points(7, "o"))
    names = root / "g000001" / "names"
    data = (names / file).read_bytes()
    if how == "removed":
        (names / file).unlink()
    elif how == "another's":
        shutil.copy(store.folder / "other" / "g000001" / "names" / file, names / file)
    else:
        changed = {"emptied": b"", "header": b"x" * 128 + data[128:], "zeroed": data[:128] + bytes(len(data) - 128)}
        (names / file).write_bytes(changed[how])
    try:
        reader = store.reader("c")
    except CollectionDamaged:
        return
    with suppress(CollectionDamaged):
        found(reader)
    reader.close()
    assert not store.verify("c")[0].whole
