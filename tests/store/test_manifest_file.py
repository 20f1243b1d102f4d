"""Changes of legs on the embedded store that end in the middle: all of the old is found, or all of the new."""

import json

import numpy as np
import pytest

from hybrid_search.errors import CollectionDamaged
from hybrid_search.store.edge import generations, working_shard
from hybrid_search.store.edge import writer as edge_writer
from hybrid_search.store.edge.manifest_file import read_record, resume_record
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.edge.writer import EdgeWriter
from tests.store.store_points import build, found, manifest_of, output_of, points, python, random_sparse
from tests.store.test_contract_legs import NEW, add, searched, sparse_vectors, swapped, with_leg

IDS = [f"d{n}#0" for n in range(20)]
QUERY = random_sparse(np.random.default_rng(2))


class Killed(BaseException):
    pass


def killed(*_, **__):
    raise Killed


@pytest.fixture
def store(tmp_path):
    store = EdgeStore(tmp_path / "store")
    build(store, "c", points(20))
    return store


@pytest.fixture
def two(store):
    """With a leg beside."""
    add(store, "c", "new", NEW, sparse_vectors(IDS))
    return store


def without_build(store):
    """As early versions left it."""
    for file in store.folder.rglob("manifest.json"):
        data = json.loads(file.read_text())
        for key in ("build", "checksum"):
            data.pop(key)
        file.write_text(json.dumps(data))


def test_a_swap_that_ends_between_its_two_files_has_been_done(two, monkeypatch):
    before = {leg: dict(searched(two, "c", leg, QUERY, 50)) for leg in ("sparse", "new")}
    writer = two.writer("c", two.manifest("c"))
    with monkeypatch.context() as patch:
        patch.setattr(EdgeWriter, "_keep", killed)
        with pytest.raises(Killed):
            writer.replace_manifest(swapped(writer.manifest))
    writer.close()
    root = two.folder / "c"
    assert read_record(root / "work").manifest.legs["sparse"].model == "m-sparse"
    assert two.manifest("c").legs["sparse"].model == "new-model"
    assert dict(searched(two, "c", "sparse", QUERY, 50)) == before["new"]
    build(two, "c", points(1, "late"), two.manifest("c"))
    assert read_record(root / "work").manifest.legs["sparse"].model == "new-model"
    assert {c: s for c, s in searched(two, "c", "sparse", QUERY, 50) if c in IDS} == before["new"]


def test_a_swap_that_ends_before_it_is_written_has_not_been_done(two, monkeypatch):
    writer = two.writer("c", two.manifest("c"))
    with monkeypatch.context() as patch:
        patch.setattr(edge_writer, "write_checked", killed)
        with pytest.raises(Killed):
            writer.replace_manifest(swapped(writer.manifest))
    writer.close()
    assert two.manifest("c") == two.info("c").manifest
    assert two.manifest("c").legs["sparse"].model == "m-sparse"


@pytest.mark.parametrize("step", ["publish", "write_checked"])
def test_a_publication_of_a_new_leg_that_ends_in_the_middle(store, monkeypatch, step):
    writer = store.writer("c", manifest_of())
    writer.add_vector(NEW)
    writer.set_vectors(NEW, sparse_vectors(IDS))
    with monkeypatch.context() as patch:
        patch.setattr(generations if step == "publish" else working_shard, step, killed)
        with pytest.raises(Killed):
            writer.publish(with_leg(writer.manifest, "new", NEW))
    writer.close()
    there = step != "publish"
    assert ("new" in store.info("c").manifest.legs) == there
    assert ("new" in store.manifest("c").legs) == there
    assert found(store.reader("c")) == set(IDS)
    # Once more does the rest, and encodes nothing.
    writer = store.writer("c", store.manifest("c"))
    writer.add_vector(NEW)
    assert list(writer.iter_payloads(without=NEW.vector)) == []
    writer.publish(with_leg(writer.manifest, "new", NEW))
    writer.close()
    assert len(searched(store, "c", "new", QUERY, 50)) > 0


def test_a_drop_that_ends_after_its_first_step_has_been_done(two, monkeypatch):
    writer = two.writer("c", two.manifest("c"))
    left = {leg: spec for leg, spec in writer.manifest.legs.items() if leg != "new"}
    writer.replace_manifest(writer.manifest.with_legs(left, "custom"))
    writer.close()  # and nothing is tidied
    assert set(two.info("c").manifest.legs) == {"sparse", "dense"}
    build(two, "c", points(1, "late"), two.manifest("c"))
    assert len(found(two.reader("c"))) == 21
    writer = two.writer("c", two.manifest("c"))
    writer.drop_unused_vectors()
    assert writer._shard.vector_names() == {"sparse", "dense"}
    writer.publish()
    writer.close()
    assert len(found(two.reader("c"))) == 21


def test_collections_of_early_versions_change_their_legs_like_others(store):
    without_build(store)
    assert read_record(store.folder / "c" / "work").build == ""
    add(store, "c", "new", NEW, sparse_vectors(IDS))
    without_build(store)
    writer = store.writer("c", store.manifest("c"))
    writer.replace_manifest(swapped(writer.manifest))
    writer.close()
    assert store.manifest("c") == store.info("c").manifest
    assert store.info("c").manifest.legs["sparse"].model == "new-model"
    root = store.folder / "c"
    assert read_record(root / "work").build == resume_record(root, root / "work").build != ""


def test_damage_is_still_found_after_names_have_changed_hands(two):
    writer = two.writer("c", two.manifest("c"))
    writer.replace_manifest(swapped(writer.manifest))
    writer.close()
    generation = generations.current(two.folder / "c")
    biggest = max((f for f in (generation / "shard").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    biggest.write_bytes(b"")
    with pytest.raises(CollectionDamaged, match="not as they were written"):
        two.reader("c")


def test_a_process_killed_while_it_sets_vectors_loses_none_of_them(store):
    code = """
import sys, time
from hybrid_search.store.edge.store import EdgeStore
from tests.store.store_points import manifest_of
from tests.store.test_contract_legs import NEW, sparse_vectors
writer = EdgeStore(sys.argv[1]).writer("c", manifest_of())
writer.add_vector(NEW)
for n in range(12):
    writer.set_vectors(NEW, sparse_vectors([f"d{n}#0"], seed=n))
print("set", flush=True)
time.sleep(60)
"""
    process = python(code, store.folder)
    assert process.stdout.readline() == "set\n", process.stderr.read()
    process.kill()
    output_of(process)
    assert set(store.info("c").manifest.legs) == {"sparse", "dense"}
    writer = store.writer("c", manifest_of())
    writer.add_vector(NEW)
    lacking = [payload["chunk_id"] for payload in writer.iter_payloads(without=NEW.vector)]
    assert sorted(lacking) == sorted(f"d{n}#0" for n in range(12, 20))
    writer.set_vectors(NEW, sparse_vectors(lacking))
    writer.publish(with_leg(writer.manifest, "new", NEW))
    writer.close()
    first = sparse_vectors(["d3#0"], seed=3)["d3#0"]
    assert dict(searched(store, "c", "new", first, 50))["d3#0"] == pytest.approx(first.dot(first), abs=1e-4)
