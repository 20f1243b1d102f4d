"""The values check themselves."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.types import (
    Chunk,
    Document,
    Hit,
    Ranking,
    SparseVector,
    chunk_id_of,
    doc_id_of,
    point_id_of,
)

PAIRS = st.lists(st.tuples(st.integers(0, 50), st.floats(-5, 5, width=32)))


@given(PAIRS)
def test_sparse_vector_of_sorts_drops_and_keeps_the_largest(pairs: list[tuple[int, float]]) -> None:
    vector = SparseVector.of([index for index, _ in pairs], [value for _, value in pairs])
    expected: dict[int, float] = {}
    for index, value in pairs:
        if value > 0:
            expected[index] = max(value, expected.get(index, 0.0))
    assert dict(zip(vector.indices.tolist(), vector.values.tolist(), strict=True)) == pytest.approx(expected)
    assert vector.indices.tolist() == sorted(expected)
    assert vector.indices.dtype == np.int32
    assert vector.values.dtype == np.float32


@pytest.mark.parametrize(
    ("indices", "values"),
    [([1, 1], [1, 1]), ([2, 1], [1, 1]), ([-1], [1]), ([1], [0]), ([1], [np.nan]), ([1], [np.inf]), ([1, 2], [1])],
)
def test_sparse_vector_refuses(indices: list[int], values: list[float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        SparseVector(np.array(indices, dtype=np.int32), np.array(values, dtype=np.float32))


def test_signed_sparse_vector_keeps_weights_below_zero_and_drops_zeros() -> None:
    vector = SparseVector.of([4, 2, 9], [-0.5, 1.0, 0.0], signed=True)
    assert vector.indices.tolist() == [2, 4]
    assert vector.values.tolist() == [1.0, -0.5]
    assert vector.dot(SparseVector.of([4], [2.0])) == -1.0
    with pytest.raises(ValueError, match="not 0"):
        SparseVector(np.array([1], dtype=np.int32), np.array([0], dtype=np.float32), signed=True)


def test_sparse_vector_of_refuses_what_it_cannot_mend() -> None:
    with pytest.raises(ValueError, match="2 indices but 1 values"):
        SparseVector.of([1, 2], [1.0])
    with pytest.raises(ValueError, match="finite"):
        SparseVector.of([1], [np.inf])
    with pytest.raises(ValueError, match="indices must lie"):
        SparseVector.of([2**31], [1.0])


def test_sparse_vector_is_frozen_and_compares_by_value() -> None:
    vector = SparseVector.of([3, 1], [0.5, 2.0])
    assert vector == SparseVector.of([1, 3], [2.0, 0.5])
    assert vector != SparseVector.of([1], [2.0])
    with pytest.raises(ValueError, match="read-only"):
        vector.values[0] = 7.0
    assert vector.dot(SparseVector.of([3, 9], [4.0, 1.0])) == 2.0


def test_ranking_keeps_its_invariants() -> None:
    Ranking((Hit("a#0", 1, 2.0), Hit("b#0", 2, 2.0)))
    with pytest.raises(ValueError, match="rank 2 stands at place 1"):
        Ranking((Hit("a#0", 2, 1.0),))
    with pytest.raises(ValueError, match="above"):
        Ranking((Hit("a#0", 1, 1.0), Hit("b#0", 2, 2.0)))
    with pytest.raises(ValueError, match="twice"):
        Ranking((Hit("a#0", 1, 1.0), Hit("a#0", 2, 1.0)))


@given(st.text(min_size=1), st.integers(0, 10_000))
def test_ids_round_trip_and_points_are_stable(doc_id: str, number: int) -> None:
    chunk_id = chunk_id_of(doc_id, number)
    assert doc_id_of(chunk_id) == doc_id
    assert point_id_of(chunk_id) == point_id_of(chunk_id_of(doc_id, number))
    assert point_id_of(chunk_id) != point_id_of(chunk_id_of(doc_id, number + 1))


def test_point_ids_never_change() -> None:
    """Collections on disk depend on it."""
    assert str(point_id_of("spinal-tap-1984#0")) == "f6bc9fc0-d692-5c09-a738-75b5e6d553c2"


def test_content_hash_is_of_content_alone() -> None:
    document = Document("a", "text", "title", {"year": 1984}, origin="x:1")
    assert document.content_hash() == Document("b", "text", "title", {"year": 1984}, origin="y:2").content_hash()
    assert document.content_hash() != Document("a", "text", "title", {"year": 1985}).content_hash()
    assert document.content_hash() != Document("a", "texttitle", "", {"year": 1984}).content_hash()


def test_searchable_repeats_the_title() -> None:
    assert Chunk("d", 1, "text", 5, 9, "Title").searchable == "Title\ntext"
    assert Chunk("d", 1, "text", 5, 9).searchable == "text"


def test_manifest_round_trip_and_fingerprint() -> None:
    legs = {"sparse": LegSpec("m", "f", needs_idf=True, average_tokens=94.8), "dense": LegSpec("n", "g", dim=384)}
    manifest = Manifest("bundled", legs, 256, created="2026-11-21T00:00:00+00:00")
    assert Manifest.from_dict(manifest.to_dict()) == manifest
    later = Manifest("custom", legs, 256, created="2027-01-01T00:00:00+00:00")
    assert later.fingerprint() == manifest.fingerprint()
    assert Manifest("bundled", legs, 128).fingerprint() != manifest.fingerprint()


@pytest.mark.parametrize("data", [{}, {"schema": 3}, {"schema": 1, "legs": []}, {"schema": 1, "legs": {}, "x": 1}])
def test_manifest_refuses_what_it_cannot_read(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"not a manifest|newer than this version"):
        Manifest.from_dict(data)


def test_a_document_is_hashed_once_and_a_changed_one_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    whole = Document._hashed
    monkeypatch.setattr(Document, "_hashed", lambda document: hashed.append(document.doc_id) or whole(document))
    document = Document("a", "text", "title", {"year": 1984})
    assert document.content_hash() == document.content_hash()
    assert hashed == ["a"]
    assert replace(document, text="other").content_hash() != document.content_hash()
    assert pickle.loads(pickle.dumps(document)).content_hash() == document.content_hash()
    assert hashed == ["a", "a"]
    assert document == Document("a", "text", "title", {"year": 1984})
    assert "hash" not in repr(document)
