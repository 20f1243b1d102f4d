"""The stores that every contract is held over. A server is asked where QDRANT_URL names one."""

import uuid
from contextlib import ExitStack, closing

import pytest

from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.server.store import ServerStore
from tests import servers
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


@pytest.fixture
def http():
    """A small server of this test's own, to be told what to do."""
    with QdrantOverHttp() as server:
        yield server


@pytest.fixture
def true_server(prefix):
    """Open a store on the server of QDRANT_URL over a transport. What has the prefix there is dropped afterwards."""
    if not servers.URL:
        pytest.skip("needs a Qdrant server: set QDRANT_URL")
    with ExitStack() as stack:

        def over(transport):
            url = stack.enter_context(servers.over(servers.URL, transport))
            store = stack.enter_context(closing(servers.store_of(url)))
            stack.callback(drop, store._client, prefix)
            return store

        yield over


def drop(client, prefix):
    """Drop the collections whose names begin so."""
    for name in servers.names(client):
        if name.startswith(prefix):
            client.delete_collection(name)


TRUE_SERVERS = [pytest.param(f"server-{each}", marks=pytest.mark.server) for each in servers.TRANSPORTS]


@pytest.fixture(params=["edge", "local", "http", *TRUE_SERVERS])
def store(request, tmp_path, prefix):
    if request.param == "edge":
        store = EdgeStore(tmp_path / "store")
    elif request.param == "local":
        store = in_memory()
    elif request.param == "http":
        store = request.getfixturevalue("over_http")
    else:
        store = request.getfixturevalue("true_server")(request.param.removeprefix("server-"))
    yield store
    if request.param == "http":
        drop(store._client, prefix)
    if request.param in ("edge", "local"):
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
