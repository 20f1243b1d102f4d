"""LlamaIndex's retriever over a collection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from hybrid_search._util.arguments import whole
from hybrid_search.errors import CollectionNotFound, InvalidArgument
from hybrid_search.integrations.collection_handle import ReadOnlyHandle, settings_of, shared_handle
from hybrid_search.integrations.dict_filters import both
from hybrid_search.integrations.hit_documents import found_one
from hybrid_search.integrations.llamaindex.filters import condition_of
from hybrid_search.integrations.llamaindex.nodes import node_with_evidence, passage_node
from hybrid_search.integrations.llamaindex.store import HybridSearchVectorStore
from hybrid_search.integrations.roundtrip import FrameworkDocument, kept_hits, plain_hit
from hybrid_search.protocols import Store
from hybrid_search.results import DocumentHit
from hybrid_search.search.request import SearchRequest
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hybrid_search.search.request import Options


class HybridSearchRetriever(BaseRetriever):
    """Searches a collection: all legs, filters and re-ranking, in the order and with the scores of `Searcher.search`.

    What it gives: of a `HybridSearchVectorStore` its nodes, whole; of any other collection the best passage of each
    document, a `TextNode` whose id is the passage's and whose source is the document. The metadata has, besides the
    document's own, where each leg placed it and everything that `hit_documents.EVIDENCE` names; it is kept out of
    prompts. The score is that of fusion; re-ranked nodes stand in the order of `metadata["rerank_score"]`.

    Args:
        collection: a name, an open searcher, or a vector store.
        similarity_top_k: documents wanted.
        store: a folder, a server's URL, or an open store; the settings' store when not given. For a name only.
        settings: or a dict of some of them. For a name only.
        filters: for every search.
        callback_manager, object_map, objects, verbose: as of any retriever.
        options: of every search, by the keywords of `Searcher.search` but `k`: `mode`, `depth`, `fusion`, `rrf_k`,
            `weights`, `rerank`, `where` and so on.

    Raises:
        InvalidArgument: an option out of range, or one that a searcher or a store has already.
        FilterError: filters that are invalid.
    """

    def __init__(
        self,
        collection: str | Searcher | HybridSearchVectorStore,
        similarity_top_k: int = 10,
        *,
        store: str | Path | Store | None = None,
        settings: Settings | Mapping[str, Any] | None = None,
        filters: MetadataFilters | None = None,
        callback_manager: CallbackManager | None = None,
        object_map: dict[Any, Any] | None = None,
        objects: list[Any] | None = None,
        verbose: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(callback_manager=callback_manager, object_map=object_map, objects=objects, verbose=verbose)
        if not isinstance(collection, str) and not (store is None and settings is None):
            raise InvalidArgument("store and settings go with a collection's name; a searcher or a store has its own.")
        if "k" in options:
            raise InvalidArgument("k is called similarity_top_k here.")
        whole("similarity_top_k", similarity_top_k, 1)
        where = both(options.get("where"), condition_of(filters))
        asked: Options = {**options, "k": similarity_top_k, "where": where}
        self._request = SearchRequest(**asked)
        self._whole = isinstance(collection, HybridSearchVectorStore)
        if isinstance(collection, HybridSearchVectorStore):
            self._live = collection.client
        elif isinstance(collection, Searcher):
            self._live = ReadOnlyHandle(collection)
        else:
            self._live = shared_handle(collection, store, settings_of(settings))

    def warm_up(self) -> None:
        """Load the models now instead of on the first search."""
        with self._live.use() as searcher:
            searcher.warm_up(self._request.mode, self._request.rerank)

    async def awarm_up(self) -> None:
        """Do as `warm_up`; the event loop goes on meanwhile."""
        await asyncio.to_thread(self.warm_up)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        query = query_bundle.query_str
        if not self._whole:
            return _passages(self._live.search(query, self._request))
        with suppress(CollectionNotFound):
            return _nodes(self._live.ask(partial(kept_hits, query, self._request)))
        return []

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        query = query_bundle.query_str
        if not self._whole:
            return _passages(await self._live.asearch(query, self._request))
        with suppress(CollectionNotFound):
            return _nodes(await self._live.aask(partial(kept_hits, query, self._request)))
        return []


def _nodes(found: Iterable[tuple[DocumentHit, FrameworkDocument]]) -> list[NodeWithScore]:
    return [node_with_evidence(hit, kept) for hit, kept in found]


def _passages(hits: Iterable[DocumentHit]) -> list[NodeWithScore]:
    return [passage_node(found_one(plain_hit(hit))) for hit in hits]
