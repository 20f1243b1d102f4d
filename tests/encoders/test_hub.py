"""Finding and fetching model files: from caches, from a small hub on this machine, and where no hub answers."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hybrid_search._util import atomic_write
from hybrid_search.encoders import hub, load
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.hashing import file_hash
from hybrid_search.errors import ModelError, ModelUnavailable
from tests import hub_models

constants = pytest.importorskip("huggingface_hub.constants")
SPLADE = card("prithivida/Splade_PP_en_v1", "sparse")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path):
    return hub_models.splade_folder(tmp_path / "made")


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    """An empty Hugging Face cache, a hub that refuses, and nothing remembered of an earlier answer."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_answers", {})
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_a_downloaded_model_is_found(folder, tmp_path):
    assert hub.folder_of(SPLADE, tmp_path / "cache") is None
    snapshot = hub_models.in_hub_cache(folder, tmp_path / "cache", SPLADE.source)
    assert hub.folder_of(SPLADE, tmp_path / "cache") == snapshot


def test_the_ordinary_cache_is_looked_into_too(folder, tmp_path):
    snapshot = hub_models.in_hub_cache(folder, tmp_path / "hf", SPLADE.source)
    assert hub.folder_of(SPLADE, tmp_path / "cache") == snapshot


def test_a_cache_without_links_or_refs_will_do(folder, tmp_path):
    snapshot = hub_models.in_hub_cache(folder, tmp_path / "cache", SPLADE.source, links=False)
    (snapshot.parents[1] / "refs/main").unlink()
    assert hub.folder_of(SPLADE, tmp_path / "cache") == snapshot


@pytest.mark.parametrize("missing", ["model.onnx", "tokenizer.json", "tokenizer_config.json"])
def test_an_incomplete_model_is_not_here(folder, tmp_path, missing):
    snapshot = hub_models.in_hub_cache(folder, tmp_path / "cache", SPLADE.source)
    (snapshot / missing).unlink()
    assert hub.folder_of(SPLADE, tmp_path / "cache") is None
    assert not hub.is_here(SPLADE, tmp_path / "cache")


def test_a_broken_link_is_a_missing_file(folder, tmp_path):
    snapshot = hub_models.in_hub_cache(folder, tmp_path / "cache", SPLADE.source)
    (snapshot / "model.onnx").resolve().unlink()
    assert hub.folder_of(SPLADE, tmp_path / "cache") is None


def test_a_pinned_revision_is_the_only_one(folder, tmp_path):
    snapshot = hub_models.in_hub_cache(folder, tmp_path / "cache", SPLADE.source)
    pinned = dataclasses.replace(SPLADE, revision="f" * 40)
    assert hub.folder_of(pinned, tmp_path / "cache") is None
    same = dataclasses.replace(SPLADE, revision=hub_models.REVISION)
    assert hub.folder_of(same, tmp_path / "cache") == snapshot


def test_the_engine_is_always_here(tmp_path):
    engine = card("qdrant/bm25-engine", "sparse")
    assert hub.folder_of(engine, tmp_path) is None
    assert hub.is_here(engine, tmp_path)
    assert hub.verify(engine, tmp_path) == []
    with pytest.raises(ModelError, match="has no files"):
        hub.download(engine, tmp_path)


def test_a_local_folder_that_lost_a_file_is_named(folder, tmp_path):
    found = card(str(folder), "sparse")
    assert hub.ensure(found, tmp_path) == folder.resolve()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelUnavailable, match=r"lacks tokenizer\.json"):
        load(found, cache_dir=tmp_path).warm_up()


def test_without_a_hub_it_is_said_at_once_and_how_to_help_it(tmp_path, capfd):
    start = time.monotonic()
    with pytest.raises(ModelUnavailable) as caught:
        load(SPLADE, cache_dir=tmp_path).encode_queries(["music"])
    assert time.monotonic() - start < 15
    message = str(caught.value)
    for part in (SPLADE.name, "532 MB", "does not answer", "hybrid-search models download", "'bundled'", "HF_ENDPOINT"):
        assert part in message
    assert caught.value.__cause__ is None
    assert capfd.readouterr() == ("", "")


def test_offline_mode_is_obeyed_and_named(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "_ask", lambda *_: pytest.fail("asked a hub in offline mode"))
    assert not hub.hub_answers()
    for fetch in (hub.ensure, hub.download):
        with pytest.raises(ModelUnavailable, match="offline mode is on"):
            fetch(SPLADE, tmp_path)


def test_a_look_up_that_hangs_does_not_hold_us(monkeypatch):
    release = threading.Event()

    def hang(*_, **__):
        release.wait(20)
        raise OSError("released")

    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    start = time.monotonic()
    try:
        assert not hub.hub_answers(timeout_s=0.3)
        assert time.monotonic() - start < 10
        assert not hub.hub_answers(timeout_s=0.3)
    finally:
        release.set()


