"""A connection of one caller: uvicorn's, with a time for each thing that the caller may take its time with."""

from __future__ import annotations

from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hybrid_search.integrations.front.bounds import Bounds

LINGER_S = 5.0
"""Seconds for what is left to send when a connection is closed, and for a refusal to be read."""

_PIECE = 1 << 14
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Connection(H11Protocol):
    """One connection.

    Its stage is what it waits for: `head` for headers, `body` for the rest of a body, `answer` for us, `end` for the
    last bytes to be taken. In all but `answer` it may be given up to make room.

    Args:
        waiting: the connections that may be given up, the one that has waited longest first; it keeps its place there.
        bounds: how long each stage may take.
        given: what uvicorn makes a connection of.
    """

    def __init__(self, waiting: dict[Connection, None], bounds: Bounds, **given: Any) -> None:
        super().__init__(**given)
        self._waiting, self._bounds = waiting, bounds
        self._stage: tuple[str, Any] = ("", None)
        self._since = self._blocked_since = self.loop.time()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._note()

    def data_received(self, data: bytes) -> None:
        # In pieces, or headers could be as long as what one read brings.
        for begin in range(0, len(data), _PIECE):
            if self.transport.is_closing():
                break
            super().data_received(data[begin : begin + _PIECE])
        self._note()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._note()

    def pause_writing(self) -> None:
        self._blocked_since = self.loop.time()
        super().pause_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._waiting.pop(self, None)

    def shutdown(self) -> None:
        """Finish what is being answered, and close; at once where there is nothing to be finished."""
        self._note()
        if self._stage[0] == "answer":
            self.cycle.keep_alive = False
        else:
            self.transport.close()

    def give_up(self) -> None:
        """Close it at once, whatever it waits for."""
        self.transport.abort()

    def check(self) -> None:
        """End it where it is too slow; called every second."""
        self._note()
        now, bounds = self.loop.time(), self._bounds
        spent = now - self._since
        stage = self._stage[0]
        if stage == "head" and spent > bounds.head_s:
            if self.conn.trailing_data[0]:
                self.transport.write(_TOO_LATE)
            self.transport.close()
        elif stage == "body" and spent > bounds.body_s + LINGER_S:
            self.transport.close()
        elif (stage == "end" and spent > LINGER_S) or (stage == "answer" and self._blocked_s(now) > bounds.answer_s):
            self.give_up()

    def _blocked_s(self, now: float) -> float:
        """Seconds for which the caller has taken nothing of what is ready for it."""
        return now - self._blocked_since if self.flow.write_paused else 0.0

    def _note(self) -> None:
        """See what it waits for now; the time for that begins when it changes, and not with every byte."""
        stage = (self._now(), self.cycle)
        if stage == self._stage:
            return
        self._stage, self._since = stage, self.loop.time()
        self._waiting.pop(self, None)
        if stage[0] != "answer":
            self._waiting[self] = None

    def _now(self) -> str:
        if self.transport.is_closing():
            return "end"
        if self.conn.their_state is h11.IDLE:
            return "head"
        if self.cycle is None or self.cycle.response_complete:
            return "end"
        return "body" if self.conn.their_state is h11.SEND_BODY else "answer"
