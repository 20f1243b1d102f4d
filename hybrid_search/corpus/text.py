"""Reads one file as one document: plain text, Markdown and source code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from hybrid_search.corpus.code import CODE_MARKUP
from hybrid_search.corpus.decoding import Undecodable, decode
from hybrid_search.corpus.embedded import IMAGES, without_pictures
from hybrid_search.corpus.front_matter import front_matter
from hybrid_search.corpus.headings import outline
from hybrid_search.types import Document, Failure, Guessed, PassedOver, SourceItem

MARKDOWN_SUFFIXES = (".md", ".markdown")


def read_text(data: bytes, *, origin: str, name: str, encoding: str = "") -> Iterator[SourceItem]:
    """Yield the file as one document, with its name as the id and `path` and `suffix` as metadata.

    The title of a Markdown file is the `title` of its front matter, else its first heading of level 1. The other values
    of the front matter become metadata. Front matter and embedded pictures are removed from the text. Headings become
    places.

    Args:
        data: the whole file.
        origin: the path shown to the user.
        name: the id.
        encoding: of a file that is not UTF-8; empty for a guess, which is reported by a Guessed item.
    """
    if not data:
        yield Failure(origin, "the file is empty")
        return
    try:
        text, found = decode(data, encoding)
    except Undecodable as error:
        yield Failure(origin, str(error))
        return
    suffix = PurePosixPath(name).suffix.lower()
    metadata: dict[str, Any] = {"path": name, "suffix": suffix}
    if suffix in MARKDOWN_SUFFIXES:
        yield from _markdown(text, metadata, origin, name)
    elif text.strip():
        yield Document(name, text, "", metadata, origin, CODE_MARKUP.get(suffix, "plain"), line=1)
    else:
        yield Failure(origin, "no text: the file holds only white space")
    if found.guessed:
        yield Guessed(origin, found.name)


def _markdown(text: str, metadata: dict[str, Any], origin: str, name: str) -> Iterator[SourceItem]:
    front, rest = front_matter(text)
    line = 1 + text.count("\n") - rest.count("\n")
    text, pictures = without_pictures(rest)
    heading, places = outline(text)
    title = _own_title(front) or heading
    if text.strip():
        yield Document(name, text, title, _merge(front, metadata), origin, "markdown", places, line)
    elif title.strip():
        yield Document(name, title, "", _merge(front, metadata), origin, "markdown")
    else:
        yield Failure(origin, "no text: the file holds only white space or front matter")
    if pictures:
        yield PassedOver(origin, IMAGES, pictures)


def _own_title(front: dict[str, Any]) -> str:
    """Take the title out of the front matter and return it; empty for none. A list is no title."""
    if not isinstance(front.get("title"), (str, int, float)):
        return ""
    title = front.pop("title")
    return str(title).lower() if isinstance(title, bool) else str(title).strip()


def _merge(front: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """Merge both; front matter values named `path` or `suffix` are kept below `front_matter`."""
    hidden = {key: value for key, value in front.items() if key in metadata}
    return {**front, **({"front_matter": hidden} if hidden else {}), **metadata}
