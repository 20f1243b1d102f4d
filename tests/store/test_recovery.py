"""A working shard that was left open or damaged is made again of what is whole; nothing written is lost by a kill."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
from contextlib import suppress

import numpy as np
import pytest

from hybrid_search.errors import CollectionDamaged, StoreError
from hybrid_search.store.edge import generations, shard
from hybrid_search.store.edge import writer as edge_writer
from hybrid_search.store.edge.clean_shutdown import read_seal, was_left_open
from hybrid_search.store.edge.files import read_checked
from hybrid_search.store.edge.recovery_bases import frozen_files, list_bases
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.edge.write_log import scan
from tests.store import conftest
from tests.store.store_points import (
    DIM,
    ROOT,
    build,
    found,
    manifest_of,
    output_of,
    point,
    points,
    python,
    random_sparse,
)
from tests.store.test_damages import flip, soon_built

IDS = {f"d{n}#0" for n in range(30)}
store = conftest.edge_store


@pytest.fixture
def work(root):
    return root / "work"


@pytest.fixture
def soon(monkeypatch):
    """The engine builds its indexes from few points on, and what is written is kept every hundred points."""
    monkeypatch.setattr(shard, "_optimizers", soon_built)
    monkeypatch.setattr(edge_writer, "OPTIMIZE_EVERY", 100)


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING)
    return lambda: caplog.text


KILLED = """
import sys, time
from hybrid_search.store.edge import shard, writer
from hybrid_search.store.edge.store import EdgeStore
from tests.store.store_points import manifest_of, points
from tests.store.test_damages import soon_built
shard._optimizers = soon_built
writer.OPTIMIZE_EVERY = int(sys.argv[2])
writer = EdgeStore(sys.argv[1]).writer("c", manifest_of())
writer.upsert(points(60, "one"))
writer.upsert(points(60, "two"))
writer.upsert(points(20, "three"))
writer.delete([f"one{n}#0" for n in range(10)])
print("written", flush=True)
time.sleep(60)
"""
WRITTEN = {f"one{n}#0" for n in range(10, 60)} | {f"two{n}#0" for n in range(60)} | {f"three{n}#0" for n in range(20)}


def kill_writer(store, optimize_every=1_000):
    process = python(KILLED, store.folder, optimize_every)
    assert process.stdout.readline() == "written\n", process.stderr.read()
    process.kill()
    output_of(process)


def scores(store):
    """By query the score of every chunk."""
    reader = store.reader("c")
    rng = np.random.default_rng(3)
    queries = [("dense", rng.normal(size=DIM).astype(np.float32)), ("sparse", random_sparse(rng, active=30))]
    answers = [dict(answer) for answer in reader.retrieve(queries, 10_000)]
    reader.close()
    return answers


def write(store, batch, **options):
    build(store, "c", batch, manifest_of(**options))


# ---------------------------------------------------------------- kills


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("optimize_every", [1_000, 100])
def test_a_killed_writer_s_shard_is_made_again_and_nothing_is_lost(store, work, said, published, optimize_every):
    """Also where some of it was kept meanwhile, and the log begins there."""
    if published:
        build(store, "c", points(30))
    kill_writer(store, optimize_every)
    assert was_left_open(work)
    assert (work / "base").is_dir() == (optimize_every == 100)
    assert scan(work / "changed").points == (20 if optimize_every == 100 else 140)
    writer = store.writer("c", manifest_of())
    assert {f"{doc_id}#0" for doc_id in writer.doc_ids()} == WRITTEN | (IDS if published else set())
    writer.publish()
    writer.close()
    assert said() == ""
    assert sorted(entry.name for entry in work.iterdir()) == ["manifest.json", "seal.json", "shard"]
    twin = EdgeStore(store.folder.with_name("twin"))
    if published:
        build(twin, "c", points(30))
    batch = [*points(60, "one"), *points(60, "two"), *points(20, "three")]
    build(twin, "c", [one for one in batch if one.chunk_id in WRITTEN])
    for ours, theirs in zip(scores(store), scores(twin), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("how", ["removed", "emptied"])
@pytest.mark.parametrize("optimize_every", [1_000, 100])
def test_a_killed_writer_s_log_that_is_gone_is_found_and_said(store, work, said, optimize_every, how):
    build(store, "c", points(30))
    kill_writer(store, optimize_every)
    assert store.verify("c")[0].whole
    if how == "removed":
        (work / "changed").unlink()
    else:
        os.truncate(work / "changed", 0)
    (verified,) = store.verify("c")
    assert [finding.part for finding in verified.findings if finding.state == "damaged"] == ["working files: log"]
    writer = store.writer("c", manifest_of())
    assert "is lost" in said()
    writer.publish()
    writer.close()
    assert store.verify("c")[0].whole


def test_a_killed_writer_that_had_written_nothing_lost_nothing(store, work, said):
    build(store, "c", points(30))
    code = "import sys, time; from hybrid_search.store.edge.store import EdgeStore\n"
    code += (
        "from tests.store.store_points import manifest_of\nwriter = EdgeStore(sys.argv[1]).writer('c', manifest_of())\n"
    )
    process = python(code + "list(writer.doc_ids()); print('open', flush=True); time.sleep(60)", store.folder)
    assert process.stdout.readline() == "open\n", process.stderr.read()
    process.kill()
    output_of(process)
    assert was_left_open(work)
    assert store.verify("c")[0].whole
    store.writer("c", manifest_of()).close()
    assert said() == ""


def test_killed_again_and_again_before_anything_is_done_it_is_the_same(store, work):
    build(store, "c", points(30))
    for _ in range(2):
        kill_writer(store)
    writer = store.writer("c", manifest_of())
    assert {f"{doc_id}#0" for doc_id in writer.doc_ids()} == IDS | WRITTEN
    writer.close()
    assert list_bases(work.parent, work)[0].folder == work.parent / "g000001"


def test_what_is_kept_meanwhile_takes_no_second_place(store, work, soon, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    writer = store.writer("c", manifest_of())
    for turn in range(3):
        writer.upsert(points(100, f"turn{turn}-"))
    kept = read_checked(work / "base" / "manifest.json")["files"]
    shared = [work / "base" / f"shard/{name}" for name in frozen_files(name.removeprefix("shard/") for name in kept)]
    assert {file.name for file in shared} >= {"matrix.dat", "inverted_index.dat", "page_0.dat"}
    assert all(file.stat().st_nlink > 1 for file in shared)
    before = {file: file.stat().st_ino for file in (work / "base" / "shard").rglob("*") if file.is_file()}
    writer.upsert(points(1, "more"))
    writer.publish()
    writer.close()
    assert not (work / "base").exists()
    assert before
    assert len(found(store.reader("c"))) == 301


def test_a_publication_cut_short_when_it_was_done_is_done(store, root, work, monkeypatch):
    """Between the new CURRENT and the end of the log: what was logged is in what is published, and not done twice."""
    build(store, "c", points(30))
    writer = store.writer("c", manifest_of())
    writer.upsert(points(5, "new"))
    writer.delete(["d0#0"])
    with monkeypatch.context() as patch:
        patch.setattr(
            "hybrid_search.store.edge.working_shard.write_checked",
            lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            writer.publish()
    writer.close()
    assert generations.current(root).name == "g000002"
    assert (work / "changed").exists()
    for prefix in ("after", "again"):
        writer = store.writer("c", manifest_of())
        assert scan(work / "changed").after if (work / "changed").exists() else True
        writer.upsert([point(prefix)])
        writer.close()
    kill_writer(store)
    write(store, [])
    wanted = (IDS - {"d0#0"}) | {f"new{n}#0" for n in range(5)} | {"after#0", "again#0"} | WRITTEN
    assert found(store.reader("c")) == wanted


# ---------------------------------------------------------------- damage


def chunk_file(folder):
    return next(folder.rglob("chunk_0.mmap"))


def test_damage_is_said_and_mended_and_nothing_is_lost(store, work, said):
    build(store, "c", points(30))
    writer = store.writer("c", manifest_of())
    writer.upsert(points(5, "late"))
    writer.close()
    os.truncate(chunk_file(work), 0)
    write(store, [point("new")])
    assert "Working files of collection c were damaged (1 of them, first shard/segments/" in said()
    assert "chunk_0.mmap: it is 0 bytes long" in said()
    assert "lost" not in said()
    assert found(store.reader("c")) == IDS | {f"late{n}#0" for n in range(5)} | {"new#0"}
    assert store.verify("c")[0].whole


def test_what_was_not_published_is_lost_aloud_where_its_log_is_damaged_too(store, work, said):
    build(store, "c", points(30))
    writer = store.writer("c", manifest_of())
    writer.upsert(points(3, "early"))
    writer.upsert(points(5, "late"))
    writer.close()
    os.truncate(chunk_file(work), 0)
    flip(work / "changed", (work / "changed").stat().st_size - 9)
    write(store, [point("new")])
    assert "What was written to collection c and not published yet is lost, or a part of it" in said()
    assert found(store.reader("c")) == IDS | {f"early{n}#0" for n in range(3)} | {"new#0"}


@pytest.mark.parametrize("how", ["removed", "flipped", "another's"])
def test_a_log_alone_that_is_damaged_costs_nothing(store, work, said, how):
    build(store, "c", points(30))
    build(store, "other", points(3))
    for name in ("c", "other"):
        writer = store.writer(name, manifest_of())
        writer.upsert(points(5, "late"))
        writer.close()
    if how == "removed":
        (work / "changed").unlink()
    elif how == "flipped":
        flip(work / "changed", 300)
    else:
        shutil.copy(store.folder / "other" / "work" / "changed", work / "changed")
    kill_writer(store)  # what it writes goes into a log of its own
    assert "lost" not in said()
    write(store, [point("new")])
    assert found(store.reader("c")) == IDS | {f"late{n}#0" for n in range(5)} | {"new#0"} | WRITTEN
    assert "lost" not in said()


@pytest.mark.parametrize("gone", ["manifest.json", "seal.json", "shard", ""])
def test_a_folder_of_which_something_is_gone_is_made_again(store, work, gone):
    build(store, "c", points(30))
    if gone in ("shard", ""):
        shutil.rmtree(work / gone)
    else:
        (work / gone).unlink()
    write(store, [point("new")])
    assert found(store.reader("c")) == IDS | {"new#0"}


def test_a_pointer_that_is_gone_leaves_what_a_kill_is_mended_by(store, root):
    build(store, "c", points(30))
    (root / "CURRENT").unlink()
    kill_writer(store)
    write(store, [point("new")])
    assert found(store.reader("c")) == IDS | {"new#0"} | WRITTEN


def test_a_generation_that_is_damaged_is_mended_by_the_next_publication(store, root, said):
    build(store, "c", points(30))
    flip(chunk_file(root / "g000001"), 5)
    assert not store.verify("c")[0].whole
    write(store, [point("new")])
    assert store.verify("c")[0].whole
    assert found(store.reader("c")) == IDS | {"new#0"}
    os.truncate(chunk_file(root / "g000002"), 5)
    write(store, [])  # one of other lengths is published anew even where there is nothing new
    assert found(store.reader("c")) == IDS | {"new#0"}
    assert said() == ""


def test_where_nothing_whole_is_left_it_is_refused_with_the_command(store, root, work):
    build(store, "c", points(30))
    kill_writer(store)
    flip(chunk_file(root / "g000001"), 5)
    before = sorted(work.rglob("*"))
    for _ in range(2):
        with pytest.raises(CollectionDamaged, match=r"chunk_0.mmap in .* holds other bytes") as caught:
            store.writer("c", manifest_of())
        assert "hybrid-search index SOURCE -c c --replace" in str(caught.value)
    assert sorted(work.rglob("*")) == before
    writer = store.writer("c", manifest_of(), replace=True)
    writer.upsert([point("new")])
    writer.publish()
    writer.close()
    assert found(store.reader("c")) == {"new#0"}


def test_a_first_building_without_its_log_is_refused_with_the_command(store, work):
    kill_writer(store)
    (work / "changed").unlink()
    with pytest.raises(CollectionDamaged, match="nothing of it has been published") as caught:
        store.writer("c", manifest_of())
    assert "--replace" in str(caught.value)


@pytest.mark.parametrize("how", ["emptied", "removed", "zeroed"])
def test_vectors_that_are_damaged_while_they_are_written_are_not_published(store, root, work, how):
    """The engine has the file mapped, and says nothing."""
    build(store, "c", points(30))
    before = scores(store)
    writer = store.writer("c", manifest_of())
    writer.upsert(points(5, "late"))
    file = chunk_file(work)
    length = file.stat().st_size
    if how == "removed":
        file.unlink()
    else:
        with file.open("r+b") as out:
            out.write(bytes(1 << 16))
        if how == "emptied":
            os.truncate(file, 0)
            os.truncate(file, length)
    with pytest.raises(StoreError, match="eaders keep what they have"):
        writer.publish()
    with pytest.raises(StoreError):
        writer.upsert([point("more")])
    writer.close()
    assert generations.current(root).name == "g000001"
    assert scores(store) == before
    write(store, [point("new")])
    assert found(store.reader("c")) == IDS | {f"late{n}#0" for n in range(5)} | {"new#0"}


def test_built_files_that_are_damaged_while_they_are_in_use_are_not_published(store, root, work, soon, monkeypatch):
    """Of many points a few are compared, but each byte of what nobody writes any more."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(edge_writer, "OPTIMIZE_FROM", 100)
    build(store, "c", points(300))
    monkeypatch.setattr(edge_writer, "OPTIMIZE_FROM", 10**9)
    before = scores(store)
    writer = store.writer("c", manifest_of())
    writer.upsert(points(5, "late"))
    matrix = max(work.rglob("matrix.dat"), key=lambda file: file.stat().st_size)
    flip(matrix, matrix.stat().st_size // 2)
    with pytest.raises(CollectionDamaged, match=r"matrix\.dat has changed|files were damaged while they were in use"):
        writer.publish()
    writer.close()
    assert scores(store) == before
    write(store, [point("new")])
    assert len(found(store.reader("c"))) == 306


def test_a_write_whose_folder_is_gone_is_an_error_in_words(store, root):
    build(store, "c", points(3))
    writer = store.writer("c", manifest_of())
    shutil.rmtree(root)
    for act in (lambda: writer.upsert([point("x")]), lambda: writer.delete(["d0#0"]), writer.publish):
        with pytest.raises(StoreError):
            act()
    with suppress(StoreError):
        writer.close()
    assert store.names() == []


# ---------------------------------------------------------------- collections of early versions


def make_early(store, *, changed):
    """As early versions left it: the engine's own log in its folder, lengths alone, no seal."""
    import qdrant_edge

    root = store.folder / "c"
    for file in root.rglob("manifest.json"):
        data = {
            k: v
            for k, v in json.loads(file.read_text()).items()
            if k not in ("checksum", "checksums", "token", "after")
        }
        data["files"] = {k: v for k, v in data.get("files", {}).items() if k.startswith("shard/")}
        file.write_text(json.dumps(data))
    for name in ("seal.json", "changed"):
        (root / "work" / name).unlink(missing_ok=True)
    config = root / "work" / "shard" / "edge_config.json"
    config.write_text(re.sub(r',"wal_enabled":false', "", config.read_text()))
    engine = qdrant_edge.EdgeShard.load(str(root / "work" / "shard"))
    assert (root / "work" / "shard" / "wal").is_dir()
    engine.close()
    if changed:
        (root / "work" / "changed").touch()


def test_an_early_collection_is_made_one_with_checksums(store, work, said):
    build(store, "c", points(30))
    make_early(store, changed=False)
    (state,) = store.verify("c")
    assert state.whole
    assert "have no checksums yet: the next publication adds them" in state.findings[0].text
    assert found(store.reader("c")) == IDS
    write(store, [point("new")])
    assert not (work / "shard" / "wal").exists()
    assert found(store.reader("c")) == IDS | {"new#0"}
    assert {finding.state for finding in store.verify("c")[0].findings} == {"whole"}
    assert said() == ""


def test_an_early_shard_with_writes_of_its_own_is_not_trusted(store, said):
    build(store, "c", points(30))
    make_early(store, changed=True)
    shutil.rmtree(store.folder / "c" / "work" / "shard" / "wal")
    write(store, [point("new")])
    assert found(store.reader("c")) == IDS | {"new#0"}
    assert "not published yet is lost" in said()


@pytest.mark.parametrize("damage", ["", "log", "vectors"])
def test_an_early_building_that_was_never_finished_is_gone_on_with_if_every_point_is_right(store, work, damage):
    writer = store.writer("c", manifest_of())
    writer.upsert(points(30))
    writer.close()
    make_early(store, changed=True)
    if damage == "log":
        shutil.rmtree(work / "shard" / "wal")
    if damage == "vectors":
        length = chunk_file(work).stat().st_size
        os.truncate(chunk_file(work), 0)
        os.truncate(chunk_file(work), length)
    if damage:
        with pytest.raises(CollectionDamaged, match=r"has never been finished, and .*--replace"):
            store.writer("c", manifest_of())
        return
    kill_writer(store)
    writer = store.writer("c", manifest_of())
    assert writer.resumed
    writer.publish()
    writer.close()
    assert found(store.reader("c")) == IDS | WRITTEN
    assert read_seal(work) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is open cannot be removed there")
def test_an_early_generation_with_damaged_vectors_is_no_base(store, root):
    build(store, "c", points(30))
    make_early(store, changed=False)
    chunk = chunk_file(root / "g000001")
    length = chunk.stat().st_size
    os.truncate(chunk, 0)
    os.truncate(chunk, length)
    with pytest.raises(CollectionDamaged, match="has length 0"):
        store.writer("c", manifest_of())
