"""The collections of one store, each opened once and shared: what a process that serves many callers holds."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from hybrid_search.collection.models import open_store_for
from hybrid_search.errors import CollectionNotFound, StoreError
from hybrid_search.protocols import CollectionInfo, Store
from hybrid_search.results import Expansion
from hybrid_search.search.pipeline import OpenCollection
from hybrid_search.search.retrieval import expand_query
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings, load_settings
from hybrid_search.types import LegName

MOST_OPEN = 8
"""Collections that are kept open; of more, the one that was asked for longest ago and is not in use is closed."""


@dataclass(eq=False)
class _Entry:
    """A collection that is open, or being opened, and how many use it now."""

    name: str
    searcher: Searcher | None = None
    users: int = 0
    door: threading.Lock = field(default_factory=threading.Lock)  # held by whoever opens it


class SearcherPool:
    """SearcherPool by collection, for many threads: opened when first asked for, closed when too many are open.

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
        self._entries: dict[str, _Entry] = {}  # the one asked for longest ago first
        self._closed = False
        self._lock = threading.Lock()  # held for moments
        self._opening = threading.Lock()  # held while the store is opened

    @property
    def store(self) -> Store:
        """The store, opened when first asked for. Raises StoreUnavailable where the server does not answer."""
        with self._opening:
            if self._store is None:
                self._store = open_store_for(self._place, self.settings)
            return self._store

    def names(self) -> list[str]:
        """The collections that may be asked for and are there now, sorted."""
        there = self.store.names()
        return there if self.only is None else [name for name in there if name in self.only]

    def infos(self) -> tuple[list[CollectionInfo], list[StoreError]]:
        """What they hold, without opening them; and why, of those that cannot be read."""
        found, problems = [], []
        for name in self.names():
            try:
                found.append(self.store.info(name))
            except StoreError as error:
                problems.append(error)
        return found, problems

    @contextmanager
    def use(self, name: str) -> Iterator[Searcher]:
        """The searcher of a collection, open at least until the block ends.

        Raises:
            CollectionNotFound: there is none of this name, or none that may be asked for.
            StoreError: they have been closed.
            HybridSearchError: whatever `Searcher.open` raises.
        """
        if self.only is not None and name not in self.only:
            raise CollectionNotFound(name, self.names(), self.store.location)
        entry = self._entered(name)
        try:
            yield self._opened(entry)
        except CollectionNotFound:
            self._forget(entry)  # deleted since it was opened
            raise
        finally:
            self._left(entry)

    def close(self) -> None:
        """Close them all, those in use when their users leave."""
        with self._lock:
            self._closed = True
            entries = list(self._entries.values())
            self._entries.clear()
            idle = [entry for entry in entries if not entry.users]
        _close(idle)

    def __enter__(self) -> SearcherPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _entered(self, name: str) -> _Entry:
        """The collection's entry, with one user more, as the one that was asked for last."""
        with self._lock:
            if self._closed:
                raise StoreError("The collections that were open here have been closed.")
            entry = self._entries.pop(name, None) or _Entry(name)
            self._entries[name] = entry
            entry.users += 1
            return entry

    def _opened(self, entry: _Entry) -> Searcher:
        """The entry's searcher, opened by the first who comes; the others wait."""
        with entry.door:
            if entry.searcher is None:
                try:
                    entry.searcher = Searcher.open(entry.name, store=self.store, settings=self.settings)
                except BaseException:
                    self._forget(entry)
                    raise
            return entry.searcher

    def _forget(self, entry: _Entry) -> None:
        """Let the next who asks open it anew; the last who uses this one closes it."""
        with self._lock:
            if self._entries.get(entry.name) is entry:
                del self._entries[entry.name]

    def _left(self, entry: _Entry) -> None:
        """One less uses it. Close it if it is to be kept no more, and what is too many."""
        with self._lock:
            entry.users -= 1
            kept = self._entries.get(entry.name) is entry
            over = [] if kept or entry.users else [entry]
            opened = [other for other in self._entries.values() if other.searcher is not None]
            idle = [other for other in opened if not other.users]
            for other in idle[: max(0, len(opened) - MOST_OPEN)]:
                del self._entries[other.name]
                over.append(other)
        _close(over)


def expansion(searcher: Searcher, query: str, leg: LegName) -> Expansion:
    """What a sparse leg's model makes of a query, and which model that is; InvalidArgument for other legs."""

    def told(opened: OpenCollection) -> Expansion:
        terms = expand_query(query, leg, opened.encoders, opened.collection)
        return Expansion(query, opened.collection, leg, opened.reader.manifest.legs[leg].model, terms)

    return searcher.within(told)


def _close(entries: Sequence[_Entry]) -> None:
    for entry in entries:
        if entry.searcher is not None:
            entry.searcher.close()
