"""How much of a server its callers may hold, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """What callers may hold of a server.

    Args:
        connections: open at a time, fewer where the process may not have so many files open. Of more, the one that has
            waited longest with an unfinished request is closed.
        head_s: seconds from the opening of a connection, or from the end of an answer, to the end of the next headers.
        idle_s: seconds that a connection may stay silent after an answer.
        body_s: seconds from the end of the headers to the end of the body.
        answer_s: seconds that a caller may take nothing of its answer.
        head_bytes: of headers; more are refused with 400.
        body_bytes: of a body; more are refused with 413.
        bodies_bytes: of all bodies that are not complete yet, together; of more, the oldest is given up.
        at_once: requests that are worked on, or wait for it; more are refused with 503.
    """

    connections: int = 1_000
    head_s: float = 10.0
    idle_s: float = 5.0
    body_s: float = 30.0
    answer_s: float = 30.0
    head_bytes: int = 1 << 16
    body_bytes: int = 1 << 20
    bodies_bytes: int = 1 << 26
    at_once: int = 64
