"""What a searcher has open: the latest state of its collection, and the searches that are in it.

A search keeps to one state from its beginning to its end. When the collection has changed since, the next search opens
the new state and everybody goes on with that; the old one is closed behind the last search in it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from hybrid_search._util.shared_resource import Retired, SharedResource
from hybrid_search.collection.models import ModelRequest, load_models
from hybrid_search.collection.profiles import check_request
from hybrid_search.errors import CollectionChanged, StoreError
from hybrid_search.protocols import CollectionReader, Encoder, Store
from hybrid_search.search.open_collection import OpenCollection, open_collection
from hybrid_search.settings import Settings
from hybrid_search.types import LegName

T = TypeVar("T")

TRIES = 5
"""A search that meets a change halfway is begun anew, so many times in all."""

PAUSE_S = 20e-6
"""Long enough for a waiting thread to take the interpreter; a search pauses some five times."""


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

    def open(self, before: OpenCollection | None = None, known: Iterable[Encoder] = ()) -> OpenCollection:
        """Open the collection as it is now.

        Args:
            before: what was open until now; models of it that are the same are taken over.
            known: other open models, the same.

        Raises:
            HybridSearchError: whatever `Store.reader`, `check_request` and `load_models` raise.
        """
        reader = self.store.reader(self.collection)
        try:
            check_request(self.collection, reader.manifest, ModelRequest(self.profile, self.names))
            if before is not None and reader.manifest.legs == before.reader.manifest.legs:
                return open_collection(self.collection, reader, before.encoders)
            fingerprints = {leg.fingerprint for leg in reader.manifest.legs.values()}
            open_already = [*known, *([] if before is None else _same(before, fingerprints))]
            models = load_models(self.collection, reader.manifest, self.settings, known=open_already)
            return open_collection(self.collection, reader, models.encoders)
        except BaseException:
            reader.close()
            raise


def _same(before: OpenCollection, fingerprints: set[str]) -> list[Encoder]:
    """Return encoders that were open, of which a collection still has the vectors."""
    legs = before.reader.manifest.legs
    return [encoder for leg, encoder in before.encoders.items() if legs[leg].fingerprint in fingerprints]


class _State:
    """One state of a collection, shared by the searches that are in it."""

    def __init__(self, opened: OpenCollection) -> None:
        self.opened = opened
        self.searches = SharedResource(lambda opened: opened.reader.close(), opened)
        self.stale = False

    def enter(self) -> None:
        """Count one search more; Retired where none enters any more."""
        self.searches.acquire(lambda: self.opened)


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
        self._searches = SharedResource(_shut_down, pools)
        self._lock, self._renewing = threading.Lock(), threading.Lock()
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
            self._closed = True
        self._state.searches.retire()
        self._searches.retire()

    def acquire(self) -> _State:
        """Return the state that is there now, with one search more in it; `release` ends that."""
        while True:
            self.check()
            self.maybe_refresh()
            state = self._state
            with suppress(Retired):  # another one is there by now, or it has been closed
                state.enter()
                try:
                    self._searches.acquire(lambda: self._pools)
                except Retired:
                    state.searches.release()
                    raise
                return state

    def release(self, state: _State) -> None:
        """Let one search out of a state."""
        state.searches.release()
        self._searches.release()

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
                self._state = new
        if closed:
            new.searches.retire()
            self.check()
        old.searches.retire()


def _shut_down(pools: Sequence[Executor]) -> None:
    for pool in pools:
        pool.shutdown(wait=False)


async def run_in_pool(latest: ReaderManager, pool: Executor, job: Callable[[OpenCollection], T]) -> T:
    """Do `latest.run` in a thread beside the event loop, with the caller's context variables."""
    import asyncio  # a fifth of what a searcher takes to import, and no use to most
    from contextvars import copy_context

    latest.check()  # a fork has none of the pool's threads, and would wait for ever
    run = partial(copy_context().run, latest.run, lambda opened: job(yielding_gil(opened)))
    return await asyncio.get_running_loop().run_in_executor(pool, run)


def yielding_gil(opened: OpenCollection) -> OpenCollection:
    """Return the same, open for a thread beside an event loop: between two steps of a search the loop has its turn.

    The engine holds the interpreter while it works, and Python hands it over only after 5 ms of its own
    (`sys.getswitchinterval`), or when a thread lets go of it.
    """
    return opened._replace(reader=cast(CollectionReader, _GilYieldingReader(opened.reader)))


class _GilYieldingReader:
    """A reader that lets go of the interpreter after each call."""

    def __init__(self, reader: CollectionReader) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._reader, name)
        if not callable(attribute):
            return attribute

        def yielding(*arguments: Any, **options: Any) -> Any:
            time.sleep(PAUSE_S)
            answer = attribute(*arguments, **options)
            time.sleep(PAUSE_S)
            return answer

        return yielding
