"""An index job as the command line runs it: on this machine or on a Ray cluster, once or at every change."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from hybrid_search.cli.progress import progress_display

if TYPE_CHECKING:
    from hybrid_search.indexing.progress import IndexReport
    from hybrid_search.settings import Settings


class Run(Protocol):
    """Index the sources once; `callbacks` are the callbacks of `progress.JobCallbacks`."""

    def __call__(self, *, prune: bool, **callbacks: Any) -> IndexReport: ...


class IndexJob(NamedTuple):
    """What is indexed into which collection, the function that does it, and how it is shown."""

    collection: str
    sources: list[str]
    settings: Settings
    run: Run
    prune: bool
    progress: str


def run_once(job: IndexJob, *, prune: bool) -> IndexReport:
    """Run a job to its end and show its progress."""
    with progress_display(job.progress, collection=job.collection, sources=job.sources) as callbacks:
        return job.run(prune=prune, **callbacks._asdict())


def run_here(
    collection: str,
    sources: list[str],
    settings: Settings,
    build: Mapping[str, Any],
    read: Mapping[str, Any],
    *,
    wait_s: float,
    dry_run: bool,
    workers: int,
    max_memory: str | None,
) -> Run:
    """Return the function that indexes on this machine.

    Args:
        collection: to fill.
        sources: to read.
        settings: with the store.
        build: keywords of `Indexer.open` that say how a new collection is built.
        read: keywords of `Indexer.index` that say how the sources are read.
        wait_s: seconds to wait for another job.
        dry_run: write nothing.
        workers: processes that encode.
        max_memory: that the job may hold, as `parse_size` reads it.

    Raises:
        InvalidArgument: a name, an option or a size is invalid.
    """
    from hybrid_search.indexer import Indexer
    from hybrid_search.indexing.memory import parse_size

    indexer = Indexer.open(collection, settings=settings, wait_s=wait_s, **build)
    most = None if max_memory is None else parse_size(max_memory)
    return partial(indexer.index, sources, dry_run=dry_run, workers=workers, max_memory=most, **read)


def run_on_ray(
    collection: str,
    sources: list[str],
    settings: Settings,
    build: Mapping[str, Any],
    read: Mapping[str, Any],
    address: str,
) -> Run:
    """Return the function that indexes on the workers of the Ray cluster at an address; the rest as for `run_here`."""
    from hybrid_search.collection.models import ModelRequest
    from hybrid_search.indexing.ray_driver import index_on_ray

    rest = dict(build)
    models = {leg: rest.pop(leg) for leg in ("sparse", "dense")}
    asked = ModelRequest(names=models, **{name: rest.pop(name) for name in ModelRequest._fields if name in rest})
    return partial(index_on_ray, collection, sources, address, asked=asked, settings=settings, **rest, **read)
