"""Bulk files of Elasticsearch and OpenSearch: what both share of fields, lines, limits and ids.

A file holds two lines a chunk: the action with its id, and the source. Sources: Elasticsearch and OpenSearch, Bulk API;
Lucene, `FeatureField`, `FieldInvertState`, `IndexWriter.MAX_TERM_LENGTH`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import InvalidArgument
from hybrid_search.interop.export.escaping import export_id
from hybrid_search.interop.export.job import ExportJob
from hybrid_search.interop.export.json_lines import json_line, read_lines
from hybrid_search.interop.export.queries import ExportedQuery
from hybrid_search.interop.export.source import ExportSource, SourceChunk
from hybrid_search.interop.export.verify import Weighted, nine_bits
from hybrid_search.types import LegName, chunk_id_of

BULK, MAPPING, QUERIES, HYBRID = "bulk-{:05d}.ndjson", "mapping.json", "queries.jsonl", "hybrid.jsonl"
ABOUT = "hybrid_search"
"""The key of `_meta` under which a mapping says what was exported."""

LONGEST_LINE = 10 << 20
"""Bytes of a line; engines take 11 MB and break off at 60."""

LONGEST_ID = 512
"""Bytes of an id."""

LONGEST_TERM = 8191
"""Characters of a term, of up to four bytes each: Lucene takes 32,766 bytes."""

MOST_FEATURES = 32_768
"""Weights of one document: Lucene adds up their frequencies, each below 65,536, in 31 bits."""

SMALLEST = float(np.finfo(np.float32).tiny)
"""The least weight that both engines take: the smallest normal number of single precision."""

HITS, WINDOW, CANDIDATES = 100, 100, 500
"""Hits of an exported query, of each of its legs before they are fused, and neighbours that a shard looks at."""

RRF_K = 60
SHOWN = ("doc_id", "number", "title")
"""The fields that an exported query asks for."""

KEYWORD = {"type": "keyword", "ignore_above": LONGEST_TERM}
COUNT = {"type": "integer", "index": False}
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "doc_id": KEYWORD,
    "number": KEYWORD,
    "origin": KEYWORD,
    "title": {"type": "text"},
    "text": {"type": "text"},
    "context": {"type": "text", "index": False},
    "chunks": COUNT,
    "start": COUNT,
    "end": COUNT,
    "line": COUNT,
    "own": {"type": "keyword", "index": False, "doc_values": False},
    "metadata_kept": {"type": "object", "enabled": False},
}
"""The fields of a chunk but for its vectors and its metadata, which the engines call by different types."""

STORED = ("doc_id", "number", "chunks", "start", "end", "line", "title", "text", "context", "origin", "own")
DEEPEST, LONGEST_VALUE = 20, 8191
"""Nesting of metadata, and characters of a value, that both engines can search."""

LONGEST_WITH_PATH = 32_000
"""Bytes of a value with the path to it, which is one term: Lucene takes 32,766, some of them for the field's name."""


def field_of(leg: LegName) -> str:
    """Return the field of a leg's vectors: its name, where no other field has it.

    >>> field_of("sparse"), field_of("text")
    ('sparse', 'textVector')
    """
    return f"{leg}Vector" if leg in FIELDS or leg == "metadata" else leg


def write_documents(
    job: ExportJob,
    weights_of: Callable[[SourceChunk], Mapping[str, float]] | None,
    seen: Callable[[Iterator[SourceChunk]], Iterator[SourceChunk]] = iter,
) -> list[str]:
    """Write every chunk; return the names of the files.

    Args:
        job: the export.
        weights_of: gives the words and weights of a chunk; None writes texts alone, without any vector.
        seen: is handed all chunks, also those that an interrupted job wrote before, and may change them.
    """

    def lines_of(chunk: SourceChunk) -> str:
        vectors = "" if weights_of is None else _vectors(job, chunk, weights_of(chunk))
        return f"{json_line({'index': {'_id': chunk.export_id}})}\n{_source(job, chunk, vectors)}"

    return job.folder.write_parts(BULK, seen(job.chunks()), lines_of, part_bytes=job.options.part_bytes)


def heaviest_of(job: ExportJob, weights: Mapping[str, float], most: int, kind: str, name: str) -> dict[str, float]:
    """Return the heaviest weights, in their order, and count the rest under the name of their document or query."""
    if len(weights) <= most:
        return dict(weights)
    job.tally.lost[f"{kind}_weights"] += len(weights) - most
    job.tally.count(kind, name)
    kept = sorted(weights, key=lambda term: (-weights[term], term))[:most]
    chosen = set(kept)
    return {term: weight for term, weight in weights.items() if term in chosen}


def document_features(job: ExportJob, chunk: SourceChunk) -> dict[str, float]:
    """Return the words and weights of a chunk, no more than a field of Lucene takes."""
    weights = job.document_weights(chunk)
    return heaviest_of(job, weights, MOST_FEATURES, "documents_with_too_many_terms", chunk.export_id)


def floats(vector: NDArray[np.float32]) -> list[float]:
    """Return a dense vector as JSON numbers, each as short as single precision allows."""
    return [float(str(value)) for value in vector]


def about(job: ExportJob, **more: Any) -> dict[str, Any]:
    """Return what a mapping says of the collection that it was made of, for a way back."""
    source, spec = job.source, job.source.spec
    dense = {leg: source.reader.manifest.legs[leg] for leg in source.dense}
    return {
        "format": job.format.name,
        "collection": source.collection,
        "leg": source.leg,
        "field": field_of(source.leg),
        "model": spec.model,
        "fingerprint": spec.fingerprint,
        "needs_idf": spec.needs_idf,
        "idf": job.options.idf if spec.needs_idf else "none",
        "escaped": True,
        "passages": job.statistics.passages,
        "dense": {
            leg: {"field": field_of(leg), "model": each.model, "fingerprint": each.fingerprint, "dims": each.dim}
            for leg, each in dense.items()
        },
        **more,
    }


