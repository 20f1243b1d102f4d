"""The messages of a CIFF file as bytes, each behind its length: a header, postings lists, records of documents.

The bytes are those that a library of Protocol Buffers would write. A posting has the gap to the document before it;
the first has the document's own number. Source: osirrc/ciff, `CommonIndexFileFormat.proto`, version 1.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.interop.ciff.wire import (
    BYTES,
    FIXED64,
    VARINT,
    bytes_field,
    number_field,
    put_varints,
    varint,
    varint_lengths,
)

VERSION = 1
POSTINGS = 4
"""The field of a postings list that holds its postings."""


class Header(NamedTuple):
    """What stands at the beginning of a file.

    Args:
        version: of the format.
        postings_lists: how many follow.
        documents: how many records of documents follow.
        all_postings_lists: of the index that the file is from, which may have more.
        all_documents: of the same.
        all_terms: the sum of all term frequencies of the same.
        average_length: the mean of the documents' lengths.
        description: for people.
    """

    version: int
    postings_lists: int
    documents: int
    all_postings_lists: int
    all_documents: int
    all_terms: int
    average_length: float
    description: str


def delimited(content: bytes) -> bytes:
    """Return a message behind its length."""
    return varint(len(content)) + content


def header_message(header: Header) -> bytes:
    """Return the header of a file."""
    numbers = b"".join(number_field(place, number) for place, number in enumerate(header[:6], start=1))
    average = bytes([7 << 3 | FIXED64]) + struct.pack("<d", header.average_length) if header.average_length else b""
    return delimited(numbers + average + bytes_field(8, header.description.encode()))


def document_message(number: int, doc_id: str, length: int) -> bytes:
    """Return the record of a document."""
    return delimited(number_field(1, number) + bytes_field(2, doc_id.encode()) + number_field(3, length))


def list_start(term: str, postings: int, frequencies: int, size: int) -> bytes:
    """Return what stands before the postings of a list.

    Args:
        term: of the list.
        postings: their number, the document frequency.
        frequencies: the sum of their term frequencies.
        size: bytes of the postings that follow.
    """
    start = bytes_field(1, term.encode()) + number_field(2, postings) + number_field(3, frequencies)
    return varint(len(start) + size) + start


def posting_sizes(gaps: NDArray[np.integer], frequencies: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return how many bytes each posting has."""
    return 3 + np.where(gaps > 0, 1 + varint_lengths(gaps), 0) + varint_lengths(frequencies)


def posting_bytes(gaps: NDArray[np.integer], frequencies: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return postings as bytes: of each a field with a message of the gap, where it is not 0, and the frequency.

    Args:
        gaps: between the documents' numbers, 0 or more, below 2**31.
        frequencies: above 0, below 2**31.
    """
    of_gap, of_frequency = np.where(gaps > 0, varint_lengths(gaps), 0), varint_lengths(frequencies)
    wide = 3 + int(of_gap.max(initial=0))
    cells = np.empty((len(gaps), wide + 1 + int(of_frequency.max(initial=0))), np.uint8)
    kept = np.ones(cells.shape, np.bool_)
    cells[:, 0] = POSTINGS << 3 | BYTES
    cells[:, 1] = 1 + of_gap + (of_gap > 0) + of_frequency
    cells[:, 2] = 1 << 3 | VARINT
    kept[:, 2] = of_gap > 0
    put_varints(cells[:, 3:wide], kept[:, 3:wide], gaps, of_gap)
    cells[:, wide] = 2 << 3 | VARINT
    put_varints(cells[:, wide + 1 :], kept[:, wide + 1 :], frequencies, of_frequency)
    return cells[kept]
