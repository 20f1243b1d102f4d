"""Who uses a collection: its one writer, with the processes that write for it, and the readers of each generation."""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import tempfile
import uuid
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from hybrid_search._util.locations import shown_command
from hybrid_search.errors import StoreBusy, StoreFull
from hybrid_search.store.edge.disk import cannot_write
from hybrid_search.store.edge.files import copy_file, copy_tree, write_json

fcntl: Any = None
with suppress(ImportError):  # Windows has none
    fcntl = importlib.import_module("fcntl")

_WAIT_STEP_S = 0.1
_ORPHANS_S = 30.0
"""What the engine's processes of a writer that was killed may take for what they are at; most end at once."""


class FolderLock:
    """A lock on a folder itself, for which no file has to be made; let go of when nobody has it any more."""

    def __init__(self, handle: int) -> None:
        self._handle, self._pid = handle, os.getpid()

    def inherited(self) -> tuple[int, ...]:
        """The handles for `subprocess` to hand on, so that the lock is held until those processes have ended, too."""
        return () if self._handle < 0 else (self._handle,)

    def release(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with suppress(OSError):
                if os.getpid() == self._pid:  # in a fork the lock is its parent's
                    fcntl.flock(handle, fcntl.LOCK_UN)
                os.close(handle)

    def __del__(self) -> None:
        self.release()


class WriterLock(NamedTuple):
    """Held by a collection's one writer.

    Args:
        root: the collection's folder.
        file: the lock that other writers find held.
        folder: the same for this process and those that write for it.
    """

    root: Path
    file: FileLock
    folder: FolderLock

    def inherited(self) -> tuple[int, ...]:
        return self.folder.inherited()

    def release(self) -> None:
        if self.file.is_locked:
            (self.root / "writer.json").unlink(missing_ok=True)
        self.folder.release()
        self.file.release()


class Lease(NamedTuple):
    """A generation kept from removal while somebody reads it."""

    folder: Path
    lock: FileLock | None
    private: tempfile.TemporaryDirectory[str] | None
    pid: int
    shared: FolderLock | None = None

    def release(self) -> None:
        if os.getpid() != self.pid:
            return  # a fork: the lease is its parent's
        if self.lock is not None:
            self.lock.release()
            with suppress(OSError):
                Path(self.lock.lock_file).unlink()
        if self.shared is not None:
            self.shared.release()
        if self.private is not None:
            self.private.cleanup()


def lock_for_writing(root: Path, wait_s: float) -> WriterLock:
    """Become the collection's only writer.

    Raises:
        StoreBusy: another process still is after `wait_s` seconds; the message names it.
        StoreError: the folder cannot be written.
    """
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shown_command(sys.argv)[:200],
    }
    lock = FileLock(root / "writer.lock", thread_local=False)
    try:
        root.mkdir(parents=True, exist_ok=True)
        _acquire(lock, root, wait_s)
        folder = _alone(root, max(wait_s, _ORPHANS_S))
        write_json(root / "writer.json", holder)
    except Timeout:
        lock.release()
        raise StoreBusy(
            f"Collection {root.name!r} is being written by {_holder(root)}. "
            f"Wait for it with --wait SECONDS, or stop that process; searches go on meanwhile."
        ) from None
    except OSError as error:
        lock.release()
        raise cannot_write(root, error) from error
    return WriterLock(root, lock, folder)


def is_written(root: Path) -> str:
    """Return who writes to a collection just now, in words; empty for nobody."""
    lock = FileLock(root / "writer.lock", thread_local=False)
    if not (root / "writer.lock").exists():
        return ""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _holder(root)
    except OSError:  # a folder that this process may not write to
        return ""
    lock.release()
    return ""


def hold(root: Path, folder: Path) -> Lease:
    """Keep a generation from removal.

    On a disk so full that no file can be made, the folder itself is locked instead, where the system can do that.

    Raises:
        StoreError: neither can be done.
    """
    leases = root / "leases"
    try:
        if leases.is_file():
            leases.unlink()
        leases.mkdir(exist_ok=True)
        lock = FileLock(leases / f"{folder.name}.{uuid.uuid4().hex}.lock", thread_local=False)
        lock.acquire()
    except OSError as error:
        problem = cannot_write(root, error)
        if not isinstance(problem, StoreFull) or fcntl is None:
            raise problem from error
        return Lease(folder, None, None, os.getpid(), _locked(folder, "LOCK_SH"))
    return Lease(folder, lock, None, os.getpid())


