"""The folder of one embedded collection: one writer's working shard, immutable published copies, and who uses what.

    NAME/
      work/shard/       the writer's own shard, write-ahead log on, held by one process (`writer.lock`, `writer.json`)
      work/manifest.json
      work/changed      there are writes that no published generation has yet
      rebuild/          as `work`: a replacement that is being built, or was given up
      g000007/          a published generation: `shard/` without a log, `manifest.json` with what it must hold
      CURRENT           the name of the generation that readers open, replaced atomically
      leases/           a held lock file for each reader, by generation

How readers are kept whole while somebody writes: they never open the working shard. They open the generation that
CURRENT names, with the log off, so any number of processes may have it open; the writer copies, syncs and then moves
CURRENT. An old generation is removed only when no lease on it is held. A reader takes its lease first and then looks at
CURRENT again, so a generation cannot vanish between the two. A writer that dies leaves CURRENT as it was, and its locks
are dropped by the operating system.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from hybrid_search.errors import CollectionDamaged, StoreBusy, StoreError, StoreFull
from hybrid_search.locations import shown_command

SPARE_BYTES = 100 * 1024 * 1024
"""Never fill the last of a disk: the engine maps files, and a full disk then kills the process without an exception."""

_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs", "9p", "drvfs"}  # the last two: WSL mounts
_WAIT_STEP_S = 0.1
_COPY_BLOCK = 1 << 20


class Lease(NamedTuple):
    """A generation kept from removal while somebody reads it."""

    folder: Path
    lock: FileLock | None
    private: tempfile.TemporaryDirectory[str] | None
    pid: int

    def release(self) -> None:
        if os.getpid() != self.pid:
            return  # a fork: the lease is its parent's
        if self.lock is not None:
            self.lock.release()
            with suppress(OSError):
                Path(self.lock.lock_file).unlink()
        if self.private is not None:
            self.private.cleanup()


def current(root: Path) -> Path | None:
    """The published generation's folder, or None where nothing has been published.

    Raises:
        CollectionDamaged: CURRENT does not hold the name of a generation.
        StoreError: the folder cannot be read.
    """
    try:
        name = (root / "CURRENT").read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"Cannot read {root}: {error.strerror or error}. Check who may read it.") from error
    if not re.fullmatch(r"g\d+", name):
        raise CollectionDamaged(
            f"{root / 'CURRENT'} holds {name[:40]!r}, expected the name of a generation such as 'g000001'. "
            f"Build the collection again from its sources: hybrid-search index SOURCE -c {root.name} --replace"
        )
    return root / name


def lease(root: Path) -> Lease | None:
    """Hold the current generation; None where nothing has been published.

    A folder that this process may not write gets a private copy instead: the engine writes to what it opens.
    """
    while True:
        folder = current(root)
        if folder is None:
            return None
        held = _lock(root, folder) if os.access(root, os.W_OK) else _private_copy(folder)
        if current(root) == folder:
            return held
        held.release()


def mark(file: Path) -> tuple[int, int, int]:
    """What tells a file from the one that replaces it, without reading it (2 µs); zeros where there is none."""
    try:
        stat = file.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)


def publish(root: Path, shard: Path, manifest: Mapping[str, Any], settle: Callable[[Path], None]) -> Path:
    """Copy a flushed shard into a new generation and point CURRENT at it. Interrupted, it leaves CURRENT as it was.

    `settle` gets the copy before anybody else can see it: the engine finishes a copy's files (it merges journals) the
    first time it opens them, which two readers must not do at once.

    Raises:
        StoreFull: the copy would not leave `SPARE_BYTES` free.
        StoreError: the folder cannot be written.
    """
    require_space(root, real_size(shard))
    try:
        return _publish(root, shard, manifest, settle)
    except OSError as error:
        raise _cannot_write(root, error) from error


def _publish(root: Path, shard: Path, manifest: Mapping[str, Any], settle: Callable[[Path], None]) -> Path:
    last = max((int(folder.name[1:]) for folder in _generations(root)), default=0)
    name = f"g{last + 1:06d}"
    building = root / f"{name}.building"
    shutil.rmtree(building, ignore_errors=True)
    copy_tree(shard, building / "shard", leave_out="wal")
    config = building / "shard" / "edge_config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    write_json(config, {**settings, "wal_enabled": False})
    settle(building / "shard")
    write_json(building / "manifest.json", {**manifest, "files": _lengths(building)})
    for file in building.rglob("*"):
        _sync(file)
    building.rename(root / name)
    write_text(root / "CURRENT", name)
    return root / name


def damaged_files(folder: Path) -> list[str]:
    """Files of a generation that are missing, or not as long as they were published.

    The engine has no checksums: a file cut short may end the process, or silently lose points.
    """
    published: dict[str, int] = json.loads((folder / "manifest.json").read_text(encoding="utf-8")).get("files", {})
    return [name for name, length in published.items() if _length(folder / name) != length]


def sweep(root: Path) -> None:
    """Remove generations, and half-made ones, that nobody reads and CURRENT does not name."""
    keep = current(root)
    for folder in [*_generations(root), *root.glob("g*.building")]:
        if folder != keep and not _is_leased(root, folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def lock_for_writing(root: Path, wait_s: float) -> FileLock:
    """Become the collection's only writer.

    Raises:
        StoreBusy: another process still is after `wait_s` seconds; the message names it.
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
        lock.acquire(timeout=max(wait_s, 0.0), poll_interval=_WAIT_STEP_S)
        write_json(root / "writer.json", holder)
    except Timeout:
        raise StoreBusy(
            f"Collection {root.name!r} is being written by {_holder(root)}. "
            f"Wait for it with --wait SECONDS, or stop that process; searches go on meanwhile."
        ) from None
    except OSError as error:
        lock.release()
        raise _cannot_write(root, error) from error
    return lock


