"""The stores that every contract is held over. A server is asked where QDRANT_URL names one."""

import os
import uuid

import pytest

from hybrid_search.store.edge import EdgeStore
from hybrid_search.store.server import ServerStore


def in_memory():
    """The server adapter over the client's own in-memory form."""
    from qdrant_client import QdrantClient

    return ServerStore(QdrantClient(":memory:"))


@pytest.fixture
def prefix():
    """In front of every collection's name: a real server may be shared."""
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture(params=["edge", "local", pytest.param("server", marks=pytest.mark.server)])
def store(request, tmp_path, prefix):
    if request.param == "edge":
        store = EdgeStore(tmp_path / "store")
    elif request.param == "local":
        store = in_memory()
    else:
        url = os.environ.get("QDRANT_URL")
        if not url:
            pytest.skip("needs a Qdrant server: set QDRANT_URL")
        store = ServerStore.connect(url, api_key=os.environ.get("QDRANT_API_KEY"))
    yield store
    if request.param == "server":
        for collection in store._client.get_collections().collections:
            if collection.name.startswith(prefix):
                store._client.delete_collection(collection.name)
    store.close()


@pytest.fixture
def name(prefix):
    return f"{prefix}-movies"
