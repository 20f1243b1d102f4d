"""Bodies of requests, read whole before anything is done with them: in time, not too long, not too much together."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from hybrid_search.integrations.gateway.bounds import Bounds
from hybrid_search.integrations.gateway.refusals import Refused, busy


class Bodies:
    """The bodies that are on their way in.

    Args:
        bounds: how long each may take and be, and how much all may be.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._coming: dict[asyncio.Task[bytes], int] = {}  # bytes that are here by what reads them, oldest first
        self._held = 0  # all of them together

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """Return the whole body of a request.

        Raises:
            Refused: it is too long or too slow, says its length twice or in another coding, or had to make room.
            ClientDisconnect: the caller went away before it was complete.
        """
        self._check(Headers(scope=scope))
        reading = asyncio.create_task(self._whole(receive))
        self._coming[reading] = 0
        try:
            done, _ = await asyncio.wait({reading}, timeout=self._bounds.body_s)
        finally:
            self._held -= self._coming.pop(reading)
            reading.cancel()
        if not done:
            raise Refused(408, "Timeout", f"The body did not come within {self._bounds.body_s:g} s. Send it again.")
        if reading.cancelled():
            raise busy("Too many bodies are on their way at once, and this one was the oldest. Send it again.")
        return reading.result()

    def _check(self, headers: Headers) -> None:
        """Refuse what two servers in a row may read in two ways, what is too long, and what is packed."""
        lengths = headers.getlist("content-length")
        if lengths and "transfer-encoding" in headers:
            raise Refused(400, "Unreadable", "The body's length is given twice, by Content-Length and by its chunks.")
        if lengths and (not lengths[0].isdecimal() or int(lengths[0][:18]) > self._bounds.body_bytes):
            raise self._too_long()
        coding = headers.get("content-encoding", "identity")
        if coding.strip().lower() not in ("identity", ""):
            raise Refused(415, "UnsupportedMediaType", f"The Content-Encoding is {coding!r}; send the body as it is.")

    async def _whole(self, receive: Receive) -> bytes:
        parts = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            parts += message.get("body", b"")
            if len(parts) > self._bounds.body_bytes:
                raise self._too_long()
            if not message.get("more_body", False):
                return bytes(parts)
            self._hold(len(parts))

    def _hold(self, size: int) -> None:
        """Note how much of a body is here, and give up the oldest ones where all are too much together."""
        own = asyncio.current_task()
        if own is None or own not in self._coming:  # it has just been given up
            return
        self._held += size - self._coming[own]
        self._coming[own] = size
        for other, held in list(self._coming.items()) if self._held > self._bounds.bodies_bytes else ():
            if self._held > self._bounds.bodies_bytes and other is not own and held:
                other.cancel()
                self._coming[other] = 0
                self._held -= held

    def _too_long(self) -> Refused:
        most = self._bounds.body_bytes
        return Refused(413, "TooLarge", f"The body is longer than {most:,} bytes. Send less, or in parts.")
