"""A connection of one caller: uvicorn's, with a time for each thing that the caller may take its time with."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hybrid_search.integrations.gateway.bounds import Bounds

LINGER_S = 5.0
"""Seconds for what is left to send when a connection is closed, and for a refusal to be read."""

_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Connection(H11Protocol, asyncio.BufferedProtocol):
    """One connection.

    Its stage is what it waits for: `head` for headers, `body` for the rest of a body, `answer` for us, `taking` for its
    caller to take what is ready, `end` for the last bytes to be taken. In all but `answer` it may be given up to make
    room.

    Args:
        waiting: the connections that may be given up, the one that has waited longest first; it keeps its place there.
        buffer: of all connections of one loop: what is read into it is taken out before the next one reads.
        bounds: how long each stage may take.
        given: what uvicorn makes a connection of.
    """

    def __init__(self, waiting: dict[Connection, None], buffer: bytearray, bounds: Bounds, **given: Any) -> None:
        super().__init__(**given)
        self._waiting, self._buffer, self._bounds = waiting, buffer, bounds
        self._refused = False
        self._stage: tuple[str, Any] = ("", None)
        self._since = self.loop.time()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._note()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return where the next bytes go: few, so that nobody keeps the others waiting by sending much at once."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._refused:
            self.data_received(bytes(self._buffer[:nbytes]))
        self._note()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._note()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no request, where there is still room to say something, and take no more.

        A request whose body turns out to be none ends like one whose caller goes away. What the caller still sends is
        thrown away until the answer has been read: closed at once, the connection would take the answer with it.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        with contextlib.suppress(h11.LocalProtocolError):
            response = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (response, h11.Data(data=msg.encode("ascii")), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self._refused = True
        self.transport.write_eof()

    def _should_upgrade(self) -> bool:
        return False  # and say nothing of what would have to be installed for it

    def pause_writing(self) -> None:
        super().pause_writing()
        self._note()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._note()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._waiting.pop(self, None)

    def shutdown(self) -> None:
        """Finish what is being answered, and close; at once where there is nothing to be finished."""
        self._note()
        if self._stage[0] in ("answer", "taking"):
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
        elif (stage == "end" and spent > LINGER_S) or (stage == "taking" and spent > bounds.answer_s):
            self.give_up()

    def _note(self) -> None:
        """See what it waits for now; the time for that begins when it changes, and not with every byte."""
        stage = (self._now(), self.cycle)
        if stage == self._stage:
            return
        self._stage, self._since = stage, self.loop.time()
        self._waiting.pop(self, None)
        if stage[0] != "answer" and self in self.connections:
            self._waiting[self] = None

    def _now(self) -> str:
        if self._refused or self.transport.is_closing():
            return "end"
        if self.conn.their_state is h11.IDLE:
            return "head"
        if self.cycle is None or self.cycle.response_complete:
            return "end"
        if self.flow.write_paused:
            return "taking"
        return "body" if self.conn.their_state is h11.SEND_BODY else "answer"
