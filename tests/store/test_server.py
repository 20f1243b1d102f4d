"""The server store: what goes wrong on a network as errors of ours, and versions behind an alias."""

import json
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from hybrid_search.errors import (
    CollectionDamaged,
    CollectionNotFound,
    ConfigError,
    ManifestMismatch,
    StoreError,
    StoreUnavailable,
)
from hybrid_search.store import open_store
from hybrid_search.store.certificates import USUAL
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.server import clients
from hybrid_search.store.server.client_errors import server_errors
from hybrid_search.store.server.connection import RetryingClient, RetryPolicy, is_open
from hybrid_search.store.server.reader import MANIFEST_KEY
from hybrid_search.store.server.store import ServerStore
from hybrid_search.store.server.writer import create
from tests.store.store_points import DIM, build, found, manifest_of, point, points

ONES = np.ones(DIM, np.float32)


class Stub:
    """An HTTP server that answers every path as told, and remembers what it was asked."""

    def __init__(self):
        self.answers = {"/collections": (200, {}, {"collections": []}), "/aliases": (200, {}, {"aliases": []})}
        self.asked = []
        self.release = threading.Event()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                path = self.path.partition("?")[0]
                length = int(self.headers.get("Content-Length", 0))
                stub.asked.append((self.command, path, dict(self.headers), self.rfile.read(length)))
                status, headers, result = stub.answers.get(path, (404, {}, None))
                if status == "slow":
                    stub.release.wait(10)
                    status = 200
                body = {"result": result, "status": "ok" if status == 200 else {"error": f"no {status}"}, "time": 0.0}
                data = json.dumps(body).encode()
                self.send_response(status)
                for key, value in {"Content-Type": "application/json", "Content-Length": len(data), **headers}.items():
                    self.send_header(key, str(value))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def stub():
    stub = Stub()
    yield stub
    stub.close()


@pytest.fixture
def client(server_client):
    return server_client


@pytest.fixture
def store(client):
    return ServerStore(client, "http://qdrant.test")


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ---------------------------------------------------------------- reaching it


def test_a_location_says_which_store_it_is(stub, tmp_path):
    store = open_store(stub.url)
    assert isinstance(store, ServerStore)
    assert store.location == stub.url
    assert [(method, path) for method, path, *_ in stub.asked] == [("GET", "/collections")]
    store.close()
    assert isinstance(open_store(tmp_path), EdgeStore)
    assert isinstance(open_store(str(tmp_path / "not there")), EdgeStore)


@pytest.mark.parametrize("url", ["http://", "http://:6333", "http://host:notaport", "http://host:99999"])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ConfigError, match="is not the URL of a server"):
        open_store(url)


@pytest.mark.parametrize("host", ["192.0.2.1", "qdrant.example.org", "127.0.0.1.example.org"])
def test_an_api_key_does_not_travel_unencrypted(monkeypatch, host):
    def connect(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    with pytest.raises(ConfigError, match=r"unencrypted\. Use an https:// URL") as caught:
        open_store(f"http://{host}:6333", api_key="secret-key")
    assert "secret-key" not in str(caught.value)


def test_an_api_key_may_go_to_this_machine(stub):
    store = open_store(stub.url, api_key="secret-key")
    assert stub.asked[0][2]["api-key"] == "secret-key"
    store.close()


def test_a_refused_connection_is_a_server_that_is_not_there():
    url = f"http://127.0.0.1:{unused_port()}"
    with pytest.raises(StoreUnavailable, match=r"No answer from .*docker compose up") as caught:
        open_store(url)
    assert url in str(caught.value)


def test_a_slow_server_is_given_up_in_time(stub):
    stub.answers["/collections"] = ("slow", {}, {"collections": []})
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="timed out"):
        open_store(stub.url, timeout_s=1)
    assert 0.9 < time.monotonic() - started < 10


def test_an_answer_of_another_kind_of_server_is_no_answer(stub):
    stub.answers["/collections"] = (200, {}, ["not", "qdrant"])
    with pytest.raises(StoreUnavailable, match="No answer"):
        open_store(stub.url)


# ---------------------------------------------------------------- its refusals

