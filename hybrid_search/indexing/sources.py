"""From what a caller gives as a source to documents that can be indexed."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from hybrid_search._util.arguments import shown, texts
from hybrid_search._util.unicode_text import nfc
from hybrid_search.corpus.decoding import without_surrogates
from hybrid_search.corpus.fields import FieldMap, document_of
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.corpus.readers import count_documents, read_all
from hybrid_search.corpus.roots import Have, Roots, resolve
from hybrid_search.errors import CorpusError, InvalidArgument
from hybrid_search.indexing.progress import JobProgress
from hybrid_search.manifest import Manifest
from hybrid_search.store.schema import clean_metadata
from hybrid_search.types import Document, Failure, Guessed, PassedOver, Place, SourceItem

log = logging.getLogger(__name__)

Source = str | Path | Sequence[str | Path] | Iterable[Document | Mapping[str, Any]]
"""Files, folders, `-` for stdin, or documents."""


def _none(_: Sequence[str]) -> int:
    return 0


SAMPLE_DOCUMENTS = 4_096
SAMPLE_CHARACTERS = 16_000_000
"""Of a new collection's sources so much is read ahead, for BM25 to measure the mean length."""


class Opened(NamedTuple):
    """A source: its documents as they come, an estimate of how many, and where the collection's files come from."""

    items: Iterable[SourceItem]
    total: int | None
    roots: Roots

    def close(self) -> None:
        """End the process that reads, if there is one."""
        if isinstance(self.items, Generator):
            with suppress(ValueError):  # a thread is reading just now, and lets go of it when it has
                self.items.close()


def open_source(
    source: Source,
    fields: FieldMap,
    globs: Sequence[str],
    manifest: Manifest | None = None,
    have: Have = _none,
    *,
    follow_links: bool = False,
) -> Opened:
    """Open a source for a collection.

    Args:
        source: see there.
        fields: which fields of a row are id, title and text.
        globs: of a folder only the files that match one of these.
        manifest: the collection's manifest; None for a new one.
        have: counts how many of some ids the collection has.
        follow_links: read what links in folders lead to outside of them.

    Raises:
        InvalidArgument: no source, one document instead of several, one glob instead of several, no FieldMap.
        CorpusError: a source is not there.
    """
    known: Mapping[str, str] | None = {} if manifest is None else manifest.roots
    if isinstance(source, (Document, Mapping)):
        raise InvalidArgument("The source is one document; give a list, or any other iterable, of documents.")
    if not isinstance(fields, FieldMap):
        raise InvalidArgument(f"fields is {shown(fields)}; it must be a FieldMap, or None.")
    globs = texts("globs", globs)
    if isinstance(source, (str, Path)):
        source = [source]
    given: object = source
    if isinstance(given, (bytes, bytearray)) or not isinstance(given, Iterable):
        raise InvalidArgument(
            f"The source is {shown(given)}; it must be a path, a list of paths, or an iterable of documents or dicts."
        )
    if isinstance(source, (list, tuple)) and all(isinstance(item, (str, Path)) for item in source):
        total = count_documents(source, globs=globs, follow_links=follow_links)
        roots = resolve(source, known, have, globs)
        if known is None:
            log.warning(
                "The collection was built before sources were remembered. Its documents keep their ids; from now on "
                "they belong to: %s. Build it again (--replace) where two sources have shared ids.",
                ", ".join(roots.prefixes),
            )
        items = read_all(source, fields=fields, globs=globs, follow_links=follow_links, roots=roots)
        return Opened(items, total, roots)
    rows = cast("Iterable[object]", source)
    total = len(rows) if isinstance(rows, Sized) else None
    documents = (_as_document(row, place, fields) for place, row in enumerate(rows, 1))
    return Opened(documents, total, Roots(known or {}, {}))


