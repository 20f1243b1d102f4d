"""Moves a collection from any store to any store: a folder to a server, back, or to another name beside it.

    move("movies", source="./store", target="http://localhost:6333")

Payloads, the vectors of every leg and the manifest travel, page by page, so memory does not grow with the collection.
The copy is a version of its own until it has been compared with its source; only then does its name stand for it. Cut
short, it goes on where it stopped when it is called again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, cast

from hybrid_search._util import batched
from hybrid_search._util.locations import is_server, shown_location
from hybrid_search.collection.models import open_store_for
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.errors import CollectionChanged, InvalidArgument, StoreError
from hybrid_search.indexing.job import IndexJob, index_job
from hybrid_search.indexing.progress import JobProgress, Progress
from hybrid_search.interop.filling import fill
from hybrid_search.interop.move_check import (
    Checked,
    Contents,
    Tally,
    check_vectors_and_answers,
    contents_of,
    difference,
)
from hybrid_search.interop.move_source import READ_BATCH, Source, iter_payloads, pages
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import CollectionReader, CollectionWriter, DocumentHead, Store
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store.schema import check_name
from hybrid_search.store.written import ShowsWritten, job_reader
from hybrid_search.types import LegName


class MoveReport(NamedTuple):
    """What was moved, and what was found equal on both sides.

    Args:
        collection: its name in the source.
        name: its name in the target.
        source: the location that it was read from.
        target: the location that it was written to.
        documents: all that the target has now.
        chunks: all that the target has now.
        written: documents that this call wrote; the others were there.
        removed: documents that an earlier call had written and the source has no longer.
        replaced: whether another collection of that name was replaced.
        checksum: over the payloads of all chunks, the same on both sides.
        vectors: of each leg, how many vectors were compared.
        searches: of each leg, how many searches were compared.
        notes: what was not equal and need not be, and what happened meanwhile.
        seconds: that it took.
    """

    collection: str
    name: str
    source: str
    target: str
    documents: int
    chunks: int
    written: int
    removed: int
    replaced: bool
    checksum: str
    vectors: Mapping[LegName, int]
    searches: Mapping[LegName, int]
    notes: tuple[str, ...]
    seconds: float


def move(
    collection: str,
    name: str | None = None,
    *,
    source: str | Path | Store | None = None,
    target: str | Path | Store | None = None,
    replace: bool = False,
    wait_s: float = 0.0,
    settings: Settings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> MoveReport:
    """Copy a collection to another store, or to another name, and compare the copy with it before it is published.

    Cut short, the same call goes on where it stopped. Where the target has the same content already, it is only
    compared.

    Args:
        collection: its name.
        name: of the copy; the same when not given.
        source: a folder, a server's URL, or an open store; the settings' store when not given.
        target: as `source`.
        replace: put the copy in the place of another collection of that name, which answers until then.
        wait_s: seconds to wait for another process that writes to the target.
        settings: read from the environment and the config file when not given.
        on_progress: called at the beginning and while it runs.

    Raises:
        InvalidArgument: it is to be copied onto itself, or the target is a folder and cannot hold its layout.
        CollectionNotFound, CollectionDamaged, StoreUnavailable, StoreBusy, StoreFull: see there.
        CollectionChanged: the source changed meanwhile. Nothing was published; the same call goes on.
        StoreError: the source was adopted; the target has other content and `replace` is false; or the copy is not as
            its source, and was not published.
    """
    begun, settings, wanted = perf_counter(), settings or load_settings(), check_name(name or collection)
    here, there = (open_end(end, settings) for end in (source, target))
    if wanted == check_name(collection) and _same_place(here, there):
        raise InvalidArgument(
            f"{collection!r} in {here.location} cannot be copied onto itself. Name another store, or another name."
        )
    with closing(job_reader(here, collection)) as reader:
        plan = _Plan(collection, wanted, here, there, reader, wait_s)
        _require_own(plan)
        is_there = wanted in there.names()
        if is_there and not replace:
            return _compared(plan, begun)
        if not replace:
            _require_resumable(plan)
        return _filled(plan, begun, is_there, on_progress)


@dataclass(frozen=True)
class _Plan:
    """A move that is under way: what is read, and where it goes."""

    collection: str
    name: str
    here: Store
    there: Store
    reader: CollectionReader
    wait_s: float

    @property
    def manifest(self) -> Manifest:
        return self.reader.manifest

    @property
    def source(self) -> Source:
        place = self.here.location if Path(self.here.location).is_dir() else ""
        return Source(self.collection, self.reader, place)

    def report(self, begun: float, tally: Tally, checked: Checked, **counts: Any) -> MoveReport:
        """Return the report of a move that has ended well."""
        return MoveReport(
            collection=self.collection,
            name=self.name,
            source=self.here.location,
            target=self.there.location,
            **tally.contents._asdict(),
            **checked._asdict(),
            **{"written": 0, "removed": 0, "replaced": False, **counts},
            seconds=perf_counter() - begun,
        )


def open_end(end: str | Path | Store | None, settings: Settings) -> Store:
    """Open one end of a move; a server that does not answer yet is waited for, as jobs do.

    The API key of the settings goes to the settings' server alone, where that is one.

    Args:
        end: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: where the settings' store and its key are.

    Raises:
        InvalidArgument: it is an empty text.
        ConfigError, StoreUnavailable: as `open_store`.
    """
    if end == "":
        raise InvalidArgument("The other store is an empty text; name a folder, or http://HOST:6333.")
    if isinstance(end, str) and is_server(settings.store) and not _same_address(end, settings.store):
        settings = settings.model_copy(update={"api_key": None})
    return open_store_for(end, settings, patient=True)


def _same_place(here: Store, there: Store) -> bool:
    if here is there:
        return True
    one, other = here.location, there.location
    if is_server(one) or is_server(other):
        return _same_address(one, other)
    return Path(one).resolve() == Path(other).resolve() and Path(one).is_dir()


def _same_address(one: str, other: str) -> bool:
    first, second = (shown_location(end).strip().rstrip("/").lower() for end in (one, other))
    return first == second


def _require_own(plan: _Plan) -> None:
    """Refuse what cannot be moved.

    Raises:
        StoreError: the collection was adopted.
    """
    if plan.manifest.adopted:
        raise StoreError(
            f"Collection {plan.collection!r} was adopted: its points are somebody else's, and cannot be moved. Index "
            f"its documents into a collection of your own: hybrid-search index SOURCE -c {plan.name}"
        )


def _require_resumable(plan: _Plan) -> None:
    """Refuse to drop what another job has begun.

    Raises:
        StoreError: an unfinished collection of that name was built with another manifest.
    """
    begun = plan.there.manifest(plan.name)
    if begun is not None and begun.fingerprint() != plan.manifest.fingerprint():
        raise StoreError(
            f"Collection {plan.name!r} in {plan.there.location} is being built with other models or chunking, and has "
            "not been finished. Copy to another name (--as NEW), or say --replace to drop what was begun."
        )


def _compared(plan: _Plan, begun: float) -> MoveReport:
    """Compare with a collection that is there already.

    Raises:
        StoreError: its content is another one.
    """
    with closing(job_reader(plan.there, plan.name)) as other:
        tally, problem = Tally(), ""
        if other.manifest.fingerprint() != plan.manifest.fingerprint():
            problem = "it was built with other models or chunking"
        else:
            problem = difference(Contents(*plan.reader.info()[1:3], ""), Contents(*other.info()[1:3], ""))
        if not problem:
            for payload in iter_payloads(plan.collection, plan.reader):
                tally.add(payload)
            problem = difference(tally.contents, contents_of(iter_payloads(plan.name, other)))
        if problem:
            raise StoreError(
                f"Collection {plan.name!r} in {plan.there.location} has other content: {problem}. Say --replace to put "
                f"{plan.collection!r} of {plan.here.location} in its place, or copy to another name (--as NEW)."
            )
        try:
            return plan.report(begun, tally, check_vectors_and_answers(plan.reader, other, tally.sample))
        except StoreError as error:
            raise StoreError(
                f"Collection {plan.name!r} in {plan.there.location} has the same documents, but {error}. Say --replace "
                "to write it anew."
            ) from error


def _filled(plan: _Plan, begun: float, replaces: bool, on_progress: Callable[[Progress], None] | None) -> MoveReport:
    """Fill a version of its own, compare it, and publish it."""
    progress = JobProgress(plan.name, plan.manifest.profile, "", plan.reader.info().documents, on_progress)
    progress.emit()
    writer = plan.there.writer(plan.name, plan.manifest, replace=True, wait_s=plan.wait_s)
    with closing(writer), index_job("move", plan.there, writer, progress) as job:
        if writer.manifest.vectors() != plan.manifest.vectors():
            raise StoreError(
                f"An unfinished build of {plan.name!r} in {plan.there.location} calls its vectors otherwise. Copy to "
                "another name (--as NEW)."
            )
        tally, problem = _fill_and_compare(plan, job)
        if problem and progress.unchanged:  # what was there was not what it was taken for
            progress.unchanged = progress.documents = progress.chunks = 0
            tally, problem = _fill_and_compare(plan, job, anew=True)
        if problem:
            raise _unequal(plan, problem)
        _require_unchanged(plan, tally.contents)
        try:
            checked = check_vectors_and_answers(plan.reader, cast(ShowsWritten, writer).written(), tally.sample)
        except StoreError as error:
            raise _unequal(plan, str(error)) from error
        job.finish(plan.manifest)
    checked = checked._replace(notes=(*checked.notes, *_published_since(plan)))
    counts = {"written": progress.documents, "removed": progress.removed, "replaced": replaces}
    return plan.report(begun, tally, checked, **counts)


def _published_since(plan: _Plan) -> Iterator[str]:
    """Yield a note where a source in a folder has a newer version now than the one that was read."""
    if plan.source.place and plan.reader.is_stale():
        yield (
            f"{plan.collection!r} in {plan.here.location} was published again while it was copied; the copy is what it "
            "was before. Run the same command with --replace for what it is now"
        )


def _unequal(plan: _Plan, problem: str) -> StoreError:
    return StoreError(
        f"The copy of {plan.collection!r} in {plan.there.location} is not as its source: {problem}. It was not "
        f"published. Run the same command again; if that does not help, copy to another name (--as NEW)."
    )


def _fill_and_compare(plan: _Plan, job: IndexJob, *, anew: bool = False) -> tuple[Tally, str]:
    """Write what the target lacks, or everything `anew`; return what the source holds and how the target differs."""
    writer, tally = job.writer, Tally()
    known = cast(CollectionWriter, _Forgetful(writer)) if anew else writer
    with Ledger() as ledger:
        fill(known, pages(plan.source, tally, ledger), job.progress, plan.here.location)
        if writer.resumed or anew:
            job.progress.removed += _remove_others(writer, ledger)
    writer.flush()
    return tally, difference(tally.contents, contents_of(writer.iter_payloads()))


class _Forgetful:
    """A writer that takes every document for new."""

    def __init__(self, writer: CollectionWriter) -> None:
        self.upsert, self.delete = writer.upsert, writer.delete

    def heads(self, doc_ids: Sequence[str]) -> dict[str, DocumentHead]:
        """Return nothing."""
        return {}


def _remove_others(writer: CollectionWriter, ledger: Ledger) -> int:
    """Remove the chunks that the source does not have; return how many documents went."""
    others, documents = [], 0
    for payload in writer.iter_payloads():
        doc_id = payload["doc_id"]
        chunks = int(known[1]) if doc_id in ledger and (known := ledger.seen(doc_id, "", "")) else 0
        if payload["number"] >= chunks:
            others.append(payload["chunk_id"])
            documents += payload["number"] == 0
    for some in batched(others, READ_BATCH):
        writer.delete(some)
    return documents


def _require_unchanged(plan: _Plan, moved: Contents) -> None:
    """Make sure that the source still is what was moved. A published version in a folder never changes.

    Raises:
        CollectionChanged: it is not.
    """
    problem = "" if plan.source.place else difference(moved, contents_of(iter_payloads(plan.collection, plan.reader)))
    if problem:
        raise CollectionChanged(
            f"Collection {plan.collection!r} in {plan.here.location} changed while it was moved: {problem}. Nothing "
            "was published. Run the same command again when no job writes to it: what was written is kept."
        )
