"""What every store has to do, whatever it is made of. A server is asked where QDRANT_URL names one."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest

from hybrid_search.errors import CollectionNotFound, InvalidArgument, ManifestMismatch, StoreError
from hybrid_search.protocols import DocumentHead
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import Moved, SparseVector
from tests.store.conftest import in_memory
from tests.store.store_points import DIM, build, found, manifest_of, point, points, random_sparse

EMPTY = SparseVector.of([], [])


def brute_force(query, batch, leg, *, idf=False):
    """Every (chunk_id, score) above 0 for sparse and any for dense, best first, in float64."""
    if leg == "dense":
        q = query.astype(np.float64)
        scored = [
            (p.chunk_id, float(q @ p.vectors["dense"] / np.linalg.norm(q) / np.linalg.norm(p.vectors["dense"])))
            for p in batch
        ]
    else:
        holding = Counter(int(i) for p in batch for i in p.vectors["sparse"].indices)
        weight = {
            i: np.log((len(batch) - holding[i] + 0.5) / (holding[i] + 0.5) + 1) if idf else 1.0
            for i in map(int, query.indices)
        }
        weighted = SparseVector.of(
            query.indices, [v * weight[int(i)] for i, v in zip(query.indices, query.values, strict=True)]
        )
        scored = [(p.chunk_id, weighted.dot(p.vectors["sparse"])) for p in batch]
        scored = [(chunk_id, score) for chunk_id, score in scored if score > 0]
    return ordered(scored)


def ordered(answer):
    return sorted(answer, key=lambda pair: (-pair[1], pair[0]))


# ---------------------------------------------------------------- collections


def test_a_reader_knows_whether_something_newer_is_there(store, name, monkeypatch):
    monkeypatch.setattr("hybrid_search.store.server.reader.LOOK_EVERY_S", 0.0)
    build(store, name, [point("a")], manifest_of())
    reader = store.reader(name)
    assert not reader.is_stale()
    with closing(store.writer(name, manifest_of(), replace=True)) as writer:
        writer.upsert([point("b")])
        assert not reader.is_stale()
        writer.publish()
    assert reader.is_stale()
    assert not store.reader(name).is_stale()
    store.delete(name)
    assert reader.is_stale()


def test_what_is_indexed_can_be_opened_named_described_and_deleted(store, name):
    assert store.manifest(name) is None
    manifest = manifest_of()
    build(store, name, [point("a", chunks=2), point("a", 1), point("b")], manifest)

    assert name in store.names()
    assert store.manifest(name) == manifest
    for info in (store.info(name), store.reader(name).info()):
        assert (info.name, info.documents, info.points, info.manifest) == (name, 2, 3, manifest)
        assert info.bytes_on_disk is None or 1_000 < info.bytes_on_disk < 500_000_000

    store.delete(name)
    assert name not in store.names()
    assert store.manifest(name) is None
    for opening in (store.reader, store.info, store.delete):
        with pytest.raises(CollectionNotFound):
            opening(name)


def test_names_are_sorted(store, prefix):
    wanted = [f"{prefix}-{letter}" for letter in ("b", "C", "a")]
    for name in wanted:
        build(store, name, [point("x")])
    assert [name for name in store.names() if name.startswith(prefix)] == sorted(wanted)


def test_a_missing_collection_is_named_with_its_neighbours_and_the_place(store, name):
    build(store, name, [point("a")])
    with pytest.raises(CollectionNotFound) as caught:
        store.reader(name[:-1])
    assert caught.value.near == (name,)
    assert repr(name) in str(caught.value)
    assert store.location in str(caught.value)


@pytest.mark.parametrize("bad", ["", "../x", "a/b", "a b", ".hidden", "x" * 121, "a__v2", "ü", "a\n"])
def test_a_name_that_no_store_can_hold_is_refused(store, bad):
    for use in (store.reader, store.info, store.delete, store.manifest, lambda n: store.writer(n, manifest_of())):
        with pytest.raises(InvalidArgument, match="cannot be used"):
            use(bad)


def test_a_collection_can_be_made_again_after_its_deletion(store, name):
    build(store, name, points(5))
    store.delete(name)
    build(store, name, [point("new")], manifest_of(model="other"))
    assert found(store.reader(name)) == {"new#0"}


def test_a_deleted_collection_leaves_no_unfinished_replacement_behind(store, name):
    build(store, name, points(2))
    writer = store.writer(name, manifest_of(model="other"), replace=True)
    writer.upsert([point("half")])
    writer.close()
    store.delete(name)
    assert store.manifest(name) is None
    build(store, name, [point("new")])
    writer = store.writer(name, manifest_of(model="other"), replace=True)
    assert not writer.resumed
    writer.close()


# ---------------------------------------------------------------- writing


def test_nothing_is_visible_before_the_first_publication(store, name):
    writer = store.writer(name, manifest_of())
    writer.upsert(points(3))
    assert name not in store.names()
    for opening in (store.reader, store.info):
        with pytest.raises(StoreError, match="has not been finished"):
            opening(name)
    assert store.manifest(name) == manifest_of()

    writer.publish()
    assert name in store.names()
    assert found(store.reader(name)) == {"d0#0", "d1#0", "d2#0"}
    writer.close()


def test_an_unfinished_collection_can_be_deleted(store, name):
    writer = store.writer(name, manifest_of())
    writer.upsert(points(3))
    writer.close()
    store.delete(name)
    assert store.manifest(name) is None


def test_what_is_written_after_a_publication_is_visible_after_the_next(store, name):
    writer = store.writer(name, manifest_of())
    writer.upsert(points(3))
    writer.publish()
    writer.upsert([point("late")])
    writer.publish()
    writer.publish()
    writer.close()
    assert found(store.reader(name)) == {"d0#0", "d1#0", "d2#0", "late#0"}


def test_an_empty_collection_can_be_published_and_searched(store, name):
    writer = store.writer(name, manifest_of())
    writer.upsert([])
    writer.delete([])
    writer.publish()
    assert writer.heads([]) == {}
    assert list(writer.doc_ids()) == []
    writer.close()
    reader = store.reader(name)
    assert reader.retrieve(
        [("dense", np.ones(DIM, np.float32)), ("sparse", random_sparse(np.random.default_rng(0)))], 5
    ) == [[], []]
    assert reader.payloads([]) == {}
    assert reader.retrieve([], 5) == []


def test_heads_and_doc_ids_know_complete_documents_only(store, name):
    writer = store.writer(name, manifest_of())
    writer.upsert([point("whole", 1), point("whole", chunks=2, stamp="s1"), point("half", 1), point("other")])
    assert writer.heads(["whole", "half", "missing", "other"]) == {
        "whole": DocumentHead("s1", 2, "whole.txt"),
        "other": DocumentHead("stamp", 1, "other.txt"),
    }
    assert sorted(writer.doc_ids()) == ["other", "whole"]
    assert (writer.info().documents, writer.info().points) == (2, 4)
    writer.close()


def test_documents_can_stand_elsewhere_from_now_on(store, name):
    build(store, name, [point("long", 1), point("long", chunks=2), *points(300)])
    before = store.reader(name)
    vectors = {leg: before.vectors(leg, ["long#0", "long#1", "d7#0"]) for leg in before.manifest.legs}
    writer = store.writer(name, manifest_of())
    writer.set_origins(
        [Moved("long", 2, "/new/long.txt"), *(Moved(f"d{n}", 1, f"/new/d{n}.txt:3") for n in range(300))]
    )
    assert writer.heads(["long"]) == {"long": DocumentHead("stamp", 2, "/new/long.txt")}
    writer.publish()
    writer.close()
    after = store.reader(name)
    found = after.payloads(["long#0", "long#1", "d7#0", "d299#0"])
    assert [found[key].pop("origin") for key in found] == ["/new/long.txt"] * 2 + ["/new/d7.txt:3", "/new/d299.txt:3"]
    for payload in before.payloads(list(found)).values():
        payload.pop("origin")
        assert found[payload["chunk_id"]] == payload
    for leg, some in vectors.items():
        assert str(after.vectors(leg, list(some))) == str(some)


def test_doc_ids_go_on_beyond_one_page(store, name):
    writer = store.writer(name, manifest_of(["sparse"]))
    writer.upsert(points(2_100, legs=["sparse"]))
    assert sorted(writer.doc_ids()) == sorted(f"d{number}" for number in range(2_100))
    writer.close()


def test_upserting_twice_is_the_same_as_once(store, name):
    writer = store.writer(name, manifest_of())
    for stamp in ("old", "new"):
        writer.upsert(points(4, stamp=stamp))
    writer.publish()
    assert writer.info().points == 4
    assert writer.heads(["d1"]) == {"d1": DocumentHead("new", 1, "d1.txt")}
    writer.close()
    reader = store.reader(name)
    assert len(reader.retrieve([("dense", np.ones(DIM, np.float32))], 100)[0]) == 4


def test_an_upsert_replaces_the_whole_point(store, name):
    writer = store.writer(name, manifest_of())
    writer.upsert([point("a", metadata={"old": 1})])
    writer.upsert([point("a", legs=["sparse"], metadata={"new": 2})])
    writer.publish()
    writer.close()
    reader = store.reader(name)
    assert reader.payloads(["a#0"])["a#0"]["metadata"] == {"new": 2}
    assert reader.retrieve([("dense", np.ones(DIM, np.float32))], 5) == [[]]


def test_deleted_chunks_are_gone_and_unknown_ones_do_not_matter(store, name):
    writer = store.writer(name, manifest_of())
    writer.upsert(points(4))
    writer.delete(chunk_id for chunk_id in ["d1#0", "never#0"])
    writer.publish()
    assert sorted(writer.doc_ids()) == ["d0", "d2", "d3"]
    assert writer.heads(["d1"]) == {}
    writer.close()
    reader = store.reader(name)
    assert found(reader) == {"d0#0", "d2#0", "d3#0"}
    assert reader.payloads(["d1#0"]) == {}


def test_a_batch_with_one_bad_vector_writes_nothing(store, name):
    writer = store.writer(name, manifest_of())
    bad = point("bad", dense=np.full(DIM, np.nan, np.float32))
    with pytest.raises(StoreError, match=r"dense vector of 'bad#0' holds a value that is not finite"):
        writer.upsert([*points(200), bad])
    assert writer.info().points == 0
    writer.upsert([point("good")])
    assert list(writer.doc_ids()) == ["good"]
    writer.close()


def test_a_payload_that_is_not_json_is_refused_before_anything_is_written(store, name):
    writer = store.writer(name, manifest_of())
    for value in (float("nan"), {1, 2}, "\ud800", object()):
        with pytest.raises(StoreError, match=r"payload of 'bad#0' is not JSON"):
            writer.upsert([*points(200), point("bad", metadata={"value": value})])
    assert writer.info().points == 0
    writer.close()


def test_another_manifest_is_refused_and_both_are_told(store, name):
    build(store, name, points(2))
    other = manifest_of(model="other")
    with pytest.raises(ManifestMismatch) as caught:
        store.writer(name, other)
    assert caught.value.collection == name
    assert (caught.value.found, caught.value.wanted) == (manifest_of().fingerprint(), other.fingerprint())
    store.writer(name, manifest_of()).close()  # and nothing is left locked


def test_a_reopened_writer_goes_on_with_the_stored_manifest(store, name):
    build(store, name, points(2))
    later = manifest_of()
    object.__setattr__(later, "created", "2027-01-01T00:00:00+00:00")
    writer = store.writer(name, later)
    writer.upsert([point("late")])
    writer.publish()
    writer.close()
    assert store.reader(name).manifest.created == "2026-11-21T00:00:00+00:00"


# ---------------------------------------------------------------- replacing


def test_readers_have_the_old_until_the_new_is_published(store, name):
    build(store, name, points(3, "old"))
    before = store.reader(name)
    new = manifest_of(model="other")
    writer = store.writer(name, new, replace=True)
    writer.upsert(points(5, "new"))
    assert found(before) == found(store.reader(name)) == {"old0#0", "old1#0", "old2#0"}
    assert store.reader(name).manifest == manifest_of()

    writer.publish()
    writer.upsert([point("more")])
    writer.publish()
    writer.close()
    after = store.reader(name)
    assert after.manifest == new
    assert found(after) == {*(f"new{i}#0" for i in range(5)), "more#0"}
    assert store.names().count(name) == 1


def test_a_replacement_given_up_leaves_the_old_one_as_it_was(store, name):
    build(store, name, points(3, "old"))
    writer = store.writer(name, manifest_of(model="other"), replace=True)
    writer.upsert(points(2, "new"))
    writer.close()

    assert found(store.reader(name)) == {"old0#0", "old1#0", "old2#0"}
    assert store.manifest(name) == store.info(name).manifest == manifest_of()
    writer = store.writer(name, manifest_of())
    assert not writer.resumed
    assert set(writer.doc_ids()) == {"old0", "old1", "old2"}
    writer.upsert([point("old3")])
    writer.publish()
    writer.close()
    assert found(store.reader(name)) == {f"old{n}#0" for n in range(4)}


def test_a_replacement_is_gone_on_with(store, name):
    build(store, name, points(3, "old"))
    new = manifest_of(model="other")
    writer = store.writer(name, new, replace=True)
    assert not writer.resumed
    writer.upsert(points(2, "new"))
    writer.close()

    writer = store.writer(name, new, replace=True)
    assert writer.resumed
    assert set(writer.heads(["new0", "new1", "old0"])) == {"new0", "new1"}
    writer.upsert([point("new2")])
    writer.publish()
    writer.close()
    assert found(store.reader(name)) == {"new0#0", "new1#0", "new2#0"}
    writer = store.writer(name, new)
    assert not writer.resumed
    writer.upsert([point("new3")])
    writer.publish()
    writer.close()
    assert found(store.reader(name)) == {f"new{n}#0" for n in range(4)}


def test_a_replacement_under_another_manifest_starts_afresh(store, name):
    build(store, name, points(1, "old"))
    for model in ("second", "third"):
        writer = store.writer(name, manifest_of(model=model), replace=True)
        assert not writer.resumed
        assert list(writer.doc_ids()) == []
        writer.upsert([point(model)])
        writer.close()


def test_a_finished_replacement_is_not_gone_on_with(store, name):
    for doc_id in ("first", "second"):
        writer = store.writer(name, manifest_of(), replace=True)
        assert not writer.resumed
        writer.upsert([point(doc_id)])
        writer.publish()
        writer.close()
        assert found(store.reader(name)) == {f"{doc_id}#0"}


def test_a_first_building_is_gone_on_with(store, name):
    for replace, doc_id in ((False, "first"), (False, "second"), (True, "third")):
        writer = store.writer(name, manifest_of(), replace=replace)
        assert writer.resumed == (doc_id != "first")
        writer.upsert([point(doc_id)])
        writer.close()
    writer = store.writer(name, manifest_of(), replace=True)
    assert set(writer.doc_ids()) == {"first", "second", "third"}
    writer.close()


# ---------------------------------------------------------------- searching


@pytest.mark.parametrize("idf", [False, True])
def test_scores_are_exact(store, name, idf):
    batch = points(120)
    build(store, name, batch, manifest_of(idf=idf))
    reader = store.reader(name)
    rng = np.random.default_rng(7)
    for _ in range(5):
        dense, sparse = rng.normal(size=DIM).astype(np.float32), random_sparse(rng)
        for leg, query in (("dense", dense), ("sparse", sparse)):
            answer = reader.retrieve([(leg, query)], 200)[0]
            expected = brute_force(query, batch, leg, idf=idf)
            assert [score for _, score in answer] == pytest.approx([score for _, score in expected], abs=1e-4)
            assert dict(answer) == pytest.approx(dict(expected), abs=1e-4)


def test_one_request_answers_every_question_in_order(store, name):
    batch = points(30)
    build(store, name, batch)
    rng = np.random.default_rng(3)
    requests = [
        ("sparse", random_sparse(rng)),
        ("dense", rng.normal(size=DIM).astype(np.float32)),
        ("sparse", EMPTY),
        ("dense", rng.normal(size=DIM).astype(np.float32)),
        ("sparse", random_sparse(rng)),
    ]
    answers = store.reader(name).retrieve(requests, 4)
    assert len(answers) == len(requests)
    for (leg, query), answer in zip(requests, answers, strict=True):
        assert [c for c, _ in answer] == [c for c, _ in brute_force(query, batch, leg)[:4]]


def test_a_sparse_query_without_terms_finds_nothing(store, name):
    build(store, name, points(5))
    reader = store.reader(name)
    assert reader.retrieve([("sparse", EMPTY)], 5) == [[]]
    assert reader.retrieve([("sparse", SparseVector.of([2_000_000_000], [1.0]))], 5) == [[]]


def test_a_chunk_without_sparse_terms_is_found_by_its_dense_vector_alone(store, name):
    build(store, name, [point("a", sparse=SparseVector.of([1], [1.0])), point("b", sparse=EMPTY)])
    answers = store.reader(name).retrieve(
        [("sparse", SparseVector.of([1], [2.0])), ("dense", np.ones(DIM, np.float32))], 5
    )
    assert answers[0] == [("a#0", pytest.approx(2.0))]
    assert {chunk_id for chunk_id, _ in answers[1]} == {"a#0", "b#0"}


def test_a_limit_beyond_the_collection_returns_all_of_it_best_first(store, name):
    build(store, name, points(7))
    answer = store.reader(name).retrieve([("dense", np.ones(DIM, np.float32))], 10_000)[0]
    assert len(answer) == 7
    assert all(one[1] >= two[1] for one, two in pairwise(answer))


def test_a_search_that_cannot_be_meant_is_refused(store, name):
    build(store, name, points(3))
    reader = store.reader(name)
    ones = np.ones(DIM, np.float32)
    for leg, query, limit, words in [
        ("dense", ones[1:], 5, r"has shape \(7,\), expected \(8,\)"),
        ("dense", ones * np.nan, 5, "not finite"),
        ("dense", ones * 0, 5, "has length 0"),
        ("dense", SparseVector.of([1], [1.0]), 5, "is sparse, but the leg is dense"),
        ("sparse", ones, 5, "is dense, but the leg is sparse"),
        ("colbert", ones, 5, "no 'colbert' leg; it has"),
        ("dense", ones, 0, "limit=0"),
        ("dense", ones, -1, "limit=-1"),
    ]:
        with pytest.raises(InvalidArgument, match=words):
            reader.retrieve([(leg, query)], limit)
    assert len(found(reader)) == 3


@pytest.mark.parametrize("leg", ["sparse", "dense"])
def test_a_collection_of_one_leg(store, name, leg):
    batch = points(20, legs=[leg])
    build(store, name, batch, manifest_of([leg]))
    reader = store.reader(name)
    query = np.ones(DIM, np.float32) if leg == "dense" else random_sparse(np.random.default_rng(1))
    answer = reader.retrieve([(leg, query)], 5)[0]
    assert [c for c, _ in answer] == [c for c, _ in brute_force(query, batch, leg)[:5]]
    other = "dense" if leg == "sparse" else "sparse"
    writer = store.writer(name, manifest_of([leg]))
    with pytest.raises(StoreError, match=f"has a '{other}' vector"):
        writer.upsert([point("x", legs=[other])])
    writer.close()


def test_eight_threads_get_the_answers_that_one_gets(store, name):
    build(store, name, points(150))
    rng = np.random.default_rng(5)
    questions = [("dense", rng.normal(size=DIM).astype(np.float32)) for _ in range(60)]
    alone = store.reader(name)
    expected = [alone.retrieve([question], 10)[0] for question in questions]
    alone.close()
    shared = store.reader(name)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda question: shared.retrieve([question], 10)[0], questions))
        texts = list(pool.map(lambda answer: shared.payloads([c for c, _ in answer]), answers))
    assert answers == expected
    assert all(set(text) == {c for c, _ in answer} for text, answer in zip(texts, answers, strict=True))
    shared.close()


# ---------------------------------------------------------------- payloads


def test_any_string_can_be_a_doc_id(store, name):
    doc_ids = [
        "spinal tap",
        "naïve/été.txt",
        "😀 日本語",
        "a#b",
        "#",
        "x" * 2_000,
        "tab\tnew\nline",
        '"',
        "{}",
        "A",
        "a",
    ]
    build(store, name, [point(doc_id, number, chunks=2) for doc_id in doc_ids for number in (1, 0)])
    reader = store.reader(name)
    chunk_ids = {f"{doc_id}#{number}" for doc_id in doc_ids for number in (0, 1)}
    assert found(reader) == chunk_ids
    assert {c: p["doc_id"] for c, p in reader.payloads(list(chunk_ids)).items()} == {c: c[:-2] for c in chunk_ids}
    writer = store.writer(name, manifest_of())
    assert writer.heads(doc_ids) == {doc_id: DocumentHead("stamp", 2, f"{doc_id}.txt") for doc_id in doc_ids}
    assert sorted(writer.doc_ids()) == sorted(doc_ids)
    writer.close()


def test_a_payload_comes_back_as_it_was(store, name):
    metadata = {
        "nested": {"list": [1, 2.5, True, None, "x", {"deep": [[]]}], "empty": {}},
        "yes": True,
        "no": False,
        "one": 1,
        "rate": 0.1,
        "big": 2**53 + 1,
        "negative": -3,
        "none": None,
        "list": [],
        "words": ["à", "😀", ""],
        "added": "2026-11-21",
        "a.b c": "dotted",
        'quo"te': "quoted",
        "": "no key",
        "😀": "smile",
        "größe": 1.5,
    }
    given = point("doc 😀", metadata=metadata, text="Füße\n\0 日本語 \U0001f600")
    build(store, name, [given, point("other")])
    payloads = store.reader(name).payloads(["doc 😀#0", "missing#0"])
    assert payloads == {"doc 😀#0": dict(given.payload)}
    back = payloads["doc 😀#0"]["metadata"]
    assert [type(back[key]) for key in ("yes", "no", "one", "rate", "big")] == [bool, bool, int, float, int]


# ---------------------------------------------------------------- congruence


@pytest.mark.parametrize("idf", [False, True])
def test_both_kinds_of_store_give_the_same_ranking(tmp_path, idf):
    batch = points(300)
    stores = [EdgeStore(tmp_path), in_memory()]
    for store in stores:
        build(store, "c", batch, manifest_of(idf=idf))
    embedded, server = [store.reader("c") for store in stores]
    rng = np.random.default_rng(11)
    for _ in range(20):
        requests = [("sparse", random_sparse(rng)), ("dense", rng.normal(size=DIM).astype(np.float32))]
        for mine, theirs in zip(embedded.retrieve(requests, 10), server.retrieve(requests, 10), strict=True):
            assert [c for c, _ in ordered(mine)] == [c for c, _ in ordered(theirs)]
            assert [s for _, s in ordered(mine)] == pytest.approx([s for _, s in ordered(theirs)], abs=1e-4)
            assert len(mine) == 10
    embedded.close()


def test_the_vectors_of_chunks_come_back_by_leg(store, name):
    rng = np.random.default_rng(3)
    batch = [point(doc, sparse=random_sparse(rng)) for doc in "abc"] + [point("empty", sparse=EMPTY)]
    build(store, name, batch)
    reader = store.reader(name)

    sparse = reader.vectors("sparse", ["a#0", "c#0", "empty#0", "missing#0"])
    assert set(sparse) == {"a#0", "c#0"}
    assert sparse["a#0"] == batch[0].vectors["sparse"]
    dense = reader.vectors("dense", ["b#0"])["b#0"]
    given = batch[1].vectors["dense"]
    np.testing.assert_allclose(dense, given / np.linalg.norm(given), atol=1e-6)
    assert reader.vectors("sparse", []) == {}
    with pytest.raises(InvalidArgument, match="no 'other' leg"):
        reader.vectors("other", ["a#0"])


def test_a_reader_names_every_document_once_and_in_one_order(store, name):
    batch = [*points(30), *(point("long", number, chunks=3) for number in (1, 2, 0))]
    build(store, name, batch)
    reader = store.reader(name)
    named = list(reader.doc_ids())
    assert sorted(named) == sorted({p.payload["doc_id"] for p in batch})
    assert list(store.reader(name).doc_ids()) == named
    reader.close()
