"""Documents to chunks that a model reads whole.

The cuts are semantic-text-splitter's: the largest units that fit, merged greedily from the left. Units are headings and
blocks in Markdown, the syntax of source code where its grammar is installed, and else paragraphs, sentences and words.
Two things are added:

- A long text goes through a sliding window. The splitter looks at everything up to the next sentence end, again for
  every chunk, so the time would grow with the square of a text that has none. The window is also the longest that a
  chunk can be, 48 characters for each token of room: WordPiece reads any word of over 100 characters as one unknown
  token, and by tokens alone a megabyte of base64 would be one chunk.
- Every chunk is counted once more as the model will read it, title and all, because tokens of parts do not add up to
  tokens of the whole in every tokenizer.

Counting by callback is about as fast as the splitter's own tokenizer binding (6 against 5.4 ms for 6,000 characters),
which takes 22 ms to set up, again for every document whose title has another length.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

from semantic_text_splitter import CodeSplitter, MarkdownSplitter, TextSplitter

from hybrid_search.corpus.code import grammar
from hybrid_search.corpus.decoding import without_surrogates
from hybrid_search.errors import InvalidArgument
from hybrid_search.types import Chunk, Document

MIN_TEXT_TOKENS = 8
"""Room below this is refused: a single character can cost five tokens, and the title may take half of the room."""

_CHUNKS_PER_WINDOW = 8
_CHARS_PER_TOKEN = 6 * _CHUNKS_PER_WINDOW
_PLAIN_WINDOW = 2_048
# Cut inside a block, a window would take its end for a beginning; long windows make that rare.
_STRUCTURED_WINDOW = 65_536
_WORD_END = re.compile(r"\S+")

CountTokens = Callable[[Sequence[str]], list[int]]


class _Room(NamedTuple):
    """What the model may read, special tokens taken off.

    Args:
        tokens: how many are left for title and text.
        sizes: the tokens of each text, special tokens not counted.
    """

    tokens: int
    sizes: CountTokens

    def fits(self, text: str) -> bool:
        return self.sizes([text])[0] <= self.tokens


def chunk(
    document: Document,
    *,
    size_tokens: int,
    overlap_tokens: int,
    count_tokens: CountTokens,
    overhead_tokens: int = 2,
) -> list[Chunk]:
    """Cut a document into chunks whose `searchable` a model reads whole.

    For every chunk `document.text[start:end] == text`; starts increase; numbers are 0..n-1; every character that is no
    white space is in some chunk. A document that fits is one chunk, its whole text.

    Args:
        document: with something other than white space in its text.
        size_tokens: what the model reads, special tokens and the repeated title included; 0 for one chunk a document.
        overlap_tokens: at most so many tokens of a chunk's end begin the next one. Where a long title leaves no more
            room than that, half of the room.
        count_tokens: tokens of each text, special tokens included (the encoder's `count_tokens`).
        overhead_tokens: the special tokens a model adds. Taken off also where `count_tokens` leaves them out.

    A title that takes more than half of the room is cut at a word's end, so that at least half is left for the text.
    The one chunk that may be too long is a single character that alone is.

    Raises:
        InvalidArgument: a size too small to hold text, or an overlap that is not smaller than the room.
    """
    if size_tokens == 0:
        return _chunks(document, [(0, len(document.text))], document.title)
    whole_room = size_tokens - overhead_tokens
    if overhead_tokens < 0 or whole_room < MIN_TEXT_TOKENS:
        raise InvalidArgument(
            f"A chunk of {size_tokens} tokens has no room for text: {overhead_tokens} are special tokens; "
            f"give at least {max(overhead_tokens, 0) + MIN_TEXT_TOKENS}, or 0 for one chunk a document"
        )
    if not 0 <= overlap_tokens < whole_room:
        raise InvalidArgument(
            f"An overlap of {overlap_tokens} tokens does not fit chunks of {size_tokens}: "
            f"it must be 0 or more and less than {whole_room} ({overhead_tokens} are special tokens)"
        )
    # Offsets stay right: a lone surrogate is replaced by one character.
    text, title = without_surrogates(document.text), without_surrogates(document.title)
    room = _room(count_tokens, size_tokens, overhead_tokens)
    in_front = title + "\n" if title else ""
    if len(text) <= max(_PLAIN_WINDOW, room.tokens * _CHARS_PER_TOKEN) and room.fits(in_front + text):
        spans = [(0, len(text))]
    else:
        title = _shortened(title, room._replace(tokens=room.tokens // 2))
        in_front = title + "\n" if title else ""
        capacity = room.tokens - (room.sizes([in_front])[0] if title else 0)
        overlap = overlap_tokens if overlap_tokens < capacity else capacity // 2
        spans = _windowed(text, capacity, overlap, room.sizes, document.markup)
        spans = _fitted(text, in_front, spans, room)
    return _chunks(document, spans, document.title[: len(title)])


def _chunks(document: Document, spans: Sequence[tuple[int, int]], title: str) -> list[Chunk]:
    chunks = []
    line, counted = document.line, 0
    for number, (start, end) in enumerate(spans):
        text = document.text[start:end]
        begins = start + len(text) - len(text.lstrip())
        if document.line:
            # Where chunks overlap, the next one may begin before the first sign of this one.
            line += document.text.count("\n", counted, begins) - document.text.count("\n", begins, counted)
            counted = begins
        chunks.append(Chunk(document.doc_id, number, text, start, end, title, document.metadata_at(begins), line))
    return chunks


def _room(count_tokens: CountTokens, size_tokens: int, overhead_tokens: int) -> _Room:
    special = count_tokens([""])[0]

    def count(texts: Sequence[str]) -> list[int]:
        return [tokens - special for tokens in count_tokens(texts)]

    return _Room(size_tokens - max(overhead_tokens, special), count)


def _shortened(title: str, room: _Room) -> str:
    """The title, or as many of its first words as fit, or of its first characters."""
    if not title or room.fits(title + "\n"):
        return title
    # Counting a title of megabytes again and again would take minutes.
    title = title[: room.tokens * _CHARS_PER_TOKEN]
    ends = [match.end() for match in _WORD_END.finditer(title)]
    for cuts in (ends, range(1, len(title) + 1)):
        best = bisect_right(cuts, room.tokens, key=lambda end: room.sizes([title[:end] + "\n"])[0])
        if best and room.fits(title[: cuts[best - 1]] + "\n"):
            return title[: cuts[best - 1]]
    return ""


def _windowed(text: str, capacity: int, overlap: int, count: CountTokens, markup: str) -> list[tuple[int, int]]:
    """Spans of the text. A window begins where the last chunk of the one before does, so no cut is the window's own.

    With an overlap the first cuts of a window can differ by a word from those that the whole text would have.
    """
    splitter = _splitter(markup, lambda piece: max(0, count([piece])[0]), capacity, overlap)
    shortest = _PLAIN_WINDOW if isinstance(splitter, TextSplitter) else _STRUCTURED_WINDOW
    size = max(shortest, capacity * _CHARS_PER_TOKEN)
    spans: list[tuple[int, int]] = []
    at = 0
    while at < len(text):
        end = _window_end(text, at, size)
        found = [(at + start, at + start + len(piece)) for start, piece in splitter.chunk_indices(text[at:end])]
        if end < len(text) and len(found) > 1 and found[-1][0] > at:
            at, began = found.pop()[0], at
            size = max(shortest, _CHUNKS_PER_WINDOW * (at - began) // len(found))
        else:
            at = end
        spans += found
    return spans


def _splitter(
    markup: str, count: Callable[[str], int], capacity: int, overlap: int
) -> TextSplitter | MarkdownSplitter | CodeSplitter:
    if markup == "markdown":
        return MarkdownSplitter.from_callback(count, capacity, overlap)
    known = grammar(markup.removeprefix("code:")) if markup.startswith("code:") else None
    if known is not None:
        return CodeSplitter.from_callback(known, count, capacity, overlap)
    return TextSplitter.from_callback(count, capacity, overlap)


def _window_end(text: str, start: int, size: int) -> int:
    """Where a window ends: behind white space where there is some in its second half, never inside a character."""
    end = start + size
    if end >= len(text):
        return len(text)
    for place in range(end, start + size // 2, -1):
        if text[place - 1].isspace():
            return place
    return _character_end(text, end)


def _character_end(text: str, end: int) -> int:
    """The next place at or behind `end` that no combining mark or joiner binds to what is before it (within 32)."""
    for place in range(end, min(end + 32, len(text))):
        joined = text[place - 1] == "\u200d" or text[place] == "\u200d" or unicodedata.category(text[place])[0] == "M"
        if not joined:
            return place
    return min(end, len(text))


def _fitted(text: str, in_front: str, spans: list[tuple[int, int]], room: _Room) -> list[tuple[int, int]]:
    """The spans, halved where they do not fit behind the title; in order, none blank, no two with one beginning."""
    counts = room.sizes([in_front + text[start:end] for start, end in spans])
    longest: dict[int, int] = {}
    for span, tokens in zip(spans, counts, strict=True):
        for start, end in [span] if tokens <= room.tokens else _halved(text, in_front, span, room):
            if text[start:end].strip():
                longest[start] = max(end, longest.get(start, 0))
    return sorted(longest.items())


def _halved(text: str, in_front: str, span: tuple[int, int], room: _Room) -> list[tuple[int, int]]:
    pending, fitting = [span], []
    while pending:
        start, end = pending.pop()
        if end - start < 2 or room.fits(in_front + text[start:end]):
            fitting.append((start, end))
            continue
        middle = (start + end) // 2
        # Behind white space near the middle, else between two characters, else anywhere.
        near = range(middle, start + (end - start) // 4, -1)
        cut = next((place for place in near if text[place - 1].isspace()), 0)
        cut = cut or _character_end(text, middle)
        cut = cut if start < cut < end else middle
        pending += [(cut, end), (start, cut)]
    return fitting
