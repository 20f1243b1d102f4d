"""Files of a collection: written durably, copied with their holes, and identified by checksums.

The engine allocates its files at full length and fills them over time, so most of their bytes are holes. A checksum
covers the whole file nevertheless: its length, and every block that is not all zeros with its offset. It does not
depend on which zeros are holes, and costs only the bytes that are there (XXH3, 20 GB/s; BLAKE2b makes 0.5).
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import FileIO
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import xxhash

from hybrid_search._util import atomic_write

_BLOCK = 1 << 17
_ZEROS = bytes(_BLOCK)
_PAGE = 1 << 12
_BLANK = "0" * 32
_SHORT_LIVED = ".atomicwrite"
"""The engine's names for files that it is about to rename."""

_REWRITTEN = ("edge_config.json", "segment.json")
"""Files that the engine rewrites whenever it opens or closes a shard, with the keys in another order."""


class Sum(NamedTuple):
    """Length and checksum that a file must have; an empty checksum is unknown."""

    length: int
    checksum: str


class Damage(NamedTuple):
    """A file that is not as it was written, and what is wrong with it."""

    name: str
    reason: str


def checksum(file: Path) -> Sum:
    """Return the length and the checksum of a file."""
    if file.name in _REWRITTEN:
        return _sum_of_json(file.read_bytes())
    with file.open("rb", buffering=0) as read:
        length = os.fstat(read.fileno()).st_size
        return Sum(length, _hash_blocks(_blocks(read, length), length, None))


def sums_of(folder: Path, below: str = "") -> dict[str, Sum]:
    """Return the checksum of every file below `folder / below`, by its path from `folder`."""
    return {name: checksum(folder / name) for name in names_in(folder, below)}


def names_in(folder: Path, below: str = "") -> list[str]:
    """Return the paths from `folder` of every file below `folder / below`, sorted."""
    there = (file for file in (folder / below).rglob("*") if file.is_file())
    return sorted(file.relative_to(folder).as_posix() for file in there if not file.name.startswith(_SHORT_LIVED))


def damages(folder: Path, wanted: Mapping[str, Sum], *, whole: str = "") -> list[Damage]:
    """Compare a folder with what was written, and return the differences.

    Args:
        folder: that the names in `wanted` start from.
        wanted: the checksum of each file.
        whole: a folder below it in which no other files may lie; empty for none.
    """
    found = [Damage(name, reason) for name, sum_ in wanted.items() if (reason := _problem_with(folder / name, sum_))]
    if whole:
        found += [Damage(name, "does not belong there") for name in names_in(folder, whole) if name not in wanted]
    return found


def copy_tree(source: Path, target: Path, leave_out: str = "") -> dict[str, Sum]:
    """Copy a folder, keeping holes, and return the checksum of every file by its path.

    Files that vanish meanwhile are left out: other readers' engines make and rename short-lived ones.

    Args:
        source: the folder.
        target: created where it does not exist.
        leave_out: a top-level entry to skip.
    """
    target.mkdir(parents=True, exist_ok=True)
    found: dict[str, Sum] = {}
    for entry in sorted(source.iterdir()):
        if entry.name == leave_out or entry.name.startswith(_SHORT_LIVED):
            continue
        if entry.is_dir():
            inside = copy_tree(entry, target / entry.name)
            found |= {f"{entry.name}/{name}": sum_ for name, sum_ in inside.items()}
        else:
            with suppress(FileNotFoundError):
                found[entry.name] = copy_file(entry, target / entry.name)
    return found


def copy_file(source: Path, target: Path) -> Sum:
    """Copy one file, keeping holes, and return its checksum as it was read."""
    if source.name in _REWRITTEN:
        data = source.read_bytes()
        target.write_bytes(data)
        return _sum_of_json(data)
    with source.open("rb", buffering=0) as read, target.open("wb") as write:
        length = os.fstat(read.fileno()).st_size
        made = _hash_blocks(_blocks(read, length), length, write)
        write.truncate(length)
    return Sum(length, made)


