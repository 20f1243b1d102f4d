"""Evaluates one dataset in several modes, and reports all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hybrid_search.collection.models import ModelRequest, open_store_for
from hybrid_search.collection.profiles import DEFAULT_LEGS
from hybrid_search.corpus.trec import read_beir
from hybrid_search.errors import InvalidArgument
from hybrid_search.evaluation import measures as measuring
from hybrid_search.evaluation.given_weights import GivenWeights
from hybrid_search.evaluation.job import BuiltCollection, Job, Watch
from hybrid_search.evaluation.modes import RERANK, check_modes, check_words, parse_mode, shadow_modes, usual_modes
from hybrid_search.evaluation.outside_runs import read_outside_runs
from hybrid_search.evaluation.report import Report, result_of
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
        check_words(modes, legs or DEFAULT_LEGS)
    parsed = measuring.parse(measures)
    data = read_beir(folder)
    name = Path(folder).resolve().name
    job = Job(settings, data, name, watch or {}, search)
    job.given = given = None if query_vectors is None else GivenWeights.read(query_vectors, data.queries)
    if collection is None:
        models = job.choose(ModelRequest(profile, {"sparse": sparse, "dense": dense}, legs, precision, sparsity))
        modes = check_modes(modes, in_order(models.encoders), usual_modes(models.encoders))
        main = job.built(models)
    else:
        main = BuiltCollection(open_store_for(None, settings), collection)
        found = main.store.info(collection).manifest
        check_words(modes, tuple(found.legs))
        modes = check_modes(modes, in_order(found.legs), usual_modes(found.fused(), shadow_modes(found)))
    if search.get("rerank") and not any(parse_mode(mode).rerank for mode in modes):
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
        results=tuple(result_of(mode, scores) for mode in scores),
        timings_s=job.timings_s,
        indexed=tuple(job.indexed),
        outside=tuple(run.label for run in outside),
        lacking={} if given is None else given.lacking,
        notes=(*(() if given is None else given.notes()), *(note for run in outside for note in run.notes)),
    )
