"""No framework talks to anybody while it is tested; set before any of them is imported."""

import os

import pytest

from hybrid_search.store.server.store import ServerStore

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"


@pytest.fixture
def making(fakes):
    """How to make a collection that runs the fake models."""
    return {"sparse": "fake/sparse", "dense": "fake/dense"}


@pytest.fixture(params=["server", pytest.param("folder", marks=pytest.mark.slow)])
def place(request, tmp_path):
    """Both kinds of store: a server's, over the client's own in-memory form, which is quick to write to; a folder."""
    if request.param == "folder":
        yield str(tmp_path / "place")
        return
    store = memory()
    yield store
    store.close()


@pytest.fixture
def memory_store():
    """A store that is quick to write to."""
    store = memory()
    yield store
    store.close()


def memory():
    from qdrant_client import QdrantClient

    return ServerStore(QdrantClient(":memory:"))
