"""Remembers the documents of this run in bounded memory: to find duplicates, and to prune what the sources lost."""

from __future__ import annotations

import sqlite3
from types import TracebackType

CACHE_KIB = 16 * 1024


class Ledger:
    """The ids, content hashes and origins of one run's documents; gone when closed.

    Stored in SQLite's own temporary database: in its page cache while small, then in a file that SQLite removes. Only
    one thread at a time may use it, not always the same one.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        # One transaction that is never committed: nothing here has to outlive the run.
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            f"PRAGMA cache_size = -{CACHE_KIB}",
            "CREATE TABLE met (doc_id BLOB PRIMARY KEY, content_hash TEXT, origin TEXT) WITHOUT ROWID",
            "BEGIN",
        ):
            self._db.execute(statement)
        self._count = 0

    def seen(self, doc_id: str, content_hash: str, origin: str) -> tuple[str, str] | None:
        """Record a document; return None if it is the first with its id in this run.

        Otherwise return the (content hash, origin) of the first.
        """
        key = _key(doc_id)
        added = self._db.execute("INSERT OR IGNORE INTO met VALUES (?, ?, ?)", (key, content_hash, origin)).rowcount
        if added:
            self._count += 1
            return None
        first: tuple[str, str] = self._db.execute(
            "SELECT content_hash, origin FROM met WHERE doc_id = ?", (key,)
        ).fetchone()
        return first

    def __contains__(self, doc_id: str) -> bool:
        return self._db.execute("SELECT 1 FROM met WHERE doc_id = ?", (_key(doc_id),)).fetchone() is not None

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _key(doc_id: str) -> bytes:
    """Return the id as bytes: SQLite text cannot hold the lone surrogates that an id made in memory may have."""
    return doc_id.encode("utf-8", "surrogatepass")
