"""The front of both servers in this process, before an application of a few lines, with small bounds."""

import asyncio
import gzip
import json
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

pytest.importorskip("starlette", reason="needs the serve extra")
pytest.importorskip("uvicorn", reason="needs the serve extra")

from hybrid_search.errors import ConfigError
from hybrid_search.integrations.gateway import connection, gate, open_files
from hybrid_search.integrations.gateway.address import listen
from hybrid_search.integrations.gateway.bounds import Bounds
from hybrid_search.integrations.gateway.counted_log import LONGEST, MOST, Counted
from hybrid_search.integrations.gateway.gate import Gate
from hybrid_search.integrations.gateway.server import Server

SMALL = Bounds(head_s=1.0, idle_s=1.0, body_s=1.0, answer_s=1.0, body_bytes=1_000, bodies_bytes=3_000, at_once=2)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


def living(app):
    """The application, with a beginning and an end."""

    async def lives(scope, receive, send):
        if scope["type"] == "lifespan":
            for moment in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{moment}.complete"})
        else:
            await app(scope, receive, send)

    return lives


@contextmanager
def fronted(app, bounds=SMALL):
    """An application behind the front, in a thread; gives `port` and `send`."""
    listening = listen("127.0.0.1", 0, "")
    server = Server(living(app), bounds, grace_s=2, on_check=lambda: None)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = listening.getsockname()[1]
    callers = []

    def send(data, small=False):
        caller = socket.socket()
        if small:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.settimeout(10)
        caller.connect(("127.0.0.1", port))
        callers.append(caller)
        caller.sendall(data)
        return caller

    try:
        yield SimpleNamespace(port=port, send=send, server=server)
    finally:
        for caller in callers:
            caller.close()
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


def all_of(caller, drip=b""):
    """What it is sent until the connection is closed, while it drips, and after how many seconds that is."""
    said, begun = b"", time.monotonic()
    caller.settimeout(0.1)
    while time.monotonic() < begun + 10:
        try:
            if drip:
                caller.send(drip)
            more = caller.recv(65_536)
        except TimeoutError:
            continue
        except ConnectionError:
            break
        if not more:
            break
        said += more
    return said, time.monotonic() - begun


async def answer(send, body):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def echo(scope, receive, send):
    """Answer with the length of the body."""
    message = await receive()
    assert not message.get("more_body")
    await answer(send, b"%d" % len(message["body"]))


def status_of(caller):
    """The status of one answer."""
    return int(caller.recv(4_096).split()[1])


def chunked(data):
    return POST + b"Transfer-Encoding: chunked\r\n\r\n" + data


def lasting(data, told=None):
    return POST + f"Content-Length: {told or len(data)}\r\n\r\n".encode() + data


# ---------------------------------------------------------------- time


SLOW = [
    (b"", b"", b""),
    (b"GET / HT", b"", b"HTTP/1.1 408 "),
    (b"GET / HTTP/1.1\r\nX: ", b"a", b"HTTP/1.1 408 "),
    (b"\r\n", b"\r\n", b""),
    (GET, b"", b"HTTP/1.1 200 OK"),
    (GET + b"GET / HTTP/1.1\r\n", b"X", b"HTTP/1.1 200 OK"),
    (lasting(b"half", told=10), b"", b"HTTP/1.1 408 "),
    (lasting(b"half", told=900), b" ", b"HTTP/1.1 408 "),
    (chunked(b"1\r\na\r\n"), b"1\r\na\r\n", b"HTTP/1.1 408 "),
    (lasting(b"x", told=5_000), b" ", b"HTTP/1.1 413 "),
]
"""What is sent at once, what is sent ten times a second after that, and how the answer begins."""


def test_a_caller_that_waits_is_closed_in_time(monkeypatch):
    """However small the steps in which it comes; and told so where it has begun to say something."""
    monkeypatch.setattr(connection, "LINGER_S", 1.0)
    with fronted(Gate(echo, SMALL)) as front, ThreadPoolExecutor(len(SLOW)) as pool:
        ends = pool.map(lambda slow: all_of(front.send(slow[0]), slow[1]), SLOW)
        for (sent, drip, told), (said, seconds) in zip(SLOW, ends, strict=True):
            assert said.startswith(told), sent
            assert said or not told, sent
            assert seconds < 5, (sent, drip)


def test_a_caller_that_takes_nothing_of_its_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(connection, "LINGER_S", 1.0)

    async def long(scope, receive, send):
        await answer(send, b"x" * 20_000_000)

    with fronted(long) as front:
        caller = front.send(GET, small=True)
        time.sleep(0.3)
        [held] = front.server.server_state.connections
        end = time.monotonic() + 6
        while front.server.server_state.connections and time.monotonic() < end:
            time.sleep(0.05)
        assert held.transport.is_closing()
        assert not front.server.server_state.connections
        assert len(all_of(caller)[0]) < 20_000_000


# ---------------------------------------------------------------- places


