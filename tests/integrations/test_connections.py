"""Callers that open connections and leave them: both servers go on answering others, and say little about it."""

import os
import random
import signal
import time

import psutil
import pytest

pytest.importorskip("mcp", reason="needs the extra 'mcp'")
pytest.importorskip("uvicorn", reason="needs the serve extra")

from hybrid_search.indexer import Indexer
from hybrid_search.settings import Settings
from hybrid_search.types import Document
from tests.integrations.servers import HONEST, asked, running, send_parts, waiting

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
    with waiting(server, attack, 350):
        goes_on(server, 0.6)
    assert server.process.poll() is None
    assert server.log.stat().st_size < 20_000, server.log.read_text()[-2_000:]


def test_half_bodies_take_no_place(server):
    """There are 64 places, which were all held by 64 half bodies."""
    with waiting(server, "half a body", 100):
        goes_on(server, 1.0)


def test_no_file_can_be_opened_any_more(env, tmp_path):
    """The limit is reached whatever the server counts: it neither turns round in a circle nor fills its log."""
    with running("serve", env, tmp_path / "log", limit="ulimit -n 64") as server:
        process = psutil.Process(server.process.pid)
        with waiting(server, "half a head", 200):
            before = process.cpu_times()
            time.sleep(1)
            after = process.cpu_times()
            health = asked(server.port, "/healthz")
        assert (health.status, health.seconds < 1.0) == (200, True)
        assert after.user + after.system - before.user - before.system < 0.5
        assert server.log.stat().st_size < 20_000, server.log.read_text()[-2_000:]


@pytest.mark.parametrize(("kind", "number"), [("serve", signal.SIGTERM), ("mcp", signal.SIGINT)])
def test_it_stops_in_time_with_five_hundred_connections_open(env, tmp_path, kind, number):
    with running(kind, env, tmp_path / "log") as server:
        with waiting(server, "half a head", 170), waiting(server, "half a body", 170), waiting(server, "silent", 160):
            goes_on(server, 0.1)
            begun = time.monotonic()
            server.process.send_signal(number)
            code = server.process.wait(timeout=30)
        assert time.monotonic() - begun < 8
        assert code == (130 if kind == "mcp" else 0)
        assert "Traceback" not in server.log.read_text()


def test_bytes_by_chance_leave_no_trace(env, tmp_path):
    """Parts of requests in any order, cut anywhere: the log has one line for all, and both servers go on."""
    chance = random.Random(11)
    for kind in ("serve", "mcp"):
        with running(kind, env, tmp_path / kind) as server:
            begun = server.log.stat().st_size
            end = time.monotonic() + 0.7
            while time.monotonic() < end:
                send_parts(server, chance)
            goes_on(server, 0.1)
            assert server.log.stat().st_size < begun + 200, server.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("kind", ["serve", "mcp"])
def test_two_thousand_that_wait_do_not_keep_others_waiting(env, tmp_path, kind, attack):
    resource = pytest.importorskip("resource", reason="needs a limit of open files")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2_500:
        pytest.skip(f"needs 2,500 open files, and {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_500), hard))
    try:
        with running(kind, env, tmp_path / "log", limit="ulimit -Sn 1024") as server:
            with waiting(server, attack, 2_000):
                if attack == "no reading":
                    time.sleep(3)  # these are whole requests, and have to be worked on first
                goes_on(server, 20)
            assert server.log.stat().st_size < 100_000, server.log.read_text()[-2_000:]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
