"""A collection as LangChain's vector store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast
from uuid import uuid4

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import run_in_executor
from langchain_core.vectorstores import VectorStore
from typing_extensions import Self

from hybrid_search._util import arguments
from hybrid_search._util.arguments import listed, same_length, shown, text, whole
from hybrid_search.collection.documents import all_payloads, document_from
from hybrid_search.errors import CollectionNotFound, InvalidArgument
from hybrid_search.integrations.collection_handle import (
    LiveCollection,
    StoreLocation,
    resolve_handle,
    unless_empty,
)
from hybrid_search.integrations.langchain.documents import (
    passage_document,
    request_of,
    taken_document,
    written_document,
)
from hybrid_search.integrations.relevance import relevances
from hybrid_search.protocols import DenseEncoder
from hybrid_search.ranking.mmr import mmr
from hybrid_search.results import DocumentHit, Results
from hybrid_search.search.open_collection import OpenCollection
from hybrid_search.search.request import SearchRequest, dense_leg
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.types import DenseVector, LegName
from hybrid_search.types import Document as Written

T = TypeVar("T")

WAIT_S = 60.0
"""How long a write waits for another process that writes to the same collection."""


class HybridSearchVectorStore(VectorStore):
    """Documents under their ids, found by every leg of the collection at once.

        store = HybridSearchVectorStore("notes", profile="bundled")
        store.add_documents(documents, ids=ids)
        store.similarity_search("what did we decide", k=4, where={"year": 2026}, rerank=True)

    A document of LangChain is one of ours, whole: what was put in comes back, with its own metadata. With `passages`
    it is what `HybridSearchRetriever` gives: the best passage, with the evidence in the metadata. `title` in the
    metadata is read together with every chunk of the text, and `source` is shown as the origin. Metadata are JSON.

    The collection has models of its own, which are recorded in it: an `embedding` is refused, wherever LangChain passes
    one; give None. `embeddings` are those of its dense leg. A collection that is not there is an empty store, and is
    made by the first call that adds.

    Every call that adds or deletes publishes once, and is then seen by all: many documents a call are cheaper than many
    calls. Searches go on meanwhile, and find all of the call or nothing. It works with `langchain_core.indexing.index`,
    whose batch is a call: take a `batch_size` of 1,000 or more.

    Args:
        collection: its name; or `searcher`, an open `Searcher`, through which nothing can be written.
        embedding: None.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        passages: return passages with their evidence; may be given to each search too.
        wait_s: seconds that a write waits for another process that writes to the collection.
        profile: of a collection that is not there yet; see `Indexer.open`, as for the next five.
        options: of every search, where it is not called with others: those of `Searcher.search` but k.

    Raises:
        InvalidArgument: an embedding; an option that is invalid; neither collection nor searcher, or both.
        HybridSearchError: on a call, whatever `Indexer.index`, `Searcher.open` and `Searcher.search` raise.
    """

    def __init__(
        self,
        collection: str | None = None,
        embedding: None = None,
        *,
        searcher: Searcher | None = None,
        store: StoreLocation = None,
        settings: Settings | None = None,
        passages: bool = False,
        wait_s: float = WAIT_S,
        profile: str = "auto",
        sparse: str | None = None,
        dense: str | None = None,
        legs: Sequence[str] | None = None,
        chunk_tokens: int | None = None,
        overlap_tokens: int | None = None,
        **options: Any,
    ) -> None:
        if embedding is not None:
            raise InvalidArgument(
                f"The collection has models of its own, so {type(embedding).__name__} cannot be its embedding. Give "
                "None, and choose models with profile, sparse and dense when the collection is made."
            )
        if "k" in options:
            raise InvalidArgument("k is given with each search, or to as_retriever: search_kwargs={'k': 4}.")
        request_of(options)
        self._live: LiveCollection = resolve_handle(collection, searcher, store, settings)
        self._options: dict[str, Any] = options
        self._passages, self._wait_s = passages, wait_s
        self._asked: dict[str, Any] = {
            "profile": profile,
            "sparse": sparse,
            "dense": dense,
            "legs": legs,
            "chunk_tokens": chunk_tokens,
            "overlap_tokens": overlap_tokens,
        }

    @property
    def embeddings(self) -> HybridSearchEmbeddings:
        """The model of the collection's dense leg, which is opened when it is first used."""
        return HybridSearchEmbeddings(self._live)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make a vector store with these texts; keywords are those of the class, `collection` among them."""
        made = cls(embedding=cast(None, embedding), **kwargs)
        made.add_texts(texts, metadatas, ids=ids)
        return made

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any] | None] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts and their metadata, as `add_documents` does."""
        given = arguments.texts("texts", texts, "add_texts([{}])")
        beside = [None] * len(given) if metadatas is None else listed("metadatas", metadatas, "dicts")
        same_length(given, "documents", metadatas=beside)
        for place, metadata in enumerate(beside):
            if not (metadata is None or isinstance(metadata, Mapping)):
                raise InvalidArgument(f"metadatas[{place}] is {shown(metadata)}; it must be a dict, or None.")
        documents = [
            Document(page_content=text, metadata=dict(metadata or {}))
            for text, metadata in zip(given, beside, strict=True)
        ]
        return self.add_documents(documents, ids=ids, **kwargs)

    def add_documents(
        self, documents: Sequence[Document], *, ids: Sequence[str | None] | None = None, **kwargs: Any
    ) -> list[str]:
        """Write documents, in place of those that have their ids, and publish them. All are checked before.

        Args:
            documents: no two of one id.
            ids: else each document's own; where there is none it gets a new one.
            kwargs: `batch_size` is taken for LangChain's sake, and not needed.

        Returns:
            The id of each.

        Raises:
            InvalidArgument: one document instead of several, another number of ids than of documents, an id that stands
                twice, no text, metadata that are no JSON, or a keyword that is not known. Nothing was written.
        """
        if kwargs.keys() - {"batch_size"}:
            raise InvalidArgument(f"{', '.join(sorted(kwargs.keys() - {'batch_size'}))}: not known to add_documents.")
        documents = _documents(documents)
        given = [document.id for document in documents] if ids is None else listed("ids", ids)
        same_length(documents, "documents", ids=given)
        named = [str(uuid4()) if not doc_id else text(f"ids[{at}]", doc_id) for at, doc_id in enumerate(given)]
        if documents:
            taken = [taken_document(document, doc_id) for doc_id, document in zip(named, documents, strict=True)]
            self._live.add(taken, wait_s=self._wait_s, **self._asked)
        return named

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Remove documents by their ids, or all of them where None are given, and publish that. Always True.

        Ids that are not there are passed over.
        """
        self._live.remove(None if ids is None else arguments.texts("ids", ids, "delete([{}])"), wait_s=self._wait_s)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Whole documents, in the order of the ids, each once; ids that are not there are passed over.

        A text longer than a chunk has as many spaces or line ends where it was cut as white space was there.
        """
        wanted = dict.fromkeys(arguments.texts("ids", ids, "get_by_ids([{}])"))
        return self._ask(lambda _, opened: [written_document(found) for found in _whole(opened, wanted).values()])

    def similarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        """Find the k documents that answer a query best.

        Args:
            query: any text.
            k: documents wanted.
            options: those of `Searcher.search`; `filter` is `where`; `passages` as for the class.
        """
        return [document for document, _ in self._found(query, k, options)]

    def similarity_search_with_score(self, query: str, k: int = 4, **options: Any) -> list[tuple[Document, float]]:
        """Find the same with their scores after fusion: higher is better, comparable within one answer."""
        return [(document, hit.score) for document, hit in self._found(query, k, options)]

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **options: Any) -> list[Document]:
        """Find the k documents whose chunks are nearest to a vector in the dense leg; see `embeddings`."""
        wanted, passages = self._wanted(k, options)

        def found(searcher: Searcher, opened: OpenCollection) -> list[Document]:
            results = searcher._nearest(embedding, None, wanted, opened)
            return [document for document, _ in _told(results, opened, passages)]

        return self._ask(found)

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        """Of the `fetch_k` documents that a search finds k that do not repeat each other.

        How near they are to the query and to each other is the cosine of the dense leg's vectors, of each document's
        best chunk; see `ranking/mmr.py`. With `lambda_mult` 1 nearness to the query alone counts, with 0 being
        different alone.
        """
        wanted, passages = self._wanted(max(whole("k", k, 1), whole("fetch_k", fetch_k, 1)), options)

        def found(searcher: Searcher, opened: OpenCollection) -> list[Document]:
            leg = _dense(opened)
            [results] = searcher._answers([query], wanted, opened)
            if not query.strip():
                raise InvalidArgument("Nearness to a query takes its text: give one, and vector beside it.")
            vector = _encoder(opened).encode_queries([query])[0]
            return _diverse(results, opened, leg, vector, k, lambda_mult, passages)

        return self._ask(found)

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        """Do the same for the documents that are nearest to a vector in the dense leg."""
        wanted, passages = self._wanted(max(whole("k", k, 1), whole("fetch_k", fetch_k, 1)), options)

        def found(searcher: Searcher, opened: OpenCollection) -> list[Document]:
            leg = _dense(opened)
            results = searcher._nearest(embedding, leg, wanted, opened)
            return _diverse(results, opened, leg, np.asarray(embedding, np.float32), k, lambda_mult, passages)

        return self._ask(found)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Scores in 0..1, near 0 for what is not related to the query: see `integrations.relevance`."""
        kwargs.pop("score_threshold", None)
        wanted, passages = self._wanted(k, kwargs)

        def found(searcher: Searcher, opened: OpenCollection) -> list[tuple[Document, float]]:
            [results] = searcher._answers([query], wanted, opened)
            documents = [document for document, _ in _told(results, opened, passages)]
            return list(zip(documents, relevances(query, results, opened), strict=True))

        return self._ask(found)

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return await run_in_executor(None, self._similarity_search_with_relevance_scores, query, k, **kwargs)

    def _found(self, query: str, k: int, options: dict[str, Any]) -> list[tuple[Document, DocumentHit]]:
        wanted, passages = self._wanted(k, options)
        return self._ask(
            lambda searcher, opened: _told(searcher._answers([query], wanted, opened)[0], opened, passages)
        )

    def _ask(self, found: Callable[[Searcher, OpenCollection], list[T]]) -> list[T]:
        """Return what is found in the collection as it is now: nothing where it is not there, or is empty."""
        try:
            return self._live.ask(lambda searcher, opened: unless_empty(opened, partial(found, searcher, opened)))
        except CollectionNotFound:
            return []

    def _wanted(self, k: int, options: dict[str, Any]) -> tuple[SearchRequest, bool]:
        given = {**self._options, **options, "k": k}
        if options.get("filter") is not None and options.get("where") is None:
            given.pop("where", None)
        passages = given.pop("passages", self._passages)
        return request_of(given), bool(passages)


class HybridSearchEmbeddings(Embeddings):
    """The model of a collection's dense leg, to embed with what its documents were embedded with.

    Raises:
        CollectionNotFound: on a call: there is no such collection yet.
        InvalidArgument: on a call: it has no dense leg.
    """

    def __init__(self, live: LiveCollection) -> None:
        self._live = live

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Of each text a vector of length 1."""
        given = arguments.texts("texts", texts, "embed_documents([{0}]), or embed_query({0})")
        found = self._live.ask(lambda _, opened: _encoder(opened).encode_documents(given))
        return cast("list[list[float]]", found.tolist())

    def embed_query(self, text: str) -> list[float]:
        """Of a query a vector of length 1."""
        given = arguments.text("text", text)
        found = self._live.ask(lambda _, opened: _encoder(opened).encode_queries([given]))
        return cast("list[float]", found[0].tolist())


