"""Elasticsearch: a mapping, bulk files, and requests for the sparse leg, for both fusions, or for `semantic_text`.

Query tokens are not pruned, and dense vectors are kept as floats: both are other than the engine's defaults. Sources:
Elasticsearch 9, `sparse_vector`, `dense_vector`, `semantic_text`, `rrf` and `linear` retriever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hybrid_search.errors import InvalidArgument
from hybrid_search.interop.export import bulk
from hybrid_search.interop.export.bulk import CANDIDATES, HITS, HYBRID, MAPPING, QUERIES, RRF_K, WINDOW, field_of
from hybrid_search.interop.export.bulk_readme import load_commands, search_commands
from hybrid_search.interop.export.job import ExportJob, ExportOptions, Format
from hybrid_search.interop.export.json_lines import read_lines
from hybrid_search.interop.export.queries import ExportedQuery
from hybrid_search.interop.export.readme import readme as page
from hybrid_search.interop.export.source import ExportSource

LINEAR = "linear.jsonl"
MOST_DIMS = 4096
SEMANTIC = "semantic"
"""The field that the engine's own endpoint fills from texts and titles."""

NAME = "elasticsearch"


def check(source: ExportSource, options: ExportOptions) -> None:
    """Refuse what the engine cannot hold.

    Raises:
        InvalidArgument: an id or a vector is too long, or rankings are to be compared that the files do not hold.
    """
    if options.semantic_text and options.verify:
        raise InvalidArgument(
            "--semantic-text leaves the vectors to the engine, so there are none to verify. Leave one of both out."
        )
    bulk.check_limits(source, "Elasticsearch", MOST_DIMS)


def write(job: ExportJob) -> None:
    """Write mapping, documents and requests."""
    semantic = bool(job.options.semantic_text)
    job.folder.write_json(MAPPING, mapping(job))
    bulk.write_documents(job, None if semantic else lambda chunk: bulk.document_features(job, chunk))
    if job.options.queries is None:
        return
    if semantic:
        bulk.write_bodies(job, QUERIES, [{"query": _semantic(query)} for query in job.queries])
        return
    asked = [sparse_query(field_of(job.source.leg), job.query_weights(query)) for query in job.queries]
    bulk.write_bodies(job, QUERIES, [{"query": query} for query in asked])
    if job.source.dense:
        legs = [_retrievers(*pair) for pair in zip(job.queries, asked, strict=True)]
        bulk.write_bodies(job, HYBRID, [{"retriever": rrf(each)} for each in legs])
        bulk.write_bodies(job, LINEAR, [{"retriever": linear(each)} for each in legs])


def mapping(job: ExportJob) -> dict[str, Any]:
    """Return settings and mappings, as they are put to make the index."""
    properties: dict[str, Any] = {**bulk.FIELDS, "metadata": {"type": "flattened", "ignore_above": bulk.LONGEST_VALUE}}
    if job.options.semantic_text:
        filled = {"type": "text", "copy_to": SEMANTIC}
        made = {"type": "semantic_text", "inference_id": job.options.semantic_text}
        properties |= {"title": filled, "text": filled, SEMANTIC: made}
    else:
        properties[field_of(job.source.leg)] = {"type": "sparse_vector", "index_options": {"prune": False}}
        for leg in job.source.dense:
            properties[field_of(leg)] = _dense(job.source.reader.manifest.legs[leg].dim)
    meta = {bulk.ABOUT: bulk.about(job, semantic_text=job.options.semantic_text)}
    return {
        "settings": {"index": {"number_of_shards": 1, "auto_expand_replicas": "0-1"}},
        "mappings": {"_meta": meta, "dynamic": False, "properties": properties},
    }


def _dense(dim: int) -> dict[str, Any]:
    return {
        "type": "dense_vector",
        "dims": dim,
        "element_type": "float",
        "index": True,
        "similarity": "cosine",
        "index_options": {"type": "hnsw", "m": 16, "ef_construction": 100},
    }


def sparse_query(field: str, weights: Mapping[str, float]) -> dict[str, Any]:
    """Return the query for words and weights; one that finds nothing where there are none."""
    if not weights:
        return {"match_none": {}}
    return {"sparse_vector": {"field": field, "query_vector": weights, "prune": False}}


def rrf(retrievers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the reciprocal rank fusion of several retrievers, or the only one."""
    if len(retrievers) == 1:
        return retrievers[0]
    return {"rrf": {"retrievers": retrievers, "rank_constant": RRF_K, "rank_window_size": WINDOW}}


def linear(retrievers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the sum of several retrievers' scores, each between 0 and 1, or the only one."""
    if len(retrievers) == 1:
        return retrievers[0]
    weighted = [{"retriever": each, "weight": 1.0, "normalizer": "minmax"} for each in retrievers]
    return {"linear": {"retrievers": weighted, "rank_window_size": WINDOW}}


def _retrievers(query: ExportedQuery, sparse: Mapping[str, Any]) -> list[dict[str, Any]]:
    dense = [
        {
            "knn": {
                "field": field_of(leg),
                "query_vector": bulk.floats(vector),
                "k": HITS,
                "num_candidates": CANDIDATES,
            }
        }
        for leg, vector in query.dense.items()
    ]
    return [{"standard": {"query": sparse}}, *dense]


def _semantic(query: ExportedQuery) -> dict[str, Any]:
    return {"semantic": {"field": SEMANTIC, "query": query.text}} if query.text.strip() else {"match_none": {}}


def queries(folder: Path) -> Mapping[str, Mapping[str, float]]:
    """Return the words' weights of each query."""
    return {
        line["_id"]: line["body"]["query"].get("sparse_vector", {}).get("query_vector", {})
        for line in read_lines([folder / QUERIES])
    }


SEMANTIC_PAGE = """
The files hold texts alone. The endpoint `{endpoint}` encodes them into the field `semantic` while they are loaded, and
each query when it is asked. It must be there before the index is made: `GET /_inference/{endpoint}`.
"""

VECTORS_PAGE = """
Query tokens are not pruned, by the mapping and by each query: with the engine's default a fifth of the first ten
documents are others. A feature keeps nine significant bits of its weight. The engine leaves vectors out of `_source`,
so keep these files for a way back:

    hybrid-search import elasticsearch bulk-*.ndjson -c NAME
"""


def readme(job: ExportJob) -> str:
    """Return the commands that load and search the export."""
    endpoint = job.options.semantic_text
    body = load_commands(job)
    if job.options.queries is not None:
        more = {HYBRID: "reciprocal rank fusion", LINEAR: "sum of the scores, each from 0 to 1"}
        body += search_commands("elasticsearch", more if job.source.dense and not endpoint else {})
    body += SEMANTIC_PAGE.format(endpoint=endpoint) if endpoint else VECTORS_PAGE
    return page(job, "Elasticsearch", body)


FORMAT = Format(
    NAME,
    write,
    bulk.read_documents,
    queries,
    readme,
    dense=True,
    longest_term=bulk.LONGEST_TERM,
    smallest=bulk.SMALLEST,
    check=check,
)
