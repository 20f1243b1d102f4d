"""`hybrid-search serve` as people start it: where it listens, whom it refuses, and how it stops."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys

import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")
pytest.importorskip("prometheus_client", reason="needs the serve extra")
pytest.importorskip("uvicorn", reason="needs the serve extra")

from tests.cli.conftest import BM25, FRUIT, environment, run, start  # noqa: F401
from tests.integrations.conftest import ask
from tests.pages import block

SEARCH = {"query": "apples", "collection": "fruit"}


@pytest.fixture
def fruit(run, jsonl):  # noqa: F811
    assert run("index", jsonl(FRUIT), "-c", "fruit", *BM25, "--progress", "none").code == 0


@pytest.fixture
def server(fruit, start):  # noqa: F811
    """A server in a process of its own; its port."""
    process = start("serve", "-c", "fruit", "--port", "0")
    said = process.stderr.readline()
    process.port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", said)[1])
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="a process of Windows cannot be asked to stop")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_finishes_what_it_has_begun_and_stops(server, number):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = json.dumps([SEARCH] * 1000)
    connection.request("POST", "/search/batch", body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    assert json.loads(reply.readline())["hits"][0]["doc_id"] == "a"
    server.send_signal(number)
    rest = reply.read().decode().splitlines()
    connection.close()
    assert len(rest) == 999
    assert all(json.loads(line)["hits"] for line in rest)
    out, err = server.communicate(timeout=60)
    assert (server.returncode, out, err) == (0, "", "Stopped.\n")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)


def test_it_answers_as_search_prints(server, run):  # noqa: F811
    printed = json.loads(run("search", "apples", "-c", "fruit", "--format", "json").out)
    found = ask(server.port, "/search", SEARCH).json
    assert {**found, "timings_ms": 0} == {**printed, "timings_ms": 0}
    listed = json.loads(run("collections", "list", "--format", "json").out)
    served = ask(server.port, "/collections").json["collections"]
    assert [{key: one[key] for key in listed[0]} for one in served] == listed


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_where_others_can_reach_it_a_key_is_needed(run, host):  # noqa: F811
    done = run("serve", "--host", host)
    assert done.code == 2
    assert "HYBRID_SEARCH_SERVE_API_KEY" in done.err


def test_the_key_is_taken_from_the_environment_and_asked_for(fruit, start, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HYBRID_SEARCH_SERVE_API_KEY", "secret-word")
    process = start("serve", "--host", "0.0.0.0", "--port", "0")
    said = process.stderr.readline()
    assert "secret-word" not in said
    port = int(re.search(r":(\d+)/", said)[1])
    assert ask(port, "/search", SEARCH, headers={"Host": "search.example.org"}).status == 401
    key = {"Authorization": "Bearer secret-word", "Host": "search.example.org"}
    assert ask(port, "/search", SEARCH, headers=key).status == 200


def test_what_is_wrong_is_said_before_it_serves(fruit, run, monkeypatch):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "--port", taken.getsockname()[1])
    assert done.code == 3
    assert "Cannot listen" in done.err
    assert run("serve", "-c", "friut").code == 3
    assert run("serve", "--max-k", "0").code == 2


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "fastapi", "prometheus_client"])
def test_without_the_extra_it_says_what_to_install(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['hybrid-search', 'serve']\n"
        "from hybrid_search.cli.app import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 3
    assert "pip install 'hybrid-search-qdrant[serve]'" in " ".join(done.stderr.split())


def test_the_example_in_the_guide_runs(run, start, jsonl, capsys):  # noqa: F811
    shell, python = block("http", "sh").code, block("http", "python").code
    command = next(line for line in shell.splitlines() if line.startswith("hybrid-search "))
    assert run("index", jsonl(FRUIT), "-c", "movies", *BM25, "--progress", "none").code == 0
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = start(*command.replace("8080", str(port)).split()[1:])
    assert "Serving movies" in process.stderr.readline()
    exec(python.replace("8080", str(port)).replace("a film about music", "red apples"), {})
    assert capsys.readouterr().out.startswith("1 Apples {'sparse': {'rank': 1")
