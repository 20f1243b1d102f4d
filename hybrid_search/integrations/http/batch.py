"""Many searches in one request: JSON a line in, or a list; JSON a line out, in order, each as soon as it is ready."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from hybrid_search.errors import InvalidArgument
from hybrid_search.integrations.gateway.refusals import body_of, dumped
from hybrid_search.integrations.gateway.strict_json import read_json
from hybrid_search.integrations.http.errors import NDJSON, refusal_of
from hybrid_search.integrations.http.requests import SearchForm, from_value
from hybrid_search.integrations.http.service import Service

log = logging.getLogger(__name__)

AHEAD = 4
"""Searches of one batch that run at once, or wait for the line before them."""


def read_batch(body: bytes, kind: str, service: Service) -> list[SearchForm]:
    """Read the searches of a batch, all before the first is begun, so what is wrong with one is told as a status.

    Raises:
        Unreadable: a line is no JSON.
        InvalidArgument: no line at all, too many, or one that is no search; the message names the first.
    """
    if kind == NDJSON:
        values = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
        found = [(number, read_json(line, f"Line {number}")) for number, line in values[: service.limits.batch + 1]]
    else:
        value = read_json(body)
        if not isinstance(value, list):
            raise InvalidArgument(f"A batch is a list of searches, or a search a line sent as {NDJSON}.")
        found = list(enumerate(value, 1))
    if not 1 <= len(found) <= service.limits.batch:
        raise InvalidArgument(f"A batch has 1 to {service.limits.batch:,} searches.")
    return [from_value(service.forms.search, value, number) for number, value in found]


async def lines(
    forms: Sequence[SearchForm], service: Service, search: Callable[[SearchForm], tuple[bytes, str]]
) -> AsyncIterator[bytes]:
    """Yield a line for each search, in order. A few are searched ahead; whoever reads slowly is waited for."""

    async def one(form: SearchForm) -> bytes:
        try:
            body, mode = await service.run(partial(search, form))
        except Exception as error:
            refused = refusal_of(error)
            if refused.status == 500:
                log.exception("A search of a batch failed")
            return dumped(body_of(refused)) + b"\n"
        service.metrics.search(form.collection, mode)
        return body + b"\n"

    waiting = iter(forms)
    begun: deque[asyncio.Task[bytes]] = deque()

    def begin() -> None:
        form = next(waiting, None)
        if form is not None:
            begun.append(asyncio.create_task(one(form)))

    try:
        for _ in range(min(AHEAD, service.limits.threads)):
            begin()
        while begun:
            line = await begun[0]
            begun.popleft()
            begin()
            yield line
    finally:
        for task in begun:
            task.cancel()
