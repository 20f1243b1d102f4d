"""Searches that have to be answered in time, clusters of several peers, and connections over TLS."""

import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from hybrid_search._util.locations import is_server, peer_urls, shown_location
from hybrid_search.errors import ConfigError, StoreUnavailable
from hybrid_search.store.certificates import USUAL, Certificates
from hybrid_search.store.server.client_errors import server_errors
from hybrid_search.store.server.clients import peers_of
from hybrid_search.store.server.connection import REQUEST_ID, numbered
from hybrid_search.store.server.hedging import Late, first_answer
from hybrid_search.store.server.store import ServerStore
from tests.store.store_points import DIM, build, found, points

ONES = np.ones(DIM, np.float32)


# ---------------------------------------------------------------- the first answer


def slow(seconds, answer):
    def ask():
        time.sleep(seconds)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


def never():
    threading.Event().wait(30)


@pytest.mark.parametrize(
    ("asks", "answer"),
    [
        ([slow(0, 1), slow(0, 2)], 1),
        ([never, slow(0, 2)], 2),
        ([slow(0.5, 1), never], 1),
        ([never, slow(0, StoreUnavailable("later")), slow(0, 3)], 3),
        ([slow(0.5, 1), slow(0, StoreUnavailable("later"))], 1),
        ([slow(0.4, StoreUnavailable("later")), slow(0.3, 2)], 2),
    ],
)
def test_the_first_answer_counts(asks, answer):
    started = time.monotonic()
    assert first_answer(asks, 0.9) == answer
    assert time.monotonic() - started < 0.9


def test_an_error_that_time_does_not_mend_counts_as_an_answer():
    with pytest.raises(ConfigError):
        first_answer([never, slow(0, ConfigError("no key"))], 0.6)
    with pytest.raises(StoreUnavailable, match="at once"):
        first_answer([slow(0, StoreUnavailable("at once")), never], 0.6)


def test_nobody_waits_longer_than_there_is_time():
    started = time.monotonic()
    with pytest.raises(Late):
        first_answer([never, never], 0.3)
    assert time.monotonic() - started < 0.9


# ---------------------------------------------------------------- a server that is silent, or away


class Silent:
    """Takes connections and never answers, after so many requests that it passes on to a true one."""

    def __init__(self, behind, answered):
        self.left, silent = answered, self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                import urllib.request

                silent.left -= 1
                if silent.left < 0:
                    silent.release.wait(30)
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = urllib.request.Request(behind + self.path, body or None, method=self.command)
                asked.add_header("Content-Type", "application/json")
                with urllib.request.urlopen(asked) as answer:
                    data = answer.read()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

            def log_message(self, *_):
                pass

        self.release = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def filled(http):
    store = ServerStore.connect(http.url)
    build(store, "c", points(3))
    store.close()


def test_a_search_of_a_silent_server_fails_within_its_time(http):
    filled(http)
    with Silent(http.url, answered=1_000) as silent:
        store = ServerStore.connect(silent.url, search_timeout_s=0.6)
        reader = store.reader("c")
        assert len(found(reader)) == 3
        silent.left = 0
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"within 0.6 seconds, on two connections .*SEARCH_TIMEOUT_S"):
            reader.retrieve([("dense", ONES)], 3)
        assert time.monotonic() - started < 1.6
        store.close()


def test_a_search_is_answered_by_another_peer_where_one_is_silent(http):
    filled(http)
    with Silent(http.url, answered=1_000) as silent:
        store = ServerStore.connect(f"{silent.url},{http.url}", search_timeout_s=3)
        assert store.location == f"{silent.url},{http.url}"
        reader = store.reader("c")
        silent.left = 0
        started = time.monotonic()
        assert len(reader.retrieve([("dense", ONES)], 3)[0]) == 3
        assert time.monotonic() - started < 3
        store.close()


def test_a_cluster_is_opened_while_one_peer_answers_and_searches_go_to_it(http):
    filled(http)
    away = "http://127.0.0.1:9"
    for location in (f"{away},{http.url}", f"{http.url}, {away}"):
        store = ServerStore.connect(location, retry_s=1)
        assert store.names() == ["c"]
        assert len(found(store.reader("c"))) == 3
        store.close()
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9"):
        ServerStore.connect(f"{away},http://127.0.0.1:10", retry_s=1)


def test_a_job_waits_for_a_server_that_starts_later(http, caplog):
    http.away(1.0)
    with pytest.raises(StoreUnavailable, match="No answer"):
        ServerStore.connect(http.url)
    store = ServerStore.connect(http.url, retry_s=30, patient=True)
    assert store.names() == []
    store.close()
    assert "does not answer; trying again for 30 s" in caplog.text


# ---------------------------------------------------------------- addresses and ids


def test_several_peers_are_one_server_and_no_secret_of_theirs_is_shown():
    location = "http://u:p@a:6333, https://b:6333/x?api-key=k"
    assert is_server(location)
    assert shown_location(location) == "http://a:6333,https://b:6333/x"
    assert peer_urls(location) == ["http://u:p@a:6333", "https://b:6333/x?api-key=k"]
    assert peer_urls("/data/a,b") == ["/data/a,b"]


