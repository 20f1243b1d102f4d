"""Finds the headings of a Markdown text, and the path of headings above each place of it.

markdown-it-py finds the blocks. Its time grows with the number of lines: 0.1 s for a megabyte of prose, up to 15 s for
a megabyte of the shortest lines. A text with more lines is therefore scanned line by line. Link definitions are read
here, because the parser takes quadratic time for them in a long paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.common.utils import normalizeReference
from markdown_it.token import Token

from hybrid_search.types import Place

MAX_HEADING = 100
"""Characters of a heading that are kept; a paragraph styled as a heading is no path."""

MAX_PARSED = 1 << 22
MAX_PARSED_LINES = 40_000
"""Characters (`MAX_PARSED`) and lines that are parsed as Markdown; also the number of headings whose text is parsed."""

MAX_NESTING = 20
_MAX_WRITTEN = 600
_MAX_BRACKETS = 40
"""Characters of a heading (`_MAX_WRITTEN`) that are parsed; one with more brackets stays as it is written."""

_MAYBE = re.compile(r"^ {0,3}(?:#|=+[ \t]*$|-+[ \t]*$)", re.MULTILINE)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_NUMBERED = re.compile(r" {0,3}(#{1,6})(?=[ \t]|\Z)")
_CLOSING = re.compile(r"(?:\A|[ \t])#+\Z")
_DEFINITION = re.compile(r"^ {0,3}\[([^\[\]\n]{1,200})\]:[ \t]*(\S{1,200})", re.MULTILINE)
_MARKED = re.compile(r"[\\`*_\[\]<>&!]")
_NAMED = re.compile(r"[ \t]*\{[#.:][^{}\n]*\}\Z")


class Heading(NamedTuple):
    """A heading: the offset of its line, its level from 1, and its text without markup."""

    start: int
    level: int
    text: str


class Outline(NamedTuple):
    """The title a text gives itself, empty for none, and its places; `heading` is the path of headings to each."""

    title: str
    places: tuple[Place, ...]


def headings(text: str) -> Iterator[Heading]:
    """Yield every non-empty heading of the text itself, outside code blocks, quotations and lists.

    A line underlined with `=` or `-` is a heading; several lines are one only with `=`, because dashes below a
    paragraph are more often meant as a rule.

    >>> list(headings("# *Tea*\\n\\nHow to\\n---\\n"))
    [Heading(start=0, level=1, text='Tea'), Heading(start=9, level=2, text='How to')]
    """
    if not _MAYBE.search(text):
        return
    # One line end for another of the same length, so that places stay what they are.
    text = text.replace("\r\n", " \n").replace("\r", "\n")
    short = len(text) <= MAX_PARSED and text.count("\n") < MAX_PARSED_LINES
    found = _parse(text) if short else None
    definitions = _definitions(text)
    for number, (start, level, written) in enumerate(_scan(text) if found is None else found):
        shown = _read(written, definitions) if number < MAX_PARSED_LINES else written[:_MAX_WRITTEN]
        if shown:
            yield Heading(start, level, shown)


def outline(text: str) -> Outline:
    """Return the first heading of level 1 as the title, and a place for each heading.

    >>> outline("# Tea\\n## How to *brew*\\n# Milk\\n").title
    'Tea'
    >>> [place.metadata["heading"] for place in outline("# Tea\\n## How to *brew*\\n# Milk\\n").places]
    ['Tea', 'Tea > How to brew', 'Milk']
    """
    title = ""
    above: list[tuple[int, str]] = []
    places = []
    for heading in headings(text):
        title = title or (heading.text if heading.level == 1 else "")
        shown = heading.text[:MAX_HEADING].rstrip()
        above = [*(each for each in above if each[0] < heading.level), (heading.level, shown)]
        places.append(Place(heading.start, {"heading": " > ".join(text for _, text in above)}))
    return Outline(title, tuple(places))


def _parse(text: str) -> list[tuple[int, int, str]] | None:
    """Return start, level and written text of each heading; None if blocks are nested too deep for the parser."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    found = []
    tokens = _blocks().parse(text)
    for token, content in pairwise(tokens):
        if token.level >= MAX_NESTING - 1:
            return None  # the parser passes over what follows
        if token.type == "heading_open" and not token.level and token.map and not _is_rule(token, content.content):
            found.append((starts[token.map[0]], int(token.tag[1:]), content.content))
    return found


def _is_rule(token: Token, written: str) -> bool:
    """Return whether dashes below text are more likely a rule: below several lines, or below a link definition."""
    return token.markup == "-" and ("\n" in written or bool(_DEFINITION.match(written)))


def _scan(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, level and written text of the lines that begin with `#`, outside fenced code blocks."""
    fence, at = "", 0
    for line in text.split("\n"):
        start, at = at, at + len(line) + 1
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip(" `~\t"):
                fence = ""
        elif mark:
            fence = mark[1]
        elif numbered := _NUMBERED.match(line):
            written = line[numbered.end() :].strip()
            yield start, len(numbered[1]), _CLOSING.sub("", written[-_MAX_WRITTEN:]) if written[-1:] == "#" else written


def _read(written: str, definitions: dict[str, Any]) -> str:
    """Return how a heading reads: without marks of emphasis, code and links; an image becomes its text."""
    written = written[:_MAX_WRITTEN]
    if _MARKED.search(written) and written.count("[") <= _MAX_BRACKETS:
        [inline] = _inline().parseInline(written, {"references": definitions})
        written = "".join(_texts(inline.children or ()))
    return " ".join(_NAMED.sub("", written.strip()).split())


def _texts(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type == "image":
            yield from _texts(token.children or ())
        elif token.type in ("softbreak", "hardbreak"):
            yield " "
        elif token.type != "html_inline":
            yield token.content


def _definitions(text: str) -> dict[str, Any]:
    """Return what `[text][label]` may refer to, in the parser's own form."""
    return {normalizeReference(label): {"href": link, "title": ""} for label, link in _DEFINITION.findall(text)}


@cache
def _blocks() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING})
    parser.block.ruler.disable("reference")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


@cache
def _inline() -> MarkdownIt:
    return MarkdownIt("commonmark", {"maxNesting": MAX_NESTING})
