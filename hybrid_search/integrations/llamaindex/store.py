"""LlamaIndex's vector store over a collection."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.schema import BaseNode, NodeWithScore
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

from hybrid_search._util.arguments import listed, placed, text, texts
from hybrid_search.errors import CollectionNotFound, InvalidArgument
from hybrid_search.filters import Condition
from hybrid_search.integrations.collection_handle import LiveCollection, Work, plain_place, settings_of, shared_handle
from hybrid_search.integrations.dict_filters import both
from hybrid_search.integrations.llamaindex.filters import condition_of
from hybrid_search.integrations.llamaindex.nodes import document_of_node, node_of, node_with_evidence
from hybrid_search.integrations.llamaindex.query_options import MMR_THRESHOLD, options_of
from hybrid_search.integrations.roundtrip import kept_documents, kept_hits
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import CollectionReader, Store
from hybrid_search.ranking.mmr import mmr_by_similarity
from hybrid_search.search.open_collection import OpenCollection
from hybrid_search.search.request import Options, SearchRequest
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings

T = TypeVar("T")


class HybridSearchVectorStore(BasePydanticVectorStore):
    """Nodes in a collection, which encodes and searches their texts by itself.

    A node's id, text, metadata, relationships and class are kept, its embedding is not. A node without text is refused.
    `query` searches for `query_str` and gives whole nodes, in the order and with the scores of `Searcher.search`, and
    in their metadata where each leg placed them; modes and alpha: `query_options`, filters: `llamaindex.filters`.
    `delete`, `delete_nodes` and `get_nodes` by filters look at every document.

    Args:
        collection: its name; it is made by the first `add` where it is not there.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: or a dict of some of them; read from the environment and the config file when not given.
        wait_s: seconds to wait for another process that writes to the collection.
        options: of every query, by the keywords of `Searcher.search`: `mode`, `depth`, `fusion`, `rerank` and so on.
        making: of a new collection, by the keywords of `Indexer.open`: `profile`, `sparse`, `dense`, `legs`,
            `chunk_tokens` and so on.

    Raises:
        InvalidArgument: a name that no collection can have, or an option out of range.
    """

    stores_text: bool = True
    is_embedding_query: bool = False
    collection: str
    store: str | None = Field(default=None, repr=False)  # a URL can hold a password
    settings: dict[str, Any] | None = None
    wait_s: float = 0.0
    options: dict[str, Any] = Field(default_factory=dict)
    making: dict[str, Any] = Field(default_factory=dict)
    _live: LiveCollection = PrivateAttr()

    def __init__(
        self,
        collection: str,
        *,
        store: str | Path | Store | None = None,
        settings: Settings | Mapping[str, Any] | None = None,
        wait_s: float = 0.0,
        options: Mapping[str, Any] | None = None,
        making: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> None:
        SearchRequest(**{"k": 1, **(options or {})})
        place: dict[str, Any] = {"store": store, "settings": settings_of(settings)}
        open_store = store is not None and not isinstance(store, (str, Path))
        super().__init__(
            collection=collection,
            **plain_place(**{**place, **({"store": None} if open_store else {})}),
            wait_s=wait_s,
            options=dict(options or {}),
            making=dict(making or {}),
            **{name: value for name, value in given.items() if name not in ("stores_text", "is_embedding_query")},
        )
        self._live = shared_handle(collection, **place)

    @classmethod
    def class_name(cls) -> str:
        return "HybridSearchVectorStore"

    @property
    def client(self) -> LiveCollection:
        """The collection."""
        return self._live

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Index nodes; those of an id that is there are replaced. All are checked before the first is written.

        Returns:
            Their ids.

        Raises:
            InvalidArgument: one node instead of several, one without text, with metadata that is not JSON, or with the
                id of another. Nothing was written.
        """
        if isinstance(nodes, BaseNode):
            raise InvalidArgument("nodes is one node; give a list: add([node]).")
        given = listed("nodes", nodes, "nodes", "add([TextNode(text={})])")
        documents = []
        for place, node in enumerate(given):
            with placed("nodes", place):
                documents.append(document_of_node(node))
        if documents:
            self._live.add(documents, wait_s=self.wait_s, **self.making)
        return [node.node_id for node in given]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Remove the nodes that come from a document."""
        self._remove(condition_of(None, ref_doc_ids=[text("ref_doc_id", ref_doc_id)]))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Remove nodes by id, by filters, or those that satisfy both.

        Raises:
            InvalidArgument: neither is given; `clear` removes all.
        """
        if node_ids is None and (filters is None or not filters.filters):
            raise InvalidArgument("delete_nodes needs node ids or filters; clear() removes all nodes.")
        if filters is None or not filters.filters:
            self._live.remove(texts("node_ids", node_ids), wait_s=self.wait_s)
        else:
            self._remove(condition_of(filters, node_ids=node_ids))

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Nodes by id, in that order, by filters, or those that satisfy both; all of them where neither is given."""
        if node_ids is not None and filters is None:
            wanted = list(dict.fromkeys(texts("node_ids", node_ids)))
            return self._read(lambda _, opened: [node_of(kept) for kept in kept_documents(opened.reader, wanted)])
        condition = condition_of(filters, node_ids=node_ids)
        return self._read(
            lambda _, opened: [node_of(kept) for kept in kept_documents(opened.reader, condition=condition)]
        )

    def clear(self) -> None:
        """Remove all nodes; the collection keeps its models."""
        self._live.remove(None, wait_s=self.wait_s)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Search for `query_str`.

        Args:
            query: its embedding is not looked at.
            kwargs: options of this search, by the keywords of `Searcher.search`; they go before the store's own.
        """
        return _result(self._read(partial(self._answers, query, kwargs)))

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Do as `query`; the event loop goes on meanwhile."""
        try:
            return _result(await self._live.aask(partial(self._answers, query, kwargs)))
        except CollectionNotFound:
            return _result([])

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aclear(self) -> None:
        await asyncio.to_thread(self.clear)

    def _read(self, work: Work[list[T]]) -> list[T]:
        """Return what is found; nothing where the collection is not there (yet)."""
        try:
            return self._live.ask(work)
        except CollectionNotFound:
            return []

    def _answers(
        self, query: VectorStoreQuery, more: Mapping[str, Any], searcher: Searcher, opened: OpenCollection
    ) -> list[NodeWithScore]:
        request = self._asked(query, opened.reader.manifest, more)
        found = kept_hits(_text(query), request, searcher, opened)
        return _spread(query, more, [node_with_evidence(hit, kept) for hit, kept in found], opened.reader)

    def _asked(self, query: VectorStoreQuery, manifest: Manifest, more: Mapping[str, Any]) -> SearchRequest:
        given: dict[str, Any] = {**self.options, **more}
        given.pop("mmr_threshold", None)
        options = options_of(query, manifest, cast(Options, given))
        # Of an index over a store that keeps texts the ids are an empty list, which is not to mean: none of them.
        narrowed = condition_of(query.filters, node_ids=query.node_ids or None, ref_doc_ids=query.doc_ids or None)
        options["where"] = both(options.get("where"), narrowed)
        return SearchRequest(**options)

    def _remove(self, condition: Condition | None) -> None:
        found = self._read(lambda _, opened: [kept.id for kept in kept_documents(opened.reader, condition=condition)])
        self._live.remove(found, wait_s=self.wait_s)


def _spread(
    query: VectorStoreQuery, more: Mapping[str, Any], answers: list[NodeWithScore], reader: CollectionReader
) -> list[NodeWithScore]:
    """For MMR those that are unlike each other, of the others all."""
    if VectorStoreQueryMode(query.mode) != VectorStoreQueryMode.MMR or not answers:
        return answers
    places = [answer.node.metadata for answer in answers]
    leg = next(leg for leg, at in places[0]["legs"].items() if at is not None)
    vectors = reader.vectors(leg, [place["chunk_id"] for place in places])
    dim = reader.manifest.legs[leg].dim
    rows = np.stack([np.asarray(vectors.get(place["chunk_id"], np.zeros(dim)), np.float32) for place in places])
    threshold = query.mmr_threshold if query.mmr_threshold is not None else more.get("mmr_threshold", MMR_THRESHOLD)
    relevance = [place["legs"][leg]["score"] for place in places]
    return [answers[place] for place in mmr_by_similarity(relevance, rows, query.similarity_top_k, threshold)]


def _text(query: VectorStoreQuery) -> str:
    if not query.query_str:
        raise InvalidArgument("The query has no query_str; this store searches for texts, not for embeddings.")
    return str(query.query_str)


def _result(answers: list[NodeWithScore]) -> VectorStoreQueryResult:
    return VectorStoreQueryResult(
        nodes=[answer.node for answer in answers],
        similarities=[answer.score or 0.0 for answer in answers],
        ids=[answer.node.node_id for answer in answers],
    )
