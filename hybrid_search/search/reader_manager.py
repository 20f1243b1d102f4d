"""What a searcher has open: the latest state of its collection, and the searches that are in it.

A search keeps to one state from its beginning to its end. When the collection has changed since, the next search opens
the new state and everybody goes on with that; the old one is closed behind the last search in it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from hybrid_search.collection.models import ModelRequest, load_models
from hybrid_search.collection.profiles import check_request
from hybrid_search.errors import CollectionChanged, StoreError
from hybrid_search.protocols import CollectionReader, Encoder, Store
from hybrid_search.search.pipeline import OpenCollection
from hybrid_search.settings import Settings
from hybrid_search.types import LEGS, LegName, in_order

T = TypeVar("T")

TRIES = 5
"""A search that meets a change halfway is begun anew, so many times in all."""

PAUSE_S = 20e-6
"""Long enough for a waiting thread to take the interpreter; a search pauses some five times."""


def open_collection(collection: str, reader: CollectionReader, encoders: Mapping[LegName, Encoder]) -> OpenCollection:
    """An open collection with its encoders, of which nothing else is known yet."""
    return OpenCollection(collection, reader, encoders, in_order({*LEGS, *encoders}), {})


class CollectionOpener(NamedTuple):
    """Where a searcher's collection is opened, and opened again.

    Args:
        collection: its name.
        store: that holds it.
        settings: of the models.
        profile: refuse a collection with another one; `auto` takes any.
        names: refuse a leg that has another model, by leg.
    """

    collection: str
    store: Store
    settings: Settings
    profile: str
    names: Mapping[LegName, str | None]

    def open(self, before: OpenCollection | None = None) -> OpenCollection:
        """The collection as it is now; models that were open before and are the same are taken over.

        Raises:
            HybridSearchError: whatever `Store.reader`, `check_request` and `load_models` raise.
        """
        reader = self.store.reader(self.collection)
        try:
            check_request(self.collection, reader.manifest, ModelRequest(self.profile, self.names))
            if before is not None and reader.manifest.legs == before.reader.manifest.legs:
                return open_collection(self.collection, reader, before.encoders)
            known = [] if before is None else _same(before, {leg.fingerprint for leg in reader.manifest.legs.values()})
            models = load_models(self.collection, reader.manifest, self.settings, known=known)
            return open_collection(self.collection, reader, models.encoders)
        except BaseException:
            reader.close()
            raise


def _same(before: OpenCollection, fingerprints: set[str]) -> list[Encoder]:
    """Encoders that were open, of which a collection still has the vectors."""
    legs = before.reader.manifest.legs
    return [encoder for leg, encoder in before.encoders.items() if legs[leg].fingerprint in fingerprints]


class _State:
    """One state of a collection, and how many searches are in it."""

    def __init__(self, opened: OpenCollection) -> None:
        self.opened = opened
        self.searches = 0
        self.over = False  # no search enters any more
        self.stale = False


class ReaderManager:
    """The latest state of a collection. Safe to use from many threads; refuses a fork, before anything else.

    Args:
        first: the state it begins with.
        renew: opens the state that is there now, from the one before; None keeps to the first.
        pools: of threads, shut down when it has been closed and the last search has left.
    """

    def __init__(
        self,
        first: OpenCollection,
        renew: Callable[[OpenCollection], OpenCollection] | None = None,
        pools: Sequence[Executor] = (),
    ) -> None:
        self._state, self._renew, self._pools = _State(first), renew, pools
        self._lock, self._renewing = threading.Lock(), threading.Lock()
        self._searches = 0
        self._closed = False
        self._pid = os.getpid()

    @property
    def opened(self) -> OpenCollection:
        """The state that the last search was in."""
        return self._state.opened

    def check(self) -> None:
        """Refuse what cannot go well.

        Raises:
            StoreError: it has been closed, or this is a fork of the process that opened it.
        """
        collection = self._state.opened.collection
        if os.getpid() != self._pid:
            raise StoreError(
                f"The searcher of {collection!r} was opened by process {self._pid}, of which this process, "
                f"{os.getpid()}, is a fork; engine and models do not work across one. Open one in each worker, after "
                "the fork: Searcher.open(...); or start workers with 'spawn'."
            )
        if self._closed:
            raise StoreError(f"The searcher of {collection!r} has been closed. Open one here: Searcher.open(...).")

    def run(self, job: Callable[[OpenCollection], T]) -> T:
        """Do something with the state that is there now, kept open meanwhile.

        A job that finds the collection changed under it is begun anew, in the state after that. Only on a server can
        this happen.
        """
        tries = TRIES
        while True:
            state = self.acquire()
            try:
                return job(state.opened)
            except CollectionChanged:
                tries -= 1
                if not tries:
                    raise
                state.stale = True
            finally:
                self.release(state)

    def close(self) -> None:
        """Let no search in any more. Those that are in it end as ever; then everything is closed."""
        if os.getpid() != self._pid:
            return  # what is open is the parent's
        with self._lock:
            closed, self._closed, self._state.over = self._closed, True, True
            idle, last = not self._state.searches, not self._searches
        if closed:
            return
        if idle:
            self._state.opened.reader.close()
        if last:
            self._finish()

    def _finish(self) -> None:
        for pool in self._pools:
            pool.shutdown(wait=False)

    def acquire(self) -> _State:
        self.check()
        self.maybe_refresh()
        with self._lock:
            if not self._closed:
                self._state.searches += 1
                self._searches += 1
                return self._state
        self.check()
        raise AssertionError("closed, and check says nothing")

    def release(self, state: _State) -> None:
        with self._lock:
            state.searches -= 1
            self._searches -= 1
            idle = state.over and not state.searches
            last = self._closed and not self._searches
        if idle:
            state.opened.reader.close()
        if last:
            self._finish()

    def maybe_refresh(self) -> None:
        """Open the state that is there now, if it is another one: by one thread, the others wait for it."""
        while self._renew is not None:
            state = self._state
            if not (state.stale or state.opened.reader.is_stale()):
                return
            with self._renewing:
                if self._state is state:
                    self._replace(state, _State(self._renew(state.opened)))

    def _replace(self, old: _State, new: _State) -> None:
        with self._lock:
            closed = self._closed
            if not closed:
                self._state, old.over = new, True
            idle = not old.searches
        if closed:
            new.opened.reader.close()
            self.check()
        elif idle:
            old.opened.reader.close()


async def run_in_pool(latest: ReaderManager, pool: Executor, job: Callable[[OpenCollection], T]) -> T:
    """`latest.run` in a thread beside the event loop, with the caller's context variables."""
    import asyncio  # a fifth of what a searcher takes to import, and no use to most
    from contextvars import copy_context

    latest.check()  # a fork has none of the pool's threads, and would wait for ever
    run = partial(copy_context().run, latest.run, lambda open_collection: job(yielding_gil(open_collection)))
    return await asyncio.get_running_loop().run_in_executor(pool, run)


def yielding_gil(opened: OpenCollection) -> OpenCollection:
    """The same, open for a thread beside an event loop: between two steps of a search the loop has its turn.

    The engine holds the interpreter while it works, and Python hands it over only after 5 ms of its own
    (`sys.getswitchinterval`), or when a thread lets go of it.
    """
    return opened._replace(reader=cast(CollectionReader, _GilYieldingReader(opened.reader)))


class _GilYieldingReader:
    """A reader that lets go of the interpreter after each call."""

    def __init__(self, reader: CollectionReader) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._reader, name)
        if not callable(found):
            return found

        def called(*given: Any, **options: Any) -> Any:
            time.sleep(PAUSE_S)
            answer = found(*given, **options)
            time.sleep(PAUSE_S)
            return answer

        return called