def test_a_hub_that_accepts_and_says_nothing_does_not_answer(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        assert not hub.hub_answers(timeout_s=0.3)
        assert time.monotonic() - start < 10


@pytest.mark.parametrize(("status", "answers"), [(200, True), (404, True), (403, False), (407, False), (503, False)])
def test_a_proxy_that_refuses_is_no_hub(small_hub, monkeypatch, status, answers):
    server, handler = small_hub
    monkeypatch.setattr(handler, "do_HEAD", lambda self: self.answer(b"", status=status))
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    assert hub.hub_answers() is answers


def test_verify_knows_whole_from_damaged(folder, tmp_path):
    cache = tmp_path / "cache"
    snapshot = hub_models.in_hub_cache(folder, cache, SPLADE.source)
    checks = {check.name: check for check in hub.verify(SPLADE, cache)}
    assert set(checks) == {path.name for path in folder.iterdir()}
    assert {check.sound for check in checks.values()} == {True}
    graph = folder / "model.onnx"
    assert checks["model.onnx"].sha256 == hashlib.sha256(graph.read_bytes()).hexdigest()
    assert checks["model.onnx"].size == graph.stat().st_size
    for name in ("model.onnx", "config.json"):
        blob = (snapshot / name).resolve()
        content = blob.read_bytes()
        blob.write_bytes(b"!" + content[1:])
    damaged = {check.name for check in hub.verify(SPLADE, cache) if check.sound is False}
    assert damaged == {"model.onnx", "config.json"}


def test_a_damaged_model_is_not_taken_for_a_downloaded_one(folder, tmp_path):
    cache = tmp_path / "cache"
    snapshot = hub_models.in_hub_cache(folder, cache, SPLADE.source)
    assert hub.repaired(SPLADE, cache) == snapshot
    blob = (snapshot / "model.onnx").resolve()
    blob.write_bytes(b"!" + blob.read_bytes()[1:])
    with pytest.raises(ModelUnavailable, match=r"http://127\.0\.0\.1:9 does not answer"):
        hub.repaired(SPLADE, cache)
    assert blob.is_file()  # nothing is taken away that cannot be fetched again


def test_verify_follows_links_into_the_shared_blobs_of_newer_caches(folder, tmp_path):
    cache = tmp_path / "cache"
    snapshot = hub_models.in_hub_cache(folder, cache, SPLADE.source)
    blob = (snapshot / "model.onnx").resolve()
    shared = cache / "blobs" / "ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(Path("..", "..", "blobs", "ab", shared.name))
    assert {check.name: check.sound for check in hub.verify(SPLADE, cache)}["model.onnx"] is True
    shared.write_bytes(b"?")
    assert {check.name: check.sound for check in hub.verify(SPLADE, cache)}["model.onnx"] is False


def test_verify_lists_what_nothing_vouches_for(folder, tmp_path):
    checks = hub.verify(card(str(folder), "sparse"), tmp_path)
    assert {check.sound for check in checks} == {None}
    with pytest.raises(ModelUnavailable, match="not on this machine"):
        hub.verify(SPLADE, tmp_path)


def test_hashes_are_remembered_by_size_and_time(tmp_path):
    path, cache = tmp_path / "file", tmp_path / "cache"
    path.write_bytes(b"one")
    old = time.time() - 100
    os.utime(path, (old, old))
    one = file_hash(path, cache)
    assert one == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"two")
    os.utime(path, (old, old))
    assert file_hash(path, cache) == one
    assert file_hash(path, cache, trust_memory=False) == hashlib.sha256(b"two").hexdigest()
    path.write_bytes(b"three")
    assert file_hash(path, cache) == hashlib.sha256(b"three").hexdigest()


def test_a_fresh_file_is_not_remembered(tmp_path):
    path, cache = tmp_path / "file", tmp_path / "cache"
    path.write_bytes(b"one")
    file_hash(path, cache)
    assert not (cache / "file-hashes.json").exists()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"x": 1}', b"\xff\xfe"])
def test_a_damaged_memory_does_no_harm(tmp_path, content):
    path, cache = tmp_path / "file", tmp_path / "cache"
    path.write_bytes(b"one")
    os.utime(path, (1, 1))
    cache.mkdir()
    atomic_write(cache / "file-hashes.json", content)
    assert file_hash(path, cache) == hashlib.sha256(b"one").hexdigest()
    assert file_hash(path, tmp_path / "file" / "no-folder") == hashlib.sha256(b"one").hexdigest()


