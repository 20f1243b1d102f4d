"""Road two: query -> encodings -> legs -> fusion -> collapse -> rerank -> results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from typing_extensions import deprecated

from hybrid_search.collection.models import ModelSet, open_store_for
from hybrid_search.manifest import Manifest
from hybrid_search.protocols import CollectionReader, Reranker, Store
from hybrid_search.ranking.fusion import check_weights
from hybrid_search.results import Results, Term
from hybrid_search.search.explain_document import DocumentExplanation, explain_document
from hybrid_search.search.pipeline import OpenCollection, build_results
from hybrid_search.search.reader_manager import CollectionOpener, ReaderManager, T, open_collection, run_in_pool
from hybrid_search.search.request import HYBRID, Options, SearchRequest, check_queries, resolve_mode
from hybrid_search.search.rerank import RerankerCache
from hybrid_search.search.retrieval import RetrievedQuery, expand_query, retrieve_batches, with_query_weights
from hybrid_search.settings import Settings, load_settings
from hybrid_search.types import LegName, Mode

if TYPE_CHECKING:
    from typing_extensions import Unpack


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
        self._threads = ThreadPoolExecutor(max_workers=max(2, len(models.encoders)), thread_name_prefix="encode")
        self._ahead = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead")
        self._beside = ThreadPoolExecutor(max_workers=reader.max_concurrency, thread_name_prefix="asearch")
        pools = (self._threads, self._ahead, self._beside)
        self._latest = ReaderManager(open_collection(collection, reader, models.encoders), renew, pools)

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
        follow: bool = True,
    ) -> Searcher:
        """Open a collection for searching; its models are loaded on the first search, or by `warm_up()`.

        Args:
            collection: its name.
            store: a folder, a server's URL, or an open store; the settings' store when not given.
            settings: read from the environment and the config file when not given.
            profile: refuse a collection that was built with another one; `auto` takes any.
            sparse: refuse a collection whose sparse leg has another model.
            dense: the same for the dense leg.
            follow: search what the collection is at each search; False: in a folder, what it is now. Of a server's
                collection no earlier state is kept.

        Raises:
            CollectionNotFound: the store has none of this name.
            ManifestMismatch: it was built with other models than asked for, or a model's files have changed since.
            StoreUnavailable: the server does not answer.
        """
        settings = settings or load_settings()
        source = CollectionOpener(
            collection, open_store_for(store, settings), settings, profile, {"sparse": sparse, "dense": dense}
        )
        first = source.open()
        models = ModelSet(first.reader.manifest.profile, first.encoders)
        return cls(collection, first.reader, models, settings, source.open if follow else None)

    @property
    def manifest(self) -> Manifest:
        """That of the last search, or from when it was opened."""
        return self._latest.opened.reader.manifest

    def warm_up(self, mode: Mode = HYBRID, rerank: bool | str | None = None) -> None:
        """Load the models of a mode, and a re-ranker, now instead of on the first search."""
        opened = self._latest.run(lambda opened: opened)
        self._rerankers.get(rerank)
        for leg in resolve_mode(mode, opened.reader.manifest, self.collection)[1]:
            opened.encoders[leg].warm_up()

    def search(self, query: str, **options: Unpack[Options]) -> Results:
        """Find the k documents that answer a query best.

        Args:
            query: any text; longer than the models read is cut by them.
            options: keywords; `request.SearchRequest` says what each means, its unit and its default.

                k: documents wanted (10).
                mode: `hybrid`, a leg's name, or `a+b` (hybrid).
                depth: chunks that each leg hands on (100).
                fusion: `rrf`, `dbsf` or `minmax` (rrf).
                rrf_k: the constant of reciprocal rank fusion (60).
                weights: of the legs in the fusion, or `auto`: chosen for each query (1 each).
                rerank: True, or the name or folder of a cross-encoder, to re-rank with (None).
                rerank_depth: documents that it reads (50).
                rerank_budget_ms: milliseconds a query that it may take, loading the model not counted (None: no limit).
                offset: documents to pass over, for a second page (0).
                fold: leave out documents that say the same as one before them (False).
                highlight: mark what matches in the passages, and choose the window to show (True).
                explain: add the terms that matched and what each gave to the score (False).
                where: a filter, such as `"year >= 1990 and genres in ('drama', 'war')"`, or its tree (none).

        Returns:
            At most k hits, fewer only where fewer documents match. Hybrid over one leg is that leg alone, and
            `Results.mode` says so.

        Raises:
            InvalidArgument: no text or an empty one, an invalid option, a mode whose leg the collection lacks.
            PastTheEnd: an offset beyond the documents that are found.
            FilterError: a filter that cannot be read, or names a field that no document has.
            FusionError: weights or an rrf_k that are invalid.
            ModelError: a re-ranker that is unknown, or that cannot be loaded here.
            StoreError: the searcher has been closed, or was opened by another process.
        """
        return self.search_many([query], **options)[0]

    async def asearch(self, query: str, **options: Unpack[Options]) -> Results:
        """`search` beside the event loop, which goes on: it is not kept waiting for longer than 5 ms.

        Searches of one searcher that wait together take turns, which is as fast: each has all cores while it encodes.
        Loading models and opening a collection take longer; `warm_up()` before the loop begins does both.
        """
        return (await self.asearch_many([query], **options))[0]

    def search_many(self, queries: Sequence[str], **options: Unpack[Options]) -> list[Results]:
        """`search` for a list of queries, one result a query, in order, all of one state of the collection."""
        return self._latest.run(partial(self.answers, queries, options))

    async def asearch_many(self, queries: Sequence[str], **options: Unpack[Options]) -> list[Results]:
        """`search_many` beside the event loop."""
        return await run_in_pool(self._latest, self._beside, partial(self.answers, queries, options))

    def explain(self, query: str, doc_id: str, **options: Unpack[Options]) -> DocumentExplanation:
        """Explain why a document is, or is not, in the list that `search` gives with the same options."""
        return self._latest.run(partial(self._explain, query, doc_id, options))

    async def aexplain(self, query: str, doc_id: str, **options: Unpack[Options]) -> DocumentExplanation:
        """Explain as `explain` does, beside the event loop."""
        return await run_in_pool(self._latest, self._beside, partial(self._explain, query, doc_id, options))

    @deprecated("Searcher.why is called explain now.")
    def why(self, query: str, doc_id: str, **options: Unpack[Options]) -> DocumentExplanation:
        """Do what `explain` does, under its earlier name."""
        return self.explain(query, doc_id, **options)

    def expansion(self, query: str, leg: LegName = "sparse") -> tuple[Term, ...]:
        """What a sparse leg's model makes of a query, heaviest term first; InvalidArgument for other legs."""
        return self._latest.run(
            lambda open_collection: expand_query(query, leg, open_collection.encoders, self.collection)
        )

    def answers(self, queries: Sequence[str], options: Options, opened: OpenCollection) -> list[Results]:
        """`search_many` in the state that `within` gave to its work."""
        request, reranker, found = self._found(queries, options, opened)
        return [build_results(one, request, opened, reranker) for one in found]

    def _explain(self, query: str, doc_id: str, options: Options, opened: OpenCollection) -> DocumentExplanation:
        request, reranker, [found] = self._found([query], options, opened)
        request = with_query_weights(request, query, found.rankings, found.vectors, opened.encoders)
        return explain_document(doc_id, found, request, opened, reranker)

    def _found(
        self, queries: Sequence[str], options: Options, opened: OpenCollection
    ) -> tuple[SearchRequest, Reranker | None, Iterator[RetrievedQuery]]:
        """What is asked, checked before anything is encoded, the re-ranker for it, and the queries after retrieval."""
        request, queries = SearchRequest(**options), check_queries(queries)
        mode, legs = resolve_mode(request.mode, opened.reader.manifest, self.collection)
        check_weights(request.static_weights, legs if len(legs) > 1 else opened.shown)
        reranker = self._rerankers.get(request.rerank) if queries else None
        encoders = {leg: opened.encoders[leg] for leg in legs}
        return (
            request,
            reranker,
            retrieve_batches(queries, request, mode, opened.reader, encoders, self._threads, self._ahead),
        )

    def within(self, work: Callable[[OpenCollection], T]) -> T:
        """Do something with what is open, its reader and its encoders, all of one state; nothing of it may be kept."""
        return self._latest.run(work)

    async def awithin(self, work: Callable[[OpenCollection], T]) -> T:
        """`within` beside the event loop."""
        return await run_in_pool(self._latest, self._beside, work)

    def close(self) -> None:
        """Let no search in any more; those that have begun end as ever."""
        self._latest.close()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
