"""Seismic (pyseismic-lsr): documents and queries as JSON lines with the weights as floats.

The library reads one file of documents, and breaks off at a line that is cut short; so the file appears when it is
whole. Source: TusKANNy/seismic, docs/PythonUsage.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from hybrid_search.interop.export.escaping import export_id
from hybrid_search.interop.export.job import ExportJob, Format
from hybrid_search.interop.export.json_lines import json_line, read_query_vectors, read_vectors
from hybrid_search.interop.export.readme import readme as page
from hybrid_search.interop.export.source import SourceChunk
from hybrid_search.interop.export.verify import Weighted
from hybrid_search.store.schema import chunk_of

DOCUMENTS, QUERIES = "documents.jsonl", "queries.jsonl"
MANY_TERMS = 65_536
"""The plain index numbers terms with 16 bits; above, there is one for large vocabularies."""


def write(job: ExportJob) -> None:
    """Write the documents and the queries."""

    def line_of(chunk: SourceChunk) -> str:
        content = chunk_of(chunk.payload).searchable
        vector = job.document_weights(chunk)
        job.facts["longest_token"] = max(longest(vector), job.facts["longest_token"])
        return json_line({"id": chunk.export_id, "content": content, "vector": vector})

    job.facts["longest_token"] = 1
    job.folder.write_lines(DOCUMENTS, map(line_of, job.chunks()))
    if job.options.queries is not None:
        weighted = ((export_id(query.query_id, 0, 1), job.query_weights(query)) for query in job.queries)
        job.folder.write_lines(QUERIES, (json_line({"id": key, "vector": vector}) for key, vector in weighted))


def longest(vector: Mapping[str, float]) -> int:
    """Return the number of characters of the longest word, 0 where there is none."""
    return max(map(len, vector), default=0)


def documents(folder: Path) -> Iterator[Weighted]:
    """Yield the ids of the documents with their words' weights."""
    return read_vectors([folder / DOCUMENTS])


def queries(folder: Path) -> Mapping[str, Mapping[str, float]]:
    """Return the words' weights of each query."""
    return read_query_vectors(folder / QUERIES)


PAGE = """
## Seismic

    pip install pyseismic-lsr

```python
import json

import numpy as np
from seismic import {index}

index = {index}.build("documents.jsonl", load_content=False)
assert index.len == {chunks}
token = "U{longest}"  # as long as the longest word of the documents: a shorter one cuts words
queries = [json.loads(line) for line in open("queries.jsonl", encoding="utf-8")]
queries = [query for query in queries if query["vector"]]
found = index.batch_search(
    queries_ids=np.array([query["id"] for query in queries]),
    query_components=[np.array(list(query["vector"]), dtype=token) for query in queries],
    query_values=[np.array(list(query["vector"].values()), dtype=np.float32) for query in queries],
    k=100,
    query_cut=max(len(query["vector"]) for query in queries),
    heap_factor=0.7,
)
with open("run.trec", "w", encoding="utf-8") as run:
    for hits in found:
        for rank, (query_id, score, doc_id) in enumerate(hits, 1):
            run.write(f"{{query_id}} Q0 {{doc_id}} {{rank}} {{score}} seismic\\n")
```

    hybrid-search evaluate DATASET --from-run run.trec

The search is approximate: a larger `query_cut` and a larger `heap_factor` look at more documents.
"""


def readme(job: ExportJob) -> str:
    """Return the commands of Seismic for this export."""
    index = "SeismicIndexLV" if len(job.statistics.dimensions) > MANY_TERMS else "SeismicIndex"
    body = PAGE.format(index=index, chunks=job.statistics.chunks, longest=job.facts["longest_token"])
    return page(job, "Seismic", body)


FORMAT = Format("seismic", write, documents, queries, readme)
