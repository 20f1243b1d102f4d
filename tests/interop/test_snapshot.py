"""A collection in one file is the one that was saved; a file that is anything else writes nothing anywhere."""

import errno
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from hybrid_search import restore_snapshot, save_snapshot
from hybrid_search.errors import CorpusError, InvalidArgument, StoreError, StoreFull
from hybrid_search.interop import snapshot
from hybrid_search.settings import Settings
from hybrid_search.store.edge.store import EdgeStore
from tests.interop.test_move import assert_equal, points_of
from tests.store import store_points
from tests.store.conftest import in_memory


@pytest.fixture(params=["edge", "local"])
def store(request, tmp_path):
    store = EdgeStore(tmp_path / "store") if request.param == "edge" else in_memory()
    yield store
    store.close()


@pytest.fixture
def options(tmp_path):
    return {"settings": Settings(store=str(tmp_path / "nowhere"))}


@pytest.fixture
def saved(tmp_path, options):
    """A snapshot of twelve documents, alone in its folder."""
    here = EdgeStore(tmp_path / "here")
    store_points.build(here, "c", list(points_of(12)))
    (tmp_path / "files").mkdir()
    file = tmp_path / "files" / "c.snapshot"
    save_snapshot("c", file, store=here, **options)
    return file


def test_it_comes_back_as_it_was(store, tmp_path, options):
    store_points.build(store, "c", list(points_of(40)))
    file = tmp_path / "c.snapshot"
    done = save_snapshot("c", file, store=store, **options)
    assert (done.documents, done.chunks, done.bytes) == (40, 60, file.stat().st_size)
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".") or each.suffix == ".tmp"]
    for target in (EdgeStore(tmp_path / "back"), in_memory()):
        report = restore_snapshot(file, store=target, **options)
        assert (report.source, report.documents, report.written) == (str(file), 40, 40)
        assert target.manifest("c") == store.manifest("c")
        assert_equal(store, target)
        assert restore_snapshot(file, "d", store=target, **options).name == "d"
        assert target.names() == ["c", "d"]
        assert restore_snapshot(file, store=target, **options).written == 0


def test_another_collection_stays_unless_told(saved, tmp_path, options):
    target = EdgeStore(tmp_path / "back")
    store_points.build(target, "c", store_points.points(3))
    with pytest.raises(StoreError, match="has other content"):
        restore_snapshot(saved, store=target, **options)
    assert target.info("c").documents == 3
    assert restore_snapshot(saved, store=target, replace=True, **options).replaced
    assert target.info("c").documents == 12


def members(file):
    with tarfile.open(file) as archive:
        return [(member, archive.extractfile(member).read()) for member in archive if member.isreg()]


def rewritten(file, parts):
    with tarfile.open(file, "w:") as archive:
        for member, content in parts:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def added(name, kind=tarfile.REGTYPE, link=""):
    def change(file):
        found = members(file)
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        rewritten(file, [*found, (member, b"x" if kind == tarfile.REGTYPE else b"")])

    return change


def headed(**facts):
    def change(file):
        (member, content), *others = members(file)
        rewritten(file, [(member, json.dumps({**json.loads(content), **facts}).encode()), *others])

    return change


def spoilt(part):
    def change(file):
        found = [
            (member, content[:-1] + bytes([content[-1] ^ 1]) if part in member.name and content else content)
            for member, content in members(file)
        ]
        assert found != members(file)
        rewritten(file, found)

    return change


def lacking(part):
    return lambda file: rewritten(file, [pair for pair in members(file) if part not in pair[0].name])


def repeated(file):
    found = members(file)
    rewritten(file, [*found, found[-1]])


GENERATION = "g000001"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda file: file.unlink(), "There is no file"),
        (lambda file: file.write_bytes(b""), "no snapshot, or cut short"),
        (lambda file: file.write_bytes(b"PK\\x03\\x04" * 999), "no snapshot, or cut short"),
        (lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]), "cut short|damaged"),
        (lambda file: file.write_bytes(file.read_bytes()[:700]), "cut short|does not begin|no collection"),
        (lambda file: rewritten(file, members(file)[1:]), "does not begin with snapshot.json"),
        (lambda file: rewritten(file, members(file)[:1]), "holds no collection"),
        (headed(format=2), "has format 2, this version reads 1"),
        (headed(collection=["c"]), "does not begin"),
        (headed(documents=13), "says otherwise"),
        (spoilt("CURRENT"), "holds|damaged|cannot"),
        (spoilt(f"{GENERATION}/manifest.json"), "damaged"),
        (spoilt(f"{GENERATION}/names/"), "damaged"),
        (spoilt(f"{GENERATION}/shard/"), "damaged"),
        (lacking(f"{GENERATION}/names/"), "damaged"),
        (lacking("CURRENT"), "holds no collection"),
        (repeated, "which no snapshot has"),
        *(
            (added(name), "which no snapshot has")
            for name in (
                "../evil",
                "/tmp/evil",
                f"{GENERATION}/../../evil",
                f"{GENERATION}/./evil",
                f"{GENERATION}/shard/..",
                "evil",
                "work/manifest.json",
                f"{GENERATION}/a\\\\b",
                f"{GENERATION}/a:b",
                f"{GENERATION}/" + "a/" * 40 + "b",
                f"{GENERATION}//b",
                "CURRENT/b",
            )
        ),
        *(
            (added(f"{GENERATION}/evil", kind, "../../../evil"), "which no snapshot has")
            for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE)
        ),
    ],
)
def test_a_file_that_is_no_whole_snapshot_writes_nothing(saved, tmp_path, options, monkeypatch, spoil, told):
    unpacked = tmp_path / "a" / "b" / "c"
    unpacked.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(unpacked))
    target = EdgeStore(tmp_path / "back")
    spoil(saved)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((CorpusError, StoreError), match=told):
        restore_snapshot(saved, store=target, **options)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize("name", ["../d", "a/b", "", ".", "x__v1"])
def test_a_name_stays_in_the_store(saved, tmp_path, options, name):
    with pytest.raises(InvalidArgument, match="cannot be used"):
        restore_snapshot(saved, name or "/", store=EdgeStore(tmp_path / "back"), **options)
    headed(collection=name)(saved)
    with pytest.raises(InvalidArgument, match="cannot be used"):
        restore_snapshot(saved, store=EdgeStore(tmp_path / "back"), **options)


def test_a_snapshot_that_cannot_be_written_leaves_what_was_there(saved, tmp_path, options, monkeypatch):
    before, here = saved.read_bytes(), EdgeStore(tmp_path / "here")
    for target, told in ((tmp_path, "is a folder"), (tmp_path / "no" / "c.snapshot", "no folder")):
        with pytest.raises(InvalidArgument, match=told):
            save_snapshot("c", target, store=here, **options)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(snapshot, "sync", full)
    with pytest.raises(StoreFull, match=r"c\.snapshot"):
        save_snapshot("c", saved, store=here, **options)
    assert saved.read_bytes() == before
    assert [each.name for each in saved.parent.iterdir()] == ["c.snapshot"]