def hard_link(file: Path, target: Path) -> bool:
    """Make a hard link; return False where the file is missing or the file system has no hard links."""
    try:
        os.link(file, target)
    except OSError:
        return False
    return True


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a file by a JSON object, atomically and durably."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_checked(path: Path, value: Mapping[str, Any], *, durable: bool = True) -> None:
    """Replace a file by a JSON object that carries its own checksum (see `read_checked`)."""
    text = json.dumps({**value, "checksum": _BLANK}, indent=2, sort_keys=True) + "\n"
    write_text(path, text.replace(_BLANK, xxhash.xxh3_128_hexdigest(text.encode()), 1), durable=durable)


def read_checked(path: Path) -> dict[str, Any]:
    """Read what `write_checked` wrote, or JSON without a checksum, as earlier versions wrote it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON object, or not the one that was written.
    """
    text = path.read_bytes().decode()
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"it holds {type(value).__name__}, expected an object")
    made = value.get("checksum")
    if made is not None and made != xxhash.xxh3_128_hexdigest(text.replace(str(made), _BLANK, 1).encode()):
        raise ValueError("its checksum does not fit what it holds")
    return value


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace a file atomically; by default also durably, so that it survives a power loss."""
    atomic_write(path, text.encode(), durable=durable)


def sums_in(data: Mapping[str, Any]) -> dict[str, Sum]:
    """Return the checksums in a manifest. Those of early versions have lengths only."""
    checksums = data.get("checksums", {})
    return {name: Sum(int(length), checksums.get(name, "")) for name, length in data.get("files", {}).items()}


def sums_out(sums: Mapping[str, Sum]) -> dict[str, Any]:
    """Return checksums in a manifest's form; the inverse of `sums_in`."""
    checksums = {name: sum_.checksum for name, sum_ in sums.items() if sum_.checksum}
    return {"files": {name: sum_.length for name, sum_ in sums.items()}, "checksums": checksums}


def _problem_with(file: Path, wanted: Sum) -> str:
    """Return what is wrong with a file, in words; empty for nothing."""
    try:
        length = file.stat().st_size if file.is_file() else None
        if length is None:
            return "is missing"
        if length != wanted.length:
            return f"is {length:,} bytes long, {wanted.length:,} were written"
        if wanted.checksum and checksum(file).checksum != wanted.checksum:
            return "holds other bytes than were written"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return ""


def _sum_of_json(data: bytes) -> Sum:
    """Return the checksum of a JSON document, whatever the order of its keys."""
    with suppress(ValueError):
        said = json.dumps(json.loads(data), sort_keys=True).encode()
        return Sum(len(data), xxhash.xxh3_128_hexdigest(said))
    return Sum(len(data), xxhash.xxh3_128_hexdigest(data))


def _hash_blocks(blocks: Iterator[tuple[int, bytes]], length: int, write: BinaryIO | None) -> str:
    """Return the checksum of these blocks; write them to the same offsets of a file if one is given."""
    made = xxhash.xxh3_128(length.to_bytes(8, "little"))
    for place, block in blocks:
        made.update(place.to_bytes(8, "little"))
        made.update(block)
        if write is not None:
            _write_sparsely(write, place, block)
    return made.hexdigest()


def _write_sparsely(write: BinaryIO, place: int, block: bytes) -> None:
    """Write a block and leave pages of zeros as holes: the engine takes a third longer to open files without holes."""
    pages = [block[at : at + _PAGE] for at in range(0, len(block), _PAGE)]
    for is_hole, run in groupby(pages, lambda page: page == _ZEROS[: len(page)]):
        data = b"".join(run)
        if not is_hole:
            write.seek(place)
            write.write(data)
        place += len(data)


def _blocks(read: FileIO, length: int) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, block) for each block that is not all zeros. Offsets are multiples of the block size."""
    done = 0
    for start, end in _data(read.fileno(), length):
        for place in range(max(done, start - start % _BLOCK), end, _BLOCK):
            read.seek(place)
            block = read.read(min(_BLOCK, length - place))
            done = place + _BLOCK
            if block != _ZEROS[: len(block)]:
                yield place, block


def _data(handle: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each stretch that is no hole; the whole file where the system cannot tell."""
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
