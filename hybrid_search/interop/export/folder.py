"""The folder of an export: files that appear when they are whole, and a job that goes on where it was cut short.

While an export runs its files lie in `NAME.partial` beside the folder to be, with `state.json`, which says what was
exported and how far it came. When all is written the folder takes its name, in one step.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from hybrid_search._util import atomic_write, sync
from hybrid_search.errors import InvalidArgument, StoreBusy
from hybrid_search.interop.chunks import disk_errors

T = TypeVar("T")

REPORT, README, STATE = "report.json", "README.md", "state.json"
NAMED = 100
"""So many ids a report names of each kind."""

PART_BYTES = 32 << 20
"""A file of lines ends where it would grow longer."""


@dataclass
class Tally:
    """What did not survive: how often, by kind, and of some kinds the first hundred ids."""

    lost: Counter[str] = field(default_factory=Counter)
    named: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def count(self, kind: str, name: str) -> None:
        """Count one, and note its name."""
        self.lost[kind] += 1
        names = self.named.get(kind, ())
        if len(names) < NAMED:
            self.named[kind] = (*names, name)

    def copy(self) -> Tally:
        """Return what was counted until now."""
        return Tally(self.lost.copy(), self.named.copy())


class ExportFolder:
    """A folder that is being written.

    Args:
        path: of the folder to be.
        partial: where its files lie until then.
        state: how far an interrupted export of the same came.
    """

    def __init__(self, path: Path, partial: Path, state: _State) -> None:
        self.path, self.partial, self._state, self.tally = path, partial, state, state.tally.copy()

    def write(self, name: str, data: bytes | Iterable[bytes]) -> None:
        """Write one file, whole or not at all."""
        target = self.partial / name
        with disk_errors(self.path / name):
            target.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(target, data)

    def write_json(self, name: str, value: Any) -> None:
        """Write one file of JSON."""
        self.write(name, (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode())

    def write_lines(self, name: str, lines: Iterable[str]) -> None:
        """Write one file of lines, each with its end."""
        self.write(name, (f"{line}\n".encode() for line in lines))

    def write_parts(
        self, pattern: str, items: Iterable[T], line_of: Callable[[T], str], *, part_bytes: int = PART_BYTES
    ) -> list[str]:
        """Write items as lines of files of limited size; return the names of the files.

        What an earlier, interrupted job wrote of the same export is not written again.

        Args:
            pattern: of the files' names, with a place for a number from 0: `documents/part-{:05d}.jsonl`.
            items: in the same order each time.
            line_of: gives the text of an item, which may hold several lines, without the last line's end.
            part_bytes: largest size of a file, except where one item alone is larger.
        """
        names = [pattern.format(number) for number in range(len(self._state.files))]
        names = list(takewhile(self._state.files.__contains__, names))
        done = sum(self._state.files[name] for name in names)
        held, size = list[bytes](), 0
        for item in islice(items, done, None):
            before = self.tally.copy()
            line = f"{line_of(item)}\n".encode()
            if held and size + len(line) > part_bytes:
                names.append(self._write_part(pattern.format(len(names)), held, before))
                held, size = [], 0
            held.append(line)
            size += len(line)
        if held or not names:
            names.append(self._write_part(pattern.format(len(names)), held, self.tally))
        return names

    def _write_part(self, name: str, lines: list[bytes], tally: Tally) -> str:
        self.write(name, lines)
        self._state.files[name] = len(lines)
        self._state.record(tally)
        return name


@dataclass
class _State:
    """How far an export came: the finished files with the number of their items, and what was counted until then."""

    path: Path
    key: str
    files: dict[str, int] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def record(self, tally: Tally) -> None:
        state = {"key": self.key, "files": self.files, "lost": tally.lost, "named": tally.named}
        with disk_errors(self.path):
            atomic_write(self.path, json.dumps(state).encode())

    @classmethod
    def read(cls, path: Path, key: str) -> _State | None:
        """Return the state of an interrupted export of the same; None where there is none."""
        try:
            found = json.loads(path.read_bytes())
            files = {str(name): int(count) for name, count in found["files"].items()}
            named = {kind: tuple(names) for kind, names in found["named"].items()}
            same = found["key"] == key and all((path.parent / name).is_file() for name in files)
            return cls(path, key, files, Tally(Counter(found["lost"]), named)) if same else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


@contextmanager
def export_folder(path: Path, about: Mapping[str, Any]) -> Iterator[ExportFolder]:
    """Write a folder of files, which is there, whole, after the block. An exception leaves what was there before.

    An export that is cut short leaves `NAME.partial`; the next one of the same goes on with it, another removes it.

    Args:
        path: the folder; an earlier export there is replaced.
        about: what is exported and how, JSON values: the same for the same content.

    Raises:
        InvalidArgument: there is something else at the path, or its parent is not there or may not be written.
        StoreBusy: another export writes the same folder.
        StoreFull, StoreError: the disk is full, or a file cannot be written.
    """
    check_target(path)
    with _alone(path):
        yield from _written(path, about)


def _written(path: Path, about: Mapping[str, Any]) -> Iterator[ExportFolder]:
    partial = path.with_name(f"{path.name}.partial")
    key = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16).hexdigest()
    with disk_errors(partial):
        state = _State.read(partial / STATE, key)
        if state is None:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            state = _State(partial / STATE, key)
            state.record(state.tally)
        for left in partial.rglob("*.tmp"):  # of a job that was killed while it wrote a file
            left.unlink()
    yield ExportFolder(path, partial, state)
    with disk_errors(path):
        (partial / STATE).unlink()
        _swap(partial, path)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other exports from writing the same folder meanwhile.

    Raises:
        StoreBusy: one does.
    """
    lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=0)
    with disk_errors(path):
        try:
            lock.acquire()
        except Timeout:
            raise StoreBusy(f"Another export is writing {path}. Wait for it, or name another folder.") from None
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()


def check_target(path: Path) -> None:
    """Make sure that a folder can be written, as far as that can be told before.

    Raises:
        InvalidArgument: it is a file, holds something other than an export, or its parent cannot be written to.
    """
    if path.is_dir() and any(path.iterdir()) and not (path / REPORT).is_file():
        raise InvalidArgument(f"{path} is not empty and holds no export that could be replaced. Name a new folder.")
    if path.exists() and not path.is_dir():
        raise InvalidArgument(f"{path} is a file. Name a folder to write.")
    parent = path.absolute().parent
    if not parent.is_dir():
        raise InvalidArgument(f"There is no folder {parent} to make {path.name} in. Make it first.")
    if not os.access(parent, os.W_OK):
        raise InvalidArgument(f"The folder {parent} may not be written. Name a folder elsewhere.")


def _swap(partial: Path, path: Path) -> None:
    """Give the new folder its name. An earlier export is moved aside first and removed last."""
    for file in sorted(file for file in partial.rglob("*") if file.is_file()):
        sync(file)
    aside = path.with_name(f"{path.name}.{os.urandom(4).hex()}.old")
    if path.exists():
        path.replace(aside)
    partial.replace(path)
    sync(path.absolute().parent)
    shutil.rmtree(aside, ignore_errors=True)
