"""Measures how much memory a job holds, and keeps it below a limit."""

from __future__ import annotations

import gc
import re
from contextlib import suppress

import psutil

from hybrid_search._util.arguments import whole
from hybrid_search.errors import InvalidArgument, MemoryExceeded
from hybrid_search.indexing.pipeline import BatchBudget

LEAST_TOKENS = 512
"""A batch is not made smaller than this."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]I?|)B?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Read a number of bytes with a unit: GB counts in thousands, GiB in 1,024s.

    Pydantic's `ByteSize` would be shorter, but it refuses `2Gi` and reads `2.GB` as 2 bytes and `2Gbit` as bits.

    Raises:
        InvalidArgument: it cannot be read.

    >>> parse_size("2GB"), parse_size("512 MiB"), parse_size("1000000")
    (2000000000, 536870912, 1000000)
    """
    parts = _SIZE.fullmatch(text.strip())
    if parts is None:
        raise InvalidArgument(f"{text!r} is no size of memory; write a number with a unit, such as 800MB or 2GiB.")
    return round(float(parts[1]) * _UNITS[parts[2].upper()])


def resident_bytes() -> int | None:
    """Measure the bytes that this process and its children hold for themselves, mapped files not counted.

    None where the system does not tell.
    """
    try:
        own = psutil.Process()
        return sum(map(_anonymous, [own, *own.children(recursive=True)]))
    except (psutil.Error, OSError):
        return None


class MemoryLimit:
    """Keeps a job below a number of bytes by making its batches smaller, and ends it where that is not enough.

    Args:
        max_bytes: None for no cap.

    Raises:
        InvalidArgument: this system cannot tell how much is held, so that a cap could not be kept.
    """

    def __init__(self, max_bytes: int | None) -> None:
        if max_bytes is not None:
            whole("max_memory", max_bytes, 1)
        if max_bytes is not None and resident_bytes() is None:
            raise InvalidArgument(
                "max_memory cannot be kept on this system: it does not tell how much a process holds."
            )
        self.max_bytes = max_bytes
        self.budget = BatchBudget()

    def check(self) -> None:
        """Make batches smaller where memory is short. Called after every batch.

        Raises:
            MemoryExceeded: more is held than allowed with the smallest batches.
        """
        if self.max_bytes is None or (now := resident_bytes() or 0) <= 0.9 * self.max_bytes:
            return
        gc.collect()
        _trim()
        if self.budget.tokens > LEAST_TOKENS:
            self.budget.tokens = max(LEAST_TOKENS, self.budget.tokens // 2)
            return
        if (now := resident_bytes() or 0) > self.max_bytes:
            raise MemoryExceeded(now, self.max_bytes)


def _anonymous(process: psutil.Process) -> int:
    """Measure the bytes of a process that belong to no file, or where these are unknown, to it alone."""
    try:
        memory = process.memory_info()
        return int(memory.rss - memory.shared) if hasattr(memory, "shared") else int(process.memory_full_info().uss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has just ended
        return 0


def _trim() -> None:
    """Hand memory that has been freed back to the system, where the C library keeps it."""
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
