"""Faults that a server has on demand: which one, and on which of the requests that match a rule.

server.faults.add(reset_after(), "PUT", "/points$", nth=2)     the second upsert is done, and its answer is lost
server.faults.add(status(503), times=3)                        the first three requests, whatever they are
server.faults.add(delay(0.5), "POST", "/query", times=ALWAYS)
add_fault(url, silence(), "POST", "/query/batch$")             a server in another process
"""

from __future__ import annotations

import json
import math
import re
import socket
import struct
import threading
import urllib.request
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["delay", "silence", "reset before", "reset after", "cut", "status", "restart"]

ALWAYS = 1 << 60
"""For `times`: this fault stays."""


@dataclass(frozen=True)
class Fault:
    """One fault. `seconds`, `status`, `text` and `retry_after` are of the kinds that have them."""

    kind: Kind
    seconds: float = 0.0
    status: int = 0
    text: str = ""
    retry_after: str | None = None


def delay(seconds: float) -> Fault:
    """Return the fault of an answer that comes late."""
    return Fault("delay", seconds)


def silence(seconds: float = math.inf) -> Fault:
    """Return the fault of a server that takes the connection, does nothing and never answers (or hangs up later)."""
    return Fault("silence", min(seconds, float(ALWAYS)))


def reset_before() -> Fault:
    """Return the fault of a connection that is reset before the work is done."""
    return Fault("reset before")


def reset_after() -> Fault:
    """Return the fault of a connection that is reset when the work is done."""
    return Fault("reset after")


def cut() -> Fault:
    """Return the fault of an answer that ends in the middle of its body; the work is done."""
    return Fault("cut")


def status(code: int, text: str = "not now") -> Fault:
    """Return the fault of a server that answers with a status, and does nothing."""
    return Fault("status", status=code, text=text)


def too_many(retry_after: str | None = None) -> Fault:
    """Return a 429, with or without the seconds (or the date) after which to come again."""
    told = "Rate limiting exceeded: Read rate limit exceeded: Operation requires 1 tokens but only 0.0 were available"
    return Fault("status", status=429, text=told, retry_after=retry_after)


def limit(text: str = 'Limit exceeded 100 > 5 for "limit". Help: Reduce the "limit" parameter to or below 5.') -> Fault:
    """Return a refusal by strict mode."""
    return Fault("status", status=400, text=f"Bad request: {text}")


def wrong_key() -> Fault:
    """Return the answer to a key that the server does not know."""
    return Fault("status", status=401, text="Invalid API key or JWT")


def read_only(collection: str = "c") -> Fault:
    """Return the answer to a change with a key that may only read."""
    return Fault("status", status=403, text=f"Forbidden: Write access to collection {collection} is required")


def restart(seconds: float) -> Fault:
    """Return the fault of a server that ends with a request in hand, and is there again later with the same data."""
    return Fault("restart", seconds)


@dataclass
class Rule:
    """A fault of the requests from the `nth` (from 1) that match, `times` of them."""

    fault: Fault
    method: str
    path: re.Pattern[str]
    nth: int
    times: int
    seen: int = 0

    def matches(self, method: str, path: str) -> bool:
        """Tell whether this request is one of those, and count it if it matches."""
        if self.method not in ("", method) or not self.path.search(path):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


class Faults:
    """The rules of one server. Every rule counts every request that it matches; the first one that is due wins."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault, method: str = "", path: str = "", nth: int = 1, times: int = 1) -> Rule:
        """Add a rule. `path` is an expression searched for in the path, `method` any if empty; gives the rule."""
        rule = Rule(fault, method, re.compile(path), nth, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget all rules."""
        with self._lock:
            self._rules.clear()

    def due(self, method: str, path: str) -> Fault | None:
        """Return the fault of a request, if it has one."""
        with self._lock:
            matching = [rule.fault for rule in self._rules if rule.matches(method, path)]
        return matching[0] if matching else None

    def told(self, asked: dict[str, Any]) -> None:
        """Add a rule that another process sent, or clear all where it sent none."""
        if not asked:
            return self.clear()
        self.add(Fault(**asked.pop("fault")), **asked)


def add_fault(url: str, fault: Fault, method: str = "", path: str = "", nth: int = 1, times: int = 1) -> None:
    """Add a rule to a server in whatever process."""
    rule = {"fault": asdict(fault), "method": method, "path": path, "nth": nth, "times": times}
    urllib.request.urlopen(f"{url}/faults", data=json.dumps(rule).encode()).close()


def clear_faults(url: str) -> None:
    """Have a server in whatever process forget its rules."""
    urllib.request.urlopen(f"{url}/faults", data=b"{}").close()


def reset(connection: socket.socket) -> None:
    """End a connection with a reset, not with an end: the other side sees an error, whatever it waits for."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # `shutdown` would send an end first; closing the descriptor is what sends the reset.
        socket.socket(fileno=connection.detach()).close()
