"""Chunks to documents."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.ranking.collapse import collapse, document_hits
from hybrid_search.ranking.fusion import rank
from hybrid_search.ranking.rerank import RankedDocument
from hybrid_search.types import Hit, LegHit

CHUNKS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), unique=True)


@given(CHUNKS)
def test_every_chunk_once_and_documents_in_the_order_of_their_best(chunks: list[tuple[int, int]]) -> None:
    ranking = rank("sparse", [(f"d{doc}#{number}", -float(place)) for place, (doc, number) in enumerate(chunks)], 100)
    groups = collapse(ranking)
    assert sorted(hit.rank for group in groups for hit in group) == list(range(1, len(chunks) + 1))
    assert all(len({hit.doc_id for hit in group}) == 1 for group in groups)
    assert len({group[0].doc_id for group in groups}) == len(groups)
    assert [group[0].rank for group in groups] == sorted(group[0].rank for group in groups)
    assert all([hit.rank for hit in group] == sorted(hit.rank for hit in group) for group in groups)


def test_a_document_speaks_through_its_best_chunk() -> None:
    legs = {"dense": LegHit("dense", 4, 0.7)}
    groups = [
        RankedDocument((Hit("b#4", 1, 0.9, legs), Hit("b#1", 3, 0.7)), 1),
        RankedDocument((Hit("a#0", 2, 0.8),), 2),
    ]
    payloads = {
        chunk_id: {"doc_id": chunk_id[0], "title": chunk_id[0].upper(), "metadata": {"n": 1}, "origin": "x:1"}
        | {"start": 5, "end": 9, "text": f"text of {chunk_id}"}
        for chunk_id in ("b#4", "b#1", "a#0")
    }
    first, second = document_hits(groups, payloads, ("sparse", "dense"))
    assert (first.rank, first.doc_id, first.score, first.title) == (1, "b", 0.9, "B")
    assert first.legs == {"sparse": None, "dense": LegHit("dense", 4, 0.7)}
    assert [(p.chunk_id, p.start, p.end, p.text) for p in first.passages] == [
        ("b#4", 5, 9, "text of b#4"),
        ("b#1", 5, 9, "text of b#1"),
    ]
    assert (second.rank, second.doc_id) == (2, "a")