REFUSALS = [
    (400, {}, StoreError, r"refused the request \(400\): .*no 400"),
    (401, {}, ConfigError, r"refused the API key \(401\).*HYBRID_SEARCH_API_KEY"),
    (403, {}, ConfigError, r"refused the API key \(403\)"),
    (404, {}, StoreError, r"\(404\): .*may have been replaced or deleted meanwhile"),
    (409, {}, StoreError, r"refused the request \(409\)"),
    (422, {}, StoreError, r"refused the request \(422\)"),
    (429, {}, StoreUnavailable, r"answered 429: .*Try again later"),
    (429, {"Retry-After": "7"}, StoreUnavailable, "cannot answer now: .*Try again later"),
    (429, {"Retry-After": "Sat, 21 Nov 2026 10:00:00 GMT"}, StoreUnavailable, "Try again later"),
    (500, {}, StoreUnavailable, r"answered 500: .*no 500"),
    (503, {}, StoreUnavailable, r"answered 503"),
]


@pytest.mark.parametrize(("status", "headers", "kind", "words"), REFUSALS)
def test_a_refusal_is_an_error_of_ours(stub, status, headers, kind, words):
    store = open_store(stub.url, retry_s=0)
    stub.answers["/aliases"] = (status, headers, None)
    for use in (store.names, lambda: store.reader("c"), lambda: store.writer("c", manifest_of())):
        with pytest.raises(kind, match=words) as caught:
            use()
        assert stub.url in str(caught.value)
        assert isinstance(caught.value, StoreUnavailable) == (kind is StoreUnavailable)
        assert caught.value.__cause__ is not None
    store.close()
    stub.answers["/collections"] = (status, headers, None)
    with pytest.raises(kind, match=words):
        open_store(stub.url)


def test_a_search_says_what_the_server_said(stub):
    described = {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": 1,
        "points_count": 0,
        "config": {
            "params": {"vectors": {}},
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 0,
                "flush_interval_sec": 5,
            },
            "metadata": {MANIFEST_KEY: manifest_of().to_dict()},
        },
        "payload_schema": {},
    }
    stub.answers["/aliases"] = (200, {}, {"aliases": [{"alias_name": "c", "collection_name": "c__v3"}]})
    stub.answers["/collections/c__v3"] = (200, {}, described)
    store = open_store(stub.url)
    reader = store.reader("c")
    assert reader.manifest == manifest_of()
    stub.answers["/collections/c__v3/points/query/batch"] = (200, {}, [{"points": []}, {"points": []}])
    assert reader.retrieve([("dense", ONES), ("dense", ONES)], 3) == [[], []]
    method, _, _, body = stub.asked[-1]
    asked = json.loads(body)["searches"]
    assert method == "POST"
    assert [(one["using"], one["limit"], one["with_payload"]) for one in asked] == [("dense", 3, ["chunk_id"])] * 2
    assert asked[0]["query"] == {"nearest": [1.0] * DIM}

    stub.answers["/collections/c__v3/points/query/batch"] = (404, {}, None)
    with pytest.raises(StoreError, match="open it again"):
        reader.retrieve([("dense", ONES)], 3)
    store.close()


# ---------------------------------------------------------------- gRPC


def full_listener():
    """A port that takes connections and never answers: its queue is full. Linux drops what comes then."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
        waiting.append(one)
    time.sleep(0.05)
    return listener, waiting


def test_looking_for_grpc_behind_a_port_that_swallows_connections_ends_soon(stub, monkeypatch):
    """0.3 seconds are its limit; a connection without one would wait for two minutes. A busy machine gets some more."""
    listener, waiting = full_listener()
    try:
        monkeypatch.setattr(clients, "REST_PORT", stub.port)
        monkeypatch.setattr(clients, "GRPC_PORT", listener.getsockname()[1])
        started = time.monotonic()
        if sys.platform == "linux":
            assert not is_open("127.0.0.1", clients.GRPC_PORT)
            assert 0.25 < time.monotonic() - started < 5
            open_store(stub.url).close()
            assert time.monotonic() - started < 10
    finally:
        for one in [*waiting, listener]:
            one.close()
    assert not is_open("127.0.0.1", unused_port())


def test_grpc_is_not_looked_for_beside_an_unusual_port(stub, monkeypatch):
    """Two servers on one machine: the usual gRPC port belongs to the other."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setattr(clients, "GRPC_PORT", other.getsockname()[1])
        store = open_store(stub.url)
        assert store.names() == []
        assert [path for _, path, *_ in stub.asked] == ["/collections", "/aliases", "/collections"]
        store.close()


