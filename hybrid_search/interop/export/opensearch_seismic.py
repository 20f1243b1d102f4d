"""OpenSearch's `sparse_vector` field, which SEISMIC searches: words are whole numbers, weights have a ceiling.

The engine keeps a word in 15 bits and folds larger numbers together, so where the dimensions of a model are larger the
words of the collection are numbered anew, by rising dimension. It cuts weights off at a ceiling, so the ceilings are
set to the largest weight there is. Sources: OpenSearch 3.9, `sparse_vector`; neural-search, `SparseConstants`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import InvalidArgument
from hybrid_search.interop.export import bulk
from hybrid_search.interop.export.bulk import HITS
from hybrid_search.interop.export.job import ExportJob
from hybrid_search.interop.export.json_lines import json_line
from hybrid_search.interop.export.queries import heaviest
from hybrid_search.interop.export.source import ExportSource, SourceChunk

TERMS = "terms.jsonl"
MOST_TERMS = 32_768
CEILING = 16.0
"""The engine's own ceiling of queries' weights, where no query is known."""


def check(source: ExportSource) -> None:
    """Refuse a collection with more words than there are numbers.

    Raises:
        InvalidArgument: it has.
    """
    terms = len(source.statistics.dimensions)
    if _renumbered(source) and terms > MOST_TERMS:
        raise InvalidArgument(
            f"Leg {source.leg!r} has {terms:,} different words; SEISMIC tells {MOST_TERMS:,} apart. Leave out "
            "--form seismic."
        )


def _renumbered(source: ExportSource) -> bool:
    dimensions = source.statistics.dimensions
    return bool(dimensions.size) and int(dimensions[-1]) >= MOST_TERMS


def numbers_of(source: ExportSource, dimensions: NDArray[np.integer]) -> list[str]:
    """Return the keys of dimensions that occur in the collection."""
    if _renumbered(source):
        dimensions = np.searchsorted(source.statistics.dimensions, dimensions)
    return [str(number) for number in dimensions.tolist()]


def facts(job: ExportJob) -> dict[str, Any]:
    """Return the ceilings, and whether words are numbered anew; the report says so, too."""
    most = np.float32(job.statistics.heaviest(with_idf=job.idf_in_documents))
    asked = np.float32(heaviest(job.queries)) if job.queries else 0.0
    found = {
        "quantization_ceiling_ingest": float(str(most)) if most > 0 else 1.0,
        "quantization_ceiling_search": float(str(asked)) if asked > 0 else CEILING,
        "renumbered": _renumbered(job.source),
    }
    job.facts.update(found)
    return found


def field(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping of the field."""
    ceilings = {name: value for name, value in known.items() if name != "renumbered"}
    return {"type": "sparse_vector", "method": {"name": "seismic", "parameters": ceilings}}


def write_documents(job: ExportJob) -> None:
    """Write every chunk with numbers for words, and the words of the numbers."""
    words: dict[int, str] = {}

    def noted(chunks: Iterator[SourceChunk]) -> Iterator[SourceChunk]:
        for chunk in chunks:
            keys = numbers_of(job.source, chunk.dimensions)
            words.update(zip(map(int, keys), chunk.terms, strict=True))
            yield chunk._replace(terms=keys)

    bulk.write_documents(job, lambda chunk: bulk.document_features(job, chunk), noted)
    job.folder.write_lines(TERMS, (json_line({"token": str(key), "term": words[key]}) for key in sorted(words)))


def query_weights(job: ExportJob) -> list[dict[str, float]]:
    """Return the numbers and weights of each query."""
    found = []
    for query in job.queries:
        dimensions = query.vector.indices if query.vector is not None else np.zeros(0, np.int32)
        found.append(job.query_weights(query._replace(terms=numbers_of(job.source, dimensions))))
    return found


def query_of(field: str, weights: Mapping[str, float]) -> dict[str, Any]:
    """Return the query for numbers and weights; one that finds nothing where there are none."""
    if not weights:
        return {"match_none": {}}
    method = {"k": HITS, "top_n": len(weights), "heap_factor": 1.0}
    return {"neural_sparse": {field: {"query_tokens": weights, "method_parameters": method}}}


PAGE = """
The field is searched by SEISMIC in segments of more than a million documents, and exactly in smaller ones
(`approximate_threshold`). Its weights are kept in eight bits below a ceiling, and cut off above: the ceilings are the
largest weights of documents and queries, `{facts}`. Queries that were not exported may hold larger ones: where they do,
export again with them. `terms.jsonl` has the word of each number. Never use the two-phase pipeline with this field.
"""
