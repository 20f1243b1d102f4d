"""OpenSearch: a mapping, bulk files and requests, with the weights as `rank_features` or as a SEISMIC `sparse_vector`.

A feature with a dot in its name is taken and never found, so dots are escaped. Sources: OpenSearch 3.9,
`rank_features`, `rank_feature`, `neural_sparse`, `hybrid`, `knn_vector`, score ranker and normalization processor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybrid_search.errors import InvalidArgument
from hybrid_search.interop.export import bulk, opensearch_seismic
from hybrid_search.interop.export.bulk import HITS, HYBRID, MAPPING, QUERIES, RRF_K, field_of
from hybrid_search.interop.export.bulk_readme import JSON, load_commands, search_commands
from hybrid_search.interop.export.escaping import escaper, unescape
from hybrid_search.interop.export.job import ExportJob, ExportOptions, Format
from hybrid_search.interop.export.json_lines import read_lines
from hybrid_search.interop.export.queries import ExportedQuery
from hybrid_search.interop.export.readme import readme as page
from hybrid_search.interop.export.source import ExportSource
from hybrid_search.types import LegName

NEURAL, RRF, MINMAX = "neural.jsonl", "pipeline.json", "pipeline-minmax.json"
RANK_FEATURES, SEISMIC = "rank_features", "seismic"
FORMS = (RANK_FEATURES, SEISMIC)

MOST_DIMS, MOST_LUCENE_DIMS = 16_000, 1024
MOST_CLAUSES = 1024
"""Clauses of a `bool` query, which is what both forms of the query are made into."""

MOST_LEGS = 5
"""Queries of a `hybrid` query."""

EMPTY = "%00"
"""The empty word. No other is written so: the percent sign of `%00` is escaped itself."""

_escape_dots = escaper(".")


def escape_token(token: str) -> str:
    """Return a word as the name of a feature.

    >>> escape_token("3.5"), escape_token(""), escape_token("%2E"), escape_token("##ing")
    ('3%2E5', '%00', '%252E', '##ing')
    """
    return _escape_dots(token) if token else EMPTY


def unescape_token(feature: str) -> str:
    """Return the word of a feature; the inverse of `escape_token`."""
    return "" if feature == EMPTY else unescape(feature)


def check(source: ExportSource, options: ExportOptions) -> None:
    """Refuse what the engine cannot hold.

    Raises:
        InvalidArgument: there is no such form, an id or a vector is too long, or SEISMIC has no numbers for the words.
    """
    if form_of(options) not in FORMS:
        raise InvalidArgument(f"form is {options.form!r}; it must be one of {', '.join(FORMS)}.")
    bulk.check_limits(source, "OpenSearch", MOST_DIMS)
    if form_of(options) == SEISMIC:
        opensearch_seismic.check(source)


def form_of(options: ExportOptions) -> str:
    """Return the form that was asked for."""
    return options.form or RANK_FEATURES


def write(job: ExportJob) -> None:
    """Write mapping, documents, requests and search pipelines."""
    seismic = form_of(job.options) == SEISMIC
    job.folder.write_json(MAPPING, mapping(job))
    if seismic:
        opensearch_seismic.write_documents(job)
    else:
        bulk.write_documents(job, lambda chunk: bulk.document_features(job, chunk))
    if job.options.queries is None:
        return
    weighted = opensearch_seismic.query_weights(job) if seismic else [job.query_weights(query) for query in job.queries]
    kept = [
        bulk.heaviest_of(job, weights, MOST_CLAUSES, "queries_above_1024_clauses", query.query_id)
        for query, weights in zip(job.queries, weighted, strict=True)
    ]
    field = field_of(job.source.leg)
    asked = [opensearch_seismic.query_of(field, each) if seismic else features_query(field, each) for each in kept]
    bulk.write_bodies(job, QUERIES, [{"query": query} for query in asked])
    if not seismic:
        bulk.write_bodies(job, NEURAL, [{"query": neural_query(field, each)} for each in kept])
    if job.source.dense:
        hybrid = [_hybrid(job, *pair) for pair in zip(job.queries, asked, strict=True)]
        bulk.write_bodies(job, HYBRID, [{"query": query} for query in hybrid])
        write_pipelines(job)


def mapping(job: ExportJob) -> dict[str, Any]:
    """Return settings and mappings, as they are put to make the index."""
    form, legs = form_of(job.options), job.source.reader.manifest.legs
    seismic = opensearch_seismic.facts(job) if form == SEISMIC else {}
    properties: dict[str, Any] = {**bulk.FIELDS, "metadata": {"type": "flat_object"}}
    properties[field_of(job.source.leg)] = (
        opensearch_seismic.field(seismic) if form == SEISMIC else {"type": "rank_features"}
    )
    for leg in job.source.dense:
        properties[field_of(leg)] = _dense(legs[leg].dim)
    settings: dict[str, Any] = {"number_of_shards": 1, "auto_expand_replicas": "0-1"}
    if job.source.dense:
        settings["knn"] = True
    if form == SEISMIC:
        settings["sparse"] = True
    meta = {bulk.ABOUT: bulk.about(job, form=form, **seismic)}
    return {
        "settings": {"index": settings},
        "mappings": {"_meta": meta, "dynamic": False, "properties": properties},
    }


def _dense(dim: int) -> dict[str, Any]:
    engine = "lucene" if dim <= MOST_LUCENE_DIMS else "faiss"
    parameters = {"m": 16, "ef_construction": 100}
    method = {"name": "hnsw", "space_type": "cosinesimil", "engine": engine, "parameters": parameters}
    return {"type": "knn_vector", "dimension": dim, "method": method}


def features_query(field: str, weights: Mapping[str, float]) -> dict[str, Any]:
    """Return the query that adds up features, each times its boost. It needs no plugin."""
    if not weights:
        return {"match_none": {}}
    clauses = [
        {"rank_feature": {"field": f"{field}.{token}", "linear": {}, "boost": weight}}
        for token, weight in weights.items()
    ]
    return {"bool": {"should": clauses}}


def neural_query(field: str, weights: Mapping[str, float]) -> dict[str, Any]:
    """Return the same for the plugin for neural search."""
    return {"neural_sparse": {field: {"query_tokens": weights}}} if weights else {"match_none": {}}


def _hybrid(job: ExportJob, query: ExportedQuery, sparse: Mapping[str, Any]) -> dict[str, Any]:
    dense = [
        {"knn": {field_of(leg): {"vector": bulk.floats(vector), "k": HITS}}}
        for leg, vector in query.dense.items()
        if leg in _fused(job)
    ]
    return {"hybrid": {"queries": [sparse, *dense]}}


def _fused(job: ExportJob) -> tuple[LegName, ...]:
    """Return the dense legs that a hybrid query has room for, and say which it has not."""
    kept = job.source.dense[: MOST_LEGS - 1]
    if left := job.source.dense[MOST_LEGS - 1 :]:
        job.facts["legs_left_out_of_hybrid"] = list(left)
    return kept


def write_pipelines(job: ExportJob) -> None:
    """Write the search pipelines that fuse the legs of a hybrid query: by rank, and by score."""
    ranked = {"score-ranker-processor": {"combination": {"technique": "rrf", "rank_constant": RRF_K}}}
    scored = {
        "normalization-processor": {
            "normalization": {"technique": "min_max"},
            "combination": {"technique": "arithmetic_mean"},
        }
    }
    for name, processor in ((RRF, ranked), (MINMAX, scored)):
        job.folder.write_json(name, {"phase_results_processors": [processor]})


def queries(folder: Path) -> Mapping[str, Mapping[str, float]]:
    """Return the words' weights of each query."""
    field = bulk.read_about(folder / MAPPING)["field"]
    return {line["_id"]: _weights(line["body"]["query"], field) for line in read_lines([folder / QUERIES])}