@pytest.mark.parametrize("host", ["127.0.0.21", "[::1]", "localhost", "LOCALHOST", "127.255.255.254"])
def test_every_address_of_this_machine_takes_a_key_over_plain_http(host):
    assert peers_of(f"http://{host}:6333", "key", USUAL)[0].api_key == "key"


@pytest.mark.parametrize("host", ["128.0.0.1", "localhost.example.org", "[::2]", "0.0.0.0"])
def test_no_other_address_does_and_each_peer_is_looked_at(host):
    with pytest.raises(ConfigError, match="unencrypted"):
        peers_of(f"http://127.0.0.1:6333,http://{host}:6333", "key", USUAL)


def test_every_request_of_a_search_carries_one_id_and_errors_name_it():
    with numbered() as outer, numbered() as inner:
        assert outer == inner
        from qdrant_client.context_headers import get_context_headers

        assert get_context_headers()[REQUEST_ID] == outer
    with numbered() as other:
        assert other != outer


def test_the_id_reaches_the_server_and_stands_in_the_error(http):
    filled(http)
    store = ServerStore.connect(http.url, retry_s=0)
    reader = store.reader("c")
    http.trouble = lambda method, path: "503" if path.endswith("/query/batch") else None
    with pytest.raises(StoreUnavailable, match=r"\(request [0-9a-f]{16}\)"):
        reader.retrieve([("dense", ONES)], 3)
    store.close()


DEAD_PEER = """Service internal error: 1 of 1 read operations failed:
  Service internal error: Tonic status error: code: 'The service is currently unavailable', message: "tcp connect
error", source: tonic::transport::Error(Transport, ConnectError(ConnectError("tcp connect error", 127.0.0.13:6335, Os
{ code: 111, kind: ConnectionRefused, message: "Connection refused" })))"""


def test_a_dead_shard_is_one_line_that_says_which_peer_is_away():
    import httpx
    from qdrant_client.http.exceptions import UnexpectedResponse

    body = DEAD_PEER.encode()
    with pytest.raises(StoreUnavailable) as caught, server_errors("http://q:6333", "abc"):
        raise UnexpectedResponse(500, "", body, httpx.Headers())
    assert str(caught.value) == (
        "http://q:6333 answered 500: the peer at 127.0.0.13:6335 does not answer, and no other one has its part of "
        "the collection (request abc). Try again later."
    )


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Path:
    """A folder with an authority of one's own (ca.pem), and a certificate that it signed for loopback (cert, key)."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ours", "-days", "2")
    openssl("req", *key, "-keyout", "key.pem", "-out", "request", "-subj", "/CN=localhost")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "san", "-days", "2"]
    openssl("x509", "-req", "-in", "request", "-out", "cert.pem", *signed)
    return folder


class Collections(BaseHTTPRequestHandler):
    def do_GET(self):
        data = b'{"result": {"collections": [], "aliases": []}, "status": "ok", "time": 0}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture(params=[False, True], ids=["server alone", "both sides"])
def secure(request, authority):
    """The URL of a server that speaks TLS, and whether it asks for a client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "cert.pem", authority / "key.pem")
    if request.param:
        context.load_verify_locations(authority / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collections)
    server.handle_error = lambda *_: None  # handshakes that fail are what is tested
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"127.0.0.1:{server.server_port}", request.param
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_with_an_authority_of_ones_own(secure, authority, monkeypatch):
    address, asks = secure
    own = (authority / "cert.pem", authority / "key.pem") if asks else ()
    store = ServerStore.connect(f"https://{address}", certificates=Certificates(authority / "ca.pem", *own))
    assert store.names() == []
    store.close()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    ServerStore.connect(f"https://{address}", certificates=Certificates(None, *own)).close()


def test_what_is_wrong_with_a_connection_is_said_with_what_mends_it(secure, authority, http):
    address, asks = secure
    trusting = Certificates(authority / "ca.pem")
    with pytest.raises(ConfigError, match=r"not trusted here\. .*HYBRID_SEARCH_TLS_CA"):
        ServerStore.connect(f"https://{address}")
    if asks:
        with pytest.raises((ConfigError, StoreUnavailable), match=r"HYBRID_SEARCH_TLS_CERT|No answer"):
            ServerStore.connect(f"https://{address}", certificates=trusting)
    with pytest.raises(ConfigError, match=r"It speaks no TLS: write http://"):
        ServerStore.connect(http.url.replace("http:", "https:"), certificates=trusting)
    with pytest.raises(ConfigError, match=r"tls_ca = .*missing\.pem"):
        ServerStore.connect(f"https://{address}", certificates=Certificates(authority / "missing.pem"))
    with pytest.raises(ConfigError, match=r"tls_ca = .*san"):
        ServerStore.connect(f"https://{address}", certificates=Certificates(authority / "san"))


def test_both_protocols_get_the_same_certificates(authority, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    both = Certificates(authority / "ca.pem", authority / "cert.pem", authority / "key.pem")
    assert both.grpc_options() == {
        "root_certificates": (authority / "ca.pem").read_bytes(),
        "certificate_chain": (authority / "cert.pem").read_bytes(),
        "private_key": (authority / "key.pem").read_bytes(),
    }
    assert isinstance(both.rest_options()["verify"], ssl.SSLContext)
    assert (USUAL.rest_options(), USUAL.grpc_options()) == ({}, {})
