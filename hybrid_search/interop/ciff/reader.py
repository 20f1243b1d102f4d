"""Reads a CIFF file: checks all of it, and gives its documents with the weights of their terms.

The postings are sorted by documents in temporary files, see `turning`. In memory are the terms, a number for each, and
a few thousand postings at a time. What engines do not agree on is taken as it comes: terms in any order, fields in any
order, frequencies of 0, lengths of documents, and the sums in the header.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.interop.chunks import disk_errors
from hybrid_search.interop.ciff.messages import POSTINGS, VERSION, Header
from hybrid_search.interop.ciff.stream import CiffStream, Message
from hybrid_search.interop.ciff.turning import (
    POSTING,
    PostingsFile,
    postings_file,
    ranges_of,
    sort_into,
    sorted_by_key,
    temporary_file,
)
from hybrid_search.interop.ciff.wire import BYTES, FIXED64, VARINT

WIDTH = 256
"""Documents that are counted together."""

AFTER_A_SLOW_ONE = 256
"""Postings that are read one by one before reading many at once is tried again."""

_SHORT = 100
"""Bytes of a list below which postings are read one by one, which is faster there."""


class CiffDocument(NamedTuple):
    """A document of a file.

    Args:
        doc_id: as the file has it.
        weights: of its terms, whole numbers.
        offset: the byte of the file at which its record begins.
    """

    doc_id: str
    weights: Mapping[str, int]
    offset: int


class CiffFile:
    """A CIFF file, read and checked from its first byte to its last.

    Args:
        path: of the file; one that ends in `.gz` is compressed.
        folder: for temporary files, which take about 24 bytes a posting; None for the system's own.

    Raises:
        CorpusError: it cannot be read, is damaged or is no CIFF file; the message says at which byte.
        StoreFull, StoreError: a temporary file cannot be written.
    """

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        self.path = path
        self.terms: list[str] = []
        with ExitStack() as stack, CiffStream(path) as stream:
            self._turned = stack.enter_context(postings_file(folder))
            self._ids = stack.enter_context(temporary_file(folder))
            self.header = read_header(stream)
            with postings_file(folder) as spooled:
                self._read_lists(stream, spooled)
                self._read_records(stream)
                sort_into(spooled, self._turned, self._ranges, lambda keys: keys)
            self._open = stack.pop_all()

    def __enter__(self) -> CiffFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary files."""
        self._open.close()

    def documents(self) -> Iterator[CiffDocument]:
        """Yield every document, in the order of their numbers. It can be called again, but not in between."""
        with disk_errors(self._turned.place):
            self._ids.seek(0)
        number = 0
        for part in self._ranges:
            postings = sorted_by_key(self._turned.read(part.first, part.last))
            end = min(part.end, self.header.documents)
            bounds = np.searchsorted(postings["key"], np.arange(number, end + 1)).tolist()
            for first, last in pairwise(bounds):
                doc_id, offset = json.loads(self._ids.readline())
                terms, weights = postings["other"][first:last].tolist(), postings["weight"][first:last].tolist()
                named = {self.terms[term]: weight for term, weight in zip(terms, weights, strict=True)}
                yield CiffDocument(doc_id, named, offset)
            number = end

    def _read_lists(self, stream: CiffStream, spooled: PostingsFile) -> None:
        """Read the postings lists, and count the postings of each few documents."""
        counts = np.zeros(-(-self.header.documents // WIDTH), np.int64)
        known: set[str] = set()
        for number in range(self.header.postings_lists):
            message = stream.message(f"postings list {number + 1:,} of {self.header.postings_lists:,}")
            for part in _postings(message, self.header.documents, self.terms, known):
                block = np.empty(len(part), POSTING)
                block["key"], block["other"], block["weight"] = part[:, 0], number, part[:, 1]
                spooled.append(block)
                places, found = np.unique(part[:, 0] // WIDTH, return_counts=True)
                counts[places] += found
        self._ranges = ranges_of(counts, WIDTH)

    def _read_records(self, stream: CiffStream) -> None:
        """Read the records of documents, which stand in the order of their numbers, and nothing behind them."""
        total = self.header.documents
        for number in range(total):
            message = stream.message(f"the record of document {number:,} of {total:,}")
            found, doc_id = _record(message)
            if found != number:
                stream.damage(f"the record of document {found:,}, expected that of {number:,}", message.start)
            with disk_errors(self._turned.place):
                self._ids.write(f"{json.dumps([doc_id, message.start])}\n".encode())
        if not stream.ends():
            stream.damage(f"something follows the last of {total:,} documents")


def read_header(stream: CiffStream) -> Header:
    """Read the header of a file.

    Raises:
        CorpusError: it is none.
    """
    message = stream.message("the header")
    numbers, average, description = [0] * 7, 0.0, ""
    while len(message):
        place = message.offset
        field, kind = message.field()
        if 1 <= field <= 6 and kind == VARINT:
            numbers[field] = message.count("a number of the header") if field < 6 else message.number()
        elif (field, kind) == (7, FIXED64):
            average = struct.unpack("<d", message.take(8))[0]
        elif (field, kind) == (8, BYTES):
            description = message.text("the description")
        elif field <= 8:
            stream.damage(f"field {field} of type {kind} in the header", place)
        else:
            message.skip(kind)
    if numbers[1] != VERSION:
        stream.damage(f"version {numbers[1]} of CIFF, expected {VERSION}", message.start)
    _, version, lists, documents, all_lists, all_documents, all_terms = numbers
    return Header(version, lists, documents, all_lists, all_documents, all_terms, average, description)


def _postings(message: Message, documents: int, terms: list[str], known: set[str]) -> Iterator[NDArray[np.int64]]:
    """Read a postings list: yield numbers of documents and weights, some at a time, and note its term at its end."""
    read = _List(message, documents)
    long = len(message) > _SHORT
    while len(message):
        if long and read.count:
            yield read.take(message.plain_postings())
        slow: list[tuple[int, int]] = []
        while len(message) and len(slow) < (AFTER_A_SLOW_ONE if read.count or not long else 1):
            slow += read.field()
        yield read.take(np.array(slow, np.int64).reshape(-1, 2))
    if read.frequency != read.count:
        message.stream.damage(
            f"the list of {read.term!r} has {read.count:,} postings, and says {read.frequency:,}", message.start
        )
    if read.term in known:
        message.stream.damage(f"a second list of {read.term!r}", message.start)
    known.add(read.term)
    terms.append(read.term)


class _List:
    """A postings list that is being read.

    Args:
        message: it.
        documents: their number in the file.
    """

    def __init__(self, message: Message, documents: int) -> None:
        self._message, self._documents = message, documents
        self.term, self.frequency, self.count, self._last = "", 0, 0, 0

    def field(self) -> list[tuple[int, int]]:
        """Read one field; return the gap and weight of a posting, or nothing."""
        message, place = self._message, self._message.offset
        field, kind = message.field()
        if (field, kind) == (1, BYTES):
            self.term = message.text("a term")
        elif (field, kind) == (2, VARINT):
            self.frequency = message.count("a document frequency")
        elif (field, kind) == (POSTINGS, BYTES):
            return [_posting(message)]
        elif field in (1, 2, POSTINGS) or (field, kind) == (0, 0):
            message.stream.damage(f"field {field} of type {kind} in a postings list", place)
        else:
            message.skip(kind)  # the collection frequency, too, which is the sum of the weights
        return []

    def take(self, postings: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return postings with the numbers of their documents in the place of gaps."""
        if not len(postings):
            return postings
        gaps = postings[:, 0]
        numbers = self._last + np.cumsum(gaps)
        if (gaps[1:] if self.count == 0 else gaps).min(initial=1) < 1:
            wrong = numbers[1:][gaps[1:] < 1] if self.count == 0 else numbers[gaps < 1]
            self._damage(f"document {wrong[0]:,} twice")
        if numbers[-1] >= self._documents:
            self._damage(f"a posting of document {numbers[-1]:,}, and there are {self._documents:,}")
        self.count, self._last = self.count + len(postings), int(numbers[-1])
        return np.column_stack([numbers, postings[:, 1]])

    def _damage(self, reason: str) -> None:
        self._message.stream.damage(f"the list of {self.term!r} has {reason}", self._message.start)


def _posting(message: Message) -> tuple[int, int]:
    size = message.number()
    if size > len(message):
        message.damage(f"a posting of {size:,} bytes, and {len(message):,} of its list are left")
    end = len(message) - size
    gap = weight = 0
    while len(message) > end:
        place = message.offset
        field, kind = message.field()
        if (field, kind) == (1, VARINT):
            gap = message.count("the gap of a posting")
        elif (field, kind) == (2, VARINT):
            weight = message.count("the frequency of a posting")
        elif field <= 2:
            message.stream.damage(f"field {field} of type {kind} in a posting", place)
        else:
            message.skip(kind)
    if len(message) < end:
        message.damage("a posting is longer than it says")
    return gap, weight


def _record(message: Message) -> tuple[int, str]:
    number, doc_id = 0, ""
    while len(message):
        place = message.offset
        field, kind = message.field()
        if (field, kind) == (1, VARINT):
            number = message.count("the number of a document")
        elif (field, kind) == (2, BYTES):
            doc_id = message.text("the id of a document")
        elif field <= 2:
            message.stream.damage(f"field {field} of type {kind} in the record of a document", place)
        else:
            message.skip(kind)
    if not doc_id:
        message.stream.damage(f"document {number:,} has no id", message.start)
    return number, doc_id
