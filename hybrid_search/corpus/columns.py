"""The types of a table's columns: what all of a column's cells are, never what one of them looks like.

A column is one of numbers, of truth values, or of text. Of numbers it is only where each cell that is not empty prints
back the same: `7`, `-3`, `2.5` and `1e-05` do, while `007`, `+7`, `1.10`, `1_000`, `1e400`, `nan`, `-0`, a number
beyond 64 bits or one in other digits than 0 to 9 would lose something. Of truth values it is where all cells are
written alike: `true` and `false`, `True` and `False`, or `TRUE` and `FALSE`. One cell that is neither makes it text.
Dates stay the texts that they are; filters compare them as dates.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Value = int | float | bool
Reading = Callable[[str], Value | None]
"""What a cell stands for in a column of one kind; None where it is nothing of the kind."""

MAX_PIPED = 8 << 30
"""Bytes of a table that comes through a pipe. It is kept in a file, for its columns are read before its rows."""

_COPY_BYTES = 1 << 20
_LONGEST_NUMBER = 32
"""Characters of a float as Python prints it are 24 at most, of an integer of 64 bits 20."""


class NoCopy(ValueError):
    """What comes through a pipe cannot be kept; the message is the reason shown to the user."""


def number(cell: str) -> int | float | None:
    """The number that prints back as this very cell; None where there is none.

    >>> [number(cell) for cell in ("7", "-1.5", "1e-05", "007", "1.10", "1e400", "-0", " 7", "nan")]
    [7, -1.5, 1e-05, None, None, None, None, None, None]
    """
    if len(cell) > _LONGEST_NUMBER:
        return None
    try:
        whole = int(cell)
    except ValueError:
        whole = None
    if whole is not None:
        return whole if str(whole) == cell and -(2**63) <= whole < 2**63 else None
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and repr(value) == cell else None


def column_readings(records: Iterable[Mapping[str, str]]) -> dict[str, Reading]:
    """How to read the cells of each column that is not text, by its name; holds no more than that of the rows.

    Reads no further than to where every column has turned out to be text.
    """
    rows = iter(records)
    first = next(rows, None)
    left = dict.fromkeys(first or (), _READINGS)
    for record in chain([first] if first else [], rows):
        for name, readings in left.items():
            if readings and (cell := record[name]):
                left[name] = tuple(read for read in readings if read(cell) is not None)
        if not any(left.values()):
            break
    return {name: readings[0] for name, readings in left.items() if readings}


def typed(metadata: Mapping[str, Any], readings: Mapping[str, Reading]) -> dict[str, Any]:
    """The metadata of a row with its cells as their columns are read; empty cells are left out."""
    found: dict[str, Any] = {}
    for name, cell in metadata.items():
        if cell == "":
            continue
        value = readings[name](cell) if name in readings and isinstance(cell, str) else None
        found[name] = cell if value is None else value  # what changed since its column was read stays text
    return found


@contextmanager
def rewindable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """The stream itself where it can be read twice, else a copy of what is left of it.

    Raises:
        NoCopy: it holds more than `MAX_PIPED` bytes, it cannot be read, or there is no room for it.
    """
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as copy:
        try:
            while some := stream.read(_COPY_BYTES):
                if copy.tell() + len(some) > MAX_PIPED:
                    raise NoCopy(
                        f"more than {MAX_PIPED >> 30} GB of it came through a pipe; write it to a file and index that"
                    )
                copy.write(some)
            copy.seek(0)
        except OSError as error:
            raise NoCopy(f"the table cannot be copied from its pipe: {error.strerror or error}") from error
        yield copy


def _truth(true: str, false: str) -> Reading:
    values = {true: True, false: False}
    return values.get


_READINGS: tuple[Reading, ...] = (number, _truth("true", "false"), _truth("True", "False"), _truth("TRUE", "FALSE"))
