"""Road two: query -> encodings -> legs -> fusion -> collapse -> rerank -> results."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING

from hybrid_search.asking import HYBRID, MAX_DEPTH, Options, Request, check_queries, legs_of
from hybrid_search.errors import StoreError
from hybrid_search.legs import encode, expanded, fuse, retrieve, weighed
from hybrid_search.manifest import Manifest
from hybrid_search.profiles import Models, check_same, open_place, reopen
from hybrid_search.protocols import CollectionReader, Store
from hybrid_search.ranking.collapse import collapse
from hybrid_search.ranking.expansion import Term
from hybrid_search.ranking.fusion import check_weights
from hybrid_search.reranking import Rerankers, hits_of, rerank_documents
from hybrid_search.results import Results
from hybrid_search.settings import Settings, load_settings
from hybrid_search.types import LEGS, Hit, LegName, Mode, Ranking, Vector, in_order

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
        self._pid = os.getpid()
        self._closed = False
        self._threads = ThreadPoolExecutor(max_workers=len(self._shown), thread_name_prefix="encode")

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

        Returns:
            At most k hits, fewer only where fewer documents match. Hybrid over one leg is that leg alone, and
            `Results.mode` says so.

        Raises:
            InvalidArgument: an empty query, an option out of range, a mode whose leg the collection lacks.
            FusionError: weights or rrf_k that cannot be meant.
            ModelError: a re-ranker that is unknown, or that cannot be loaded here.
            StoreError: the searcher has been closed, or was opened by another process.
        """
        return self.search_many([query], **options)[0]

    async def asearch(self, query: str, **options: Unpack[Options]) -> Results:
        """`search` in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.search, query, **options)

    def search_many(self, queries: Sequence[str], **options: Unpack[Options]) -> list[Results]:
        """`search` for many queries: encoded as a batch, retrieved in one request; one result a query, in order."""
        self._require_open()
        request = Request(**options)
        check_queries(queries)
        mode, legs = legs_of(request.mode, self.manifest, self.collection)
        check_weights(request.fixed_weights, legs if len(legs) > 1 else self._shown)
        if not queries:
            return []
        reranker = self._rerankers.get(request.rerank)
        start = perf_counter()
        encoded = encode(queries, self._encoders, legs, self._threads)
        encode_ms = (perf_counter() - start) * 1e3
        found = retrieve(self._reader, encoded, request.deep)
        retrieve_ms = (perf_counter() - start) * 1e3 - encode_ms
        share, results = 1 / len(queries), []
        for place, query in enumerate(queries):
            began = perf_counter()
            vectors = {leg: [encoded[leg][place]] for leg in legs}
            asked = weighed(request, query, found[place], vectors, self._encoders)
            groups = self._documents(found[place], vectors, asked)
            fuse_ms = (perf_counter() - began) * 1e3
            timings = {"encode": encode_ms * share, "retrieve": retrieve_ms * share, "fuse": fuse_ms}
            last = rerank_documents(query, groups, self._reader.payloads, reranker, request)
            timings["rerank"] = (perf_counter() - began) * 1e3 - fuse_ms if reranker else 0.0
            hits = hits_of(last, request.k, self._reader.payloads, self._shown)
            timings["total"] = (encode_ms + retrieve_ms) * share + (perf_counter() - began) * 1e3
            end = (*last[1:], asked.fixed_weights or {})
            results.append(Results(query, self.collection, mode, request.k, hits, timings, legs, *end))
        return results

    def expansion(self, query: str, leg: LegName = "sparse") -> tuple[Term, ...]:
        """What a sparse leg's model makes of a query, heaviest term first; InvalidArgument for other legs."""
        self._require_open()
        return expanded(query, leg, self._encoders, self.collection)

    def _documents(
        self, rankings: Mapping[LegName, Ranking], vectors: Mapping[LegName, Sequence[Vector]], request: Request
    ) -> list[tuple[Hit, ...]]:
        """The documents of one query; k counts them, so where chunks of a few fill the legs, it looks deeper."""
        depth = request.deep
        while True:
            groups = collapse(fuse(rankings, request))
            enough = len(groups) >= request.wanted or depth >= MAX_DEPTH
            if enough or all(len(ranking) < depth for ranking in rankings.values()):
                return groups
            if len(groups) == self._reader.info().documents:
                return groups  # there are no others
            depth = min(depth * 4, MAX_DEPTH)
            rankings = retrieve(self._reader, vectors, depth)[0]

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown(wait=False)
        self._reader.close()

    def __enter__(self) -> Searcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._closed or os.getpid() != self._pid:
            why = "has been closed" if self._closed else f"was opened by process {self._pid}, of which this is a fork"
            raise StoreError(f"The searcher of {self.collection!r} {why}. Open one here: Searcher.open(...).")
