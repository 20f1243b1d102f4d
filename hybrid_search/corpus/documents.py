"""Reads PDF, Word, HTML and notebook files as documents (extra `documents`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from hybrid_search._util.extras import are_installed
from hybrid_search.corpus.decoding import without_surrogates
from hybrid_search.corpus.headings import outline
from hybrid_search.corpus.parts import Unreadable
from hybrid_search.errors import MissingExtra
from hybrid_search.types import Document, Failure, Guessed, PassedOver, Place, SourceItem

NEEDS = {
    ".pdf": ("pypdfium2",),
    ".docx": ("markitdown", "mammoth", "bs4", "markdownify"),
    ".html": ("bs4", "markdownify", "webencodings"),
    ".htm": ("bs4", "markdownify", "webencodings"),
}
"""Suffix -> the packages that reading it takes."""

CONVERTED = (*NEEDS, ".ipynb")
"""Suffixes of files that are converted; notebooks need no package."""


class Converted(NamedTuple):
    """The result of converting a file.

    Args:
        title: empty for none.
        texts: one text per page of a PDF; otherwise one, in Markdown.
        passed_over: kind -> how many of it were left out.
        guessed: the encoding that was guessed; empty if none was.
    """

    title: str
    texts: list[str]
    passed_over: dict[str, int]
    guessed: str = ""


def convert_file(data: bytes, suffix: str, encoding: str = "") -> Converted:
    """Convert a file; `encoding` is as for `conversion.convert`.

    Raises:
        Unreadable: the file is damaged or encrypted.
        MemoryError: the conversion takes more memory than there is.
    """
    from hybrid_search.corpus.conversion import convert

    parts: dict[str, list[tuple[str, int]]] = {"title": [], "text": [], "passed_over": [], "guessed": []}
    try:
        for kind, text, count in convert(data, suffix, encoding):
            parts[kind].append((text, count))
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # whatever the libraries raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise Unreadable(f"cannot be converted ({reason[:200]})") from error
    title, guessed = ("".join(text for text, _ in parts[kind]) for kind in ("title", "guessed"))
    return Converted(title, [text for text, _ in parts["text"]], dict(parts["passed_over"]), guessed)


def read_document(data: bytes, *, origin: str, name: str, encoding: str = "") -> Iterator[SourceItem]:
    """Yield the file as one document, and what was left out of it.

    The id is the file's name; `path` and `suffix` are metadata. The title is the one the file declares, else its first
    heading of level 1. The places of a PDF are its pages, as `page` from 1; those of other formats are their headings,
    as `heading`.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if not data:
        yield Failure(origin, "the file is empty")
        return
    if not are_installed(*NEEDS.get(suffix, ())):
        yield Failure(origin, str(MissingExtra("documents", f"Reading {suffix} files")))
        return
    try:
        found = convert_file(data, suffix, encoding)
    except Unreadable as error:
        yield Failure(origin, str(error))
        return
    yield _document(found, suffix, origin, name)
    for kind, count in found.passed_over.items():
        yield PassedOver(origin, kind, count)
    if found.guessed:
        yield Guessed(origin, found.guessed)


def _document(found: Converted, suffix: str, origin: str, name: str) -> Document | Failure:
    texts = [_plain(text) for text in found.texts]
    pages = {number: text for number, text in enumerate(texts, 1) if text}
    if not pages:
        return Failure(origin, _without_text(suffix, len(texts)))
    text = "\n\n".join(pages.values())
    title, metadata = _plain(found.title), {"path": name, "suffix": suffix}
    if suffix == ".pdf":
        return Document(name, text, title, metadata, origin, places=_page_places(pages))
    heading, places = outline(text)
    return Document(name, text, title or heading, metadata, origin, "markdown", places)


def _page_places(pages: Mapping[int, str]) -> tuple[Place, ...]:
    places, at = [], 0
    for number, text in pages.items():
        places.append(Place(at, {"page": number}))
        at += len(text) + len("\n\n")
    return tuple(places)


def _plain(text: str) -> str:
    return without_surrogates(text).replace("\0", "").replace("\r\n", "\n").strip()


def _without_text(suffix: str, pages: int) -> str:
    if suffix != ".pdf":
        return "no text"
    count = "1 page holds" if pages == 1 else f"{pages:,} pages hold"
    return f"no text: its {count} pictures only, or nothing; text recognition (OCR) makes such a PDF readable"
