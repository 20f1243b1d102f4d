"""`hybrid-search mcp` as a process: over stdin and stdout, and over HTTP on this machine."""

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="needs the extra 'mcp'")

from mcp import Client
from mcp.client.stdio import StdioServerParameters

from hybrid_search._util import extras
from hybrid_search.errors import ConfigError, InvalidArgument
from hybrid_search.integrations.mcp.http import Address, address_of, check
from tests.pages import all_blocks

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a token of some length"
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


def message(method, params=None, number=None):
    found = {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})}
    return found if number is None else {**found, "id": number}


def call(tool, number, **arguments):
    return message("tools/call", {"name": tool, "arguments": arguments}, number)


def say(process, *messages):
    for one in messages:
        process.stdin.write((one if isinstance(one, str) else json.dumps(one)) + "\n")
    process.stdin.flush()


def answers(process, *numbers):
    """Read lines until these have been answered; each line must be of the protocol."""
    found = {}
    while not found.keys() >= set(numbers):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        told = json.loads(line)
        assert told["jsonrpc"] == "2.0"
        found[told.get("id")] = told
    return found


def ended(process, code):
    """Wait for the end; nothing more may stand on stdout."""
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, ""), err
    return err


def parameters(environment, *arguments):
    """How the client starts the server."""
    wanted = {name: value for name, value in environment.items() if name.startswith(("HYBRID", "HF_", "PYTHON"))}
    return StdioServerParameters(command=sys.executable, args=["-m", "hybrid_search", "mcp", *arguments], env=wanted)


@pytest.fixture
def stdio(start, fruit):
    """A server on pipes that has been greeted."""

    def begin(*arguments, **options):
        process = start("mcp", *arguments, stdin=subprocess.PIPE, **options)
        say(process, message("initialize", HELLO, 0), message("notifications/initialized"))
        assert answers(process, 0)[0]["result"]["serverInfo"]["name"] == "hybrid-search"
        return process

    return begin


# ---------------------------------------------------------------- stdin and stdout


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_client_starts_and_asks_it(environment, fruit, mode):
    async def ask():
        async with Client(parameters(environment, "-c", "fruit"), mode=mode) as client:
            found = await client.call_tool("search", {"query": "red apples", "k": 1})
            whole = await client.call_tool("get", {"doc_id": found.structured_content["hits"][0]["doc_id"]})
            read = await client.read_resource(whole.structured_content["uri"])
            return found, whole, read

    found, whole, read = asyncio.run(ask())
    assert found.structured_content["hits"][0]["title"] == "Apples"
    assert whole.structured_content["text"] == read.contents[0].text == "Red apples grow on old trees."


