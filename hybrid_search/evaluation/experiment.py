"""Evaluates one dataset in several modes, and reports all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from hybrid_search.collection.models import ModelRequest, open_store_for
from hybrid_search.collection.profiles import DEFAULT_LEGS
from hybrid_search.corpus.trec import read_beir
from hybrid_search.errors import InvalidArgument
from hybrid_search.evaluation import measures as measuring
from hybrid_search.evaluation.fingerprints import dataset_fingerprints, model_fingerprints
from hybrid_search.evaluation.gate import Earlier, check_same_data
from hybrid_search.evaluation.given_weights import GivenWeights
from hybrid_search.evaluation.job import BuiltCollection, Job, Watch
from hybrid_search.evaluation.judged_documents import check_judged
from hybrid_search.evaluation.modes import (
    RERANK,
    check_modes,
    check_words,
    expand_modes,
    parse_mode,
    shadow_modes,
    usual_modes,
)
from hybrid_search.evaluation.oracle import DEPTHS, oracle
from hybrid_search.evaluation.outside_runs import OutsideRun, read_outside_runs
from hybrid_search.evaluation.report import Judged, ModeResult, Report, results_of
from hybrid_search.manifest import Precision, Sparsity
from hybrid_search.search.request import MAX_DEPTH, Options, SearchRequest
from hybrid_search.settings import Settings
from hybrid_search.types import LegName, in_order

RUN_DEPTH = 1000
"""Documents per query in a written run, as in TREC."""


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
    details: bool = False,
    earlier: Earlier | None = None,
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
            and a fused one in `+auto`, which chooses the weights for each query (`hybrid+auto+rerank`). Behind the
            legs of a fused one a fusion may be named: `hybrid:convex`, `hybrid:dbsf+rerank`, or `hybrid:all` for each.
        search: options of a search: `fusion`, `rrf_k` and `weights` for the fused modes, `rerank` and `rerank_depth`
            for the re-ranked ones. With `rerank` but no modes, the last default mode is added re-ranked.
        measures: names of measures, as in ir_measures.
        runs: a folder for one TREC run per mode.
        run_depth: documents per query in these runs, whatever the measures need. Each leg hands on as many, and the
            measures are those of these runs.
        query_vectors: a file with the weights of each query's terms (`corpus.query_vectors`) for the sparse leg of each
            mode but the baseline; other legs read the texts. That leg finds nothing for a query that the file lacks.
        outside_runs: TREC runs that other engines returned, judged beside the modes.
        details: also take the latency of searches one by one, compare the engine's approximate search with the exact
            one, and find what the best order of the first documents would reach.
        earlier: the evaluation that this one will be held against (`gate.changes`): it must be of the same data.
        watch: callbacks of the index job.

    Raises:
        EvaluationError: the folder is not a dataset, a run is broken, a measure is unknown, or no relevant document
            is in the collection.
        CorpusError: the file of vectors is broken.
        InvalidArgument: a mode is unknown or its leg missing, no mode is given, an option is out of range, or
            `earlier` is of other data.
        ModelError: the re-ranker is unknown or cannot be loaded here.
    """
    search = search or {}
    SearchRequest(**search)
    if not 1 <= run_depth <= MAX_DEPTH:
        raise InvalidArgument(f"run_depth is {run_depth}; it must lie in 1..{MAX_DEPTH:,}.")
    modes = expand_modes(modes)
    if collection is None:
        check_words(modes, legs or DEFAULT_LEGS)
    parsed = measuring.parse(measures)
    data, name = read_beir(folder), Path(folder).resolve().name
    job = Job(settings, data, name, watch or {}, search)
    fingerprints = dataset_fingerprints(data, job.corpus_hash.hexdigest())
    if earlier is not None:
        check_same_data(earlier, name, fingerprints)
    job.given = None if query_vectors is None else GivenWeights.read(query_vectors, data.queries)
    request = ModelRequest(profile, {"sparse": sparse, "dense": dense}, legs, precision, sparsity)
    main, modes = collection_for(job, collection, request, modes)
    if search.get("rerank") and not any(parse_mode(mode).rerank for mode in modes):
        modes = (*modes, f"{modes[-1]}+{RERANK}")
    outside = read_outside_runs(outside_runs, data, main.doc_ids, modes)
    with job.open:
        with closing(main.store.reader(main.name)) as reader:
            absent = list(check_judged(reader, data, main.name))
        depths = (measuring.max_cutoff(parsed), 10, run_depth if runs else 0, DEPTHS[-1] if details else 0)
        judged = {mode: job.judge(main, mode, parsed, runs, max(depths), details) for mode in modes}
        approximation = job.approximation(main) if details else {}
    for run in outside:
        best = oracle(run.rows, data.qrels) if details else {}
        judged[run.label] = Judged(measuring.score(run.rows, data.qrels, parsed), oracle=best)
    given = job.given.notes() if job.given else ()
    notes = [*given, *(note for run in outside for note in run.notes), *absent]
    return _report(job, main, results_of(judged), fingerprints, notes, outside, approximation)


def collection_for(
    job: Job, collection: str | None, request: ModelRequest, modes: Sequence[str] | None
) -> tuple[BuiltCollection, Sequence[str]]:
    """Return the collection to search, which is built where none is named, and the modes to search it in."""
    if collection is None:
        models = job.choose(request)
        modes = check_modes(modes, in_order(models.encoders), usual_modes(models.encoders))
        return job.built(models), modes
    main = BuiltCollection(open_store_for(None, job.settings), collection)
    found = main.store.info(collection).manifest
    check_words(modes, tuple(found.legs))
    return main, check_modes(modes, in_order(found.legs), usual_modes(found.fused(), shadow_modes(found)))


def _report(
    job: Job,
    main: BuiltCollection,
    results: tuple[str, tuple[ModeResult, ...]],
    fingerprints: Mapping[str, str],
    notes: Sequence[str],
    outside: Sequence[OutsideRun],
    approximation: Mapping[str, Mapping[str, float]],
) -> Report:
    info = main.store.info(main.name)
    return Report(
        dataset=job.name,
        documents=info.documents,
        queries=len(job.data.queries),
        profile=info.manifest.profile,
        profile_reason=job.reason,
        results=results[1],
        timings_s=job.timings_s,
        indexed=tuple(job.indexed),
        outside=tuple(run.label for run in outside),
        lacking={} if job.given is None else job.given.lacking,
        notes=tuple(notes),
        query_ids=tuple(dict.fromkeys(qrel.query_id for qrel in job.data.qrels)),
        baseline=results[0],
        fingerprints={**fingerprints, "models": model_fingerprints(info.manifest)},
        approximation=approximation,
    )
