"""A small store over fake models, and the HTTP application over it, in this process or behind a real socket."""

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from hybrid_search.indexer import Indexer
from hybrid_search.settings import Settings
from hybrid_search.types import Document
from tests.conftest import with_fakes

FILMS = {
    "spinal-tap": "A documentary follows an English rock band on tour in America; the amplifiers go to eleven.",
    "whiplash": "A young drummer at a music school is driven to the edge by his teacher.",
    "amadeus": "An old composer confesses his envy of Mozart and his music in Vienna.",
    "cast-away": "After a plane crash a man lives alone on an island for four years.",
    "jaws": "A shark hunts swimmers off a holiday island, and three men go out to kill it.",
    "odd": "An emoji 🎬 before music <script>alert(1)</script> & after.",
}


@pytest.fixture(scope="module")
def models():
    with pytest.MonkeyPatch.context() as patch:
        yield with_fakes(patch)


@pytest.fixture(scope="module")
def films(models, tmp_path_factory, model_cache):
    """The settings of a store with the collections `films` and `words`, which has no dense leg."""
    settings = Settings(store=str(tmp_path_factory.mktemp("http")), cache_dir=model_cache)
    documents = [
        Document(name, text, title=name.title() + (" <b>" if name == "odd" else ""), metadata={"year": 1980 + place})
        for place, (name, text) in enumerate(FILMS.items())
    ]
    Indexer.open("films", settings=settings, sparse="fake/both", dense="fake/both").index(documents)
    Indexer.open("words", settings=settings, sparse="qdrant/bm25-engine", dense="none").index(documents[:2])
    return settings


@contextmanager
def serving(app):
    """An application behind a socket of this machine, in a thread; gives `ask`, `port` and `url`."""
    pytest.importorskip("uvicorn", reason="needs the serve extra")
    from hybrid_search.integrations.gateway.bounds import Bounds
    from hybrid_search.integrations.gateway.server import Server

    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(app, Bounds(), grace_s=10, on_check=lambda: None)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = listening.getsockname()[1]
    try:
        yield SimpleNamespace(port=port, url=f"http://127.0.0.1:{port}", ask=lambda *a, **o: ask(port, *a, **o))
    finally:
        server.should_exit = True
        thread.join(timeout=20)


def ask(port, path, body=None, *, method=None, headers=None, kind="application/json"):
    """One request; gives status, headers, and the body as text and as JSON where it is any."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    if body is not None and not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    sent = {**({"Content-Type": kind} if body is not None and kind else {}), **(headers or {})}
    connection.request(method or ("GET" if body is None else "POST"), path, body, sent)
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return SimpleNamespace(status=reply.status, headers=reply.headers, text=text, json=value)
