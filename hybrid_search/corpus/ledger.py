"""Remembers the documents of this run in bounded memory: to find duplicates, and to prune what the sources lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from types import TracebackType

CACHE_KIB = 16 * 1024


class Ledger:
    """The ids, content hashes and origins of one run's documents; gone when closed.

    Stored in SQLite's own temporary database: in its page cache while small, then in a file that SQLite removes. Only
    one thread at a time may use it, not always the same one.
    """

    def __init__(self) -> None:
        table = "CREATE TABLE met (doc_id BLOB PRIMARY KEY, content_hash TEXT, origin TEXT) WITHOUT ROWID"
        self._db = temporary_database(table)
        self._count = 0

    def seen(self, doc_id: str, content_hash: str, origin: str) -> tuple[str, str] | None:
        """Record a document; return None if it is the first with its id in this run.

        Otherwise return the (content hash, origin) of the first.
        """
        key = as_key(doc_id)
        added = self._db.execute("INSERT OR IGNORE INTO met VALUES (?, ?, ?)", (key, content_hash, origin)).rowcount
        if added:
            self._count += 1
            return None
        first: tuple[str, str] = self._db.execute(
            "SELECT content_hash, origin FROM met WHERE doc_id = ?", (key,)
        ).fetchone()
        return first

    def __contains__(self, doc_id: str) -> bool:
        return self._db.execute("SELECT 1 FROM met WHERE doc_id = ?", (as_key(doc_id),)).fetchone() is not None

    def __len__(self) -> int:
        return self._count

    def doc_ids(self) -> Iterator[str]:
        """Yield the documents' ids, sorted by their bytes."""
        for (key,) in self._db.execute("SELECT doc_id FROM met ORDER BY doc_id"):
            yield from_key(key)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def temporary_database(table: str) -> sqlite3.Connection:
    """Open a database with one table, in SQLite's own temporary file."""
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    # One transaction that is never committed: nothing here has to outlive the run.
    for statement in (
        "PRAGMA journal_mode = OFF",
        "PRAGMA synchronous = OFF",
        f"PRAGMA cache_size = -{CACHE_KIB}",
        table,
        "BEGIN",
    ):
        database.execute(statement)
    return database


def as_key(doc_id: str) -> bytes:
    """Return the id as bytes: SQLite text cannot hold the lone surrogates that an id made in memory may have."""
    return doc_id.encode("utf-8", "surrogatepass")


def from_key(key: bytes) -> str:
    """Return the id of a key; the inverse of `as_key`."""
    return key.decode("utf-8", "surrogatepass")
