"""The threads of an index job, which run ahead of whoever takes their items, and what becomes of their errors.

An error in any thread outranks a stop: the first one is kept, ends all threads of the job, and is raised to the
thread that owns the job, which writes. A stop without an error means that nobody wants more items. Items that were on
their way when an error came are dropped: the next run makes them again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import TypeVar

from hybrid_search.errors import StoreError
from hybrid_search.types import Document

T = TypeVar("T")

LOOKUP_DOCUMENTS = 64
LOOKUP_CHARACTERS = 4_000_000
"""Documents are held while the store is asked what it knows of them; long ones not many at a time."""

_IDLE_S = 0.5
_PATIENCE_S = 5.0


class _Stopped(BaseException):
    """Ends a thread whose items nobody wants any more."""


class JobThreads:
    """The threads of one job. Use it as a context: leaving it ends them.

    with JobThreads() as threads:
        changed = threads.prefetch(batches(threads.lookup_batches(documents)), "cutting")
        for batch in threads.prefetch(encoded(changed), "encoding"):
            write(batch)
        threads.require_complete()
    """

    def __init__(self) -> None:
        self._owner = threading.get_ident()
        self._turn = threading.Condition()
        self._stopped = False
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._open: list[str] = []

    def __enter__(self) -> JobThreads:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop(None)  # what a thread raises from here on is only its end
        for thread in self._threads:
            thread.join(timeout=_PATIENCE_S)

    def prefetch(
        self, items: Generator[T, None, None], name: str, idle: Callable[[], None] | None = None
    ) -> Generator[T, None, None]:
        """Yield the same items, each made in a thread of its own while the one before is in use.

        Args:
            items: read, and closed, by that thread alone.
            name: of the stage, another one for each.
            idle: called now and then while the next item is not ready yet.

        Raises:
            BaseException: the first error of any thread of the job.
        """
        ready: list[T] = []

        def run() -> None:
            with closing(items):
                for item in items:
                    with self._turn:
                        self._wait(lambda: not ready)
                        ready.append(item)
                        self._turn.notify_all()

        self._start(run, name)
        while True:
            with self._turn:
                arrived = self._wait(lambda: bool(ready) or name not in self._open, _IDLE_S)
                if not ready and name not in self._open:
                    return
                some = ready[:]
                ready.clear()
                self._turn.notify_all()
            yield from some
            if not arrived and idle is not None:
                idle()

    def lookup_batches(self, documents: Iterable[Document], name: str = "reading") -> Iterator[list[Document]]:
        """Yield the documents in lists, so that the store looks up many at once; read them in a thread of their own.

        What comes slowly, through a pipe for instance, is not waited for: a list is shorter then, or empty.

        Raises:
            BaseException: the first error of any thread of the job.
        """
        arrived: list[Document] = []
        characters = 0

        def full() -> bool:
            return len(arrived) >= LOOKUP_DOCUMENTS or characters >= LOOKUP_CHARACTERS

        def run() -> None:
            nonlocal characters
            for document in documents:
                with self._turn:
                    self._wait(lambda: not full())
                    arrived.append(document)
                    characters += len(document.text)
                    if full():
                        self._turn.notify_all()

        self._start(run, name)
        last = False
        while not last:
            with self._turn:
                self._wait(lambda: full() or name not in self._open, _IDLE_S)
                some, last = arrived[:], name not in self._open
                arrived.clear()
                characters = 0
                self._turn.notify_all()
            yield some

    def require_complete(self) -> None:
        """Make sure that every stage has come to the end of its items. Nothing may be pruned or published before.

        Raises:
            BaseException: the first error of any thread of the job.
            StoreError: a stage has not said that it is complete.
        """
        with self._turn:
            self._check()
            unfinished = self._open[:]
        if unfinished:
            raise StoreError(
                f"The index job ended before {' and '.join(unfinished)} had come to an end, so nothing was published. "
                "What was written is kept: run the same command again to go on."
            )

    def _start(self, run: Callable[[], None], name: str) -> None:
        def guarded() -> None:
            try:
                run()
                with self._turn:
                    self._open.remove(name)
                    self._turn.notify_all()
            except BaseException as error:
                self._stop(error)

        # A daemon: where one item takes minutes, as a huge document does, an interrupted process need not wait for it.
        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._open.append(name)
        self._threads.append(thread)
        thread.start()

    def _stop(self, error: BaseException | None) -> None:
        with self._turn:
            if not self._stopped:
                self._stopped, self._error = True, error
                self._turn.notify_all()

    def _wait(self, ready: Callable[[], bool], most_s: float | None = None) -> bool:
        """Wait, holding `_turn`, until something is so, or for so many seconds; whether it is so.

        Raises:
            BaseException: the first error, in the thread that owns the job. It ends any other as soon as there is one.
        """
        is_ready = self._turn.wait_for(lambda: self._stopped or ready(), most_s)
        self._check()
        return is_ready

    def _check(self) -> None:
        if self._stopped:
            raise self._error if self._error and threading.get_ident() == self._owner else _Stopped
