"""Where requests wait to be worked on: each takes a place when its body is there, and leaves it when it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from time import monotonic

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hybrid_search.integrations.gateway.bodies import Bodies
from hybrid_search.integrations.gateway.bounds import Bounds
from hybrid_search.integrations.gateway.refusals import Refused, busy, response_to

GIVES_WAY_S = 1.0
"""Seconds for which a caller may take nothing of its answer before its place can go to the next."""


@dataclass(eq=False)
class _Place:
    """A request that is worked on, and since when its caller is being waited for; None while it is not."""

    work: asyncio.Task[None] | None = None
    waiting_since: float | None = None

    def give_up(self) -> None:
        if self.work is not None:
            self.work.cancel()


class Places:
    """So many requests at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[_Place, None] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def make_room(self) -> None:
        """Have a place free, if need be that of the caller that has taken nothing of its answer for longest.

        Raises:
            Refused: all are worked on.
        """
        if len(self._taken) < self._most:
            return
        latest = monotonic() - GIVES_WAY_S
        slow = [place for place in self._taken if (place.waiting_since or latest) < latest]
        if not slow:
            raise busy(f"{self._most} requests are worked on already. Try again in a moment.")
        slowest = min(slow, key=lambda place: place.waiting_since or latest)
        slowest.give_up()
        self.leave(slowest)

    def take(self, place: _Place) -> None:
        self._taken[place] = None

    def leave(self, place: _Place) -> None:
        self._taken.pop(place, None)


class Gate:
    """An ASGI application that lets requests into another one when they are complete, so many at a time.

    Who goes away meanwhile is not worked for any longer; who takes nothing of an answer is given up.

    Args:
        app: what works on them.
        bounds: of bodies, places and answers.
        places: those that are free and taken, to be looked at from outside; of its own when not given.
        paths: which requests wait here; the others pass. All when not given.
    """

    def __init__(
        self,
        app: ASGIApp,
        bounds: Bounds,
        places: Places | None = None,
        paths: Collection[str] | None = None,
    ) -> None:
        self.app, self.bounds, self.paths = app, bounds, paths
        self.places = Places(bounds.at_once) if places is None else places
        self.bodies = Bodies(bounds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (self.paths is not None and scope["path"] not in self.paths):
            await self.app(scope, receive, send)
            return
        try:
            body = await self.bodies.read(scope, receive)
            await self._work(scope, body, receive, send)
        except ClientDisconnect:
            return
        except Refused as refused:
            await response_to(refused)(scope, receive, send)

    async def _work(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Have it answered. Raises Refused where no place is free, else what the application does."""
        self.places.make_room()
        place = _Place()
        gone = asyncio.create_task(_wait(receive))
        work = place.work = asyncio.create_task(self._answer(scope, body, gone, send, place))
        self.places.take(place)
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.places.leave(place)
            gone.cancel()
            if not work.done():
                work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        if not work.cancelled():
            work.result()

    async def _answer(self, scope: Scope, body: bytes, gone: asyncio.Task[None], send: Send, place: _Place) -> None:
        loop = asyncio.get_running_loop()
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receiving() -> Message:
            if whole:
                return whole.pop()
            await asyncio.wait({gone})
            return {"type": "http.disconnect"}

        async def sending(message: Message) -> None:
            place.waiting_since = monotonic()
            end = loop.call_later(self.bounds.answer_s, place.give_up)
            try:
                await send(message)
            finally:
                end.cancel()
                place.waiting_since = None

        await self.app(scope, receiving, sending)


async def _wait(receive: Receive) -> None:
    """Wait until the caller goes away: nothing else can come after a whole body."""
    while (await receive())["type"] != "http.disconnect":
        pass
