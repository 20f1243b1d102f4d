"""What the endpoints share: the searchers, the limits, and the threads that searches run in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import Request

from hybrid_search.integrations.gateway.gate import Places
from hybrid_search.integrations.gateway.refusals import JSON, Refused, busy
from hybrid_search.integrations.gateway.strict_json import read_json
from hybrid_search.integrations.http.limits import Limits
from hybrid_search.integrations.http.metrics import Metrics
from hybrid_search.integrations.http.requests import Form, Forms, from_query, from_value
from hybrid_search.integrations.searcher_pool import SearcherPool

T = TypeVar("T")

OPEN_PATHS = ("/", "/docs", "/healthz", "/openapi.json")
"""Without data, so without a key."""

WORK_PATHS = ("/search", "/search/batch", "/explain", "/collections")
"""Of which so many are worked on at once."""

PATHS = (*OPEN_PATHS, *WORK_PATHS, "/metrics")


@dataclass(frozen=True, eq=False)
class Service:
    """One server.

    Args:
        searchers: the collections.
        limits: of what a caller may ask.
        forms: under these limits.
        hosts: names in small letters that the Host header may have, without a port; None for any.
        key: that callers must bring; empty for none.
        reranker: what `rerank` uses; None where that is refused.
    """

    searchers: SearcherPool
    limits: Limits
    forms: Forms
    hosts: frozenset[str] | None
    key: str
    reranker: bool | str | None
    metrics: Metrics = field(default_factory=Metrics)
    places: Places = field(init=False)
    pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        pool = ThreadPoolExecutor(self.limits.threads, thread_name_prefix="search")
        object.__setattr__(self, "pool", pool)
        object.__setattr__(self, "places", Places(self.limits.at_once))

    async def run(self, call: Callable[[], T]) -> T:
        """Do it in a thread, so that the event loop goes on.

        Raises:
            Refused: it took longer than a request may; what has begun goes on in its thread, what has not never does.
        """
        working = asyncio.get_running_loop().run_in_executor(self.pool, call)
        try:
            return await asyncio.wait_for(working, self.limits.timeout_s)
        except asyncio.TimeoutError:
            message = f"This took longer than {self.limits.timeout_s:g} s. Try again, or ask for less."
            raise busy(message, "Timeout") from None

    async def asked(self, request: Request, form: type[Form]) -> Form:
        """What a request asks, from its body or its address."""
        if request.method != "POST":
            return from_query(form, request.scope["query_string"])
        media_type(request, JSON)
        return from_value(form, read_json(await request.body()))

    def close(self) -> None:
        """Finish what runs, and close the collections."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.searchers.close()


def media_type(request: Request, *allowed: str) -> str:
    """The type of the body, if it is one of these.

    Raises:
        Refused: it is another. A page of another site cannot send these without asking first, and is told no.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in allowed:
        said = f"is {given!r}" if given else "is missing"
        raise Refused(415, "UnsupportedMediaType", f"The Content-Type {said}; send {' or '.join(allowed)}.")
    return given
