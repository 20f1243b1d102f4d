"""The collections of one store, each opened once and shared: what a process that serves many callers holds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from hybrid_search.errors import CollectionNotFound, HybridSearchError, StoreError
from hybrid_search.profiles import Models, open_place, reopen
from hybrid_search.protocols import CollectionInfo, CollectionReader, Store
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings, load_settings

log = logging.getLogger(__name__)

MOST_OPEN = 8
"""Collections that are kept open; of more, the one that was asked for longest ago is closed."""

LOOK_AFTER_S = 1.0
"""How often a collection is looked at for a newer publication, at most."""


@dataclass(eq=False)
class _Open:
    """An open collection, and how many use it now."""

    searcher: Searcher
    reader: CollectionReader
    models: Models
    users: int = 0
    looked: float = field(default_factory=monotonic)
    retired: bool = False


class Searchers:
    """Searchers by collection, for many threads: opened when first asked for, anew where published anew.

    Whoever searches while a collection is published again gets the old one or the new one, whole; the models are kept
    where they are the same.

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
        self.only = None if only is None else tuple(only)
        self._place = store
        self._store: Store | None = None
        self._open: dict[str, _Open] = {}  # the one asked for longest ago first
        self._lock = threading.Lock()
        self._doors = [threading.Lock() for _ in range(16)]

    @property
    def store(self) -> Store:
        """The store, opened when first asked for. Raises StoreUnavailable where the server does not answer."""
        with self._lock:
            if self._store is None:
                self._store = open_place(self._place, self.settings)
            return self._store

    def names(self) -> list[str]:
        """The collections that may be asked for, sorted."""
        there = self.store.names()
        return there if self.only is None else [name for name in there if name in self.only]

    def infos(self) -> list[CollectionInfo]:
        """What they hold; one that cannot be read is left out, and logged."""
        found = []
        for name in self.names():
            try:
                found.append(self.store.info(name))
            except StoreError as error:
                log.warning("%s", error)
        return found

    @contextmanager
    def use(self, name: str) -> Iterator[Searcher]:
        """The searcher of a collection, open at least until the block ends.

        Raises:
            CollectionNotFound: there is none of this name, or none that may be asked for.
            HybridSearchError: whatever `Searcher.open` raises.
        """
        entry = self._enter(name)
        try:
            yield entry.searcher
        finally:
            self._left(entry)

    def close(self) -> None:
        """Close them all, those in use when their users leave."""
        with self._lock:
            names = list(self._open)
        for name in names:
            self._retire(name)

    def _enter(self, name: str) -> _Open:
        if self.only is not None and name not in self.only:
            raise CollectionNotFound(name, self.names(), self.store.location)
        entry = self._taken(name)
        if entry is None:
            with self._door(name):
                return self._taken(name) or self._opened(name)
        try:
            newer = self._newer(name, entry)
        except BaseException:
            self._left(entry)
            raise
        if newer is None:
            return entry
        self._left(entry)
        return newer

    def _taken(self, name: str) -> _Open | None:
        """The open one, with one user more."""
        with self._lock:
            entry = self._open.pop(name, None)
            if entry is not None:
                self._open[name] = entry
                entry.users += 1
            return entry

    def _newer(self, name: str, entry: _Open) -> _Open | None:
        """What has been published since, if anything. While one caller opens it, the others go on with the old one."""
        door = self._door(name)
        if monotonic() - entry.looked < LOOK_AFTER_S or not door.acquire(blocking=False):
            return None
        try:
            entry.looked = monotonic()
            if entry.retired or not entry.reader.outdated():
                return None
            return self._opened(name, entry.models)
        except CollectionNotFound:
            self._retire(name)
            raise
        except HybridSearchError as error:
            log.warning("Collection %r has changed and cannot be opened anew: %s", name, error)
            return None
        finally:
            door.release()

    def _opened(self, name: str, known: Models | None = None) -> _Open:
        """Open it and put it in the place of the old one, with one user. Under the collection's door."""
        reader = self.store.reader(name)
        try:
            models = known
            if known is None or not _same(known, reader):
                models = reopen(name, reader.manifest, self.settings)
            assert models is not None
            entry = _Open(Searcher(name, reader, models, self.settings), reader, models, users=1)
        except BaseException:
            reader.close()
            raise
        self._retire(name)
        with self._lock:
            self._open[name] = entry
            oldest = list(self._open)[:-MOST_OPEN]
        for other in oldest:
            self._retire(other)
        return entry

    def _retire(self, name: str) -> None:
        """Let nobody else have it; close it when nobody uses it any more."""
        with self._lock:
            entry = self._open.pop(name, None)
            if entry is None:
                return
            entry.retired = True
            last = entry.users == 0
        if last:
            entry.searcher.close()

    def _left(self, entry: _Open) -> None:
        """One less uses it."""
        with self._lock:
            entry.users -= 1
            last = entry.retired and entry.users == 0
        if last:
            entry.searcher.close()

    def _door(self, name: str) -> threading.Lock:
        """Held by whoever opens this collection, so that nobody opens it twice; some share one."""
        return self._doors[hash(name) % len(self._doors)]


def _same(models: Models, reader: CollectionReader) -> bool:
    """Whether the models that are loaded are those that a collection was built with, prepared in the same way."""
    specs = reader.manifest.legs
    return set(models.encoders) == set(specs) and all(
        encoder.fingerprint() == specs[leg].fingerprint for leg, encoder in models.encoders.items()
    )
