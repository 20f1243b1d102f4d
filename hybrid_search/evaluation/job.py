"""The work of one evaluation: builds the collections it needs, and searches every judged query in each mode."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util import batched
from hybrid_search.collection.models import ModelRequest, ModelSet, fetch
from hybrid_search.collection.profiles import NO_LEG, select_models
from hybrid_search.corpus.trec import Dataset, ScoredDoc, write_run
from hybrid_search.encoders.catalog import BM25_ENGINE
from hybrid_search.evaluation import measures as measuring
from hybrid_search.evaluation.cached_collections import WAIT_S, store_of
from hybrid_search.evaluation.given_weights import GivenWeights, leg_taking
from hybrid_search.evaluation.modes import BASELINE, parse_mode
from hybrid_search.indexer import Indexer
from hybrid_search.indexing.progress import IndexReport
from hybrid_search.protocols import Store
from hybrid_search.search.request import AUTO, DEPTH, RERANK_DEPTH, Options
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.types import LEGS, Mode

QUERY_BATCH = 64

Watch = Mapping[str, Callable[..., None]]


class BuiltCollection(NamedTuple):
    """A collection, and the store it lies in."""

    store: Store
    name: str

    def doc_ids(self) -> list[str]:
        """Return the id of every document."""
        with closing(self.store.reader(self.name)) as reader:
            return list(reader.doc_ids())


class Job:
    """The collections of one evaluation, and the time of each step."""

    given: GivenWeights | None = None
    """Searched instead of what a sparse leg's model makes of the queries."""

    def __init__(self, settings: Settings, data: Dataset, name: str, watch: Watch, search: Options) -> None:
        self._search, self._kept = search, store_of(settings)
        self._settings, self._data, self._name, self._watch = settings, data, name, watch
        self.timings_s: dict[str, float] = {"index": 0.0}
        self.indexed: list[IndexReport] = []
        self.reason = ""
        self.open = ExitStack()
        self._searchers: dict[BuiltCollection, Searcher] = {}
        self._corpus_hash = hashlib.blake2b(digest_size=16)
        with data.corpus.open("rb") as stream:
            while block := stream.read(1 << 20):
                self._corpus_hash.update(block)

    def choose(self, request: ModelRequest) -> ModelSet:
        """Select the models asked for, and fetch those that are not on this machine."""
        models = select_models(request, self._settings)
        self.reason = self.reason or models.reason
        fetch(models, self._settings, self._watch.get("on_download"))
        return models

    def built(self, models: ModelSet) -> BuiltCollection:
        """Return a collection with these models over this corpus; build it where none of the same content is there."""
        key = self._corpus_hash.copy()
        for leg, encoder in sorted(models.encoders.items()):
            key.update(f"{leg} {encoder.card.name} {encoder.fingerprint()}".encode())
        content, name = key.hexdigest()[:12], re.sub(r"[^A-Za-z0-9.-]+", "-", self._name)
        there = [collection for collection in self._kept.names() if collection.endswith(f"-{content}")]
        collection = there[0] if there else f"eval-{name[:60]}-{content}"
        if not there:
            start = perf_counter()
            indexer = Indexer.open(
                collection,
                store=self._kept,
                settings=self._settings,
                models=models._replace(reason=""),  # the report of the evaluation gives it
                chunk_tokens=0,
                wait_s=WAIT_S,
            )
            report = indexer.index(self._data.corpus.parent, **cast(Any, self._watch))
            self.indexed.append(report)
            self.timings_s["index"] += perf_counter() - start
        return BuiltCollection(self._kept, collection)

    def scores(
        self, main: BuiltCollection, modes: Sequence[str], parsed: Sequence[Any], runs: Path | None, run_depth: int
    ) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Search every judged query in each mode, write the runs where a folder is given, and score them.

        Returns:
            By mode and measure one score a query.
        """
        k = max(measuring.max_cutoff(parsed), 10, run_depth if runs is not None else 0)
        scores: dict[str, dict[str, NDArray[np.float64]]] = {}
        with self.open:
            for mode in modes:
                run = self.run(main, mode, k)
                scores[mode] = measuring.score(run, self._data.qrels, parsed)
                if runs is not None:
                    runs.mkdir(parents=True, exist_ok=True)
                    write_run(runs / f"{self._name}.{mode}.trec", run, tag=f"hybrid-search-{mode}")
        return scores

    def run(self, main: BuiltCollection, mode: str, k: int) -> list[ScoredDoc]:
        """Return the run of every judged query in one mode."""
        way = parse_mode(mode)
        collection, search_mode = self._baseline(main) if way.mode == BASELINE else (main, way.mode)
        options: Options = {"k": k, "mode": search_mode, "depth": max(DEPTH, k), "highlight": False}
        if way.fused:
            fusing = {name: value for name, value in self._search.items() if name in ("fusion", "rrf_k", "weights")}
            options.update(cast(Options, fusing))
        if way.auto:
            options["weights"] = AUTO
        if way.rerank:
            options["rerank"] = self._search.get("rerank") or True
            options["rerank_depth"] = self._search.get("rerank_depth", RERANK_DEPTH)
        start = perf_counter()
        rows: list[ScoredDoc] = []
        searcher = self._searcher(collection)
        given = None if way.mode == BASELINE else self.given
        leg = given and leg_taking(search_mode, searcher.manifest, collection.name)
        for some in batched(self._data.queries, QUERY_BATCH):
            asked = given.asked(some) if given and leg else [query.text for query in some]
            answers = searcher.search_many(asked, **options)
            for query, results in zip(some, answers, strict=True):
                if given and leg:
                    given.note(query.query_id, leg, results)
                scored = zip(results, results.run_scores(), strict=True)
                rows += [ScoredDoc(query.query_id, hit.doc_id, score) for hit, score in scored]
        self.timings_s[mode] = perf_counter() - start
        return rows

    def _baseline(self, main: BuiltCollection) -> tuple[BuiltCollection, Mode]:
        """Find where BM25 is searched: a leg of this name, a sparse leg that is BM25, or a collection built for it."""
        legs = main.store.info(main.name).manifest.legs
        if BASELINE in legs:
            return main, BASELINE
        if "sparse" in legs and legs["sparse"].model == BM25_ENGINE:
            return main, "sparse"
        return self.built(
            self.choose(ModelRequest("bundled", {"sparse": BM25_ENGINE, "dense": NO_LEG}, LEGS))
        ), "sparse"

    def _searcher(self, collection: BuiltCollection) -> Searcher:
        """Return the one searcher for all modes of a collection, whose models are loaded once; closed with `open`."""
        if collection not in self._searchers:
            searcher = Searcher.open(collection.name, store=collection.store, settings=self._settings, refresh=False)
            self._searchers[collection] = self.open.enter_context(searcher)
        return self._searchers[collection]
