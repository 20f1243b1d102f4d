"""Collections that a server keeps open for many callers, and opens again when they have changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from hybrid_search.errors import CollectionNotFound, HybridSearchError, InvalidArgument, near
from hybrid_search.profiles import Models, open_place, reopen
from hybrid_search.protocols import CollectionInfo, CollectionReader, Store
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings

FRESH_S = 1.0
"""Seconds after which a collection in use is looked at again: whether another version of it has been published."""


@dataclass
class Open:
    """One version of a collection, open: `reader` for what it holds, `searcher` for what it answers."""

    name: str
    version: str
    reader: CollectionReader
    searcher: Searcher
    models: Models
    looked_at: float
    users: int = 0
    replaced: bool = False


class OpenCollections:
    """Collections of one store, opened when they are first asked for.

    Safe to use from many threads. A collection that was indexed or rebuilt meanwhile is opened again; who is using the
    old version goes on with it to the end.

    Args:
        settings: where the store is, and where models are.
        names: the collections that may be asked for; all of the store when there are none.
        store: instead of the one that the settings name.
        fresh_s: seconds for which a version is taken for the newest without looking.
    """

    def __init__(
        self, settings: Settings, names: Sequence[str] = (), *, store: Store | None = None, fresh_s: float = FRESH_S
    ) -> None:
        self.store = open_place(store, settings)
        self.only = tuple(dict.fromkeys(names))
        self._settings, self._fresh_s = settings, fresh_s
        self._open: dict[str, Open] = {}
        self._turn = threading.RLock()
        self._closed = False

    def names(self) -> list[str]:
        """The collections that may be asked for and are there now."""
        there = self.store.names()
        return [name for name in self.only if name in there] if self.only else there

    def named(self, name: str = "") -> str:
        """The collection that is meant; without a name the only one there is.

        Raises:
            InvalidArgument: no name and not exactly one collection, or one that may not be asked for.
        """
        if not name:
            names = list(self.only) or self.names()
            if len(names) == 1:
                return names[0]
            known = f"one of: {', '.join(names)}" if names else "there is none yet"
            raise InvalidArgument(f"No collection is named; {known}.")
        if self.only and name not in self.only:
            close = near(name, self.only)
            hint = (
                f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Take one of: {', '.join(self.only)}."
            )
            raise InvalidArgument(f"Collection {name!r} is not served here. {hint}")
        return name

    def info(self, name: str) -> CollectionInfo:
        """A collection from outside, without opening it. Raises what `named` does, and CollectionNotFound."""
        return self.store.info(self.named(name))

    @contextmanager
    def open(self, name: str = "") -> Iterator[Open]:
        """The newest version of a collection, open as long as it is used.

        Raises:
            HybridSearchError: whatever `named` and `Searcher.open` raise.
        """
        found = self._take(self.named(name))
        try:
            yield found
        finally:
            with self._turn:
                found.users -= 1
                self._let_go(found)

    def close(self) -> None:
        """Close what nobody uses now; what is in use closes when its user is done."""
        with self._turn:
            self._closed = True
            for found in self._open.values():
                found.replaced = True
                self._let_go(found)
            self._open.clear()

    def __enter__(self) -> OpenCollections:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _take(self, name: str) -> Open:
        with self._turn:
            if self._closed:
                raise InvalidArgument("The collections have been closed.")
            found = self._open.get(name)
            if found is None or not self._is_newest(found):
                made = self._opened(name, found)
                if found is not None:
                    found.replaced = True
                    self._let_go(found)
                self._open[name] = found = made
            found.users += 1
            return found

    def _is_newest(self, found: Open) -> bool:
        now = time.monotonic()
        if now - found.looked_at < self._fresh_s:
            return True
        try:
            same = self.store.version(found.name) == found.version
        except CollectionNotFound:
            del self._open[found.name]
            found.replaced = True
            self._let_go(found)
            raise
        found.looked_at = now
        return same

    def _opened(self, name: str, old: Open | None) -> Open:
        # Asked before opening: what is published in between is seen at the next look.
        version = self.store.version(name)
        reader = self.store.reader(name)
        try:
            same = old is not None and old.reader.manifest.legs == reader.manifest.legs
            # Loaded once, however often the collection changes.
            models = old.models if old and same else reopen(name, reader.manifest, self._settings)
            searcher = Searcher(name, reader, models, self._settings)
        except BaseException:
            reader.close()
            raise
        return Open(name, version, reader, searcher, models, time.monotonic())

    def _let_go(self, found: Open) -> None:
        if found.replaced and found.users == 0:
            found.searcher.close()


def infos(collections: OpenCollections) -> list[CollectionInfo | HybridSearchError]:
    """Every collection from outside; the error where one cannot be read."""
    found: list[CollectionInfo | HybridSearchError] = []
    for name in collections.names():
        try:
            found.append(collections.store.info(name))
        except HybridSearchError as error:
            found.append(error)
    return found
