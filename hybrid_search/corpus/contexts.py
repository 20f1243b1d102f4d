"""Finds the context a chunk needs: the header of the table it begins in, or the names its code stands in.

Each line is looked at once, so the time is linear in the text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hybrid_search.corpus.code import CODE, is_code
from hybrid_search.corpus.decoding import without_surrogates
from hybrid_search.types import Document

MAX_NAMES = 4
MAX_NAME = 120
"""The number of lines around a piece of code that are kept, innermost first, and the characters of each."""

_MIN_TABLE = 400
"""Characters of a text below which no chunk begins inside a table."""

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_RULE = re.compile(r"\s*:?-+:?\s*")
_WORD = re.compile(r"\w+")
_TAB = 4
_CONTROL = frozenset(
    word
    for line in (
        "if else elif for while try except finally with switch case do return match catch when loop unless begin end",
        "until foreach lock using synchronized select default then fi done esac await yield throw raise assert in of",
    )
    for word in line.split()
)
"""Words that begin a line which opens a block but names nothing."""

_NAMING = re.compile(
    r"(?:[\w@.]+(?:\([^()]*\))?\s+){0,6}?(?:class|def|function|func|fn|fun|interface|struct|enum|trait|impl|module|"
    r"namespace|package|object|record|protocol|extension|type|sub|procedure|contract|macro|union|mod)\b"
)


class Table(NamedTuple):
    """A table of a Markdown text: the start of its first row below the header, its end, and its header."""

    start: int
    end: int
    header: str


def tables(text: str) -> list[Table]:
    """Return the tables of a Markdown text, outside code, whose header is not empty."""
    found = []
    fence, before, at = "", "", 0
    header, start = "", -1
    for line in text.split("\n"):
        place, at = at, at + len(line) + 1
        if start >= 0 and "|" in line:
            continue
        if start >= 0:
            found.append(Table(start, place, header))
            start = -1
        mark = _FENCE.match(line)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) and not line.strip(" `~\t") else fence
        elif mark:
            fence = mark[1]
        elif "|" in before and _is_rule(line) and before.strip("| \t"):
            header, start = before.strip(), at
        before = "" if fence else line
    if start >= 0:
        found.append(Table(start, len(text), header))
    return [table for table in found if table.start < table.end]


def header_at(found: Sequence[Table], offset: int) -> str:
    """Return the header of the table that an offset lies in; empty for none."""
    place = bisect_right(found, offset, key=lambda table: table.start)
    return found[place - 1].header if place and offset < found[place - 1].end else ""


def names_around(text: str, starts: Sequence[int]) -> list[str]:
    """Return, for each offset in some code, the lines that enclose it by indentation and name something.

    The offsets are increasing. The outermost line is first.

    >>> names_around("class Tea:\\n    def brew(self):\\n        if hot:\\n            pour()\\n", [0, 46])
    ['', 'class Tea:\\ndef brew(self):']
    """
    found = []
    stack: list[tuple[int, str]] = []
    wanted = iter([*starts, -1])
    start = next(wanted)
    for end, indent, line in _lines(text):
        while 0 <= start < end:
            names = [name for level, name in stack if level < indent and name]
            found.append("\n".join(names[-MAX_NAMES:]))
            start = next(wanted)
        closes = line[0] in ")]}" or line == "{"
        while stack and (stack[-1][0] > indent or (stack[-1][0] == indent and not closes)):
            stack.pop()
        if not closes:
            stack.append((indent, _name(line)))
    return found + [""] * (len(starts) - len(found))


def context_options(document: Document, text: str, begins: Sequence[int]) -> list[list[str]]:
    """Return, for chunks that begin at these offsets, the contexts that suit each, best first.

    Args:
        document: has its markup, and its `path` in its metadata.
        text: the document's text, as it is encoded.
        begins: offset of the first visible character of each chunk, increasing.
    """
    if document.markup == "markdown":
        found = tables(text)
        return [[header] if (header := header_at(found, place)) else [] for place in begins]
    if not is_code(document.markup):
        return [[] for _ in begins]
    path = document.metadata.get("path")
    path = without_surrogates(path) if isinstance(path, str) else ""
    return [_of_code(path, names.split("\n") if names else []) for names in names_around(text, begins)]


def begin(text: str, start: int, end: int) -> int:
    """Return the offset of the first character of a span that is not white space."""
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip())


def _of_code(path: str, names: list[str]) -> list[str]:
    """Return path and names, then options with less of the path, then with fewer outer names."""
    name = path.rpartition("/")[2]
    fewer = (names[place:] for place in range(len(names)))
    options = [[path, *names], [name, *names], *fewer]
    return list(dict.fromkeys("\n".join(filter(None, option)) for option in options if any(option)))


def is_affected(document: Document) -> bool:
    """Return whether chunks of a document are encoded with more than its title and their text."""
    if document.markup.startswith(CODE):
        return True
    return document.markup == "markdown" and len(document.text) > _MIN_TABLE and bool(tables(document.text))


def _is_rule(line: str) -> bool:
    """Return whether a line is the rule below a table's header."""
    cells = line.strip().strip("|").split("|")
    return "|" in line and all(_RULE.fullmatch(cell) for cell in cells)


def _lines(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield for each non-blank line its end, its indentation in columns, and its stripped text."""
    at = 0
    for line in text.split("\n"):
        at += len(line) + 1
        stripped = line.strip()
        if stripped:
            blank = line[: len(line) - len(line.lstrip())]
            yield at, len(blank) + (_TAB - 1) * blank.count("\t"), stripped


def _name(line: str) -> str:
    """Return a line that opens a block and names it, shortened; empty for any other line."""
    first = _WORD.search(line)
    if first is None or first[0] in _CONTROL or line[0] in "#/*'\"<":
        return ""
    opens = line[-1] in "{([:" or line.endswith(("=>", "->", " do")) or line.count("(") > line.count(")")
    return line[:MAX_NAME].rstrip() if opens or _NAMING.match(line[:MAX_NAME]) else ""
