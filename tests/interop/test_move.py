"""A collection that is moved is the one it was: from any store to any store, cut short, onto others, changed meanwhile."""

import pytest

from hybrid_search.errors import CollectionChanged, InvalidArgument, StoreError
from hybrid_search.indexer import Indexer
from hybrid_search.interop import move as moves
from hybrid_search.interop.move import move
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import Document
from tests.interop.conftest import words
from tests.interop.test_encodings import MODELS, SMALL, assert_same_answers, build, content, documents, top_ten
from tests.store.conftest import in_memory


@pytest.fixture(params=["edge to server", "server to edge", "edge to edge", "server to server"])
def ends(request, tmp_path):
    """Two stores, of both kinds each."""
    kinds = request.param.split(" to ")
    ends = [EdgeStore(tmp_path / f"end{n}") if kind == "edge" else in_memory() for n, kind in enumerate(kinds)]
    yield ends
    for end in ends:
        end.close()


def test_a_moved_collection_is_the_one_it_was(ends, settings, fakes):
    here, there = ends
    build(settings, here, documents())
    report = move("c", source=here, target=there, settings=settings)
    assert (report.documents, report.written, report.removed, report.replaced) == (30, 30, 0, False)
    assert content(settings, there) == content(settings, here)
    assert there.manifest("c") == here.manifest("c")
    assert set(report.vectors) == set(report.searches) == {"sparse", "dense", "bm25"}
    assert all(report.searches.values())
    assert report.notes == ()
    assert_same_answers(top_ten(settings, here, "c"), top_ten(settings, there, "c"))
    again = build(settings, there, documents())
    assert (again.documents, again.unchanged) == (0, 30)
    assert move("c", source=here, target=there, settings=settings).written == 0