class SmallHub(http.server.BaseHTTPRequestHandler):
    """As much of a model hub as a download needs, over one folder."""

    files: dict[str, bytes]
    refuse: str = ""
    served: list[str]

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/":
            return self.answer(b"")
        if self.refuse:
            return self.answer(
                b"{}", status=403 if "Gated" in self.refuse else 404, headers={"X-Error-Code": self.refuse}
            )
        if path == f"/api/models/{SPLADE.source}/revision/main":
            names = [{"rfilename": name} for name in self.files]
            return self.json({"id": SPLADE.source, "sha": hub_models.REVISION, "siblings": names})
        if path == f"/api/models/{SPLADE.source}/tree/{hub_models.REVISION}":
            return self.json([self.entry(name) for name in self.files])
        at = f"/{SPLADE.source}/resolve/{hub_models.REVISION}/"
        if path.startswith(at) and path[len(at) :] in self.files:
            name = path[len(at) :]
            if self.command == "GET":
                self.served.append(name)
            entry = self.entry(name)
            etag = entry.get("lfs", entry)["oid"]
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": hub_models.REVISION}
            return self.answer(self.files[name], headers=headers)
        return self.answer(b"", status=404)

    def entry(self, name):
        content = self.files[name]
        found = {"type": "file", "path": name, "size": len(content)}
        found["oid"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        if name.endswith(".onnx"):
            found["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return found

    def json(self, content):
        return self.answer(json.dumps(content).encode(), headers={"Content-Type": "application/json"})

    def answer(self, content, *, status=200, headers=None):
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def small_hub(folder):
    class Handler(SmallHub):
        pass

    Handler.files = {path.name: path.read_bytes() for path in folder.iterdir()} | {"pytorch_model.bin": b"not needed"}
    Handler.served = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server, Handler
    server.shutdown()
    thread.join()
    server.server_close()


FETCH = """
import json, sys
from pathlib import Path
from hybrid_search.encoders import hub, load
from hybrid_search.encoders.catalog import card
found, cache, seen = card("prithivida/Splade_PP_en_v1", "sparse"), Path(sys.argv[1]), []
try:
    fetch = getattr(hub, sys.argv[2])
    where = fetch(found, cache, on_progress=lambda done, total: seen.append((done, total)))
    vector = load(found, cache_dir=cache).encode_queries(["music"])[0]
    sound = sorted({str(check.sound) for check in hub.verify(found, cache)})
    print(json.dumps({"where": str(where), "dims": len(vector), "seen": seen, "sound": sound}))
except Exception as fault:
    print(json.dumps({"error": type(fault).__name__, "message": str(fault)}))
"""


def fetch(cache, endpoint, verb="ensure", **environment):
    """Run FETCH in its own process, for the hub library reads its settings when it is imported."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache.parent / "home"), "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-W", "error", "-c", FETCH, str(cache), verb]
    done = subprocess.run(command, capture_output=True, text=True, env={**kept, **settings}, timeout=60, check=False)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_a_model_is_fetched_once_and_then_works_offline(small_hub, tmp_path):
    server, handler = small_hub
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    cache = tmp_path / "cache"
    found = fetch(cache, endpoint)
    assert found["dims"] > 10
    assert found["sound"] == ["True"]
    size = sum(len(content) for name, content in handler.files.items() if name != "pytorch_model.bin")
    assert found["seen"][-1] == [size, size]
    assert sorted(handler.served) == sorted(set(handler.files) - {"pytorch_model.bin"})
    again = fetch(cache, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert {**again, "seen": []} == {**found, "seen": []}
    assert again["seen"] == []

    # A damaged file is fetched again by a download, and only that one.
    blob = (Path(found["where"]) / "model.onnx").resolve()
    blob.write_bytes(b"\0" * blob.stat().st_size)
    handler.served.clear()
    healed = fetch(cache, endpoint, "download")
    assert healed["sound"] == ["True"]
    assert handler.served == ["model.onnx"]


@pytest.mark.parametrize(
    ("refusal", "part"),
    [("GatedRepo", "is gated: accept its terms"), ("RepoNotFound", "has no Qdrant/Splade_PP_en_v1")],
)
def test_a_hub_that_refuses_is_quoted(small_hub, tmp_path, refusal, part):
    server, handler = small_hub
    handler.refuse = refusal
    found = fetch(tmp_path / "cache", f"http://127.0.0.1:{server.server_address[1]}")
    assert found["error"] == "ModelUnavailable"
    assert part in found["message"]


def test_a_hub_without_the_file_is_named(small_hub, tmp_path):
    server, handler = small_hub
    del handler.files["model.onnx"]
    found = fetch(tmp_path / "cache", f"http://127.0.0.1:{server.server_address[1]}")
    assert found["error"] == "ModelUnavailable"
    assert "has no model.onnx" in found["message"]


def test_a_hub_that_breaks_off_is_named(tmp_path):
    found = fetch(tmp_path / "cache", "http://127.0.0.1:9", "download")
    assert found["error"] == "ModelUnavailable"
    assert "hybrid-search models download" in found["message"]


def test_looking_for_models_imports_no_library():
    heavy = ["torch", "transformers", "sentence_transformers", "onnxruntime", "onnx", "fastembed", "tokenizers"]
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from hybrid_search.encoders import hub, load, fastembed, torch\n"
        "from hybrid_search.encoders.catalog import cards\n"
        "for found in cards():\n    hub.is_here(found, Path('nowhere'))\n"
        "for found in cards():\n    found.runtime == 'engine' or load(found, cache_dir=Path('nowhere'))\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"
