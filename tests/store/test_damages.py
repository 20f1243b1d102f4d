"""Damage to one file of an embedded collection is found, and never becomes the base of what is published next."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hybrid_search.store.edge import shard
from hybrid_search.store.edge import writer as edge_writer
from hybrid_search.store.edge.files import checksum, copy_file, write_checked
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.edge.write_log import scan
from tests.damage_driver import NEW, answers
from tests.store.store_points import ROOT, manifest_of, output_of, point, points, python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a process for each victim")

SAMPLED = 40
"""Damages of the whole list that the default run tries."""

FLIPPED = {"flipped first": 0.0, "flipped middle": 0.5, "flipped last": 1.0}
KINDS = ["deleted", "emptied", "halved", "zeroed", "replaced", "appended", *FLIPPED]


class Damaging(NamedTuple):
    """A collection in some state, and a file of it with what is to be done to that."""

    state: str
    file: str
    kind: str


def built(folder: Path, state: str) -> None:
    """A collection `c` in some state; `other` is another one.

    closed: all is published. unpublished: there are writes that are not, files of which the engine has built indexes,
    and a base that was kept. killed: the same, and left open.
    """
    store = EdgeStore(folder)
    if state == "closed":
        fill(store, "c", points(40, metadata={"year": 1984}))
        fill(store, "other", points(30, "o", metadata={"year": 2000}))
        fill(store, "c", points(5, "late", metadata={"year": 1990}))
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard, "_optimizers", soon_built)
        patch.setattr(edge_writer, "OPTIMIZE_FROM", 100)
        patch.setattr(edge_writer, "OPTIMIZE_EVERY", 130)
        patch.setenv("PYTHONPATH", str(ROOT))
        for name in ("other", "c"):
            fill(store, name, points(150, name, metadata={"year": 1984}))
        writer = store.writer("c", manifest_of())
        writer.upsert(points(140, "unpublished", metadata={"year": 1990}))
        writer.delete([f"c{number}#0" for number in range(20)])
        writer.close()
    if state == "killed":
        process = python(KILLED, folder)
        assert process.stdout.readline() == "written\n", process.stderr.read()
        process.kill()
        output_of(process)


KILLED = """
import sys, time
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.edge.files import checksum, copy_file, write_checked
from hybrid_search.store.edge.write_log import scan
from tests.store.store_points import manifest_of, points
writer = EdgeStore(sys.argv[1]).writer("c", manifest_of())
writer.upsert(points(9, "killed"))
print("written", flush=True)
time.sleep(60)
"""


def soon_built(manifest):
    """Have the engine build its indexes from few points on."""
    import qdrant_edge

    return qdrant_edge.EdgeOptimizersConfig(max_segment_size=500, indexing_threshold=2)


def fill(store, name, batch):
    writer = store.writer(name, manifest_of())
    writer.upsert(batch)
    writer.publish()
    writer.close()


class Scene:
    """A state of a collection: where it lies, and what readers of undamaged twins find.

    now: before anything else is indexed. whole: when one document has been added.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "store"
        store = EdgeStore(twin_of(self.folder, folder / "twin"))
        self.now = answers(store)
        fill(store, "c", [point(NEW)])
        self.whole = answers(store)

    @cached_property
    def less(self) -> list[dict[str, Any]]:
        """The same as `whole` without what was not published, or without the last of it."""
        ends = scan(self.folder / "c" / "work" / "changed").ends
        return [self._without(0, "published"), *(self._without(end, "log") for end in ends)]

    def _without(self, end: int, what: str) -> dict[str, Any]:
        target = twin_of(self.folder, self.folder.with_name(f"less {what} {end}"))
        work = target / "c" / "work"
        write_checked(work / "seal.json", {"open": True})
        if what == "log":
            os.truncate(work / "changed", end)
        else:
            (work / "changed").unlink()
            shutil.rmtree(work / "base", ignore_errors=True)
        fill(EdgeStore(target), "c", [point(NEW)])
        return answers(EdgeStore(target))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    made = {}
    for state in ("closed", "unpublished", "killed"):
        folder = tmp_path_factory.mktemp(state)
        built(folder / "store", state)
        made[state] = Scene(folder)
    return made


def twin_of(folder: Path, target: Path) -> Path:
    """A store with a copy of `c`, in which files that have two names still have them."""
    target.mkdir()
    subprocess.run(["cp", "-a", folder / "c", target], check=True)
    return target


