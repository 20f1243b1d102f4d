"""What a point carries, and what is refused before an engine sees it."""

import numpy as np
import pytest

from hybrid_search.errors import InvalidArgument, StoreError
from hybrid_search.store import schema
from hybrid_search.store.schema import (
    check_name,
    check_points,
    check_requests,
    clean_metadata,
    field_types,
    new_fields,
    payload_of,
    present_vectors,
    vector_problem,
)
from hybrid_search.types import Chunk, Point, SparseVector
from tests.store.store_points import DIM, manifest_of, point

ONES = np.ones(DIM, np.float32)
FULL = SparseVector.of([1], [1.0])
EMPTY = SparseVector.of([], [])


def nested(levels):
    value = {}
    for _ in range(levels):
        value = {"x": value}
    return value


@pytest.mark.parametrize("name", ["movies", "a", "0", "A.b_c-d", "x" * 120, "v1", "a_v2", "my_vote"])
def test_names_that_every_store_can_hold(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", ".a", "_a", "a/b", "a\\b", "a:b", "a b", "é", "a\n", "x" * 121, "a__v1", "my__votes"]
)
def test_other_names_are_refused_with_the_rule(name):
    with pytest.raises(InvalidArgument, match="letters, digits") as caught:
        check_name(name)
    assert repr(name) in str(caught.value)


def test_the_payload_of_a_head_and_of_a_later_chunk():
    chunk = Chunk("doc", 0, "the text", 3, 11, "Title")
    metadata = {"year": 1984}
    payload = payload_of(chunk, metadata, "docs.jsonl:7", ("stamp", 2))
    assert payload == {
        "chunk_id": "doc#0",
        "doc_id": "doc",
        "number": 0,
        "start": 3,
        "end": 11,
        "text": "the text",
        "title": "Title",
        "origin": "docs.jsonl:7",
        "metadata": {"year": 1984},
        "stamp": "stamp",
        "chunks": 2,
    }
    assert payload["metadata"] is not metadata
    assert not {"stamp", "chunks"} & set(payload_of(Chunk("doc", 1, "x", 0, 1), {}, "", None))


def test_clean_metadata_copies_json():
    given = {"a": [1, 2.5, True, None, {"b": ("x", "y")}], 3: "three", "é": "\ud800!", "\udfff": 1}
    clean = clean_metadata(given)
    assert clean == {"a": [1, 2.5, True, None, {"b": ["x", "y"]}], "3": "three", "é": "?!", "?": 1}
    assert given["a"][4] == {"b": ("x", "y")}
    assert clean_metadata({}) == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1}, b"x", object(), np.float32(1)])
def test_metadata_that_is_not_json_is_refused(value):
    with pytest.raises(ValueError, match="metadata is not JSON"):
        clean_metadata({"x": [value]})


def test_metadata_may_nest_32_levels():
    assert clean_metadata(nested(32)) == nested(32)
    with pytest.raises(ValueError, match="deeper than 32 levels"):
        clean_metadata(nested(33))
    with pytest.raises(ValueError, match=r"metadata is not JSON|deeper than 32"):
        clean_metadata(nested(100_000))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "bool"),
        (False, "bool"),
        (0, "integer"),
        (-(2**63), "integer"),
        (2**63 - 1, "integer"),
        (2**63, "float"),
        (1.5, "float"),
        ("comedy", "keyword"),
        ("x" * 256, "keyword"),
        ("x" * 257, None),
        ("", None),
        (None, None),
        ([], None),
        ({}, None),
        (["a", 1], "keyword"),
        ([1, "a"], "integer"),
        ([[1]], None),
        ([{"a": 1}], None),
        ("2026-11-21", "datetime"),
        ("2026-11-21T10:30", "datetime"),
        ("2026-11-21 10:30:05.123Z", "datetime"),
        ("2026-11-21T10:30:05+02:00", "datetime"),
        ("2026-11", "keyword"),
        ("21.11.2026", "keyword"),
        ("2026-11-21 or so", "keyword"),
    ],
)
def test_the_index_that_a_value_wants(value, kind):
    assert field_types({"x": value}) == ({} if kind is None else {"metadata.x": kind})


def test_paths_of_nested_and_odd_keys():
    metadata = {
        "a": {"b": {"c": 1}, "d e": 2},
        "x.y": {"z": "s"},
        "a[]": 1,
        "": 1,
        "ключ": 1,
        "a-b_c": 1,
        'q"': 1,
        "b\\": {"c": 1},
    }
    assert field_types(metadata) == {
        "metadata.a.b.c": "integer",
        'metadata.a."d e"': "integer",
        'metadata."x.y".z': "keyword",
        'metadata."a[]"': "integer",
        'metadata.""': "integer",
        "metadata.ключ": "integer",
        "metadata.a-b_c": "integer",
    }


