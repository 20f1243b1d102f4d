"""Reads the file of an encoded collection (see `layout`), and trusts nothing in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from hybrid_search._util.unicode_text import nfc
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.encoders.catalog import card
from hybrid_search.errors import CorpusError, ModelError
from hybrid_search.interop.layout import (
    FORMAT,
    FORMAT_KEY,
    MANIFEST_KEY,
    OPTIONAL,
    is_plain,
    pyarrow,
    schema_of,
    term_columns,
)
from hybrid_search.manifest import LegSpec, Manifest, check_leg_name
from hybrid_search.store.schema import clean_metadata, payload_of, vector_problem
from hybrid_search.types import Chunk, DenseVector, LegName, Point, SparseVector, Vector

T = TypeVar("T")

READ_ROWS = 256
UNIT = 0.01
"""How far from 1 the length of a dense vector may be: models in 16 bits give vectors that are off by a thousandth."""

_OUTLINE = ("doc_id", "number", "stamp", "chunks")


class Row(NamedTuple):
    """A row of a file; its vectors are looked at only when it becomes a point."""

    doc_id: str
    number: int
    stamp: str
    chunks: int
    columns: Mapping[str, Sequence[Any]]
    vectors: Mapping[LegName, Callable[[int], Vector | None]]
    place: int
    begun: int = 0
    """Where the chunk before it in its document starts, 0 where there is none."""
    terms: Mapping[LegName, tuple[str, str]] = MappingProxyType({})
    """Of each leg whose terms have names: the column of these, and the vector's name in the store."""

    def point(self) -> Point:
        """Build what the store takes; that of chunk 0 is its document's head.

        Raises:
            ValueError: it cannot be stored; the message is the reason.
        """
        values = {name: column[self.place] for name, column in self.columns.items()}
        self._check(values)
        metadata = _json(values["metadata"])
        if not isinstance(metadata, dict):
            raise ValueError(f"metadata of chunk {self.number} is {values['metadata'][:40]!r}, expected a JSON object")
        metadata = clean_metadata(metadata)
        own = {name: metadata.pop(name) for name in values.get("own") or () if name in metadata}
        parts = {name: values[name] for name in ("doc_id", "number", "text", "start", "end", "title")}
        chunk = Chunk(**parts, metadata=own, line=max(0, values.get("line") or 0), context=values.get("context") or "")
        head = None if self.number else (self.stamp, self.chunks)
        vectors: dict[LegName, Vector] = {}
        for leg, vector_at in self.vectors.items():
            try:
                vector = vector_at(self.place)
            except ValueError as error:
                raise ValueError(f"the {leg} vector of chunk {self.number}: {error}") from error
            if vector is not None:
                vectors[leg] = vector
        payload = payload_of(chunk, metadata, values["origin"], head, self._names(values, vectors))
        return Point(chunk.chunk_id, vectors, payload)

    def _names(self, values: Mapping[str, Any], vectors: Mapping[LegName, Vector]) -> dict[str, list[str]]:
        """Return the names of the terms of each leg that has them, by the vector's name in the store."""
        found: dict[str, list[str]] = {}
        for leg, (column, stored) in self.terms.items():
            names = values.get(column) or []
            if names and (None in names or len(names) != len(vectors.get(leg, ()))):
                raise ValueError(f"{column} of chunk {self.number} must have a text for each of its weights")
            if names:
                found[stored] = names
        return found

    def _check(self, values: Mapping[str, Any]) -> None:
        """Refuse a row without a value, with a text of blanks, or whose offsets are not those of its text.

        There may be no text, where documents came with the weights of their terms alone.
        """
        for name, value in values.items():
            if value is None and name not in ("stamp", "chunks", *OPTIONAL) and not name.startswith("terms_"):
                raise ValueError(f"{name} of chunk {self.number} is null")
        start, end, size = values["start"], values["end"], len(values["text"])
        if values["text"] and not values["text"].strip():
            raise ValueError(f"text of chunk {self.number} is {values['text'][:40]!r}, expected a text")
        if start < self.begun:
            before = f"{self.begun}, the start of the chunk before it" if self.begun else "0"
            raise ValueError(f"start of chunk {self.number} is {start}, expected at least {before}")
        if end != start + size:
            raise ValueError(
                f"end of chunk {self.number} is {end}, expected {start + size}: it starts at {start}, its text has "
                f"{size} characters"
            )


