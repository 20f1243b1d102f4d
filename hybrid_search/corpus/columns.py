"""Finds the types of a table's columns: a type holds for all cells of a column, never for single ones.

A column holds numbers, truth values or text. It holds numbers only if each non-empty cell prints back the same: `7`,
`-3`, `2.5` and `1e-05` do. `007`, `+7`, `1.10`, `1_000`, `1e400`, `nan`, `-0`, numbers beyond 64 bits and digits other
than 0 to 9 would lose something. It holds truth values if all cells are written alike: `true` and `false`, `True` and
`False`, or `TRUE` and `FALSE`. A single cell that is neither makes the column text. Dates stay text; filters compare
them as dates.
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
"""Converts a cell of a column of one kind; returns None if the cell is not of that kind."""

MAX_PIPED = 8 << 30
"""Bytes of a piped table, at most. It is copied to a file, because its columns are read before its rows."""

_COPY_BYTES = 1 << 20
_LONGEST_NUMBER = 32
"""Characters. Python prints a float with at most 24, an integer of 64 bits with at most 20."""


class NoCopy(ValueError):
    """A piped table cannot be stored; the message is the reason shown to the user."""


def number(cell: str) -> int | float | None:
    """Return the number that prints back as exactly this cell; None if there is none.

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
    """Return, by column name, how to read the cells of each column that is not text. Holds one row in memory.

    Stops reading as soon as every column has turned out to be text.
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


def apply_types(metadata: Mapping[str, Any], readings: Mapping[str, Reading]) -> dict[str, Any]:
    """Return the metadata of a row, with cells converted by column; empty cells are left out."""
    found: dict[str, Any] = {}
    for name, cell in metadata.items():
        if cell == "":
            continue
        value = readings[name](cell) if name in readings and isinstance(cell, str) else None
        found[name] = cell if value is None else value  # what changed since its column was read stays text
    return found


@contextmanager
def rewindable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield the stream itself if it can be read twice, else a copy of what is left of it.

    Raises:
        NoCopy: the stream holds more than `MAX_PIPED` bytes, cannot be read, or there is no room for the copy.
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
