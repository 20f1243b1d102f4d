"""Queries on their way out: their words and weights, with the inverse document frequency where it belongs to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util import batched
from hybrid_search.corpus.trec import read_queries
from hybrid_search.interop.export.quantization import Idf
from hybrid_search.interop.export.source import ExportSource
from hybrid_search.protocols import SparseEncoder
from hybrid_search.search.retrieval import read
from hybrid_search.types import LegName, SparseVector

ENCODE_BATCH = 64


class ExportedQuery(NamedTuple):
    """One query.

    Args:
        query_id: its id.
        text: its text.
        terms: the words of its sparse vector; none where the model reads nothing of it.
        weights: of the same, float64, with the inverse document frequency where queries carry it.
        known: of the same, which occur in the collection.
        dense: its vector in each dense leg that was asked for.
        vector: what our own search takes: the sparse vector as encoded; None where the leg abstains.
    """

    query_id: str
    text: str
    terms: list[str]
    weights: NDArray[np.float64]
    known: NDArray[np.bool_]
    dense: Mapping[LegName, NDArray[np.float32]]
    vector: SparseVector | None


def encoded_queries(source: ExportSource, file: Path | None, idf: Idf) -> list[ExportedQuery]:
    """Read and encode queries; none where no file is given.

    Args:
        source: the collection.
        file: JSON lines of `{"_id", "text"}`.
        idf: which side carries the inverse document frequency, where the leg needs it.

    Raises:
        EvaluationError: the file cannot be read, as `read_queries` says.
    """
    if file is None:
        return []
    encoders = source.models.encoders
    named = cast(SparseEncoder, encoders[source.leg])
    encoded: list[ExportedQuery] = []
    for batch in batched(read_queries(file), ENCODE_BATCH):
        vectors, _ = read([query.text for query in batch], encoders)
        for row, query in enumerate(batch):
            dense = {leg: cast(Any, vectors[leg][row]) for leg in source.dense if vectors[leg][row] is not None}
            sparse = cast("SparseVector | None", vectors[source.leg][row])
            encoded.append(_query(source, idf, query, sparse, dense))
    return _as_documents_name(source, encoded) if named.card.runtime == "terms" else encoded


def _as_documents_name(source: ExportSource, queries: Sequence[ExportedQuery]) -> list[ExportedQuery]:
    """Return queries with the words that the documents store for their dimensions, which are hashes of words."""
    dimensions = [query.vector.indices.tolist() if query.vector is not None else [] for query in queries]
    pairs = (
        pair for some, query in zip(dimensions, queries, strict=True) for pair in zip(some, query.known, strict=True)
    )
    wanted = {dimension for dimension, known in pairs if known}
    names: dict[int, str] = {}
    for chunk in source.chunks():
        if len(names) == len(wanted):
            break
        stored = zip(chunk.dimensions.tolist(), chunk.terms, strict=True)
        names.update((dimension, term) for dimension, term in stored if dimension in wanted)
    return [
        query._replace(terms=[names.get(d, term) for d, term in zip(some, query.terms, strict=True)])
        for some, query in zip(dimensions, queries, strict=True)
    ]


def _query(
    source: ExportSource,
    idf: Idf,
    query: Any,
    vector: SparseVector | None,
    dense: Mapping[LegName, NDArray[np.float32]],
) -> ExportedQuery:
    indices = vector.indices if vector is not None else np.zeros(0, np.int32)
    weights = vector.values.astype(np.float64) if vector is not None else np.zeros(0)
    if source.spec.needs_idf and idf == "queries":
        weights = weights * source.statistics.idf(indices)
    known = source.statistics.frequency(indices) > 0
    return ExportedQuery(query.query_id, query.text, source.names(indices), weights, known, dense, vector)


def heaviest(queries: Sequence[ExportedQuery]) -> float:
    """Return the largest weight of all queries, of terms that the collection has; 0 where there is none."""
    return max((float(query.weights[query.known].max()) for query in queries if query.known.any()), default=0.0)