class EncodedFile:
    """A file of encodings, open for reading.

    Args:
        path: of the file.

    Raises:
        CorpusError: it is not there, no Parquet, cut short, of a newer format, or its columns are not those that its
            manifest asks for.
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pa, pq = pyarrow()
        if not path.is_file():
            raise CorpusError(f"There is no file {path}. `hybrid-search export parquet` writes one.")
        self._file = self._read(lambda: pq.ParquetFile(path, page_checksum_verification=True))
        try:
            self.manifest = self._manifest()
            self._schema = schema_of(self._pa, self.manifest, reading=True)
            self._check_columns()
        except BaseException:
            self._file.close()
            raise

    def outline(self, ledger: Ledger) -> int:
        """Count the documents; each is put down in the ledger. Reads no text and no vector.

        Raises:
            CorpusError: a document is not there whole, or stands twice.
        """
        doc_id, number, chunks, documents = "", 0, 0, 0

        def wrong(what: str) -> CorpusError:
            return CorpusError(
                f"{self.path} holds no whole documents: {what}. Export the collection again (export parquet), or "
                "keep the chunks of each document together and in order. Nothing was written."
            )

        for batch in self._batches(_OUTLINE):
            for of, place, stamp, count in zip(*(batch[name] for name in _OUTLINE), strict=True):
                if of == doc_id and number + 1 < chunks and place == number + 1:
                    number = place
                    continue
                if number + 1 < chunks:
                    raise wrong(
                        f"after chunk {number} of {doc_id!r}, which has {chunks}, comes chunk {place} of {of!r}"
                    )
                if not of or place != 0 or not stamp or not count or count < 1:
                    raise wrong(f"{of!r} begins with chunk {place}, stamp {stamp!r} and {count} chunks")
                # Ids that differ only in how a letter is composed are one.
                known = [ledger.seen(form, stamp, "") for form in {of, nfc(of)}]
                if any(known):
                    raise wrong(f"{of!r} stands in two places")
                doc_id, number, chunks = of, 0, count
                documents += 1
        if number + 1 < chunks:
            raise wrong(f"the file ends after chunk {number} of {doc_id!r}, which has {chunks}")
        return documents

    def rows(self) -> Iterator[list[Row]]:
        """Yield all rows, `READ_ROWS` at a time.

        Raises:
            CorpusError: the file is damaged.
        """
        plain = tuple(name for name in self._schema.names if is_plain(name))
        stored = self.manifest.vectors()
        terms = {leg: (column, stored[leg]) for leg, column in term_columns(self.manifest).items()}
        signed = {leg: _may_be_signed(spec) for leg, spec in self.manifest.legs.items()}
        before = 0
        for batch in self._batches(self._schema.names):
            vectors = {
                leg: _dense_at(batch[f"vector_{leg}"], spec.dim)
                if spec.dim
                else _sparse_at(batch[f"indices_{leg}"], batch[f"values_{leg}"], signed[leg])
                for leg, spec in self.manifest.legs.items()
            }
            columns = {name: batch[name] for name in plain}
            starts = columns["start"]
            outline = enumerate(zip(*(columns[name] for name in _OUTLINE), [before, *starts[:-1]], strict=True))
            before = starts[-1] if starts else before
            yield [
                Row(of, n, stamp, count, columns, vectors, place, (n and begun) or 0, terms)
                for place, (of, n, stamp, count, begun) in outline
            ]

    def close(self) -> None:
        self._file.close()

    def _batches(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield columns by name: a list for a plain one, an Arrow array of lists for the others."""
        schema = self._pa.schema([self._schema.field(name) for name in names])
        batches = self._file.iter_batches(batch_size=READ_ROWS, columns=list(names))

        def next_batch() -> dict[str, Any] | None:
            batch = next(batches, None)
            if batch is None:
                return None
            cast = {name: batch.column(name).cast(schema.field(name).type) for name in names}
            return {name: column.to_pylist() if is_plain(name) else column for name, column in cast.items()}

        while (columns := self._read(next_batch)) is not None:
            yield columns

    def _read(self, reading: Callable[[], T]) -> T:
        try:
            return reading()
        except (self._pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise CorpusError(
                f"{self.path} cannot be read: it is no Parquet file, cut short or damaged ({str(error)[:200]}). "
                "Export it again (hybrid-search export parquet), or get another copy."
            ) from error

    def _manifest(self) -> Manifest:
        recorded: Mapping[bytes, bytes] = self._file.metadata.metadata or {}
        if FORMAT_KEY not in recorded or MANIFEST_KEY not in recorded:
            raise CorpusError(
                f"{self.path} holds no encodings: it has no {MANIFEST_KEY.decode()}. `export parquet` writes one; "
                "documents without encodings are indexed with: hybrid-search index SOURCE -c NAME"
            )
        version = recorded[FORMAT_KEY].decode("utf-8", "replace")
        if not version.isdecimal() or int(version) > FORMAT:
            raise CorpusError(
                f"{self.path} has format {version}, this version reads {FORMAT} and older; update hybrid-search."
            )
        try:
            manifest = Manifest.from_dict(json.loads(recorded[MANIFEST_KEY]))
            for leg in manifest.legs:
                check_leg_name(leg)
        except ValueError as error:
            raise CorpusError(f"The manifest in {self.path} cannot be read: {error}") from error
        if not manifest.legs:
            raise CorpusError(f"The manifest in {self.path} has no leg, so there is nothing to search by.")
        return manifest

    def _check_columns(self) -> None:
        stored = self._read(lambda: self._file.schema_arrow)
        for name in (*OPTIONAL, *term_columns(self.manifest).values()):
            if name not in stored.names:
                self._schema = self._schema.remove(self._schema.get_field_index(name))
        lacking = [name for name in self._schema.names if name not in stored.names]
        if lacking:
            raise CorpusError(
                f"{self.path} lacks the columns {', '.join(lacking)}; it has {', '.join(stored.names)}. "
                "Export it again (hybrid-search export parquet)."
            )
        dims = {f"vector_{leg}": spec.dim for leg, spec in self.manifest.legs.items() if spec.dim}
        for field in self._schema:
            column_type = stored.field(field.name).type
            fixed = self._pa.types.is_fixed_size_list(column_type)
            fits = not fixed or column_type.list_size == dims.get(field.name, column_type.list_size)
            with suppress(self._pa.ArrowException):
                self._pa.array([], column_type).cast(field.type)
                if fits:
                    continue
            wanted = f"{dims[field.name]} floats" if field.name in dims else str(field.type)
            raise CorpusError(f"Column {field.name} of {self.path} is {column_type}, expected {wanted}.")


def _dense_at(column: Any, dim: int) -> Callable[[int], Vector | None]:
    there, offsets = column.is_valid().to_pylist(), column.offsets.to_pylist()
    values = column.values.to_numpy(zero_copy_only=False)  # nulls are NaN

    def at(place: int) -> Vector | None:
        if not there[place]:
            return None
        return unit_vector(values[offsets[place] : offsets[place + 1]], dim)

    return at


def unit_vector(values: Any, dim: int) -> DenseVector:
    """Return numbers as a dense vector.

    Raises:
        ValueError: they are not `dim` finite numbers of length 1.
    """
    vector = np.array(values, np.float32)
    problem = vector_problem(vector, dim)
    if problem:
        raise ValueError(f"it {problem}")
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if abs(length - 1) > UNIT:
        raise ValueError(f"it has length {length:g}, expected 1")
    return vector


def _sparse_at(indices: Any, values: Any, signed: bool) -> Callable[[int], Vector | None]:
    there = [a and b for a, b in zip(indices.is_valid().to_pylist(), values.is_valid().to_pylist(), strict=True)]
    of_index, of_value = indices.offsets.to_pylist(), values.offsets.to_pylist()
    dimensions = indices.values.to_numpy(zero_copy_only=False)
    weights = values.values.to_numpy(zero_copy_only=False)

    def at(place: int) -> Vector | None:
        if not there[place]:
            return None
        mine = dimensions[of_index[place] : of_index[place + 1]]
        if not (mine <= np.iinfo(np.int32).max).all():  # of a null, which is NaN, too
            raise ValueError("indices must be below 2**31")
        return SparseVector(mine.astype(np.int32), weights[of_value[place] : of_value[place + 1]], signed)

    return at


def _may_be_signed(spec: LegSpec) -> bool:
    """Say whether a sparse model may give weights below 0, as miniCOIL does and no other.

    A folder's model need not be on this machine: then its need of the inverse document frequency speaks for miniCOIL,
    since learned models of the other kind have none.
    """
    try:
        return card(spec.model, "sparse").family == "minicoil"
    except ModelError:
        return spec.needs_idf


def _json(text: str) -> Any:
    """Parse a text; None where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
