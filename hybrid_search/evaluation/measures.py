"""Scores a run, query by query. Measures and their names are those of ir_measures."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util.extras import importing_extra
from hybrid_search._util.unicode_text import nfc
from hybrid_search.corpus.trec import Qrel, ScoredDoc
from hybrid_search.errors import EvaluationError

DEFAULT_MEASURES = ("nDCG@10", "R@100", "RR@10")


def parse(names: Sequence[str]) -> list[Any]:
    """Return the measures with these names.

    Raises:
        EvaluationError: some names are not measures, the message lists all of them; or nothing that is installed
            computes one.
        MissingExtra: ir-measures is not installed.
    """
    ir_measures = _library()
    parsed, wrong = [], []
    for name in names:
        try:
            parsed.append(ir_measures.parse_measure(name))
        except (ValueError, NameError, KeyError, SyntaxError, AttributeError, AssertionError, TypeError):
            wrong.append(name)
    if wrong or not parsed:
        raise EvaluationError(
            f"No measure: {', '.join(map(repr, wrong)) or 'none given'}. Write them as {', '.join(DEFAULT_MEASURES)}, "
            "AP, P@5, Success@10; see https://ir-measur.es."
        )
    for measure in parsed:
        _try(measure)
    return parsed


def _try(measure: Any) -> None:
    """Compute a measure of one document, so that what cannot be computed is told before anything is searched."""
    ir_measures = _library()
    try:
        list(ir_measures.iter_calc([measure], [ir_measures.Qrel("1", "d", 1)], [ir_measures.ScoredDoc("1", "d", 1.0)]))
    except (ValueError, AssertionError, ImportError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        raise EvaluationError(
            f"The measure {measure} cannot be computed here: {' '.join(str(error).split())} See https://ir-measur.es."
        ) from error


def max_cutoff(measures: Sequence[Any]) -> int:
    """Return the largest rank that any of the measures looks at; 1,000 for a measure without a cutoff."""
    return max(int(measure.params.get("cutoff") or 1_000) for measure in measures)


def score(run: Sequence[ScoredDoc], qrels: Sequence[Qrel], measures: Sequence[Any]) -> dict[str, NDArray[np.float64]]:
    """Return the value of each measure for each judged query.

    Args:
        run: for each query its documents, best first. Equal scores keep this order: only the rank counts.
        measures: parsed measures.
        qrels: decide which queries count: one that the run lacks scores 0 and is never left out.

    Returns:
        Measure name -> array of shape (queries,), in the order of the queries' first judgement.
    """
    ir_measures = _library()
    places = {query_id: place for place, query_id in enumerate(dict.fromkeys(qrel.query_id for qrel in qrels))}
    values = {str(measure): np.zeros(len(places)) for measure in measures}
    if not run:
        return values
    # Some scorers are programs that read files with numbers for queries and no white space in ids, so ids become such.
    # A collection has its ids in normal form C, whatever the judgements have.
    documents = dict.fromkeys(nfc(row.doc_id) for rows in (qrels, run) for row in rows)
    number = {doc_id: f"d{place}" for place, doc_id in enumerate(documents)}
    judged = [ir_measures.Qrel(str(places[q.query_id]), number[nfc(q.doc_id)], q.relevance, q.iteration) for q in qrels]
    # Scorers sort by score again and break ties their own way, so they get the place instead.
    scored = [
        ir_measures.ScoredDoc(str(places[row.query_id]), number[nfc(row.doc_id)], -float(place))
        for place, row in enumerate(run)
        if row.query_id in places
    ]
    for metric in ir_measures.iter_calc(list(measures), judged, scored):
        values[str(metric.measure)][int(metric.query_id)] = metric.value
    return values


def _library() -> Any:
    with importing_extra("eval", "Evaluation"):
        import ir_measures
    return ir_measures