class Held:
    """An application that answers when it is told to; it counts what it works on, and what was given up."""

    def __init__(self):
        self.working = self.cancelled = 0
        self.go = threading.Event()

    async def __call__(self, scope, receive, send):
        self.working += 1
        try:
            while not self.go.is_set():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.working -= 1
        await answer(send, b"done")


def until(true, seconds=5.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_more_than_so_many_at_once_are_told_to_come_again():
    held = Held()
    with fronted(Gate(held, SMALL)) as front:
        callers = [front.send(GET) for _ in range(2)]
        until(lambda: held.working == 2)
        refused = front.send(GET)
        assert b"Retry-After: 1" in (said := refused.recv(4_096)).title()
        assert said.startswith(b"HTTP/1.1 503 ")
        held.go.set()
        assert [status_of(caller) for caller in callers] == [200, 200]
        assert status_of(front.send(GET)) == 200


def test_a_body_that_is_not_there_takes_no_place():
    with fronted(Gate(echo, SMALL)) as front:
        for number in range(10):
            front.send((lasting(b"half", told=10), chunked(b"4\r\nhalf\r\n"))[number % 2])
        assert status_of(front.send(lasting(b"whole"))) == 200


def test_who_goes_away_is_not_worked_for():
    held = Held()
    gated = Gate(held, SMALL)
    with fronted(gated) as front:
        for caller in [front.send(lasting(b"body")) for _ in range(2)]:
            until(lambda: held.working)
            caller.close()
        until(lambda: held.cancelled == 2)
        assert len(gated.places) == 0
        held.go.set()
        assert status_of(front.send(GET)) == 200


def test_who_takes_nothing_of_an_answer_makes_room_for_the_next(monkeypatch):
    """In two steps: an endless answer that nobody reads, then a caller that wants to."""
    monkeypatch.setattr(gate, "GIVES_WAY_S", 0.1)

    async def endless(scope, receive, send):
        if scope["path"] == "/short":
            await answer(send, b"short")
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
            await asyncio.sleep(0)

    bounds = Bounds(at_once=2, answer_s=30.0)
    gated = Gate(endless, bounds)
    with fronted(gated, bounds) as front:
        for _ in range(2):
            front.send(GET, small=True)
        until(lambda: len(gated.places) == 2)
        short = GET.replace(b"/", b"/short", 1)
        end = time.monotonic() + 5
        while (status := status_of(front.send(short))) == 503:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert status == 200
        until(lambda: len(gated.places) == 1)


def test_who_reads_slowly_is_given_up_in_time():
    bounds = Bounds(at_once=2, answer_s=0.5)

    async def long(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(2):
            await send({"type": "http.response.body", "body": b"x" * 10_000_000, "more_body": True})

    gated = Gate(long, bounds)
    with fronted(gated, bounds) as front:
        front.send(GET, small=True)
        until(lambda: len(gated.places) == 0, 4)


def test_a_fault_of_the_application_leaves_its_place():
    async def broken(scope, receive, send):
        raise RuntimeError("broken")

    gated = Gate(broken, SMALL)
    with fronted(gated) as front:
        assert [status_of(front.send(GET)) for _ in range(5)] == [500] * 5
        assert len(gated.places) == 0


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (lasting(b"x" * 1_000), 200),
        (lasting(b"x" * 1_001), 413),
        (chunked(b"3e8\r\n" + b"x" * 1_000 + b"\r\n0\r\n\r\n"), 200),
        (chunked(b"3e9\r\n" + b"x" * 1_001 + b"\r\n0\r\n\r\n"), 413),
        (POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody", 400),
        (POST + b"Content-Length: -1\r\n\r\n", 400),
        (POST + b"Content-Length: 1e3\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: " + b"9" * 100 + b"\r\n\r\n", 400),
        (POST + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + gzip.compress(b"", mtime=0)[:20], 415),
        (POST + b"Content-Encoding: Identity\r\nContent-Length: 1\r\n\r\nx", 200),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", 200),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
        (b"GET /" + b"x" * 50_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: x\r\n" * 40_000 + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ\x00: z\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 200),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xff\x01\x00\x00\xfb\x03\x03" + b"\x00" * 100, 400),
    ],
)
def test_what_is_no_request_or_too_long_is_refused(sent, status):
    with fronted(Gate(echo, SMALL)) as front:
        caller = front.send(b"")
        try:
            caller.sendall(sent)
        except ConnectionError:
            assert status == 400  # before all of it was there
            return
        try:
            assert status_of(caller) == status
        except (ConnectionError, IndexError):
            assert len(sent) > 100_000  # it went on sending into a connection that was closed


def test_of_too_much_that_is_not_complete_the_oldest_is_given_up():
    """3,000 bytes of unfinished bodies may be there; four times 900 come."""
    gated = Gate(echo, Bounds(body_bytes=1_000, bodies_bytes=3_000, body_s=20.0))
    with fronted(gated) as front:
        callers = []
        for _ in range(4):
            callers.append(front.send(lasting(b"x" * 900, told=1_000)))
            time.sleep(0.1)
        assert status_of(callers[0]) == 503
        for caller in callers[1:]:
            caller.sendall(b"x" * 100)
            assert status_of(caller) == 200
        assert gated.bodies._held == 0
        assert not gated.bodies._coming


def test_requests_that_come_together_are_answered_in_order():
    with fronted(Gate(echo, SMALL)) as front:
        caller = front.send(b"".join(lasting(b"x" * length) for length in (1, 22, 333)))
        said = b""
        while said.count(b"HTTP/1.1 200") < 3 or not said.endswith(b"333"):
            said += caller.recv(4_096)
        assert [part.rpartition(b"\r\n\r\n")[2] for part in said.split(b"HTTP/1.1 200")][1:] == [b"1", b"22", b"333"]


# ---------------------------------------------------------------- connections


def test_who_has_waited_longest_makes_room():
    bounds = Bounds(connections=20)
    with fronted(Gate(echo, bounds), bounds) as front:
        callers = [front.send(b"GET / HT") for _ in range(50)]
        assert status_of(front.send(GET)) == 200
        assert len(front.server.server_state.connections) <= 20
        for caller in callers[-15:]:
            caller.sendall(b"TP/1.1\r\nHost: a\r\n\r\n")
            assert status_of(caller) == 200
        assert all_of(callers[0])[0] == b""


def test_who_is_being_answered_is_not_closed_to_make_room():
    bounds = Bounds(connections=4, at_once=10)
    held = Held()
    with fronted(Gate(held, bounds), bounds) as front:
        callers = [front.send(GET) for _ in range(4)]
        until(lambda: held.working == 4)
        assert status_of(front.send(GET)) == 503
        held.go.set()
        assert [status_of(caller) for caller in callers] == [200] * 4


def test_who_takes_nothing_is_closed_to_make_room():
    bounds = Bounds(connections=4)

    async def long(scope, receive, send):
        await answer(send, b"x" * (10_000_000 if scope["path"] == "/" else 5))

    with fronted(long, bounds) as front:
        callers = [front.send(GET, small=True) for _ in range(4)]
        until(lambda: sum(held.flow.write_paused for held in front.server.server_state.connections) == 4)
        for _ in range(3):
            assert status_of(front.send(GET.replace(b"/", b"/short", 1))) == 200
        assert len(all_of(callers[0])[0]) < 10_000_000


@pytest.mark.skipif(open_files.sys.platform == "win32", reason="Windows has no such limit")
def test_there_are_as_many_connections_as_files_can_be_open(monkeypatch):
    import resource

    limits = {"now": (1_024, 4_096)}
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: limits.update(now=pair))
    assert open_files.room_for(1_000) == 1_000
    assert limits["now"] == (4_096, 4_096)
    limits["now"] = (512, 512)
    assert 16 <= open_files.room_for(1_000) < 512
    limits["now"] = (30, 30)
    assert open_files.room_for(1_000) == 16
    assert open_files.room_for(3) == 3
    limits["now"] = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert open_files.room_for(1_000) == 1_000


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_two_servers_at_one_port_are_told_apart(host):
    with listen(host, 0, "") as first, pytest.raises(ConfigError, match=r"Cannot listen at .*in use.*Do this"):
        listen(host, first.getsockname()[1], "Do this.")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 300, "\x00", "192.0.2.1", "ü" * 70, ""])
