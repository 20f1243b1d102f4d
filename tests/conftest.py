"""What the tests of several rooms share: a store, a model cache and settings of their own, and the models at hand."""

import contextlib
import json
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path

import hypothesis
import pytest

from hybrid_search.collection import models
from hybrid_search.corpus import readers
from hybrid_search.corpus.bounded import BoundedProcess
from hybrid_search.encoders import catalog
from hybrid_search.evaluation import cached_collections, job
from hybrid_search.indexing import chunker_process
from hybrid_search.settings import Settings
from hybrid_search.store.edge.store import EdgeStore
from tests import servers
from tests.fake_models import FAKE_CARDS, Fakes
from tests.kept_processes import KeptProcess, end_all_but
from tests.qdrant_over_http import QdrantOverHttp, child

ROOT = Path(__file__).resolve().parents[1]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    # Started in the background of a shell, which has what it starts there ignore Ctrl-C; tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Other tests run at the same time, so an example may take long without being slow.
hypothesis.settings.register_profile("beside-others", deadline=None)
hypothesis.settings.load_profile("beside-others")


MEMORY_DISK = Path("/dev/shm")
"""A disk in memory that Linux has: what is flushed there, and much is, is not waited for."""


def suits_tests(disk):
    """Tell whether a folder has the room that tests take, and runs programs; containers often have 64 MB there."""
    try:
        runs = not os.statvfs(disk).f_flag & os.ST_NOEXEC
        return runs and os.access(disk, os.W_OK) and shutil.disk_usage(disk).free > 2 << 30
    except (OSError, AttributeError):
        return False


if not os.environ.get("TMPDIR") and suits_tests(MEMORY_DISK):
    # Where pytest makes its folders; whoever names a place for them, with TMPDIR, this or --basetemp, has them there.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_DISK))


TIMED = {"test_bounded", "test_chunker_process", "test_connections", "test_gateway", "test_hostile", "test_http"}
"""Files whose tests go by the clock or by processor time; no two of them run at once."""


TOGETHER = {"test_crashes", "test_damages", "test_guide"}
"""Files whose tests share what takes seconds to make; each is run in one process, which makes it once."""


ON_THE_SERVER = {"server_url", "server_process_url", "server_client"}
"""Fixtures whose tests give collections fixed names; on a true server no two of them run at once."""


def pytest_itemcollected(item):
    """Keep the tests of `TIMED` in one process. (When all are collected it is too late: they have been grouped.)"""
    file = item.path.stem
    if servers.URL and ON_THE_SERVER & set(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.xdist_group("server"))
    if file in TIMED | TOGETHER and item.get_closest_marker("xdist_group") is None:
        item.add_marker(pytest.mark.xdist_group("timed" if file in TIMED else file))


@pytest.fixture(scope="session", autouse=True)
def kept_processes():
    """What reads and cuts files is started once for many tests; tests of these processes ask for `own_processes`."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (readers, chunker_process):
            patch.setattr(module, "BoundedProcess", KeptProcess)
        yield
        end_all_but(0)


@pytest.fixture
def own_processes(monkeypatch):
    """Asked for by tests of the processes that read and cut: started by the test, and ended when they are closed."""
    for module in (readers, chunker_process):
        monkeypatch.setattr(module, "BoundedProcess", BoundedProcess)


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory):
    """One model cache for the whole run: what is hashed or made of a model is so once."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(autouse=True)
def evaluations(tmp_path, monkeypatch):
    """What evaluations build is a test's own, though the model cache that it lies in is shared; gives its store."""
    store = EdgeStore(tmp_path / "evaluation")
    for module in (cached_collections, job):
        monkeypatch.setattr(module, "store_of", lambda settings: store)
    return store


@pytest.fixture
def disk():
    """A folder on a disk, for tests of the room that things take there: in memory, holes in mapped files take some."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def settings(tmp_path, model_cache):
    return Settings(store=str(tmp_path / "store"), cache_dir=model_cache)


@pytest.fixture
def bundled():
    """Asked for by tests that run the bundled model; gives its name."""
    return catalog.BUNDLED_HYBRID


@pytest.fixture
def fakes(monkeypatch):
    """The models of `fake_models`, in the catalogue."""
    return with_fakes(monkeypatch)


def with_fakes(patch):
    fakes, load = Fakes(), models.load
    patch.setattr(catalog, "CARDS", (*catalog.CARDS, *FAKE_CARDS))
    patch.setattr(
        models, "load", lambda card, **o: fakes.load(card) if card.name.startswith("fake/") else load(card, **o)
    )
    return fakes


@pytest.fixture
def shared_collections():
    """The public test collections beside the checkout, in BEIR form."""
    folder = ROOT.parent / "shared" / "collections"
    if not folder.is_dir():
        pytest.skip(f"needs the test collections in {folder}")
    return folder


@pytest.fixture
def jsonl(tmp_path):
    """Write rows (dicts, or raw lines) into a file; gives its path."""

    def write(rows, name="corpus.jsonl"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return file

    return write


@pytest.fixture
def server_key(monkeypatch):
    """Hand the key of the true server, if it has one, to whatever reads the settings."""
    if servers.API_KEY:
        monkeypatch.setenv("HYBRID_SEARCH_API_KEY", servers.API_KEY)


@pytest.fixture(params=servers.TRANSPORTS)
def server_url(request, server_key):
    """The server under test, empty: a double in this process, or the one that QDRANT_URL names, over each transport."""
    with servers.under_test(request.param) as url:
        yield url


@pytest.fixture(params=servers.TRANSPORTS)
def server_process_url(request, server_key):
    """The same for tests of several processes: the double has one of its own."""
    with servers.under_test(request.param, otherwise=child) as url:
        yield url


@pytest.fixture(params=servers.TRANSPORTS)
def server_client(request):
    """A bare client of the server under test; where QDRANT_URL names none, of the client's own in-memory form."""
    from qdrant_client import QdrantClient

    if not servers.URL:
        with contextlib.closing(QdrantClient(":memory:")) as client:
            yield client
        return
    with servers.under_test(request.param) as url, contextlib.closing(servers.client_of(url)) as client:
        yield client


@pytest.fixture
def faulty():
    """A server of its own whose faults a test chooses: `faulty.faults.add(reset_after(), "PUT", "/points$")`."""
    with QdrantOverHttp() as server:
        yield server
