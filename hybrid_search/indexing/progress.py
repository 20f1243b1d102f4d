"""What an index job reports: while it runs (`Progress`), and at its end (`IndexReport`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from threading import RLock
from time import perf_counter
from typing import Any, NamedTuple

from hybrid_search.types import BrokeOff, Failure

KEPT_FAILURES = 1_000
"""So many are listed; the rest is only counted, so that a hopeless file does not fill the memory."""

NAMED_UNREAD = 5
"""Places that are named for each leg, of chunks that it does not read."""

STRETCH_S = 1.0
FADE_S = 20.0
"""The pace is measured over stretches of so many seconds at least; one of so many seconds ago counts a third."""

TELL_FAILURES_AFTER_S = 1.0

_PLACE = re.compile(r":\d+\Z")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job stands, reported at its beginning and after every batch.

    Args:
        total: an estimate of the documents in all, None where it cannot be known.
        seconds: since the beginning.
        profile: the models in use, and the reason where they were chosen.
        tokens: encoded so far; words where no model has tokens, as for BM25 alone.
        current: the file that was read last, as the user would write it; empty for documents made in memory.
        saved: documents that outlive whatever happens now, a power cut included.
        eta_s: seconds left, if the documents to come are like the last ones; None where that is not known yet.
        failures: those since the last report; of all of a job the first 1,000.
    """

    documents: int
    chunks: int
    unchanged: int
    failed: int
    total: int | None
    seconds: float
    profile: str = ""
    profile_reason: str = ""
    tokens: int = 0
    current: str = ""
    saved: int = 0
    eta_s: float | None = None
    failures: tuple[Failure, ...] = ()

    @property
    def done(self) -> int:
        """Documents that need no more work."""
        return self.documents + self.unchanged + self.failed


class Replaced(NamedTuple):
    """A document that took the place of another one with its id, which stood elsewhere."""

    doc_id: str
    before: str
    now: str


class Expanded(NamedTuple):
    """How the documents of the sources and a file of expansions fit together.

    Args:
        documents: those that the file has an expansion for.
        without: those that it has none for; the first few are in `without_ids`.
        unused: ids in the file that no document of the sources has; the first few are in `unused_ids`.
    """

    documents: int
    without: int
    unused: int
    without_ids: tuple[str, ...] = ()
    unused_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job would take, judged by a sample of its chunks.

    Args:
        tokens: to be encoded.
        sampled: chunks that were encoded to measure this; 0 where there is nothing to do.
        seconds: of encoding, on this machine as it is now.
        memory_bytes: at its peak, mapped files not counted; None where the system does not tell.
        disk_bytes: of what is added, once the job is at its end. A rebuild has the old one beside it meanwhile.
    """

    tokens: int
    sampled: int
    seconds: float
    memory_bytes: int | None
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What an index job did.

    Args:
        documents: written (with `dry_run`: that would be).
        chunks: of these.
        unchanged: documents that were there already.
        repeated: documents that the source holds more than once, word for word; indexed once.
        removed: documents that the source does not hold any more.
        failed: documents that could not be indexed; the first 1,000 are in `failures`.
        truncated: by leg, chunks that its model reads only in part.
        guessed: by encoding, files that say none and are no UTF-8, and were read as this one.
        unread: by leg, chunks of which its model reads little or nothing: it knows less than half of their tokens.
            Other legs may find them.
        unread_origins: by leg, the first places of these.
        bytes_on_disk: of the whole collection; None on a server.
        tokens: that were encoded; words where no model has tokens.
        estimate: of a dry run: what the job would take.
        passed_over: by kind, what of the sources was not indexed, or not as what it is, and is no failure.
        moved: unchanged documents that stand at another origin now.
        replaced: documents that took the place of others with their ids, which stood elsewhere; the first 1,000 are in
            `replacements`.
        expanded: how the documents and a file of expansions fit together; None without a file.
        expansions_cut: by sparse leg, chunks whose expansion its model reads only in part.
    """

    collection: str
    profile: str
    profile_reason: str
    documents: int
    chunks: int
    unchanged: int
    repeated: int
    removed: int
    failed: int
    failures: tuple[Failure, ...]
    truncated: Mapping[str, int]
    seconds: float
    bytes_on_disk: int | None = None
    dry_run: bool = False
    tokens: int = 0
    estimate: Estimate | None = None
    passed_over: Mapping[str, int] = field(default_factory=dict)
    moved: int = 0
    replaced: int = 0
    replacements: tuple[Replaced, ...] = ()
    unread: Mapping[str, int] = field(default_factory=dict)
    unread_origins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    guessed: Mapping[str, int] = field(default_factory=dict)
    expanded: Expanded | None = None
    expansions_cut: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class EwmaRate:
    """How long a document takes at the moment: a mean over stretches of time, of which older ones fade.

    Over stretches, not over documents: a thousand that were found unchanged in a moment count as that moment.
    """

    seconds: float = 0.0
    done: int = 0
    weighed: float = 0.0
    weight: float = 0.0

    def begin(self, seconds: float, done: int) -> None:
        """Measure from here on."""
        self.seconds, self.done = seconds, done

    def measure(self, seconds: float, done: int) -> None:
        """Take in that so many documents are done after so many seconds."""
        took, more = seconds - self.seconds, done - self.done
        if took < STRETCH_S or more <= 0:
            return  # the stretch goes on
        fade = exp(-took / FADE_S)
        self.weighed = self.weighed * fade + (1 - fade) * took / more
        self.weight = self.weight * fade + (1 - fade)
        self.begin(seconds, done)

    def left_s(self, documents: int) -> float | None:
        """Estimate the seconds that so many documents will take; None before anything was measured."""
        return documents * self.weighed / self.weight if self.weight else None


