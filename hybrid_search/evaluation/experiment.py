"""Evaluates one dataset in several modes, and reports all of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util import batched
from hybrid_search.collection.models import ModelRequest, ModelSet, fetch, open_store_for
from hybrid_search.collection.profiles import DEFAULT_LEGS, NO_LEG, select_models
from hybrid_search.corpus.trec import Dataset, ScoredDoc, read_beir, write_run
from hybrid_search.encoders.catalog import BM25_ENGINE
from hybrid_search.errors import InvalidArgument
from hybrid_search.evaluation import measures as measuring
from hybrid_search.evaluation.cached_collections import WAIT_S, store_of
from hybrid_search.evaluation.given_weights import GivenWeights, leg_taking
from hybrid_search.evaluation.outside_runs import read_outside_runs
from hybrid_search.evaluation.significance import paired_p
from hybrid_search.indexer import Indexer
from hybrid_search.indexing.progress import IndexReport
from hybrid_search.manifest import Manifest, Precision, Sparsity
from hybrid_search.protocols import Store
from hybrid_search.search.request import AUTO, DEPTH, HYBRID, MAX_DEPTH, RERANK_DEPTH, Options, SearchRequest
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.types import LEGS, LegName, Mode, in_order

BASELINE = "bm25"
QUERY_BATCH = 64
RUN_DEPTH = 1000
"""Documents per query in a written run, as in TREC."""
RERANK = "rerank"
"""`+rerank` after a mode re-ranks it; `+auto` fuses it with weights chosen for each query."""

Watch = Mapping[str, Callable[..., None]]


class ModeResult(NamedTuple):
    """One mode: the mean of each measure, and the p-value of its first measure against the baseline."""

    mode: str
    measures: dict[str, float]
    baseline_p: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """The result of `evaluate`."""

    dataset: str
    documents: int
    queries: int
    profile: str
    profile_reason: str
    results: tuple[ModeResult, ...]
    timings_s: Mapping[str, float]
    indexed: tuple[IndexReport, ...] = ()
    outside: tuple[str, ...] = ()
    """Of the results, those of runs that were made elsewhere."""
    lacking: Mapping[str, str] = field(default_factory=dict)
    """By query id, why the leg that takes the weights of terms found nothing."""
    notes: tuple[str, ...] = ()
    """What was passed over, in sentences."""

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `evaluate --format json` prints; what was not asked for has no key."""
        told = {"outside": list(self.outside), "lacking": dict(self.lacking), "notes": list(self.notes)}
        return {
            "dataset": self.dataset,
            "documents": self.documents,
            "queries": self.queries,
            "profile": self.profile,
            "results": [result._asdict() for result in self.results],
            "timings_s": {stage: round(seconds, 3) for stage, seconds in self.timings_s.items()},
            **{name: value for name, value in told.items() if value},
        }


