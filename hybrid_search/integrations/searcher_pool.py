"""The collections of one store, each opened once and shared: what a process that serves many callers holds."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from hybrid_search._util.shared_resource import Retired, SharedResource
from hybrid_search.collection.models import open_store_for
from hybrid_search.errors import CollectionNotFound, StoreError
from hybrid_search.protocols import CollectionInfo, Store
from hybrid_search.results import Expansion
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings, load_settings
from hybrid_search.types import LegName

MOST_OPEN = 8
"""Collections that are kept open; of more, the one that was asked for longest ago and is not in use is closed."""


class SearcherPool:
    """Searchers by collection, for many threads: opened when first asked for, closed when too many are open.

    A searcher follows its collection by itself, so what is published later is found; one that is deleted is forgotten.

    Args:
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        only: the collections that may be asked for; all of the store when not given.
    """

    def __init__(
        self,
        store: str | Path | Store | None = None,
        settings: Settings | None = None,
        only: Sequence[str] | None = None,
    ) -> None:
        self.settings = settings or load_settings()
        self.only = None if only is None else tuple(dict.fromkeys(only))
        self._place = store
        self._store: Store | None = None
        self._searchers: dict[str, SharedResource[Searcher]] = {}  # the one asked for longest ago first
        self._closed = False
        self._lock = threading.Lock()  # held for moments
        self._opening = threading.Lock()  # held while the store is opened

    @property
    def store(self) -> Store:
        """Return the store, opened when first asked for. Raises StoreUnavailable where the server does not answer."""
        with self._opening:
            if self._store is None:
                self._store = open_store_for(self._place, self.settings)
            return self._store

    def names(self) -> list[str]:
        """Return the collections that may be asked for and are there now, sorted."""
        there = self.store.names()
        return there if self.only is None else [name for name in there if name in self.only]

    def infos(self) -> tuple[list[CollectionInfo], list[StoreError]]:
        """Return what they hold, without opening them; and why, of those that cannot be read."""
        found, problems = [], []
        for name in self.names():
            try:
                found.append(self.store.info(name))
            except StoreError as error:
                problems.append(error)
        return found, problems

    @contextmanager
    def use(self, name: str) -> Iterator[Searcher]:
        """Yield the searcher of a collection, open at least until the block ends.

        Raises:
            CollectionNotFound: there is none of this name, or none that may be asked for.
            StoreError: they have been closed.
            HybridSearchError: whatever `Searcher.open` raises.
        """
        if self.only is not None and name not in self.only:
            raise CollectionNotFound(name, self.names(), self.store.location)
        shared, searcher = self._acquire(name)
        try:
            yield searcher
        except CollectionNotFound:
            self._forget(name, shared)  # deleted since it was opened
            raise
        finally:
            shared.release()
            self._close_surplus()

    def close(self) -> None:
        """Close them all, those in use when their users leave."""
        with self._lock:
            self._closed = True
            shared = list(self._searchers.values())
            self._searchers.clear()
        for one in shared:
            one.retire()

    def __enter__(self) -> SearcherPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _acquire(self, name: str) -> tuple[SharedResource[Searcher], Searcher]:
        """Return a collection's searcher, with one user more, as the one that was asked for last."""
        while True:
            with self._lock:
                if self._closed:
                    raise StoreError("The collections that were open here have been closed.")
                shared = self._searchers.pop(name, None) or SharedResource(Searcher.close)
                self._searchers[name] = shared
            try:
                return shared, shared.acquire(lambda: Searcher.open(name, store=self.store, settings=self.settings))
            except Retired:
                continue  # it was closed as one too many, just now
            except BaseException:
                self._forget(name, shared)
                raise

    def _forget(self, name: str, shared: SharedResource[Searcher]) -> None:
        """Let the next who asks open it anew; the last who uses this one closes it."""
        with self._lock:
            if self._searchers.get(name) is shared:
                del self._searchers[name]
        shared.retire()

    def _close_surplus(self) -> None:
        """Close what is too many, of those that nobody uses the one that was asked for longest ago first."""
        with self._lock:
            opened = [(name, shared) for name, shared in self._searchers.items() if shared.is_open]
            idle = [(name, shared) for name, shared in opened if not shared.in_use]
            surplus = idle[: max(0, len(opened) - MOST_OPEN)]
            for name, _ in surplus:
                del self._searchers[name]
        for _, shared in surplus:
            shared.retire()


def expansion(searcher: Searcher, query: str, leg: LegName) -> Expansion:
    """Return what a sparse leg's model makes of a query, and which model that is; InvalidArgument for other legs."""
    terms = searcher.expansion(query, leg)
    return Expansion(query, searcher.collection, leg, searcher.manifest.legs[leg].model, terms)
