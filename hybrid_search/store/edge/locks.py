"""Locks of a collection: its one writer, with the child processes that write for it, and the readers by generation."""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from hybrid_search._util import utc_now
from hybrid_search._util.locations import shown_command
from hybrid_search.errors import StoreBusy, StoreFull
from hybrid_search.store.edge.disk import cannot_write
from hybrid_search.store.edge.files import copy_file, copy_tree, write_json

fcntl: Any = None
with suppress(ImportError):  # Windows has none
    fcntl = importlib.import_module("fcntl")

_WAIT_STEP_S = 0.1
_ORPHANS_S = 30.0
"""How long to wait for the engine's processes of a killed writer to finish; most end at once."""


class FolderLock:
    """A lock on a folder itself, without a lock file. It is released when the last process that has it ends."""

    def __init__(self, handle: int) -> None:
        self._handle, self._pid = handle, os.getpid()

    def inherited(self) -> tuple[int, ...]:
        """Return the handles to pass to `subprocess`, so that the lock is held until those processes have ended too."""
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
    """The lock of a collection's one writer.

    Args:
        root: the collection's folder.
        file: the lock that other writers test.
        folder: the same lock for this process and the children that write for it.
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
    """A lock that keeps a generation from removal while it is read."""

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
    """Acquire the writer's lock of a collection.

    Raises:
        StoreBusy: another process still holds it after `wait_s` seconds; the message names it.
        StoreError: the folder cannot be written.
    """
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": utc_now(),
        "command": shown_command(sys.argv)[:200],
    }
    lock = FileLock(root / "writer.lock", thread_local=False)
    try:
        root.mkdir(parents=True, exist_ok=True)
        _acquire(lock, root, wait_s)
        folder = _lock_folder(root, max(wait_s, _ORPHANS_S))
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


def current_writer(root: Path) -> str:
    """Return a description of the process that writes to a collection; an empty string for none."""
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
    """Lease a generation with a lock file.

    On a disk too full for a new file, the folder itself is locked, where the system supports that.

    Raises:
        StoreError: neither is possible.
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
        return Lease(folder, None, None, os.getpid(), _try_lock_folder(folder, "LOCK_SH"))
    return Lease(folder, lock, None, os.getpid())


def hold_copy(folder: Path) -> Lease:
    """Lease a private copy of a generation, for a folder that this process may not write to.

    The engine writes to what it opens.
    """
    private = tempfile.TemporaryDirectory(prefix="hybrid-search-")
    target = Path(private.name) / folder.name
    with suppress(FileNotFoundError):  # the writer removed it meanwhile, and CURRENT has moved
        copy_tree(folder, target)
    return Lease(target, None, private, os.getpid())


def lease_with_links(lease: Lease) -> Lease:
    """Move a lease to a folder of links on a disk with room, for the small files that the engine writes when it opens.

    Raises:
        StoreFull: the disk for temporary files has no room either.
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


def hold_unchanged(folder: Path) -> FolderLock:
    """Keep a generation from removal while it is read, without writing anything.

    Without effect on Windows, where folders cannot be locked, and where the generation is gone.
    """
    try:
        return _try_lock_folder(folder, "LOCK_SH") or FolderLock(-1)
    except FileNotFoundError:
        return FolderLock(-1)


def is_locked(place: Path, *, shared: bool = False) -> bool:
    """Say whether a process holds the lock of a folder or of a lock file; False where the system cannot tell.

    Unlike an attempt with `FileLock` it writes nothing. `shared` also counts locks that others may share.
    """
    try:
        lock = _try_lock_folder(place, "LOCK_EX" if shared else "LOCK_SH")
    except OSError:  # it is gone, or may not be read
        return False
    if lock is not None:
        lock.release()
    return lock is None


def is_held(root: Path, folder: Path) -> bool:
    """Say whether a generation is being read. Removes the lock files of readers that were killed."""
    for file in (root / "leases").glob(f"{folder.name}.*.lock"):
        lock = FileLock(file, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        file.unlink(missing_ok=True)
    return folder.is_dir() and _try_lock_folder(folder, "LOCK_EX") is None


def _acquire(lock: FileLock, root: Path, wait_s: float) -> None:
    """Acquire a lock. Waits longer where its holder has just ended and its children still hold it. Raises Timeout."""
    try:
        lock.acquire(timeout=max(wait_s, 0.0), poll_interval=_WAIT_STEP_S)
    except Timeout:
        if not _has_ended(root):
            raise
        lock.acquire(timeout=_ORPHANS_S, poll_interval=_WAIT_STEP_S)


def _link(folder: Path, target: Path) -> None:
    """Make a folder that works as another for the engine: links to the files it maps, copies of those it replaces."""
    (target / "shard" / "segments").mkdir(parents=True)
    copy_file(folder / "shard" / "edge_config.json", target / "shard" / "edge_config.json")
    for entry in (folder / "shard" / "segments").glob("*/*"):
        place = target / "shard" / "segments" / entry.parent.name / entry.name
        place.parent.mkdir(exist_ok=True)
        if entry.name == "segment.json":
            copy_file(entry, place)
        else:
            place.symlink_to(entry, entry.is_dir())


def _lock_folder(root: Path, wait_s: float) -> FolderLock:
    """Lock a folder for this process alone; without effect where the system has no such locks. Raises Timeout."""
    end = monotonic() + wait_s
    while (lock := _try_lock_folder(root, "LOCK_EX")) is None:
        if monotonic() >= end:
            raise Timeout(str(root))
        sleep(_WAIT_STEP_S / 5)
    return lock


def _try_lock_folder(folder: Path, how: str) -> FolderLock | None:
    """Try to lock a folder, exclusively (`LOCK_EX`) or shared (`LOCK_SH`). Return None if another process has it."""
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
    """Say whether the writer that registered itself ran on this machine and has ended."""
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
