"""Vespa: a schema, feed files with the weights as a mapped tensor, and requests that rank by the dot product.

Sources: Vespa, document JSON format, tensors, schemas, `reciprocal_rank_fusion` of the global phase; text fields refuse
control signs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hybrid_search.interop.export import bulk
from hybrid_search.interop.export.escaping import export_id
from hybrid_search.interop.export.job import ExportJob, Format
from hybrid_search.interop.export.json_lines import json_line, read_lines
from hybrid_search.interop.export.queries import ExportedQuery
from hybrid_search.interop.export.readme import readme as page
from hybrid_search.interop.export.source import SourceChunk
from hybrid_search.interop.export.verify import Weighted
from hybrid_search.types import LegName

FEED, SCHEMA, QUERIES, HYBRID = "feed-{:05d}.jsonl", "schema.sd", "queries.jsonl", "hybrid.jsonl"
DOCUMENT, SPACE = "chunk", "hybrid"
"""The document type, and the namespace of the ids."""

HITS = 100
ILLEGAL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufdd0-\ufdef\ufffe\uffff]")
"""Signs that a string field refuses."""


def field_of(leg: LegName) -> str:
    """Return the field of a leg's vectors, which may hold letters, digits and underscores.

    >>> field_of("sparse-2")
    'vector_sparse_2'
    """
    return f"vector_{leg.replace('-', '_')}"


def write(job: ExportJob) -> None:
    """Write schema, feed and requests."""
    job.folder.write(SCHEMA, schema(job).encode())
    job.folder.write_parts(FEED, job.chunks(), lambda chunk: feed_line(job, chunk), part_bytes=job.options.part_bytes)
    if job.options.queries is None:
        return
    weighted = [job.query_weights(query) for query in job.queries]
    pairs = list(zip(job.queries, weighted, strict=True))
    job.folder.write_lines(QUERIES, (_request(query, _sparse(weights)) for query, weights in pairs))
    if job.source.dense:
        job.folder.write_lines(HYBRID, (_request(query, _hybrid(query, weights)) for query, weights in pairs))


def feed_line(job: ExportJob, chunk: SourceChunk) -> str:
    """Return one document as the feed has it."""
    payload = chunk.payload
    fields: dict[str, Any] = {
        name: clean(job, str(payload[name]), chunk.export_id) for name in ("doc_id", "title", "text", "origin")
    }
    fields["number"] = payload["number"]
    fields["metadata"] = json_line(payload["metadata"])
    fields[field_of(job.source.leg)] = {"cells": job.document_weights(chunk)}
    line = json_line({"put": f"id:{SPACE}:{DOCUMENT}::{chunk.export_id}", "fields": fields})
    dense = (f'"{field_of(leg)}":{{"values":[{",".join(map(str, vector))}]}}' for leg, vector in chunk.dense.items())
    return ",".join([line[:-2], *dense]) + "}}"


def clean(job: ExportJob, text: str, name: str) -> str:
    """Return a text with a blank for each sign that a string field refuses, and count the texts that had one."""
    found, count = ILLEGAL.subn(" ", text)
    if count:
        job.tally.count("texts_with_control_signs", name)
    return found


def _request(query: ExportedQuery, body: Mapping[str, Any]) -> str:
    return json_line({"_id": export_id(query.query_id, 0, 1), "body": body})


def _sparse(weights: Mapping[str, float]) -> dict[str, Any]:
    where = "true" if weights else "false"
    return {
        "yql": f"select doc_id, number, title from {DOCUMENT} where {where}",
        "ranking": "sparse",
        "input.query(q)": weights,
        "hits": HITS,
        "timeout": "20s",
    }


def _hybrid(query: ExportedQuery, weights: Mapping[str, float]) -> dict[str, Any]:
    """Return the request for all legs."""
    vectors = {f"input.query({field_of(leg)})": bulk.floats(vector) for leg, vector in query.dense.items()}
    return {**_sparse(weights), **vectors, "ranking": "hybrid"} if vectors else _sparse(weights)


SCHEMA_TEXT = """\
# {collection}: documents are chunks, {leg} of {model}.
schema {document} {{
    document {document} {{
        field doc_id type string {{
            indexing: summary | attribute
        }}
        field number type int {{
            indexing: summary | attribute
        }}
        field title type string {{
            indexing: summary | index
            index: enable-bm25
        }}
        field text type string {{
            indexing: summary | index
            index: enable-bm25
        }}
        field origin type string {{
            indexing: summary | attribute
        }}
        field metadata type string {{
            indexing: summary
        }}
        field {field} type tensor<float>(token{{}}) {{
            indexing: attribute
        }}{fields}
    }}
    rank-profile sparse {{
        inputs {{
            query(q) tensor<float>(token{{}})
        }}
        first-phase {{
            expression: sum(query(q) * attribute({field}))
            rank-score-drop-limit: 0.0
        }}
    }}{profile}
}}
"""

DENSE_FIELD = """
        field {field} type tensor<float>(x[{dim}]) {{
            indexing: attribute | index
            attribute {{
                distance-metric: angular
            }}
        }}"""

HYBRID_PROFILE = """
    rank-profile hybrid {{
        inputs {{
            query(q) tensor<float>(token{{}}){inputs}
        }}
        function sparse_score() {{
            expression: sum(query(q) * attribute({field}))
        }}{functions}
        first-phase {{
            expression: sparse_score + {sum}
        }}
        global-phase {{
            expression: reciprocal_rank_fusion(sparse_score, {list})
            rerank-count: 1000
        }}
    }}"""


def schema(job: ExportJob) -> str:
    """Return the schema of the documents with a rank profile for the sparse leg, and one for all."""
    source = job.source
    dims = {leg: source.reader.manifest.legs[leg].dim for leg in source.dense}
    fields = "".join(DENSE_FIELD.format(field=field_of(leg), dim=dim) for leg, dim in dims.items())
    values = {
        "collection": source.collection,
        "leg": source.leg,
        "model": source.spec.model,
        "document": DOCUMENT,
        "field": field_of(source.leg),
    }
    profile = _hybrid_profile(field_of(source.leg), dims) if dims else ""
    return SCHEMA_TEXT.format(fields=fields, profile=profile, **values)


def _hybrid_profile(field: str, dims: Mapping[LegName, int]) -> str:
    named = {field_of(leg): dim for leg, dim in dims.items()}
    function = "\n        function {0}_score() {{\n            expression: sum(query({0}) * attribute({0}))\n        }}"
    scores = [f"{name}_score" for name in named]
    return HYBRID_PROFILE.format(
        field=field,
        inputs="".join(f"\n            query({name}) tensor<float>(x[{dim}])" for name, dim in named.items()),
        functions="".join(function.format(name) for name in named),
        sum=" + ".join(scores),
        list=", ".join(scores),
    )


def documents(folder: Path) -> Iterator[Weighted]:
    """Yield the ids of the documents with their words' weights."""
    for line in read_lines(sorted(folder.glob("feed-*.jsonl"))):
        name = line["put"].split("::", 1)[1]
        [cells] = [field["cells"] for field in line["fields"].values() if isinstance(field, dict) and "cells" in field]
        yield name, cells