def check_limits(source: ExportSource, engine: str, most_dims: int) -> None:
    """Refuse a collection with an id or a dense vector that the engine does not take.

    Raises:
        InvalidArgument: it has one; the message names it.
    """
    for leg in source.dense:
        dim = source.reader.manifest.legs[leg].dim
        if dim > most_dims:
            raise InvalidArgument(f"The vectors of leg {leg!r} have {dim:,} numbers; {engine} takes {most_dims:,}.")
    for doc_id in source.reader.doc_ids():
        if len(export_id(doc_id, 0, 1).encode()) > LONGEST_ID - 20:  # a number may follow
            _check_id(source, doc_id, engine)


def _check_id(source: ExportSource, doc_id: str, engine: str) -> None:
    head = source.reader.payloads([chunk_id_of(doc_id, 0)]).get(chunk_id_of(doc_id, 0), {})
    chunks = head.get("chunks", 1)
    size = len(export_id(doc_id, max(0, chunks - 1), chunks).encode())
    if size > LONGEST_ID:
        raise InvalidArgument(
            f"The id {doc_id[:80]!r}... takes {size} bytes with its escapes; {engine} takes {LONGEST_ID}. Index the "
            "documents under shorter ids, and export that collection. Nothing was written."
        )


def read_documents(folder: Path) -> Iterator[Weighted]:
    """Yield the ids of the documents with their weights as the engine keeps them, which is in nine bits."""
    field = read_about(folder / MAPPING)["field"]
    lines = read_lines(sorted(folder.glob("bulk-*.ndjson")))
    for action in lines:
        weights = next(lines).get(field) or {}
        kept = nine_bits(np.array(list(weights.values()), np.float32)).tolist()
        yield action["index"]["_id"], dict(zip(weights, kept, strict=True))


def read_about(mapping: Path) -> dict[str, Any]:
    """Return what a mapping says of the collection that it was made of."""
    found: dict[str, Any] = json.loads(mapping.read_bytes())["mappings"]["_meta"][ABOUT]
    return found


def body_line(query: ExportedQuery, body: Mapping[str, Any]) -> str:
    """Return one query as a line: its id, and the whole request."""
    return json_line({"_id": export_id(query.query_id, 0, 1), "body": {"size": HITS, "_source": SHOWN, **body}})


def write_bodies(job: ExportJob, file: str, bodies: Sequence[Mapping[str, Any]]) -> None:
    """Write the queries with their requests."""
    job.folder.write_lines(file, (body_line(query, body) for query, body in zip(job.queries, bodies, strict=True)))


def _vectors(job: ExportJob, chunk: SourceChunk, weights: Mapping[str, float]) -> str:
    """Return the members of a source that hold its vectors, as JSON with a comma before each."""
    members = [f",{json_line(field_of(job.source.leg))}:{json_line(weights)}"] if weights else []
    for leg, vector in chunk.dense.items():
        members.append(f",{json_line(field_of(leg))}:[{','.join(map(str, vector))}]")
    return "".join(members)


def _source(job: ExportJob, chunk: SourceChunk, vectors: str) -> str:
    """Return the source of a chunk. What makes the line too long is cut or left out, and counted."""
    source = {name: chunk.payload[name] for name in STORED if name in chunk.payload}
    metadata = chunk.payload["metadata"]
    if _searchable(metadata):
        source["metadata"] = metadata
    else:
        job.tally.count("metadata_that_cannot_be_searched", chunk.export_id)
        source["metadata_kept"] = metadata
    line = f"{json_line(source)[:-1]}{vectors}}}"
    if 4 * len(line) > LONGEST_LINE and (size := len(line.encode())) > LONGEST_LINE:
        _shorten(job, chunk.export_id, source, size - LONGEST_LINE)
        line = f"{json_line(source)[:-1]}{vectors}}}"
    return line


def _shorten(job: ExportJob, name: str, source: dict[str, Any], over: int) -> None:
    """Take bytes from a source until its line is short enough, from its largest part first."""
    for part in sorted(source, key=lambda part: -_size(source[part])):
        if over <= 0:
            return
        before = _size(source[part])
        if part in ("metadata", "metadata_kept"):
            del source[part]
            job.tally.count("metadata_left_out", name)
            over -= before
        elif part in ("text", "context", "title"):
            source[part] = cut(source[part], before - over)
            job.tally.count(f"{part}s_cut", name)
            over -= before - _size(source[part])


def cut(text: str, size: int) -> str:
    """Return the longest beginning of a text that takes no more bytes as JSON, or none of it.

    >>> cut("äöü", 6)
    'äö'
    """
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(text[:middle]) <= size else (low, middle - 1)
    return text[:low]


def _size(value: Any) -> int:
    return len(json_line(value).encode())


def _searchable(value: Any, depth: int = 0, path: int = 0) -> bool:
    """Return whether metadata can be a field whose values are searched: not too deep, none too long with its path."""
    if isinstance(value, Mapping):
        return depth < DEEPEST and all(
            key and "\0" not in key and _searchable(inner, depth + 1, path + len(key.encode()) + 1)
            for key, inner in value.items()
        )
    if isinstance(value, list):
        return depth < DEEPEST and all(_searchable(inner, depth + 1, path) for inner in value)
    text = value if isinstance(value, str) else str(value)
    return "\0" not in text and len(text) <= LONGEST_VALUE and path + len(text.encode()) <= LONGEST_WITH_PATH
