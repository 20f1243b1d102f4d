"""How a running job is shown: a bar for people, JSON lines for machines, or nothing. Always on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from hybrid_search.cli.options import choice
from hybrid_search.cli.verb import err, note
from hybrid_search.report import Progress as JobProgress


class Watchers(NamedTuple):
    """The two callbacks that an index job takes."""

    on_progress: Callable[[JobProgress], None]
    on_download: Callable[[str, int, int], None]


@contextmanager
def watching(kind: str) -> Iterator[Watchers]:
    """Show a job's progress while it runs.

    Args:
        kind: `bar`, `json`, `none`, or `auto` for a bar on a terminal and nothing elsewhere.
    """
    kind = choice(kind, ("auto", "bar", "json", "none"), "--progress")
    if kind == "json":
        yield Watchers(_print_event, _print_download)
    elif kind == "none" or (kind == "auto" and not err.is_terminal):
        yield Watchers(_announcing(lambda _: None), lambda *_: None)
    else:
        with _bars() as watchers:
            yield Watchers(_announcing(watchers.on_progress), watchers.on_download)


def _announcing(on_progress: Callable[[JobProgress], None]) -> Callable[[JobProgress], None]:
    """The same callback, which first says which models were chosen and why."""
    said: list[str] = []

    def announce(now: JobProgress) -> None:
        if now.profile_reason and not said:
            said.append(now.profile)
            note(now.profile_reason)
        on_progress(now)

    return announce


@contextmanager
def _bars() -> Iterator[Watchers]:
    documents = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    )
    downloads = Progress(
        TextColumn("fetching {task.description}"), BarColumn(), DownloadColumn(), console=err, transient=True
    )
    job = documents.add_task("indexing", total=None, counts="", visible=False)
    fetches = {}

    def on_progress(now: JobProgress) -> None:
        if downloads.live.is_started:
            downloads.stop()
        documents.start()
        rate = now.documents / now.seconds if now.seconds else 0.0
        failed = f", {now.failed:,} failed" if now.failed else ""
        counts = f"{now.done:,} documents, {now.chunks:,} chunks, {rate:,.1f} docs/s{failed}"
        documents.update(job, completed=now.done, total=now.total, counts=counts, visible=True)

    def on_download(name: str, done: int, total: int) -> None:
        downloads.start()
        if name not in fetches:
            fetches[name] = downloads.add_task(name, total=total or None)
        downloads.update(fetches[name], completed=done, total=total or None)

    try:
        yield Watchers(on_progress, on_download)
    finally:
        downloads.stop()
        documents.stop()


def _print_event(now: JobProgress) -> None:
    event = {
        "event": "progress",
        "profile": now.profile,
        "documents": now.documents,
        "chunks": now.chunks,
        "unchanged": now.unchanged,
        "failed": now.failed,
        "total": now.total,
        "seconds": round(now.seconds, 3),
    }
    sys.stderr.write(json.dumps(event) + "\n")
    sys.stderr.flush()


def _print_download(name: str, done: int, total: int) -> None:
    sys.stderr.write(json.dumps({"event": "download", "model": name, "bytes": done, "total_bytes": total}) + "\n")
    sys.stderr.flush()