GRPC_REFUSALS = [
    ("UNAVAILABLE", StoreUnavailable),
    ("DEADLINE_EXCEEDED", StoreUnavailable),
    ("RESOURCE_EXHAUSTED", StoreUnavailable),
    ("INTERNAL", StoreUnavailable),
    ("UNAUTHENTICATED", ConfigError),
    ("PERMISSION_DENIED", ConfigError),
    ("INVALID_ARGUMENT", StoreError),
    ("NOT_FOUND", StoreError),
    ("UNIMPLEMENTED", StoreError),
]


def test_refusals_over_grpc_are_errors_of_ours(stub, monkeypatch):
    import grpc

    code = grpc.StatusCode.OK

    class Refusing(grpc.GenericRpcHandler):
        def service(self, _):
            return grpc.unary_unary_rpc_method_handler(lambda _, context: context.abort(code, "because"))

    grpc_server = grpc.server(ThreadPoolExecutor(2), handlers=[Refusing()])
    monkeypatch.setattr(clients, "REST_PORT", stub.port)
    monkeypatch.setattr(clients, "GRPC_PORT", grpc_server.add_insecure_port("127.0.0.1:0"))
    grpc_server.start()
    try:
        (peer,) = clients.peers_of(stub.url, None, USUAL)
        client = peer.client(5, grpc=True)
        for name, kind in GRPC_REFUSALS:
            code = grpc.StatusCode[name]
            with pytest.raises(kind, match=r"because|refused the API key") as caught, server_errors(stub.url):
                client.get_collections()
            assert isinstance(caught.value, StoreUnavailable) == (kind is StoreUnavailable), name
            assert name in str(caught.value)
        assert stub.asked == []
        client.close()
    finally:
        grpc_server.stop(0).wait()


