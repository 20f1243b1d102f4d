"""The journal of index jobs: how far each is and how it ended, kept in SQLite for other processes to read.

The journal of a folder's jobs lies in that folder (`jobs.sqlite`), that of a server's in the user's data folder. A job
holds a lock file while it runs, which the operating system lets go of when it dies: so one that was killed is told from
one that is at work. The journal is only looked at: what a job has done is known by the store alone.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from filelock import FileLock, Timeout
from platformdirs import user_data_path

from hybrid_search._util import utc_now
from hybrid_search._util.locations import is_server, shown_command, without_secrets
from hybrid_search._util.printable import storable
from hybrid_search.errors import StoreError
from hybrid_search.indexing.progress import JobProgress, Progress

log = logging.getLogger(__name__)

State = Literal["running", "finished", "failed", "interrupted"]
Kind = Literal["index", "ray", "add-leg", "load", "move"]

KEPT_JOBS = 20
"""Of a collection; older ones are forgotten."""

TELL_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """An index job as the journal has it.

    Args:
        number: counts the jobs of a journal, from 1.
        kind: `index`; `ray` for one on a Ray cluster, `add-leg` and `load` (of encodings).
        state: `interrupted` by Ctrl-C, a signal or a crash: the same command goes on where it stopped.
        started: ISO 8601, UTC; `updated` likewise: when it last said how far it is.
        message: why it failed.
        documents: written so far; chunks, tokens, unchanged, failed, total, saved, current, eta_s as in `Progress`.
    """

    number: int
    collection: str
    place: str
    state: State
    pid: int
    host: str
    command: str
    started: str
    updated: str
    message: str = ""
    documents: int = 0
    chunks: int = 0
    tokens: int = 0
    unchanged: int = 0
    failed: int = 0
    total: int | None = None
    saved: int = 0
    seconds: float = 0.0
    current: str = ""
    eta_s: float | None = None
    kind: Kind = "index"


_FROM_PROGRESS = (
    "documents",
    "chunks",
    "tokens",
    "unchanged",
    "failed",
    "total",
    "saved",
    "seconds",
    "current",
    "eta_s",
)


def journal_file(location: str) -> Path | None:
    """Return where the journal of a store's jobs lies; None for a store that no other process can reach."""
    if is_server(location):
        return user_data_path("hybrid-search", appauthor=False) / "jobs.sqlite"
    folder = Path(location)
    return folder / "jobs.sqlite" if folder.is_dir() else None


def recent_jobs(location: str, collection: str | None = None) -> list[Job]:
    """Return the last job of each collection of a store, or the last ones of one collection; newest first."""
    file = journal_file(location)
    if file is None or not file.is_file():
        return []
    try:
        with closing(_opened(file)) as db:
            rows = db.execute(
                "SELECT number, facts FROM jobs WHERE place = ? AND facts != '{}' ORDER BY number DESC",
                (storable(location),),
            ).fetchall()
    except sqlite3.Error as error:
        raise StoreError(
            f"The journal of jobs {file} cannot be read ({error}). It is only looked at: what the jobs did is in the "
            "collections. If it is damaged, delete it; the next job begins a new one."
        ) from error
    jobs: list[Job] = []
    for number, facts in rows:
        job = _job(number, facts)
        if job is None:
            log.warning("Job %s in the journal %s cannot be read; it is passed over.", number, file)
            continue
        if job.state == "running" and not _is_held(file, number):
            job = Job(**{**asdict(job), "state": "interrupted"})
        if collection in (None, job.collection):
            jobs.append(job)
    if collection is not None:
        return jobs
    newest = {job.collection: job for job in reversed(jobs)}
    return [job for job in jobs if newest[job.collection] is job or job.state == "running"]


