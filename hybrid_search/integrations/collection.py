"""One collection as a framework's store and retriever use it: documents in, documents out, searches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_search.cutting import batched
from hybrid_search.errors import CollectionNotFound, FilterError, InvalidArgument, StoreError
from hybrid_search.indexer import Indexer
from hybrid_search.integrations.kept import Kept, kept_of, plain_hit
from hybrid_search.manifest import LegSpec
from hybrid_search.profiles import Models, open_place, reopen
from hybrid_search.protocols import CollectionReader, Store
from hybrid_search.results import DocumentHit
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store.schema import check_name
from hybrid_search.types import Document, LegName, chunk_id_of
from hybrid_search.where import And, Condition, leaves
from hybrid_search.where.holding import holds
from hybrid_search.where.parsing import parse

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hybrid_search.asking import Options

READ_DOCUMENTS = 256


@dataclass(eq=False)
class Open:
    """A version of the collection, open for some users; `replaced` once there is a newer one."""

    reader: CollectionReader
    searcher: Searcher
    users: int = 0
    replaced: bool = False


class Collection:
    """Cheap to make; nothing is opened before it is used. Safe to use from many threads.

    What is written through it is found by the next search through it. What other processes write is found after
    `refresh()`. Searches that are under way go on with what they began with.

    Args:
        name: of the collection; made by the first `write` where it is not there.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        wait_s: seconds to wait for another process that writes to it.
        making: how to make it, by the keywords of `Indexer.open`: `profile`, `sparse`, `dense`, `legs`, `chunk_tokens`
            and so on.

    Raises:
        InvalidArgument: a name that no collection can have.
    """

    def __init__(
        self,
        name: str,
        *,
        store: str | Path | Store | None = None,
        settings: Settings | None = None,
        wait_s: float = 0.0,
        making: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = check_name(name)
        self._given_store, self._given_settings = store, settings
        self._wait_s, self._making = wait_s, dict(making or {})
        self._open: Open | None = None
        self._models: tuple[Mapping[LegName, LegSpec], Models] | None = None
        self._place: tuple[Store, Settings] | None = None
        self._turn = threading.RLock()
        self._writing = threading.RLock()

    @contextmanager
    def opened(self) -> Iterator[Open]:
        """The collection, open for reading as long as the block lasts.

        Raises:
            CollectionNotFound: it is not there (yet).
            HybridSearchError: whatever `Searcher.open` raises.
        """
        found = self._take()
        try:
            yield found
        finally:
            self._give(found)

    def warm_up(self, **options: Any) -> None:
        """Load the models of `mode` and the re-ranker of `rerank` now instead of on the first search."""
        with self.opened() as found:
            found.searcher.warm_up(**options)

    def search(self, query: str, **options: Unpack[Options]) -> list[DocumentHit]:
        """The hits of `Searcher.search`, with the metadata that the documents were given."""
        with self.opened() as found, _none_where_empty(found.reader) as hits:
            hits.extend(map(plain_hit, found.searcher.search(query, **options)))
        return hits

    async def asearch(self, query: str, **options: Unpack[Options]) -> list[DocumentHit]:
        """`search`; the event loop goes on meanwhile."""
        found = await asyncio.to_thread(self._take)
        try:
            with _none_where_empty(found.reader) as hits:
                hits.extend(map(plain_hit, await found.searcher.asearch(query, **options)))
            return hits
        finally:
            self._give(found)

    def search_whole(self, query: str, **options: Unpack[Options]) -> list[tuple[DocumentHit, Kept]]:
        """The hits of `search`, each with its document as it was given; nothing of a collection that is not there."""
        try:
            with self.opened() as found:
                with _none_where_empty(found.reader) as hits:
                    hits.extend(map(plain_hit, found.searcher.search(query, **options)))
                return _with_documents(hits, found.reader)
        except CollectionNotFound:
            return []

    async def asearch_whole(self, query: str, **options: Unpack[Options]) -> list[tuple[DocumentHit, Kept]]:
        """`search_whole`; the event loop goes on meanwhile."""
        try:
            found = await asyncio.to_thread(self._take)
        except CollectionNotFound:
            return []
        try:
            with _none_where_empty(found.reader) as hits:
                hits.extend(map(plain_hit, await found.searcher.asearch(query, **options)))
            return await asyncio.to_thread(_with_documents, hits, found.reader)
        finally:
            self._give(found)

    def write(self, documents: Sequence[Document]) -> None:
        """Index documents; those of an id that is there are replaced.

        Raises:
            StoreError: some could not be indexed; says why. The others are written.
            HybridSearchError: whatever `Indexer.open` and `Indexer.index` raise.
        """
        if not documents:
            return
        with self._writing:
            place, settings = self._placed()
            indexer = Indexer.open(self.name, store=place, settings=settings, wait_s=self._wait_s, **self._making)
            report = indexer.index(documents)
            self.refresh()
        if report.failed:
            reasons = "; ".join(f"{origin}: {reason}" for origin, reason in report.failures[:5])
            raise StoreError(f"{report.failed} of {len(documents)} documents could not be indexed: {reasons}.")

    def remove(self, doc_ids: Iterable[str] | None = None) -> int:
        """Remove documents, all of them where no ids are given; ids that are not there are passed over.

        Returns:
            How many were removed.
        """
        with self._writing:
            place, _ = self._placed()
            manifest = place.manifest(self.name)
            if manifest is None:
                return 0
            removed = 0
            with closing(place.writer(self.name, manifest, wait_s=self._wait_s)) as writer:
                wanted = list(writer.doc_ids()) if doc_ids is None else dict.fromkeys(doc_ids)
                for some in batched(wanted, READ_DOCUMENTS):
                    heads = writer.heads(some)
                    writer.delete(
                        [chunk_id_of(doc_id, n) for doc_id, head in heads.items() for n in range(head.chunks)]
                    )
                    removed += len(heads)
                if removed:
                    writer.publish()
            self.refresh()
            return removed

    def drop(self) -> None:
        """Remove the collection itself; the next write makes it anew."""
        with self._writing, suppress(CollectionNotFound):
            self.refresh()
            self._placed()[0].delete(self.name)

    def count(self) -> int:
        """Its documents; 0 where it is not there."""
        place, _ = self._placed()
        try:
            return place.info(self.name).documents
        except CollectionNotFound:
            return 0

    def there(self, doc_ids: Sequence[str]) -> set[str]:
        """Those of the ids that it has."""
        return {kept.id for kept in self.get(doc_ids)}

    def get(self, doc_ids: Iterable[str]) -> list[Kept]:
        """Documents by id, in the order asked for; those that are not there are left out."""
        try:
            with self.opened() as found:
                return [kept_of(chunks) for chunks in _chunks(found.reader, doc_ids)]
        except CollectionNotFound:
            return []

    def all(self, condition: Condition | None = None) -> Iterator[Kept]:
        """Every document, or every one for which a condition holds; `text` is then the whole text.

        Each is looked at. A field that no document has is no error here: no value of it satisfies anything.
        """
        of_text = condition is not None and any(leaf.path == ("text",) for leaf in leaves(condition))
        of_head = None if of_text else condition
        try:
            with self.opened() as found:
                for chunks in _chunks(found.reader, found.reader.doc_ids(), of_head):
                    kept = kept_of(chunks)
                    if not of_text or condition is None or holds(condition, {**chunks[0], "text": kept.text}):
                        yield kept
        except CollectionNotFound:
            return

    def refresh(self) -> None:
        """Let the next search see what has been published since the collection was opened."""
        with self._turn:
            found, self._open = self._open, None
            if found is not None:
                found.replaced = True
                self._close_unused(found)

    close = refresh

    def _placed(self) -> tuple[Store, Settings]:
        with self._turn:
            if self._place is None:
                settings = self._given_settings or load_settings()
                self._place = open_place(self._given_store, settings), settings
            return self._place

    def _take(self) -> Open:
        with self._turn:
            if self._open is None:
                self._open = self._opened()
            self._open.users += 1
            return self._open

    def _opened(self) -> Open:
        place, settings = self._placed()
        reader = place.reader(self.name)
        try:
            legs = reader.manifest.legs
            if self._models is None or self._models[0] != legs:  # they are loaded once, not after every write
                self._models = legs, reopen(self.name, reader.manifest, settings)
            return Open(reader, Searcher(self.name, reader, self._models[1], settings))
        except BaseException:
            reader.close()
            raise

    def _give(self, found: Open) -> None:
        with self._turn:
            found.users -= 1
            self._close_unused(found)

    def _close_unused(self, found: Open) -> None:
        if found.replaced and found.users == 0:
            found.searcher.close()


@contextmanager
def _none_where_empty(reader: CollectionReader) -> Iterator[list[DocumentHit]]:
    """Of a collection without documents every filter names unknown fields; there that is no error."""
    hits: list[DocumentHit] = []
    try:
        yield hits
    except FilterError:
        if reader.info().documents:
            raise


def _with_documents(hits: list[DocumentHit], reader: CollectionReader) -> list[tuple[DocumentHit, Kept]]:
    documents = _chunks(reader, [hit.doc_id for hit in hits])
    return [(hit, kept_of(chunks)) for hit, chunks in zip(hits, documents, strict=True)]


def _chunks(
    reader: CollectionReader, doc_ids: Iterable[str], condition: Condition | None = None
) -> Iterator[list[dict[str, Any]]]:
    """The payloads of each document's chunks, by number; of the documents whose first chunk a condition lets pass."""
    for some in batched(doc_ids, READ_DOCUMENTS):
        heads = reader.payloads([chunk_id_of(doc_id, 0) for doc_id in some])
        if condition is not None:
            heads = {chunk_id: head for chunk_id, head in heads.items() if holds(condition, head)}
        rest = [chunk_id_of(head["doc_id"], n) for head in heads.values() for n in range(1, head["chunks"])]
        found = {**heads, **(reader.payloads(rest) if rest else {})}
        for doc_id in some:
            head = found.get(chunk_id_of(doc_id, 0))
            if head is not None:
                yield [found[chunk_id_of(doc_id, n)] for n in range(head["chunks"])]


def both(where: str | Condition | None, condition: Condition | None) -> Condition | None:
    """What two filters let pass, each of which may be none."""
    first = parse(where) if isinstance(where, str) else where
    given = tuple(one for one in (first, condition) if one is not None)
    return And(given) if len(given) > 1 else next(iter(given), None)


def plain_place(store: str | Path | Store | None, settings: Settings | None) -> dict[str, Any]:
    """Store and settings as JSON values, for a pipeline that is saved. An API key is left out; the environment has it.

    Raises:
        InvalidArgument: an open store, which cannot be written down.
    """
    if store is not None and not isinstance(store, (str, Path)):
        raise InvalidArgument(f"{store!r} is an open store and cannot be saved; give its folder or its URL instead.")
    given = settings and settings.model_dump(mode="json", exclude={"api_key"}, exclude_unset=True)
    return {"store": None if store is None else str(store), "settings": given}


def settings_of(given: Settings | Mapping[str, Any] | None) -> Settings | None:
    """Settings as they are, or from what `plain_place` made of them."""
    return load_settings(**given) if isinstance(given, Mapping) else given
