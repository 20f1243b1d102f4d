"""Keeps a trace of searches: one JSON object a line, which several processes may append to one file at once.

A trace has what was searched for, how, and where each leg had each hit; it has no text of a document. Nothing is kept
unless it is asked for, and a file that is made here is readable by its owner only.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hybrid_search._util import utc_now
from hybrid_search.results import DocumentHit, Results

VERSION = 1
"""Of the format of a line; it grows where a key changes its meaning or goes."""

SETTINGS = ("fusion", "rrf_k", "weights", "depth", "where", "rerank", "rerank_depth")
"""Options of a search that its trace keeps, where they are given."""


def trace(results: Results, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that is kept of a search.

    Args:
        results: of the search.
        settings: the options of the search by name; those of `SETTINGS` that are not None are kept.
    """
    kept: dict[str, Any] = {
        "version": VERSION,
        "time": utc_now(),
        "collection": results.collection,
        "query": results.query,
        "mode": results.mode,
        "k": results.k,
        "settings": {name: settings[name] for name in SETTINGS if settings.get(name) is not None},
        "timings_ms": {stage: round(ms, 3) for stage, ms in results.timings_ms.items()},
        "hits": [_hit(hit) for hit in results.hits],
    }
    if results.vector:
        kept["vector"] = dict(results.vector)
    if results.confidence is not None:
        kept["confidence"] = results.confidence.to_dict()
    return kept


def append_trace(path: Path, kept: Mapping[str, Any]) -> None:
    """Append an object as a line, in one write, so that lines of several processes do not mix.

    A line that an earlier write left torn is ended first, so that it spoils no other.

    Raises:
        OSError: the file cannot be opened or written, or has no room for the whole line.
    """
    line = json.dumps(kept, default=str, allow_nan=False).encode() + b"\n"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        _wait_for_others(handle)
        line = _ending(handle) + line
        written = os.write(handle, line)
    finally:
        os.close(handle)
    if written < len(line):
        raise OSError(f"only {written} of {len(line)} bytes were written")


def _wait_for_others(handle: int) -> None:
    """Lock a file until it is closed, so that a line half written by another process is not taken for a torn one.

    Without locks, on Windows and some network file systems, the worst is an empty line between two.
    """
    if sys.platform != "win32":
        import fcntl

        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)


def _ending(handle: int) -> bytes:
    """Return the line break that the last line of a file lacks; nothing where it is whole, or the file no plain one."""
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode) or not about.st_size:
        return b""
    os.lseek(handle, -1, os.SEEK_END)
    return b"" if os.read(handle, 1) == b"\n" else b"\n"


def _hit(hit: DocumentHit) -> dict[str, Any]:
    legs = {leg: None if at is None else {"rank": at.rank, "score": at.score} for leg, at in hit.legs.items()}
    return {"doc_id": hit.doc_id, "rank": hit.rank, "score": hit.score, "legs": legs}
