"""The work of one evaluation: builds the collections it needs, and searches every judged query in each mode."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, cast

from hybrid_search._util import batched
from hybrid_search.collection.models import ModelRequest, ModelSet, fetch, load_models
from hybrid_search.collection.profiles import NO_LEG, select_models
from hybrid_search.corpus.trec import Dataset, ScoredDoc, write_run
from hybrid_search.encoders import hybrid
from hybrid_search.encoders.catalog import BM25_ENGINE
from hybrid_search.errors import InvalidArgument
from hybrid_search.evaluation import measures as measuring
from hybrid_search.evaluation.approximation import recall_of_engine
from hybrid_search.evaluation.cached_collections import WAIT_S, store_of
from hybrid_search.evaluation.fingerprints import corpus_hash
from hybrid_search.evaluation.given_weights import GivenWeights, leg_taking
from hybrid_search.evaluation.latency import latency, sample
from hybrid_search.evaluation.modes import BASELINE, Way, parse_mode
from hybrid_search.evaluation.oracle import oracle
from hybrid_search.evaluation.plot_ranks import relevant_ranks
from hybrid_search.evaluation.report import Judged
from hybrid_search.indexer import Indexer
from hybrid_search.indexing.progress import IndexReport
from hybrid_search.protocols import Store
from hybrid_search.ranking.fusion import Fusion
from hybrid_search.results import Results
from hybrid_search.search.request import AUTO, DEPTH, RERANK_DEPTH, Options
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.types import LEGS, Mode, Query

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

    pictures = False
    """Keep what pictures show of each mode, and take its latency."""

    def __init__(self, settings: Settings, data: Dataset, name: str, watch: Watch, search: Options) -> None:
        self._search, self._kept = search, store_of(settings)
        self.settings, self.data, self.name, self._watch = settings, data, name, watch
        self.timings_s: dict[str, float] = {"index": 0.0}
        self.indexed: list[IndexReport] = []
        self.reason = ""
        self.open = ExitStack()
        self._searchers: dict[tuple[str, str], Searcher] = {}
        self.corpus_hash = corpus_hash(data.corpus)

    def choose(self, request: ModelRequest) -> ModelSet:
        """Select the models asked for, and fetch those that are not on this machine."""
        models = select_models(request, self.settings)
        self.reason = self.reason or models.reason
        fetch(models, self.settings, self._watch.get("on_download"))
        return models

    def built(self, models: ModelSet) -> BuiltCollection:
        """Return a collection with these models over this corpus; build it where none of the same content is there."""
        if self.data.corpus is None:
            raise InvalidArgument(
                "A collection has to be built for this, and the documents are not given. Name them with --documents "
                "PATH; or judge a collection that is there (-c NAME), without the mode bm25."
            )
        key = self.corpus_hash.copy()
        for leg, encoder in sorted(models.encoders.items()):
            key.update(f"{leg} {encoder.card.name} {encoder.fingerprint()}".encode())
        content, name = key.hexdigest()[:12], re.sub(r"[^A-Za-z0-9.-]+", "-", self.name)
        there = [collection for collection in self._kept.names() if collection.endswith(f"-{content}")]
        collection = there[0] if there else f"eval-{name[:60]}-{content}"
        if not there:
            start = perf_counter()
            indexer = Indexer.open(
                collection,
                store=self._kept,
                settings=self.settings,
                models=models._replace(reason=""),  # the report of the evaluation gives it
                chunk_tokens=0,
                wait_s=WAIT_S,
            )
            report = indexer.index(self.data.corpus.parent, **cast(Any, self._watch))
            self.indexed.append(report)
            self.timings_s["index"] += perf_counter() - start
        return BuiltCollection(self._kept, collection)

    def judge(
        self, main: BuiltCollection, mode: str, parsed: Sequence[Any], runs: Path | None, k: int, details: bool
    ) -> Judged:
        """Search every judged query in a mode, write the run where a folder is given, and score it.

        Args:
            main: the collection.
            mode: of search.
            parsed: the measures.
            runs: the folder.
            k: documents a query.
            details: take the time of searches one by one, and look for the best order of the first documents, too.
        """
        run = self.run(main, mode, k)
        if runs is not None:
            runs.mkdir(parents=True, exist_ok=True)
            # A colon cannot stand in the name of a file everywhere, and a full stop in no leg's.
            write_run(runs / f"{self.name}.{mode.replace(':', '.')}.trec", run, tag=f"hybrid-search-{mode}")
        judged = Judged(measuring.score(run, self.data.qrels, parsed))
        if self.pictures:
            judged = judged._replace(ranks=relevant_ranks(run, self.data.qrels), latency_ms=self.latency(main, mode))
        if details:
            timed = judged.latency_ms or self.latency(main, mode)
            judged = judged._replace(latency_ms=timed, oracle=oracle(run, self.data.qrels))
        return judged

    def run(self, main: BuiltCollection, mode: str, k: int) -> list[ScoredDoc]:
        """Return the run of every judged query in one mode."""
        start = perf_counter()
        rows: list[ScoredDoc] = []
        for query, results in self.answers(main, mode, k):
            scored = zip(results, results.run_scores(), strict=True)
            rows += [ScoredDoc(query.query_id, hit.doc_id, score) for hit, score in scored]
        self.timings_s[mode] = perf_counter() - start
        return rows

    def answers(
        self, main: BuiltCollection, mode: str, k: int, search: Options | None = None
    ) -> Iterator[tuple[Query, Results]]:
        """Yield every judged query with its results in one mode, under options of a search instead of the job's.

        With a `depth` among them there are at most as many documents: that many chunks are all that a leg hands on.
        """
        depth = (search or {}).get("depth") or max(DEPTH, k)
        options: Options = {"k": min(k, depth), "depth": depth, "highlight": False}
        answer = self._search_of(main, mode, options, search)
        for some in batched(self.data.queries, QUERY_BATCH):
            yield from zip(some, answer(some), strict=True)

    def latency(self, main: BuiltCollection, mode: str) -> dict[str, float]:
        """Return how long searches of a mode take, one by one, with the usual k and depth, after `run` in this mode."""
        search = self._search_of(main, mode, {})
        queries = [self.data.queries[place] for place in sample(len(self.data.queries))]
        return latency([search([query])[0].timings_ms for query in queries])

    def approximation(self, main: BuiltCollection) -> dict[str, dict[str, float]]:
        """Return, by dense leg, the recall of the engine's approximate search, over a sample of the queries.

        Of a collection that another program made there is none: its chunks have ids of that program's own.
        """
        texts = [self.data.queries[place].text for place in sample(len(self.data.queries))]
        with closing(main.store.reader(main.name)) as reader:
            manifest = reader.manifest
            dense = [leg for leg, spec in manifest.legs.items() if spec.kind == "dense" and manifest.adopted is None]
            encoders = load_models(main.name, manifest, self.settings).encoders if dense else {}
            encoded = hybrid.encode({leg: encoders[leg] for leg in dense}, texts, queries=True) if dense else {}
            return {leg: recall_of_engine(reader, leg, vectors) for leg, vectors in encoded.items()}

    def _search_of(
        self, main: BuiltCollection, mode: str, options: Options, search: Options | None = None
    ) -> Callable[[Sequence[Query]], list[Results]]:
        """Return a search of queries in one mode, with these options and those that the mode and the job say.

        What `search` says takes the place of what the job does.
        """
        way = parse_mode(mode)
        collection, search_mode = self._baseline(main) if way.mode == BASELINE else (main, way.mode)
        own = self._options_of(way, self._search if search is None else search)
        options = cast(Options, {**options, "mode": search_mode, **own})
        searcher = self.searcher(collection)
        given = None if way.mode == BASELINE else self.given
        leg = given and leg_taking(search_mode, searcher.manifest, collection.name)
        if not (given and leg):
            return lambda some: searcher.search_many([query.text for query in some], **options)

        def with_weights(some: Sequence[Query]) -> list[Results]:
            answers = searcher.search_many(given.asked(some), **options)
            for query, results in zip(some, answers, strict=True):
                given.note(query.query_id, leg, results)
            return answers

        return with_weights

    def _options_of(self, way: Way, search: Options) -> Options:
        # Only a fused mode without a fusion of its own is searched with the collection's search defaults.
        options: Options = {} if way.fused and not way.fusion else {"rerank": False}
        if way.fused:
            fusing = {name: value for name, value in search.items() if name in ("fusion", "rrf_k", "weights")}
            options.update(cast(Options, fusing))
        if way.fusion:
            options["fusion"] = cast(Fusion, way.fusion)
        if way.auto:
            options["weights"] = AUTO
        if way.rerank:
            options["rerank"] = search.get("rerank") or True
            options["rerank_depth"] = search.get("rerank_depth", RERANK_DEPTH)
        return options

    def has_baseline(self, main: BuiltCollection) -> bool:
        """Say whether BM25 is searched in a collection itself."""
        legs = main.store.info(main.name).manifest.legs
        return BASELINE in legs or ("sparse" in legs and legs["sparse"].model == BM25_ENGINE)

    def _baseline(self, main: BuiltCollection) -> tuple[BuiltCollection, Mode]:
        """Find where BM25 is searched: a leg of this name, a sparse leg that is BM25, or a collection built for it."""
        if self.has_baseline(main):
            return main, BASELINE if BASELINE in main.store.info(main.name).manifest.legs else "sparse"
        return self.built(
            self.choose(ModelRequest("bundled", {"sparse": BM25_ENGINE, "dense": NO_LEG}, LEGS))
        ), "sparse"

    def searcher(self, collection: BuiltCollection) -> Searcher:
        """Return the one searcher for all modes of a collection, whose models are loaded once; closed with `open`."""
        key = collection.store.location, collection.name
        if key not in self._searchers:
            searcher = Searcher.open(collection.name, store=collection.store, settings=self.settings, refresh=False)
            self._searchers[key] = self.open.enter_context(searcher)
        return self._searchers[key]
