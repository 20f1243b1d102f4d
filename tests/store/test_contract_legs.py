"""What every store has to do when the legs of a live collection change."""

import numpy as np
import pytest

from hybrid_search.errors import InvalidArgument, StoreError
from hybrid_search.manifest import LegSpec
from hybrid_search.types import SparseVector
from tests.store.store_points import DIM, build, found, manifest_of, point, points, random_sparse

NEW = LegSpec("new-model", "f-new", vector="new.12345678", shadow=True)
IDF = LegSpec("idf-model", "f-idf", needs_idf=True, vector="new.abcdef01", shadow=True)
DENSE = LegSpec("dense-model", "f-dense-2", dim=3, vector="wide.0", shadow=True)
EMPTY = SparseVector.of([], [])


def with_leg(manifest, leg, spec):
    return manifest.with_legs({**manifest.legs, leg: spec}, "custom")


def sparse_vectors(chunk_ids, seed=1):
    rng = np.random.default_rng(seed)
    return {chunk_id: random_sparse(rng) for chunk_id in chunk_ids}


def add(store, name, leg, spec, vectors, **more):
    """Put a leg beside the others, as the composer does."""
    writer = store.writer(name, store.manifest(name))
    writer.add_vector(spec)
    writer.set_vectors(spec, vectors)
    writer.publish(with_leg(writer.manifest, leg, spec))
    writer.close()


def searched(store, name, leg, query, limit=5):
    reader = store.reader(name)
    try:
        return reader.retrieve([(leg, query)], limit)[0]
    finally:
        reader.close()


@pytest.fixture
def filled(store, name):
    build(store, name, points(30))
    return [f"d{n}#0" for n in range(30)]


def test_stored_gives_every_payload_as_it_is(store, name):
    batch = [point("a", metadata={"year": 1984}), point("a", 1, text="ünï"), point("b")]
    build(store, name, batch)
    writer = store.writer(name, manifest_of())
    assert {p["chunk_id"]: p for p in writer.iter_payloads()} == {p.chunk_id: dict(p.payload) for p in batch}
    writer.close()


def test_what_is_written_is_read_before_it_is_published(store, name):
    """It gives what readers get afterwards; until then they have what was there before."""
    build(store, name, points(3))
    manifest = manifest_of(idf=True)
    writer = store.writer(name, manifest, replace=True)
    empty = writer.written()
    assert empty.retrieve([("dense", np.ones(DIM, np.float32))], 10) == [[]]
    assert empty.retrieve([], 10) == []
    batch = [*points(40), point("none", sparse=EMPTY)]
    writer.upsert(batch)
    ids = [point.chunk_id for point in batch]
    requests = [("dense", batch[3].vectors["dense"]), ("sparse", batch[4].vectors["sparse"])]
    before = {leg: writer.written().vectors(leg, ids) for leg in ("sparse", "dense")}
    answers = writer.written().retrieve(requests, 10)
    assert writer.written().manifest == manifest
    assert len(found(store.reader(name))) == 3
    with pytest.raises(InvalidArgument, match="no 'bm25' leg"):
        writer.written().vectors("bm25", ids)
    writer.publish()
    writer.close()
    reader = store.reader(name)
    after = {leg: reader.vectors(leg, ids) for leg in ("sparse", "dense")}
    assert before["sparse"] == after["sparse"]
    assert "none#0" not in before["sparse"]
    assert before["dense"].keys() == after["dense"].keys() == set(ids)
    for each in ids:
        np.testing.assert_allclose(before["dense"][each], after["dense"][each], rtol=1e-5)
    assert answers == reader.retrieve(requests, 10)
    assert [answer[0][0] for answer in answers] == ["d3#0", "d4#0"]
    reader.close()


def test_a_new_sparse_leg_is_searched_like_any_other(store, name, filled):
    vectors = sparse_vectors(filled)
    add(store, name, "new", NEW, vectors)
    query = random_sparse(np.random.default_rng(2))
    answer = dict(searched(store, name, "new", query, 30))
    expected = {chunk_id: query.dot(vector) for chunk_id, vector in vectors.items() if query.dot(vector) > 0}
    assert answer == pytest.approx(expected, abs=1e-4)
    manifest = store.info(name).manifest
    assert list(manifest.fused()) == ["sparse", "dense"]
    assert (manifest.legs["new"], manifest.stamp_base()) == (NEW, manifest_of().fingerprint())
    # The others are as they were.
    assert len(searched(store, name, "dense", np.ones(DIM, np.float32), 100)) == 30
    assert store.manifest(name) == manifest


