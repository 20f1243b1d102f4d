"""Compares two collections, models, settings or runs over the judged queries of a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util.unicode_text import nfc
from hybrid_search.collection.models import open_store_for
from hybrid_search.collection.profiles import DEFAULT_LEGS
from hybrid_search.corpus.trec import Dataset
from hybrid_search.errors import EvaluationError, InvalidArgument
from hybrid_search.evaluation import measures as measuring
from hybrid_search.evaluation.comparison import Comparison, DocumentMove, MeasureChange, QueryChange, SideReport
from hybrid_search.evaluation.counted import counted
from hybrid_search.evaluation.datasets import read_dataset
from hybrid_search.evaluation.job import Job, Watch
from hybrid_search.evaluation.rank_moves import DEPTHS, MOVES, Ranking, first_of, only_in, overlap, recall_by_depth
from hybrid_search.evaluation.side_answers import (
    Answers,
    Wanted,
    corpus_ids,
    measures_in,
    read_run_of,
    read_values_of,
    searched,
    titles_of,
)
from hybrid_search.evaluation.sides import Side, read_side
from hybrid_search.evaluation.significance import bootstrap_intervals, holm, paired_randomization_test
from hybrid_search.search.request import MAX_DEPTH
from hybrid_search.settings import Settings

DEPTH = 100
"""Documents of a query that are compared, where the measures look at no more."""

SAME = 1e-7
"""A difference from which on a query has changed: the values in files are rounded."""


def compare(
    a: str,
    b: str,
    folder: str | Path,
    *,
    settings: Settings,
    collection: str | None = None,
    profile: str = "auto",
    measures: Sequence[str] | None = None,
    k: int | None = None,
    query: str | None = None,
    watch: Watch | None = None,
) -> Comparison:
    """Compare two sides over every judged query of a dataset.

    Args:
        a: the side to start from: a TREC run, the JSON of an earlier evaluation (`FILE.json@MODE`), a collection
            (`NAME`, `NAME@MODE`), or a mode (`hybrid:dbsf,depth=200`), as `sides.read_side` reads it.
        b: the side that is held against it. Differences are B minus A.
        folder: the dataset.
        settings: name the store of collections, and the cache folder of what is built.
        collection: whose modes are meant where a side is a mode; by default one is built in the cache folder.
        profile: the models of what is built.
        measures: as in ir_measures; by default the usual ones that an earlier evaluation, if one is given, has.
        k: documents of each query that are compared; by default as many as the measures look at, 100 at least.
        query: the id of the query whose rankings are wanted.
        watch: callbacks of index jobs.

    Raises:
        InvalidArgument: a side is none of these or lacks what is asked of it, both are the same, a number is out of
            range, there is no such query, or an earlier evaluation is of other data.
        EvaluationError: the dataset, a run or an evaluation is broken, or is of another dataset.
    """
    if k is not None and not 1 <= k <= MAX_DEPTH:
        raise InvalidArgument(f"k is {k}; it must lie in 1..{MAX_DEPTH:,}.")
    sides = _sides(a, b, settings, collection)
    parsed = measuring.parse(_measures(measures, sides))
    data, name = read_dataset(folder, settings=settings)
    job = Job(settings, data, name, watch or {}, {})
    relevant = relevant_of(data)
    if query is not None and query not in relevant:
        known = counted(list(relevant), "query", "queries", 3)
        raise InvalidArgument(f"There is no judged query {query!r} in {name}. It has {known}.")
    wanted = Wanted(parsed, k or max(measuring.max_cutoff(parsed), DEPTH), relevant, query)
    with job.open:
        found = [_answers(side, job, wanted, profile) for side in sides]
    compared = compare_answers(found[0], found[1], data, name, wanted)
    return replace(compared, profile_reason=job.reason, indexed=tuple(job.indexed))


def _sides(a: str, b: str, settings: Settings, collection: str | None) -> list[Side]:
    """Read both sides.

    Raises:
        InvalidArgument: they are the same.
    """
    legs: Collection[str] = DEFAULT_LEGS
    if collection is not None:
        legs = tuple(open_store_for(None, settings).info(collection).manifest.legs)

    def names() -> Sequence[str]:
        return open_store_for(None, settings).names()

    sides = [read_side(name, text, collection, legs, names) for name, text in (("A", a), ("B", b))]
    if sides[0].meaning() == sides[1].meaning():
        raise InvalidArgument(f"A ({a}) and B ({b}) are the same. Name two that differ.")
    return sides


def _measures(measures: Sequence[str] | None, sides: Iterable[Side]) -> Sequence[str]:
    """Return the measures asked for, or the usual ones that the earlier evaluations have, else all of theirs."""
    if measures is not None:
        return measures
    there = [measures_in(side) for side in sides if side.kind == "evaluation"]
    if not there:
        return measuring.DEFAULT_MEASURES
    shared = set.intersection(*there)
    found = [name for name in measuring.DEFAULT_MEASURES if name in shared] or sorted(shared)
    if not found:
        raise EvaluationError("The evaluations that are compared have no measure in common.")
    return found


def _answers(side: Side, job: Job, wanted: Wanted, profile: str) -> Answers:
    if side.kind == "run":
        return read_run_of(side, job, wanted, lambda: corpus_ids(job.data))
    if side.kind == "evaluation":
        return read_values_of(side, job, wanted.measures)
    return searched(side, job, wanted, profile)


def relevant_of(data: Dataset) -> dict[str, list[str]]:
    """Return the relevant documents of each judged query, in the order of their judgements."""
    found: dict[str, list[str]] = {}
    for qrel in data.qrels:
        of_query = found.setdefault(qrel.query_id, [])
        if qrel.relevance > 0:
            of_query.append(nfc(qrel.doc_id))
    return found


def compare_answers(a: Answers, b: Answers, data: Dataset, name: str, wanted: Wanted) -> Comparison:
    """Return what follows from what both sides answer to the queries of a dataset of this name."""
    changes = measure_changes(a.values, b.values)
    queries = _query_changes(a, b, data, wanted)
    queries.sort(key=partial(_size, changes[0].name), reverse=True)
    both = a.rankings is not None and b.rankings is not None
    moves = Counter(document.move for one in queries for document in one.relevant)
    return Comparison(
        dataset=name,
        judged=len(queries),
        k=wanted.k,
        a=_with_recall(a, wanted),
        b=_with_recall(b, wanted),
        measures=changes,
        moves={move: moves[move] for move in MOVES} if both else {},
        same_lists=sum(one.is_same_list is True for one in queries) if both else None,
        queries=tuple(one for one in queries if wanted.query in (None, one.query_id)),
        notes=tuple(dict.fromkeys((*a.notes, *b.notes))),
    )


def _size(measure: str, one: QueryChange) -> tuple[float, float]:
    """Return how much a query has changed: by the measure, else by what the first documents are."""
    return round(abs(one.difference(measure)), 7), 0.0 if one.overlap is None else -one.overlap


def _with_recall(side: Answers, wanted: Wanted) -> SideReport:
    depths = [depth for depth in DEPTHS if depth <= wanted.k]
    recall = {} if side.rankings is None else recall_by_depth(side.rankings, wanted.relevant, depths)
    return side.about._replace(recall=recall)


def measure_changes(
    a: Mapping[str, NDArray[np.float64]], b: Mapping[str, NDArray[np.float64]]
) -> tuple[MeasureChange, ...]:
    """Return the change of each measure from A to B, with p-values corrected for the number of measures."""
    differences = {name: np.where(np.abs(b[name] - a[name]) < SAME, 0.0, b[name] - a[name]) for name in a}
    nothing = np.zeros(len(next(iter(a.values()))))
    p_values = [paired_randomization_test(each, nothing) for each in differences.values()]
    intervals = bootstrap_intervals(np.stack(list(differences.values()), axis=1))
    rows = zip(differences, p_values, holm(p_values), intervals.tolist(), strict=True)
    return tuple(
        MeasureChange(
            name,
            float(a[name].mean()),
            float(b[name].mean()),
            (low, high),
            p,
            corrected,
            int((differences[name] > 0).sum()),
            int((differences[name] == 0).sum()),
            int((differences[name] < 0).sum()),
        )
        for name, p, corrected, (low, high) in rows
    )


def _query_changes(a: Answers, b: Answers, data: Dataset, wanted: Wanted) -> list[QueryChange]:
    """Return every judged query, in the order of its first judgement."""
    texts = {query.query_id: query.text for query in data.queries}
    grades = {(qrel.query_id, nfc(qrel.doc_id)): qrel.relevance for qrel in data.qrels}
    titles = _titles(a, b, data, wanted)
    found = []
    for place, query_id in enumerate(wanted.relevant):
        values = {name: (float(a.values[name][place]), float(b.values[name][place])) for name in a.values}
        change = QueryChange(query_id, texts[query_id], values)
        if a.rankings is not None and b.rankings is not None:
            rankings = a.rankings.get(query_id, {}), b.rankings.get(query_id, {})
            move = _mover(query_id, rankings, grades, titles)
            change = _with_documents(change, rankings, move, wanted)
        found.append(change)
    return found


Mover = Callable[[Iterable[str]], tuple[DocumentMove, ...]]


def _mover(
    query_id: str, rankings: tuple[Ranking, Ranking], grades: Mapping[tuple[str, str], int], titles: Mapping[str, str]
) -> Mover:
    """Return what makes the moves of documents of a query from their ids."""
    a, b = rankings

    def moves(doc_ids: Iterable[str]) -> tuple[DocumentMove, ...]:
        return tuple(
            DocumentMove(doc_id, titles.get(doc_id, ""), grades.get((query_id, doc_id)), a.get(doc_id), b.get(doc_id))
            for doc_id in doc_ids
        )

    return moves


def _with_documents(
    change: QueryChange, rankings: tuple[Ranking, Ranking], moves: Mover, wanted: Wanted
) -> QueryChange:
    """Return a query with where its documents stand."""
    a, b = rankings
    relevant = moves(wanted.relevant[change.query_id])
    return change._replace(
        overlap=overlap(a, b),
        is_same_list=list(a) == list(b),
        relevant=tuple(sorted(relevant, key=_best_rank)),
        only_a=moves(only_in(a, b)),
        only_b=moves(only_in(b, a)),
        lists=(moves(a), moves(b)) if change.query_id == wanted.query else None,
    )


def _best_rank(document: DocumentMove) -> int:
    ranks = [place.rank for place in (document.a, document.b) if place is not None]
    return min(ranks, default=MAX_DEPTH + 1)


def _titles(a: Answers, b: Answers, data: Dataset, wanted: Wanted) -> Mapping[str, str]:
    """Return the titles of what is shown: those that a search has brought; of two runs, those of the corpus."""
    titles = {**a.titles, **b.titles}
    if a.rankings is None or b.rankings is None or "search" in (a.about.kind, b.about.kind):
        return titles
    shown = {doc_id for doc_ids in wanted.relevant.values() for doc_id in doc_ids}
    for rankings in (a.rankings, b.rankings):
        shown |= {doc_id for ranking in rankings.values() for doc_id in first_of(ranking)}
        shown |= set(rankings.get(wanted.query or "", ()))
    return {**titles, **titles_of(data, shown - set(titles))}
