"""One file, one document: plain text, Markdown and source code."""

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
    """The file as one document, with its name as id and `path` and `suffix` as metadata.

    A Markdown file's title is `title` of its front matter, else its first level-1 heading; the front matter's other
    values become metadata and the front matter leaves the text, and so do pictures that are in the text itself. Its
    headings are places of the document.

    Args:
        data: the whole file.
        origin: the path shown to the user.
        name: the id.
        encoding: of what is no UTF-8; empty for a guess, which is told too.
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
        yield Document(name, text, title, _merged(front, metadata), origin, "markdown", places, line)
    elif title.strip():
        yield Document(name, title, "", _merged(front, metadata), origin, "markdown")
    else:
        yield Failure(origin, "no text: the file holds only white space or front matter")
    if pictures:
        yield PassedOver(origin, IMAGES, pictures)


def _own_title(front: dict[str, Any]) -> str:
    """The title that the front matter names, taken out of it; empty for none. A list is no title."""
    if not isinstance(front.get("title"), (str, int, float)):
        return ""
    title = front.pop("title")
    return str(title).lower() if isinstance(title, bool) else str(title).strip()


def _merged(front: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """Both; what the front matter calls `path` or `suffix` too is kept below `front_matter`."""
    hidden = {key: value for key, value in front.items() if key in metadata}
    return {**front, **({"front_matter": hidden} if hidden else {}), **metadata}
