"""What is shown of a passage: two lines of prose or some lines of code, where the matches are; or all of it."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from hybrid_search._util.printable import one_line, printable
from hybrid_search.cli.console import out
from hybrid_search.corpus.code import CODE_MARKUP
from hybrid_search.ranking.windows import densest
from hybrid_search.results import Mark, Passage

MARKS = {"literal": "bold cyan", "expansion": "bold green"}
"""Words that the query has, and words that only its expansion has."""

PROSE_LINES, CODE_LINES = 2, 6
TAB = 4

_BLOCK = re.compile(r"^(?:```|~~~| {4}|\t)", re.M)
_NEWLINE = re.compile(r"\r\n|[\n\r\f\v\x85\u2028\u2029]")
_BLANKS = re.compile(r"\s+")
_MANY = 2_000
"""Matches; of a text that has more those near its best part are looked at."""

_LONGEST = 100_000
"""Characters of a text in which blocks of code are looked for."""


class Span(NamedTuple):
    """A part of a text, its end excluded."""

    start: int
    end: int


def snippet(passage: Passage, metadata: Mapping[str, Any], columns: int) -> Text:
    """Return the part of a passage that matches best, in the few lines that it may take.

    Args:
        passage: with its highlight; without one, its beginning is shown.
        metadata: of its document: a `suffix` tells source code.
        columns: of the room, in cells.
    """
    marks = _marks(passage)
    code = _code_around(passage.text, metadata, marks)
    return _prose(passage.text, marks, columns) if code is None else _code(passage.text, code, marks, columns)


def whole(passage: Passage, metadata: Mapping[str, Any]) -> Text:
    """Return all of a passage, in its own lines."""
    text, marks = passage.text, passage.highlight.marks if passage.highlight else ()
    lines = [_line(text, span, marks) for span in _lines(text, Span(0, len(text)))]
    if _is_code(metadata):
        lines = _with_first_indent(lines)
    while lines and not lines[-1].plain.strip():
        lines.pop()
    while lines and not lines[0].plain.strip():
        lines.pop(0)
    return Text("\n").join(lines)


def _marks(passage: Passage) -> Sequence[Mark]:
    if passage.highlight is None:
        return ()
    start, end, marks = passage.highlight
    if len(marks) <= _MANY:
        return marks
    near = end - start
    return [mark for mark in marks if mark.start >= start - near and mark.end <= end + near]


# ---------------------------------------------------------------- prose


def _prose(text: str, marks: Sequence[Mark], columns: int) -> Text:
    """Return the densest window that two lines hold, line breaks shown as blanks."""

    def shown(size: int) -> Text:
        return _window(text, marks, Span(*densest(text, marks, size)))

    def too_long(size: int) -> bool:
        return len(shown(size).wrap(out, columns)) > PROSE_LINES

    # Cells are no characters, and lines are filled by whole words: how much fits is found by trying.
    most = 2 * PROSE_LINES * columns
    size = bisect_right(range(1, most + 1), False, key=too_long)
    while size > 1 and too_long(size):
        size -= 1
    return shown(max(1, size))


def _window(text: str, marks: Sequence[Mark], window: Span) -> Text:
    """Return a window in one line, with signs where it was cut: close to a word that was cut too."""
    start, end = window
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    shown = Text()
    if text[:start].strip():
        shown.append("… " if text[start - 1].isspace() else "…", style="dim")
    _append(shown, text, Span(start, end), marks, lambda piece: _BLANKS.sub(" ", one_line(piece)))
    if text[end:].strip():
        shown.append(" …" if text[end].isspace() else "…", style="dim")
    return shown


def _append(shown: Text, text: str, span: Span, marks: Sequence[Mark], clean: Any) -> None:
    """Add a part of a text with its marks."""
    at = span.start
    first = bisect_right(marks, span.start, key=lambda mark: mark.end)
    for mark in marks[first:]:
        if mark.start >= span.end:
            break
        start, end = max(mark.start, at), min(mark.end, span.end)
        shown.append(clean(text[at:start])).append(clean(text[start:end]), style=MARKS[mark.kind])
        at = end
    shown.append(clean(text[at : span.end]))


# ---------------------------------------------------------------- code


def _code_around(text: str, metadata: Mapping[str, Any], marks: Sequence[Mark]) -> Span | None:
    """Return the preformatted part of a text that holds its best match; None where that stands in prose."""
    if _is_code(metadata):
        return Span(0, len(text))
    if not marks or len(text) > _LONGEST or not _BLOCK.search(text):
        return None
    start, end = densest(text, marks, 80)
    best = next((mark for mark in marks if mark.start >= start and mark.end <= end), marks[0])
    return next((block for block in _blocks(text) if block.start <= best.start < block.end), None)


def _is_code(metadata: Mapping[str, Any]) -> bool:
    return str(metadata.get("suffix", "")).lower() in CODE_MARKUP


def _blocks(text: str) -> list[Span]:
    """Return the blocks of Markdown whose lines stay as they are, without the fences around them."""
    starts = [0, *(match.end() for match in re.finditer("\n", text)), len(text)]
    blocks = []
    for token in _markdown().parse(text):
        if token.type in ("fence", "code_block") and token.map:
            first, last = token.map
            if token.type == "fence":
                first, last = first + 1, first + 1 + token.content.count("\n")
            blocks.append(Span(starts[min(first, len(starts) - 1)], starts[min(last, len(starts) - 1)]))
    return blocks


@lru_cache(maxsize=1)
def _markdown() -> Any:
    from markdown_it import MarkdownIt

    # Only where lines stand: what is inside of them, and may nest without end, is not looked at.
    return MarkdownIt("zero").enable(["fence", "code"])


def _code(text: str, code: Span, marks: Sequence[Mark], columns: int) -> Text:
    """Return some lines around the matches, without the indentation that they share, each cut to the room."""
    lines = [span for span in _lines(text, code) if text[span.start : span.end].strip()] or [code]
    first = _first_line(lines, text, marks)
    shown = [_line(text, span, marks) for span in lines[first : first + CODE_LINES]]
    if lines[first].start == 0:
        shown = _with_first_indent(shown)
    indent = min(map(_indent, shown))
    return Text("\n", no_wrap=True).join([_cut(line[indent:], columns) for line in shown])


def _indent(line: Text) -> int:
    return len(line.plain) - len(line.plain.lstrip())


def _with_first_indent(lines: list[Text]) -> list[Text]:
    """Restore the indentation of a chunk's first line, which it has lost where the chunk began behind it.

    How far it was indented is told by the others: as the one that closes its block, less by a step than a block that it
    opens, else as they are.
    """
    depths = sorted({_indent(line) for line in lines[1:] if line.plain.strip()})
    if not depths or not depths[0] or _indent(lines[0]):
        return lines
    shallowest = next(line.plain.lstrip() for line in lines[1:] if _indent(line) == depths[0] and line.plain.strip())
    step = min([after - before for before, after in itertools.pairwise(depths)], default=TAB)
    opens = lines[0].plain.rstrip().endswith((":", "{", "(", "[", ",")) and shallowest[0] not in "})]"
    return [Text(" " * max(0, depths[0] - min(step, TAB) * opens)).append_text(lines[0]), *lines[1:]]


def _lines(text: str, span: Span) -> list[Span]:
    """Return the lines of a part of a text, without their ends."""
    lines, at = [], span.start
    for end in _NEWLINE.finditer(text, span.start, span.end):
        lines.append(Span(at, end.start()))
        at = end.end()
    return [*lines, Span(at, span.end)] if at < span.end else lines


def _first_line(lines: Sequence[Span], text: str, marks: Sequence[Mark]) -> int:
    """Return where the lines begin that hold the most matches, each word once; one line earlier where that fits."""
    words: list[dict[str, float]] = [{} for _ in lines]
    starts = [line.start for line in lines]
    for mark in marks:
        place = bisect_right(starts, mark.start) - 1
        if place >= 0 and mark.start < lines[place].end:
            words[place][text[mark.start : mark.end].lower()] = 1.0 if mark.kind == "literal" else 0.5
    last = max(0, len(lines) - CODE_LINES)
    held = [
        sum(dict(itertools.chain(*map(dict.items, words[at : at + CODE_LINES]))).values()) for at in range(last + 1)
    ]
    best = held.index(max(held))
    while best < last and not words[best] and not words[best + 1] and held[best + 1] == held[best]:
        best += 1
    return best


def _line(text: str, span: Span, marks: Sequence[Mark]) -> Text:
    """Return one line of code with its marks, tabs as blanks."""
    shown = Text()
    _append(shown, text, span, marks, lambda piece: printable(piece, keep="\t"))
    shown.expand_tabs(TAB)
    shown.rstrip()
    return shown


def _cut(line: Text, columns: int) -> Text:
    """Cut a line to the room, such that the matches in it are seen."""
    if cell_len(line.plain) <= columns:
        return line
    marks = [Mark(span.start, span.end, "literal") for span in line.spans]
    # What stands before a match is shown where it fits, for so is code read; its indentation in any case.
    lead = line.plain[: min(_indent(line), columns // 3)]
    start, end = densest(line.plain, marks, _room(line, columns))
    if all(mark.end <= _room(line, columns) for mark in marks if start <= mark.start < end):
        shown = line.copy()
    else:
        start, _ = densest(line.plain, marks, _room(line, columns - len(lead)))
        shown = Text(lead).append("…", style="dim").append_text(line[start:])
    shown.truncate(columns, overflow="ellipsis")
    return shown


def _room(line: Text, columns: int) -> int:
    """Return how many characters of a line fit beside the signs of a cut, however wide they are."""
    return max(1, columns - 2 if line.plain.isascii() else columns // 2 - 1)