def evaluate(
    folder: str | Path,
    *,
    settings: Settings,
    collection: str | None = None,
    profile: str = "auto",
    sparse: str | None = None,
    dense: str | None = None,
    legs: Sequence[LegName] | None = None,
    precision: Precision | None = None,
    sparsity: Sparsity | None = None,
    modes: Sequence[str] | None = None,
    search: Options | None = None,
    measures: Sequence[str] = measuring.DEFAULT_MEASURES,
    runs: Path | None = None,
    run_depth: int = RUN_DEPTH,
    query_vectors: str | Path | None = None,
    outside_runs: Sequence[str | Path] = (),
    watch: Watch | None = None,
) -> Report:
    """Search every judged query of a dataset in each mode, and score the runs.

    Args:
        folder: a BEIR folder: corpus.jsonl, queries.jsonl, qrels/test.tsv.
        settings: name the store of `collection`, and the cache folder for models and for collections that are built.
        profile: the models of a collection that is built.
        sparse: the sparse model instead of the profile's, as in `Indexer.open`.
        dense: the dense model instead of the profile's.
        legs: the legs of a collection that is built, as in `Indexer.open`.
        precision: the precision of its models.
        sparsity: the pruning of its learned sparse vectors.
        collection: the collection to search; by default one is built in the cache folder, with one chunk per
            document, and reused while data and models are the same.
        modes: any leg's name, `hybrid`, `a+b` for these legs fused, and `bm25`, the baseline, with any legs.
            By default: the baseline, each leg, `hybrid`, and for each shadow leg `hybrid` with it in the place of the
            leg of its kind (`new+dense`). Each may end in `+rerank`, which re-ranks it,
            and a fused one in `+auto`, which chooses the weights for each query (`hybrid+auto+rerank`).
        search: options of a search: `fusion`, `rrf_k` and `weights` for the fused modes, `rerank` and `rerank_depth`
            for the re-ranked ones. With `rerank` but no modes, the last default mode is added re-ranked.
        measures: names of measures, as in ir_measures.
        runs: a folder for one TREC run per mode.
        run_depth: documents per query in these runs, whatever the measures need. Each leg hands on as many, and the
            measures are those of these runs.
        query_vectors: a file with the weights of each query's terms (`corpus.query_vectors`) for the sparse leg of each
            mode but the baseline; other legs read the texts. That leg finds nothing for a query that the file lacks.
        outside_runs: TREC runs that other engines returned, judged beside the modes.
        watch: callbacks of the index job.

    Raises:
        EvaluationError: the folder is not a dataset, a run is broken, or a measure is unknown.
        CorpusError: the file of vectors is broken.
        InvalidArgument: a mode is unknown or its leg missing, no mode is given, or an option is out of range.
        ModelError: the re-ranker is unknown or cannot be loaded here.
    """
    search = search or {}
    SearchRequest(**search)
    if not 1 <= run_depth <= MAX_DEPTH:
        raise InvalidArgument(f"run_depth is {run_depth}; it must lie in 1..{MAX_DEPTH:,}.")
    if collection is None:
        _check_words(modes, legs or DEFAULT_LEGS)
    parsed = measuring.parse(measures)
    data = read_beir(folder)
    name = Path(folder).resolve().name
    job = _Job(settings, data, name, watch or {}, search)
    job.given = given = None if query_vectors is None else GivenWeights.read(query_vectors, data.queries)
    if collection is None:
        models = job.choose(ModelRequest(profile, {"sparse": sparse, "dense": dense}, legs, precision, sparsity))
        modes = _check_modes(modes, in_order(models.encoders), usual_modes(models.encoders))
        main = job.built(models)
    else:
        main = _Built(open_store_for(None, settings), collection)
        found = main.store.info(collection).manifest
        _check_words(modes, tuple(found.legs))
        modes = _check_modes(modes, in_order(found.legs), usual_modes(found.fused(), _shadow_modes(found)))
    if search.get("rerank") and not any(_way(mode).rerank for mode in modes):
        modes = (*modes, f"{modes[-1]}+{RERANK}")
    outside = read_outside_runs(outside_runs, data, main.doc_ids, modes)
    scores = job.scores(main, modes, parsed, runs, run_depth)
    scores.update((run.label, measuring.score(run.rows, data.qrels, parsed)) for run in outside)
    info = main.store.info(main.name)
    return Report(
        dataset=name,
        documents=info.documents,
        queries=len(data.queries),
        profile=info.manifest.profile,
        profile_reason=job.reason,
        results=tuple(_result(mode, scores) for mode in scores),
        timings_s=job.timings_s,
        indexed=tuple(job.indexed),
        outside=tuple(run.label for run in outside),
        lacking={} if given is None else given.lacking,
        notes=(*(() if given is None else given.notes()), *(note for run in outside for note in run.notes)),
    )


class _Built(NamedTuple):
    """A collection, and the store it lies in."""

    store: Store
    name: str

    def doc_ids(self) -> list[str]:
        """Return the id of every document."""
        with closing(self.store.reader(self.name)) as reader:
            return list(reader.doc_ids())


