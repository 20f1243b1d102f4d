"""Finds what a model cannot read: tokens of a text that are not in its vocabulary.

A tokenizer with a closed vocabulary maps every unknown word to one token, so to the model all such texts are alike: for
an English model, most Chinese, Thai and Korean, and most pictures. Tokenizers that fall back to bytes or single letters
know everything, whether or not their model has learned anything about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import regex

from hybrid_search._util.unicode_text import whole_character
from hybrid_search.encoders.token_counter import MAX_KEPT, MAX_KEPT_CHARACTERS, reads_words
from hybrid_search.encoders.tokenizer import group_by_size
from hybrid_search.protocols import Reading

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

MAX_CHARACTERS = 20_000
"""Characters of a query that are searched for unknown words."""

MAX_WORDS = 20
"""Unknown words that are named."""

MAX_SHOWN = 40
"""Characters of each named word."""

_CONTENT = regex.compile(r"[^\p{P}\p{Z}\p{C}]")


class Unread:
    """Tells what a tokenizer does not know. Safe to use from many threads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._by_words = reads_words(tokenizer)
        self._unknown = _unknown(tokenizer)
        self._known: dict[str, Reading] = {}

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """Return how much of each text is known; texts may have any length."""
        return [self._words(text) for text in texts] if self._by_words else self._read(texts)

    def query(self, text: str, limit: int) -> tuple[Reading, tuple[str, ...]]:
        """Return how much of a query is known, and its first unknown parts, as they are written.

        Args:
            text: the query.
            limit: tokens that the model reads of it; 0 for all.
        """
        beginning = text[:MAX_CHARACTERS]
        encoding = self._tokenizer.encode(beginning, add_special_tokens=False)
        read = list(zip(encoding.ids, encoding.offsets, strict=True))[: limit or None]
        content = [(number == self._unknown, at) for number, at in read if _CONTENT.search(beginning[slice(*at)])]
        stretches = [_short(beginning[slice(*at)]) for at in _joined([at for unknown, at in content if unknown])]
        reading = Reading(len(content), sum(unknown for unknown, _ in content))
        return reading, tuple(dict.fromkeys(stretches))[:MAX_WORDS]

    def _words(self, text: str) -> Reading:
        words = text.split()
        known = self._known  # the same to the end, whatever another thread does
        new = [word for word in dict.fromkeys(words) if word not in known]
        found = dict(zip(new, self._read(new), strict=True))
        if len(known) + len(new) > MAX_KEPT:
            self._known = {}
        self._known.update((word, each) for word, each in found.items() if len(word) <= MAX_KEPT_CHARACTERS)
        each = [found[word] if word in found else known[word] for word in words]
        return Reading(sum(one.tokens for one in each), sum(one.unknown for one in each))

    def _read(self, texts: Sequence[str]) -> list[Reading]:
        found: list[Reading] = []
        for group in group_by_size([len(text) for text in texts]):
            batch = list(texts[group])
            encodings = self._tokenizer.encode_batch(batch, add_special_tokens=False)
            found += [self._reading(text, encoding) for text, encoding in zip(batch, encodings, strict=True)]
        return found

    def _reading(self, text: str, encoding: Encoding) -> Reading:
        content = [
            number
            for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
            if _CONTENT.search(text, start, end)
        ]
        return Reading(len(content), content.count(self._unknown) if self._unknown is not None else 0)


def _unknown(tokenizer: Tokenizer) -> int | None:
    """Return the id of the unknown token; None if everything is known."""
    named = getattr(tokenizer.model, "unk_token", None)
    names = [named] if isinstance(named, str) else ["<unk>", "[UNK]"]
    ids = (tokenizer.token_to_id(name) for name in names)
    return next((number for number in ids if number is not None), None)


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge spans that touch."""
    found: list[tuple[int, int]] = []
    for start, end in spans:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _short(stretch: str) -> str:
    return stretch if len(stretch) <= MAX_SHOWN else f"{stretch[: whole_character(stretch, MAX_SHOWN)]}…"