def _weights(query: Mapping[str, Any], field: str) -> dict[str, float]:
    if "neural_sparse" in query:
        weights: dict[str, float] = query["neural_sparse"][field]["query_tokens"]
        return weights
    clauses = [each["rank_feature"] for each in query.get("bool", {}).get("should", [])]
    return {each["field"].removeprefix(f"{field}."): each["boost"] for each in clauses}


FEATURES_PAGE = """
A feature keeps nine significant bits of its weight. A word with a dot would never be found, so a dot is written
`%2E`, a percent sign before two hexadecimal digits `%25`, and the empty word `%00`. A query holds no more than 1,024
clauses; the report names those that had more.
"""


HYBRID_HINT = (
    'all legs, sent to `"$INDEX/_search?search_pipeline=pipeline"`, which fuses by rank, or to `pipeline-minmax`, '
    "which fuses by score"
)


def readme(job: ExportJob) -> str:
    """Return the commands that load and search the export."""
    fused = bool(job.source.dense) and job.options.queries is not None
    root = '"${INDEX%/*}/_search/pipeline/'
    before = [
        f'curl -sS --fail-with-body -X PUT {root}{file.removesuffix(".json")}" {JSON} --data-binary @{file} || exit 1'
        for file in ((RRF, MINMAX) if fused else ())
    ]
    body = load_commands(job, before)
    if job.options.queries is not None:
        more = {} if form_of(job.options) == SEISMIC else {NEURAL: "the same, for the plugin for neural search"}
        if fused:
            more[HYBRID] = HYBRID_HINT
        body += search_commands("opensearch", more)
    seismic = json.dumps(opensearch_seismic.facts(job)) if form_of(job.options) == SEISMIC else ""
    body += opensearch_seismic.PAGE.format(facts=seismic) if seismic else FEATURES_PAGE
    return page(job, "OpenSearch", body)


FORMAT = Format(
    "opensearch",
    write,
    bulk.read_documents,
    queries,
    readme,
    dense=True,
    escape=escape_token,
    longest_term=bulk.LONGEST_TERM,
    smallest=bulk.SMALLEST,
    check=check,
)
