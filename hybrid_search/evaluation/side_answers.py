"""What each side of a comparison answers: values by query, and, where they are known, rankings with their evidence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util import batched
from hybrid_search._util.unicode_text import nfc
from hybrid_search.collection.models import ModelRequest, open_store_for
from hybrid_search.corpus.readers import read_all
from hybrid_search.corpus.trec import Dataset, ScoredDoc
from hybrid_search.errors import EvaluationError, InvalidArgument
from hybrid_search.evaluation import measures as measuring
from hybrid_search.evaluation.comparison import SideReport
from hybrid_search.evaluation.counted import counted
from hybrid_search.evaluation.experiment import collection_for
from hybrid_search.evaluation.fingerprints import dataset_fingerprints, model_fingerprints
from hybrid_search.evaluation.gate import check_same_data, read_earlier
from hybrid_search.evaluation.job import BuiltCollection, Job
from hybrid_search.evaluation.judged_documents import check_judged
from hybrid_search.evaluation.modes import BASELINE, parse_mode
from hybrid_search.evaluation.outside_runs import OutsideRun, read_outside_runs
from hybrid_search.evaluation.rank_moves import FIRST, Place, Ranking
from hybrid_search.evaluation.sides import Side
from hybrid_search.protocols import CollectionReader
from hybrid_search.results import DocumentHit, Results
from hybrid_search.search.request import HYBRID, resolve_mode
from hybrid_search.types import Document, chunk_id_of

_AT_ONCE = 256

TITLE = 80
"""Characters of a text that stand for a title, where a document has none."""


class Answers(NamedTuple):
    """What a side answers.

    Args:
        about: what the side is.
        values: by measure one value a query, in the order of their first judgement.
        rankings: by query id; None where there are values only.
        titles: of documents that stand among the first, or are relevant.
        notes: what was passed over, in sentences.
    """

    about: SideReport
    values: Mapping[str, NDArray[np.float64]]
    rankings: Mapping[str, Ranking] | None
    titles: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()


class Wanted(NamedTuple):
    """What is asked of both sides.

    Args:
        measures: parsed.
        k: documents of each query.
        relevant: by query id the documents whose evidence is kept, besides that of the first ones.
        query: whose evidence is kept whole; None for none.
    """

    measures: Sequence[Any]
    k: int
    relevant: Mapping[str, Sequence[str]]
    query: str | None

    def keeps(self, query_id: str, doc_id: str, rank: int) -> bool:
        """Say whether the evidence of a document is kept."""
        return rank <= FIRST or query_id == self.query or doc_id in self.relevant.get(query_id, ())


def searched(side: Side, job: Job, wanted: Wanted, profile: str) -> Answers:
    """Search every judged query as a side says; a collection is built where it names none.

    Raises:
        InvalidArgument: the mode needs a leg that is not there.
        EvaluationError: no relevant document is in the collection.
        CollectionNotFound: there is none of this name.
    """
    names = {leg: side.models.get(leg) for leg in ("sparse", "dense")}
    request = ModelRequest(side.models.get("profile", profile), names)
    mode = _mode_searched(side, job)
    main, _ = collection_for(job, side.collection, request, [mode])
    with closing(main.store.reader(main.name)) as reader:
        notes = tuple(check_judged(reader, job.data, main.name))
        titles = _titles_in(reader, {doc_id for doc_ids in wanted.relevant.values() for doc_id in doc_ids})
    rows: list[ScoredDoc] = []
    rankings: dict[str, Ranking] = {}
    for query, results in job.answers(main, mode, wanted.k, side.options):
        rankings[query.query_id] = _ranking(query.query_id, results, wanted, titles, _names_of_legs(mode, results))
        scored = zip(results, results.run_scores(), strict=True)
        rows += [ScoredDoc(query.query_id, hit.doc_id, score) for hit, score in scored]
    depth = side.options.get("depth")
    if depth is not None and depth < wanted.k:
        notes += (f"{side.text} has {depth:,} documents a query at most, fewer than the {wanted.k:,} compared.",)
    values = measuring.score(rows, job.data.qrels, wanted.measures)
    return Answers(_about(side, main, mode), values, rankings, titles, notes)


def read_run_of(side: Side, job: Job, wanted: Wanted, doc_ids: Callable[[], Iterable[str]]) -> Answers:
    """Read the run of a side.

    Raises:
        EvaluationError: the file is no run, a document stands twice for a query, a score is not finite, or the run is
            of other queries or of another corpus.
    """
    [run] = read_outside_runs([side.file or ""], job.data, doc_ids, ())
    _check_run(side, run, job, doc_ids)
    rankings: dict[str, dict[str, Place]] = {}
    for row in run.rows:
        ranking = rankings.setdefault(row.query_id, {})
        if len(ranking) < wanted.k:
            ranking[nfc(row.doc_id)] = Place(len(ranking) + 1, row.score)
    values = measuring.score(run.rows, job.data.qrels, wanted.measures)
    return Answers(SideReport(side.text, side.kind), values, rankings, {}, run.notes)


def read_values_of(side: Side, job: Job, measures: Sequence[Any]) -> Answers:
    """Read the values of a side from the JSON of an earlier evaluation.

    Raises:
        InvalidArgument: it is of other data, or lacks the mode or a measure.
        EvaluationError: the file is no such JSON, or lacks a query.
    """
    earlier = read_earlier(side.file or "", "The file")
    fingerprints = dataset_fingerprints(job.data, job.corpus_hash.hexdigest())
    check_same_data(earlier, job.name, fingerprints, "The file")
    mode = _mode_of(side, list(earlier.values))
    query_ids = list(dict.fromkeys(qrel.query_id for qrel in job.data.qrels))
    values: dict[str, NDArray[np.float64]] = {}
    for name in map(str, measures):
        found = earlier.values[mode].get(name)
        if found is None:
            raise InvalidArgument(
                f"{side.file} has no {name} of {mode}; it has {', '.join(earlier.values[mode])}. Choose --measures."
            )
        lost = [query_id for query_id in query_ids if query_id not in found]
        if lost:
            raise EvaluationError(f"{side.file} has no {name} of {mode} for {counted(lost, 'query', 'queries', 3)}.")
        values[name] = np.array([found[query_id] for query_id in query_ids])
    note = f"{side.text} has the values of each query alone: where documents stand in it cannot be told."
    models = {leg: str(model) for leg, model in (earlier.fingerprints.get("models") or {}).items()}
    return Answers(SideReport(side.text, side.kind, mode=mode, models=models), values, None, {}, (note,))


def measures_in(side: Side) -> set[str]:
    """Return the measures that each mode of an earlier evaluation has.

    Raises:
        EvaluationError: the file is no such JSON.
    """
    values = list(read_earlier(side.file or "", "The file").values.values())
    return set.intersection(*(set(each) for each in values)) if values else set()


def titles_of(data: Dataset, doc_ids: Collection[str]) -> dict[str, str]:
    """Return the titles of documents, as the corpus has them, or the beginnings of their texts."""
    documents = _documents(data) if doc_ids else ()
    found = ((nfc(document.doc_id), document) for document in documents)
    return {doc_id: document.title or beginning(document.text) for doc_id, document in found if doc_id in doc_ids}


def corpus_ids(data: Dataset) -> Iterator[str]:
    """Yield the id of every document of a corpus."""
    return (document.doc_id for document in _documents(data))


def _documents(data: Dataset) -> Iterator[Document]:
    """Yield the documents of a dataset; none where it has judgements alone."""
    items = () if data.corpus is None else read_all([data.corpus])
    return (item for item in items if isinstance(item, Document))


def beginning(text: str) -> str:
    """Return the first words of a text, on one line.

    >>> beginning("A drummer\\nand a teacher.")
    'A drummer and a teacher.'
    """
    words = " ".join(text[: 4 * TITLE].split())
    return words if len(words) <= TITLE else words[: TITLE - 1].rstrip() + "…"


def _titles_in(reader: CollectionReader, doc_ids: Iterable[str]) -> dict[str, str]:
    """Return the titles of documents in a collection. One that another program made may not have them by these ids."""
    titles = {}
    for some in batched(doc_ids, _AT_ONCE):
        for payload in reader.payloads([chunk_id_of(doc_id, 0) for doc_id in some]).values():
            titles[payload["doc_id"]] = payload.get("title") or beginning(payload.get("text", ""))
    return titles


def _names_of_legs(mode: str, results: Results) -> dict[str, str]:
    """Return what the legs that were searched are called: that of the baseline as it is, whatever it is made of."""
    is_baseline = parse_mode(mode).mode == BASELINE
    return {leg: BASELINE if is_baseline else leg for leg in results.legs}


def _ranking(
    query_id: str, results: Results, wanted: Wanted, titles: dict[str, str], names: Mapping[str, str]
) -> Ranking:
    """Return the hits of a query by document, and note the titles of those whose evidence is kept."""
    found: dict[str, Place] = {}
    for hit, score in zip(results, results.run_scores(), strict=True):
        if wanted.keeps(query_id, hit.doc_id, hit.rank):
            titles[hit.doc_id] = _title(hit)
            legs = {name: hit.legs[leg] for leg, name in names.items()}
            found[hit.doc_id] = Place(hit.rank, hit.score, legs, hit.fused_rank, hit.rerank_score)
        else:
            found[hit.doc_id] = Place(hit.rank, score)
    return found


def _title(hit: DocumentHit) -> str:
    return hit.title or beginning(hit.passages[0].text if hit.passages else "")


def _mode_searched(side: Side, job: Job) -> str:
    """Return the mode of a side: of a collection with one leg, that leg instead of hybrid."""
    if side.collection is None or side.mode != HYBRID:
        return side.mode
    return resolve_mode(HYBRID, open_store_for(None, job.settings).info(side.collection).manifest, side.collection)[0]


def _about(side: Side, main: BuiltCollection, mode: str) -> SideReport:
    """Say what a searched side was. BM25 is searched in a collection of its own, unless this one has it."""
    manifest = main.store.info(main.name).manifest
    if parse_mode(mode).mode == BASELINE and BASELINE not in manifest.legs:
        return SideReport(side.text, side.kind, "", mode, side.settings)
    return SideReport(side.text, side.kind, main.name, mode, side.settings, model_fingerprints(manifest))


def _mode_of(side: Side, modes: Sequence[str]) -> str:
    """Return the mode whose values are taken: the one that is named, or the only one.

    Raises:
        InvalidArgument: there is none of this name, or none is named and there are several.
    """
    if side.mode in modes:
        return side.mode
    if not side.mode and len(modes) == 1:
        return modes[0]
    lacking = f"no mode {side.mode!r}" if side.mode else "several modes"
    raise InvalidArgument(f"{side.file} has {lacking}. Name one of {', '.join(modes)}, as in {side.file}@{modes[-1]}.")


def _check_run(side: Side, run: OutsideRun, job: Job, doc_ids: Callable[[], Iterable[str]]) -> None:
    """Refuse a run of other queries, and one of another corpus."""
    queries = {query.query_id for query in job.data.queries}
    there = dict.fromkeys(row.query_id for row in run.rows)
    if not queries & set(there):
        raise EvaluationError(
            f"{side.file} has none of the {len(queries):,} judged queries of {job.name}. It has "
            f"{counted(list(there), 'query', 'queries', 3)}. Is it the run of another dataset?"
        )
    judged = {nfc(qrel.doc_id) for qrel in job.data.qrels}
    found = {nfc(row.doc_id): row.doc_id for row in run.rows}
    if not judged & set(found) and not any(nfc(doc_id) in found for doc_id in doc_ids()):
        raise EvaluationError(
            f"{side.file} has no document of {job.name}. It has "
            f"{counted(list(found.values()), 'document', 'documents', 3)}. Is it a run over another corpus?"
        )
