"""One open thing for many users: opened once, by the first who needs it, and closed once, behind the last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Retired(Exception):
    """The resource takes no more users; whoever keeps it has another one, or none."""


class SharedResource(Generic[T]):
    """A thing that is open while anybody uses it, until it is retired. Safe to use from many threads.

    Args:
        close: ends what was opened; called once, when the resource is retired and nobody is in it.
        value: the thing, where it is open already.
    """

    def __init__(self, close: Callable[[T], object], *value: T) -> None:
        self._close = close
        self._values: list[T] = list(value)  # one once it is open
        self._users = 0
        self._retired = False
        self._lock = threading.Lock()  # held for moments
        self._door = threading.Lock()  # held by whoever opens it

    @property
    def is_open(self) -> bool:
        """Whether it has been opened, and not been closed."""
        return bool(self._values)

    @property
    def in_use(self) -> bool:
        """Whether anybody uses it now, or waits for it to be opened."""
        return self._users > 0

    def acquire(self, open: Callable[[], T]) -> T:
        """Return the open thing with one user more; each user must `release` it.

        Args:
            open: makes it, where nobody has yet; one thread at a time does, and the others wait. Where it fails the
                next who waits tries, and nobody is counted.

        Raises:
            Retired: it takes no more users.
            Exception: whatever `open` raises.
        """
        with self._lock:
            if self._retired:
                raise Retired
            self._users += 1
        try:
            with self._door:
                if not self._values:
                    self._values.append(open())
                return self._values[0]
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Count one user less; the last one of a retired resource closes it."""
        with self._lock:
            self._users -= 1
            last = self._retired and not self._users
        if last:
            self._finish()

    @contextmanager
    def use(self, open: Callable[[], T]) -> Iterator[T]:
        """Acquire it for a block."""
        value = self.acquire(open)
        try:
            yield value
        finally:
            self.release()

    def retire(self) -> None:
        """Take no more users. Those there are go on to their end; then it is closed. Retiring twice is as once."""
        with self._lock:
            idle = not self._retired and not self._users
            self._retired = True
        if idle:
            self._finish()

    def _finish(self) -> None:
        while self._values:
            self._close(self._values.pop())
