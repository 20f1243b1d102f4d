"""Road two: query -> encodings -> legs -> fusion -> collapse -> rerank -> results."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType

from typing_extensions import Unpack, deprecated

from hybrid_search.collection.models import ModelSet, open_store_for
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import CollectionReader, Store
from hybrid_search.results import Results, Term
from hybrid_search.search.defaults import with_defaults
from hybrid_search.search.expand_query import expand_query
from hybrid_search.search.explain_document import DocumentExplanation, explain_document
from hybrid_search.search.open_collection import OpenCollection, open_collection
from hybrid_search.search.pipeline import build_results
from hybrid_search.search.reader_manager import CollectionOpener, ReaderManager, T, run_in_pool
from hybrid_search.search.request import HYBRID, CommonKeywords, Keywords, SearchRequest, request_of, resolve_mode
from hybrid_search.search.rerank import RerankerCache
from hybrid_search.search.retrieval import retrieve_queries, retrieve_vector, search_threads
from hybrid_search.search.weighted_query import Queries
from hybrid_search.settings import Settings, load_settings
from hybrid_search.types import LegName, Mode


class Searcher(AbstractContextManager["Searcher"]):
    """Searches one collection with the models it was built with. Safe in many threads; in a fork it refuses.

    It follows its collection: what another process publishes, or builds anew, is there for the next search.
    """

    def __init__(
        self,
        collection: str,
        reader: CollectionReader,
        models: ModelSet,
        settings: Settings | None = None,
        renew: Callable[[OpenCollection], OpenCollection] | None = None,
    ) -> None:
        self.collection = collection
        self._rerankers = RerankerCache(settings)
        self._threads = search_threads(len(models.encoders), reader.max_concurrency)
        self._latest = ReaderManager(open_collection(collection, reader, models.encoders), renew, self._threads)

    @classmethod
    def open(
        cls,
        collection: str,
        *,
        store: str | Path | Store | None = None,
        settings: Settings | None = None,
        profile: str = "auto",
        sparse: str | None = None,
        dense: str | None = None,
        refresh: bool = True,
        models: ModelSet | None = None,
        follow: bool | None = None,
    ) -> Searcher:
        """Open a collection for searching; its models are loaded on the first search, or by `warm_up()`.

        Args:
            collection: its name.
            store: a folder, a server's URL, or an open store; the settings' store when not given.
            settings: read from the environment and the config file when not given.
            profile: refuse a collection that was built with another one; `auto` takes any.
            sparse: refuse a collection whose sparse leg has another model.
            dense: the same for the dense leg.
            refresh: search what the collection is at each search; False: in a folder, what it is now. Of a server's
                collection no earlier state is kept.
            models: open ones, of which those that the collection was built with are taken over.
            follow: the earlier name of `refresh`.

        Raises:
            CollectionNotFound: the store has none of this name.
            ManifestMismatch: it was built with other models than asked for, or a model's files have changed since.
            StoreUnavailable: the server does not answer.
        """
        if follow is not None:
            warnings.warn("Searcher.open's follow is called refresh now.", DeprecationWarning, stacklevel=2)
            refresh = follow
        settings = settings or load_settings()
        names = {"sparse": sparse, "dense": dense}
        opener = CollectionOpener(collection, open_store_for(store, settings), settings, profile, names)
        opened = opener.open(known=models.encoders.values() if models else ())
        models = ModelSet(opened.reader.manifest.profile, opened.encoders)
        return cls(collection, opened.reader, models, settings, opener.open if refresh else None)

    @property
    def manifest(self) -> Manifest:
        """Return that of the last search, or from when it was opened."""
        return self._latest.opened.reader.manifest

    def warm_up(self, mode: Mode = HYBRID, rerank: bool | str | None = None) -> None:
        """Load the models of a mode, and a re-ranker, now instead of on the first search."""
        opened = self._within(lambda current: current)
        self._rerankers.get(rerank)
        for leg in resolve_mode(mode, opened.reader.manifest, self.collection)[1]:
            opened.encoders[leg].warm_up()

    def search(self, query: str, **options: Unpack[Keywords]) -> Results:
        """Find the k documents that answer a query best.

        Args:
            query: any text; longer than the models read is cut by them.
            options: keywords, such as `k=5`, `mode="sparse"` or `where="year >= 1990"`. They are the fields of
                `search.request.SearchRequest`, which says what each means, its range and its default; one of these is
                taken as `request`, instead.

        Returns:
            At most k hits, fewer only where fewer match. Hybrid over one leg is that leg alone; `Results.mode` says so.

        Raises:
            InvalidArgument: no text or an empty one, an invalid option, a mode whose leg the collection lacks.
            PastTheEnd: an offset beyond the documents that are found.
            FilterError, FusionError: a filter, or weights and `rrf_k`, that are invalid.
            ModelError: a re-ranker that is unknown, or that cannot be loaded here.
            StoreError: the searcher has been closed, or was opened by another process.
        """
        return self.search_many([query], **options)[0]

    async def asearch(self, query: str, **options: Unpack[Keywords]) -> Results:
        """Search as `search` does, beside the event loop, which is not kept waiting for longer than 5 ms.

        Searches that wait together take turns, which is as fast: each has all cores while it encodes. Loading models
        and opening a collection take longer; `warm_up()` before the loop begins does both.
        """
        return (await self.asearch_many([query], **options))[0]

    def search_many(self, queries: Queries, **options: Unpack[Keywords]) -> list[Results]:
        """Search for each of several queries, one result a query, in order, all of one state of the collection."""
        return self._latest.run(partial(self._answers, queries, request_of(options)))

    async def asearch_many(self, queries: Queries, **options: Unpack[Keywords]) -> list[Results]:
        """Search as `search_many` does, beside the event loop."""
        return await self._awithin(partial(self._answers, queries, request_of(options)))

    def search_by_vector(
        self, vector: Sequence[float], leg: LegName | None = None, **options: Unpack[CommonKeywords]
    ) -> Results:
        """Find the documents whose chunks are nearest to a vector in a dense leg: the one named, or the first there is.

        Raises as `search`, and InvalidArgument for `rerank` and `explain`, which take the text of a query.
        """
        return self._latest.run(partial(self._nearest, vector, leg, request_of(options)))

    def explain(self, query: str, doc_id: str, **options: Unpack[Keywords]) -> DocumentExplanation:
        """Explain why a document is, or is not, in the list that `search` gives with the same options."""
        return self._latest.run(partial(self._explain, query, doc_id, request_of(options)))

    async def aexplain(self, query: str, doc_id: str, **options: Unpack[Keywords]) -> DocumentExplanation:
        """Explain as `explain` does, beside the event loop."""
        return await self._awithin(partial(self._explain, query, doc_id, request_of(options)))

    @deprecated("Searcher.why is called explain now.")
    def why(self, query: str, doc_id: str, **options: Unpack[Keywords]) -> DocumentExplanation:
        """Do what `explain` does, under its earlier name."""
        return self.explain(query, doc_id, **options)

    def expansion(self, query: str, leg: LegName = "sparse") -> tuple[Term, ...]:
        """Return what a sparse leg's model makes of a query, heaviest term first; InvalidArgument for other legs."""
        return self._latest.run(partial(expand_query, query, leg)).terms

    def _answers(self, queries: Queries, request: SearchRequest, opened: OpenCollection) -> list[Results]:
        request = with_defaults(request, opened.reader.manifest, queries)
        retrieved = retrieve_queries(queries, request, opened, self._threads)
        reranker = self._rerankers.asked_by(request) if queries else None
        return [build_results(query, request, opened, reranker) for query in retrieved]

    def _nearest(
        self, vector: Sequence[float], leg: LegName | None, request: SearchRequest, opened: OpenCollection
    ) -> Results:
        request = with_defaults(request.with_values(highlight=False), opened.reader.manifest)
        return build_results(retrieve_vector(vector, leg, request, opened), request, opened, None)

    def _explain(self, query: str, doc_id: str, request: SearchRequest, opened: OpenCollection) -> DocumentExplanation:
        request = with_defaults(request, opened.reader.manifest, [query])
        queries = retrieve_queries([query], request, opened, self._threads)
        reranker = self._rerankers.asked_by(request)
        return explain_document(doc_id, next(queries), request, opened, reranker)

    def _within(self, work: Callable[[OpenCollection], T]) -> T:
        """Do something with what is open, its reader and its encoders, all of one state; nothing of it may be kept."""
        return self._latest.run(work)

    async def _awithin(self, work: Callable[[OpenCollection], T]) -> T:
        """Do as `_within`, beside the event loop."""
        return await run_in_pool(self._latest, self._threads.beside, work)

    def close(self) -> None:
        """Let no search in any more; those that have begun end as ever."""
        self._latest.close()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
