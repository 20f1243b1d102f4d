"""Reads what documents are to be expanded with from a file: predicted queries (doc2query), or terms (TILDE).

A line is a JSON object, such as `{"id": "d1", "predicted_queries": ["what is tea", "who drinks tea"]}`, or an id, a tab
and text. A file of text alone, whose line n belongs to document n of a corpus, is refused: which document is the n-th
depends on the folders, the files and the lines that could be read, and one line less would shift all others silently.

Source: Nogueira and Lin, From doc2query to docTTTTTquery, 2019; Zhuang and Zuccon, Fast Passage Re-ranking with
Contextualized Exact Term Matching and Efficient Passage Expansion, 2021 (TILDE).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import IO, Any

from hybrid_search._util.unicode_text import nfc
from hybrid_search.corpus.decoding import (
    SAMPLE_BYTES,
    Undecodable,
    numbered_lines,
    open_unpacked,
    sniff,
    without_surrogates,
)
from hybrid_search.corpus.jsonl import jsonl_records
from hybrid_search.corpus.ledger import as_key, from_key, temporary_database
from hybrid_search.errors import CorpusError
from hybrid_search.types import Failure

ID_FIELDS = ("id", "_id", "doc_id")
TEXT_FIELDS = ("queries", "predicted_queries", "expansion", "terms")
"""Fields of a JSON line: the first that is there is the id; all texts that are there belong to it."""

SHOWN_FAULTS = 5
"""Lines that are named where a file is refused."""

_ADD = """INSERT INTO expansion VALUES (?, ?)
          ON CONFLICT (doc_id) DO UPDATE SET text = text || char(10) || excluded.text"""

Row = tuple[str, str]
"""A document's id, and text for it."""


class Expansions:
    """The expansions of a file by document, on disk and not in memory; gone when closed. Several threads may ask.

    What a file says of one document in several lines is joined, in their order: published files have a query a line.
    """

    def __init__(self) -> None:
        self._db = temporary_database("CREATE TABLE expansion (doc_id BLOB PRIMARY KEY, text TEXT)")
        self._lock = Lock()

    def add(self, doc_id: str, text: str) -> None:
        """Add text to a document's expansion; blank text is none."""
        if text.strip():
            with self._lock:
                self._db.execute(_ADD, (as_key(doc_id), text))

    def of(self, doc_id: str) -> str:
        """Return a document's expansion; empty where there is none."""
        with self._lock:
            found = self._db.execute("SELECT text FROM expansion WHERE doc_id = ?", (as_key(doc_id),)).fetchone()
        return "" if found is None else str(found[0])

    def doc_ids(self) -> Iterator[str]:
        """Yield the ids, sorted by their bytes."""
        last = b""
        while keys := self._keys_after(last):
            yield from map(from_key, keys)
            last = keys[-1]

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _keys_after(self, last: bytes) -> list[bytes]:
        with self._lock:
            rows = self._db.execute(
                "SELECT doc_id FROM expansion WHERE doc_id > ? ORDER BY doc_id LIMIT 1000", (last,)
            ).fetchall()
        return [key for (key,) in rows]


def with_expansion(text: str, expansion: str) -> str:
    """Return a text with its expansion behind it: what a model's limit cuts off is the expansion first.

    >>> with_expansion("Tea is brewed.", "how is tea made")
    'Tea is brewed.\\nhow is tea made'
    """
    return f"{text}\n{expansion}" if expansion else text


def read_expansions(path: Path) -> Expansions:
    """Read a file of expansions, whole: JSON lines, or lines of id, tab and text; each also with gzip.

    A broken line refuses the file: its content is part of what a collection is built with, so a line mended later would
    be another file.

    Raises:
        CorpusError: the file is not there, cannot be read, holds nothing, or has broken lines, which it names.
    """
    expansions, faults, rows = Expansions(), [], 0
    try:
        with open_unpacked(path) as stream:
            for found in _rows(stream, str(path)):
                if isinstance(found, Failure):
                    faults.append(found)
                else:
                    rows += 1
                    expansions.add(*found)
        if faults or not rows:
            raise CorpusError(_refusal(path, faults))
    except (OSError, EOFError, zlib.error) as error:  # what gzip raises for damaged files
        expansions.close()
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(f"The expansions {path} cannot be read: {reason}. Nothing was written.") from error
    except BaseException:
        expansions.close()
        raise
    return expansions


def _refusal(path: Path, faults: list[Failure]) -> str:
    if not faults:
        return f"The expansions {path} hold no line. Nothing was written."
    more = f"; and {len(faults) - SHOWN_FAULTS:,} more" if len(faults) > SHOWN_FAULTS else ""
    lines = "line is" if len(faults) == 1 else "lines are"
    return (
        f"{len(faults):,} {lines} broken in the expansions: {'; '.join(map(str, faults[:SHOWN_FAULTS]))}{more}. Mend "
        "the file, or leave these lines out. Nothing was written."
    )


def _rows(stream: IO[bytes], origin: str) -> Iterator[Row | Failure]:
    """Yield the rows of a file; the first line that is not blank says how they are written."""
    try:
        encoding = sniff(stream.read(SAMPLE_BYTES)).name
    except Undecodable as error:
        yield Failure(origin, str(error))
        return
    stream.seek(0)
    first = next(
        (line for _, line in numbered_lines(stream, encoding) if isinstance(line, Undecodable) or line.strip()), ""
    )
    stream.seek(0)
    if isinstance(first, str) and first.lstrip().startswith("{"):
        for found in jsonl_records(stream, encoding, origin=origin):
            yield found if isinstance(found, Failure) else _of_record(found[1], f"{origin}:{found[0]}")
        return
    for number, line in numbered_lines(stream, encoding):
        if isinstance(line, Undecodable) or line.strip():
            yield _of_line(line, f"{origin}:{number}")


def _of_line(line: str | Undecodable, where: str) -> Row | Failure:
    """Read an id, a tab and text; further cells are more text."""
    if isinstance(line, Undecodable):
        return Failure(where, str(line))
    doc_id, tab, text = line.rstrip("\r\n").partition("\t")
    if not tab or not doc_id.strip():
        return Failure(
            where,
            "expected a JSON object, or an id, a tab and text; text without an id belongs to no document for sure: put "
            "the ids before it (paste ids.txt queries.txt)",
        )
    return nfc(doc_id.strip()), without_surrogates(text.replace("\t", "\n").strip())


def _of_record(record: Mapping[str, Any], where: str) -> Row | Failure:
    doc_id = next((record[name] for name in ID_FIELDS if record.get(name) not in (None, "")), None)
    if not isinstance(doc_id, (str, int)) or isinstance(doc_id, bool):
        return Failure(where, f"no id: expected a string or a whole number in one of {', '.join(ID_FIELDS)}")
    texts = [record[name] for name in TEXT_FIELDS if name in record]
    if not texts:
        return Failure(where, f"no expansion: expected one of the fields {', '.join(TEXT_FIELDS)}")
    parts = [part for text in texts for part in (text if isinstance(text, list) else [text])]
    if not all(isinstance(part, str) for part in parts):
        return Failure(where, f"expected text, or a list of texts, in {', '.join(TEXT_FIELDS)}")
    return nfc(without_surrogates(str(doc_id))), without_surrogates("\n".join(part.strip() for part in parts).strip())
