"""One file, one document: plain text, Markdown and source code."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from hybrid_search.corpus.code import CODE_MARKUP
from hybrid_search.corpus.decoding import Undecodable, decode
from hybrid_search.corpus.headings import first_heading, heading_places
from hybrid_search.types import Document, Failure

MARKDOWN_SUFFIXES = (".md", ".markdown")

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_SCALAR = re.compile(r"^([A-Za-z_][\w .-]*?)[ \t]*:[ \t]+(\S.*?)[ \t]*$", re.MULTILINE)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(\.[0-9]+)?")


def read_text(data: bytes, *, origin: str, name: str) -> Document | Failure:
    """The file as one document, with its name as id and `path` and `suffix` as metadata.

    A Markdown file's title is `title` of its YAML front matter, else its first level-1 heading; the front matter's
    other plain values become metadata and the front matter leaves the text. Its headings are places of the document.
    """
    if not data:
        return Failure(origin, "the file is empty")
    try:
        text = decode(data)
    except Undecodable as error:
        return Failure(origin, str(error))
    suffix = PurePosixPath(name).suffix.lower()
    metadata: dict[str, Any] = {"path": name, "suffix": suffix}
    if suffix not in MARKDOWN_SUFFIXES:
        if not text.strip():
            return Failure(origin, "no text: the file holds only white space")
        markup = CODE_MARKUP.get(suffix, "plain")
        return Document(doc_id=name, text=text, metadata=metadata, origin=origin, markup=markup, line=1)
    front, text = front_matter(text)
    title = str(front.pop("title", "")).strip() or first_heading(text)
    if not text.strip():
        text, title = title, ""
    if not text.strip():
        return Failure(origin, "no text: the file holds only white space or front matter")
    places = heading_places(text)
    return Document(name, text, title, {**front, **metadata}, origin, "markdown", places)


def front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The plain `key: value` lines of a YAML block at the very top, and the text without that block.

    Numbers, true and false become values, everything else stays text; lists and nested keys are passed over.

    >>> front_matter("---\\ntitle: 'On tea'\\nyear: 1946\\ntags: [a]\\n---\\nbody")
    ({'title': 'On tea', 'year': 1946}, 'body')
    """
    block = _FRONT_MATTER.match(text)
    if block is None:
        return {}, text
    values = {key: _scalar(raw) for key, raw in _SCALAR.findall(block[1])}
    return {key: value for key, value in values.items() if value is not None}, text[block.end() :]


def _scalar(raw: str) -> Any:
    if raw[0] in "'\"":
        closing = raw.find(raw[0], 1)
        return raw[1:closing] if closing > 0 else raw
    if raw[0] in "[{|>&*!#":
        return None
    value = raw.split(" #", 1)[0].rstrip()
    lowered = value.lower()
    if lowered in ("null", "~"):
        return None
    if lowered in ("true", "false"):
        return lowered == "true"
    number = _NUMBER.fullmatch(value)
    if number is None:
        return value
    return int(value) if number[1] is None else float(value)
