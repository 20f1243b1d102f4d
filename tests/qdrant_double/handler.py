"""The wire of the test server: what is read, what is sent, and the faults between the two."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.faults import Fault, reset
from tests.qdrant_double import recorded_answers
from tests.qdrant_double.refusals import Refused

if TYPE_CHECKING:
    from tests.qdrant_over_http import QdrantOverHttp

LARGEST_BODY = 32 << 20
"""Bytes; the connection of a larger body is closed while it is sent, without an answer."""

READING = ("/points/query", "/points/query/batch", "/points/scroll", "/points/count", "/points")
"""What is read with a POST."""


def handler_of(server: QdrantOverHttp) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers for a server."""
    return type("Handler", (Handler,), {"server_": server})


class Handler(BaseHTTPRequestHandler):
    """One connection, one request."""

    server_: QdrantOverHttp

    def take(self) -> None:
        """Read a request, do what it asks, and send the answer; or fail as a rule says."""
        split = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        if length > LARGEST_BODY:
            return reset(self.connection)
        raw = self.rfile.read(length)
        if self._control(split.path, split.query, raw):
            return
        wait = parse_qs(split.query).get("wait") == ["true"]
        fault = self.server_.faults.due(self.command, split.path)
        trouble = self.server_.trouble_with(self.command, split.path)
        if self._refused(split.path) or (fault and self._ends(fault)):
            return
        if trouble in ("503", "429"):
            headers = {"Retry-After": "1"} if trouble == "429" else {}
            self.send(int(trouble), None, Refused(int(trouble), "not now", headers))
        elif split.path == "/":  # what clients ask to compare versions
            self.send_json(200, recorded_answers.about(self.server_.version))
        elif trouble != "close":
            answer = self.server_.respond(self.command, split.path, raw, wait)
            if fault and fault.kind == "reset after":
                reset(self.connection)
            elif trouble != "lost":
                self.send(*answer, cut=fault is not None and fault.kind == "cut")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = take

    def _control(self, path: str, query: str, raw: bytes) -> bool:
        """Answer what is not Qdrant's: for tests of another process."""
        if path == "/away":
            asked = {key: values[0] for key, values in parse_qs(query).items()}
            self.server_.away(float(asked["seconds"]), asked.get("how", "close"))
        elif path == "/faults":
            self.server_.faults.told(json.loads(raw))
        else:
            return False
        self.send(200, True)
        return True

    def _refused(self, path: str) -> bool:
        """Refuse who has no key, or changes with one that may only read. (Its sources' words, not recorded ones.)"""
        keys = (self.server_.api_key, self.server_.read_only_key)
        if keys == (None, None):
            return False
        key = self.headers.get("api-key") or (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if not key or key not in keys:
            told = "Invalid API key or JWT" if key else "Must provide an API key or an Authorization bearer token"
            self.send_body(401, told.encode(), {"Content-Type": "text/plain; charset=utf-8"})
            return True
        reads = self.command == "GET" or (self.command == "POST" and path.endswith(READING))
        if key == keys[0] or reads:
            return False
        self.send(403, None, Refused(403, "Forbidden: Global manage access is required"))
        return True

    def _ends(self, fault: Fault) -> bool:
        """Do what a fault does before the work; tell whether the work is not to be done."""
        if fault.kind == "status":
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            self.send(fault.status, None, Refused(fault.status, fault.text, headers))
        elif fault.kind == "silence":
            self.server_.ended.wait(min(fault.seconds, 3600))
            reset(self.connection)
        elif fault.kind == "reset before":
            reset(self.connection)
        elif fault.kind == "restart":
            self.server_.restart(fault.seconds)
            reset(self.connection)
        else:
            time.sleep(fault.seconds)
        return fault.kind in ("status", "silence", "reset before", "restart")

    def send(self, status: int, result: Any, wrong: Refused | None = None, cut: bool = False) -> None:
        """Send a result, or what is wrong."""
        if status == 404 and wrong is None:  # no such path: the server has nothing to say
            return self.send_body(status, b"", {})
        body = {"result": result, "status": "ok"} if wrong is None else {"status": {"error": wrong.text}}
        self.send_json(status, {**body, "time": 0.0}, wrong.headers if wrong else {}, cut)

    def send_json(self, status: int, body: Any, headers: dict[str, str] | None = None, cut: bool = False) -> None:
        """Send a value as JSON."""
        kind = {"Content-Type": "application/json"}
        self.send_body(status, json.dumps(body).encode(), {**kind, **(headers or {})}, cut)

    def send_body(self, status: int, data: bytes, headers: dict[str, str], cut: bool = False) -> None:
        """Send bytes: all of them, or half of what is announced."""
        # Who asks may have gone away in the meantime.
        with suppress(OSError):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)

    def finish(self) -> None:
        """End the connection, which may have been reset."""
        with suppress(OSError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
