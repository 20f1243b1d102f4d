"""The server under test: a double of the test's own, or the true one that QDRANT_URL names, over REST and over gRPC.

A true server is left as it was found. Tests make and drop collections by fixed names, so it must not hold others than
those with a prefix of their own; such tests are run by one process.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from hybrid_search.store.server.clients import GRPC_PORT, REST_PORT
from hybrid_search.store.server.connection import is_open
from hybrid_search.store.server.store import ServerStore
from tests.qdrant_over_http import QdrantOverHttp

URL = os.environ.get("QDRANT_URL")
API_KEY = os.environ.get("QDRANT_API_KEY")

TRANSPORTS = ["rest", "grpc"] if URL else ["rest"]
"""The double speaks REST alone."""

PREFIXED = re.compile(r"t[0-9a-f]{8}\W")
"""A name that a test has made up, and clears away, for itself."""


@contextmanager
def double() -> Iterator[str]:
    """The URL of a double in this process."""
    with QdrantOverHttp() as server:
        yield server.url


@contextmanager
def under_test(transport: str, otherwise: Callable[[], AbstractContextManager[str]] = double) -> Iterator[str]:
    """Give the URL of the server under test; `otherwise` makes one where QDRANT_URL names none."""
    if not URL:
        with otherwise() as url:
            yield url
        return
    with over(URL, transport) as url, left_as_found(url):
        yield url


@contextmanager
def left_as_found(url: str) -> Iterator[None]:
    """Refuse a server that holds collections of others; drop afterwards what has been made."""
    with closing(client_of(url)) as client:
        others = [name for name in names(client) if not PREFIXED.match(name)]
        if others:
            pytest.fail(f"The server under test holds {', '.join(others)}; give the tests one of their own.")
        yield
        for name in names(client):
            if not PREFIXED.match(name):
                client.delete_collection(name)


def names(client: Any) -> list[str]:
    """Return the names of all collections of a server."""
    return [collection.name for collection in client.get_collections().collections]


def client_of(url: str) -> Any:
    """Return a bare client, over gRPC where the store would take it."""
    from qdrant_client import QdrantClient

    return QdrantClient(url, api_key=API_KEY, prefer_grpc=speaks_grpc(url), check_compatibility=False)


def store_of(url: str) -> ServerStore:
    """Return a store on a server, with the key of the one under test."""
    return ServerStore.connect(url, api_key=API_KEY)


def speaks_grpc(url: str) -> bool:
    """Tell whether a store takes gRPC to this URL."""
    place = urlsplit(url)
    return place.port in (None, REST_PORT) and is_open(place.hostname or "", GRPC_PORT)


@contextmanager
def over(url: str, transport: str) -> Iterator[str]:
    """Give a URL of the same server at which every process takes this transport.

    A store takes gRPC where the usual ports are open, so REST is had behind another port.
    """
    if transport == "grpc":
        if not speaks_grpc(url):
            pytest.skip(f"{url} does not answer over gRPC: that takes the ports {REST_PORT} and {GRPC_PORT}")
        yield url
    elif not speaks_grpc(url):
        yield url
    elif url.startswith("https"):
        pytest.skip(f"{url} answers over gRPC, and a certificate is of one address: REST cannot be had beside it")
    else:
        place = urlsplit(url)
        with Relay(place.hostname or "", place.port or REST_PORT) as relay:
            yield f"http://127.0.0.1:{relay.port}"


class Relay:
    """A port that hands on to another one."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]

    def __enter__(self) -> Relay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # wakes who waits for a connection; some systems do not know it here
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                try:
                    far = socket.create_connection(self._to, timeout=30)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                threading.Thread(target=join, args=(near, far), daemon=True).start()


def join(near: socket.socket, far: socket.socket) -> None:
    """Hand on between two connections, both ways, until both have ended."""
    with near, far:
        back = threading.Thread(target=hand_on, args=(far, near), daemon=True)
        back.start()
        hand_on(near, far)
        back.join()


def hand_on(source: socket.socket, target: socket.socket) -> None:
    """Hand on what one side sends until it ends."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