class Driver:
    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.damage_driver"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "RUST_BACKTRACE": "0"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.process = subprocess.Popen(command, env=environment, cwd=ROOT, **pipes)

    def victim(self, folder: Path, thoroughly: bool) -> dict[str, Any]:
        self.process.stdin.write(json.dumps({"folder": str(folder), "thoroughly": thoroughly}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def driver():
    made = Driver()
    yield made
    made.process.stdin.close()
    made.process.stdout.close()
    made.process.wait(30)


def damages(folder: Path) -> list[tuple[str, str]]:
    """Every file of the collection `c` with everything that can happen to it."""
    files = sorted(file.relative_to(folder / "c").as_posix() for file in (folder / "c").rglob("*") if file.is_file())
    return [(file, kind) for file in files if file not in ("writer.lock", "writer.json") for kind in KINDS]


def damage(folder: Path, file: str, kind: str, other: Path) -> bool:
    """Do it, with files of another collection where such are wanted; False where it changes nothing."""
    path = folder / "c" / file
    before, length = checksum(path), path.stat().st_size
    if kind == "deleted":
        path.unlink()
        return True
    if kind == "replaced":
        path.unlink()  # it may have another name, in `base`
        copy_file(similar(other, path), path)
    elif kind == "appended":
        with path.open("ab") as out:
            out.write(b"\x07garbage")
    elif kind in FLIPPED and length:
        flip(path, int((length - 1) * FLIPPED[kind]))
    elif kind not in FLIPPED:
        os.truncate(path, length // 2 if kind == "halved" else 0)
        os.truncate(path, length if kind == "zeroed" else path.stat().st_size)
    return checksum(path) != before


def flip(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        (was,) = file.read(1)
        file.seek(place)
        file.write(bytes([was ^ 0x55]))


def similar(other: Path, path: Path) -> Path:
    """A file of the same name in another collection, in the same sort of folder if there is one."""
    found = sorted(other.rglob(path.name)) or sorted(file for file in other.rglob("*") if file.is_file())
    return max(found, key=lambda file: sum(part in path.parts for part in file.parts))


def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether all scores of all queries are the same, and everything else is."""
    if "scores" not in found or any(found[key] != wanted[key] for key in ("payloads", "documents")):
        return False
    pairs = zip(found["scores"], wanted["scores"], strict=True)
    return all(ours == pytest.approx(theirs, abs=1e-5) for ours, theirs in pairs)


def check(driver: Driver, scene: Scene, what: Damaging, tmp_path: Path, *, thoroughly: bool) -> None:
    folder = twin_of(scene.folder, tmp_path / "victim")
    if not damage(folder, what.file, what.kind, scene.folder / "other"):
        return
    told = driver.victim(folder, thoroughly)
    assert "died" not in told, f"the process was ended: {told}"
    steps = [told[step] for step in ("verified", "before", "indexed", "after", "again")]
    assert not [step for step in steps if "raw" in step], told
    is_thrown_away = what.state == "killed" and what.file.startswith("work/shard/")
    assert told["verified"][0]["whole"] is False or is_thrown_away, told["verified"]
    if what.file.startswith("work/"):
        assert same(told["before"], scene.now)
    if told["indexed"] == "done":
        lost = any("is lost" in line for line in told["said"])
        wanted = [scene.whole, *(scene.less if lost else [])]
        assert any(same(told["after"], one) for one in wanted), told["said"]
        assert not lost or what.state != "closed", told["said"]
        assert all(one["whole"] for one in told["again"]), told["again"]
    else:
        assert told["after"] == told["before"], told["indexed"]


def all_damages(scenes) -> list[Damaging]:
    """Of what is not closed, those of the writer's files: the others are the same."""
    listed = [Damaging(state, *one) for state, scene in scenes.items() for one in damages(scene.folder)]
    return [what for what in listed if what.state == "closed" or what.file.startswith("work/")]


def each(driver, scenes, listed, tmp_path, *, thoroughly):
    for place, what in enumerate(listed):
        folder = tmp_path / str(place)
        folder.mkdir()
        check(driver, scenes[what.state], what, folder, thoroughly=thoroughly)
        shutil.rmtree(folder)


def test_a_sample_of_damages_is_found_and_not_published(driver, scenes, tmp_path):
    listed = random.Random(11).sample(all_damages(scenes), SAMPLED)
    each(driver, scenes, listed, tmp_path, thoroughly=False)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_every_damage_is_found_and_not_published(driver, scenes, tmp_path, part):
    """Of those to what is thrown away after a kill, every tenth."""
    listed = all_damages(scenes)
    rest = [what for what in listed if what.state == "killed" and what.file.startswith("work/shard/")]
    mine = [what for what in listed if what not in rest][part::10] + rest[::10][part::10]
    assert len(mine) > 100
    each(driver, scenes, mine, tmp_path, thoroughly=True)


def test_the_scenes_have_files_of_every_sort(scenes):
    kept = {what.file for what in all_damages(scenes)}
    assert kept >= {"work/changed", "work/base/manifest.json", "work/seal.json", "work/manifest.json", "CURRENT"}
    names = {Path(file).name for file in kept}
    assert {"matrix.dat", "inverted_index.dat", "chunk_0.mmap", "page_0.dat", "upper.npy", "segment.json"} <= names
