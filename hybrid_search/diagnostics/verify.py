"""Verifying collections: comparing all they hold with what was written, and checking the journal of their jobs.

for found in verify("movies"):
    print(found.collection, found.whole, found.findings)
"""

from __future__ import annotations

from pathlib import Path

from hybrid_search.collection.models import open_store_for
from hybrid_search.indexing.journal import journal_problem
from hybrid_search.protocols import Finding, Store, Verification
from hybrid_search.settings import Settings, load_settings

JOURNAL = "journal of jobs"


def verify(
    collection: str | None = None, *, store: str | Path | Store | None = None, settings: Settings | None = None
) -> list[Verification]:
    """Compare a collection, or every one of a store, with what was written. Changes nothing.

    In a folder it compares every byte of every file, and every point; on a server the manifest and every point. Files
    that a writer is working on are skipped.

    Args:
        collection: its name; None for all, with the journal of the store's jobs as one more.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.

    Raises:
        CollectionNotFound, StoreUnavailable: see there.
    """
    place = open_store_for(store, settings or load_settings())
    found = place.verify(collection)
    problem = journal_problem(place.location)
    if problem or collection is None:
        state = Finding(JOURNAL, "damaged" if problem else "whole", problem or "can be read")
        found = [*found, Verification(JOURNAL, [state])]
    return found
