"""The rows of CSV and TSV, each with the lines that it is made of.

CSV puts a cell with line ends between quotes, so one forgotten quote takes the lines behind it into one cell, up to the
next quote or the end of the file. The lines of a row that turns out wrong are read again, but for the first. TSV has no
quoting: a tab divides cells and a line end rows, always (IANA, text/tab-separated-values).
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from hybrid_search.corpus.decoding import RestUndecodable, Undecodable

MAX_CELL = 64 << 20
"""Characters. Without a limit one forgotten quote would take the rest of a file into one cell."""

READ_AGAIN = 8
"""A file of bad quotes only is read about so many times at most: each of its rows might go on to its end."""

TAB = "\t"

Line = tuple[int, str | Undecodable]
"""The number of a line, from 1, and the line, or why it is no text."""


class Row(NamedTuple):
    """A row of a table.

    Args:
        number: of the line that it starts on.
        cells: or why there are none.
        lines: how many it goes on for.
    """

    number: int
    cells: list[str] | str
    lines: int


class Rows:
    """The rows of a table, the header first; blank lines are none.

    Args:
        lines: of the table.
        delimiter: between cells; a tab means TSV.
        quoted: whether a delimiter and a line end may stand inside quotes.

    `broke_off` says that nothing behind the last row can be read.
    """

    def __init__(self, lines: Iterator[Line], delimiter: str, *, quoted: bool) -> None:
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
        """Read the lines of the last row anew, but for its first; False where that was done too often."""
        return self._lines.put_back()


class _Lines:
    """Lines for the csv module, which remember those of the row at hand."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._rest = lines
        self._again: deque[Line] = deque()
        self._furthest = self._repeated = 0
        self.taken: list[Line] = []

    def peek(self) -> Line | None:
        """The next line; None for none."""
        if not self._again:
            line = next(self._rest, None)
            if line is None:
                return None
            self._furthest = line[0]
            self._again.append(line)
        return self._again[0]

    def drop(self) -> None:
        """Leave the next line out."""
        self._again.popleft()

    def put_back(self) -> bool:
        """Give the lines of the row at hand again, but for the first."""
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