def queries(folder: Path) -> Mapping[str, Mapping[str, float]]:
    """Return the words' weights of each query."""
    return {line["_id"]: line["body"]["input.query(q)"] for line in read_lines([folder / QUERIES])}


PAGE = """
## Vespa

Put `schema.sd` into the application as `schemas/{document}.sd`, name the document type `{document}` in `services.xml`,
and deploy. Then

    vespa feed feed-*.jsonl

```sh
while IFS= read -r line; do
  printf '%s' "$line" | jq -c .body | curl -sS --fail-with-body -H 'Content-Type: application/json' \\
    --data-binary @- http://localhost:8080/search/ |
    jq -r --arg q "$(printf '%s' "$line" | jq -r ._id)" '(.root.children // []) | to_entries[] |
      "\\($q) Q0 \\(.value.id | sub("^.*?::"; "")) \\(.key + 1) \\(.value.relevance) vespa"' || exit 1
done < {queries} > run.trec
```

    hybrid-search evaluate DATASET --from-run run.trec

`where true` ranks every document, which is exact and takes time in proportion to their number.{hybrid} Metadata is a
string of JSON.
"""


def readme(job: ExportJob) -> str:
    """Return the commands of Vespa for this export."""
    fused = bool(job.source.dense) and job.options.queries is not None
    hybrid = f" `{HYBRID}` asks for all legs, fused by rank." if fused else ""
    return page(job, "Vespa", PAGE.format(document=DOCUMENT, queries=QUERIES, hybrid=hybrid))


FORMAT = Format("vespa", write, documents, queries, readme, dense=True, smallest=bulk.SMALLEST)