def hold_copy(folder: Path) -> Lease:
    """Keep a generation by copying it to where this process may write: the engine writes to what it opens."""
    private = tempfile.TemporaryDirectory(prefix="hybrid-search-")
    target = Path(private.name) / folder.name
    with suppress(FileNotFoundError):  # the writer removed it meanwhile, and CURRENT has moved
        copy_tree(folder, target)
    return Lease(target, None, private, os.getpid())


def behind_links(lease: Lease) -> Lease:
    """Give a generation another folder, of links, on a disk that has room: the engine writes small files to it.

    Raises:
        StoreFull: no disk for short-lived files has room, either.
    """
    for place in (None, "/dev/shm"):
        private = None
        try:
            private = tempfile.TemporaryDirectory(prefix="hybrid-search-", dir=place)
            target = Path(private.name) / lease.folder.name
            _link(lease.folder, target)
            return lease._replace(folder=target, private=private)
        except OSError:
            if private is not None:
                private.cleanup()
    raise StoreFull(
        f"The disk under {lease.folder} is full, and so is the one for short-lived files, to which the engine writes a "
        "little when it opens a collection. Free some space, or name a folder with some in TMPDIR."
    )


def is_held(root: Path, folder: Path) -> bool:
    """Whether somebody reads a generation. The lock files of those that died without a word are removed."""
    for file in (root / "leases").glob(f"{folder.name}.*.lock"):
        lock = FileLock(file, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        file.unlink(missing_ok=True)
    return folder.is_dir() and _locked(folder, "LOCK_EX") is None


def _acquire(lock: FileLock, root: Path, wait_s: float) -> None:
    """Take a lock; from a process that has ended, and left its own ending here for a moment. Raises Timeout."""
    try:
        lock.acquire(timeout=max(wait_s, 0.0), poll_interval=_WAIT_STEP_S)
    except Timeout:
        if not _has_ended(root):
            raise
        lock.acquire(timeout=_ORPHANS_S, poll_interval=_WAIT_STEP_S)


def _link(folder: Path, target: Path) -> None:
    """Make a folder that the engine takes for another: links to what it maps, copies of what it replaces."""
    (target / "shard" / "segments").mkdir(parents=True)
    copy_file(folder / "shard" / "edge_config.json", target / "shard" / "edge_config.json")
    for entry in (folder / "shard" / "segments").glob("*/*"):
        place = target / "shard" / "segments" / entry.parent.name / entry.name
        place.parent.mkdir(exist_ok=True)
        if entry.name == "segment.json":
            copy_file(entry, place)
        else:
            place.symlink_to(entry, entry.is_dir())


def _alone(root: Path, wait_s: float) -> FolderLock:
    """A folder locked for this process alone; where the system has no such locks, not at all. Raises Timeout."""
    end = monotonic() + wait_s
    while (lock := _locked(root, "LOCK_EX")) is None:
        if monotonic() >= end:
            raise Timeout(str(root))
        sleep(_WAIT_STEP_S / 5)
    return lock


def _locked(folder: Path, how: str) -> FolderLock | None:
    """A folder locked, `LOCK_EX` alone or `LOCK_SH` with others; None where somebody else has it."""
    if fcntl is None:
        return FolderLock(-1)
    lock = FolderLock(os.open(folder, os.O_RDONLY))
    try:
        fcntl.flock(*lock.inherited(), getattr(fcntl, how) | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError:  # a file system that cannot lock folders
        return FolderLock(-1)
    return lock


def _has_ended(root: Path) -> bool:
    """Whether the process that said that it writes is of this machine, and no longer there."""
    import psutil

    try:
        holder = json.loads((root / "writer.json").read_text(encoding="utf-8"))
        return bool(holder["host"] == socket.gethostname() and not psutil.pid_exists(int(holder["pid"])))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _holder(root: Path) -> str:
    try:
        holder = json.loads((root / "writer.json").read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']} ({holder['command']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
