"""The names beside a generation."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.store.edge.chunk_ids import ChunkIdMap, write_chunk_ids
from hybrid_search.types import point_id_of

IDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True, max_size=30)


@given(IDS)
def test_every_name_comes_back_in_the_order_asked(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> None:
    folder = tmp_path_factory.mktemp("names") / "names"
    write_chunk_ids(folder, [(point_id_of(name), name) for name in ids])
    names = ChunkIdMap(folder)
    assert len(names) == len(ids)
    assert names.of([point_id_of(name) for name in reversed(ids)]) == list(reversed(ids))


def test_ids_that_share_their_upper_half_are_told_apart(tmp_path: Path) -> None:
    points = {uuid.UUID(int=(7 << 64) + low): f"d{low}#0" for low in (5, 1, 9)} | {uuid.UUID(int=3): "other#0"}
    write_chunk_ids(tmp_path / "names", points.items())
    assert ChunkIdMap(tmp_path / "names").of(list(points)) == list(points.values())


def test_arrays_are_mapped_not_read(tmp_path: Path) -> None:
    write_chunk_ids(tmp_path / "names", [(point_id_of(f"d{n}#0"), f"d{n}#0") for n in range(100)])
    names = ChunkIdMap(tmp_path / "names")
    assert isinstance(names._upper, np.memmap)
    assert isinstance(names._text, np.memmap)
