"""Chooses a collection's search settings on judged queries, and says what the choice is worth on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_search._util import utc_now
from hybrid_search.collection.models import ModelRequest
from hybrid_search.corpus.trec import Dataset
from hybrid_search.evaluation import measures as measuring
from hybrid_search.evaluation.datasets import Parts, read_dataset
from hybrid_search.evaluation.experiment import collection_for
from hybrid_search.evaluation.fingerprints import dataset_fingerprints
from hybrid_search.evaluation.job import Job, Watch
from hybrid_search.evaluation.judged_documents import check_judged
from hybrid_search.evaluation.tune_candidates import Candidate
from hybrid_search.evaluation.tune_selection import Verdict, queries_needed, verdict
from hybrid_search.evaluation.tune_trial import Choice, Progress, Trial, choose
from hybrid_search.search_defaults import SearchDefaults
from hybrid_search.settings import Settings

MOST_QUERIES = 2_000
"""Judged queries that are searched at most; of more a seeded sample, for the arrays of their rankings are held."""

SHOWN = 5
"""Candidates that a report names."""


@dataclass(frozen=True)
class TuneReport:
    """What tuning found.

    Args:
        dataset: its name.
        collection: that was searched.
        measure: by which settings were chosen.
        queries: judged ones that counted.
        seed: of folds, samples and intervals.
        verdict: `recommend`, `keep` (the default) or `inconclusive`.
        default: the measure's mean with the product's own settings.
        chosen: the same with the choice, on the queries it was chosen on; it is more than others will give.
        settings: the choice in words.
        defaults: the choice as a manifest has it; empty settings where it is the default.
        gain: of choosing in this way, on held-out queries: `mean`, `low`, `high`.
        p: how likely the best of all settings looks as good by chance alone, corrected for their number.
        stability: share of the folds in which the same choice was made.
        needed: about how many judged queries would tell this gain from none.
        latency_ms: median of whole searches, `default` and `chosen`.
        candidates: the best few, each with its mean and its difference to the default.
        learned: what a regression of the weights was worth beyond that, and whether it is part of the choice.
        notes: what else the reader has to know.
        fingerprints: of corpus and judgements.
        date: ISO 8601, UTC.
    """

    dataset: str
    collection: str
    measure: str
    queries: int
    seed: int
    verdict: Verdict
    default: float
    chosen: float
    settings: str
    defaults: SearchDefaults
    gain: Mapping[str, float]
    p: float
    stability: float
    needed: int
    latency_ms: Mapping[str, float]
    candidates: Sequence[Mapping[str, Any]]
    learned: Mapping[str, Any]
    notes: Sequence[str]
    fingerprints: Mapping[str, str]
    date: str

    def to_apply(self) -> SearchDefaults:
        """Return the choice with the evidence for it, as it goes into a manifest."""
        evidence = {
            "dataset": self.dataset,
            "measure": self.measure,
            "queries": self.queries,
            "gain": {name: round(value, 4) for name, value in self.gain.items()},
            "seed": self.seed,
            "date": self.date[:10],
        }
        return replace(self.defaults, evidence=evidence)

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `tune --format json` prints."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**found, "defaults": self.defaults.to_dict(), "notes": list(self.notes)}


def tune(
    dataset: str | Path | None,
    *,
    settings: Settings,
    collection: str | None = None,
    profile: str = "auto",
    measure: str = "nDCG@10",
    rerank: str | None = None,
    seed: int = 0,
    parts: Parts | None = None,
    on_progress: Progress | None = None,
    watch: Watch | None = None,
) -> TuneReport:
    """Choose fusion, constant, weights, depth, terms a query and re-ranking for a collection, on judged queries.

    The legs are asked once for each query; the settings are arithmetic over what they found. What a choice is worth is
    measured on queries that it was not chosen on, by repeated cross-validation of the whole way to choose. Nothing is
    written.

    Args:
        dataset: as of `evaluate`.
        settings: as of `evaluate`.
        collection: the one to tune; by default one is built in the cache folder, as `evaluate` does.
        profile: the models of a collection that is built.
        measure: what to be good at, as in ir_measures.
        rerank: a re-ranker to try, too: by name; None to try none.
        seed: the same seed gives the same report, but for the latency.
        parts: the split, and the files of a dataset of TREC.
        on_progress: told of each stage.
        watch: callbacks of the index job.

    Raises:
        EvaluationError: no dataset, no such measure, or no relevant document is in the collection.
        InvalidArgument: the collection has nothing to choose: one leg, and no re-ranker is named.
    """
    (parsed,) = measuring.parse([measure])
    data, name = read_dataset(dataset, settings=settings, **parts or {})
    job = Job(settings, data, name, watch or {}, {})
    main, _ = collection_for(job, collection, ModelRequest(profile, {"sparse": None, "dense": None}, None), None)
    with job.open, closing(main.store.reader(main.name)) as reader:
        notes = [*data.notes, *check_judged(reader, data, main.name)]
        fingerprints = dataset_fingerprints(data, job.corpus_hash.hexdigest())
        data, sampled = _sampled(data, seed)
        trial = Trial(data, job.searcher(main), parsed, rerank, on_progress or (lambda *_: None))
        found = choose(trial, seed)
        latency_ms = trial.latency(Candidate(), found.chosen, found.coefficients)
    return _report(name, main.name, trial, found, latency_ms, seed, [*notes, *sampled], fingerprints)


def _report(
    name: str,
    collection: str,
    trial: Trial,
    found: Choice,
    latency_ms: Mapping[str, float],
    seed: int,
    notes: Sequence[str],
    fingerprints: Mapping[str, str],
) -> TuneReport:
    queries, default = trial.queries, trial.values(Candidate())
    said = verdict(found.gain, found.p, found.differs, queries)
    settings = f"{found.chosen}, weights by query" if found.coefficients else str(found.chosen)
    return TuneReport(
        dataset=name,
        collection=collection,
        measure=str(trial.measure),
        queries=queries,
        seed=seed,
        verdict=said,
        default=float(default.mean()),
        chosen=float(found.values.mean()),
        settings=settings,
        defaults=found.defaults(trial) if said == "recommend" else SearchDefaults(),
        gain={"mean": found.gain.mean, "low": found.gain.low, "high": found.gain.high},
        p=found.p,
        stability=found.stability,
        needed=queries_needed(found.gain, queries),
        latency_ms=latency_ms,
        candidates=trial.best(SHOWN),
        learned=found.learned,
        notes=notes,
        fingerprints=fingerprints,
        date=utc_now(),
    )


def _sampled(data: Dataset, seed: int) -> tuple[Dataset, list[str]]:
    """Return a dataset of as many queries as are searched at most, and what to say about that."""
    if len(data.queries) <= MOST_QUERIES:
        return data, []
    places = np.sort(np.random.default_rng(seed).choice(len(data.queries), MOST_QUERIES, replace=False))
    queries = tuple(data.queries[place] for place in places)
    chosen = {query.query_id for query in queries}
    qrels = tuple(qrel for qrel in data.qrels if qrel.query_id in chosen)
    note = f"{MOST_QUERIES:,} of {len(data.queries):,} judged queries were drawn (seed {seed})."
    return data._replace(queries=queries, qrels=qrels), [note]
