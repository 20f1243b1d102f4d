"""Haystack's document store over a collection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from haystack import Document, default_from_dict, default_to_dict
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy

from hybrid_search import types
from hybrid_search._util.arguments import listed, placed, shown
from hybrid_search._util.unicode_text import nfc
from hybrid_search.errors import CollectionNotFound, InvalidArgument
from hybrid_search.integrations.collection_handle import plain_place, settings_of, shared_handle
from hybrid_search.integrations.haystack.filters import condition_of
from hybrid_search.integrations.roundtrip import FrameworkDocument, document_of, given_metadata, kept_documents
from hybrid_search.protocols import Store
from hybrid_search.settings import Settings

T = TypeVar("T")

MORE = "haystack"
"""What a Haystack document has besides id, content and meta is kept under this name (see `integrations.roundtrip`)."""

_BESIDES = ("blob", "embedding", "sparse_embedding", "score")


class HybridSearchDocumentStore:
    """Documents in a collection, which encodes and searches their texts by itself.

    Ids are kept, and so is everything else a document has: an embedding given comes back, and is not searched. A
    document without text is refused. It works over collections made in any other way too: a document's `content` is
    then its text, put together from its chunks (`stored.whole_text`), and its title is `meta["title"]`.

    Filters: see `haystack.filters`; of a list in the meta one value is enough. `filter_documents` and what is built on
    it look at every document.

    Args:
        collection: its name; it is made by the first write where it is not there.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: or a dict of some of them; read from the environment and the config file when not given.
        wait_s: seconds to wait for another process that writes to the collection.
        making: of a new collection, by the keywords of `Indexer.open`: `profile`, `sparse`, `dense`, `legs`,
            `chunk_tokens` and so on.

    Raises:
        InvalidArgument: a name that no collection can have.
    """

    def __init__(
        self,
        collection: str,
        *,
        store: str | Path | Store | None = None,
        settings: Settings | Mapping[str, Any] | None = None,
        wait_s: float = 0.0,
        **making: Any,
    ) -> None:
        self._given: dict[str, Any] = {"store": store, "settings": settings_of(settings)}
        self._wait_s, self._making = wait_s, making
        self.collection = shared_handle(collection, **self._given)

    def to_dict(self) -> dict[str, Any]:
        """Write it down as JSON values; InvalidArgument for an open store, which cannot be."""
        given = {**plain_place(**self._given), "wait_s": self._wait_s, **self._making}
        return dict(default_to_dict(self, collection=self.collection.name, **given))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> HybridSearchDocumentStore:
        made: HybridSearchDocumentStore = default_from_dict(cls, data)
        return made

    def count_documents(self) -> int:
        """How many there are."""
        return self.collection.count()

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return the documents that match, in the order of the store, which is the same each time."""
        return self._of(filters, lambda found: [haystack_document(kept) for kept in found])

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Index documents. All are checked before the first is written.

        Args:
            documents: each with a text.
            policy: for an id that is there already, or twice among them; `NONE` is `FAIL`.

        Returns:
            How many were written.

        Raises:
            ValueError: something else than documents, one without text, or with meta that is not JSON.
            DuplicateDocumentError: with `FAIL`, an id that is there already.
        """
        if isinstance(documents, Document):
            raise InvalidArgument("documents is one document; give a list: write_documents([document]).")
        documents = listed("documents", documents, "documents", "write_documents([Document(content={})])")
        for place, document in enumerate(documents):
            if not isinstance(document, Document):
                raise InvalidArgument(f"documents[{place}] is {shown(document)}; it must be a Document of Haystack.")
        given = {nfc(document.id): place for place, document in enumerate(documents)}
        there = set() if policy == DuplicatePolicy.OVERWRITE else self._there(given)
        if policy in (DuplicatePolicy.FAIL, DuplicatePolicy.NONE):
            twice = {document.id for place, document in enumerate(documents) if given[nfc(document.id)] != place}
            if there or twice:
                raise DuplicateDocumentError(
                    f"These ids are there already, and nothing was written: {sorted(there | twice)[:5]}. "
                    "Take DuplicatePolicy.OVERWRITE or SKIP."
                )
        if policy == DuplicatePolicy.SKIP:
            places = reversed(range(len(documents)))
            given = {doc_id: place for place in places if (doc_id := nfc(documents[place].id)) not in there}
        self._write([_ours(documents[place], place) for place in sorted(given.values())])
        return len(documents) if policy == DuplicatePolicy.OVERWRITE else len(given)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Remove documents; ids that are not there are passed over."""
        self._remove(document_ids)

    def delete_all_documents(self, recreate_collection: bool = False) -> None:
        """Remove all of them; with `recreate_collection` also what the collection was made with."""
        if recreate_collection:
            self.collection.drop()
        else:
            self._remove(None)

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Remove the documents that match; gives how many."""
        return self._remove(self._of(filters, lambda found: [kept.id for kept in found]))

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Set these fields in the meta of the documents that match; gives how many."""
        changed = self._of(
            filters,
            lambda found: [document_of(kept.id, kept.text, {**kept.metadata, **meta}, kept.more) for kept in found],
        )
        self._write(changed)
        return len(changed)

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """How many match."""
        return self._of(filters, lambda found: sum(1 for _ in found))

    def count_unique_metadata_by_filter(self, filters: dict[str, Any], metadata_fields: list[str]) -> dict[str, int]:
        """How many values each field has among the documents that match."""
        found = self._of(filters, list)
        return {field: len(_distinct(found, field)) for field in metadata_fields}

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """Return the fields of the meta with their types: keyword, int, float, boolean."""
        names = {bool: "boolean", int: "int", float: "float"}
        found: dict[str, dict[str, str]] = {}
        for kept in self._of(None, list):
            for field, value in kept.metadata.items():
                if value is not None:
                    found[field] = {"type": names.get(type(value), "keyword")}
        return found

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """Return the least and greatest value of a field, {"min", "max"}; None where none can be ordered."""
        values = self._of(None, lambda found: _distinct(found, metadata_field))
        kinds = {isinstance(value, str) for value in values}
        if len(kinds) != 1 or any(isinstance(value, (list, dict)) for value in values):
            return {"min": None, "max": None}
        return {"min": min(values), "max": max(values)}

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """Return a page of the values of a field, in the order of their texts, and how many there are in all.

        Args:
            metadata_field: with `meta.` before it or not.
            search_term: only values that contain this text, case ignored.
            from_: values to pass over.
            size: of the page.
            filters: only of documents that match.
        """
        values = self._of(filters, lambda found: _distinct(found, metadata_field))
        if search_term:
            values = [value for value in values if search_term.lower() in str(value).lower()]
        ordered = sorted(values, key=lambda value: (str(value), type(value).__name__))
        return ordered[from_ : from_ + size], len(ordered)

    async def count_documents_async(self) -> int:
        return await asyncio.to_thread(self.count_documents)

    async def filter_documents_async(self, filters: dict[str, Any] | None = None) -> list[Document]:
        return await asyncio.to_thread(self.filter_documents, filters)

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        return await asyncio.to_thread(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        await asyncio.to_thread(self.delete_documents, document_ids)

    async def delete_all_documents_async(self, recreate_collection: bool = False) -> None:
        await asyncio.to_thread(self.delete_all_documents, recreate_collection)

    async def delete_by_filter_async(self, filters: dict[str, Any]) -> int:
        return await asyncio.to_thread(self.delete_by_filter, filters)

    async def update_by_filter_async(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        return await asyncio.to_thread(self.update_by_filter, filters, meta)

    async def count_documents_by_filter_async(self, filters: dict[str, Any]) -> int:
        return await asyncio.to_thread(self.count_documents_by_filter, filters)

    async def count_unique_metadata_by_filter_async(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        return await asyncio.to_thread(self.count_unique_metadata_by_filter, filters, metadata_fields)

    async def get_metadata_fields_info_async(self) -> dict[str, dict[str, str]]:
        return await asyncio.to_thread(self.get_metadata_fields_info)

    async def get_metadata_field_min_max_async(self, metadata_field: str) -> dict[str, Any]:
        return await asyncio.to_thread(self.get_metadata_field_min_max, metadata_field)

    async def get_metadata_field_unique_values_async(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        return await asyncio.to_thread(
            self.get_metadata_field_unique_values, metadata_field, search_term, from_, size, filters
        )

    def close(self) -> None:
        """Let go of the collection; it is opened again when it is used again."""
        self.collection.close()

    def _of(self, filters: Mapping[str, Any] | None, work: Callable[[Iterable[FrameworkDocument]], T]) -> T:
        """Return what is made of the documents that match."""
        condition = condition_of(filters)
        try:
            return self.collection.ask(lambda _, opened: work(kept_documents(opened.reader, condition=condition)))
        except CollectionNotFound:
            return work(())

    def _there(self, doc_ids: Iterable[str]) -> set[str]:
        """Those of the ids that it has, in normal form C."""
        try:
            return self.collection.ask(
                lambda _, opened: {nfc(kept.id) for kept in kept_documents(opened.reader, doc_ids)}
            )
        except CollectionNotFound:
            return set()

    def _write(self, documents: Sequence[types.Document]) -> None:
        if documents:
            self.collection.add(documents, wait_s=self._wait_s, **self._making)

    def _remove(self, doc_ids: Iterable[str] | None) -> int:
        return self.collection.remove(doc_ids, wait_s=self._wait_s)


def haystack_document(kept: FrameworkDocument, found: Mapping[str, Any] | None = None) -> Document:
    """Return the document as it was written; with `meta` and `score` of an answer, if given."""
    more = kept.more.get(MORE, {})
    given = {"id": kept.id, "content": kept.text, "meta": kept.metadata, **more, **(found or {})}
    return Document.from_dict(given)


def _ours(document: Document, place: int) -> types.Document:
    whole = document.to_dict(flatten=False)
    more = {name: whole[name] for name in _BESIDES if whole.get(name) is not None}
    kept = {MORE: more} if more else None
    with placed("documents", place):
        return document_of(document.id, document.content or "", given_metadata(document.meta), kept)


def _distinct(documents: Any, field: str) -> list[Any]:
    """Return the values of a field; 1, 1.0, "1" and true are four."""
    name = field.removeprefix("meta.")
    values = (kept.metadata.get(name) for kept in documents)
    return list({(type(v).__name__, json.dumps(v, sort_keys=True)): v for v in values if v is not None}.values())
