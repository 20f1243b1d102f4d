"""Reads sources: yields a stream of documents and failures."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from hybrid_search.corpus.bounded import Bound, BoundedProcess, Exceeded
from hybrid_search.corpus.fields import FieldMap
from hybrid_search.corpus.jsonl import count_json, count_lines
from hybrid_search.corpus.piped import read_piped
from hybrid_search.corpus.reading import RECORDS, kind_of_failure
from hybrid_search.corpus.roots import Roots
from hybrid_search.corpus.tabular import count_parquet
from hybrid_search.corpus.unknown_files import left_out_by_content
from hybrid_search.corpus.walk import STDIN, FoundFile, check_sources, find, glob_spec
from hybrid_search.errors import MissingExtra
from hybrid_search.types import Document, Failure, PassedOver, SourceItem

__all__ = ["FieldMap", "Reader", "count_documents", "read", "read_all", "read_file"]

READ_S, READ_BYTES = 7.0, 900_000_000
"""Processor seconds, and bytes of memory, that reading a file of one million bytes may take."""

OPENER = "hybrid_search.corpus.reading:opened"
_DEFAULT_FIELDS = FieldMap()


def read(
    sources: Sequence[str | Path],
    *,
    fields: FieldMap = _DEFAULT_FIELDS,
    globs: Sequence[str] = (),
    follow_links: bool = False,
    stdin: IO[bytes] | None = None,
) -> Iterator[Document | Failure]:
    """Stream the documents of files and folders; what cannot become a document comes as a Failure in its place.

    A file that changed or vanished while it was read is reported by a Failure behind its documents. Arguments and
    errors are those of `read_all`.
    """
    items = read_all(sources, fields=fields, globs=globs, follow_links=follow_links, stdin=stdin)
    return (item for item in items if isinstance(item, (Document, Failure)))


def read_all(
    sources: Sequence[str | Path],
    *,
    fields: FieldMap = _DEFAULT_FIELDS,
    globs: Sequence[str] = (),
    follow_links: bool = False,
    stdin: IO[bytes] | None = None,
    roots: Roots | None = None,
) -> Iterator[SourceItem]:
    """Stream the items of `read`; behind a file's documents, report what was left out of it and what was guessed.

    The suffix decides how a file is read: `.jsonl .ndjson .json .csv .tsv .parquet .md .markdown .eml .ipynb`, and with
    the extra `documents` `.pdf .docx .html .htm`. Anything else is source code or plain text. A file in a folder whose
    suffix is unknown is passed over if its content is not text. `-` is stdin, whose content decides (`read_piped`).

    A separate process reads the files, limited in time and memory (`bound_of`). It ends with the iterator.

    Args:
        sources: paths, or `-`. A folder is walked in sorted order, without hidden files and what .gitignore excludes; a
            folder with a `corpus.jsonl` is a BEIR folder, of which only that file is read.
        fields: which fields of a record are id, text and title, and the encoding of files that are not UTF-8.
        globs: patterns as in a .gitignore; only matching files of folders are read, whatever their suffix.
        follow_links: also read what links in folders point to outside of them; otherwise such links come as PassedOver.
        stdin: the stream behind `-`; None for the process's own.
        roots: the folders of the target collection, which determine its ids; None for names relative to the
            sources.

    Raises:
        InvalidArgument: no source, stdin twice, or a bad glob. Raised at once, before anything is read.
        CorpusError: sources do not exist; all of them are named. Raised at once.
        MissingExtra: a Parquet file is met and pyarrow is not installed.
    """
    check_sources(sources)
    glob_spec(globs)
    reader = Reader(fields)
    if any(str(source) != STDIN for source in sources):
        reader.start()  # it takes half a second, in which a caller can load models
    items = _documents(list(sources), reader, globs, follow_links, stdin, roots)
    next(items)
    return cast("Iterator[SourceItem]", items)


def count_documents(
    sources: Sequence[str | Path], *, globs: Sequence[str] = (), follow_links: bool = False
) -> int | None:
    """Estimate how many documents and failures `read` will yield, for a progress bar; None if stdin is a source.

    Counts lines and rows without parsing them, so blank lines and line breaks inside CSV cells count too much.
    """
    check_sources(sources)
    if any(str(source) == STDIN for source in sources):
        return None
    return sum(_count(found) for found in find(sources, globs, follow_links=follow_links))


def _documents(
    sources: list[str | Path],
    reader: Reader,
    globs: Sequence[str],
    follow_links: bool,
    stdin: IO[bytes] | None,
    roots: Roots | None,
) -> Iterator[SourceItem | None]:
    """Yield None, then the items of `read_all`. After the None, closing the generator ends the reading process."""
    with reader:
        yield None
        for found in find(sources, globs, follow_links=follow_links):
            if not isinstance(found, FoundFile):
                yield found
            elif found.origin == STDIN:
                yield from read_piped(stdin if stdin is not None else sys.stdin.buffer, reader.fields)
            else:
                yield from reader(roots.named(found) if roots else found)


class Reader:
    """A process that reads files; started with the first file, ended by `close`.

    Args:
        fields: as for `read_all`.
    """

    def __init__(self, fields: FieldMap = _DEFAULT_FIELDS) -> None:
        self.fields = fields
        self._process = BoundedProcess(OPENER, fields)

    def __call__(self, found: FoundFile) -> Iterator[SourceItem]:
        """Stream the items of one file that `find` yielded, as `read_all` does.

        Raises:
            MissingExtra: the file is Parquet and pyarrow is not installed.
        """
        there = found._replace(path=_for_another_process(found.path))
        try:
            for some in self._process.ask(there, bound_of(there.path)):
                yield from some
        except Exceeded as error:
            yield kind_of_failure(found)(found.origin, f"cannot be read: {error}")

    def start(self) -> None:
        """Start the process before the first file."""
        self._process.start()

    def close(self) -> None:
        self._process.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_file(found: FoundFile, fields: FieldMap = _DEFAULT_FIELDS) -> Iterator[SourceItem]:
    """Stream the items of one file that `find` yielded, as `read_all` does, in a process of its own."""
    with Reader(fields) as reader:
        yield from reader(found)


def bound_of(path: Path) -> Bound:
    """Return the limits for reading a file: above one million bytes they grow with its size, memory up to 4 GB."""
    with suppress(OSError):
        size = path.stat().st_size
        return Bound(READ_S * max(1.0, size / 1e6), int(min(4e9, READ_BYTES + 32 * max(0.0, size - 1e6))))
    return Bound(READ_S, READ_BYTES)


def _for_another_process(path: Path) -> Path:
    """Return a path that means the same in another process; `/dev/stdin`, for one, differs between processes."""
    return path.resolve() if path.parts[:2] in (("/", "dev"), ("/", "proc")) else path.absolute()


def _count(found: FoundFile | Failure | PassedOver) -> int:
    if not isinstance(found, FoundFile):
        return int(isinstance(found, Failure))
    suffix = found.path.suffix.lower()
    try:
        if not found.sure:
            return int(not left_out_by_content(found.path))
        if suffix not in RECORDS:
            return 1
        with found.path.open("rb") as stream:
            if suffix == ".parquet":
                return count_parquet(stream)
            if suffix == ".json":
                return count_json(stream)
            return max(0, count_lines(stream) - (suffix in (".csv", ".tsv")))
    except MissingExtra:
        return 0  # reading will say so; an estimate need not
    except OSError:
        return 1
