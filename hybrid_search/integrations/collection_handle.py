"""One collection as a framework's store and retriever have it: filled, searched and read by the same process.

Who names the same collection in the same place gets the same object, so its models are loaded once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from weakref import WeakValueDictionary

from hybrid_search._util.arguments import distinct
from hybrid_search._util.shared_resource import Retired, SharedResource
from hybrid_search.collection.models import ModelSet, load_models, matches_manifest, open_store_for
from hybrid_search.errors import CollectionNotFound, CorpusError, FilterError, InvalidArgument
from hybrid_search.indexer import Indexer
from hybrid_search.indexing.deletion import delete_documents
from hybrid_search.indexing.progress import IndexReport
from hybrid_search.indexing.sources import clean
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import Store
from hybrid_search.results import DocumentHit
from hybrid_search.search.open_collection import OpenCollection
from hybrid_search.search.request import SearchRequest
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store.schema import check_name
from hybrid_search.types import Document

T = TypeVar("T")

Work = Callable[[Searcher, OpenCollection], T]
"""Something that is done with a searcher, in one state of its collection."""

StoreLocation = str | Path | Store | None
"""A folder, a server's URL, an open store, or None for the settings' store."""

SHOWN_FAILURES = 5


class LiveCollection:
    """Cheap to make; nothing is opened before it is used. Safe to use from many threads.

    Its searcher follows the collection, so each search finds what has been published, here or by another process.
    """

    def __init__(self, name: str, store: StoreLocation, settings: Settings) -> None:
        self.name = check_name(name)
        self.settings = Settings(**settings.model_dump())  # of a class that can be pickled
        self._place = store
        self._store: Store | None = None
        self._models: ModelSet | None = None
        self._shared: SharedResource[Searcher] | None = None
        self._lock = threading.Lock()  # held for moments
        self._opening = threading.RLock()  # held while store or models are opened
        self._writing = threading.Lock()  # held by whoever writes

    def add(self, documents: Iterable[Document], *, wait_s: float, **asked: Any) -> IndexReport:
        """Write documents, each under its id, and publish them once; what is there unchanged costs a hash.

        Args:
            documents: each id once.
            wait_s: seconds to wait for another process that writes to the collection.
            asked: of a collection that is not there yet, as `Indexer.open` takes it.

        Raises:
            InvalidArgument: some cannot be indexed, or have one id; the message names the first, and nothing was
                written.
            HybridSearchError: whatever `Indexer.index` raises.
        """
        documents = _all_fit(documents)
        with self._writing:
            manifest = self.store.manifest(self._writable())
            models = None if manifest is None else self._models_of(manifest)
            store, settings = self.store, self.settings
            indexer = Indexer.open(self.name, store=store, settings=settings, wait_s=wait_s, models=models, **asked)
            report = indexer.index(documents)
        if report.failed:  # which nothing is known to bring about, once they all fit
            reasons = "; ".join(map(str, report.failures[:SHOWN_FAILURES]))
            raise CorpusError(f"{report.failed} documents were not written to {self.name!r}: {reasons}.")
        return report

    def remove(self, doc_ids: Iterable[str] | None, *, wait_s: float) -> int:
        """Remove documents by id, or all of them; how many there were. A collection that is not there has none."""
        with self._writing:
            name, store = self._writable(), self.store
            try:
                return delete_documents(name, doc_ids, store=store, settings=self.settings, wait_s=wait_s)
            except CollectionNotFound:
                return 0

    def drop(self) -> None:
        """Remove the collection itself; the next `add` makes it anew."""
        with self._writing, suppress(CollectionNotFound):
            self.close()
            self.store.delete(self._writable())

    def count(self) -> int:
        """Its documents; 0 where it is not there."""
        try:
            return self.store.info(self.name).documents
        except CollectionNotFound:
            return 0

    def search(self, query: str, request: SearchRequest) -> list[DocumentHit]:
        """Return the hits of `Searcher.search`; none of a collection without documents, whatever a filter names."""
        return self.ask(partial(hits, query, request))

    async def asearch(self, query: str, request: SearchRequest) -> list[DocumentHit]:
        """Search as `search` does; the event loop goes on meanwhile."""
        return await self.aask(partial(hits, query, request))

    def ask(self, work: Work[T]) -> T:
        """Do something with the searcher and with what it has open: the collection as it is now, and stays meanwhile.

        Raises:
            CollectionNotFound: nothing has been written to it yet.
            HybridSearchError: whatever `Searcher.open` raises.
        """
        with self.use() as searcher:
            return searcher._within(partial(work, searcher))

    async def aask(self, work: Work[T]) -> T:
        """Do as `ask`; the event loop goes on meanwhile."""
        acquiring = asyncio.ensure_future(asyncio.to_thread(self._acquire))
        try:
            shared, searcher = await asyncio.shield(acquiring)
        except asyncio.CancelledError:
            acquiring.add_done_callback(_release_unused)  # its thread goes on, and nobody takes what it opens
            raise
        try:
            return await searcher._awithin(partial(work, searcher))
        finally:
            shared.release()

    @contextmanager
    def use(self) -> Iterator[Searcher]:
        """Yield the searcher, which is not closed before the block ends. Raises what `ask` does."""
        shared, searcher = self._acquire()
        try:
            yield searcher
        finally:
            shared.release()

    def close(self) -> None:
        """Let go of it, when those who search it have ended; who uses it afterwards opens it again."""
        with self._lock:
            shared, self._shared = self._shared, None
        if shared is not None:
            shared.retire()

    @property
    def store(self) -> Store:
        """The store, opened when first asked for. Raises StoreUnavailable where the server does not answer."""
        with self._opening:
            if self._store is None:
                self._store = open_store_for(self._place, self.settings)
            return self._store

    def __del__(self) -> None:
        with suppress(Exception):  # it may not have been made to its end, or the interpreter is going
            self.close()

    def __deepcopy__(self, memo: object) -> LiveCollection:
        return self

    def __reduce__(self) -> Any:
        if not (self._place is None or isinstance(self._place, (str, Path))):
            raise TypeError(f"{self.name!r} lies in an open store, which cannot be pickled; name its folder or URL.")
        return shared_handle, (self.name, self._place, self.settings)

    def _writable(self) -> str:
        return self.name

    def _models_of(self, manifest: Manifest) -> ModelSet:
        with self._opening:
            if self._models is None or not matches_manifest(self._models, manifest):
                self._models = load_models(self.name, manifest, self.settings)
            return self._models

    def _acquire(self) -> tuple[SharedResource[Searcher], Searcher]:
        """Return the searcher, opened if need be, with one user more."""
        while True:
            with self._lock:
                shared = self._shared = self._shared or SharedResource(Searcher.close)
            with suppress(Retired):  # closed just now
                return shared, shared.acquire(self._open_searcher)

    def _open_searcher(self) -> Searcher:
        manifest = self.store.manifest(self.name)
        models = None if manifest is None else self._models_of(manifest)
        return Searcher.open(self.name, store=self.store, settings=self.settings, models=models)


class ReadOnlyHandle(LiveCollection):
    """A collection by a searcher that somebody else has opened, and closes: nothing is written through it."""

    def __init__(self, searcher: Searcher) -> None:
        super().__init__(searcher.collection, None, Settings())
        self._given = searcher

    def close(self) -> None:
        """Leave the searcher open: it is not ours."""

    def _acquire(self) -> tuple[SharedResource[Searcher], Searcher]:
        shared: SharedResource[Searcher] = SharedResource(lambda searcher: None, self._given)
        return shared, shared.acquire(lambda: self._given)

    def _writable(self) -> NoReturn:
        raise InvalidArgument(
            f"Nothing can be written to {self.name!r} through an open Searcher; give its name, and its store."
        )

    def __reduce__(self) -> Any:
        raise TypeError("An open Searcher cannot be pickled; give the collection's name, and its store, instead.")


def _release_unused(acquiring: asyncio.Future[tuple[SharedResource[Searcher], Searcher]]) -> None:
    if not acquiring.cancelled() and acquiring.exception() is None:
        acquiring.result()[0].release()


def _all_fit(documents: Iterable[Document]) -> list[Document]:
    """Return the documents as they are indexed.

    Raises:
        InvalidArgument: one cannot be indexed, or has the id of another; the first of these are named, by their places
            from 0.
    """
    given, found, reasons = list(documents), [], []
    for place, document in enumerate(given):
        try:
            found.append(clean(document))
        except ValueError as error:
            reasons.append(f"documents[{place}], {document.doc_id}: {error}")
    if reasons:
        more = f"; and {len(reasons) - SHOWN_FAILURES} more" if len(reasons) > SHOWN_FAILURES else ""
        raise InvalidArgument(
            f"{len(reasons)} of {len(given)} documents cannot be indexed, and nothing was written: "
            f"{'; '.join(reasons[:SHOWN_FAILURES])}{more}."
        )
    distinct("ids", (document.doc_id for document in found))
    return found


def shared_handle(name: str, store: StoreLocation = None, settings: Settings | None = None) -> LiveCollection:
    """Return the collection of this name in this place: the same one for all who ask while somebody has it."""
    settings = settings or load_settings()
    place = settings.store if store is None else str(store) if isinstance(store, (str, Path)) else id(store)
    key = (name, place, *sorted(settings.model_dump().items()))
    with _DOOR:
        found = _LIVE.get(key)
        if found is None:
            found = _LIVE[key] = LiveCollection(name, store, settings)
        return found


def resolve_handle(
    collection: str | None, searcher: Searcher | None, store: StoreLocation = None, settings: Settings | None = None
) -> LiveCollection:
    """Return the collection that an adapter was given: by name, or by an open Searcher.

    Raises:
        InvalidArgument: neither or both; a store or settings beside a Searcher, which has its own.
    """
    if searcher is None and collection:
        return shared_handle(collection, store, settings)
    if searcher is not None and collection is None and store is None and settings is None:
        return ReadOnlyHandle(searcher)
    raise InvalidArgument(
        f"Give either a collection's name, with its store and settings if need be, or an open Searcher alone; "
        f"found collection={collection!r}, searcher={searcher!r}."
    )


def hits(query: str, request: SearchRequest, searcher: Searcher, opened: OpenCollection) -> list[DocumentHit]:
    """Return the hits of a search in what is open; see `unless_empty`."""
    return unless_empty(opened, lambda: searcher._answers([query], request, opened)[0].hits)


def unless_empty(opened: OpenCollection, found: Callable[[], Iterable[T]]) -> list[T]:
    """Return what is found; nothing where there is no document, and so none that has the fields of a filter."""
    try:
        return list(found())
    except FilterError:
        if opened.reader.info().documents:
            raise
        return []


def plain_place(store: StoreLocation, settings: Settings | None) -> dict[str, Any]:
    """Store and settings as JSON values, for a pipeline that is saved. An API key is left out; the environment has it.

    Raises:
        InvalidArgument: an open store, which cannot be written down.
    """
    if store is not None and not isinstance(store, (str, Path)):
        raise InvalidArgument(f"{store!r} is an open store and cannot be saved; give its folder or its URL instead.")
    given = settings and settings.model_dump(mode="json", exclude={"api_key"}, exclude_unset=True)
    return {"store": None if store is None else str(store), "settings": given}


def settings_of(given: Settings | Mapping[str, Any] | None) -> Settings | None:
    """Return settings as they are, or from what `plain_place` made of them."""
    return load_settings(**given) if isinstance(given, Mapping) else given


_LIVE: WeakValueDictionary[tuple[object, ...], LiveCollection] = WeakValueDictionary()
_DOOR = threading.Lock()
