"""The connection to a Qdrant server, or to the peers of a cluster: attempts again where they help, and elsewhere."""

from __future__ import annotations

import logging
import random
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from hybrid_search.errors import StoreUnavailable
from hybrid_search.store.server.client_errors import server_errors
from hybrid_search.store.server.hedging import Late, first_answer

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

T = TypeVar("T")

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 8.0
_RETRY_AFTER = re.compile(r"Retry after (\d+) ?s", re.IGNORECASE)
REQUEST_ID = "x-request-id"
_log = logging.getLogger(__name__)


class RetryPolicy(NamedTuple):
    """How long to retry while a server does not answer.

    Args:
        seconds: from the first attempt on; 0 for no retry.
        tries: attempts in all; 0 for any number.
        deadline_s: seconds within which a call has to be answered or fails; 0 for as long as the client waits.
    """

    seconds: float
    tries: int = 0
    deadline_s: float = 0.0


def interactive(seconds: float, deadline_s: float = 0.0) -> RetryPolicy:
    """Return the retry policy of searches, where somebody waits: three tries in a second; none if retries are off."""
    return RetryPolicy(min(1.0, seconds), 3, deadline_s)


@dataclass(eq=False)
class RetryingClient:
    """A client that retries while its server does not answer. Safe to use from many threads.

    Where a cluster has several peers, an attempt after one that failed goes to the next of them, and so do the calls
    after it. With a deadline a call is made a second time where its answer is late, on another peer or another
    connection, and the first answer counts.

    Between two attempts it waits a random part of 0.2 seconds, then of 0.4, of 0.8 and so on up to 8, so that many
    clients do not return together. If the server names a time, it waits for that. A call must have the same effect
    twice as once.

    The loop is our own. With tenacity `call` takes 34 lines instead of 22 and 27 µs instead of 10: the server's own
    time, the end by `cancel`, the deadline that cuts the last wait, and the message would all be callbacks of ours.

    Args:
        client: of the server, or of the first peer.
        location: of the server, for messages.
        patience: how long it retries.
        clock: seconds; replaced in tests.
        rest: waits so many seconds and says whether the wait was cancelled; replaced in tests.
        others: the clients of the other peers.

    Source: "full jitter" of M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
    """

    client: QdrantClient
    location: str
    patience: RetryPolicy
    clock: Callable[[], float] = time.monotonic
    rest: Callable[[float], bool] | None = None
    others: Sequence[QdrantClient] = ()
    _turn: int = field(default=0, init=False)
    _hung_up: threading.Event = field(default_factory=threading.Event, init=False)
    _away: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def call(self, call: Callable[[QdrantClient], T]) -> T:
        """Return what a call to the client returns.

        Raises:
            StoreUnavailable: no answer came in time, or the wait was cancelled.
            CollectionGone: no such collection.
            StoreError, ConfigError: the server refused; this is not retried.
        """
        started, tries = self.clock(), 0
        with numbered() as request_id:
            while True:
                try:
                    answer = self._attempt(call, request_id, started)
                except StoreUnavailable as error:
                    tries += 1
                    self._turn += 1
                    self._wait_or_raise(error, started, tries)
                else:
                    if tries:
                        self._tell(away=False)
                    return answer

    def _attempt(self, call: Callable[[QdrantClient], T], request_id: str, started: float) -> T:
        def ask(turn: int) -> T:
            with server_errors(self.location, request_id):
                return call(self._peer(turn))

        deadline = self.patience.deadline_s
        if not deadline:
            return ask(self._turn)
        left = max(0.0, started + deadline - self.clock())
        try:
            return first_answer([partial(ask, self._turn), partial(ask, self._turn + 1)], left)
        except Late as error:
            raise Late(
                f"{self.location} has not answered within {deadline:g} seconds, on two connections "
                f"(HYBRID_SEARCH_SEARCH_TIMEOUT_S; request {request_id})."
            ) from error

    def _peer(self, turn: int) -> QdrantClient:
        clients = (self.client, *self.others)
        return clients[turn % len(clients)]

    def _wait_or_raise(self, error: StoreUnavailable, started: float, tries: int) -> None:
        """Wait until the next attempt, or raise the error where there is none. Another peer is asked at once."""
        left = started + self.patience.seconds - self.clock()
        asked_for = _retry_after_s(error)
        if left <= 0 or asked_for > left or tries == self.patience.tries or isinstance(error, Late):
            self._give_up(error)
        if tries <= len(self.others) and not asked_for:
            return
        self._tell(away=True)
        jitter = random.uniform(0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (tries - 1)))
        if (self.rest or self._hung_up.wait)(max(asked_for, min(jitter, left))):
            raise error

    def cancel(self) -> None:
        """End all waiting, in every thread; each raises the error that it waited for."""
        self._hung_up.set()

    def _give_up(self, error: StoreUnavailable) -> None:
        with self._lock:
            self._away = False
        if self.patience.tries or not self.patience.seconds:
            raise error
        raise StoreUnavailable(
            f"{error} It was asked again for {self.patience.seconds:g} seconds (HYBRID_SEARCH_RETRY_S). "
            "What was written is kept: run the same command again to go on."
        ) from error

    def _tell(self, *, away: bool) -> None:
        """Log one warning per outage, however many threads wait. Searches log nothing, for they hardly wait."""
        with self._lock:
            changed, self._away = away != self._away, away
        if not changed or self.patience.tries:
            return
        if away:
            _log.warning("%s does not answer; trying again for %g s", self.location, self.patience.seconds)
        else:
            _log.warning("%s answers again", self.location)


def _retry_after_s(error: StoreUnavailable) -> float:
    """Return the seconds after which the server asks to retry; 0 where it does not say."""
    cause = error.__cause__
    said = getattr(cause, "retry_after_s", None) or (getattr(cause, "headers", None) or {}).get("retry-after", 0)
    if not said and (written := _RETRY_AFTER.search(str(error))):  # over gRPC it stands in the text alone
        said = written[1]
    with suppress(ValueError, TypeError):
        return max(0.0, float(said))
    return 0.0


@contextmanager
def numbered() -> Iterator[str]:
    """Give the requests inside one id, `x-request-id`, which the server writes into its log; yield it.

    One inside another has the id of the outer one, so that a search has one for all its requests.
    """
    from qdrant_client.context_headers import get_context_headers, headers

    known = get_context_headers().get(REQUEST_ID)
    if known:
        yield known
        return
    request_id = uuid.uuid4().hex[:16]
    with headers({REQUEST_ID: request_id}):
        yield request_id


def is_open(host: str, port: int) -> bool:
    """Say whether something listens there. Takes at most 0.3 seconds for each address of the host."""
    with suppress(OSError), socket.create_connection((host, port), timeout=0.3):
        return True
    return False
