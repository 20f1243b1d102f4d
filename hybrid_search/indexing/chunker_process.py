"""Cuts documents that may take long in a process of their own, under a bound.

Splitters that know a syntax look again and again at what is nested: 8 kB of parentheses in a Python file take 24 s. As
plain text a document takes time by its length alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from hybrid_search.corpus.bounded import Bound, BoundedProcess, Handler
from hybrid_search.corpus.chunking import chunk
from hybrid_search.encoders.token_counter import TokenCount
from hybrid_search.types import Chunk, Document

SHORT_TEXT = 50_000
SHORT_STRUCTURED = 1_000
"""Characters of a document that is cut at once, where it is asked for: plain text, and anything that has a syntax."""

STRUCTURED_S, PLAIN_S, CUT_BYTES = 6.5, 5.0, 900_000_000
"""What the cutting of a document of a million characters may take; a longer one in proportion, below 4 GB."""


class Recipe(NamedTuple):
    """How documents are cut, as a value.

    Args:
        counts: of the models that will read the chunks; none where words count as tokens.
        size_tokens: as for `chunk`; overlap_tokens likewise.
    """

    counts: tuple[TokenCount, ...]
    size_tokens: int
    overlap_tokens: int


def most_tokens(counters: Sequence[Callable[[Sequence[str]], list[int]]], texts: Sequence[str]) -> list[int]:
    """Count the tokens of each text, by the model that needs most; words where there is none."""
    if not counters:
        return [len(text.split()) for text in texts]
    return [max(each) for each in zip(*(count(texts) for count in counters), strict=True)]


class ChunkerProcess:
    """The process that cuts by a recipe; started with the first document, ended by `close`."""

    def __init__(self, recipe: Recipe) -> None:
        self._process = BoundedProcess("hybrid_search.indexing.chunker_process:opened", recipe)

    def __call__(self, document: Document) -> list[Chunk]:
        """Cut a document.

        Raises:
            Exceeded: it takes too much time or memory.
        """
        bound = bound_of(len(document.text), plain=document.markup == "plain")
        return [chunk for some in self._process.ask(document, bound) for chunk in some]

    def start(self) -> None:
        """Start the process ahead of the first document."""
        self._process.start()

    def close(self) -> None:
        self._process.close()


def bound_of(characters: int, *, plain: bool) -> Bound:
    """Return the time and memory that cutting a text of so many characters may take."""
    millions = max(1.0, characters / 1e6)
    memory = min(4e9, CUT_BYTES + 64e6 * (millions - 1))
    return Bound((PLAIN_S if plain else STRUCTURED_S) * millions, int(memory))


def is_short(document: Document) -> bool:
    """Say whether a document can be cut anywhere: it takes well below a second, whatever it holds."""
    return len(document.text) <= (SHORT_TEXT if document.markup == "plain" else SHORT_STRUCTURED)


def opened(recipe: Recipe) -> Handler:
    """Make the handler that cuts documents by a recipe; called in the process that does so."""
    counters = [each.counter() for each in recipe.counts]

    def count(texts: Sequence[str]) -> list[int]:
        return most_tokens(counters, texts)

    def handle(document: Document) -> Iterator[list[Chunk]]:
        size, overlap = recipe.size_tokens, recipe.overlap_tokens
        yield chunk(document, size_tokens=size, overlap_tokens=overlap, count_tokens=count)

    return handle