def test_where_grpc_is_not_answered_rest_is_used_and_it_is_said_once(stub, monkeypatch, caplog):
    """The usual gRPC port may be a TLS port, a proxy, or another program's."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        threading.Thread(target=_hang_up_on_all, args=(other,), daemon=True).start()
        monkeypatch.setattr(clients, "REST_PORT", stub.port)
        monkeypatch.setattr(clients, "GRPC_PORT", other.getsockname()[1])
        store = open_store(stub.url)
        assert store.names() == []
        store.close()
    assert [record.message.split(";")[0] for record in caplog.records] == [f"REST is used for {stub.url}"]


def test_a_key_that_grpc_refuses_is_not_tried_over_rest(stub, monkeypatch):
    import grpc

    class Refusing(grpc.GenericRpcHandler):
        def service(self, _):
            return grpc.unary_unary_rpc_method_handler(
                lambda _, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
            )

    grpc_server = grpc.server(ThreadPoolExecutor(2), handlers=[Refusing()])
    monkeypatch.setattr(clients, "REST_PORT", stub.port)
    monkeypatch.setattr(clients, "GRPC_PORT", grpc_server.add_insecure_port("127.0.0.1:0"))
    grpc_server.start()
    try:
        with pytest.raises(ConfigError, match="refused the API key"):
            open_store(stub.url)
        assert stub.asked == []
    finally:
        grpc_server.stop(0).wait()


def _hang_up_on_all(listening):
    with suppress(OSError):
        while True:
            listening.accept()[0].close()


# ---------------------------------------------------------------- versions and aliases


def names_of(client):
    return sorted(collection.name for collection in client.get_collections().collections)


def aliases_of(client):
    return {alias.alias_name: alias.collection_name for alias in client.get_aliases().aliases}


def test_a_replacement_swaps_the_alias_and_drops_the_old_version(store, client):
    build(store, "c", points(3))
    assert (names_of(client), aliases_of(client)) == (["c__v1"], {"c": "c__v1"})
    writer = store.writer("c", manifest_of(model="other"), replace=True)
    writer.upsert(points(2, "new"))
    assert (names_of(client), aliases_of(client)) == (["c__v1", "c__v2"], {"c": "c__v1"})
    writer.publish()
    assert (names_of(client), aliases_of(client)) == (["c__v2"], {"c": "c__v2"})
    writer.close()
    build(store, "c", points(1, "more"), manifest_of(model="other"))
    assert names_of(client) == ["c__v2"]
    assert len(found(store.reader("c"))) == 3


def test_the_swap_is_one_call(store, client, monkeypatch):
    build(store, "c", points(3))
    writer = store.writer("c", manifest_of(), replace=True)
    calls = []
    update = client.update_collection_aliases
    monkeypatch.setattr(client, "update_collection_aliases", lambda ops: calls.append(len(ops)) or update(ops))
    writer.publish()
    assert calls == [2]


def test_deleting_takes_every_version_and_nobody_elses(store, client):
    build(store, "c", points(1))
    build(store, "c-2", points(1))
    store.writer("c", manifest_of(), replace=True).close()
    store.delete("c")
    assert (names_of(client), aliases_of(client)) == (["c-2__v1"], {"c-2": "c-2__v1"})


def test_an_index_of_a_field_is_asked_for_once(store, client, monkeypatch):
    asked = []
    create = client.create_payload_index
    monkeypatch.setattr(
        client,
        "create_payload_index",
        lambda c, path, kind, **o: asked.append((path, kind)) or create(c, path, kind, **o),
    )
    writer = store.writer("c", manifest_of())
    writer.upsert([point("a", metadata={"year": 1984})])
    writer.upsert([point("b", metadata={"year": 1990, "a.b": True})])
    kinds = [(path, kind.value) for path, kind in asked]
    assert kinds == [
        ("number", "integer"),
        ("doc_id", "keyword"),
        ("metadata.year", "integer"),
        ('metadata."a.b"', "bool"),
    ]


def test_writes_are_acknowledged_batch_by_batch(store, client, monkeypatch):
    sizes = []
    upsert = client.upsert
    monkeypatch.setattr(
        client, "upsert", lambda c, records, wait: sizes.append((len(records), wait)) or upsert(c, records, wait=wait)
    )
    writer = store.writer("c", manifest_of())
    writer.upsert(points(300))
    assert sizes == [(128, True), (128, True), (44, True)]


# ---------------------------------------------------------------- what others keep there


@pytest.fixture
def foreign(client):
    from qdrant_client import models

    vectors = models.VectorParams(size=4, distance=models.Distance.COSINE)
    client.create_collection("theirs", vectors_config=vectors)
    client.create_collection("archive__v7", vectors_config=vectors)
    alias = models.CreateAlias(collection_name="theirs", alias_name="alias-of-theirs")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    return "theirs"


@pytest.mark.parametrize("name", ["theirs", "alias-of-theirs"])
def test_a_collection_of_somebody_else_is_neither_read_nor_touched(store, client, foreign, name):
    before = (names_of(client), aliases_of(client))
    uses = [
        store.reader,
        store.info,
        store.manifest,
        store.delete,
        lambda name: store.writer(name, manifest_of()),
        lambda name: store.writer(name, manifest_of(), replace=True),
    ]
    for use in uses:
        with pytest.raises(StoreError, match="was not made by hybrid-search: it has no manifest") as caught:
            use(name)
        assert not isinstance(caught.value, CollectionNotFound)
        assert repr(name) in str(caught.value)
    assert (names_of(client), aliases_of(client)) == before


def test_only_collections_of_ours_are_listed(store, foreign):
    build(store, "c", points(1))
    assert store.names() == ["c"]


def test_a_collection_of_ours_under_a_plain_name_is_used_but_not_replaced(store, client):
    """A restored snapshot, say: there is no alias that could be moved."""
    create(RetryingClient(client, "the Qdrant client", RetryPolicy(0)), "restored", manifest_of())
    build(store, "restored", points(2))
    assert len(found(store.reader("restored"))) == 2
    with pytest.raises(StoreError, match="stands for 'restored', which a new version cannot replace"):
        store.writer("restored", manifest_of(), replace=True)
    assert names_of(client) == ["restored"]
    store.delete("restored")
    assert names_of(client) == []


def test_a_manifest_that_cannot_be_read_is_damage(store, client):
    client.create_collection("c__v1", vectors_config={}, metadata={MANIFEST_KEY: {"schema": 99}})
    with pytest.raises(CollectionDamaged, match="schema 99 is newer"):
        store.manifest("c")


def test_an_unfinished_version_with_another_manifest_is_not_continued(store):
    store.writer("c", manifest_of()).close()
    with pytest.raises(ManifestMismatch):
        store.writer("c", manifest_of(model="other"))
