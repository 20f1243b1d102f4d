"""The stores that every contract is held over. A server is asked where QDRANT_URL names one."""

import os
import uuid

import pytest

from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.server.store import ServerStore
from tests.qdrant_over_http import QdrantOverHttp


def in_memory():
    """The server adapter over the client's own in-memory form."""
    from qdrant_client import QdrantClient

    return ServerStore(QdrantClient(":memory:"))


@pytest.fixture
def prefix():
    """In front of every collection's name: a real server may be shared."""
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def over_http():
    """A store on one small server for the whole run; every test has names of its own there."""
    with QdrantOverHttp() as server:
        store = ServerStore.connect(server.url)
        yield store
        store.close()


@pytest.fixture(params=["edge", "local", "http", pytest.param("server", marks=pytest.mark.server)])
def store(request, tmp_path, prefix):
    if request.param == "edge":
        store = EdgeStore(tmp_path / "store")
    elif request.param == "local":
        store = in_memory()
    elif request.param == "http":
        store = request.getfixturevalue("over_http")
    else:
        url = os.environ.get("QDRANT_URL")
        if not url:
            pytest.skip("needs a Qdrant server: set QDRANT_URL")
        store = ServerStore.connect(url, api_key=os.environ.get("QDRANT_API_KEY"))
    yield store
    if request.param in ("http", "server"):
        for collection in store._client.get_collections().collections:
            if collection.name.startswith(prefix):
                store._client.delete_collection(collection.name)
    if request.param != "http":
        store.close()


@pytest.fixture
def edge_store(tmp_path):
    """An empty embedded store. A file about that engine alone takes it as its `store`."""
    return EdgeStore(tmp_path / "store")


@pytest.fixture
def root(store):
    """The folder of the embedded collection `c`."""
    return store.folder / "c"


@pytest.fixture
def name(prefix):
    return f"{prefix}-movies"