def test_every_line_of_stdout_is_of_the_protocol_whatever_is_printed(environment, fruit, tmp_path):
    """A library that prints when it is imported, when it works, by the file descriptor and at the end."""
    (tmp_path / "noisy.py").write_text(
        """
import atexit, os, sys
from hybrid_search.cli import mcp as command
from hybrid_search.searcher import Searcher

def noise(where):
    print("print", where)
    print("no end of line", where, end="")
    sys.stdout.write("written ")
    os.write(1, b"by the descriptor\\n")
    os.system("echo from a child")

serve, search = command._over_stdio, Searcher.search
def noisy_serve(*given):
    import hybrid_search.integrations.mcp
    noise("at import")
    serve(*given)
    noise("after serving")
def noisy_search(self, *given, **options):
    noise("in a search")
    return search(self, *given, **options)
command._over_stdio, Searcher.search = noisy_serve, noisy_search
atexit.register(noise, "at the end")
from hybrid_search.cli.app import main
main()
"""
    )
    sent = [message("initialize", HELLO, 0), message("notifications/initialized"), call("search", 1, query="apples")]
    command = [sys.executable, str(tmp_path / "noisy.py"), "mcp", "-c", "fruit"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        say(process, *sent)
        assert answers(process, 0, 1)[1]["result"]["structuredContent"]["hits"]
        err = ended(process, 0)
    for where in ("at import", "in a search", "after serving", "at the end", "from a child", "by the descriptor"):
        assert where in err


def test_what_is_no_message_is_survived(stdio):
    process = stdio("-c", "fruit")
    say(process, "no json", "{}", "[]", '"text"', "\x00\x7f", '{"jsonrpc": "2.0", "id": 7, "method": "nothing/here"}')
    say(process, message("tools/call", {"name": "nothing"}, 8), message("tools/call", {"arguments": 5}, 9))
    say(process, call("search", 10, query="apples"))
    found = answers(process, 7, 8, 9, 10)
    assert "error" in found[7]
    assert "error" in found[8] or found[8]["result"]["isError"]
    assert "error" in found[9]
    assert found[10]["result"]["structuredContent"]["hits"][0]["doc_id"] == "a"
    ended(process, 0)


def raw(params, number="7", method="tools/call"):
    """A request as it is written, so that it may hold what JSON has no word for."""
    said = "" if number is None else f'"id": {number}, '
    return '{"jsonrpc": "2.0", ' + said + f'"method": "{method}", "params": {params}}}'


NO_MESSAGES = [
    (raw('{"name": "search", "arguments": {"query": "\\ud800"}}'), 7, -32700),
    (raw('{"name": "search", "arguments": {"query": "apples \\udc00 pears"}}'), 7, -32700),
    (raw('{"name": "\\ud83d", "arguments": {}}', '"seven"'), "seven", -32700),
    (raw('{"\\udfff": 1}', "-7"), -7, -32700),
    (raw("{}", method="a\\ud800"), 7, -32700),
    (raw("{}", '"\\ud800"'), None, -32700),
    (raw('{"name": "search", "arguments": {"query": "x", "k": NaN}}'), 7, -32700),
    (raw('{"name": "search", "arguments": {"query": "x", "k": -Infinity}}'), 7, -32700),
    (raw('{"x": "\\ud800"}', None, "notifications/x"), None, -32700),
    (raw("[" * 100_000), None, -32700),
    (raw('{"a":' * 100_000), None, -32700),
    (raw('{"k": ' + "9" * 10_000 + "}"), None, -32700),
    ("no json", None, -32700),
    ('{"jsonrpc": "2.0", "id": 7', None, -32700),
    ("\x00\x7f", None, -32700),
    ('"text"', None, -32600),
    ("[]", None, -32600),
    ("null", None, -32600),
    ('{"jsonrpc": "1.0", "id": 7, "method": "x"}', 7, -32600),
    *((raw("{}", number), None, -32600) for number in ("7.5", "null", "true", "[]")),
    ('{"jsonrpc": "2.0", "id": 7, "method": 5}', 7, -32600),
    ('{"jsonrpc": "2.0", "id": 7, "method": "x", "params": "' + "x" * 2_000_000 + '"}', None, -32600),
]


def test_every_line_that_is_no_message_gets_an_error(stdio):
    """Half a surrogate pair among them; and the server goes on."""
    process = stdio("-c", "fruit")
    for number, (line, expected, code) in enumerate(NO_MESSAGES, 100):
        say(process, line, "", call("search", number, query="apples"))
        found = answers(process, expected, number)
        assert found[expected]["error"]["code"] == code, line[:200]
        assert 10 < len(found[expected]["error"]["message"]) < 300
        assert found[number]["result"]["structuredContent"]["hits"][0]["doc_id"] == "a"
    ended(process, 0)


def test_bytes_that_are_no_text_get_an_error(start, fruit):
    process = start("mcp", "-c", "fruit", stdin=subprocess.PIPE, text=False, encoding=None)
    line = json.dumps(call("search", 1, query="apples")).encode()
    sent = b"\n".join([line.replace(b"apples", wrong) for wrong in (b"\xff", b"\xed\xa0\x80", b"\xc0\xaf")]) + b"\n"
    process.stdin.write(sent)
    process.stdin.flush()
    told = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert [one["error"]["code"] for one in told] == [-32700] * 3
    assert process.communicate(timeout=30) == (b"", b"")
    assert process.returncode == 0


def test_it_ends_with_its_input_and_leaves_no_lease(stdio, environment):
    process = stdio("-c", "fruit")
    say(process, call("search", 1, query="apples"))
    answers(process, 1)
    leases = Path(environment["HYBRID_SEARCH_STORE"], "fruit", "leases")
    assert len(list(leases.iterdir())) == 1
    assert ended(process, 0) == ""
    assert list(leases.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_cleanly_while_its_input_is_open(stdio, environment, number, code):
    process = stdio("-c", "fruit")
    say(process, call("search", 1, query="apples"))
    answers(process, 1)
    process.send_signal(number)
    assert process.wait() == code
    assert "Traceback" not in process.stderr.read()
    assert process.stdout.read() == ""
    assert list(Path(environment["HYBRID_SEARCH_STORE"], "fruit", "leases").iterdir()) == []


def test_a_missing_collection_is_said_at_once_with_its_neighbours(start, fruit):
    err = ended(start("mcp", "-c", "friut", stdin=subprocess.DEVNULL), 3)
    assert "Did you mean 'fruit'?" in err


def test_all_collections_are_served_where_none_is_named(stdio, run, jsonl):
    run(
        "index",
        jsonl([{"_id": "x", "text": "stones"}]),
        "-c",
        "stones",
        "--sparse",
        "qdrant/bm25-engine",
        "--dense",
        "none",
    )
    process = stdio()
    say(
        process, call("status", 1), call("search", 2, query="stones", collection="stones"), call("search", 3, query="x")
    )
    found = answers(process, 1, 2, 3)
    assert [one["name"] for one in found[1]["result"]["structuredContent"]["collections"]] == ["fruit", "stones"]
    assert found[2]["result"]["structuredContent"]["hits"][0]["doc_id"] == "x"
    assert "one of: fruit, stones" in found[3]["result"]["content"][0]["text"]
    ended(process, 0)


def test_the_configuration_of_the_guide_works(environment, fruit, run):
    """The JSON that the guide tells people to put into their client, as it stands but for the place of the program."""
    [entries] = [json.loads(one.code) for one in all_blocks("json") if one.page == "mcp" and "mcpServers" in one.code]
    [(name, entry)] = entries["mcpServers"].items()
    assert (name, entry["command"], entry["args"]) == ("movies", "hybrid-search", ["mcp", "-c", "movies"])
    assert (
        run(
            "index", ROOT / "datasets" / "movies", "-c", "movies", "--sparse", "qdrant/bm25-engine", "--dense", "none"
        ).code
        == 0
    )

    async def ask():
        async with Client(parameters(environment, *entry["args"][1:])) as client:
            return await client.call_tool("search", {"query": "drummers die in odd accidents"})

    assert asyncio.run(ask()).structured_content["hits"][0]["doc_id"] == "spinal-tap-1984"


def test_the_extra_is_named_where_it_is_missing(run, fruit, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    done = run("mcp", "-c", "fruit")
    assert done.code == 3
    assert "pip install 'hybrid-search-qdrant[mcp]'" in done.err


def test_options_of_http_are_refused_without_it(run, fruit):
    done = run("mcp", "-c", "fruit", "--allow-host", "example.org")
    assert done.code == 2
    assert "--http" in done.err


# ---------------------------------------------------------------- HTTP


@pytest.fixture
def served(start, fruit):
    """A server over HTTP on a free port; gives its process and port."""

    def begin(*arguments):
        process = start("mcp", "-c", "fruit", "--http", "127.0.0.1:0", *arguments)
        line = process.stderr.readline()
        told = re.search(r"http://127\.0\.0\.1:(\d+)/mcp", line)
        assert told, line + process.stderr.read()
        return process, int(told[1])

    return begin


def post(port, headers=None, body=None, method="POST", path="/mcp"):
    """One request with these headers instead of the usual ones; gives status and body."""
    given = {
        "Host": f"127.0.0.1:{port}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        **(headers or {}),
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host=True)
        given_body = message("initialize", HELLO, 0) if body is None else body
        sent = given_body if isinstance(given_body, bytes) else json.dumps(given_body).encode()
        sent = sent if method == "POST" else b""
        for name, value in given.items():
            if value is not None:
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(sent)))
        connection.endheaders(sent)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_http_is_asked_by_the_client_and_stops_on_a_signal(served):
    process, port = served()

    async def ask(mode):
        async with Client(f"http://127.0.0.1:{port}/mcp", mode=mode) as client:
            many = await asyncio.gather(*(client.call_tool("search", {"query": f"apples {n}"}) for n in range(8)))
            return [one.structured_content["hits"][0]["doc_id"] for one in many]

    for mode in ("auto", "legacy"):
        assert asyncio.run(ask(mode)) == ["a"] * 8
    process.send_signal(signal.SIGTERM)
    err = ended(process, 0)
    assert "Traceback" not in err


def test_http_refuses_other_hosts_and_origins(served):
    _, port = served()
    fine = [
        {},
        {"Host": f"localhost:{port}"},
        {"Host": f"[::1]:{port}"},
        {"Origin": f"http://127.0.0.1:{port}"},
        {"Origin": f"http://localhost:{port}"},
    ]
    for headers in fine:
        assert post(port, headers)[0] == 200, headers
    bad_hosts = [
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        f"127.0.0.1.evil.example:{port}",
        f"127.0.0.1:{port + 1}",
    ]
    for host in [*bad_hosts, "", None]:
        assert post(port, {"Host": host})[0] in (400, 421), host
    for origin in ("http://evil.example", f"https://127.0.0.1:{port}", "http://localhost:3000", "null", "file://"):
        assert post(port, {"Origin": origin})[0] == 403, origin
    assert post(port, {"Content-Type": "text/plain"})[0] == 400
    assert post(port, {"Host": f"evil.example:{port}"}, method="GET")[0] in (405, 421)
    assert post(port, path="/etc/hostname", method="GET")[0] == 404
    assert post(port, body=message("x", {"long": "x" * 2_000_000}, 1))[0] == 413


def test_http_says_that_it_is_there(served, monkeypatch):
    monkeypatch.setenv("HYBRID_SEARCH_MCP_TOKEN", TOKEN)
    _, port = served()
    status, body = post(port, method="GET", path="/healthz")
    assert (status, json.loads(body)["status"]) == (200, "ok")
    assert post(port, method="HEAD", path="/healthz")[0] == 200
    assert post(port, method="POST", path="/healthz")[0] == 401


def test_http_opens_no_stream_that_nothing_is_said_on(served):
    """A GET would wait for ever, and hold its place."""
    _, port = served()
    for method in ("GET", "DELETE", "PUT", "PATCH", "HEAD", "NONSENSE"):
        status, _ = post(port, {"Accept": "text/event-stream"}, method=method)
        assert status == 405, method


@pytest.mark.parametrize("version", [None, "2025-06-18", "2026-07-28", "nonsense"])
def test_http_answers_what_is_no_message_with_an_error(served, version):
    _, port = served()
    for text, expected, code in NO_MESSAGES:
        status, body = post(port, {"MCP-Protocol-Version": version}, body=text.encode())
        if len(text) > 1 << 20:
            assert status == 413
            continue
        told = json.loads(body)
        assert (status, told["id"], told["error"]["code"]) == (400, expected, code), (text[:200], body)
    assert post(port)[0] == 200
    assert post(port, body=b"")[0] == 400
    assert post(port, body=b"\xff\xfe")[0] == 400


def test_http_takes_further_hosts_and_origins(served):
    _, port = served("--allow-host", "search.example", "--allow-origin", "https://page.example")
    for host in ("search.example", f"search.example:{port}"):
        assert post(port, {"Host": host, "Origin": "https://page.example"})[0] == 200
    assert post(port, {"Host": "other.example"})[0] == 421
    assert post(port, {"Origin": "https://page.example.evil"})[0] == 403


def test_http_asks_for_the_token_where_there_is_one(served, monkeypatch):
    monkeypatch.setenv("HYBRID_SEARCH_MCP_TOKEN", TOKEN)
    process, port = served()
    for wrong in (None, "", TOKEN, "Bearer", f"Bearer {TOKEN}x", f"bearer {TOKEN}", "Bearer \xe4"):
        status, body = post(port, {"Authorization": wrong})
        assert (status, TOKEN in body) == (401, False), wrong
    assert post(port, {"Authorization": f"Bearer {TOKEN}"})[0] == 200
    assert post(port, {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"})[0] == 421
    process.send_signal(signal.SIGTERM)
    assert TOKEN not in ended(process, 0)


@pytest.mark.parametrize(
    ("given", "message", "code"),
    [
        (["--http", "0.0.0.0:0"], "can be reached from other machines", 2),
        (["--http", "0.0.0.0:0", "--allow-host", "here"], "HYBRID_SEARCH_MCP_TOKEN", 3),
        (["--http", "nowhere:x"], "write HOST:PORT", 2),
        (["--http", "256.1.1.1:1", "--allow-host", "here"], "HYBRID_SEARCH_MCP_TOKEN", 3),
    ],
)
def test_http_is_not_opened_to_others_by_accident(start, fruit, given, message, code):
    assert message in ended(start("mcp", *given, stdin=subprocess.DEVNULL), code)


def test_a_port_that_is_taken_is_said(start, fruit):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        err = ended(start("mcp", "--http", str(port), stdin=subprocess.DEVNULL), 3)
    assert f"Cannot listen at 127.0.0.1:{port}" in err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_ctrl_c_ends_http_with_130(served):
    process, port = served()
    assert post(port)[0] == 200
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    assert "Traceback" not in ended(process, 130)
    assert time.monotonic() - begun < 20


def test_addresses():
    assert address_of("") == Address("127.0.0.1", 8765)
    assert address_of("0.0.0.0:80") == Address("0.0.0.0", 80)
    assert address_of("[fe80::1]") == Address("fe80::1", 8765)
    assert [Address(host).is_loopback for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert not any(Address(host).is_loopback for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.evil", "127.0.0.1.x"))
    for wrong in ("a:b", "1:2:3", ":99999", "123456", "http://x", "a b", "x@y", "[::1"):
        with pytest.raises(InvalidArgument, match="HOST:PORT"):
            address_of(wrong)
    check(Address("localhost"), (), "")
    check(Address("10.0.0.1"), ("search",), TOKEN)
    with pytest.raises(ConfigError, match="16 characters"):
        check(Address("10.0.0.1"), ("search",), "short")