@dataclass(slots=True)
class JobProgress:
    """Counts while a job runs. May be filled and reported from several threads.

    `origin` is where the last document was read, `tokens` and `saved` are as in `Progress`; the job keeps them.
    `broke_off` is the first source of which an unknown number of documents is missing.
    """

    collection: str
    profile: str
    profile_reason: str
    total: int | None
    on_progress: Callable[[Progress], None] | None
    documents: int = 0
    chunks: int = 0
    unchanged: int = 0
    repeated: int = 0
    removed: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    broke_off: BrokeOff | None = None
    truncated: dict[str, int] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    moved: int = 0
    replaced: int = 0
    replacements: list[Replaced] = field(default_factory=list)
    unread: dict[str, int] = field(default_factory=dict)
    unread_origins: dict[str, tuple[str, ...]] = field(default_factory=dict)
    guessed: dict[str, int] = field(default_factory=dict)
    expanded: Expanded | None = None
    expansions_cut: dict[str, int] = field(default_factory=dict)
    started: float = field(default_factory=perf_counter)
    tokens: int = 0
    saved: int = 0
    origin: str = ""
    pace: EwmaRate = field(default_factory=EwmaRate)
    told_failures: int = 0
    told_at: float = 0.0
    lock: RLock = field(default_factory=RLock)

    def fail(self, failure: Failure) -> None:
        """Count a document that cannot be indexed. It is reported with the next batch, or at once if that is far."""
        self.failed += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(failure)
        if isinstance(failure, BrokeOff):
            self.broke_off = self.broke_off or failure
        if perf_counter() - self.told_at > TELL_FAILURES_AFTER_S:
            self.emit()

    def passed_over(self, kind: str, count: int = 1) -> None:
        """Count what of the sources is not indexed, or not as what it is, and is no failure."""
        _add(self.passed, {kind: count})

    def replace(self, replaced: Replaced | None) -> None:
        """Count a document that took the place of another one with its id."""
        if replaced is not None:
            self.replaced += 1
            if len(self.replacements) < KEPT_FAILURES:
                self.replacements.append(replaced)

    def add(self, documents: int, chunks: int) -> None:
        """Count what has been written, and report it."""
        self.documents += documents
        self.chunks += chunks
        self.emit()

    def cut_off(self, more: Mapping[str, int]) -> None:
        """Count, by leg, chunks that its model reads only in part."""
        _add(self.truncated, more)

    def cut_expansions(self, more: Mapping[str, int]) -> None:
        """Count, by sparse leg, chunks whose expansion its model reads only in part."""
        _add(self.expansions_cut, more)

    def guess(self, encoding: str, count: int = 1) -> None:
        """Count a file whose encoding was guessed."""
        _add(self.guessed, {encoding: count})

    def leave_unread(self, origins: Mapping[str, Sequence[str]], counts: Mapping[str, int] | None = None) -> None:
        """Count, by leg, chunks of which its model reads little or nothing.

        Args:
            origins: where they are from.
            counts: how many there are, where not all of them are named.
        """
        for leg, some in origins.items():
            more = len(some) if counts is None else counts[leg]
            if more:
                self.unread[leg] = self.unread.get(leg, 0) + more
                named = dict.fromkeys((*self.unread_origins.get(leg, ()), *some))
                self.unread_origins[leg] = tuple(named)[:NAMED_UNREAD]

    def now(self) -> Progress:
        """Return where the job stands."""
        with self.lock:
            return self._now(perf_counter() - self.started, ())

    def emit(self) -> None:
        """Call `on_progress`, if there is one, with where the job stands and the failures since the last call."""
        if self.on_progress is None:
            return
        with self.lock:
            self.told_at = perf_counter()
            new = tuple(self.failures[self.told_failures :])
            self.told_failures += len(new)
            self.on_progress(self._now(self.told_at - self.started, new))

    def _now(self, seconds: float, new: tuple[Failure, ...]) -> Progress:
        done = self.documents + self.unchanged + self.failed
        if done == self.unchanged:
            # What an earlier run did goes by at once, and says nothing about the rest.
            self.pace.begin(seconds, done)
        self.pace.measure(seconds, done)
        left = None if self.total is None else self.total - done
        return Progress(
            self.documents,
            self.chunks,
            self.unchanged,
            self.failed,
            self.total,
            seconds,
            self.profile,
            self.profile_reason,
            tokens=self.tokens,
            current=_PLACE.sub("", self.origin),
            saved=self.saved,
            eta_s=None if left is None or left < 0 else self.pace.left_s(left),
            failures=new,
        )

    def report(self, **more: Any) -> IndexReport:
        """Build the report at the end of the job; what has not been reported yet is reported first."""
        if self.told_failures < len(self.failures):
            self.emit()
        return IndexReport(
            self.collection,
            self.profile,
            self.profile_reason,
            self.documents,
            self.chunks,
            self.unchanged,
            self.repeated,
            self.removed,
            self.failed,
            tuple(self.failures),
            dict(self.truncated),
            perf_counter() - self.started,
            tokens=self.tokens,
            passed_over=dict(sorted(self.passed.items())),
            guessed=dict(sorted(self.guessed.items())),
            moved=self.moved,
            replaced=self.replaced,
            replacements=tuple(self.replacements),
            unread=dict(self.unread),
            unread_origins=dict(self.unread_origins),
            expanded=self.expanded,
            expansions_cut={leg: count for leg, count in self.expansions_cut.items() if count},
            **more,
        )


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count
