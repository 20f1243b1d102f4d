"""Reads tables: CSV and TSV with a header, and Parquet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import IO, Any

from hybrid_search._util.extras import importing_extra
from hybrid_search.corpus.columns import NoCopy, Reading, apply_types, column_readings, rewindable
from hybrid_search.corpus.csv_rows import TAB, Rows
from hybrid_search.corpus.decoding import Undecodable, numbered_lines
from hybrid_search.corpus.fields import BadRecord, FieldMap, check_columns, document_of
from hybrid_search.types import BrokeOff, Document, Failure

_PARQUET_ROWS = 1024


def read_csv(
    stream: IO[bytes], encoding: str, *, origin: str, name: str, fields: FieldMap, delimiter: str | None = None
) -> Iterator[Document | Failure]:
    """Yield one document per row; the first row is the header.

    Metadata get the types of their columns (`columns`), which a first pass over the table finds; empty cells are left
    out. A row that is not text, breaks the quoting, or has another number of cells than the header is a Failure, and
    the others go on.

    Args:
        stream: at the first byte.
        encoding: as `sniff` names it.
        origin: the path shown to the user; a row's origin is `path:line`, with the line it starts on.
        name: a row without an id gets the id `name:line`.
        fields: which columns are id, text and title.
        delimiter: None for the one of `,`, `;` and tab that is most frequent in the header.
    """

    def check(header: list[str]) -> None:
        check_columns(header, fields)

    try:
        with rewindable(stream) as table:
            start = table.tell()
            rows = csv_records(table, encoding, origin=origin, check=check, delimiter=delimiter)
            with closing(rows):
                readings = column_readings(found[1] for found in rows if not isinstance(found, Failure))
            table.seek(start)
            for found in csv_records(table, encoding, origin=origin, check=check, delimiter=delimiter):
                yield found if isinstance(found, Failure) else _document(*found, readings, origin, name, fields)
    except NoCopy as error:
        yield Failure(origin, str(error))


def _document(
    line: int, record: dict[str, str], readings: Mapping[str, Reading], origin: str, name: str, fields: FieldMap
) -> Document | Failure:
    # The id, the title and the text stay what they are, whatever their columns hold.
    document = document_of(record, fields, origin=f"{origin}:{line}", fallback_id=f"{name}:{line}")
    if isinstance(document, Failure):
        return document
    return replace(document, metadata=apply_types(document.metadata, readings))


def csv_records(
    stream: IO[bytes],
    encoding: str,
    *,
    origin: str,
    check: Callable[[list[str]], None],
    delimiter: str | None = None,
    quoted: bool | None = None,
) -> Generator[tuple[int, dict[str, str]] | Failure, None, None]:
    """Yield the rows that `read_csv` turns into documents, each with the line it starts on.

    If `check` refuses the header by a BadRecord, that is a Failure, and no row follows. `quoted` says whether quotes
    enclose cells; otherwise they are characters like any other. By default cells are quoted unless the given delimiter
    is a tab.
    """
    lines = numbered_lines(stream, encoding)
    first = next((line for line in lines if isinstance(line[1], Undecodable) or line[1].strip()), None)
    if first is None:
        yield Failure(origin, "the file is empty")
        return
    number, line = first
    if isinstance(line, Undecodable):
        yield Failure(f"{origin}:{number}", f"the header cannot be read: {line}")
        return
    counts = Counter(line)
    best = delimiter or max(",;\t", key=lambda mark: counts[mark])
    rows = Rows(chain([first], lines), best, quoted=delimiter != TAB if quoted is None else quoted)
    found = iter(rows)
    try:
        header = _header(next(found).cells)
        check(header)
    except BadRecord as error:
        yield Failure(origin, f"the header cannot be used: {error}")
        return
    seen_a_row = False
    for number, cells, length in found:
        if not any(cells):
            continue
        seen_a_row = True
        wrong = cells if isinstance(cells, str) else ""
        if not wrong and len(cells) != len(header):
            wrong = f"the row has {len(cells)} cells, the header has {len(header)}"
        if not wrong:
            yield number, dict(zip(header, cells, strict=True))
            continue
        if length > 1:
            wrong += _how_far(number, length, rows.read_again())
        yield (BrokeOff if rows.broke_off else Failure)(f"{origin}:{number}", wrong)
    if not seen_a_row:
        yield Failure(origin, "no rows below the header")


def _how_far(number: int, length: int, again: bool) -> str:
    """Say how many lines the quotes of a broken row swallowed, and what became of them."""
    told = f"; its quotes go on for {length:,} lines"
    return f"{told}, which are read again from line {number + 1}" if again else f"{told}, which are left out"


def read_parquet(stream: IO[bytes], *, origin: str, name: str, fields: FieldMap) -> Iterator[Document | Failure]:
    """Yield one document per row, in batches of rows; a row's origin is `path:row`, counted from 1.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    pa, pq = _pyarrow()
    try:
        file = pq.ParquetFile(stream)
        columns = list(file.schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        yield Failure(origin, f"not a Parquet file that can be read: {error}")
        return
    try:
        _check_names(columns)
        check_columns(columns, fields)
    except BadRecord as error:
        yield Failure(origin, str(error))
        return
    if not file.metadata.num_rows:
        yield Failure(origin, "the table has no rows")
    number = 0
    try:
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
            for record in _records(pa, batch):
                number += 1
                where = f"{origin}:{number}"
                if isinstance(record, Exception):
                    yield Failure(where, f"the row cannot be read: {record}")
                else:
                    yield document_of(record, fields, origin=where, fallback_id=f"{name}:{number}")
    except (pa.ArrowException, OSError) as error:
        yield BrokeOff(f"{origin}:{number + 1}", f"the file is damaged, the rest is left out: {error}")


def count_parquet(stream: IO[bytes]) -> int:
    """Return the number of rows that the file's metadata state; 0 if they cannot be read."""
    pa, pq = _pyarrow()
    try:
        return int(pq.ParquetFile(stream).metadata.num_rows)
    except (pa.ArrowException, OSError):
        return 0


def _pyarrow() -> tuple[Any, Any]:
    with importing_extra("parquet", "Reading Parquet files"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    return pa, pq


def _records(pa: Any, batch: Any) -> Iterator[dict[str, Any] | Exception]:
    batch = _in_microseconds(pa, batch)
    try:
        yield from batch.to_pylist()
        return
    except (ValueError, OverflowError, pa.ArrowException):
        pass  # one value in it has no Python form; find the row. to_pylist gave no row out before it failed.
    for index in range(batch.num_rows):
        try:
            yield batch.slice(index, 1).to_pylist()[0]
        except (ValueError, OverflowError, pa.ArrowException) as error:
            yield error


def _in_microseconds(pa: Any, batch: Any) -> Any:
    """Convert times to microseconds, where Python's values end; nanoseconds would need pandas."""
    columns = []
    for column in batch.columns:
        kind = column.type
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            column = column.cast(pa.timestamp("us", tz=kind.tz), safe=False)
        elif pa.types.is_duration(kind) and kind.unit == "ns":
            column = column.cast(pa.duration("us"), safe=False)
        elif pa.types.is_time64(kind) and kind.unit == "ns":
            column = column.cast(pa.time64("us"), safe=False)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _header(names: list[str] | str) -> list[str]:
    """Return the names of the columns; a column without a name is called after its position.

    Raises:
        BadRecord: the header cannot be read, or a name stands twice.
    """
    if isinstance(names, str):
        raise BadRecord(names.removeprefix("the row cannot be read: "))
    header = [name.strip() or f"column {place}" for place, name in enumerate(names, 1)]
    _check_names(header)
    return header


def _check_names(names: list[str]) -> None:
    twice = [repr(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadRecord(f"{', '.join(twice)} names more than one column")
