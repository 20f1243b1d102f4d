"""Haystack's retriever: a text in, documents out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.types import FilterPolicy, apply_filter_policy
from haystack.errors import FilterError as HaystackFilterError

from hybrid_search._util.arguments import whole
from hybrid_search.errors import CollectionNotFound, FilterError, InvalidArgument
from hybrid_search.integrations.collection_handle import ReadOnlyHandle, plain_place, settings_of, shared_handle
from hybrid_search.integrations.dict_filters import both
from hybrid_search.integrations.haystack.filters import condition_of
from hybrid_search.integrations.haystack.store import HybridSearchDocumentStore, haystack_document
from hybrid_search.integrations.hit_documents import found_one
from hybrid_search.integrations.roundtrip import FrameworkDocument, kept_hits, plain_hit
from hybrid_search.protocols import Store
from hybrid_search.results import DocumentHit
from hybrid_search.search.request import HYBRID, SearchRequest
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hybrid_search.search.request import Options


@component
class HybridSearchRetriever:
    """Searches a collection for a text: all legs, filters and re-ranking, in the order and with the scores of `search`.

    What it gives: of a `HybridSearchDocumentStore` its documents, whole and with their own ids; of any other collection
    the best passage of each document, with the id of the passage. The `meta` has, besides the document's own, where
    each leg placed it and everything that `hit_documents.EVIDENCE` names. The score is that of fusion; re-ranked
    documents stand in the order of `meta["rerank_score"]`.

    Args:
        collection: a name, an open searcher, or a document store.
        store: a folder, a server's URL, or an open store; the settings' store when not given. For a name only.
        settings: or a dict of some of them. For a name only.
        filters: for every search.
        top_k: documents wanted.
        filter_policy: whether the filters of a search replace these or are added to them.
        options: of every search, by the keywords of `Searcher.search` but `k`: `mode`, `depth`, `fusion`, `rrf_k`,
            `weights`, `rerank`, `where` and so on.

    Raises:
        InvalidArgument: an option out of range, or one that a searcher or a store has already.
        FilterError: of Haystack, for filters that cannot be read.
    """

    def __init__(
        self,
        collection: str | Searcher | HybridSearchDocumentStore,
        *,
        store: str | Path | Store | None = None,
        settings: Settings | Mapping[str, Any] | None = None,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
        **options: Unpack[Options],
    ) -> None:
        if not isinstance(collection, str) and not (store is None and settings is None):
            raise InvalidArgument("store and settings go with a collection's name; a searcher or a store has its own.")
        if "k" in options:
            raise InvalidArgument("k is called top_k here.")
        asked: Options = {**options, "k": whole("top_k", top_k, 1)}
        SearchRequest(**asked)
        condition_of(filters)
        self.collection = collection
        self.filters, self.top_k, self.filter_policy = filters, top_k, FilterPolicy(filter_policy)
        self._given: dict[str, Any] = {"store": store, "settings": settings_of(settings)}
        self._options = options
        if isinstance(collection, HybridSearchDocumentStore):
            self._live = collection.collection
        else:
            self._live = (
                shared_handle(collection, **self._given) if isinstance(collection, str) else ReadOnlyHandle(collection)
            )

    def to_dict(self) -> dict[str, Any]:
        """Write it down as JSON values; InvalidArgument for an open searcher or store, which cannot be."""
        if isinstance(self.collection, Searcher):
            raise InvalidArgument(
                f"An open searcher cannot be saved; give the name of its collection, {self.collection.collection!r}."
            )
        options: dict[str, Any] = dict(self._options)
        if options.get("where") is not None:
            options["where"] = str(options["where"])
        given = {**plain_place(**self._given), "filters": self.filters, "top_k": self.top_k, **options}
        return dict(default_to_dict(self, collection=self.collection, filter_policy=self.filter_policy.value, **given))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> HybridSearchRetriever:
        made: HybridSearchRetriever = default_from_dict(cls, data)
        return made

    def warm_up(self) -> None:
        """Load the models now instead of on the first search. A store that is empty yet has none."""
        with suppress(CollectionNotFound) if self._whole else nullcontext(), self._live.use() as searcher:
            searcher.warm_up(self._options.get("mode", HYBRID), self._options.get("rerank"))

    async def warm_up_async(self) -> None:
        """Do as `warm_up`; the event loop goes on meanwhile."""
        await asyncio.to_thread(self.warm_up)

    def close(self) -> None:
        """Let go of a collection that was given by name."""
        if isinstance(self.collection, str):
            self._live.close()

    @property
    def _whole(self) -> bool:
        """Whether it gives a store's documents, and not passages."""
        return isinstance(self.collection, HybridSearchDocumentStore)

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Search.

        Args:
            query: any text that is not empty.
            filters: instead of, or in addition to, the retriever's own, as its policy says.
            top_k: documents wanted, 0 for none; the retriever's own when not given.

        Returns:
            {"documents": ...}, best first.
        """
        request = self._asked(filters, top_k)
        if request is None:
            return {"documents": []}
        with _haystack_errors():
            if not self._whole:
                return _passages(self._live.search(query, request))
            with suppress(CollectionNotFound):
                return _documents(self._live.ask(partial(kept_hits, query, request)))
        return {"documents": []}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Do as `run`; the event loop goes on meanwhile."""
        request = self._asked(filters, top_k)
        if request is None:
            return {"documents": []}
        with _haystack_errors():
            if not self._whole:
                return _passages(await self._live.asearch(query, request))
            with suppress(CollectionNotFound):
                return _documents(await self._live.aask(partial(kept_hits, query, request)))
        return {"documents": []}

    def _asked(self, filters: dict[str, Any] | None, top_k: int | None) -> SearchRequest | None:
        """Return what one search asks; None where no document is wanted."""
        k = whole("top_k", self.top_k if top_k is None else top_k, 0)
        condition = condition_of(apply_filter_policy(self.filter_policy, self.filters, filters))
        options: Options = {**self._options, "k": k, "where": both(self._options.get("where"), condition)}
        if options.get("depth") is not None:
            options["depth"] = max(options["depth"] or 0, k)
        return SearchRequest(**options) if k else None


@contextmanager
def _haystack_errors() -> Iterator[None]:
    """Raise Haystack's own error for filters that cannot be used."""
    try:
        yield
    except FilterError as error:
        raise HaystackFilterError(str(error)) from error


def _passages(hits: Iterable[DocumentHit]) -> dict[str, list[Document]]:
    found = (found_one(plain_hit(hit)) for hit in hits)
    return {"documents": [Document(id=f.id, content=f.content, meta=f.metadata, score=f.score) for f in found]}


def _documents(found: list[tuple[DocumentHit, FrameworkDocument]]) -> dict[str, list[Document]]:
    answers = ((found_one(hit), kept) for hit, kept in found)
    return {"documents": [haystack_document(kept, {"meta": f.metadata, "score": f.score}) for f, kept in answers]}