def test_new_fields_are_those_that_are_not_known():
    batch = [point("a", metadata={"year": 1984, "genre": "comedy"}), point("b", metadata={"year": 1990, "seen": True})]
    known = {"metadata.genre": "keyword"}
    assert new_fields(batch, known) == {"metadata.year": "integer", "metadata.seen": "bool"}
    assert known == {"metadata.genre": "keyword"}
    assert new_fields([], {}) == {}


def test_a_whole_number_that_turns_out_broken_is_wanted_again_and_nothing_else_is():
    rates = [point("a", metadata={"rate": 1}), point("b", metadata={"rate": 1.5}), point("c", metadata={"rate": 2})]
    assert new_fields(rates, {}) == {"metadata.rate": "float"}
    assert new_fields(rates, {"metadata.rate": "integer"}) == {"metadata.rate": "float"}
    assert new_fields(rates, {"metadata.rate": "float"}) == {}
    assert new_fields(rates, {"metadata.rate": "keyword"}) == {}


def test_no_more_than_64_fields_are_indexed():
    known = dict(schema.FIXED_FIELDS)
    many = [point("a", metadata={f"f{n}": n for n in range(100)})]
    first = new_fields(many, known)
    assert len(first) == 64
    assert new_fields(many, {**known, **first}) == {}
    broken = [point("b", metadata={"f0": 0.5})]
    assert new_fields(broken, {**known, **first}) == {"metadata.f0": "float"}


@pytest.mark.parametrize(
    ("vector", "dim", "problem"),
    [
        (FULL, 0, None),
        (EMPTY, 0, None),
        (ONES, DIM, None),
        (ONES.astype(np.float64), DIM, None),
        (FULL, DIM, "is sparse, but the leg is dense"),
        (ONES, 0, "is dense, but the leg is sparse"),
        (ONES, DIM + 1, "has shape (8,), expected (9,)"),
        (ONES.reshape(1, -1), DIM, "has shape (1, 8), expected (8,)"),
        (ONES * np.nan, DIM, "holds a value that is not finite"),
        (ONES * -np.inf, DIM, "holds a value that is not finite"),
        (ONES * 0, DIM, "has length 0, expected about 1"),
        (ONES * 1e-20, DIM, "has length 2.82843e-20, expected about 1"),
        (ONES * 1e38, DIM, "has length 2.82843e+38, expected about 1"),
        (ONES.astype(np.float64) * 1e200, DIM, "has length inf, expected about 1"),
    ],
)
def test_vector_problem(vector, dim, problem):
    assert vector_problem(vector, dim) == problem


def test_a_good_batch_passes_and_is_not_changed():
    batch = [point("a"), point("b", sparse=EMPTY, metadata=nested(32)), point("c", legs=[])]
    check_points(batch, manifest_of())
    assert [p.chunk_id for p in batch] == ["a#0", "b#0", "c#0"]


def test_the_first_bad_point_of_a_batch_is_named():
    with pytest.raises(StoreError, match=r"dense vector of 'b#0' has shape \(9,\)"):
        check_points([point("a"), point("b", dense=np.ones(9, np.float32)), point("c", dense=ONES * 0)], manifest_of())
    with pytest.raises(StoreError, match=r"'a#0' has a 'dense' vector, but the collection has \['sparse'\]"):
        check_points([point("a")], manifest_of(["sparse"]))
    with pytest.raises(StoreError, match="payload of 'a#0' is nested deeper than 32"):
        check_points([point("a", metadata=nested(33))], manifest_of())
    with pytest.raises(StoreError, match="payload of 'a#0' is not JSON"):
        check_points([point("a", text="\ud800")], manifest_of())


def test_requests_are_checked_like_points():
    check_requests([("dense", ONES), ("sparse", EMPTY)], 1, manifest_of())
    check_requests([], 1, manifest_of())
    with pytest.raises(InvalidArgument, match="no 'dense' leg"):
        check_requests([("dense", ONES)], 1, manifest_of(["sparse"]))
    with pytest.raises(InvalidArgument, match="query vector for the dense leg has shape"):
        check_requests([("dense", ONES[1:])], 1, manifest_of())
    with pytest.raises(InvalidArgument, match="limit=0"):
        check_requests([], 0, manifest_of())


def test_an_empty_sparse_vector_is_not_stored():
    whole = Point("a#0", {"sparse": EMPTY, "dense": ONES}, {})
    assert list(present_vectors(whole, manifest_of())) == ["dense"]
    assert list(present_vectors(Point("a#0", {"sparse": FULL}, {}), manifest_of())) == ["sparse"]
