"""Asks a second time, elsewhere, where an answer is late: the first answer counts."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from time import monotonic
from typing import TypeVar

from hybrid_search.errors import StoreUnavailable

T = TypeVar("T")

HEDGE_SHARE = 1 / 3
"""Share of the time there is after which the next one is asked."""


class Late(StoreUnavailable):
    """Nobody answered in time."""


def first_answer(asks: Sequence[Callable[[], T]], seconds: float) -> T:
    """Return the first answer of several ways to ask for the same, each begun where those before it are late.

    Each runs in a thread of its own, in the caller's context, and nobody waits for one that is still running at the
    end. A way that fails with StoreUnavailable while another one is running is passed over.

    Args:
        asks: ways to ask, in order; asking twice must have the effect of asking once.
        seconds: time for all of them; a third of it after which the next one begins.

    Raises:
        Late: no answer within the time.
        Exception: what the first one raised that could not be passed over.

    Source: hedged requests of Dean & Barroso, The Tail at Scale, Communications of the ACM 56 (2), 2013.
    """
    end, waiting = monotonic() + seconds, iter(asks)
    running = {_begun(next(waiting))}
    while True:
        late = next(waiting, None) if len(running) == 1 else None
        pause = seconds * HEDGE_SHARE if late else max(0.0, end - monotonic())
        done, running = wait(running, pause, FIRST_COMPLETED)
        for one in done:
            if not running or not isinstance(one.exception(), StoreUnavailable):
                return one.result()
        if not done and late is None:
            raise Late(f"no answer within {seconds:g} seconds")
        if not done and late is not None:
            running.add(_begun(late))


def _begun(ask: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:
            future.set_exception(error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name="qdrant", daemon=True).start()
    return future