def test_a_new_dense_leg_has_its_own_length(store, name, filled):
    rng = np.random.default_rng(3)
    vectors = {chunk_id: rng.normal(size=3).astype(np.float32) for chunk_id in filled}
    add(store, name, "wide", DENSE, vectors)
    best = max(vectors, key=lambda c: vectors[c] @ np.ones(3) / np.linalg.norm(vectors[c]))
    assert searched(store, name, "wide", np.ones(3, np.float32))[0][0] == best


def test_a_new_leg_may_ask_for_the_inverse_document_frequency(store, name, filled):
    common = {chunk_id: SparseVector.of([1], [1.0]) for chunk_id in filled}
    common[filled[0]] = SparseVector.of([1, 2], [1.0, 1.0])
    add(store, name, "idf", IDF, common)
    answer = searched(store, name, "idf", SparseVector.of([1, 2], [1.0, 1.0]), 2)
    assert answer[0][0] == filled[0]
    rare, everywhere = np.log((30 - 1 + 0.5) / 1.5 + 1), np.log(0.5 / 30.5 + 1)
    assert answer[0][1] == pytest.approx(rare + everywhere, abs=1e-4)


def test_nothing_of_it_is_seen_before_it_is_published_and_it_is_gone_on_with(store, name, filled):
    early = store.reader(name)
    writer = store.writer(name, manifest_of())
    writer.add_vector(NEW)
    writer.set_vectors(NEW, sparse_vectors(filled[:12]))
    writer.close()
    assert set(store.info(name).manifest.legs) == set(store.manifest(name).legs) == {"sparse", "dense"}
    assert found(store.reader(name)) == found(early) == set(filled)

    writer = store.writer(name, manifest_of())
    writer.add_vector(NEW)
    lacking = [payload["chunk_id"] for payload in writer.iter_payloads(without=NEW.vector)]
    assert sorted(lacking) == sorted(filled[12:])
    writer.set_vectors(NEW, sparse_vectors(lacking))
    assert list(writer.iter_payloads(without=NEW.vector)) == []
    writer.publish(with_leg(writer.manifest, "new", NEW))
    writer.close()
    reader = store.reader(name)
    assert "new" in reader.manifest.legs
    assert found(reader) == set(filled)


def test_vectors_may_be_set_while_what_lacks_them_is_read(store, name):
    build(store, name, points(2_300, legs=["sparse"]), manifest_of(["sparse"]))
    writer = store.writer(name, manifest_of(["sparse"]))
    writer.add_vector(NEW)
    seen = []
    for payload in writer.iter_payloads(without=NEW.vector):
        seen.append(payload["chunk_id"])
        if len(seen) % 100 == 0:
            writer.set_vectors(NEW, sparse_vectors(seen[-100:]))
    assert sorted(seen) == sorted(f"d{n}#0" for n in range(2_300))
    assert list(writer.iter_payloads(without=NEW.vector)) == []
    writer.close()


def test_what_another_model_left_behind_is_not_gone_on_with(store, name, filled):
    writer = store.writer(name, manifest_of())
    writer.add_vector(NEW)
    writer.set_vectors(NEW, sparse_vectors(filled[:12]))
    writer.add_vector(IDF)
    assert len(list(writer.iter_payloads(without=IDF.vector))) == 30
    writer.add_vector(NEW)
    assert len(list(writer.iter_payloads(without=NEW.vector))) == 30
    writer.close()


def test_an_empty_vector_is_none(store, name, filled):
    add(store, name, "new", NEW, {filled[0]: SparseVector.of([1], [1.0]), filled[1]: EMPTY})
    assert searched(store, name, "new", SparseVector.of([1], [1.0])) == [(filled[0], pytest.approx(1.0))]
    writer = store.writer(name, store.manifest(name))
    writer.set_vectors(NEW, {})
    writer.set_vectors(NEW, {filled[2]: EMPTY})
    writer.close()