def journal_problem(location: str) -> str:
    """Describe what is wrong with the journal of a store's jobs; empty for nothing, or where there is none."""
    file = journal_file(location)
    if file is None or not file.exists():
        return ""
    if file.is_file() and file.stat().st_size == 0:
        return f"{file} is empty"
    try:
        with closing(_opened(file)) as db:
            (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
            broken = [number for number, facts in db.execute("SELECT number, facts FROM jobs") if not _is_read(facts)]
    except sqlite3.Error as error:
        return f"{file} cannot be read ({error}); the next job begins a new one"
    if broken:
        return f"{file} does not hold what was written of job {broken[0]}"
    return "" if said == "ok" else f"{file} is damaged ({said}); the next job begins a new one"


@contextmanager
def journaled(location: str, collection: str, progress: JobProgress, kind: Kind = "index") -> Iterator[None]:
    """Keep a journal of a job while it runs. What cannot be written does not stop it."""
    file = journal_file(location)
    entry = None if file is None else _begun(file, location, collection, kind)
    if entry is None:
        yield
        return
    with entry:
        entry.attach(progress)
        try:
            yield
        except KeyboardInterrupt:
            entry.end("interrupted", progress)
            raise
        except BaseException as error:
            entry.end("failed", progress, without_secrets(f"{type(error).__name__}: {error}"))
            raise
        else:
            entry.end("finished", progress)


class _Entry:
    """One row of the journal, held by the process that fills it."""

    def __init__(self, db: sqlite3.Connection, number: int, facts: dict[str, Any], lock: FileLock) -> None:
        self._db, self._number, self._facts, self._lock = db, number, facts, lock
        self._written = -TELL_EVERY_S

    def attach(self, progress: JobProgress) -> None:
        """Write what the job reports from now on, and hand it on."""
        others = progress.on_progress

        def on_progress(now: Progress) -> None:
            if monotonic() - self._written >= TELL_EVERY_S:
                self._take(now)
            if others is not None:
                others(now)

        progress.on_progress = on_progress
        self._take(progress.now())

    def end(self, state: State, progress: JobProgress, message: str = "") -> None:
        self._facts |= {"state": state, "message": message[:2_000]}
        self._take(progress.now())

    def __enter__(self) -> _Entry:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(sqlite3.Error):
            self._db.close()
        self._lock.release()
        with suppress(OSError):
            Path(self._lock.lock_file).unlink()

    def _take(self, now: Progress) -> None:
        self._written = monotonic()
        self._facts |= {name: getattr(now, name) for name in _FROM_PROGRESS} | {"updated": utc_now()}
        with suppress(sqlite3.Error):  # a full disk, a locked file: the job is more important
            self._db.execute("UPDATE jobs SET facts = ? WHERE number = ?", (json.dumps(self._facts), self._number))


def _begun(file: Path, location: str, collection: str, kind: Kind) -> _Entry | None:
    now, place = utc_now(), storable(location)
    facts: dict[str, Any] = {
        "collection": collection,
        "place": place,
        "kind": kind,
        "state": "running",
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": shown_command(sys.argv)[:500],
        "started": now,
        "updated": now,
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _set_aside(file)
        db = _opened(file)
        added = db.execute("INSERT INTO jobs (place, collection, facts) VALUES (?, ?, '{}')", (place, collection))
        number = int(added.lastrowid or 0)
        lock = FileLock(_lock_file(file, number), thread_local=False)
        lock.acquire(timeout=0)
        db.execute("UPDATE jobs SET facts = ? WHERE number = ?", (json.dumps(facts), number))
        db.execute(
            "DELETE FROM jobs WHERE place = ? AND collection = ? AND number <= ? OR facts = '{}' AND number < ?",
            (place, collection, number - KEPT_JOBS, number - KEPT_JOBS),
        )
    except (sqlite3.Error, OSError, Timeout) as error:
        log.info("No journal in %s: %s", file, error)
        return None
    return _Entry(db, number, facts, lock)


def _set_aside(file: Path) -> None:
    """Move a damaged journal out of the way: it is only looked at, and no job is to fail for it."""
    if not file.exists() or file.stat().st_size == 0:
        return
    try:
        with closing(_opened(file)) as db:
            (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        return  # another process has it locked, or the disk is full
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said != "ok":
        aside = file.with_name(f"{file.name}.damaged")
        file.replace(aside)
        log.warning(
            "The journal of jobs %s was damaged (%s). It lies in %s now; a new one is begun.", file, said, aside
        )


def _opened(file: Path) -> sqlite3.Connection:
    # The thread that reads the sources tells failures as well.
    db = sqlite3.connect(file, timeout=2.0, isolation_level=None, check_same_thread=False)
    db.text_factory = lambda data: data.decode("utf-8", "replace")  # one damaged row is not to hide the others
    db.execute(
        "CREATE TABLE IF NOT EXISTS jobs "
        "(number INTEGER PRIMARY KEY AUTOINCREMENT, place TEXT NOT NULL, collection TEXT NOT NULL, facts TEXT NOT NULL)"
    )
    return db


def _job(number: int, facts: str) -> Job | None:
    """Return a job as it was written; None where that cannot be read."""
    try:
        return Job(number=number, **_known(json.loads(facts)))
    except (ValueError, TypeError, AttributeError):
        return None


def _is_read(facts: str) -> bool:
    return facts == "{}" or _job(0, facts) is not None


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    """Leave out what another version wrote and this one does not know."""
    names = {field.name for field in fields(Job)} - {"number"}
    missing: dict[str, Any] = dict.fromkeys(("collection", "place", "host", "command", "started", "updated"), "")
    return {**missing, "state": "interrupted", "pid": 0, **{k: v for k, v in facts.items() if k in names}}


def _is_held(file: Path, number: int) -> bool:
    """Say whether a job is alive: its lock is held."""
    path = _lock_file(file, number)
    if not path.exists():
        return False
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lock.release()
    with suppress(OSError):
        path.unlink()
    return False


def _lock_file(file: Path, number: int) -> Path:
    return file.with_name(f"{file.stem}.{number}.lock")
