"""The file of an encoded collection: Parquet that any tool reads, and that says with what it was encoded.

One row a chunk. The chunks of a document stand together, number 0 first; no document stands twice.

| column | type | what it is |
|---|---|---|
| `doc_id` | string | the document's id |
| `number` | int32 | of the chunk in its document, from 0; `doc_id` + `#` + `number` is the chunk's id |
| `start`, `end` | int64 | the span of the document's text, in characters |
| `text` | string | of the chunk |
| `title`, `origin` | string | of the document; the origin is where it was read, `path` or `path:line` |
| `metadata` | string | of the document, a JSON object |
| `stamp` | string | a hash of the document's content and the manifest; null but where `number` is 0 |
| `chunks` | int32 | how many the document has; null but where `number` is 0 |
| `indices_LEG` | list of uint32 | of a sparse leg: dimensions, rising, below 2**31 |
| `values_LEG` | list of float | of a sparse leg: weights over 0 (miniCOIL's not 0); both lists may be empty |
| `vector_LEG` | list of DIM floats | of a dense leg, unit length |
| `context` | string | what the chunk was encoded with besides title and text; null for nothing |
| `line` | int32 | of its file, from 1, on which the chunk begins; null where that is not known |
| `own` | list of string | which of the metadata are the chunk's own, as its page; null for none |
| `terms_LEG` | list of string | names of the dimensions of `indices_LEG`, where its model is `terms/...`; or null |

The last four are lacking in older files. Vectors are null where a chunk has none of that leg. The weights of a leg
whose manifest says `needs_idf` still want the inverse document frequency, which engines multiply in. The file's own
metadata has `hybrid_search.format` (1) and `hybrid_search.manifest`, the manifest as JSON. In DuckDB:

    SELECT doc_id, number, vector_dense FROM 'movies.parquet';
    SELECT decode(value) FROM parquet_kv_metadata('movies.parquet') WHERE decode(key) = 'hybrid_search.manifest';
"""

from __future__ import annotations

import json
from typing import Any

from hybrid_search._util.extras import importing_extra
from hybrid_search.encoders.term_cards import WORDPIECES, WORDS
from hybrid_search.manifest import Manifest
from hybrid_search.types import LegName, in_order

FORMAT = 1
"""Of the file; a file with a higher one is refused."""

OPTIONAL = ("context", "line", "own")
"""Columns that older files lack."""

FORMAT_KEY, MANIFEST_KEY = b"hybrid_search.format", b"hybrid_search.manifest"


def pyarrow() -> tuple[Any, Any]:
    """Import `pyarrow` and `pyarrow.parquet`. Raises MissingExtra where they are not installed."""
    with importing_extra("parquet", "A file of encodings"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    return pa, pq


def schema_of(pa: Any, manifest: Manifest, *, reading: bool = False) -> Any:
    """Build the columns. Those for reading take a dense vector of any length, and judge it one by one."""
    kinds = {"number": pa.int32(), "start": pa.int64(), "end": pa.int64(), "chunks": pa.int32()}
    plain = ("doc_id", "number", "start", "end", "text", "title", "origin", "metadata", "stamp", "chunks")
    fields = [pa.field(name, kinds.get(name, pa.string())) for name in plain]
    for leg in in_order(manifest.legs):
        dim = manifest.legs[leg].dim
        if dim:
            fields.append(pa.field(f"vector_{leg}", pa.list_(pa.float32(), -1 if reading else dim)))
        else:
            fields.append(pa.field(f"indices_{leg}", pa.list_(pa.uint32())))
            fields.append(pa.field(f"values_{leg}", pa.list_(pa.float32())))
    fields += [pa.field("context", pa.string()), pa.field("line", pa.int32()), pa.field("own", pa.list_(pa.string()))]
    fields += [pa.field(name, pa.list_(pa.string())) for name in term_columns(manifest).values()]
    recorded = json.dumps(manifest.to_dict(), sort_keys=True).encode()
    return pa.schema(fields, metadata={FORMAT_KEY: str(FORMAT).encode(), MANIFEST_KEY: recorded})


def term_columns(manifest: Manifest) -> dict[LegName, str]:
    """Return the column with the names of each leg's terms, of the legs that have them; older files lack it."""
    named = (leg for leg in in_order(manifest.legs) if manifest.legs[leg].model in (WORDS, WORDPIECES))
    return {leg: f"terms_{leg}" for leg in named}


def is_plain(name: str) -> bool:
    """Say whether a column holds no vectors."""
    return not name.startswith(("vector_", "indices_", "values_"))