class _Job:
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
        self._searchers: dict[_Built, Searcher] = {}
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

    def built(self, models: ModelSet) -> _Built:
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
        return _Built(self._kept, collection)

    def scores(
        self, main: _Built, modes: Sequence[str], parsed: Sequence[Any], runs: Path | None, run_depth: int
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

    def run(self, main: _Built, mode: str, k: int) -> list[ScoredDoc]:
        """Return the run of every judged query in one mode."""
        way = _way(mode)
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

    def _baseline(self, main: _Built) -> tuple[_Built, Mode]:
        """Find where BM25 is searched: a leg of this name, a sparse leg that is BM25, or a collection built for it."""
        legs = main.store.info(main.name).manifest.legs
        if BASELINE in legs:
            return main, BASELINE
        if "sparse" in legs and legs["sparse"].model == BM25_ENGINE:
            return main, "sparse"
        return self.built(
            self.choose(ModelRequest("bundled", {"sparse": BM25_ENGINE, "dense": NO_LEG}, LEGS))
        ), "sparse"

    def _searcher(self, collection: _Built) -> Searcher:
        """Return the one searcher for all modes of a collection, whose models are loaded once; closed with `open`."""
        if collection not in self._searchers:
            searcher = Searcher.open(collection.name, store=collection.store, settings=self._settings, refresh=False)
            self._searchers[collection] = self.open.enter_context(searcher)
        return self._searchers[collection]


def usual_modes(fused: Collection[LegName], shadows: Mapping[LegName, Mode] | None = None) -> tuple[Mode, ...]:
    """Return the baseline, each leg, `hybrid`, and `hybrid` with each shadow leg.

    >>> usual_modes(["dense", "sparse"], {"new": "new+dense"})
    ('bm25', 'sparse', 'dense', 'new', 'hybrid', 'new+dense')
    """
    shadows = shadows or {}
    hybrid = (HYBRID,) if len(fused) > 1 else ()
    swapped = (mode for mode in shadows.values() if "+" in mode)
    return tuple(dict.fromkeys((BASELINE, *in_order(fused), *in_order(shadows), *hybrid, *swapped)))


def _shadow_modes(manifest: Manifest) -> dict[LegName, Mode]:
    """Return, for each shadow leg, `hybrid` with it in the place of the first leg of its kind."""
    found: dict[LegName, Mode] = {}
    for leg, spec in manifest.legs.items():
        if spec.shadow:
            old = next((one for one in manifest.fused() if manifest.legs[one].kind == spec.kind), None)
            found[leg] = "+".join(leg if one == old else one for one in manifest.fused())
            if old is None:
                found[leg] = "+".join((leg, *manifest.fused()))
    return found


class _Way(NamedTuple):
    """A mode without its endings, and what these said."""

    mode: Mode
    auto: bool
    rerank: bool

    @property
    def fused(self) -> bool:
        return self.mode == HYBRID or "+" in self.mode

    def among(self, single: Collection[str], legs: Collection[LegName]) -> bool:
        """Say whether it is one of these modes, or fuses some of these legs."""
        known = self.mode in single or ("+" in self.mode and {*self.mode.split("+")} <= {*legs})
        return known and (self.fused or not self.auto)


def _way(mode: str) -> _Way:
    """Parse a mode's endings.

    >>> _way("new+dense+auto+rerank")
    _Way(mode='new+dense', auto=True, rerank=True)
    """
    rest = mode.removesuffix(f"+{RERANK}")
    return _Way(rest.removesuffix(f"+{AUTO}"), rest.endswith(f"+{AUTO}"), rest != mode)


def _check_words(asked: Sequence[str] | None, legs: Collection[LegName]) -> None:
    """Refuse what is not a mode at all, before anything is read."""
    words = (BASELINE, *in_order({*LEGS, *legs} - {BASELINE}), HYBRID)
    wrong = [mode for mode in asked or () if not _way(mode).among(words, legs)]
    if wrong or (asked is not None and not asked):
        raise InvalidArgument(
            f"Unknown mode: {', '.join(wrong) or 'none given'}. Take any of: {', '.join(words)}; or legs fused: a+b; "
            "re-ranked: hybrid+rerank; with weights by the query: hybrid+auto."
        )


def _check_modes(asked: Sequence[str] | None, legs: Sequence[LegName], usual: Sequence[Mode]) -> Sequence[Mode]:
    """Return the modes asked for, or the usual ones.

    Raises:
        InvalidArgument: the leg of a mode does not exist.
    """
    if asked is None:
        return usual
    wrong = [mode for mode in asked if not _way(mode).among(usual, legs)]
    if wrong:
        raise InvalidArgument(
            f"There is no {' and no '.join(wrong)} to judge: the models have a {' and a '.join(legs)} leg only. "
            f"Take any of: {', '.join(usual)}."
        )
    return asked


def _result(mode: str, scores: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> ModeResult:
    values = scores[mode]
    p = None
    if BASELINE in scores and mode != BASELINE:
        first = next(iter(values))
        p = round(paired_p(values[first], scores[BASELINE][first]), 5)
    return ModeResult(mode, {name: round(float(each.mean()), 4) for name, each in values.items()}, p)
