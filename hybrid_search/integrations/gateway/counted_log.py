"""A log that callers cannot fill: what is said again is counted, what is long is cut."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 60.0
MOST = 100
"""Different messages a minute; of more, only the number is told."""

LONGEST = 2_000
"""Characters of a message, without its traceback."""


class Counted(logging.Filter):
    """Lets a message through once a minute, and tells how often it came after that.

    Args:
        handler: where it says so.
        clock: seconds that only grow.
    """

    def __init__(self, handler: logging.Handler, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._handler, self._clock, self._lock = handler, clock, threading.Lock()
        self._seen: Counter[tuple[str, str]] = Counter()
        self._others = 0
        self._begun = clock()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == __name__:
            return True
        self.tell()
        text = record.getMessage()
        if len(text) > LONGEST:
            record.msg, record.args = f"{text[:LONGEST]}… ({len(text):,} characters)", ()
        kind = record.exc_info[0] if record.exc_info else None
        key = (kind.__name__ if kind else "", text[:LONGEST])
        with self._lock:
            if key not in self._seen and len(self._seen) >= MOST:
                self._others += 1
                return False
            self._seen[key] += 1
            return self._seen[key] == 1

    def tell(self, *, now: bool = False) -> None:
        """Tell after a minute, or at once, what came how often, and begin to count anew."""
        with self._lock:
            if not now and self._clock() - self._begun < EVERY_S:
                return
            again = [(key, times - 1) for key, times in self._seen.items() if times > 1]
            others, self._others = self._others, 0
            self._seen.clear()
            self._begun = self._clock()
        for (kind, text), times in again:
            self._say(f"{times} times more: {f'{kind}: ' if kind else ''}{text.strip()[:200]}")
        if others:
            self._say(f"{others} further messages were left out")

    def _say(self, text: str) -> None:
        self._handler.handle(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (), None))


@contextmanager
def counted() -> Iterator[Callable[[], None]]:
    """Count on every handler of the root logger until the block ends; gives what is to be called now and then."""
    filters = [(handler, Counted(handler)) for handler in logging.getLogger().handlers]
    for handler, each in filters:
        handler.addFilter(each)

    def tell() -> None:
        for _, each in filters:
            each.tell()

    try:
        yield tell
    finally:
        for handler, each in filters:
            each.tell(now=True)
            handler.removeFilter(each)
