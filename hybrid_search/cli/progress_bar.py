"""The bar of an index job on a terminal: two lines that fit any width from 40 columns on."""

from __future__ import annotations

import re
from collections import deque
from time import monotonic

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hybrid_search._util.printable import one_line
from hybrid_search.cli.origins import seen_from_here
from hybrid_search.indexing.progress import Progress

RATE_OVER_S = 15.0
MIN_BAR, MAX_BAR, MIN_FILE = 10, 40, 12


class JobBar:
    """How far a job is, and at what: drawn anew as often as the terminal likes, from what was told last."""

    def __init__(self) -> None:
        self._now: Progress | None = None
        self._told_at = 0.0
        self._marks: deque[tuple[float, Progress]] = deque()

    def tell(self, now: Progress) -> None:
        self._now, self._told_at = now, monotonic()
        self._marks.append((self._told_at, now))
        while len(self._marks) > 2 and self._marks[1][0] < self._told_at - RATE_OVER_S:
            self._marks.popleft()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now, width = self._now, options.max_width
        if now is None:
            return
        since = monotonic() - self._told_at
        left = f"{spoken(max(0.0, now.eta_s - since))} left" if now.eta_s is not None else ""
        yield self._upper(now, left or f"{spoken(now.seconds + since)} so far", width)
        yield self._lower(now, width)

    def _upper(self, now: Progress, time: str, width: int) -> Table:
        counts = f"{now.done:,} / {now.total:,} documents" if now.total is not None else f"{now.done:,} documents"
        share = f"{min(1.0, now.done / now.total):.0%}" if now.total else ""
        short = counts.replace(" documents", " docs")
        columns = [share, counts, time]
        room = width - sum(cell_len(column) + 2 for column in columns if column) - len("indexing  ")
        if room < MIN_BAR:
            columns[1], room = short, room + len(counts) - len(short)
        grid = Table.grid(padding=(0, 2, 0, 0))
        cells: list[Text | ProgressBar] = []
        if room >= MIN_BAR:
            cells.append(Text("indexing"))
        else:
            room += len("indexing  ")
        if room >= MIN_BAR:
            bar = ProgressBar(total=now.total, completed=now.done, width=min(room, MAX_BAR), pulse=not now.total)
            cells.append(bar)
        cells += [Text(column, style="bold" if column == share else "", no_wrap=True) for column in columns if column]
        grid.add_row(*cells)
        return grid

    def _lower(self, now: Progress, width: int) -> Text:
        line = Text(f"{now.chunks:,} chunks", style="dim", no_wrap=True, overflow="ellipsis")
        line.append(self._rate(now))
        if now.failed:
            line.append(" · ").append(f"{now.failed:,} failed", style="not dim yellow")
        saved = f" · {now.saved:,} saved"
        if now.saved and line.cell_len + len(saved) + 3 + MIN_FILE + 20 <= width:
            line.append(saved)
        room = width - line.cell_len - 3
        if now.current and room >= MIN_FILE:
            line.append(" · ").append(shortened(seen_from_here(now.current), room), style="not dim cyan")
        return line

    def _rate(self, now: Progress) -> str:
        at, then = self._marks[0]
        took = self._told_at - at
        if not took:
            return ""
        what, more = ("tokens", now.tokens - then.tokens) if now.tokens else ("docs", now.documents - then.documents)
        return f" · {more / took:,.0f} {what}/s"


def spoken(seconds: float) -> str:
    """Return a time in at most two units, without the smaller one where it tells little.

    >>> [spoken(s) for s in (7.4, 89, 600, 5000, 200_000)]
    ['7 s', '1 min 29 s', '10 min', '1 h 23 min', '2 d 7 h']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def shortened(path: str, width: int) -> str:
    """Return the end of a path that fits into so many terminal cells, from a folder on where possible.

    >>> shortened("notes/2024/january/minutes.md", 24)
    '…/january/minutes.md'
    """
    path = one_line(path)
    if cell_len(path) <= width:
        return path
    for slash in re.finditer(r"[/\\]", path):
        if 1 + cell_len(path[slash.start() :]) <= width:
            return "…" + path[slash.start() :]
    start = len(path)
    while start and 1 + cell_len(path[start - 1 :]) <= width:
        start -= 1
    return "…" + path[start:]
