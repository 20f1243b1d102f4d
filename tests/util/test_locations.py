"""A password or a key in the URL of a store is used, and shown nowhere."""

import base64
import json
import logging
import os
import re
import sqlite3
import subprocess
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from hybrid_search._util.locations import is_server, server_url, shown_command, shown_location, without_secrets
from hybrid_search.errors import ConfigError, HybridSearchError
from hybrid_search.indexing.journal import journal_file, journaled, recent_jobs
from hybrid_search.indexing.progress import JobProgress
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store import open_store
from hybrid_search.store.server.store import ServerStore
from tests.qdrant_over_http import QdrantOverHttp

SECRET = "s3cr3t"
HOSTS = ("127.0.0.1:1", "localhost:1", "192.0.2.1:6333", "no.such.host.invalid", "[::1]:1", "127.0.0.1:1/a/path")
USERS = (f"user:{SECRET}@", f":{SECRET}@", f"{SECRET}@", f"user:{SECRET}%40x@", f"user:x@{SECRET}@", f"ü:{SECRET}@")
WELL_FORMED = [f"{scheme}://{user}{host}" for scheme in ("http", "https", "HTTP") for user in USERS for host in HOSTS]
WELL_FORMED += [
    f"http://{host}{mark}{name}={SECRET}"
    for host in HOSTS
    for mark, name in (("?", "api-key"), ("/?", "api_key"), ("?x=y&", "apikey"), ("#", "key"), ("?", "token"))
]
ODD = [
    f"http://user:{SECRET}/x@host:6333",
    f"http://user:x/{SECRET}@host:6333",
    f"http://user:x?{SECRET}@host:6333",
    f"http://user:x#{SECRET}@host:6333",
    f"http://user:x@{SECRET}/y@host:6333",
    f"http://user:x@{SECRET}?y@host:6333",
    f"http://user:x y{SECRET}@host:6333",
    f"http://user:[{SECRET}@host:6333",
    f"http://user:{SECRET}]@host:6333",
    f"http://user:{SECRET}\\@host:6333",
    f"http://user:{SECRET}",
    f"http://user:{SECRET}@",
    f"http://user:{SECRET}@:6333",
    f"http://user:{SECRET}@host:notaport",
    f"http://user:{SECRET}@host:99999",
    f"http://user:{SECRET}@host\u2100",
    f"http:/user:{SECRET}@host:6333",
    f"http:user:{SECRET}@host:6333",
    f"  http://user:{SECRET}@host:6333/ x",
    f"user:{SECRET}@host:6333",
    f"user:{SECRET}/x@host:6333",
    f"{SECRET}@host:6333",
    f"//user:{SECRET}@host:6333",
    f"grpc://user:{SECRET}@host:6334",
    f"qdrant+https://user:{SECRET}@host:6334",
    f"http://host:6333?api-key=a@{SECRET}",
    f"http://user:x@host:6333?api-key=a@{SECRET}",
]


def chain_of(error):
    """All that an error and those behind it say, as a traceback shows them and as their values are."""
    said = ["".join(traceback.format_exception(error))]
    while error is not None:
        said += [str(error), repr(error), repr(error.args), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(said)


@pytest.mark.parametrize("url", [*WELL_FORMED, *ODD])
def test_what_is_shown_has_no_secret(url):
    assert SECRET not in shown_location(url)
    assert SECRET not in shown_command(["index", "--store", url, f"--store={url}"])


@pytest.mark.parametrize("url", [*(one for one in WELL_FORMED if "127.0.0.1:1" in one), *ODD])
def test_no_error_says_it(url, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.DEBUG), pytest.raises(HybridSearchError) as caught:
        open_store(url, timeout_s=1, retry_s=0, api_key="key" if "127" in url else None).names()
    assert SECRET not in chain_of(caught.value) + caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "user", "key"),
    [
        ("http://localhost:6333", None, None),
        ("http://user:secret@localhost:6333", ("user", "secret"), None),
        ("http://user@localhost:6333", ("user", ""), None),
        ("http://us%40er:p%3A%2F%40@localhost:6333/x?api-key=k%40y", ("us@er", "p:/@"), "k@y"),
        ("https://localhost?API_KEY=key#x", None, "key"),
    ],
)
def test_a_url_is_taken_apart(url, user, key):
    found = server_url(url)
    assert (found.host, found.user, found.api_key) == ("localhost", user, key)
    assert found.address == shown_location(url)


