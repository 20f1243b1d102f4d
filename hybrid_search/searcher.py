"""Road two: query -> encodings -> legs -> fusion -> collapse -> rerank -> results."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from hybrid_search.answering import Opened, answer
from hybrid_search.asking import HYBRID, Options, Request, check_queries, legs_of
from hybrid_search.errors import StoreError
from hybrid_search.legs import Retrieved, expanded, retrieved, weighed
from hybrid_search.manifest import Manifest
from hybrid_search.profiles import Models, check_same, open_place, reopen
from hybrid_search.protocols import CollectionReader, Reranker, Store
from hybrid_search.ranking.fusion import check_weights
from hybrid_search.reranking import Rerankers
from hybrid_search.results import Results, Term
from hybrid_search.settings import Settings, load_settings
from hybrid_search.types import LEGS, LegName, Mode, in_order
from hybrid_search.why import Why, follow

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Searcher:
    """Searches one collection with the models it was built with.

    Safe to use from many threads; not across a fork. It answers from the collection as it was when opened.
    """

    def __init__(
        self, collection: str, reader: CollectionReader, models: Models, settings: Settings | None = None
    ) -> None:
        self.collection = collection
        self._reader = reader
        self._encoders = models.encoders
        self._shown = in_order({*LEGS, *models.encoders})
        self._rerankers = Rerankers(settings)
        self._idf: dict[LegName, dict[int, float]] = {}
        self._pid = os.getpid()
        self._closed = False
        self._threads = ThreadPoolExecutor(max_workers=len(self._shown), thread_name_prefix="encode")
        self._ahead = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead")

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
    ) -> Searcher:
        """Open a collection for searching; its models are loaded on the first search, or by `warm_up()`.

        Args:
            collection: its name.
            store: a folder, a server's URL, or an open store; the settings' store when not given.
            settings: read from the environment and the config file when not given.
            profile: refuse a collection that was built with another one; `auto` takes any.
            sparse: refuse a collection whose sparse leg has another model.
            dense: the same for the dense leg.

        Raises:
            CollectionNotFound: the store has none of this name.
            ManifestMismatch: it was built with other models than asked for, or a model's files have changed since.
            StoreUnavailable: the server does not answer.
        """
        settings = settings or load_settings()
        reader = open_place(store, settings).reader(collection)
        try:
            check_same(collection, reader.manifest, profile, {"sparse": sparse, "dense": dense})
            return cls(collection, reader, reopen(collection, reader.manifest, settings), settings)
        except BaseException:
            reader.close()
            raise

    @property
    def manifest(self) -> Manifest:
        return self._reader.manifest

    def warm_up(self, mode: Mode = HYBRID, rerank: bool | str | None = None) -> None:
        """Load the models of a mode, and a re-ranker, now instead of on the first search."""
        self._rerankers.get(rerank)
        for leg in legs_of(mode, self.manifest, self.collection)[1]:
            self._encoders[leg].warm_up()

    def search(self, query: str, **options: Unpack[Options]) -> Results:
        """Find the k documents that answer a query best.

        Args:
            query: any text; longer than the models read is cut by them.
            options: keywords; `asking.Request` says what each means, its unit and its default.

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
            InvalidArgument: an empty query, an option out of range, a mode whose leg the collection lacks.
            PastTheEnd: an offset beyond the documents that are found.
            FilterError: a filter that cannot be read, or names a field that no document has.
            FusionError: weights or rrf_k that cannot be meant.
            ModelError: a re-ranker that is unknown, or that cannot be loaded here.
            StoreError: the searcher has been closed, or was opened by another process.
        """
        return self.search_many([query], **options)[0]

    async def asearch(self, query: str, **options: Unpack[Options]) -> Results:
        """`search` in a thread, so that the event loop goes on."""
        import asyncio  # a fifth of what this module takes to import, and no use to most

        return await asyncio.to_thread(self.search, query, **options)

    def search_many(self, queries: Sequence[str], **options: Unpack[Options]) -> list[Results]:
        """`search` for many queries, one result a query, in order.

        They are encoded and retrieved in batches, and one batch is encoded while the answers to the one before it are
        put together.
        """
        request, reranker = self._asked(queries, options)
        return [answer(found, request, self.opened(), reranker) for found in self._retrieved(queries, request)]

    def why(self, query: str, doc_id: str, **options: Unpack[Options]) -> Why:
        """Why a document is, or is not, in the list that `search` gives with the same options."""
        request, reranker = self._asked([query], options)
        [found] = self._retrieved([query], request)
        request = weighed(request, query, found.rankings, found.vectors, self._encoders)
        return follow(doc_id, found, request, self.opened(), reranker)

    def expansion(self, query: str, leg: LegName = "sparse") -> tuple[Term, ...]:
        """What a sparse leg's model makes of a query, heaviest term first; InvalidArgument for other legs."""
        self._require_open()
        return expanded(query, leg, self._encoders, self.collection)

    def _asked(self, queries: Sequence[str], options: Options) -> tuple[Request, Reranker | None]:
        """What is asked, checked before anything is encoded, and the re-ranker for it."""
        self._require_open()
        request = Request(**options)
        check_queries(queries)
        _, legs = legs_of(request.mode, self.manifest, self.collection)
        check_weights(request.fixed_weights, legs if len(legs) > 1 else self._shown)
        return request, self._rerankers.get(request.rerank) if queries else None

    def _retrieved(self, queries: Sequence[str], request: Request) -> Iterator[Retrieved]:
        """Each query with its vectors and the legs' rankings."""
        mode, legs = legs_of(request.mode, self.manifest, self.collection)
        encoders = {leg: self._encoders[leg] for leg in legs}
        return retrieved(queries, request, mode, self._reader, encoders, self._threads, self._ahead)

    def opened(self) -> Opened:
        """What it has open, for those who need more than a search; never to be closed by them."""
        self._require_open()
        return Opened(self.collection, self._reader, self._encoders, self._shown, self._idf)

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown(wait=False)
        self._ahead.shutdown(wait=False)
        self._reader.close()

    def __enter__(self) -> Searcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._closed or os.getpid() != self._pid:
            why = "has been closed" if self._closed else f"was opened by process {self._pid}, of which this is a fork"
            raise StoreError(f"The searcher of {self.collection!r} {why}. Open one here: Searcher.open(...).")
