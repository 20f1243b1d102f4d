"""Writes the file of an encoded collection (see `layout`), whole or not at all."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hybrid_search._util import sync
from hybrid_search.interop.chunks import check_writable, disk_errors
from hybrid_search.interop.layout import is_plain, pyarrow, schema_of, term_columns
from hybrid_search.manifest import Manifest
from hybrid_search.types import LegName, Vector

GROUP_ROWS = 4_096
GROUP_BYTES = 32 << 20
"""A row group ends at so many rows or bytes, whichever comes first: it is held in memory."""


class EncodedRows(NamedTuple):
    """Rows on their way to a file: the chunks' payloads, and of each leg the vectors of those that have one."""

    payloads: Sequence[Mapping[str, Any]]
    vectors: Mapping[LegName, Mapping[str, Vector]]


@contextmanager
def writing(path: Path, manifest: Manifest) -> Iterator[Callable[[EncodedRows], None]]:
    """Write a file of encodings: in the block, call what this gives with a few rows at a time.

    The file is there, whole, after the block, and replaces one of that name then. An exception leaves nothing.

    Raises:
        InvalidArgument, MissingExtra: as `check_target`.
        StoreFull: the disk is full.
        StoreError: the file cannot be written.
    """
    check_target(path)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        groups = _RowGroups(path, temporary, manifest)
        try:
            yield groups.put
            groups.flush()
        finally:
            groups.close()
        with disk_errors(path):
            sync(temporary)
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class _RowGroups:
    """Holds rows until they make a row group, and writes that.

    Args:
        path: of the file to be, for messages.
        temporary: the file that is written.
        manifest: what the rows were encoded with.

    Raises:
        StoreFull, StoreError: the file cannot be written.
    """

    def __init__(self, path: Path, temporary: Path, manifest: Manifest) -> None:
        self._pa, pq = pyarrow()
        self._path, self._manifest = path, manifest
        self._schema = schema_of(self._pa, manifest)
        self._held: list[Any] = []
        dictionaries = ["doc_id", "title", "origin", "metadata"]
        with disk_errors(path):
            self._writer = pq.ParquetWriter(
                temporary, self._schema, compression="zstd", use_dictionary=dictionaries, write_page_checksum=True
            )

    def put(self, rows: EncodedRows) -> None:
        """Take a few rows."""
        self._held.append(_record_batch(self._pa, self._schema, self._manifest, rows))
        size = sum(batch.nbytes for batch in self._held)
        if sum(map(len, self._held)) >= GROUP_ROWS or size >= GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are held."""
        if self._held:
            with disk_errors(self._path):
                table = self._pa.Table.from_batches(self._held, self._schema)
                self._writer.write_table(table, row_group_size=max(1, table.num_rows))
            self._held.clear()

    def close(self) -> None:
        """Write the end of the file."""
        with disk_errors(self._path):
            self._writer.close()


def check_target(path: Path) -> None:
    """Make sure that a file can be written, as far as that can be told before.

    Raises:
        InvalidArgument: it is a folder, or its folder is not there or may not be written.
        MissingExtra: pyarrow is not installed.
    """
    pyarrow()
    check_writable(path, "encodings.parquet")


def _record_batch(pa: Any, schema: Any, manifest: Manifest, rows: EncodedRows) -> Any:
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    stored = manifest.vectors()
    terms = {column: stored[leg] for leg, column in term_columns(manifest).items()}
    for payload in rows.payloads:
        for name in columns:
            if name in terms:
                columns[name].append(payload.get("terms", {}).get(terms[name]))
            elif name == "metadata":
                columns[name].append(json.dumps(payload[name], ensure_ascii=False))
            elif is_plain(name):
                columns[name].append(payload.get(name))
        for leg, spec in manifest.legs.items():
            vector: Any = rows.vectors[leg].get(payload["chunk_id"])
            if spec.dim:
                columns[f"vector_{leg}"].append(vector)
            else:
                # A text without a term has no sparse vector in the store.
                columns[f"indices_{leg}"].append([] if vector is None else vector.indices.astype(np.uint32))
                columns[f"values_{leg}"].append([] if vector is None else vector.values)
    arrays = [pa.array(columns[field.name], type=field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
