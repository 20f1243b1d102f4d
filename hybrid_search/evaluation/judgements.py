"""Keeps judgements while they are made, so that one sitting goes on where another stopped.

Each judgement is a line at the end of a file, on the disk before the next is asked for. A later line of the same query
and document replaces an earlier one; null takes it back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from hybrid_search.corpus.trec import Qrel, write_beir_qrels
from hybrid_search.errors import EvaluationError, StoreBusy

JOURNAL = "judgements.jsonl"
GRADES = range(4)
"""Relevance that may be given: 0 is judged and not relevant."""


class Judgements:
    """The judgements in a folder, by query and document."""

    def __init__(self, journal: Path) -> None:
        """Read a journal, without the torn line that a kill may have left at its end.

        Raises:
            EvaluationError: a whole line is damaged.
            OSError: the file cannot be read or mended.
        """
        self._journal = journal
        self._grades: dict[tuple[str, str], int] = {}
        if journal.exists():
            _heal(journal)
            for number, line in enumerate(journal.read_bytes().splitlines(), 1):
                self._take(*_parsed(journal, number, line))

    def give(self, query_id: str, doc_id: str, relevance: int | None) -> None:
        """Keep a judgement, on the disk before this returns; None takes an earlier one back.

        Raises:
            OSError: it cannot be written; then it is not kept.
        """
        line = json.dumps({"query_id": query_id, "doc_id": doc_id, "relevance": relevance}).encode() + b"\n"
        with self._journal.open("ab") as file:
            before = file.tell()
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self._journal, before)
                raise
        self._take(query_id, doc_id, relevance)

    def of(self, query_id: str) -> dict[str, int]:
        """Return the judgements of a query by document."""
        return {doc_id: grade for (query, doc_id), grade in self._grades.items() if query == query_id}

    def write(self, path: Path) -> None:
        """Write all as BEIR judgements; the file is whole at every moment.

        Raises:
            EvaluationError: an id holds a tab or a line break.
            OSError: the file cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        write_beir_qrels(partial, [Qrel(*key, grade) for key, grade in self._grades.items()])
        partial.replace(path)

    def _take(self, query_id: str, doc_id: str, relevance: int | None) -> None:
        self._grades.pop((query_id, doc_id), None)
        if relevance is not None:
            self._grades[query_id, doc_id] = relevance


@contextmanager
def judging(folder: Path) -> Iterator[Judgements]:
    """Open the judgements of a folder, which is made if it is missing, and keep others out meanwhile.

    Raises:
        StoreBusy: somebody else judges in it.
        EvaluationError: its judgements are damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise StoreBusy(f"Somebody else judges in {folder} now. Wait until they end, or name another folder.") from None
    try:
        yield Judgements(folder / JOURNAL)
    finally:
        lock.release()


def _heal(journal: Path) -> None:
    """Cut a last line that has no end."""
    content = journal.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(journal, whole)


def _parsed(journal: Path, number: int, line: bytes) -> tuple[str, str, int | None]:
    try:
        kept = json.loads(line)
        query_id, doc_id, relevance = kept["query_id"], kept["doc_id"], kept["relevance"]
    except (ValueError, KeyError, TypeError):
        query_id, doc_id, relevance = None, None, None
    graded = relevance is None or (type(relevance) is int and relevance in GRADES)
    if not (isinstance(query_id, str) and isinstance(doc_id, str) and graded):
        raise EvaluationError(
            f"Line {number} of {journal} is not a judgement: an object with query_id, doc_id and a relevance of 0 to "
            "3, or null. Mend or remove the line."
        )
    return query_id, doc_id, relevance
