"""Callers that open connections and leave them: both servers go on answering others, and say little about it."""

import os
import time

import pytest

pytest.importorskip("mcp", reason="needs the extra 'mcp'")
pytest.importorskip("uvicorn", reason="needs the serve extra")

from hybrid_search.indexer import Indexer
from hybrid_search.settings import Settings
from hybrid_search.types import Document
from tests.integrations.servers import HONEST, asked, running, waiting

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has one address for this machine, and no ulimit")
ATTACKS = ("silent", "half a head", "half a body", "dripped", "dripped body", "kept alive", "not HTTP", "no reading")


@pytest.fixture(scope="module")
def env(tmp_path_factory, model_cache):
    """A store with one collection, and no network."""
    home = tmp_path_factory.mktemp("served")
    settings = Settings(store=str(home / "store"), cache_dir=model_cache)
    documents = [Document("a", "Red apples grow on old trees.", "Apples"), Document("b", "Green pears.")]
    Indexer.open("fruit", settings=settings, sparse="qdrant/bm25-engine", dense="none").index(documents)
    (home / "empty.toml").write_text("")
    own = {"HYBRID_SEARCH_STORE": settings.store, "HYBRID_SEARCH_CACHE_DIR": str(model_cache)}
    return {**os.environ, **own, "HYBRID_SEARCH_CONFIG": str(home / "empty.toml"), "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module", params=["serve", "mcp"])
def server(request, env, tmp_path_factory):
    """A server that may have 300 files open, fewer than callers come."""
    log = tmp_path_factory.mktemp("log") / "log"
    with running(request.param, env, log, limit="ulimit -n 300") as server:
        yield server


def goes_on(server, seconds):
    """Hold it to its word for so long: health within a second, and work."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        health = asked(server.port, "/healthz")
        assert (health.status, health.seconds < 1.0) == (200, True), health
        work = asked(server.port, *HONEST[server.kind])
        assert (work.status, work.seconds < 3.0) == (200, True), work


@pytest.mark.parametrize("attack", ATTACKS)
def test_many_that_wait_do_not_keep_others_waiting(server, attack):
    with waiting(server, attack, 400):
        goes_on(server, 1.5)
    assert server.process.poll() is None
    assert server.log.stat().st_size < 20_000, server.log.read_text()[-2_000:]
