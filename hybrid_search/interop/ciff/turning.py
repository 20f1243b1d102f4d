"""Postings that are more than memory holds, sorted: from documents with terms to terms with documents, and back.

They go to a temporary file as they come. A second temporary file has room for each range of keys, as many as fit into
memory at once; each block of the first is sorted into it. Then each range is read and sorted. The files have no name,
so nothing is left of them, however the process ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.interop.chunks import disk_errors

POSTING = np.dtype([("key", "<i4"), ("other", "<i4"), ("weight", "<i4")])
"""What is sorted by, what it is sorted beside, and the weight."""

Postings = NDArray[np.void]

AT_ONCE = 1 << 20
"""Postings that are held at once, several times over while they are sorted: 12 MB each time."""


@contextmanager
def temporary_file(folder: Path | None = None) -> Iterator[IO[bytes]]:
    """Give a file that has no name, and is gone after the block, however that ends.

    Args:
        folder: where it lies; None for the system's own place.

    Raises:
        StoreFull, StoreError: it cannot be made.
    """
    with disk_errors(_place(folder)):
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed below, in silence
    try:
        yield file
    finally:
        with suppress(OSError):  # what it could not write any more is of no use
            file.close()


def _place(folder: Path | None) -> Path:
    return folder or Path(tempfile.gettempdir())


class Range(NamedTuple):
    """A part of the sorted postings: they lie at `first` to `last` of the file, and have keys below `end`."""

    first: int
    last: int
    end: int


@contextmanager
def postings_file(folder: Path | None = None) -> Iterator[PostingsFile]:
    """Give a temporary file of postings.

    Args:
        folder: where it lies; None for the system's own place.

    Raises:
        StoreFull, StoreError: it cannot be made.
    """
    with temporary_file(folder) as file:
        yield PostingsFile(file, _place(folder))


class PostingsFile:
    """Postings in a temporary file; its methods raise StoreFull and StoreError where it cannot be written.

    Args:
        file: without a name.
        place: the folder where it lies, for errors.
    """

    def __init__(self, file: IO[bytes], place: Path) -> None:
        self._file, self.place = file, place
        self._held: list[Postings] = []
        self._waiting = self.count = 0

    def append(self, postings: Postings) -> None:
        """Write postings behind the others, some later."""
        self._held.append(postings)
        self._waiting += len(postings)
        self.count += len(postings)
        if self._waiting >= AT_ONCE // 4:
            self.flush()

    def flush(self) -> None:
        """Write what was appended."""
        with disk_errors(self.place):
            for postings in self._held:
                self._file.write(postings.tobytes())
            self._file.flush()
        self._held, self._waiting = [], 0

    def write(self, first: int, postings: Postings) -> None:
        """Write postings to their place."""
        with disk_errors(self.place):
            self._file.seek(first * POSTING.itemsize)
            self._file.write(postings.tobytes())

    def read(self, first: int, last: int) -> Postings:
        """Return the postings at places."""
        with disk_errors(self.place):
            self._file.seek(first * POSTING.itemsize)
            return np.frombuffer(self._file.read((last - first) * POSTING.itemsize), POSTING)

    def blocks(self, first: int, last: int) -> Iterator[Postings]:
        """Yield the postings at places, some at a time."""
        for start in range(first, last, AT_ONCE):
            yield self.read(start, min(last, start + AT_ONCE))


def ranges_of(counts: NDArray[np.integer], width: int = 1) -> list[Range]:
    """Return ranges of keys, each of at most `AT_ONCE` postings but where a single count has more.

    Args:
        counts: how many postings each run of `width` keys has.
        width: keys that are counted together.
    """
    ends = np.cumsum(counts, dtype=np.int64)
    found: list[Range] = []
    place = first = 0
    while place < len(ends):
        until = max(place + 1, int(np.searchsorted(ends, first + AT_ONCE, side="right")))
        last = int(ends[until - 1])
        found.append(Range(first, last, until * width))
        place, first = until, last
    return found


def sort_into(
    source: PostingsFile,
    target: PostingsFile,
    ranges: list[Range],
    key_of: Callable[[NDArray[np.int32]], NDArray[np.int32]],
) -> None:
    """Write the postings of a file to the ranges of another, inside each in the order in which they came.

    Args:
        source: they are not sorted.
        target: empty.
        ranges: that hold all of them.
        key_of: gives the keys to sort by, of the keys in the source.
    """
    source.flush()
    free = [part.first for part in ranges]
    ends = np.array([part.end for part in ranges])
    for block in source.blocks(0, source.count):
        moved = block.copy()
        moved["key"] = key_of(block["key"])
        parts = np.searchsorted(ends, moved["key"], side="right")
        order = np.argsort(parts, kind="stable")
        bounds = np.searchsorted(parts[order], np.arange(len(ranges) + 1))
        for part in np.unique(parts).tolist():
            some = moved[order[bounds[part] : bounds[part + 1]]]
            target.write(free[part], some)
            free[part] += len(some)


def sorted_by_key(postings: Postings) -> Postings:
    """Return postings by their keys; those of one key stay in their order."""
    return postings[np.argsort(postings["key"], kind="stable")]
