"""The collections that evaluations build: kept in the cache folder, and found again by their content."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from hybrid_search.errors import CollectionNotFound
from hybrid_search.settings import Settings
from hybrid_search.store.edge.disk import real_size
from hybrid_search.store.edge.store import EdgeStore

WAIT_S = 3600.0
"""Seconds to wait for another evaluation that builds the same collection."""


class Kept(NamedTuple):
    """What lies there: the folder, how many collections, and the bytes that they take on disk."""

    folder: Path
    collections: int
    bytes: int


def store_of(settings: Settings) -> EdgeStore:
    """The store of such collections; never the user's own."""
    return EdgeStore(settings.cache_dir / "evaluation")


def kept(settings: Settings) -> Kept:
    """What evaluations have left so far."""
    folder = store_of(settings).folder
    return Kept(folder, len(_folders(folder)), real_size(folder))


def clear(settings: Settings) -> Kept:
    """Remove all of it, and say what that was.

    Raises:
        StoreBusy: an evaluation is building one of them.
    """
    store, gone = store_of(settings), kept(settings)
    for name in _folders(store.folder):
        try:
            store.delete(name)
        except CollectionNotFound:  # nothing was written into it
            continue
    for file in store.folder.glob("jobs.*"):
        file.unlink(missing_ok=True)
    return gone


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
