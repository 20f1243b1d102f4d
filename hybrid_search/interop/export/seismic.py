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
LONGEST_TOKEN = 100
"""Characters of the words of a query that the library keeps (`get_seismic_string`)."""

MANY_TERMS = 65_536
"""The plain index numbers terms with 16 bits; above, there is one for large vocabularies."""


def write(job: ExportJob) -> None:
    """Write the documents and the queries."""

    def line_of(chunk: SourceChunk) -> str:
        content = chunk_of(chunk.payload).searchable
        return json_line({"id": chunk.export_id, "content": content, "vector": job.document_weights(chunk)})

    job.folder.write_lines(DOCUMENTS, map(line_of, job.chunks()))
    if job.options.queries is not None:
        weighted = ((export_id(query.query_id, 0, 1), job.query_weights(query)) for query in job.queries)
        job.folder.write_lines(
            QUERIES, (json_line({"id": key, "vector": vector}) for key, vector in weighted if vector)
        )


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
from seismic import {index}, get_seismic_string

index = {index}.build("documents.jsonl", load_content=False)
assert index.len == {chunks}
text = get_seismic_string()
queries = [json.loads(line) for line in open("queries.jsonl", encoding="utf-8")]
queries = [query for query in queries if query["vector"]]
found = index.batch_search(
    queries_ids=np.array([str(number) for number in range(len(queries))], dtype=text),
    query_components=[np.array(list(query["vector"]), dtype=text) for query in queries],
    query_values=[np.array(list(query["vector"].values()), dtype=np.float32) for query in queries],
    k=100,
    query_cut=max(len(query["vector"]) for query in queries),
    heap_factor=0.0,
)
with open("run.trec", "w", encoding="utf-8") as run:
    for hits in found:
        for rank, (number, score, doc_id) in enumerate(hits, 1):
            run.write(f"{{queries[int(number)]['id']}} Q0 {{doc_id}} {{rank}} {{score}} seismic\\n")
```

    hybrid-search evaluate DATASET --from-run run.trec

The search is approximate: a larger `query_cut` looks at more documents, a larger `heap_factor` at fewer.
"""


def readme(job: ExportJob) -> str:
    """Return the commands of Seismic for this export."""
    index = "SeismicIndexLV" if len(job.statistics.dimensions) > MANY_TERMS else "SeismicIndex"
    body = PAGE.format(index=index, chunks=job.statistics.chunks)
    return page(job, "Seismic", body)


FORMAT = Format("seismic", write, documents, queries, readme, longest_term=LONGEST_TOKEN)
