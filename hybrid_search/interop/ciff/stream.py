"""A CIFF file from its first byte to its last: its messages, and where something in it is wrong."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import CorpusError
from hybrid_search.interop.ciff.messages import POSTINGS
from hybrid_search.interop.ciff.wire import BYTES, FIXED32, FIXED64, LONGEST, VARINT, read_varints

WINDOW = 64 << 10
"""Bytes of a message that are held at once."""

LONGEST_TEXT = 1 << 20
"""Bytes of the longest term, id or description; a longer one is damage."""

LARGEST = 2**31 - 1
"""The largest number of most fields, and bytes of the longest message."""

_POSTING_TAG, _GAP_TAG, _FREQUENCY_TAG = POSTINGS << 3 | BYTES, 1 << 3, 2 << 3
_SIZES = {FIXED64: 8, FIXED32: 4}


class CiffStream:
    """A file that is read once, plain or, where its name ends in `.gz`, compressed.

    Args:
        path: of the file.

    Raises:
        CorpusError: it is not there, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.offset = path, 0
        try:
            compressed = path.suffix == ".gz"
            self._raw = path.open("rb")
            self._file = cast("IO[bytes]", gzip.GzipFile(fileobj=self._raw)) if compressed else self._raw
            self.size = None if compressed else path.stat().st_size
        except OSError as error:
            raise CorpusError(f"Cannot read {path}: {error.strerror or error}.") from error

    def __enter__(self) -> CiffStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._raw.close()

    def damage(self, reason: str, offset: int | None = None) -> NoReturn:
        """Raise CorpusError: what is wrong, at which byte of the file (uncompressed)."""
        at = self.offset if offset is None else offset
        raise CorpusError(f"{self.path}, byte {at:,}: {reason}. The file is damaged, or no CIFF; nothing was written.")

    def read(self, size: int) -> bytes:
        """Return so many bytes.

        Raises:
            CorpusError: there are fewer.
        """
        try:
            found = self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            self.damage(f"it cannot be read ({error})")
        if len(found) < size:
            self.damage(f"the file ends {size - len(found):,} bytes too early", self.offset + len(found))
        self.offset += size
        return found

    def message(self, what: str) -> Message:
        """Return the next message, of which nothing is read yet but its length.

        Args:
            what: is expected, for errors.
        """
        start, length, shift = self.offset, 0, 0
        if self.size is not None and start == self.size:
            self.damage(f"the file ends where {what} was expected")
        while shift < 7 * 5:
            byte = self.read(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        else:
            self.damage(f"the length of {what} has more than 5 bytes", start)
        left = LARGEST if self.size is None else min(LARGEST, self.size - self.offset)
        if length > left:
            self.damage(f"{what} has {length:,} bytes, and {left:,} is the most that can follow", start)
        return Message(self, length, start)

    def ends(self) -> bool:
        """Say whether nothing follows."""
        try:
            return not self._file.read(1)
        except (OSError, EOFError, zlib.error) as error:
            self.damage(f"it cannot be read ({error})")


class Message:
    """One message, read field by field, in windows of limited size.

    Args:
        stream: it is read from.
        length: of the message, in bytes.
        start: the byte of the file where it begins.
    """

    def __init__(self, stream: CiffStream, length: int, start: int) -> None:
        self.stream, self.start = stream, start
        self._unread, self._window, self._place = length, b"", 0

    def __len__(self) -> int:
        """Return how many bytes of it are left."""
        return len(self._window) - self._place + self._unread

    @property
    def offset(self) -> int:
        """The byte of the file that comes next."""
        return self.stream.offset - len(self._window) + self._place

    def damage(self, reason: str) -> NoReturn:
        """Raise CorpusError: what is wrong with the byte that comes next."""
        self.stream.damage(reason, self.offset)

    def field(self) -> tuple[int, int]:
        """Return number and type of the next field."""
        tag = self.number()
        return tag >> 3, tag & 7

    def number(self) -> int:
        """Return the next varint, 64 bits of it."""
        self._fill(LONGEST)
        found = 0
        for step, byte in enumerate(self._window[self._place : self._place + LONGEST]):
            found |= (byte & 0x7F) << (7 * step)
            if byte < 0x80:
                self._place += step + 1
                return found
        self.damage("a varint does not end" if len(self) < LONGEST else f"a varint has more than {LONGEST} bytes")

    def count(self, what: str) -> int:
        """Return the next varint, which must be a number of 31 bits."""
        place = self.offset
        found = self.number()
        if found > LARGEST:
            self.stream.damage(f"{what} is {found - (found >> 63 << 64):,}, expected 0 to {LARGEST:,}", place)
        return found

    def take(self, size: int) -> bytes:
        """Return so many bytes."""
        if size > len(self):
            self.damage(f"a field of {size:,} bytes, and {len(self):,} of its message are left")
        self._fill(size)
        self._place += size
        return self._window[self._place - size : self._place]

    def text(self, what: str) -> str:
        """Return the next text.

        Raises:
            CorpusError: it is no UTF-8, or too long.
        """
        place = self.offset
        size = self.number()
        if size > LONGEST_TEXT:
            self.stream.damage(f"{what} has {size:,} bytes, expected at most {LONGEST_TEXT:,}", place)
        try:
            return self.take(size).decode()
        except UnicodeDecodeError as error:
            self.stream.damage(f"{what} is no UTF-8 ({error.reason})", place)

    def skip(self, kind: int) -> None:
        """Pass over the content of a field that this version does not know."""
        if kind == VARINT:
            self.number()
        elif kind == BYTES:
            left = self.number()
            if left > len(self):
                self.damage(f"a field of {left:,} bytes, and {len(self):,} of its message are left")
            while left:
                left -= len(self.take(min(left, WINDOW)))
        elif kind in _SIZES:
            self.take(_SIZES[kind])
        else:
            self.damage(f"a field of type {kind}, which there is not")

    def plain_postings(self) -> NDArray[np.int64]:
        """Return the postings that follow each other now and have both fields: gaps and frequencies, shape (n, 2).

        They are above 0. What comes next is something else, or a posting that is held in part.
        """
        self._fill(WINDOW)
        content = np.frombuffer(self._window, np.uint8, offset=self._place)
        decoded = read_varints(content)
        rows = len(decoded[0]) // 6 if decoded else 0
        if decoded is None or not rows:
            return np.zeros((0, 2), np.int64)
        numbers, ends = decoded[0][: 6 * rows].reshape(-1, 6), decoded[1][: 6 * rows].reshape(-1, 6)
        plain = (numbers[:, (0, 2, 4)] == (_POSTING_TAG, _GAP_TAG, _FREQUENCY_TAG)).all(axis=1)
        plain &= numbers[:, 1] == ends[:, 5] - ends[:, 1]
        plain &= ((numbers[:, (3, 5)] > 0) & (numbers[:, (3, 5)] <= LARGEST)).all(axis=1)
        count = rows if plain.all() else int(np.argmin(plain))
        self._place += int(ends[count - 1, 5]) if count else 0
        return numbers[:count, (3, 5)]

    def _fill(self, size: int) -> None:
        """Hold at least so many bytes, or all that are left."""
        held = len(self._window) - self._place
        if held < size and self._unread:
            more = min(self._unread, max(size, WINDOW) - held)
            self._window = self._window[self._place :] + self.stream.read(more)
            self._unread -= more
            self._place = 0
