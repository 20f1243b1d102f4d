"""`hybrid-search index --watch`: what is shown while a collection is kept in step with its sources."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from hybrid_search.cli.console import complain, note, out
from hybrid_search.cli.index_job import IndexJob, run_once
from hybrid_search.cli.index_view import show_problems, show_report
from hybrid_search.cli.progress import print_end
from hybrid_search.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hybrid_search.indexing.progress import IndexReport
    from hybrid_search.settings import Settings
    from hybrid_search.types import Failure


def watch_sources(job: IndexJob, globs: Sequence[str]) -> None:
    """Index, and index again at every change below the sources, until Ctrl-C.

    Args:
        job: what is indexed. What vanishes from the sources is removed where `job.prune` says so, or where the
            collection held nothing but theirs after a round: documents of other sources must not go because these do
            not have them.
        globs: those of `index`; changes of other files bring no round.
    """
    from hybrid_search.indexing.watch import watch

    rounds = _Rounds(job)
    try:
        watch(rounds.index, job.sources, globs=globs, on_report=rounds.show, on_trouble=rounds.show_trouble)
    except KeyboardInterrupt:
        note(f"\nWhat was indexed so far is kept. Run the same command again to go on watching {job.sources[0]!r}.")
        raise


class _Rounds:
    """The rounds of a watch: each tells only what the one before has not."""

    def __init__(self, job: IndexJob) -> None:
        self._job, self._prune = job, job.prune
        self._failures: tuple[Failure, ...] | None = None
        """Those of the last round; None before the first has ended."""

    def index(self) -> IndexReport:
        return run_once(self._job, prune=self._prune)

    def show(self, report: IndexReport) -> None:
        """Show the first report whole, of a later one what is new in it."""
        if self._failures is None:
            show_report(report, self._job.progress)
            self._begin(report)
        else:
            print_end(self._job.progress, report)
            if report.documents or report.removed or report.failures != self._failures:
                out.print(_line(report))
            show_problems(report, self._job.progress, failed=report.failures != self._failures)
            self._set_pruning(report)
        self._failures = report.failures

    def show_trouble(self, error: Exception) -> None:
        """Say that a round has failed and is tried again."""
        if self._job.progress != "json":
            complain(f"{error} It is tried again in a while, or at the next change.")

    def _begin(self, report: IndexReport) -> None:
        others = self._set_pruning(report)
        if self._job.progress == "json":
            return
        note("Watching the sources; Ctrl-C ends it.")
        if others and not report.failed:
            note(
                f"The collection holds {others:,} documents that these sources do not. They are kept, and so is "
                "what vanishes from the sources from here on. With --prune all of that is removed."
            )

    def _set_pruning(self, report: IndexReport) -> int | None:
        """Prune from the next round on where nothing else would go; return how many documents of others there are."""
        if self._prune:
            return 0
        others = _count_others(report, self._job.settings)
        self._prune = others == 0 and not report.failed
        return others


def _line(report: IndexReport) -> str:
    counts = [("indexed", report.documents), ("removed", report.removed), ("failed", report.failed)]
    told = ", ".join(f"{count:,} {what}" for what, count in counts if count) or "nothing failed any more"
    return f"{datetime.now():%H:%M:%S}  {told}, {report.unchanged:,} unchanged  ({report.seconds:.1f} s)"


def _count_others(report: IndexReport, settings: Settings) -> int | None:
    """Return how many documents the collection holds that a round did not see; None where the store cannot tell."""
    from hybrid_search.collection.models import open_store_for

    with suppress(StoreError):
        held = open_store_for(None, settings).info(report.collection).documents
        return max(0, held - report.documents - report.unchanged)
    return None
