"""How a running job is shown: a bar for people, JSON lines for machines, or nothing. Always on stderr.

The events of `--progress json`, one a line: `start`; `progress`, at most two a second, the first and the last always;
`download`; `failure`, as it happens; and `end` with the whole report, or `error` where there is none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from threading import Event, RLock, Thread
from time import monotonic
from typing import Any, NamedTuple

from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from hybrid_search.cli.console import err, note
from hybrid_search.cli.options import choice
from hybrid_search.cli.progress_bar import JobBar, spoken
from hybrid_search.cli.streams import print_json
from hybrid_search.indexing.progress import IndexReport
from hybrid_search.indexing.progress import Progress as JobProgress

EVENT_EVERY_S = 0.5
LINE_EVERY_S = 30.0
"""Off a terminal: what takes less says nothing, so that a log holds what matters."""


class JobCallbacks(NamedTuple):
    """The two callbacks that an index job takes."""

    on_progress: Callable[[JobProgress], None]
    on_download: Callable[[str, int, int], None]


@contextmanager
def progress_display(kind: str, **about: Any) -> Iterator[JobCallbacks]:
    """Show a job's progress while it runs.

    Args:
        kind: `bar`, `json`, `none`, or `auto` for a bar on a terminal and a line now and then elsewhere.
        about: what the event `start` says of the job.
    """
    kind = choice(kind, ("auto", "bar", "json", "none"), "--progress")
    if kind == "json":
        with _events(about) as callbacks:
            yield callbacks
    elif kind == "none":
        yield JobCallbacks(_telling_models(lambda _: None), lambda *_: None)
    elif kind == "auto" and not err.is_terminal:
        lines = _Lines()
        yield JobCallbacks(_telling_models(lines.on_progress), lines.on_download)
    else:
        with _bars() as callbacks:
            yield JobCallbacks(_telling_models(callbacks.on_progress), callbacks.on_download)


def print_end(kind: str, report: IndexReport) -> None:
    """Tell machines the end: with `json` the event `end`, else nothing."""
    if kind == "json":
        listed = [{"path": failure.origin, "reason": failure.reason} for failure in report.failures]
        replaced = [each._asdict() for each in report.replacements]
        readable = {"seconds": round(report.seconds, 3), "failures": listed, "replacements": replaced}
        readable["expanded"] = report.expanded and report.expanded._asdict()
        _print_event("end", **{**asdict(report), **readable})


def _telling_models(on_progress: Callable[[JobProgress], None]) -> Callable[[JobProgress], None]:
    """Return the same callback, which first tells which models were chosen and why."""
    announced: list[str] = []

    def announce(now: JobProgress) -> None:
        if now.profile_reason and not announced:
            announced.append(now.profile)
            note(now.profile_reason)
        on_progress(now)

    return announce


@contextmanager
def _bars() -> Iterator[JobCallbacks]:
    bar = JobBar()
    job = Live(bar, console=err, transient=True, refresh_per_second=4)
    downloads = Progress(
        TextColumn("fetching {task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        console=err,
        transient=True,
    )
    fetches = {}

    def on_progress(now: JobProgress) -> None:
        if downloads.live.is_started:
            downloads.stop()
        bar.tell(now)
        job.start()

    def on_download(name: str, done: int, total: int) -> None:
        job.stop()  # one at a time draws on a terminal
        downloads.start()
        if name not in fetches:
            fetches[name] = downloads.add_task(name, total=total or None)
        downloads.update(fetches[name], completed=done, total=total or None)

    try:
        yield JobCallbacks(on_progress, on_download)
    finally:
        downloads.stop()
        job.stop()


class _Lines:
    """A short line now and then, for a log."""

    def __init__(self) -> None:
        self._said_at = monotonic()

    def on_progress(self, now: JobProgress) -> None:
        total = "" if now.total is None else f" of {now.total:,}"
        failed = f", {now.failed:,} failed" if now.failed else ""
        left = "" if now.eta_s is None else f", {spoken(now.eta_s)} left"
        self._say(f"indexing: {now.done:,}{total} documents, {now.chunks:,} chunks{failed}{left}")

    def on_download(self, name: str, done: int, total: int) -> None:
        self._say(f"fetching {name}: {done / 1e6:,.0f}" + (f" of {total / 1e6:,.0f} MB" if total else " MB"))

    def _say(self, line: str) -> None:
        if monotonic() - self._said_at >= LINE_EVERY_S:
            self._said_at = monotonic()
            note(line)


@contextmanager
def _events(about: dict[str, Any]) -> Iterator[JobCallbacks]:
    printer = _Events()
    over = Event()

    def tick() -> None:
        while not over.wait(EVENT_EVERY_S):
            # An error here would end as a traceback of the thread; the job meets the same broken pipe, and says it.
            with suppress(OSError):
                printer.catch_up()

    _print_event("start", pid=os.getpid(), **about)
    ticking = Thread(target=tick, name="progress", daemon=True)
    ticking.start()
    try:
        yield JobCallbacks(printer.on_progress, printer.on_download)
    except Exception as error:
        printer.catch_up()
        _print_event("error", type=type(error).__name__, message=str(error))
        raise
    finally:
        over.set()
        printer.catch_up()
        ticking.join()


class _Events:
    """Progress as JSON lines. What comes too soon after the last line waits for the next tick."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._printed_at = -EVENT_EVERY_S
        self._waiting: JobProgress | None = None
        self._fetched_at: dict[str, float] = {}

    def on_progress(self, now: JobProgress) -> None:
        with self._lock:
            self._waiting = now
            for failure in now.failures:
                _print_event("failure", path=failure.origin, reason=failure.reason)
            if monotonic() - self._printed_at >= EVENT_EVERY_S:
                self.catch_up()

    def catch_up(self) -> None:
        """Print what waits."""
        with self._lock:
            now, self._waiting = self._waiting, None
            if now is None:
                return
            self._printed_at = monotonic()
            _print_event(
                "progress",
                profile=now.profile,
                documents=now.documents,
                chunks=now.chunks,
                unchanged=now.unchanged,
                failed=now.failed,
                total=now.total,
                tokens=now.tokens,
                saved=now.saved,
                current=now.current,
                seconds=round(now.seconds, 3),
                eta_s=None if now.eta_s is None else round(now.eta_s, 1),
            )

    def on_download(self, name: str, done: int, total: int) -> None:
        with self._lock:
            last = self._fetched_at.get(name)
            if last is None or done == total or monotonic() - last >= EVENT_EVERY_S:
                self._fetched_at[name] = monotonic()
                _print_event("download", model=name, bytes=done, total_bytes=total)


def _print_event(event: str, **fields: Any) -> None:
    print_json({"event": event, **fields}, sys.stderr)
