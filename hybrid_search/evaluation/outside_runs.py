"""Runs of other engines, judged beside our own: their ids are matched with those of the judgements and the corpus."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np

from hybrid_search._util.unicode_text import nfc
from hybrid_search.corpus.trec import Dataset, RunLine, ScoredDoc, read_run_lines, unescape
from hybrid_search.errors import EvaluationError, InvalidArgument
from hybrid_search.evaluation.counted import counted

_PASSAGE = re.compile(r"(.+)#\d+", re.DOTALL)


class OutsideRun(NamedTuple):
    """A run that was made elsewhere.

    Args:
        label: its tag, or the name of its file.
        rows: for each query its documents, best first, each once.
        notes: what of it counts for nothing, in sentences.
    """

    label: str
    rows: list[ScoredDoc]
    notes: tuple[str, ...]


def read_outside_runs(
    paths: Sequence[str | Path], data: Dataset, doc_ids: Callable[[], Iterable[str]], modes: Collection[str]
) -> list[OutsideRun]:
    """Read runs. Passages (`doc#n`) whose own ids nobody knows become their documents, each with its best score.

    Args:
        paths: of the files.
        data: whose queries and judgements they are for.
        doc_ids: yields the ids of the corpus; called where the judgements leave open which form of an id is right.
        modes: labels that are taken.

    Raises:
        EvaluationError: a file cannot be read or has no line, a line is broken, or a document stands twice for a query.
        InvalidArgument: two runs, or a run and a mode, have one name.
    """
    found: list[OutsideRun] = []
    judged = {nfc(qrel.doc_id) for qrel in data.qrels}
    for path in paths:
        lines = read_run_lines(path, once=True)
        if not lines:
            raise EvaluationError(f"{path} holds no line of a run: query_id Q0 doc_id rank score tag")
        label = _label(Path(path), lines, {*modes, *(run.label for run in found)})
        open_ids = {line.doc_id for line in lines if len(forms(line.doc_id)) > 1 and nfc(line.doc_id) not in judged}
        known = judged | _there(open_ids, doc_ids) if open_ids else judged
        queries = {query.query_id for query in data.queries}
        rows = list(_documents(lines, known, queries))
        notes = (*_notes(label, rows, queries, judged), *_order_notes(label, lines))
        found.append(OutsideRun(label, rows, notes))
    return found


def forms(written: str) -> tuple[str, ...]:
    """Return what an id of a run may stand for, the likeliest first: as written, unescaped, or its document's id.

    >>> forms("my%20notes.md#3")
    ('my%20notes.md#3', 'my notes.md#3', 'my%20notes.md', 'my notes.md')
    """
    whole = (written, unescape(written), unquote(written))
    documents = (match[1] for match in map(_PASSAGE.fullmatch, whole) if match)
    return tuple(dict.fromkeys((*whole, *documents)))


def _there(written: Iterable[str], doc_ids: Callable[[], Iterable[str]]) -> set[str]:
    """Return those forms of ids that the corpus has."""
    asked = {nfc(form) for one in written for form in forms(one)}
    return {doc_id for doc_id in map(nfc, doc_ids()) if doc_id in asked}


def _documents(lines: Iterable[RunLine], known: Collection[str], queries: Collection[str]) -> Iterator[ScoredDoc]:
    """Yield each document of a query once, in the order of trec_eval: by score in 32 bits, equal ones by id downwards.

    The ids that are compared are those of the file.
    """
    best: dict[str, dict[str, tuple[np.float32, str, float]]] = {}
    for line in lines:
        with np.errstate(over="ignore"):
            place = (np.float32(line.score), line.doc_id, line.score)
        documents = best.setdefault(_known(line.query_id, queries), {})
        doc_id = _known(line.doc_id, known)
        documents[doc_id] = max(documents.get(doc_id, place), place)
    for query_id, documents in best.items():
        for doc_id, (_, _, score) in sorted(documents.items(), key=lambda item: item[1], reverse=True):
            yield ScoredDoc(query_id, doc_id, score)


def _known(written: str, known: Collection[str]) -> str:
    """Return the form of an id that is known; where none is, the id as our own exports would have it read."""
    either = (nfc(form) if nfc(form) in known else form for form in forms(written))
    return next((form for form in either if form in known), unescape(written))


def _label(path: Path, lines: Sequence[RunLine], taken: Collection[str]) -> str:
    """Return the tag of a run if it has one that is free, else the name of its file."""
    tags = {line.tag for line in lines}
    labels = [*(tags if len(tags) == 1 else ()), path.stem, path.name, str(path)]
    free = [label for label in labels if label not in taken]
    if not free:
        raise InvalidArgument(f"The run {path} is given twice. Give each run once.")
    return str(free[0])


def _notes(label: str, rows: Sequence[ScoredDoc], queries: Collection[str], judged: Collection[str]) -> Iterator[str]:
    """Yield what of a run counts for nothing, and what it lacks."""
    there = {row.query_id for row in rows}
    lacking = sorted(set(queries) - there)
    if lacking:
        yield f"{label} has nothing for {counted(lacking, 'query', 'queries')} of {len(queries):,}; each counts as 0."
    if there - set(queries):
        yield f"{label} has {len(there - set(queries)):,} queries that are not judged; they count for nothing."
    if not any(nfc(row.doc_id) in judged for row in rows):
        yield f"{label} has no document that is judged: are its ids those of this dataset?"


def _order_notes(label: str, lines: Iterable[RunLine]) -> Iterator[str]:
    """Yield what of the order of a run other scorers may read otherwise: ranks given twice, and equal scores."""
    by_query: dict[str, list[RunLine]] = {}
    for line in lines:
        by_query.setdefault(line.query_id, []).append(line)
    ranks: dict[str, tuple[str, list[str]]] = {}
    scores: dict[str, tuple[str, list[str]]] = {}
    for query_id, rows in by_query.items():
        same_rank = _shared((row.rank, row.doc_id) for row in rows)
        same_score = _shared((repr(row.score), row.doc_id) for row in rows)
        ranks.update((query_id, shared) for shared in same_rank[:1])
        # The greater id stands first; a file in that order is read as it stands.
        scores.update((query_id, one) for one in [each for each in same_score if each[1] != sorted(each[1])[::-1]][:1])
    for query_id, (rank, doc_ids) in list(ranks.items())[:1]:
        yield (
            f"{label} gives a rank to several documents in {counted(list(ranks), 'query', 'queries', 3)}: first rank "
            f"{rank} in query {query_id!r} to {counted(doc_ids, 'document', 'documents', 2)}. Ranks are not read; the "
            "scores decide."
        )
    for query_id, (score, doc_ids) in list(scores.items())[:1]:
        yield (
            f"{label} has equal scores in {counted(list(scores), 'query', 'queries', 3)}: first {score} in query "
            f"{query_id!r} for {counted(doc_ids, 'document', 'documents', 2)}. As in trec_eval, the greater id comes "
            "first, whatever the order of the file."
        )


def _shared(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Return what several documents share, each with these documents.

    >>> _shared([("1", "a"), ("2", "b"), ("1", "c")])
    [('1', ['a', 'c'])]
    """
    documents: dict[str, list[str]] = {}
    for value, doc_id in pairs:
        documents.setdefault(value, []).append(doc_id)
    return [(value, doc_ids) for value, doc_ids in documents.items() if len(doc_ids) > 1]
