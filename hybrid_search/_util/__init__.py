"""What several rooms need of the operating system and the standard library, each once.

Every room may import this one, so it imports only the standard library, and of that only what starts fast.

Modules, in reading order: this one (files, logs, time, processes), `arguments` (checks of what callers pass),
`config_file` and `locations` (where settings and stores lie), `printable` and `unicode_text` (text), `extras` (what is
installed), `child_process` (another Python), `shared_resource` (one open thing for many), `json_objects` (the shapes of
results).
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_SET_PDEATHSIG, _SIGKILL = 1, 9


def atomic_write(path: Path, data: bytes | Iterable[bytes], *, durable: bool = False) -> None:
    """Write a file so that every reader sees all of the new content or all of the old.

    The content goes to a temporary file in the same folder, which then takes the name. A failed write leaves neither
    a temporary file nor a changed target.

    Args:
        path: the file; its folder must exist.
        data: the whole content, or its parts in order.
        durable: wait until content and name are on the disk, so that they outlast a loss of power.

    Raises:
        OSError: the folder is missing or cannot be written, or the disk is full.
    """
    temporary = path.with_name(f"{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        with temporary.open("xb") as file:
            for part in [data] if isinstance(data, bytes) else data:
                file.write(part)
        if durable:
            sync(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk. Does nothing for a folder on Windows.

    Raises:
        OSError: the path is missing, or the file system cannot do it.
    """
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def quiet_loggers(*names: str, level: int = logging.ERROR) -> Iterator[None]:
    """Drop messages below `level` of these loggers while the block runs, and restore their levels after it."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, before in zip(loggers, levels, strict=True):
            logger.setLevel(before)


@contextmanager
def quiet_warnings() -> Iterator[None]:
    """Ignore Python's warnings while the block runs. (`catch_warnings(action=...)` exists from Python 3.11 on.)"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def utc_now() -> str:
    """Return the present time in UTC, as ISO 8601 to the second: `2026-11-30T18:27:44+00:00`."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def cpu_count() -> int:
    """Return how many cores this process may use, 1 or more. (`os.process_cpu_count` exists from Python 3.13 on.)"""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_with(parent: int) -> bool:
    """Have this process killed when its parent ends, on Linux; return whether the parent is still there."""
    if sys.platform.startswith("linux"):
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_PDEATHSIG, _SIGKILL)
    return os.name != "posix" or os.getppid() == parent


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` items, the last one shorter. (`itertools.batched` exists from Python 3.12 on.)"""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
