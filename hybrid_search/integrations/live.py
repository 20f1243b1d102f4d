"""One collection as a framework's store has it: written to and searched by the same process, and read by id.

Who names the same collection in the same place gets the same object, so its models are loaded once, and a retriever
sees what a store beside it has written.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn
from weakref import WeakValueDictionary

import numpy as np

from hybrid_search.answering import Opened, answer
from hybrid_search.asking import Options, Request
from hybrid_search.errors import CollectionNotFound, CorpusError, InvalidArgument
from hybrid_search.indexer import Indexer
from hybrid_search.legs import Retrieved, retrieve
from hybrid_search.manifest import Manifest
from hybrid_search.profiles import Models, open_place, reopen, serves
from hybrid_search.protocols import CollectionReader, Store
from hybrid_search.removing import remove_documents
from hybrid_search.report import IndexReport
from hybrid_search.results import Results
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings, load_settings
from hybrid_search.types import Document, LegName, chunk_id_of, in_order, own_metadata

Place = str | Path | Store | None
"""A folder, a server's URL, an open store, or None for the settings' store."""

SHOWN_FAILURES = 5


class LiveCollection:
    """A collection that answers from what is written in this process, at once. Safe to use from many threads.

    What other processes write is seen after the next write here, or after `renew()`. On a server it is seen at once.
    """

    def __init__(self, name: str, store: Place, settings: Settings) -> None:
        self.name = name
        self.settings = Settings(**settings.model_dump())  # of a class that can be pickled
        self._place = store
        self._store: Store | None = None
        self._models: Models | None = None
        self._entry: _Entry | None = None
        self._renewed = 0
        self._lock = threading.Lock()  # held for moments
        self._opening = threading.RLock()  # held while store, models or collection are opened
        self._writing = threading.Lock()  # held by whoever writes

    def add(self, documents: Iterable[Document], *, wait_s: float, **asked: Any) -> IndexReport:
        """Write documents, each under its id, and publish them once; what is there unchanged costs a hash.

        Args:
            documents: each id once.
            wait_s: seconds to wait for another process that writes to the collection.
            asked: of a collection that is not there yet, as `Indexer.open` takes it.

        Raises:
            CorpusError: some cannot be indexed; the message names the first, the others were written.
            HybridSearchError: whatever `Indexer.index` raises.
        """
        with self._writing:
            manifest = self.store.manifest(self._writable())
            models = None if manifest is None else self._models_of(manifest)
            store, settings = self.store, self.settings
            indexer = Indexer.open(self.name, store=store, settings=settings, wait_s=wait_s, models=models, **asked)
            report = indexer.index(documents)
            if report.documents:
                self.renew()
        if report.failed:
            reasons = "; ".join(f"{origin}: {reason}" for origin, reason in report.failures[:SHOWN_FAILURES])
            raise CorpusError(
                f"{report.failed} of {report.failed + report.documents + report.unchanged} documents cannot be "
                f"indexed: {reasons}. The others were written to {self.name!r}."
            )
        return report

    def remove(self, doc_ids: Iterable[str] | None, *, wait_s: float) -> int:
        """Remove documents by id, or all of them; how many there were. A collection that is not there has none."""
        with self._writing:
            name, store = self._writable(), self.store
            try:
                count = remove_documents(name, doc_ids, store=store, settings=self.settings, wait_s=wait_s)
            except CollectionNotFound:
                return 0
            if count:
                self.renew()
        return count

    def search(self, query: str, options: Options) -> Results:
        """What `Searcher.search` answers."""
        with self.use() as searcher:
            return searcher.search(query, **options)

    async def asearch(self, query: str, options: Options) -> Results:
        """What `Searcher.asearch` answers; opening the collection does not block the event loop either."""
        entry = self._taken()
        if entry is None:
            entry = await asyncio.to_thread(self._entered)
        try:
            return await entry.searcher.asearch(query, **options)
        finally:
            self._left(entry)

    @contextmanager
    def use(self) -> Iterator[Searcher]:
        """A searcher that stays open and the same until the block ends, whatever is written meanwhile.

        Raises:
            CollectionNotFound: nothing has been written to it yet.
            HybridSearchError: whatever `Searcher.open` raises.
        """
        entry = self._taken() or self._entered()
        try:
            yield entry.searcher
        finally:
            self._left(entry)

    def renew(self) -> None:
        """Answer from what is published now: the next search opens it. Who searches goes on with what it has."""
        with self._lock:
            entry, self._entry = self._entry, None
            self._renewed += 1
            last = entry is not None and entry.retire()
        if entry is not None and last:
            entry.searcher.close()

    @property
    def store(self) -> Store:
        """The store, opened when first asked for. Raises StoreUnavailable where the server does not answer."""
        with self._opening:
            if self._store is None:
                self._store = open_place(self._place, self.settings)
            return self._store

    def __del__(self) -> None:
        with suppress(Exception):  # it may not have been made to its end, or the interpreter is going
            self.renew()

    def __deepcopy__(self, memo: object) -> LiveCollection:
        return self

    def __reduce__(self) -> Any:
        if not (self._place is None or isinstance(self._place, (str, Path))):
            raise TypeError(f"{self.name!r} lies in an open store, which cannot be pickled; name its folder or URL.")
        return live, (self.name, self._place, self.settings)

    def _writable(self) -> str:
        return self.name

    def _models_of(self, manifest: Manifest) -> Models:
        with self._opening:
            if self._models is None or not serves(self._models, manifest):
                self._models = reopen(self.name, manifest, self.settings)
            return self._models

    def _taken(self) -> _Entry | None:
        with self._lock:
            if self._entry is not None:
                self._entry.users += 1
            return self._entry

    def _entered(self) -> _Entry:
        with self._opening:
            while True:
                entry = self._taken()
                if entry is not None:
                    return entry
                renewed = self._renewed
                searcher = self._searcher()
                with self._lock:
                    if self._renewed == renewed:
                        entry = self._entry = _Entry(searcher, users=1)
                        return entry
                searcher.close()  # something was published while it was opened

    def _searcher(self) -> Searcher:
        reader = self.store.reader(self.name)
        try:
            return Searcher(self.name, reader, self._models_of(reader.manifest), self.settings)
        except BaseException:
            reader.close()
            raise

    def _left(self, entry: _Entry) -> None:
        with self._lock:
            last = entry.leave()
        if last:
            entry.searcher.close()


class Borrowed(LiveCollection):
    """A collection by a searcher that somebody else has opened, and closes: nothing is written through it."""

    def __init__(self, searcher: Searcher) -> None:
        super().__init__(searcher.collection, None, Settings())
        self._entry = _Entry(searcher, users=1)

    def _writable(self) -> NoReturn:
        raise InvalidArgument(
            f"Nothing can be written to {self.name!r} through an open Searcher; give its name, and its store."
        )

    def __reduce__(self) -> Any:
        raise TypeError("An open Searcher cannot be pickled; give the collection's name, and its store, instead.")


class _Entry:
    """A searcher, and how many use it now."""

    def __init__(self, searcher: Searcher, users: int = 0) -> None:
        self.searcher, self.users, self.retired = searcher, users, False

    def leave(self) -> bool:
        """One less uses it; whether it is to be closed now."""
        self.users -= 1
        return self.retired and self.users == 0

    def retire(self) -> bool:
        """Nobody else will have it; whether it is to be closed now."""
        self.retired = True
        return self.users == 0


def live(name: str, store: Place = None, settings: Settings | None = None) -> LiveCollection:
    """The collection of this name in this place: the same one for all who ask while somebody has it."""
    settings = settings or load_settings()
    place = settings.store if store is None else str(store) if isinstance(store, (str, Path)) else id(store)
    key = (name, place, *sorted(settings.model_dump().items()))
    with _DOOR:
        found = _LIVE.get(key)
        if found is None:
            found = _LIVE[key] = LiveCollection(name, store, settings)
        return found


def chosen(
    collection: str | None, searcher: Searcher | None, store: Place = None, settings: Settings | None = None
) -> LiveCollection:
    """The collection that an adapter was given: by name, or by an open Searcher.

    Raises:
        InvalidArgument: neither or both; a store or settings beside a Searcher, which has its own.
    """
    if searcher is None and collection:
        return live(collection, store, settings)
    if searcher is not None and collection is None and store is None and settings is None:
        return Borrowed(searcher)
    raise InvalidArgument(
        f"Give either a collection's name, with its store and settings if need be, or an open Searcher alone; "
        f"found collection={collection!r}, searcher={searcher!r}."
    )


def nearest(opened: Opened, leg: LegName, vector: Sequence[float], options: Options) -> Results:
    """The documents whose chunks are nearest to a vector in a dense leg, as a search of this leg alone gives them.

    Raises:
        InvalidArgument: the vector does not fit the leg, or an option needs the text of a query.
    """
    asked: Options = {**options, "mode": leg, "highlight": False}
    request = Request(**asked)
    if request.rerank or request.explain:
        raise InvalidArgument("Nothing can be re-ranked or explained for a vector: that takes the text of a query.")
    query = np.asarray(vector, np.float32)
    began = perf_counter()
    [rankings] = retrieve(opened.reader, {leg: [query]}, request.deep, request.condition)
    spent = {"encode": 0.0, "retrieve": (perf_counter() - began) * 1e3}
    return answer(Retrieved("", leg, {leg: query}, rankings, spent), request, opened, None)


def dense_leg(manifest: Manifest, collection: str) -> LegName:
    """The leg whose vectors can be compared with each other: the first dense one, of those that are fused if any is.

    Raises:
        InvalidArgument: the collection has none.
    """
    for leg in (*manifest.fused(), *in_order(manifest.legs)):
        if manifest.legs[leg].kind == "dense":
            return leg
    raise InvalidArgument(f"Collection {collection!r} has no dense leg, only {', '.join(in_order(manifest.legs))}.")


def documents_of(reader: CollectionReader, doc_ids: Sequence[str]) -> dict[str, Document]:
    """Whole documents by their ids; those that are not there are left out.

    A text of one chunk is as it was written. Of a longer one, white space at which it was cut comes back as spaces and
    line ends of the same number, so that offsets stay right; what stood behind its last chunk does not.
    """
    heads = reader.payloads([chunk_id_of(doc_id, 0) for doc_id in dict.fromkeys(doc_ids)])
    others = [
        chunk_id_of(head["doc_id"], number) for head in heads.values() for number in range(1, head.get("chunks", 1))
    ]
    more = reader.payloads(others) if others else {}
    found = {}
    for head in heads.values():
        doc_id = head["doc_id"]
        chunks = [more.get(chunk_id_of(doc_id, number)) for number in range(1, head.get("chunks", 1))]
        if head.get("stamp") == "" or None in chunks:
            continue  # not written to its end
        text = ""
        for part in (head, *(chunk for chunk in chunks if chunk is not None)):
            gap = part["start"] - len(text)
            text += " " if gap == 1 else "\n" * gap
            text += part["text"][max(0, -gap) :]
        own = own_metadata(head)
        metadata = {name: value for name, value in head["metadata"].items() if name not in own}
        found[doc_id] = Document(doc_id, text, head["title"], metadata, head["origin"])
    return {doc_id: found[doc_id] for doc_id in dict.fromkeys(doc_ids) if doc_id in found}


_LIVE: WeakValueDictionary[tuple[object, ...], LiveCollection] = WeakValueDictionary()
_DOOR = threading.Lock()
