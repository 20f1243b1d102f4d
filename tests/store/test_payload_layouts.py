"""Layouts: whose a payload's is, and collections of ours that others can read."""

import pytest

from hybrid_search import Indexer, Searcher, load_encodings, save_encodings
from hybrid_search.errors import InvalidArgument, ManifestMismatch
from hybrid_search.store.server.payload_layouts import FRAMEWORKS, layout_of
from hybrid_search.store.server.store import ServerStore

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.fixture
def client(server_client):
    return server_client


@pytest.fixture
def store(client):
    return ServerStore(client, "http://qdrant.test")


@pytest.mark.parametrize(
    ("payload", "whose", "text", "metadata"),
    [
        ({"page_content": "x", "metadata": None}, "langchain", "page_content", "metadata"),
        ({"document": "x", "metadata": None}, "mcp", "document", "metadata"),
        ({"id": "1", "content": "x", "meta": {}, "blob": None}, "haystack", "content", "meta"),
        ({"_node_content": '{"text": "x"}', "year": 1}, "llamaindex", "_node_content.text", ""),
        ({"_node_content": '{"text_resource": {"text": "x"}}'}, "llamaindex", "_node_content.text_resource.text", ""),
        ({"text": "x", "metadata": {"a": 1}}, "given", "text", "metadata"),
        ({"body": "x", "a": 1}, "given", "body", ""),
    ],
)
def test_whose_layout_it_is(payload, whose, text, metadata):
    found = layout_of([payload, payload])
    assert (found.name, found.text, found.metadata) == (whose, text, metadata)
    if whose in FRAMEWORKS:
        assert layout_of([payload], whose) == found
    with pytest.raises(InvalidArgument, match="take one of: langchain, llamaindex, haystack, mcp"):
        layout_of([payload], "word")


def test_a_layout_is_of_a_server_and_of_a_new_collection(store, settings, tmp_path):
    documents = [{"_id": "a", "text": "Some text", "year": 1}]
    models_ = {"sparse": "fake/sparse", "dense": "fake/dense", "settings": settings}
    with pytest.raises(InvalidArgument, match="The layout 'mcp' is for collections on a Qdrant server"):
        Indexer.open("c", layout="mcp", **models_).index(documents)
    with pytest.raises(InvalidArgument, match="layout is 'word'; take one of"):
        Indexer.open("c", layout="word", store=store, **models_).index(documents)
    with pytest.raises(InvalidArgument, match="The layout 'haystack' needs a dense leg"):
        Indexer.open("c", layout="haystack", store=store, **{**models_, "dense": "none"}).index(documents)
    Indexer.open("c", store=store, **models_).index(documents)
    with pytest.raises(ManifestMismatch, match="built with the layout of none but ours, not with langchain"):
        Indexer.open("c", layout="langchain", store=store, **models_).index(documents)
    Indexer.open("c", layout="langchain", store=store, replace=True, **models_).index(documents)
    Indexer.open("c", layout="langchain", store=store, settings=settings).index(documents)
    assert store.manifest("c").vectors() == {"sparse": "langchain-sparse", "dense": ""}


def test_a_collection_for_others_is_whole_for_us(client, store, settings, tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    documents = [{"_id": f"d{n}", "text": f"text {n}", "title": "A", "year": n, "doc_id": "theirs"} for n in range(5)]
    models_ = {"sparse": "fake/sparse", "dense": "fake/dense"}
    for layout in FRAMEWORKS:
        Indexer.open(layout, layout=layout, store=store, settings=settings, **models_).index(documents)
        with Searcher.open(layout, store=store, settings=settings) as searcher:
            [hit] = searcher.search("text 3", where="year = 3", explain=True)
            assert (hit.doc_id, hit.title, hit.metadata) == ("d3", "A", {"year": 3, "doc_id": "theirs"})
        save_encodings(layout, tmp_path / layout, store=store, settings=settings)
        load_encodings(f"{layout}-again", tmp_path / layout, store=store, settings=settings)
        payload = lambda name: client.scroll(name, limit=100)[0]  # noqa: E731
        assert payload(layout) == payload(f"{layout}-again")
