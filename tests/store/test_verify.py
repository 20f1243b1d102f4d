"""`verify` finds what is wrong of a collection, and says of what is right what it compared."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from hybrid_search.errors import CollectionNotFound
from hybrid_search.store.edge.chunk_ids import write_chunk_ids
from hybrid_search.store.edge.files import read_checked, write_checked
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.point_checks import examine
from hybrid_search.store.schema import payload_of
from hybrid_search.store.server.reader import MANIFEST_KEY
from hybrid_search.types import Chunk, point_id_of
from tests.store.store_points import DIM, build, found, manifest_of, point, points
from tests.store.test_damages import flip


@pytest.fixture
def folder(tmp_path):
    return EdgeStore(tmp_path / "store")


def states(store, name="c"):
    """By part its state, and what is said of it."""
    (one,) = store.verify(name)
    return {finding.part: (finding.state, finding.text) for finding in one.findings}


def damaged(store, name="c"):
    """What is said of the parts that are damaged."""
    return " | ".join(text for state, text in states(store, name).values() if state == "damaged")


# ---------------------------------------------------------------- every store


def test_a_whole_collection_is_whole_and_says_what_it_holds(store, name):
    batch = [point("long", 1), point("long", 2), point("long", chunks=3), *points(4)]
    build(store, name, batch)
    (one,) = store.verify(name)
    assert one.whole
    assert one.collection == name
    text = next(finding.text for finding in one.findings if finding.part == "points")
    assert text.startswith("7 chunks of 5 documents, with their")
    assert "7 sparse" in text
    assert "7 dense" in text
    assert [one] == [found for found in store.verify() if found.collection == name]
    assert one.to_dict()["whole"] is True


def test_a_document_that_lacks_chunks_is_found_and_one_that_was_begun_is_told_of(store, name):
    build(store, name, [point("long", 1), point("long", chunks=3), point("fine"), point("begun", chunks=9, stamp="")])
    (one,) = store.verify(name)
    assert not one.whole
    (finding,) = [finding for finding in one.findings if finding.state == "damaged"]
    assert finding.text == "1 documents do not have the chunks that their first one tells of"
    build(store, name, [point("long", 2)])
    (one,) = store.verify(name)
    assert one.whole
    assert "1 documents are not there completely" in next(f.text for f in one.findings if f.part == "points")


def test_what_is_not_there_is_not_found(store, name):
    with pytest.raises(CollectionNotFound):
        store.verify(name)


def test_an_empty_collection_is_whole(store, name):
    build(store, name, [])
    assert store.verify(name)[0].whole


# ---------------------------------------------------------------- points one by one


def one_point(doc_id="a", **changes):
    made = point(doc_id)
    payload = {**made.payload, **changes.pop("payload", {})}
    vectors = {**made.vectors, **changes.pop("vectors", {})}
    return changes.pop("id", made.point_id), payload, vectors


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"payload": {"text": None}}, "'a#0' has no text"),
        ({"payload": {"number": "0", "metadata": []}}, "'a#0' has no number, metadata"),
        ({"id": point_id_of("other#0")}, "'a#0' lies under .*, which is the id of another one"),
        ({"vectors": {"dense": np.zeros(DIM, np.float32)}}, "'a#0' has a dense vector that has length 0"),
        (
            {"vectors": {"dense": np.full(DIM, np.nan, np.float32)}},
            "'a#0' has a dense vector that holds a value that is not",
        ),
        ({"vectors": {"dense": np.ones(3, np.float32)}}, r"'a#0' has a dense vector that has shape \(3,\)"),
        ({"vectors": {"sparse": np.ones(3, np.float32)}}, "'a#0' has a sparse vector that is dense"),
    ],
)
def test_each_way_in_which_a_point_can_be_wrong(changed, words):
    seen = examine([one_point("b"), one_point(**changed)], manifest_of())
    assert len(seen.problems) == 1
    assert seen.problems[0].startswith("point ")
    assert pytest.importorskip("re").search(words, seen.problems[0])
    assert (seen.points, seen.heads) == (2, 1)


def test_of_many_wrong_points_some_are_named():
    seen = examine([one_point(f"d{n}", payload={"text": 1}) for n in range(50)], manifest_of())
    assert len(seen.problems) == 6
    assert seen.problems[-1] == "and 45 more points"


# ---------------------------------------------------------------- in a folder


def test_files_that_are_damaged_are_named_and_not_given_to_the_engine(folder):
    build(folder, "c", points(20))
    shard = folder.folder / "c" / "g000001" / "shard"
    flip(next(shard.rglob("chunk_0.mmap")), 33_000_000)  # where nothing lies
    (shard / "segments" / "extra").write_text("x")
    found_states = states(folder)
    assert found_states["published generation g000001"][0] == "damaged"
    assert "chunk_0.mmap holds other bytes than were written" in damaged(folder)
    assert "shard/segments/extra does not belong there" in damaged(folder)
    assert found_states["points"] == ("unchecked", "the engine is not given damaged files")
    assert found_states["working files"][0] == "whole"


def test_of_many_damaged_files_some_are_named(folder):
    build(folder, "c", points(20))
    shutil.rmtree(folder.folder / "c" / "g000001" / "shard" / "segments")
    assert "more files" in damaged(folder)
    assert damaged(folder).count("is missing") == 5


def test_names_that_are_another_s_are_found_though_every_checksum_fits(folder):
    build(folder, "c", points(20))
    generation = folder.folder / "c" / "g000001"
    shutil.rmtree(generation / "names")
    write_chunk_ids(generation / "names", [(point_id_of(f"d{n}#0"), f"x{n}#0") for n in range(20)])
    from hybrid_search.store.edge.files import sums_in, sums_of, sums_out

    data = read_checked(generation / "manifest.json")
    sums = {**sums_in(data), **sums_of(generation, "names")}
    write_checked(generation / "manifest.json", {**data, **sums_out(sums)})
    assert "has no chunk_id" in damaged(folder)


def test_points_that_are_fewer_than_were_written_are_found(folder):
    build(folder, "c", points(20))
    file = folder.folder / "c" / "g000001" / "manifest.json"
    data = read_checked(file)
    data["counts"]["sparse"] += 1
    write_checked(file, data)
    assert "'sparse': 20" in damaged(folder)
    assert "'sparse': 21" in damaged(folder)


def test_a_writer_at_work_is_let_be(folder):
    build(folder, "c", points(20))
    writer = folder.writer("c", manifest_of())
    writer.upsert([point("late")])
    state, text = states(folder)["working files"]
    assert state == "unchecked"
    assert f"being written by process {os.getpid()}" in text
    writer.publish()
    writer.close()
    assert {state for state, _ in states(folder).values()} == {"whole"}


def test_what_was_published_is_whole_after_others_have_read_it(folder):
    build(folder, "c", points(20))
    for _ in range(2):
        reader = folder.reader("c")
        found(reader)
        assert folder.verify("c")[0].whole
        reader.close()
    assert folder.verify("c")[0].whole


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda root: (root / "CURRENT").unlink(), "CURRENT is missing, but there is g000001"),
        (lambda root: (root / "CURRENT").write_text("gone"), "expected the name of a generation"),
        (lambda root: (root / "CURRENT").write_text("g000007"), "manifest.json cannot be read"),
        (lambda root: shutil.rmtree(root / "work"), "seal.json is missing"),
        (lambda root: (root / "work" / "seal.json").write_text("{"), "seal.json cannot be read"),
        (lambda root: (root / "work" / "manifest.json").write_text("{}"), "manifest.json is 2 bytes long"),
        (lambda root: (root / "work" / "changed").write_text(""), "changed does not belong there"),
        (lambda root: (root / "writer.json").write_text("x"), "the next writer replaces it"),
        (lambda root: (root / "leases").rmdir() or (root / "leases").write_text(""), "is no folder"),
        (lambda root: (root / "leases" / "x.lock").write_text("x"), "x.lock is no lock of a reader"),
    ],
)
def test_the_small_files_beside_are_looked_at(folder, harm, words):
    build(folder, "c", points(3))
    folder.reader("c").close()
    harm(folder.folder / "c")
    assert words in damaged(folder)
    build(folder, "c", [point("new")])
    assert found(folder.reader("c")) == {"d0#0", "d1#0", "d2#0", "new#0"}


def test_a_collection_without_a_pointer_is_among_all(folder):
    build(folder, "c", points(3))
    build(folder, "whole", points(3))
    (folder.folder / "photos").mkdir()
    (folder.folder / "c" / "CURRENT").unlink()
    assert {one.collection: one.whole for one in folder.verify()} == {"c": False, "whole": True}


def test_a_building_that_is_not_finished_is_no_damage(folder):
    writer = folder.writer("c", manifest_of())
    writer.upsert(points(3))
    writer.close()
    (one,) = folder.verify("c")
    assert one.whole
    assert one.findings[0].text == "nothing has been published yet"
    build(folder, "c", points(3))
    writer = folder.writer("c", manifest_of(model="other"), replace=True)
    writer.upsert(points(2))
    writer.close()
    assert states(folder)["files of an unfinished replacement"][0] == "whole"


def test_a_place_that_is_no_folder_holds_nothing(tmp_path):
    assert EdgeStore(tmp_path / "none").verify() == []


# ---------------------------------------------------------------- on a server


def test_points_on_a_server_that_somebody_else_changed_are_found(over_http, prefix):
    name = f"{prefix}-c"
    build(over_http, name, points(5))
    chunk = Chunk("d1", 0, "x", 0, 1, "")
    payload = payload_of(chunk, {}, "x", ("stamp", 4))
    from qdrant_client import models

    other = models.PointStruct(id=str(point_id_of("elsewhere#0")), vector={"dense": [1.0] * DIM}, payload=payload)
    over_http._client.upsert(f"{name}__v1", [other], wait=True)
    (one,) = over_http.verify(name)
    assert not one.whole
    assert "which is the id of another one" in one.findings[-1].text


def test_a_manifest_on_a_server_that_cannot_be_read_is_a_finding(over_http, prefix):
    name = f"{prefix}-c"
    build(over_http, name, points(2))
    over_http._client.update_collection(f"{name}__v1", metadata={MANIFEST_KEY: {"schema": "x"}})
    (one,) = over_http.verify(name)
    assert [(finding.part, finding.state) for finding in one.findings] == [("manifest", "damaged")]
