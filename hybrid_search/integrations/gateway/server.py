"""uvicorn with a door of its own: it accepts one caller at a time, and has room for the next."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

from hybrid_search._util.extras import importing_extra

with importing_extra("serve", "A server over HTTP"):
    import uvicorn

from hybrid_search.integrations.gateway.bounds import Bounds
from hybrid_search.integrations.gateway.connection import Connection
from hybrid_search.integrations.gateway.counted_log import counted
from hybrid_search.integrations.gateway.open_files import room_for

log = logging.getLogger(__name__)

CHECK_S = 1.0
READ_BYTES = 1 << 14
"""Read from one connection before it is the turn of the next."""

_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def run(app: Any, listening: socket.socket, bounds: Bounds, *, grace_s: float) -> None:
    """Answer callers until SIGINT or SIGTERM, which is raised anew when all is done.

    Args:
        app: the ASGI application.
        listening: where callers come in.
        bounds: what they may hold.
        grace_s: seconds in which what is being answered then is finished.
    """
    with counted() as tell:
        Server(app, bounds, grace_s=grace_s, on_check=tell).run(sockets=[listening])


def _quiet_at_the_end(app: Any) -> Any:
    """Return an application whose answers end with a line in the log, and no traceback, where the grace is over."""

    async def ended(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:  # nobody else cancels a request
            if scope["type"] != "http":
                raise
            log.warning("An answer was not finished when the server had to stop")

    return ended


class Server(uvicorn.Server):
    """A server with bounds.

    Args:
        app: the ASGI application.
        bounds: what callers may hold.
        grace_s: seconds in which what is being answered is finished, once it has to stop.
        on_check: called every second.
    """

    def __init__(self, app: Any, bounds: Bounds, *, grace_s: float, on_check: Callable[[], None]) -> None:
        config = uvicorn.Config(
            _quiet_at_the_end(app), http="h11", ws="none", lifespan="on", log_config=None, access_log=False,
            server_header=False, proxy_headers=False, h11_max_incomplete_event_size=bounds.head_bytes,
            timeout_keep_alive=max(1, round(bounds.idle_s)), timeout_graceful_shutdown=max(1, round(grace_s)),
        )  # fmt: skip
        super().__init__(config)
        self._bounds, self._on_check = bounds, on_check
        self._most = room_for(bounds.connections)
        self._waiting: dict[Connection, None] = {}
        self._buffer = bytearray(READ_BYTES)
        self._doors: list[asyncio.Task[None]] = []

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        self._doors = [asyncio.create_task(self._accept(each)) for each in sockets or ()]
        self._checking = asyncio.create_task(self._check())

    async def shutdown(self, sockets: Sequence[socket.socket] | None = None) -> None:
        for door in self._doors:
            door.cancel()
        await super().shutdown(sockets=sockets)
        self._checking.cancel()

    async def _accept(self, listening: socket.socket) -> None:
        """Let callers in. Where no more can be open at a time, who has waited longest makes room."""
        listening.setblocking(False)
        loop = asyncio.get_running_loop()
        while True:
            try:
                found, _ = await loop.sock_accept(listening)
            except ConnectionAbortedError:  # it has gone again
                continue
            except OSError as error:
                log.warning("A connection could not be accepted: %s", error.strerror)
                if error.errno in _NO_ROOM:
                    self._make_room(16)
                await asyncio.sleep(0.1)
                continue
            if len(self.server_state.connections) >= self._most and not self._make_room(1):
                with contextlib.suppress(OSError):
                    found.send(_FULL)
                found.close()
                continue
            with contextlib.suppress(OSError):  # so has this one
                await loop.connect_accepted_socket(self._connection, found)

    def _make_room(self, many: int) -> bool:
        """Close so many that wait; return whether there was one."""
        oldest = list(self._waiting)[:many]
        for connection in oldest:
            del self._waiting[connection]
            connection.give_up()
        return bool(oldest)

    def _connection(self) -> Connection:
        return Connection(
            self._waiting,
            self._buffer,
            self._bounds,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    async def _check(self) -> None:
        """Every second, end what is too slow."""
        while True:
            await asyncio.sleep(CHECK_S)
            for connection in list(self.server_state.connections):
                connection.check()
            self._on_check()