def test_what_is_no_address_is_said(host):
    with pytest.raises(ConfigError, match="Do this"):
        listen(host or "\udc80", 0, "Do this.")


# ---------------------------------------------------------------- the log


def test_what_is_said_again_is_counted():
    now, said = [0.0], []

    class Kept(logging.Handler):
        def emit(self, record):
            said.append(record.getMessage())

    handler = Kept()
    counted = Counted(handler, lambda: now[0])
    handler.addFilter(counted)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    for number in range(1_000):
        logger.warning("the same")
        logger.warning("another of %d", number % 3)
    assert said == ["the same", "another of 0", "another of 1", "another of 2"]
    said.clear()
    now[0] = 61.0
    logger.warning("the same")
    assert said == [
        "999 times more: the same",
        *(f"{n} times more: another of {m}" for m, n in enumerate((333, 332, 332))),
        "the same",
    ]
    said.clear()
    for number in range(1_000):
        logger.warning("number %d %s", number, "x" * 10_000)
    assert len(said) == MOST - 1
    assert max(map(len, said)) < LONGEST + 50
    counted.tell(now=True)
    assert said[-1] == "901 further messages were left out"


def test_faults_of_one_kind_are_told_once():
    said = []

    class Kept(logging.Handler):
        def emit(self, record):
            said.append((record.getMessage(), record.exc_info and record.exc_info[0]))

    handler = Kept()
    handler.addFilter(Counted(handler))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    for kind in (ValueError, OSError) * 50:
        try:
            raise kind(json.dumps({"a": "b"}))
        except kind:
            logger.exception("it failed")
    assert said == [("it failed", ValueError), ("it failed", OSError)]
