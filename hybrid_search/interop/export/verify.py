"""Whether the rankings survived: queries are scored over the exported files alone, and compared with the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util import batched
from hybrid_search.interop.export.escaping import stored_id
from hybrid_search.interop.export.queries import ExportedQuery
from hybrid_search.interop.export.source import ExportSource
from hybrid_search.types import SparseVector

TOP = 10
QUERIES_AT_ONCE = 128
DOCUMENTS_AT_ONCE = 512
EQUAL = 1e-6
"""Scores that differ by less, relatively, are ties: engines add in single precision."""

Weighted = tuple[str, Mapping[str, float]]
"""An id and the weights by word, as a file has them."""


class Overlap(NamedTuple):
    """How far the exported files rank as the store does.

    Args:
        queries: how many were compared.
        mean: over the queries, of the share of the store's first ten that the files' first ten hold, ties either way.
        worst: of one query.
        perfect: queries where all of them are the same.
    """

    queries: int
    mean: float
    worst: float
    perfect: int


def nine_bits(weights: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return weights as a feature of Lucene keeps them: nine significant bits, the rest cut off.

    Source: Lucene, FeatureField: the upper 17 bits of the float32.

    >>> nine_bits(np.float32([1.0, 0.3])).tolist()
    [1.0, 0.2998046875]
    """
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32)
    cut: NDArray[np.uint32] = bits >> np.uint32(15) << np.uint32(15)
    return cut.view(np.float32)


def overlap(
    source: ExportSource,
    queries: Sequence[ExportedQuery],
    exported: Sequence[Mapping[str, float]],
    documents: Callable[[], Iterable[Weighted]],
) -> Overlap:
    """Compare the first ten of each query: those of the store, and those of the files by dot product.

    Args:
        source: the collection.
        queries: with the vectors that the store is asked with.
        exported: the same queries as their file has them, by word.
        documents: gives them as their files have them; called once for every 128 queries.
    """
    shares: list[float] = []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        block = slice(start, start + QUERIES_AT_ONCE)
        ranked = rank_documents(exported[block], documents())
        for query, mine in zip(queries[block], ranked, strict=True):
            shares.append(_share(_of_store(source, query.vector), mine))
    if not shares:
        return Overlap(0, 1.0, 1.0, 0)
    return Overlap(len(shares), float(np.mean(shares)), min(shares), shares.count(1.0))


def rank_documents(
    queries: Sequence[Mapping[str, float]], documents: Iterable[Weighted]
) -> list[list[tuple[str, float]]]:
    """Return for each query the best ids with their scores, best first: ten, and those that tie with the tenth.

    A score is the dot product in float64. Documents without a word of the query do not count.
    """
    columns = {term: column for column, term in enumerate(sorted({term for query in queries for term in query}))}
    asked = np.zeros((len(queries), len(columns)))
    for row, query in enumerate(queries):
        for term, weight in query.items():
            asked[row, columns[term]] = weight
    best: list[list[tuple[str, float]]] = [[] for _ in queries]
    for batch in batched(documents, DOCUMENTS_AT_ONCE):
        held = np.zeros((len(batch), len(columns)))
        for row, (_, weights) in enumerate(batch):
            for term, weight in weights.items():
                if term in columns:
                    held[row, columns[term]] = weight
        _merge(best, [exported for exported, _ in batch], asked @ held.T)
    return best


def _merge(best: list[list[tuple[str, float]]], ids: Sequence[str], scores: NDArray[np.float64]) -> None:
    for row, found in enumerate(best):
        least = found[TOP - 1][1] * (1 - EQUAL) if len(found) >= TOP else 0.0
        fresh = [(ids[place], float(scores[row, place])) for place in np.flatnonzero(scores[row] > 0).tolist()]
        if fresh:
            merged = sorted([*found, *(pair for pair in fresh if pair[1] >= least)], key=lambda pair: -pair[1])
            best[row] = list(_with_ties(merged))


def _with_ties(ranked: Sequence[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    least = ranked[TOP - 1][1] * (1 - EQUAL) if len(ranked) >= TOP else -np.inf
    return (pair for pair in ranked if pair[1] >= least)


def _of_store(source: ExportSource, vector: SparseVector | None) -> list[tuple[str, float]]:
    """Return the first ten chunks of the store with their scores, and those that tie with the tenth."""
    limit = 2 * TOP
    while vector is not None and len(vector):
        [found] = source.reader.retrieve([(source.leg, vector)], limit)
        if len(found) < limit or found[-1][1] < found[TOP - 1][1] * (1 - EQUAL):
            return list(_with_ties(sorted(found, key=lambda pair: -pair[1])))
        limit *= 4
    return []


def _share(ours: Sequence[tuple[str, float]], theirs: Sequence[tuple[str, float]]) -> float:
    """Return the share of the store's first ten that the files' hold, or what is to be expected where these tie.

    A chunk that ties with the store's tenth counts as one of the ten.
    """
    if not ours:
        return float(not theirs)
    wanted = {chunk_id for chunk_id, _ in ours}
    hits = [stored_id(exported) in wanted for exported, _ in theirs]
    first, room = min(TOP, len(ours)), TOP
    if len(theirs) <= TOP:
        return min(sum(hits), first) / first
    least = theirs[-1][1] * (1 + 2 * EQUAL)
    sure = sum(score > least for _, score in theirs)
    tied = hits[sure:]
    return min(sum(hits[:sure]) + (room - sure) * sum(tied) / len(tied), first) / first