@pytest.mark.parametrize(
    "place", ["store", "/data/st@re", "~/x:y", "C:\\Users\\me@home\\store", "C:/a@b:1/x", "./a:b@c", "a b", ""]
)
def test_a_folder_stays_as_it_is(place):
    assert shown_location(place) == place
    assert not is_server(place)


@pytest.mark.parametrize("place", ["file:///data/store", "ftp://host", "localhost:6333@x", "user:x@host"])
def test_what_is_neither_folder_nor_server_is_refused(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"neither a folder nor the URL of a server\. Write http://HOST:6333"):
        open_store(place)


def test_urls_in_a_text_are_shown_without_it():
    text = f"No answer from 'https://u:{SECRET}@host:6333/x?api-key={SECRET}', nor <http://h?k={SECRET}>. See (http://docs.test/a)."
    assert without_secrets(text) == "No answer from 'https://host:6333/x', nor <http://h>. See (http://docs.test/a)."


def test_the_settings_do_not_show_it(monkeypatch, tmp_path):
    url = f"http://user:{SECRET}@localhost:6333"
    assert SECRET not in repr(Settings(store=url)) + str(Settings(store=url))
    monkeypatch.setenv("HYBRID_SEARCH_STORE", url)
    monkeypatch.setenv("HYBRID_SEARCH_MCP_TOKEN", SECRET)
    with pytest.raises(ConfigError) as caught:
        load_settings(device=SECRET)
    assert SECRET not in chain_of(caught.value)


def test_the_journal_does_not_keep_it(tmp_path, monkeypatch):
    url = f"http://user:{SECRET}@localhost:6333?api-key={SECRET}"
    monkeypatch.setattr("hybrid_search.indexing.journal.user_data_path", lambda *_, **__: tmp_path)
    monkeypatch.setattr(sys, "argv", ["hybrid-search", "index", "a", f"--store={url}", "--store", url])
    place = shown_location(url)
    with pytest.raises(ValueError, match=SECRET), journaled(place, "notes", JobProgress("notes", "", "", None, None)):
        raise ValueError(f"nothing at {url}")
    [job] = recent_jobs(place)
    assert (job.place, job.state) == ("http://localhost:6333", "failed")
    assert job.command.endswith("--store=http://localhost:6333 --store http://localhost:6333")
    assert SECRET not in str(sqlite3.connect(journal_file(place)).execute("SELECT * FROM jobs").fetchall())


