"""Sources in, a stream of documents and failures out."""

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
"""What the reading of a file of a million bytes may take."""

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
    """Stream the documents of files and folders; what cannot become one comes as a Failure in its place.

    So does, after its documents, a file that changed or went away while it was read. Arguments and errors are those of
    `read_all`.
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
    """Stream what `read` does, and behind the documents of a file what was left out of it and what was guessed.

    The suffix says how a file is read: `.jsonl .ndjson .json .csv .tsv .parquet .md .markdown .eml .ipynb`, and with
    the extra `documents` `.pdf .docx .html .htm`. Anything else is source code or plain text; in a folder a file of a
    suffix that nobody knows is passed over where its content is no text. `-` is stdin, where the content says it
    (`read_piped`).

    Files are read in a process of their own, under a bound of time and memory (`bound_of`), whatever they hold. It ends
    with the iterator.

    Args:
        sources: paths, or `-`. A folder is walked, sorted, without hidden files and what a .gitignore excludes; a
            folder with a `corpus.jsonl` is a BEIR folder and gives only that.
        fields: which fields of a record are id, text and title, and the encoding of what is no UTF-8.
        globs: with the meaning of .gitignore lines; only files of folders that match are read, whatever their suffix.
        follow_links: read what links in folders lead to outside of them; else they come as PassedOver.
        stdin: stands for `-`; None for the process's own.
        roots: of the collection that the documents are for, which name its files; None for names relative to the
            sources.

    Raises:
        InvalidArgument: no source, stdin twice, a bad glob. At once, before anything is read.
        CorpusError: a source is not there; all of them are named. At once.
        MissingExtra: a Parquet file comes up and pyarrow is not installed.
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
    """About how many documents and failures `read` will give, for a progress bar; None where stdin is a source.

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
    """None, and what `read_all` gives. Once the None is taken, to let go of this is to end the reader's process."""
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
    """The process that reads files; started with the first one, ended by `close`.

    Args:
        fields: as for `read_all`.
    """

    def __init__(self, fields: FieldMap = _DEFAULT_FIELDS) -> None:
        self.fields = fields
        self._process = BoundedProcess(OPENER, fields)

    def __call__(self, found: FoundFile) -> Iterator[SourceItem]:
        """Stream one file that `find` has found, as `read_all` does.

        Raises:
            MissingExtra: it is Parquet, and pyarrow is not installed.
        """
        there = found._replace(path=_for_another_process(found.path))
        try:
            for some in self._process.ask(there, bound_of(there.path)):
                yield from some
        except Exceeded as error:
            yield kind_of_failure(found)(found.origin, f"cannot be read: {error}")

    def start(self) -> None:
        """Start the process ahead of the first file."""
        self._process.start()

    def close(self) -> None:
        self._process.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_file(found: FoundFile, fields: FieldMap = _DEFAULT_FIELDS) -> Iterator[SourceItem]:
    """Stream one file that `find` has found, as `read_all` does, in a process of its own."""
    with Reader(fields) as reader:
        yield from reader(found)


def bound_of(path: Path) -> Bound:
    """What the reading of a file may take: one longer than a million bytes in proportion, below 4 GB."""
    with suppress(OSError):
        size = path.stat().st_size
        return Bound(READ_S * max(1.0, size / 1e6), int(min(4e9, READ_BYTES + 32 * max(0.0, size - 1e6))))
    return Bound(READ_S, READ_BYTES)


def _for_another_process(path: Path) -> Path:
    """The path from anywhere. What is called after a process, as `/dev/stdin` is, is another thing in each."""
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