def _as_document(row: object, place: int, fields: FieldMap) -> SourceItem:
    if isinstance(row, (Document, Failure, PassedOver, Guessed)):
        return row
    if not isinstance(row, Mapping):
        return Failure(f"item {place}", f"expected a Document or a dict, found {type(row).__name__}")
    return document_of(row, fields, origin=f"item {place}", fallback_id=f"item-{place}")


def validated(items: Iterable[SourceItem], ledger: Ledger, progress: JobProgress) -> Iterator[Document]:
    """Yield the documents that can be indexed, each id once; count all others with the reason."""
    for item in items:
        progress.origin = str(item.origin or "")
        if not isinstance(item, Document):
            count(item, progress)
            continue
        origin = item.origin or str(item.doc_id)
        try:
            document = clean(item)
        except ValueError as error:
            progress.fail(Failure(origin, str(error)))
            continue
        earlier = ledger.seen(document.doc_id, document.content_hash(), origin)
        if earlier is None:
            yield document
        elif earlier[0] == document.content_hash():
            progress.repeated += 1
        else:
            progress.fail(Failure(origin, duplicate_reason(document.doc_id, earlier[1])))


def count(item: Failure | PassedOver | Guessed, progress: JobProgress) -> None:
    """Count what comes of a source and is no document."""
    if isinstance(item, Failure):
        progress.fail(item)
    elif isinstance(item, PassedOver):
        progress.passed_over(item.kind, item.count)
    else:
        progress.guess(item.encoding)


def duplicate_reason(doc_id: str, elsewhere: str) -> str:
    """Explain why the second document with an id fails."""
    return f"doc_id {doc_id!r} stands at {elsewhere} too, with other content"


def peek(documents: Iterator[Document], progress: JobProgress, *, sample: bool) -> list[Document]:
    """Take the first document, or with `sample` as many as are enough to measure the mean length.

    Raises:
        CorpusError: there is none; the message says why, as the progress holds it.
    """
    taken: list[Document] = []
    characters = 0
    for document in documents:
        taken.append(document)
        characters += len(document.text)
        if not sample or len(taken) >= SAMPLE_DOCUMENTS or characters >= SAMPLE_CHARACTERS:
            break
    if not taken:
        reasons = "; ".join(map(str, progress.failures[:5]))
        if progress.passed:
            passed = ", ".join(f"{kind} ({count:,})" for kind, count in sorted(progress.passed.items()))
            reasons = "; ".join(filter(None, (reasons, f"passed over were {passed}")))
        raise CorpusError(f"There is no document to index: {reasons or 'the source is empty'}. Nothing was written.")
    return taken


def clean(document: Document, *, empty: bool = False) -> Document:
    """Return the document as every store can hold it. Callers make documents of anything, so all is checked.

    Its id is in normal form C: ids that differ in how a letter is composed, as names of files do, are one.

    Args:
        document: as it came.
        empty: whether it may have no text, as one whose vectors came with it.

    Raises:
        ValueError: it cannot be indexed; the message is the reason.
    """
    for name in ("doc_id", "text", "title"):
        value: object = getattr(document, name)
        if not isinstance(value, str):
            raise ValueError(f"{name} is {type(value).__name__}, expected a string")
    if not (empty or document.text.strip()) or not document.doc_id:
        raise ValueError("no text" if document.doc_id else "no doc_id")
    if without_surrogates(document.doc_id) != document.doc_id:
        raise ValueError(f"doc_id {document.doc_id!r} holds half a character (a lone surrogate)")
    return replace(
        document,
        doc_id=nfc(document.doc_id),
        text=without_surrogates(document.text),
        title=without_surrogates(document.title),
        origin=without_surrogates(document.origin),
        metadata=clean_metadata(document.metadata),
        places=_clean_places(document.places),
    )


def _clean_places(places: Sequence[Place]) -> tuple[Place, ...]:
    starts = [place.start for place in places if isinstance(place, Place) and isinstance(place.start, int)]
    if len(starts) != len(places) or starts != sorted(starts):
        raise ValueError("places are not values of Place in the order of their starts")
    return tuple(Place(place.start, clean_metadata(place.metadata)) for place in places)
