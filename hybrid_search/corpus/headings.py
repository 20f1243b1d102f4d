"""The headings of a Markdown text, and which of them stand above each place of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from hybrid_search.types import Place

MAX_HEADING = 100
"""Characters of a heading that are kept: a paragraph in the style of a heading is no path."""

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_NUMBERED = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*")
_NO_PARAGRAPH = re.compile(r"\s*(?:[-*+>|#<]|\d+[.)]|\Z)")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_SIGNS = re.compile(r"\\(?=_|[^\w\s])|[`*]|<[^>]*>|\s*\{#[^}]*\}\s*\Z")


class Heading(NamedTuple):
    """A heading: where its line begins, its level from 1, and its text as it is written."""

    start: int
    level: int
    text: str


def headings(text: str) -> Iterator[Heading]:
    """Every heading outside code blocks: `# Title`, or a line of its own underlined with `=` or `-`.

    >>> list(headings("# Tea\\n\\nHow to\\n---\\n"))
    [Heading(start=0, level=1, text='Tea'), Heading(start=7, level=2, text='How to')]
    """
    fence = before = ""
    at, alone = 0, True
    for line in text.split("\n"):
        start, at = at, at + len(line) + 1
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip(" `~"):
                fence = ""
            continue
        if mark:
            fence, before = mark[1], ""
            continue
        numbered = _NUMBERED.fullmatch(line)
        if numbered:
            if numbered[2].strip():
                yield Heading(start, len(numbered[1]), numbered[2].strip())
            before, alone = "", True
            continue
        under = _UNDERLINE.fullmatch(line) if before else None
        # Dashes under a paragraph of several lines, or a list, are more often meant as a rule.
        if under and (under[1][0] == "=" or (alone and not _NO_PARAGRAPH.match(before))):
            yield Heading(start - len(before) - 1, 1 if under[1][0] == "=" else 2, before.strip())
            before, alone = "", True
            continue
        alone = not before.strip()
        before = line if line.strip() else ""


def heading_places(text: str) -> tuple[Place, ...]:
    """One place a heading, `heading` being the path down to it.

    >>> [place.metadata["heading"] for place in heading_places("# Tea\\n## How to *brew*\\n# Milk\\n")]
    ['Tea', 'Tea > How to brew', 'Milk']
    """
    above: list[tuple[int, str]] = []
    places = []
    for heading in headings(text):
        shown = _SIGNS.sub("", _LINK.sub(r"\1", heading.text)).strip()[:MAX_HEADING]
        if shown:
            above = [*(each for each in above if each[0] < heading.level), (heading.level, shown)]
            places.append(Place(heading.start, {"heading": " > ".join(text for _, text in above)}))
    return tuple(places)


def first_heading(text: str) -> str:
    """The first heading of level 1; empty for none."""
    return next((heading.text for heading in headings(text) if heading.level == 1), "")
