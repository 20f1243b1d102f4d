"""Both servers as processes of their own, and callers that keep them waiting."""

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from types import SimpleNamespace

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
COMMANDS = {"serve": ("serve", "--port", "0"), "mcp": ("mcp", "--http", "127.0.0.1:0")}
HONEST = {"serve": ("/search", {"query": "apples", "collection": "fruit"}), "mcp": ("/mcp", HELLO)}
ACCEPT = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
TLS = bytes.fromhex("16030100ff010000fb0303") + bytes(range(256))


@contextmanager
def running(kind, env, log, *, arguments=(), limit=""):
    """A server in a process; `limit` is what its shell says of file descriptors before, such as `ulimit -n 200`."""
    command = [sys.executable, "-m", "hybrid_search", *COMMANDS[kind], *arguments]
    if limit:
        command = ["sh", "-c", f'{limit}; exec "$@"', "sh", *command]
    with log.open("w") as said:
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=said)
    try:
        yield SimpleNamespace(kind=kind, process=process, port=_port(process, log), log=log)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _port(process, log):
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if told := re.search(r"http://127\.0\.0\.1:(\d+)/", log.read_text()):
            return int(told[1])
        time.sleep(0.02)
    raise AssertionError(log.read_text())


def bytes_of(kind, attack, number):
    """What a caller sends at once, and what it goes on with, a byte at a time."""
    path, body = HONEST[kind]
    post = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    long = json.dumps(body).encode()
    half = f"{post}Content-Length: {len(long)}\r\n\r\n".encode() + long[:20]
    chunked = f"{post}Transfer-Encoding: chunked\r\n\r\n".encode() + b"5\r\n" + long[:5] + b"\r\n"
    return {
        "silent": (b"", b""),
        "half a head": (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: a", b""),
        "half a body": ((half, chunked)[number % 2], b""),
        "dripped": (b"GET /healthz HTTP/1.1\r\nX-Long: ", b"a"),
        "dripped body": (half, b" "),
        "kept alive": (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b""),
        "not HTTP": ((TLS, b"\x00" * 300, b"SSH-2.0-x\r\n", b"\r\n" * 20)[number % 4], b""),
        "no reading": (b"GET /docs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 2, b""),
    }[attack]


@contextmanager
def waiting(server, attack, many):
    """So many callers of this kind, from eight addresses of this machine, who go on until the block ends."""
    callers, done = [], threading.Event()

    def drip():
        while not done.wait(0.3):
            for number, caller in enumerate(callers):
                if more := bytes_of(server.kind, attack, number)[1]:
                    with suppress(OSError):  # it was closed
                        caller.send(more)

    thread = threading.Thread(target=drip)
    try:
        for number in range(many):
            caller = socket.socket()
            callers.append(caller)
            caller.settimeout(5)
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.bind((f"127.0.0.{1 + number % 8}", 0))
            caller.connect(("127.0.0.1", server.port))
            caller.setblocking(False)
            with suppress(OSError):
                caller.send(bytes_of(server.kind, attack, number)[0])
        thread.start()
        yield callers
    finally:
        done.set()
        if thread.is_alive():
            thread.join()
        for caller in callers:
            caller.close()


PARTS = [
    *(f"{one} HTTP/1.1\r\n".encode() for one in ("GET /", "HEAD /healthz", "POST /search", "GET /search", "POST /mcp")),
    *(f"{line}\r\n".encode() for line in (
        "Host: 127.0.0.1", "", "Content-Length: 5", "Transfer-Encoding: chunked", "Connection: close", "HTTP/1.0",
        "Connection: keep-alive", "Expect: 100-continue", "Upgrade: websocket\r\nConnection: Upgrade", "5\r\nhello",
        "OPTIONS * HTTP/1.1", "CONNECT a:1 HTTP/1.1", "GET /healthz HTTP/1.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n",
        "Content-Type: application/json", "GET http://[::1/ HTTP/1.1", "GET /%zz%00 HTTP/1.1", "X: " + "x" * 70_000,
    )),
    b"hello", b"\x00\xff", json.dumps(HELLO).encode(),
]  # fmt: skip
"""Of requests, in no order."""


def send_parts(server, chance):
    """A connection on which some parts come, whole or half, and whose answers are read or not."""
    with socket.socket() as caller, suppress(OSError):
        caller.settimeout(1)
        caller.connect(("127.0.0.1", server.port))
        for _ in range(chance.randint(1, 4)):
            sent = b"".join(chance.choices(PARTS, k=chance.randint(1, 8)))
            caller.sendall(sent[: chance.randint(1, len(sent))] if chance.random() < 0.3 else sent)
        if chance.random() < 0.3:
            caller.shutdown(socket.SHUT_WR)
        if chance.random() < 0.5:
            caller.settimeout(0.01)
            caller.recv(10_000)


def asked(port, path, body=None, timeout=10.0):
    """One request on a connection of its own: its status, how many seconds it took, and the answer."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), ACCEPT)
        reply = connection.getresponse()
        text = reply.read().decode()
        return SimpleNamespace(status=reply.status, seconds=time.monotonic() - begun, text=text)
    finally:
        connection.close()
