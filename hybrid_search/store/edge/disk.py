"""The disk of a collection: its free space, the space a collection takes, and the kind of its file system."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from hybrid_search.errors import StoreError, StoreFull

SPARE_BYTES = 100 * 1024 * 1024
"""Bytes of a disk that stay free: the engine maps files, and a full disk kills the process without an exception."""

LOW_BYTES = 1 << 30
"""With less free space the engine runs in a child process, for another program may take the rest at any time."""

_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs", "9p", "drvfs"}  # the last two: WSL mounts


def require_space(folder: Path, more: int = 0) -> None:
    """Check that `more` bytes fit and `SPARE_BYTES` stay free.

    Raises:
        StoreFull: they do not.
        StoreError: the folder is gone.
    """
    free = _free(folder)
    if free < more + SPARE_BYTES:
        raise StoreFull(
            f"The disk under {folder} has {free / 1e6:,.0f} MB left, {(more + SPARE_BYTES) / 1e6:,.0f} MB are needed. "
            "What was indexed so far is kept. Free some space, or choose another folder with --store, and run it again."
        )


def is_low(folder: Path) -> bool:
    """Say whether so little room is left that it may run out while the engine writes."""
    return _free(folder) < LOW_BYTES


def real_size(folder: Path) -> int:
    """Return the bytes on disk under a folder: blocks, not lengths, since the engine's files are full of holes."""
    total = 0
    linked = set()
    # os.walk, unlike rglob, does not mind folders that a writer removes meanwhile.
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                stat = Path(parent, name).stat()
                if stat.st_nlink > 1:  # two names of one file take the place of one
                    if (stat.st_dev, stat.st_ino) in linked:
                        continue
                    linked.add((stat.st_dev, stat.st_ino))
                total += stat.st_blocks * 512 if hasattr(stat, "st_blocks") else stat.st_size
    return total


def cannot_write(root: Path, error: OSError) -> StoreError:
    """Return our error for a system error that came up while a collection was written."""
    if error.errno == errno.ENOSPC:
        return StoreFull(
            f"The disk under {root} is full ({error.strerror or error}). What was indexed so far is kept. Free some "
            "space, or choose another folder with --store, and run it again."
        )
    return StoreError(f"Cannot write to {root}: {error.strerror or error}. Name a folder you may write with --store.")


def network_file_system(path: Path) -> str | None:
    """Return the file system's type (`nfs`, `cifs`, ...) if the path lies on a network; None if not, or unknown."""
    import psutil

    best, kind = "", ""
    with suppress(OSError):
        for mounted in psutil.disk_partitions(all=True):
            inside = f"{path.resolve()}/".startswith(mounted.mountpoint.rstrip("/") + "/")
            if inside and len(mounted.mountpoint) >= len(best):
                best, kind = mounted.mountpoint, mounted.fstype
    return kind if kind in _NETWORK else None


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise cannot_write(folder, error) from error
