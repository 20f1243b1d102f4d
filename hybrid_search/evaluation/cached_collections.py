"""Keeps the collections that evaluations build in the cache folder, and finds them again by their content."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from hybrid_search.errors import CollectionNotFound
from hybrid_search.settings import Settings
from hybrid_search.store.edge.disk import real_size
from hybrid_search.store.edge.store import EdgeStore

WAIT_S = 3600.0
"""Seconds to wait for another evaluation that builds the same collection."""


class Kept(NamedTuple):
    """What evaluations keep: the folder, the number of collections, and the bytes they take on disk."""

    folder: Path
    collections: int
    bytes: int


def store_of(settings: Settings) -> EdgeStore:
    """Return the store of the evaluations' collections; it is never the user's own."""
    return EdgeStore(settings.cache_dir / "evaluation")


def corpora_of(settings: Settings) -> Path:
    """Return the folder of documents that were written as a corpus.jsonl, each in a folder of its own."""
    return settings.cache_dir / "evaluation-corpora"


def kept(settings: Settings) -> Kept:
    """Return what evaluations have kept so far."""
    folder = store_of(settings).folder
    return Kept(folder, len(_folders(folder)), real_size(folder) + real_size(corpora_of(settings)))


def clear(settings: Settings) -> Kept:
    """Remove all collections of evaluations, and return what they were.

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
    shutil.rmtree(corpora_of(settings), ignore_errors=True)
    return gone


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
