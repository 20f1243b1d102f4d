"""Reads the rows of CSV and TSV, each with the number of lines it spans.

CSV quotes a cell that holds line ends, so one forgotten quote swallows the lines behind it up to the next quote or the
end of the file. If a row turns out to be broken, all its lines but the first are read again. TSV has no quoting: a tab
always divides cells and a line end always divides rows (IANA, text/tab-separated-values).
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from hybrid_search.corpus.decoding import RestUndecodable, Undecodable

MAX_CELL = 64 << 20
"""Characters of a cell, at most. Without a limit, one forgotten quote would put the rest of a file into one cell."""

READ_AGAIN = 8
"""A file full of bad quotes is read at most about this many times, since each of its rows might reach to its end."""

TAB = "\t"

NumberedLine = tuple[int, str | Undecodable]
"""A line's number, from 1, and the line, or why it is not text."""


class Row(NamedTuple):
    """A row of a table.

    Args:
        number: the line it starts on, from 1.
        cells: the cells, or why there are none.
        lines: how many lines it spans.
    """

    number: int
    cells: list[str] | str
    lines: int


class Rows:
    """The rows of a table, header first; blank lines are skipped.

    Args:
        lines: the table's lines.
        delimiter: the character between cells; a tab means TSV.
        quoted: whether quotes may enclose delimiters and line ends.

    `broke_off` is True if nothing behind the last row can be read.
    """

    def __init__(self, lines: Iterator[NumberedLine], delimiter: str, *, quoted: bool) -> None:
        if csv.field_size_limit() < MAX_CELL:
            csv.field_size_limit(MAX_CELL)  # the csv module keeps one limit for the whole process
        self._lines = _Lines(lines)
        dialect: dict[str, Any] = {"delimiter": delimiter, "strict": True}
        dialect["quoting"] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        self.broke_off = False
        self._reader: Any = csv.reader(self._lines, **dialect)

    def __iter__(self) -> Iterator[Row]:
        while (line := self._lines.peek()) is not None:
            number, text = line
            if isinstance(text, Undecodable):
                self._lines.drop()
                self.broke_off = isinstance(text, RestUndecodable)
                yield Row(number, str(text), 1)
                continue
            self._lines.taken.clear()
            try:
                cells: list[str] | str = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                cells = f"the row cannot be read: {error}"
            if cells:
                yield Row(number, cells, len(self._lines.taken))

    def read_again(self) -> bool:
        """Read the lines of the last row again, without its first; return False if that was done too often."""
        return self._lines.put_back()


class _Lines:
    """Lines for the csv module; remembers those of the current row."""

    def __init__(self, lines: Iterator[NumberedLine]) -> None:
        self._rest = lines
        self._again: deque[NumberedLine] = deque()
        self._furthest = self._repeated = 0
        self.taken: list[NumberedLine] = []

    def peek(self) -> NumberedLine | None:
        """Return the next line without taking it; None at the end."""
        if not self._again:
            line = next(self._rest, None)
            if line is None:
                return None
            self._furthest = line[0]
            self._again.append(line)
        return self._again[0]

    def drop(self) -> None:
        """Skip the next line."""
        self._again.popleft()

    def put_back(self) -> bool:
        """Queue the lines of the current row again, without the first; return False if that was done too often."""
        if self._repeated + len(self.taken) > READ_AGAIN * self._furthest:
            return False
        self._repeated += len(self.taken)
        self._again.extendleft(reversed(self.taken[1:]))
        return True

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.peek()
        if line is None:
            raise StopIteration
        number, text = line
        if isinstance(text, Undecodable):
            raise csv.Error(f"line {number} inside its quotes is no text")
        self.taken.append(self._again.popleft())
        return text
