"""Documents removed by id, on both stores."""

import pytest

from hybrid_search.errors import CollectionNotFound
from hybrid_search.indexer import Indexer
from hybrid_search.indexing.deletion import delete_documents
from hybrid_search.searcher import Searcher
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.server.store import ServerStore
from hybrid_search.types import Document

FAKES = {"sparse": "fake/both", "dense": "fake/both"}
LONG = Document("long", " ".join(f"river stone{n}" for n in range(200)))


@pytest.fixture(params=["folder", "server"])
def store(request, settings, fakes):
    if request.param == "folder":
        yield EdgeStore(settings.store)
    else:
        from qdrant_client import QdrantClient

        client = QdrantClient(":memory:")
        yield ServerStore(client)
        client.close()


def index(store, settings):
    documents = [Document("a", "a river"), LONG, Document("b", "a river too")]
    Indexer.open("c", store=store, settings=settings, **FAKES).index(documents)


def found(store, settings):
    with Searcher.open("c", store=store, settings=settings) as searcher:
        points = searcher._within(lambda opened: opened.reader.info().points)
        return sorted(hit.doc_id for hit in searcher.search("river")), points


def test_a_document_goes_with_all_its_chunks(store, settings):
    index(store, settings)
    assert found(store, settings)[1] > 5
    assert delete_documents("c", ["long", "nobody", "long"], store=store, settings=settings) == 1
    assert found(store, settings) == (["a", "b"], 2)


def test_all_go_and_the_collection_stays_and_can_be_filled_again(store, settings):
    index(store, settings)
    assert delete_documents("c", None, store=store, settings=settings) == 3
    assert found(store, settings) == ([], 0)
    assert delete_documents("c", None, store=store, settings=settings) == 0
    index(store, settings)
    assert found(store, settings)[0] == ["a", "b", "long"]


def test_a_collection_that_is_not_there(store, settings):
    with pytest.raises(CollectionNotFound, match="'c'"):
        delete_documents("c", ["a"], store=store, settings=settings)
