"""Anserini and Pyserini: a JsonVectorCollection of whole numbers, and topics in both forms that they read.

The collection is made into pseudo documents, which repeat each token as often as its weight says. Lucene splits them at
blanks and cuts tokens above 255 characters, so such tokens are escaped or left out, and counted. Source: Anserini,
`JsonVectorCollection`, `EncodeQuery`; Lucene, `WhitespaceTokenizer`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from hybrid_search.interop.export.escaping import LUCENE_BLANKS, escaper, export_id
from hybrid_search.interop.export.job import ExportJob, Format
from hybrid_search.interop.export.json_lines import json_line, read_query_vectors, read_vectors
from hybrid_search.interop.export.quantization import TOPIC_FACTOR, quantized
from hybrid_search.interop.export.readme import readme as page
from hybrid_search.interop.export.source import SourceChunk
from hybrid_search.interop.export.verify import Weighted
from hybrid_search.store.schema import chunk_of

DOCUMENTS = "documents/part-{:05d}.jsonl"
LONGEST_TOKEN = 255
TSV, JSONL, VECTORS = "topics.tsv", "topics.jsonl", "queries.jsonl"

escape_token = escaper(LUCENE_BLANKS)


def write(job: ExportJob) -> None:
    """Write the documents and the topics."""

    def line_of(chunk: SourceChunk) -> str:
        contents = chunk_of(chunk.payload).searchable
        return json_line({"id": chunk.export_id, "contents": contents, "vector": job.document_weights(chunk)})

    job.folder.write_parts(DOCUMENTS, job.chunks(), line_of, part_bytes=job.options.part_bytes)
    if job.options.queries is not None:
        write_topics(job)


def write_topics(job: ExportJob) -> None:
    """Write the queries: as weights, and with each token repeated as often as its weight says."""
    weighted = [(export_id(query.query_id, 0, 1), job.query_weights(query)) for query in job.queries]
    repeated = [(query_id, tokens) for query_id, vector in weighted if (tokens := repeat_tokens(vector, job))]
    job.folder.write_lines(
        VECTORS, (json_line({"id": query_id, "vector": vector}) for query_id, vector in weighted if vector)
    )
    job.folder.write_lines(TSV, (f"{query_id}\t{tokens}" for query_id, tokens in repeated))
    job.folder.write_lines(JSONL, (json_line({"id": query_id, "title": tokens}) for query_id, tokens in repeated))


def repeat_tokens(vector: Mapping[str, float], job: ExportJob) -> str:
    """Return the tokens of a query, each as often as its weight says; floats are multiplied by 100 before."""
    factor = 1.0 if job.factors.queries else TOPIC_FACTOR
    counts = zip(vector, quantized(np.array(list(vector.values())), factor).tolist(), strict=True)
    return " ".join(" ".join([token] * count) for token, count in counts if count)


def documents(folder: Path) -> Iterator[Weighted]:
    """Yield the ids of the documents with their tokens' weights."""
    return read_vectors(sorted((folder / "documents").iterdir()))


def queries(folder: Path) -> Mapping[str, Mapping[str, float]]:
    """Return the tokens' weights of each query."""
    return read_query_vectors(folder / VECTORS)


PASSAGES = """
The ids of the run are those of passages. For documents, each with its best passage, add

    -hits 10000 -selectMaxPassage -selectMaxPassage.delimiter "#" -selectMaxPassage.hits 1000
"""


def readme(job: ExportJob) -> str:
    """Return the commands of Anserini and Pyserini for this export."""
    expected = job.statistics.chunks - job.tally.lost["chunks_without_terms"]
    passages = PASSAGES if job.statistics.passages else ""
    body = f"""
## Anserini

    java -cp anserini-fatjar.jar io.anserini.index.IndexCollection -collection JsonVectorCollection -input documents \\
      -index index -generator DefaultLuceneDocumentGenerator -threads 2 -impact -pretokenized

It ends without an error where it could not read a line. Compare the count that it prints: **{job.statistics.chunks:,}**
documents, of which {job.statistics.chunks - expected:,} are empty.

    java -cp anserini-fatjar.jar io.anserini.search.SearchCollection -index index -impact -pretokenized -hits 1000 \\
      -topics {TSV} -topicReader TsvString -output run.trec
    java -cp anserini-fatjar.jar io.anserini.search.SearchCollection -index index -impact -pretokenized -hits 1000 \\
      -topics {JSONL} -topicReader JsonString -output run.trec

Both forms of the topics give the same run. Leave `-removeQuery` out: it takes documents away whose id is a query's.
{passages}
## Pyserini

    python -m pyserini.index.lucene --collection JsonVectorCollection --input documents --index index \\
      --generator DefaultLuceneDocumentGenerator --threads 2 --impact --pretokenized

## And back

    hybrid-search evaluate DATASET --from-run run.trec
    hybrid-search import anserini documents -c NAME
"""
    if not job.factors.documents:
        body += (
            "\nThe weights are floats, which Anserini cuts to whole numbers: export with `--quantize 8bit` for it.\n"
        )
    return page(job, "Anserini and Pyserini", body)


FORMAT = Format(
    "anserini",
    write,
    documents,
    queries,
    readme,
    quantizes=True,
    escape=escape_token,
    longest_term=LONGEST_TOKEN,
)
