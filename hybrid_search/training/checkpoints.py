"""Keeps checkpoints that are either whole or do not count.

A checkpoint is a folder, and a kill or a full disk can leave half of one. So a complete checkpoint gets a seal: a file
with the size and hash of every other file in it, written last and atomically. A folder without a seal, or whose files
differ from it, is passed over in favour of the one before it. Older checkpoints are removed only after a newer one is
sealed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from hybrid_search._util import atomic_write, sync

SEAL = "complete.json"
KEPT = 2
_NAME = re.compile(r"checkpoint-(\d+)")


def seal(folder: Path) -> None:
    """Declare a folder complete by writing its seal.

    Raises:
        OSError: its files cannot be read, or the seal cannot be written.
    """
    files = {path.relative_to(folder).as_posix(): _facts(path, durable=True) for path in _files(folder)}
    atomic_write(folder / SEAL, json.dumps(files, indent=0, sort_keys=True).encode())
    _try_sync(folder / SEAL)


def is_whole(folder: Path) -> bool:
    """Return whether a folder was sealed and is unchanged since."""
    try:
        sealed = json.loads((folder / SEAL).read_text("utf-8"))
        return bool({path.relative_to(folder).as_posix(): _facts(path) for path in _files(folder)} == sealed)
    except (OSError, ValueError):
        return False


def step_of(checkpoint: Path) -> int:
    """Return the step a checkpoint was made after, by its name; -1 if the name has none."""
    found = _NAME.fullmatch(checkpoint.name)
    return int(found.group(1)) if found else -1


def all_in(folder: Path) -> list[Path]:
    """Return every checkpoint in a folder, whole or not, the newest first."""
    found = [path for path in folder.glob("checkpoint-*") if path.is_dir() and step_of(path) >= 0]
    return sorted(found, key=step_of, reverse=True)


def last_whole(folder: Path) -> Path | None:
    """Return the newest checkpoint that is whole; None if there is none."""
    return next((path for path in all_in(folder) if is_whole(path)), None)


def prune(folder: Path, keep: int = KEPT) -> None:
    """Remove all but the newest sealed checkpoints. Nothing is removed before something newer is sealed."""
    sealed = [path for path in all_in(folder) if (path / SEAL).is_file()]
    for path in sealed[keep:]:
        remove(path)


def drop_halves(folder: Path) -> None:
    """Remove what a kill left half written: checkpoints that are not whole, and folders that never got their name."""
    for path in all_in(folder):
        if not is_whole(path):
            remove(path)
    for path in folder.glob(".new-*"):
        remove(path)


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a new folder to fill. It takes this folder's name on success and is removed on failure."""
    new, old = folder.parent / f".new-{folder.name}", folder.parent / f".old-{folder.name}"
    remove(new)
    new.mkdir(parents=True)
    try:
        yield new
        if folder.exists():
            remove(old)
            folder.rename(old)
        new.rename(folder)
        remove(old)
    except BaseException:
        remove(new)
        raise


def remove(folder: Path) -> None:
    """Remove a folder, its seal first, so that a half removed one does not count; a missing one is fine."""
    with contextlib.suppress(OSError):
        (folder / SEAL).unlink()
    shutil.rmtree(folder, ignore_errors=True)


def could_not_write(fault: Exception) -> bool:
    """Return whether an error, including those of torch and safetensors, means that a file could not be written.

    torch's own writer names the line of its source that found a file shorter than what it had written.
    """
    text = f"{type(fault).__name__} {fault}".lower()
    signs = ("no space left", "file write failed", "i/o error", "file too large", "iostream", "inline_container")
    return isinstance(fault, OSError) or any(sign in text for sign in signs)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SEAL)


def _facts(path: Path, *, durable: bool = False) -> list[object]:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    if durable:
        _try_sync(path)
    return [path.stat().st_size, digest.hexdigest()]


def _try_sync(path: Path) -> None:
    """Have the system write a file out, so that it outlasts a loss of power, where the file system can do that."""
    with contextlib.suppress(OSError):
        sync(path)
