"""Protocol Buffers on the wire, as far as an inverted index needs them: varints, one or many at once, and fields.

A varint has seven bits of a number in each byte, the lowest first; the highest bit says that another byte follows. A
field begins with `number << 3 | type`; a field whose value is 0 or empty is left out. Source: Protocol Buffers,
Encoding, https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Types of fields."""

LONGEST = 10
"""Bytes of the longest varint, which has 64 bits."""

_LIMITS = (1 << 7, 1 << 14, 1 << 21, 1 << 28)


def varint(number: int) -> bytes:
    """Return a number of 0 or more as a varint.

    >>> varint(300).hex()
    'ac02'
    """
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def number_field(field: int, number: int) -> bytes:
    """Return a field that holds a number of 0 or more."""
    return varint(field << 3 | VARINT) + varint(number) if number else b""


def bytes_field(field: int, content: bytes) -> bytes:
    """Return a field that holds bytes, a text in UTF-8 or a message."""
    return varint(field << 3 | BYTES) + varint(len(content)) + content if content else b""


def varint_lengths(numbers: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return how many bytes the varints of numbers below 2**31 have."""
    lengths = np.ones(len(numbers), np.int64)
    for limit in _LIMITS:
        lengths += numbers >= limit
    return lengths


def put_varints(
    cells: NDArray[np.uint8], kept: NDArray[np.bool_], numbers: NDArray[np.integer], lengths: NDArray[np.int64]
) -> None:
    """Write the varints of numbers, one a row, and note which bytes of a row belong to it.

    Args:
        cells: bytes, shape (numbers, length of the longest varint).
        kept: of the same shape.
        numbers: 0 or more, below 2**31.
        lengths: of their varints.
    """
    for step in range(cells.shape[1]):
        cells[:, step] = numbers >> (7 * step) & 0x7F | np.where(lengths > step + 1, 0x80, 0)
        kept[:, step] = lengths > step


def read_varints(content: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Return the numbers of bytes that are nothing but varints, and where each ends; None where one is above 35 bits.

    A varint that is cut at the end is left out.
    """
    ends = np.flatnonzero(content < 0x80) + 1
    if not ends.size:
        return None if len(content) > len(_LIMITS) + 1 else (np.zeros(0, np.int64), ends)
    starts = np.concatenate([[0], ends[:-1]])
    lengths = ends - starts
    if lengths.max() > len(_LIMITS) + 1:
        return None
    numbers = content[starts].astype(np.int64) & 0x7F
    for step in range(1, int(lengths.max())):
        longer = np.flatnonzero(lengths > step)
        numbers[longer] |= (content[starts[longer] + step].astype(np.int64) & 0x7F) << (7 * step)
    return numbers, ends
