"""`hybrid-search index --watch`: what is said while a collection follows its sources."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hybrid_search.cli.console import complain, err, note, out
from hybrid_search.cli.progress import ended, watching
from hybrid_search.cli.render import failures, index_summary, replacements
from hybrid_search.errors import StoreError

if TYPE_CHECKING:
    from hybrid_search.indexer import Indexer
    from hybrid_search.indexing.progress import IndexReport
    from hybrid_search.settings import Settings
    from hybrid_search.types import Failure


def follow_sources(
    indexer: Indexer, sources: list[str], settings: Settings, progress: str, *, prune: bool, **how: Any
) -> None:
    """Index and go on with it at every change, until Ctrl-C.

    What vanishes from the sources is removed where the collection held nothing but theirs after a round, or where
    `prune` says so: documents of other sources must not go because these do not have them.
    """
    from hybrid_search.indexing.watch import watch

    shown: list[tuple[Failure, ...]] = []

    def once() -> IndexReport:
        with watching(progress, collection=indexer.collection, sources=sources) as watchers:
            return indexer.index(sources, prune=prune, **how, **watchers._asdict())

    def tell(report: IndexReport) -> None:
        nonlocal prune
        ended(progress, report)
        if not shown:
            out.print(index_summary(report))
        elif report.documents or report.removed or report.failures != shown[-1]:
            out.print(_line(report))
        if report.replaced and progress != "json":
            err.print(replacements(report), soft_wrap=True)
        if report.failed and progress != "json" and (not shown or report.failures != shown[-1]):
            err.print(failures(report), soft_wrap=True)
        others: int | None = 0
        if not prune:
            others = _others(report, settings)
            prune = others == 0 and not report.failed
        if not shown and progress != "json":
            note("Following the sources; Ctrl-C ends it.")
            if others and not report.failed:
                note(
                    f"The collection holds {others:,} documents that these sources do not. They are kept, and so is "
                    "what vanishes from the sources from here on. With --prune all of that is removed."
                )
        shown[:] = [report.failures]

    def trouble(error: Exception) -> None:
        if progress != "json":
            complain(f"{error} It is tried again in a while, or at the next change.")

    try:
        watch(once, sources, globs=how.get("globs", ()), on_report=tell, on_trouble=trouble)
    except KeyboardInterrupt:
        note(f"\nWhat was indexed so far is kept. Run the same command again to go on following {sources[0]!r}.")
        raise


def _line(report: IndexReport) -> str:
    counts = [("indexed", report.documents), ("removed", report.removed), ("failed", report.failed)]
    told = ", ".join(f"{count:,} {what}" for what, count in counts if count) or "nothing failed any more"
    return f"{datetime.now():%H:%M:%S}  {told}, {report.unchanged:,} unchanged  ({report.seconds:.1f} s)"


def _others(report: IndexReport, settings: Settings) -> int | None:
    """How many documents the collection holds that a round did not see; None where the store cannot tell."""
    from hybrid_search.collection.models import open_store_for

    with suppress(StoreError):
        held = open_store_for(None, settings).info(report.collection).documents
        return max(0, held - report.documents - report.unchanged)
    return None
