"""Sources in, a stream of documents and failures out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from hybrid_search.corpus import mail
from hybrid_search.corpus.decoding import MAX_DOCUMENT_BYTES, SAMPLE_BYTES, Undecodable, sniff
from hybrid_search.corpus.documents import CONVERTED, Converter, read_document
from hybrid_search.corpus.fields import FieldMap
from hybrid_search.corpus.jsonl import count_json, count_lines, read_json, read_jsonl
from hybrid_search.corpus.piped import read_piped
from hybrid_search.corpus.roots import Roots
from hybrid_search.corpus.tabular import count_parquet, read_csv, read_parquet
from hybrid_search.corpus.text import read_text
from hybrid_search.corpus.unknown_files import left_out_by_content
from hybrid_search.corpus.walk import JSONL_SUFFIXES, STDIN, FoundFile, check_sources, find, glob_spec
from hybrid_search.errors import MissingExtra
from hybrid_search.types import BrokeOff, Document, Failure, Guessed, PassedOver, SourceItem

__all__ = ["FieldMap", "count_documents", "read", "read_all", "read_file"]

EMPTY = "empty files"
_DEFAULT_FIELDS = FieldMap()
_BY_LINE = (*JSONL_SUFFIXES, ".csv", ".tsv")


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
    return _documents(list(sources), fields, globs, follow_links, stdin, roots)


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
    fields: FieldMap,
    globs: Sequence[str],
    follow_links: bool,
    stdin: IO[bytes] | None,
    roots: Roots | None,
) -> Iterator[SourceItem]:
    with Converter() as convert:
        for found in find(sources, globs, follow_links=follow_links):
            if not isinstance(found, FoundFile):
                yield found
            elif found.origin == STDIN:
                yield from read_piped(stdin if stdin is not None else sys.stdin.buffer, fields)
            else:
                yield from _one_ahead(_read(roots.named(found) if roots else found, fields, convert))


def read_file(found: FoundFile, fields: FieldMap = _DEFAULT_FIELDS) -> Iterator[SourceItem]:
    """Stream one file that `find` has found, as `read_all` does."""
    with Converter() as convert:
        yield from _one_ahead(_read(found, fields, convert))


def _read(found: FoundFile, fields: FieldMap, convert: Converter) -> Iterator[SourceItem]:
    try:
        kind = "" if found.sure else left_out_by_content(found.path)
        if kind:
            yield PassedOver(found.origin, kind)
            return
        with found.path.open("rb") as stream:
            before = os.fstat(stream.fileno())
            if (
                found.folder and not before.st_size
            ):  # as many an `__init__.py` is; one that is named is meant to be read
                yield PassedOver(found.origin, EMPTY)
                return
            yield from _file(stream, found, fields, convert)
        change = _change(found, before)
        if change is not None:
            yield change
    except OSError as error:
        yield _kind(found)(found.origin, f"cannot be read: {error.strerror or error}")


def _one_ahead(items: Iterator[SourceItem]) -> Iterator[SourceItem]:
    """Each one when the next has been read: a file of one document then is closed before that is worked on."""
    held = next(items, None)
    for item in items:
        if held is not None:
            yield held
        held = item
    if held is not None:
        yield held


def _kind(found: FoundFile) -> type[Failure]:
    """What a file becomes that cannot be read to its end: of some it is not known how many documents are missing."""
    return BrokeOff if found.path.suffix.lower() in (*_BY_LINE, ".json", ".parquet") else Failure


def _change(found: FoundFile, before: os.stat_result) -> Failure | None:
    """What is wrong where the file is no longer the one that was read, or not as it was when reading began."""
    try:
        after = found.path.stat()
    except FileNotFoundError:
        return _kind(found)(found.origin, "was removed while it was read; what could be read is indexed. Run it again")
    if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and os.path.samestat(before, after):
        return None
    return _kind(found)(
        found.origin,
        "changed while it was read, so old and new may be mixed, and what came late is missing; what was read is "
        "indexed. Run it again",
    )


def _file(stream: IO[bytes], found: FoundFile, fields: FieldMap, convert: Converter) -> Iterator[SourceItem]:
    suffix = found.path.suffix.lower()
    origin, name = found.origin, found.name
    if suffix == ".parquet":
        if stream.read(1):
            stream.seek(0)
            yield from read_parquet(stream, origin=origin, name=name, fields=fields)
        else:
            yield Failure(origin, "the file is empty")
        return
    if suffix not in _BY_LINE and suffix != ".json":
        data = stream.read(MAX_DOCUMENT_BYTES + 1)
        if len(data) > MAX_DOCUMENT_BYTES:
            yield Failure(origin, f"larger than {MAX_DOCUMENT_BYTES >> 20} MB, too large for one document; split it")
        elif suffix in CONVERTED:
            yield from read_document(data, origin=origin, name=name, convert=convert, encoding=fields.encoding)
        elif suffix == mail.SUFFIX:
            yield from mail.read_mail(data, origin=origin, name=name, convert=convert, encoding=fields.encoding)
        else:
            yield from read_text(data, origin=origin, name=name, encoding=fields.encoding)
        return
    try:
        encoding, guessed = sniff(stream.read(SAMPLE_BYTES), fields.encoding)
    except Undecodable as error:
        yield Failure(origin, str(error))
        return
    stream.seek(0)
    if suffix == ".json":
        yield from read_json(stream, encoding, origin=origin, name=name, fields=fields)
    elif suffix in JSONL_SUFFIXES:
        yield from read_jsonl(stream, encoding, origin=origin, name=name, fields=fields)
    else:
        delimiter = "\t" if suffix == ".tsv" else None
        yield from read_csv(stream, encoding, origin=origin, name=name, fields=fields, delimiter=delimiter)
    if guessed:
        yield Guessed(origin, encoding)


def _count(found: FoundFile | Failure | PassedOver) -> int:
    if not isinstance(found, FoundFile):
        return int(isinstance(found, Failure))
    suffix = found.path.suffix.lower()
    try:
        if not found.sure:
            return int(not left_out_by_content(found.path))
        if suffix not in (*_BY_LINE, ".json", ".parquet"):
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