def _told(results: Results, opened: OpenCollection, passages: bool) -> list[tuple[Document, DocumentHit]]:
    """Return the hits as LangChain's documents."""
    if passages:
        return [(passage_document(hit), hit) for hit in results]
    whole = _whole(opened, [hit.doc_id for hit in results])
    return [(written_document(whole.get(hit.doc_id) or _best_of(hit)), hit) for hit in results]


def _whole(opened: OpenCollection, doc_ids: Iterable[str]) -> dict[str, Written]:
    documents = map(document_from, all_payloads(opened.reader, doc_ids))
    return {document.doc_id: document for document in documents}


def _best_of(hit: DocumentHit) -> Written:
    """Return what is there of a document whose writing has not come to its end."""
    return Written(hit.doc_id, hit.passages[0].text, hit.title, hit.metadata)


def _diverse(
    results: Results,
    opened: OpenCollection,
    leg: LegName,
    query: DenseVector,
    k: int,
    lambda_mult: float,
    passages: bool,
) -> list[Document]:
    found = opened.reader.vectors(leg, [hit.passages[0].chunk_id for hit in results])
    hits = [hit for hit in results if hit.passages[0].chunk_id in found]
    vectors = [cast(DenseVector, found[hit.passages[0].chunk_id]) for hit in hits]
    places = mmr(query, np.array(vectors).reshape(len(hits), -1), k, lambda_mult)
    chosen_hits = replace(results, hits=tuple(hits[place] for place in places))
    return [document for document, _ in _told(chosen_hits, opened, passages)]


def _dense(opened: OpenCollection) -> LegName:
    return dense_leg(opened.reader.manifest, opened.collection)


def _encoder(opened: OpenCollection) -> DenseEncoder:
    return cast(DenseEncoder, opened.encoders[_dense(opened)])


def _documents(given: object) -> list[Document]:
    """Return the documents that are to be added.

    Raises:
        InvalidArgument: one instead of several, or something else.
    """
    if isinstance(given, Document):
        raise InvalidArgument("documents is one document; give a list: add_documents([document]).")
    found = listed("documents", given, "documents", "add_texts([{}])")
    for place, document in enumerate(found):
        if not isinstance(document, Document):
            raise InvalidArgument(f"documents[{place}] is {shown(document)}; it must be a Document of LangChain.")
    return found
