"""From scores to places."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.ranking.rerank import rerank
from hybrid_search.types import Hit


def documents(count: int) -> list[tuple[Hit, ...]]:
    return [(Hit(f"d{n}#0", n + 1, 1 / (n + 1)), Hit(f"d{n}#1", n + 9, 0.01)) for n in range(count)]


def shown(placed: list) -> list[tuple[str, int, float | None]]:
    return [(one.hits[0].doc_id, one.fused_rank, one.score) for one in placed]


def test_those_that_were_not_scored_stay_behind_in_their_order() -> None:
    assert shown(rerank(documents(4), [-3.0, 2.5])) == [
        ("d1", 2, 2.5),
        ("d0", 1, -3.0),
        ("d2", 3, None),
        ("d3", 4, None),
    ]


def test_nothing_scored_is_the_fused_order() -> None:
    assert shown(rerank(documents(2), [])) == [("d0", 1, None), ("d1", 2, None)]


def test_ties_go_by_the_best_chunks_id_and_last_bits_do_not_count() -> None:
    swapped = list(reversed(documents(2)))
    assert [name for name, *_ in shown(rerank(swapped, [0.0, 0.0]))] == ["d0", "d1"]
    assert [name for name, *_ in shown(rerank(swapped, [0.5000001, 0.5]))] == ["d0", "d1"]


def test_a_document_keeps_its_chunks_in_their_order() -> None:
    assert [hit.chunk_id for hit in rerank(documents(2), [1.0, 2.0])[0].hits] == ["d1#0", "d1#1"]


@pytest.mark.parametrize("scores", [[1.0, 2.0, 3.0], [math.nan]])
def test_scores_that_cannot_be_meant(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="score"):
        rerank(documents(2), scores)


@given(st.integers(0, 8), st.data())
def test_it_is_a_permutation_scored_first_and_falling(count: int, data: st.DataObject) -> None:
    scores = data.draw(st.lists(st.floats(-20, 20, width=32), max_size=count))
    found = rerank(documents(count), scores)
    assert sorted(placed.fused_rank for placed in found) == list(range(1, count + 1))
    head, tail = found[: len(scores)], found[len(scores) :]
    assert all(placed.score is not None for placed in head)
    assert [placed.score for placed in tail] == [None] * len(tail)
    assert [placed.fused_rank for placed in tail] == list(range(len(scores) + 1, count + 1))
    kept = [placed.score or 0.0 for placed in head]
    assert all(one >= other - 1e-4 for one, other in pairwise(kept))
