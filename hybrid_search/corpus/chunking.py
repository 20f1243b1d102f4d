"""Cuts documents into chunks that a model reads whole.

The cuts are those of semantic-text-splitter: the largest units that fit, merged greedily from the left. Units are
headings and blocks in Markdown, syntax nodes in source code whose grammar is installed, and otherwise paragraphs,
sentences and words. Three things are added:

- A long text goes through a sliding window. The splitter looks ahead to the next sentence end for every chunk, so
  without a window the time would grow with the square of a text that has no sentence ends. The window also limits a
  chunk to 48 characters per token of room: WordPiece reads any word of over 100 characters as one unknown token, so
  by tokens alone a megabyte of base64 would be one chunk.
- Every chunk is counted once more as the model will read it, title included, because in some tokenizers the tokens of
  the parts do not add up to the tokens of the whole.
- A chunk that begins inside a table carries the table's header as its context; a chunk of code carries its path and
  the names around it (`contexts`). No piece of code is smaller than it has to be (`packing`).

Counting by callback is about as fast as the splitter's own tokenizer binding (6 against 5.4 ms for 6,000 characters).
That binding takes 22 ms to set up, again for every document whose title has another length.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from semantic_text_splitter import CodeSplitter, MarkdownSplitter, TextSplitter

from hybrid_search.corpus.code import CODE, grammar, is_code
from hybrid_search.corpus.contexts import begin, context_options, header_at, tables
from hybrid_search.corpus.decoding import without_surrogates
from hybrid_search.corpus.packing import merge_slivers, pack_lines
from hybrid_search.errors import InvalidArgument
from hybrid_search.types import Chunk, Document

MIN_TEXT_TOKENS = 8
"""The least room for text; less is refused, because one character can cost five tokens and the title may take half."""

_CHUNKS_PER_WINDOW = 8
_CHARS_PER_TOKEN = 6 * _CHUNKS_PER_WINDOW
_PLAIN_WINDOW = 2_048
# Cut inside a block, a window would take its end for a beginning; long windows make that rare.
_STRUCTURED_WINDOW = 65_536
_WORD_END = re.compile(r"\S+")

_SHARE = 4
"""A context takes at most this fraction (a quarter) of the room; a piece of code below that fraction is a sliver."""

_SLIVER = 40
_RESERVED = 40
_ROOMY = 128
"""In tokens. Code pieces below `_SLIVER` are joined to what follows. `_RESERVED` are kept for the context of code if
the room is at least `_ROOMY`.
"""

_LEAST_CONTEXT = 4

CountTokens = Callable[[Sequence[str]], list[int]]


class _Room(NamedTuple):
    """How many tokens the model can still read, without special tokens.

    Args:
        tokens: how many are left for title and text.
        sizes: counts the tokens of each text, without special tokens.
        special: the special tokens that the model adds to a text.
        measured: the sizes of texts that may be those of chunks, so that these are not counted once more.
    """

    tokens: int
    sizes: CountTokens
    special: int
    measured: dict[str, int]

    def fits(self, text: str) -> bool:
        return self.measure([text])[0] <= self.tokens

    def measure(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text, as `sizes` does, and remember them."""
        sizes = self.sizes(texts)
        self.measured.update(zip(texts, sizes, strict=True))
        return sizes

    def counted(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Return the chunks with their `tokens`; only those that no step has measured are counted here."""
        texts = [without_surrogates(chunk.searchable) for chunk in chunks]
        missing = [text for text in texts if text not in self.measured]
        if missing:
            self.measure(missing)
        tokens = (self.measured[text] + self.special for text in texts)
        return [replace(chunk, tokens=size) for chunk, size in zip(chunks, tokens, strict=True)]


def chunk(
    document: Document,
    *,
    size_tokens: int,
    overlap_tokens: int,
    count_tokens: CountTokens,
    overhead_tokens: int = 2,
) -> list[Chunk]:
    """Cut a document into chunks whose `searchable` text a model reads whole.

    For every chunk `document.text[start:end] == text`; starts increase; numbers are 0..n-1. Every character that is not
    white space is in some chunk. A document that fits is one chunk: its whole text.

    Args:
        document: its text must hold more than white space.
        size_tokens: what the model reads, including special tokens and the repeated title; 0 for one chunk a document.
        overlap_tokens: at most this many tokens of a chunk's end begin the next one. If a long title leaves no more
            room than that, it is half of the room.
        count_tokens: counts the tokens of each text, with special tokens (the encoder's `count_tokens`).
        overhead_tokens: the special tokens a model adds. Subtracted even if `count_tokens` leaves them out.

    A title that takes more than half of the room is cut at a word end, so that at least half is left for the text.
    Only a chunk of a single character may be too long.

    Raises:
        InvalidArgument: the size is too small to hold text, or the overlap is not smaller than the room.
    """
    if size_tokens == 0:
        context = next(iter(context_options(document, document.text, [0])[0]), "")
        [whole] = _chunks(document, [(0, len(document.text))], document.title, [context])
        return [replace(whole, tokens=count_tokens([whole.searchable])[0])]
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
        title = _shorten(title, room._replace(tokens=room.tokens // 2))
        in_front = title + "\n" if title else ""
        spans = _spans(text, in_front, room, overlap_tokens, document.markup)
    contexts = _contexts(document, text, in_front, spans, room)
    return room.counted(_chunks(document, spans, document.title[: len(title)], contexts))


def _spans(text: str, in_front: str, room: _Room, overlap_tokens: int, markup: str) -> list[tuple[int, int]]:
    """Return the spans of a text that does not fit as a whole."""
    capacity = room.tokens - (room.sizes([in_front])[0] if in_front else 0)
    if is_code(markup) and room.tokens >= _ROOMY:
        capacity -= min(_RESERVED, capacity // _SHARE)
    overlap = overlap_tokens if overlap_tokens < capacity else capacity // 2
    spans = _split_windows(text, capacity, overlap, room.sizes, markup)
    if is_code(markup) and not overlap:
        least = min(_SLIVER, capacity // _SHARE)
        spans = merge_slivers(text, spans, least, capacity, lambda piece: room.sizes([piece])[0])
    spans = _fit(text, in_front, spans, room)
    return _below_headers(text, in_front, spans, room) if markup == "markdown" else spans


def _chunks(document: Document, spans: Sequence[tuple[int, int]], title: str, contexts: Sequence[str]) -> list[Chunk]:
    chunks = []
    line, counted = document.line, 0
    for number, ((start, end), context) in enumerate(zip(spans, contexts, strict=True)):
        text = document.text[start:end]
        begins = begin(document.text, start, end)
        if document.line:
            # Where chunks overlap, the next one may begin before the first sign of this one.
            line += document.text.count("\n", counted, begins) - document.text.count("\n", begins, counted)
            counted = begins
        metadata = document.metadata_at(begins)
        chunks.append(Chunk(document.doc_id, number, text, start, end, title, metadata, line, context))
    return chunks


def _below_headers(text: str, in_front: str, spans: list[tuple[int, int]], room: _Room) -> list[tuple[int, int]]:
    """Cut spans that begin inside a table anew if they leave no room for its header."""
    found = tables(text)
    headers = [header_at(found, begin(text, *span)) for span in spans]
    cut: list[tuple[int, int]] = []
    for header, run in groupby(zip(headers, spans, strict=True), key=lambda each: each[0]):
        table_spans = [span for _, span in run]
        front = in_front + _shorten(header, room._replace(tokens=room.tokens // _SHARE)) + "\n"
        if header and max(room.sizes([front + text[start:end] for start, end in table_spans])) > room.tokens:
            table_spans = _lines(text, front, (table_spans[0][0], table_spans[-1][1]), room)
        cut += table_spans
    return cut


def _lines(text: str, in_front: str, span: tuple[int, int], room: _Room) -> list[tuple[int, int]]:
    """Cut a span behind whole lines; a line that does not fit is cut inside."""

    def tokens(piece: str) -> int:
        return room.sizes([in_front + piece])[0]

    spans = pack_lines(text, span, room.tokens, tokens, room.tokens * _CHARS_PER_TOKEN)
    return _fit(text, in_front, list(spans), room)


def _contexts(document: Document, text: str, in_front: str, spans: Sequence[tuple[int, int]], room: _Room) -> list[str]:
    """Choose for each span the context it is encoded with: at most a quarter of the room, within what is left of it."""
    options = context_options(document, text, [begin(text, *span) for span in spans])
    if not any(options):
        return [""] * len(spans)
    pieces = [text[start:end] for start, end in spans]
    left = [min(room.tokens // _SHARE, room.tokens - size) for size in room.sizes([in_front + each for each in pieces])]
    chosen = [_chosen(each, room._replace(tokens=space)) for each, space in zip(options, left, strict=True)]
    sizes = room.measure([f"{in_front}{context}\n{piece}" for context, piece in zip(chosen, pieces, strict=True)])
    return [context if size <= room.tokens else "" for context, size in zip(chosen, sizes, strict=True)]


def _chosen(options: Sequence[str], room: _Room) -> str:
    """Return the first option that fits, else as much of the last as fits."""
    if not options or room.tokens < _LEAST_CONTEXT:
        return ""
    found = next((option for option in options if room.fits(option + "\n")), None)
    return _shorten(options[-1], room) if found is None else found


def _room(count_tokens: CountTokens, size_tokens: int, overhead_tokens: int) -> _Room:
    special = count_tokens([""])[0]

    def count(texts: Sequence[str]) -> list[int]:
        return [tokens - special for tokens in count_tokens(texts)]

    return _Room(size_tokens - max(overhead_tokens, special), count, special, {})


def _shorten(title: str, room: _Room) -> str:
    """Return the title, or as many of its first words as fit, or of its first characters."""
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


def _split_windows(text: str, capacity: int, overlap: int, count: CountTokens, markup: str) -> list[tuple[int, int]]:
    """Return spans of the text.

    A window begins at the last chunk of the window before, so no cut is made by a window's end. With an overlap, the
    first cuts of a window can differ by a word from those of the whole text.
    """
    splitter = _splitter(markup, lambda piece: max(0, count([piece])[0]), capacity, overlap)
    shortest = _PLAIN_WINDOW if isinstance(splitter, TextSplitter) else _STRUCTURED_WINDOW
    size = max(shortest, capacity * _CHARS_PER_TOKEN)
    spans: list[tuple[int, int]] = []
    at = 0
    while at < len(text):
        end = _window_end(text, at, size)
        try:
            pieces = splitter.chunk_indices(text[at:end])
        except BaseException as error:
            # The library panics over a few texts with controls in Markdown; as plain text it cuts them, too.
            if type(error).__name__ != "PanicException":
                raise
            pieces = _splitter("", lambda piece: max(0, count([piece])[0]), capacity, overlap).chunk_indices(
                text[at:end]
            )
        found = [(at + start, at + start + len(piece)) for start, piece in pieces]
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
    if is_code(markup):
        return CodeSplitter.from_callback(grammar(markup.removeprefix(CODE)), count, capacity, overlap)
    return TextSplitter.from_callback(count, capacity, overlap)


def _window_end(text: str, start: int, size: int) -> int:
    """Return where a window ends: behind white space if there is some in its second half, never inside a character."""
    end = start + size
    if end >= len(text):
        return len(text)
    for place in range(end, start + size // 2, -1):
        if text[place - 1].isspace():
            return place
    return _character_end(text, end)


def _character_end(text: str, end: int) -> int:
    """Return the next offset at or behind `end`, within 32, where no combining mark or joiner binds backwards."""
    for place in range(end, min(end + 32, len(text))):
        joined = text[place - 1] == "\u200d" or text[place] == "\u200d" or unicodedata.category(text[place])[0] == "M"
        if not joined:
            return place
    return min(end, len(text))


def _fit(text: str, in_front: str, spans: list[tuple[int, int]], room: _Room) -> list[tuple[int, int]]:
    """Halve spans that do not fit behind the title. The result is in order, without blank spans or equal starts."""
    counts = room.measure([in_front + text[start:end] for start, end in spans])
    longest: dict[int, int] = {}
    for span, tokens in zip(spans, counts, strict=True):
        for start, end in [span] if tokens <= room.tokens else _halve(text, in_front, span, room):
            if text[start:end].strip():
                longest[start] = max(end, longest.get(start, 0))
    return sorted(longest.items())


def _halve(text: str, in_front: str, span: tuple[int, int], room: _Room) -> list[tuple[int, int]]:
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