def test_a_bad_vector_is_refused_before_one_is_written(store, name, filled):
    writer = store.writer(name, manifest_of())
    writer.add_vector(DENSE)
    good = np.ones(3, np.float32)
    bad = {"has shape": np.ones(4, np.float32), "not finite": good * np.nan, "is sparse": SparseVector.of([1], [1.0])}
    for words, vector in bad.items():
        with pytest.raises(StoreError, match=rf"vector of 'd1#0' from dense-model .*{words}"):
            writer.set_vectors(DENSE, {filled[0]: good, filled[1]: vector})
    assert len(list(writer.iter_payloads(without=DENSE.vector))) == 30
    writer.close()


def test_later_points_carry_every_leg_and_an_upsert_drops_what_it_lacks(store, name, filled):
    add(store, name, "new", NEW, sparse_vectors(filled))
    writer = store.writer(name, store.manifest(name))
    both = point("late")
    both.vectors["new"] = SparseVector.of([77], [1.0])
    writer.upsert([both, point("d0")])
    writer.publish()
    writer.close()
    assert searched(store, name, "new", SparseVector.of([77], [2.0])) == [("late#0", pytest.approx(2.0))]
    everything = SparseVector.of(range(60), np.ones(60))
    assert "d0#0" not in dict(searched(store, name, "new", everything, 100))


# ---------------------------------------------------------------- names change hands


def swapped(manifest):
    called = manifest.vectors()
    legs = dict(manifest.legs)
    old, new = legs["sparse"], legs["new"]
    legs["sparse"] = LegSpec(new.model, new.fingerprint, vector=called["new"])
    legs["new"] = LegSpec(old.model, old.fingerprint, vector=called["sparse"], shadow=True)
    return manifest.with_legs(legs, "custom")


def test_legs_change_names_in_one_step_for_those_who_open_later(store, name, filled):
    vectors = sparse_vectors(filled)
    add(store, name, "new", NEW, vectors)
    query = random_sparse(np.random.default_rng(2))
    before = {leg: dict(searched(store, name, leg, query, 100)) for leg in ("sparse", "new")}
    early = store.reader(name)
    writer = store.writer(name, store.manifest(name))
    writer.replace_manifest(swapped(writer.manifest))
    assert writer.manifest.legs["sparse"].model == "new-model"
    writer.close()
    assert dict(searched(store, name, "sparse", query, 100)) == before["new"]
    assert dict(searched(store, name, "new", query, 100)) == before["sparse"]
    assert dict(early.retrieve([("sparse", query)], 100)[0]) == before["sparse"]
    assert early.manifest.legs["sparse"].model == "m-sparse"
    assert store.manifest(name) == store.info(name).manifest
    # The next writer goes on under the new names.
    build(store, name, [point("late")], store.manifest(name))
    assert store.info(name).points == 31
    assert store.info(name).manifest.legs["sparse"].model == "new-model"


def test_a_dropped_leg_takes_its_vectors_with_it(store, name, filled):
    add(store, name, "new", NEW, sparse_vectors(filled))
    writer = store.writer(name, store.manifest(name))
    left = {leg: spec for leg, spec in writer.manifest.legs.items() if leg != "sparse"}
    writer.replace_manifest(writer.manifest.with_legs(left, "custom"))
    writer.drop_unused_vectors()
    writer.publish()
    assert sorted(store.info(name).manifest.legs) == ["dense", "new"]
    with pytest.raises(StoreError, match="has a 'sparse' vector"):
        writer.upsert([point("x")])
    # Its name is free, and nothing of the old one is under it.
    again = LegSpec("m-3", "f-3", vector="sparse")
    writer.add_vector(again)
    assert len(list(writer.iter_payloads(without="sparse"))) == 30
    writer.close()
    assert len(searched(store, name, "new", SparseVector.of(range(60), np.ones(60)), 100)) == 30


def test_the_legs_of_what_is_being_built_are_not_changed(store, name, filled):
    first = store.writer(f"{name}-first", manifest_of())
    first.upsert(points(2))
    again = store.writer(name, manifest_of(), replace=True)
    again.upsert(points(2, "new"))
    for writer in (first, again):
        for change in (lambda w: w.add_vector(NEW), lambda w: w.replace_manifest(with_leg(w.manifest, "new", NEW))):
            with pytest.raises(StoreError, match="is being built and has not been finished yet, so its legs"):
                change(writer)
    first.close()
    again.close()
    assert found(store.reader(name)) == set(filled)
    writer = store.writer(name, manifest_of())
    writer.publish()
    writer.add_vector(NEW)
    writer.close()