def require_space(folder: Path, more: int = 0) -> None:
    """Make sure that `more` bytes fit and `SPARE_BYTES` stay free.

    Raises:
        StoreFull: they do not.
    """
    free = shutil.disk_usage(folder).free
    if free < more + SPARE_BYTES:
        raise StoreFull(
            f"The disk under {folder} has {free / 1e6:,.0f} MB left, {(more + SPARE_BYTES) / 1e6:,.0f} MB are needed. "
            "What was indexed so far is kept. Free some space, or choose another folder with --store, and run it again."
        )


def real_size(folder: Path) -> int:
    """Bytes on disk under a folder: blocks, not lengths, since the engine's files are full of holes."""
    total = 0
    # os.walk, unlike rglob, does not mind folders that a writer removes meanwhile.
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                stat = Path(parent, name).stat()
                total += stat.st_blocks * 512 if hasattr(stat, "st_blocks") else stat.st_size
    return total


def copy_tree(source: Path, target: Path, leave_out: str = "") -> None:
    """Copy a folder, holes staying holes; `leave_out` names a top-level entry to skip.

    Files that vanish meanwhile are left out: other readers' engines make and rename short-lived ones.
    """
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.name == leave_out:
            continue
        if entry.is_dir():
            copy_tree(entry, target / entry.name)
        else:
            with suppress(FileNotFoundError):
                _copy_file(entry, target / entry.name)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file atomically and durably."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.write_text(text, encoding="utf-8")
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def _lock(root: Path, folder: Path) -> Lease:
    leases = root / "leases"
    try:
        leases.mkdir(exist_ok=True)
        lock = FileLock(leases / f"{folder.name}.{uuid.uuid4().hex}.lock", thread_local=False)
        lock.acquire()
    except OSError as error:
        raise _cannot_write(root, error) from error
    return Lease(folder, lock, None, os.getpid())


def _cannot_write(root: Path, error: OSError) -> StoreError:
    kind = StoreFull if error.errno == errno.ENOSPC else StoreError
    return kind(f"Cannot write to {root}: {error.strerror or error}. Name a folder you may write with --store.")


def _private_copy(folder: Path) -> Lease:
    private = tempfile.TemporaryDirectory(prefix="hybrid-search-")
    target = Path(private.name) / folder.name
    with suppress(FileNotFoundError):  # the writer removed it meanwhile, and CURRENT has moved
        copy_tree(folder, target)
    return Lease(target, None, private, os.getpid())


def _lengths(folder: Path) -> dict[str, int]:
    files = (file for file in (folder / "shard").rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): _length(file) for file in files}


def _length(file: Path) -> int:
    return file.stat().st_size if file.is_file() else -1


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        length = os.fstat(read.fileno()).st_size
        for start, end in _data(read.fileno(), length):
            for place in range(start, end, _COPY_BLOCK):
                read.seek(place)
                block = read.read(min(_COPY_BLOCK, end - place))
                if block.count(0) != len(block):
                    write.seek(place)
                    write.write(block)
        write.truncate(length)


def _data(handle: int, length: int) -> Iterator[tuple[int, int]]:
    """The stretches (start, end) of a file that are no holes; all of it where the system cannot tell."""
    if not hasattr(os, "SEEK_DATA"):
        yield 0, length
        return
    end = 0
    while end < length:
        try:
            start = os.lseek(handle, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # ENXIO: nothing but a hole from here on
                yield end, length
            return
        end = os.lseek(handle, start, os.SEEK_HOLE)
        yield start, end


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot sync a folder
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _generations(root: Path) -> list[Path]:
    return [folder for folder in root.glob("g[0-9]*") if folder.name[1:].isdigit()]


def _is_leased(root: Path, generation: str) -> bool:
    for file in (root / "leases").glob(f"{generation}.*.lock"):
        lock = FileLock(file, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        file.unlink(missing_ok=True)  # its reader died without saying goodbye
    return False


def _holder(root: Path) -> str:
    try:
        holder = json.loads((root / "writer.json").read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']} ({holder['command']})"
    except (OSError, ValueError, KeyError):
        return "another process"


def remove(root: Path) -> None:
    """Unpublish a collection and remove everything but its lock; readers that have it open keep what they mapped."""
    (root / "CURRENT").unlink(missing_ok=True)
    for name in ("work", "rebuild"):
        (root / name / "manifest.json").unlink(missing_ok=True)
    for entry in root.iterdir():
        if entry.name != "writer.lock":
            remove_folder(entry) if entry.is_dir() else entry.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def network_file_system(path: Path) -> str | None:
    """`nfs`, `cifs`, ... where the path lies on one (Linux; elsewhere this cannot be told)."""
    best, kind = "", ""
    with suppress(OSError):
        for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
            _, mount, fs, *_ = line.replace("\\040", "\0").split(" ")
            mount = mount.replace("\0", " ")
            inside = f"{path.resolve()}/".startswith(mount.rstrip("/") + "/")
            if inside and len(mount) >= len(best):
                best, kind = mount, fs
    return kind if kind in _NETWORK else None