def commands(home, model_cache, words, **env):
    """What several commands print, with the exit code of each, and all that they leave behind."""
    own = {"HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "HF_HUB_OFFLINE": "1", "HYBRID_SEARCH_RETRY_S": "0"}
    script = f"""
import sys
from hybrid_search.cli.app import app
for words in {words!r}:
    sys.argv = ["hybrid-search", *words]
    try:
        code = app(args=words, prog_name="hybrid-search", standalone_mode=False)
    except BaseException as error:
        print(type(error).__name__, error)
        code = 1
    print("code", code or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=home,
        env={**os.environ, "HYBRID_SEARCH_CACHE_DIR": str(model_cache), **own, **env},
        capture_output=True,
        text=True,
    )
    text = done.stdout + done.stderr  # `mcp` keeps stdout to itself
    files = [file for file in home.rglob("*") if file.is_file() and file.name != "config.toml"]
    left = b"".join(file.read_bytes() for file in files)
    return SimpleNamespace(text=text, codes=[int(code) for code in re.findall(r"^code (\d+)$", text, re.M)], left=left)


OPENING = [
    ["--debug", "index", "a.md", "-c", "notes"],
    ["search", "x", "-c", "notes"],
    ["collections", "list"],
    ["status"],
    ["serve", "-c", "notes"],
    ["mcp", "-c", "notes"],
]


@pytest.mark.parametrize("url", ["http://user:{}@127.0.0.1:1", "http://127.0.0.1:1?api-key={}", "user:{}@127.0.0.1:1"])
def test_no_command_prints_it(url, tmp_path, model_cache):
    """Where no server answers: the URL in the environment or in the config file, with tracebacks."""
    (tmp_path / "a.md").write_text("text")
    config = tmp_path / "config.toml"
    config.write_text(f"store = {json.dumps(url.format(SECRET))}\n" if "@" in url else "")
    way = {"HYBRID_SEARCH_CONFIG": str(config)} | ({} if "@" in url else {"HYBRID_SEARCH_STORE": url.format(SECRET)})
    done = commands(tmp_path, model_cache, OPENING, **way)
    assert done.codes == [3] * len(OPENING), done.text
    assert len(re.findall("127.0.0.1:1", done.text)) >= len(OPENING), done.text
    assert SECRET not in done.text
    assert SECRET.encode() not in done.left


def test_a_server_is_reached_with_it_and_it_is_kept_nowhere(tmp_path, model_cache):
    (tmp_path / "a.md").write_text("Red apples")
    (tmp_path / "empty.toml").write_text("")
    bm25 = ["--sparse", "qdrant/bm25-engine", "--dense", "none"]
    with QdrantOverHttp() as server:
        store = server.url.replace("http://", f"http://user:{SECRET}@") + f"/?api-key={SECRET}"
        words = [
            [f"--store={store}", "index", "a.md", "-c", "notes", *bm25],
            ["--store", store, "index", "nothing-here", "-c", "notes"],
            ["--store", store, "search", "apples", "-c", "notes"],
            ["--store", store, "collections", "list"],
            ["--store", store, "status"],
            ["--store", store, "status", "-c", "notes", "--format", "json"],
            ["--store", store, "search", "apples", "-c", "nots"],
            ["--store", store, "collections", "delete", "notes"],
        ]
        done = commands(tmp_path, model_cache, words, HYBRID_SEARCH_CONFIG=str(tmp_path / "empty.toml"))
        assert (done.codes[0], done.codes[2:6], done.codes[6]) == (0, [0] * 4, 3), done.text
        assert f"{server.url}/" in done.text
        assert SECRET not in done.text
        assert SECRET.encode() not in done.left
        assert b"--store=" + server.url.encode() in done.left  # the journal has the command


def test_user_and_password_go_to_what_stands_before_the_server():
    asked = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["Authorization"], self.headers["api-key"]))
            body = b'{"result": {"collections": [], "aliases": []}, "status": "ok", "time": 0.0}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        for query, own in ((f"?api-key={SECRET}", SECRET), ("", "other")):
            open_store(f"http://us%3Aer:p%40ss@127.0.0.1:{server.server_port}{query}", api_key="other").close()
            assert asked[-1] == ("/collections", "Basic " + base64.b64encode(b"us:er:p@ss").decode(), own)
        server.shutdown()


def test_a_client_of_the_callers_own_is_shown_without_it():
    from qdrant_client import QdrantClient

    store = ServerStore(QdrantClient(":memory:"), f"https://user:{SECRET}@host:6333")
    assert store.location == "https://host:6333"
    with pytest.raises(HybridSearchError, match="https://host:6333") as caught:
        store.reader("nothing")
    assert SECRET not in chain_of(caught.value)


@pytest.mark.parametrize("url", [f"http://user:{SECRET}@192.0.2.1", f"http://192.0.2.1?api-key={SECRET}"])
def test_neither_travels_unencrypted(url, monkeypatch):
    monkeypatch.setattr("hybrid_search.store.server.clients.is_open", lambda *_: pytest.fail("a connection was tried"))
    with pytest.raises(ConfigError, match=r"would go to http://192\.0\.2\.1 unencrypted\. Use an https:// URL"):
        open_store(url)
