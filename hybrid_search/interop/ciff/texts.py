"""The texts of documents by their ids, of a BEIR corpus, in bounded memory: a CIFF file has none."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hybrid_search.corpus.fields import FieldMap, document_of
from hybrid_search.corpus.jsonl import jsonl_records
from hybrid_search.corpus.ledger import CACHE_KIB
from hybrid_search.errors import CorpusError, StoreFull
from hybrid_search.types import Document, Failure

NAMED = 3
"""Ids that are named of documents which the corpus lacks."""


class Texts:
    """The documents of a corpus, in SQLite's own temporary database.

    Args:
        path: JSON lines of `{"_id", "title", "text"}`; other fields are metadata.

    Raises:
        CorpusError: it cannot be read, a line is no document, or an id comes twice.
        StoreFull: there is no room for the temporary database.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.found, self.missing = path, 0, list[str]()
        self._lacking = 0
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        try:
            with self._full():
                for statement in (
                    "PRAGMA journal_mode = OFF",
                    f"PRAGMA cache_size = -{CACHE_KIB}",
                    "CREATE TABLE texts (doc_id TEXT PRIMARY KEY, document TEXT) WITHOUT ROWID",
                    "BEGIN",
                ):
                    self._database.execute(statement)
                for document in _read(path):
                    self._add(document)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the database."""
        self._database.close()

    def start_over(self) -> None:
        """Forget which documents were asked for."""
        self.found = self._lacking = 0
        self.missing.clear()

    def of(self, doc_id: str) -> Document:
        """Return the document with an id; one without text, which is counted, where the corpus lacks it."""
        with self._full():
            row = self._database.execute("SELECT document FROM texts WHERE doc_id = ?", (doc_id,)).fetchone()
        if row is None:
            self._lacking += 1
            if len(self.missing) <= NAMED:
                self.missing.append(doc_id)
            return Document(doc_id, "")
        self.found += 1
        text, title, metadata = json.loads(row[0])
        return Document(doc_id, text, title, metadata)

    def check(self) -> None:
        """Refuse a corpus that has the text of no document that was asked for.

        Raises:
            CorpusError: it has none.
        """
        if self._lacking and not self.found:
            raise CorpusError(
                f"{self.path} has none of the {self._lacking:,} documents of the file, {self.missing[0]!r} neither: it "
                "is another corpus, or has other ids. Nothing was written."
            )

    def passed_over(self) -> dict[str, int]:
        """Count and name the documents that the corpus lacks, as a report does."""
        if not self._lacking:
            return {}
        names = ", ".join(repr(name) for name in self.missing[:NAMED])
        more = ", ..." if self._lacking > NAMED else ""
        return {f"documents without a text in {self.path.name} ({names}{more})": self._lacking}

    def _add(self, document: Document) -> None:
        values = (document.doc_id, json.dumps([document.text, document.title, dict(document.metadata)]))
        if not self._database.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", values).rowcount:
            raise CorpusError(f"{document.origin}: the id {document.doc_id!r} comes twice. Nothing was written.")

    @contextmanager
    def _full(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StoreFull(f"There is no room for the texts of {self.path} in a temporary file: {error}.") from error


def _read(path: Path) -> Iterator[Document]:
    try:
        with path.open("rb") as stream:
            for record in jsonl_records(stream, "utf-8", origin=str(path)):
                if isinstance(record, Failure):
                    raise CorpusError(f"{record.origin}: {record.reason}. Nothing was written.")
                yield _document(path, *record)
    except OSError as error:
        raise CorpusError(f"Cannot read {path}: {error.strerror or error}. Nothing was written.") from error


def _document(path: Path, line: int, record: dict[str, Any]) -> Document:
    origin = f"{path}:{line}"
    if record.get("_id") in (None, "") or not isinstance(record.get("text"), str):
        raise CorpusError(f'{origin}: expected an object with "_id" and "text". Nothing was written.')
    blank = not f"{record['text']}{record.get('title') or ''}".strip()
    found = document_of({**record, "text": "?"} if blank else record, FieldMap(), origin=origin, fallback_id="")
    if isinstance(found, Failure):
        raise CorpusError(f"{origin}: {found.reason}. Nothing was written.")
    return replace(found, text="") if blank else found
