"""Memory that holds what files hold: given back to the system, which reads it again when it is needed."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

_MAPS = Path("/proc/self/maps")
_DONTNEED = 4
"""`MADV_DONTNEED`: of a mapped file nothing is lost, its pages are read again."""


def release_mapped(folder: str | os.PathLike[str]) -> int:
    """Give back the memory of this process that maps files below a folder; return how many bytes are mapped.

    Whoever reads such a file once from its beginning to its end holds all of it at last. Only maps are touched that are
    shared with the file or are not written to, for the others hold what no file does. Does nothing but on Linux.

    Args:
        folder: in which the files are.
    """
    if not sys.platform.startswith("linux"):
        return 0
    prefix, released = f"{os.path.realpath(folder)}{os.sep}", 0
    with suppress(OSError, AttributeError):
        advise = ctypes.CDLL(None).madvise
        advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for line in _MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            span, rights, _, _, _, *path = line.split(None, 5)
            if path and path[0].startswith(prefix) and (rights[3] == "s" or rights[1] == "-"):
                start, end = (int(address, 16) for address in span.split("-"))
                released += end - start if advise(start, end - start, _DONTNEED) == 0 else 0
    return released
