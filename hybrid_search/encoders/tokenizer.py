"""Turns texts into token ids: read once, cut at the model's limit, in bounded memory for texts of any length.

The tokenizer is always asked for a text's bare pieces; the special tokens around them are added here, as in the
tokenizer's own template. So one reading serves every model with the vocabulary, and a query is read once for all texts
it is paired with. Of a text of 100,000 words only so much is read as surely fills the model's limit: its beginning, or
its end if the model cuts texts on the left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.token_cache import MARGIN, Ids, TokenCache, token_cache_for

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Side = Literal["left", "right"]
# Characters in one call of the tokenizer: what it notes of a token takes some hundred bytes.
_AT_ONCE = 1 << 20
# Of a text that goes on, first this many characters for each token the model reads; eight times as many where that was
# not enough (long runs of blanks, or of letters that are one unknown word).
_CHARACTERS_A_TOKEN = 8
# And never fewer than this: a word that is cut must stay one that is too long to be known.
_LEAST_CHARACTERS = 1024


class Pair(NamedTuple):
    """Two texts as a cross-encoder reads them: ids, shape (length,), and which of the two texts each belongs to."""

    ids: Ids
    types: Ids


class TruncatingTokenizer:
    """A tokenizer with a limit.

    Args:
        tokenizer: a tokenizer without truncation and padding.
        limit: tokens of a text, special tokens included; 0 for no limit.
        cut: the side on which a longer text loses tokens.
    """

    def __init__(self, tokenizer: Tokenizer, limit: int, cut: Side = "right") -> None:
        self._tokenizer = tokenizer
        self._limit = limit
        self._cut = cut
        self._head, self._tail = _around(tokenizer)
        self._shared_cache: TokenCache | None = None

    def texts(self, texts: Sequence[str], *, shared: bool = False) -> list[Ids]:
        """Return the ids of each text, with special tokens, at most the limit.

        Args:
            texts: the texts to read.
            shared: whether models with the same vocabulary read these texts too, just before or after.
        """
        room = self._limit - len(self._head) - len(self._tail) if self._limit else 0
        head, tail = self._head, self._tail
        if shared:
            self._shared_cache = self._shared_cache or token_cache_for(self._tokenizer, self._cut)
            found = self._shared_cache.pieces(self.pieces, texts, room)
        else:
            found = self.pieces(texts, room)
        return [np.concatenate([head, self.truncate(each, room) if room else each, tail]) for each in found]

    def pairs(self, query: str, texts: Sequence[str]) -> list[Pair]:
        """Pair the query with each text; if they are too long together, the longer one is cut first.

        If both exceed the limit by far, their beginnings decide which is the longer; that is worth one token.
        """
        template = _between(self._tokenizer)
        fixed = sum(len(part.ids) for part in template)
        room = self._limit - fixed if self._limit else 0
        [asked] = self.pieces([query], room)
        found = []
        for text in self.pieces(texts, room):
            lengths = _longest_first(len(asked), len(text), room) if room else (len(asked), len(text))
            both = (self.truncate(asked, lengths[0]), self.truncate(text, lengths[1]))
            ids, types = [], []
            for part in template:
                part_ids = part.ids if part.of is None else both[part.of]
                ids.append(part_ids)
                types.append(np.full(len(part_ids), part.type, dtype=np.int32))
            found.append(Pair(np.concatenate(ids), np.concatenate(types)))
        return found

    def pieces(self, texts: Sequence[str], room: int) -> list[Ids]:
        """Return the bare pieces of each text: all, or more than `room` if there are more; room 0 means all."""
        found: list[Ids] = [np.zeros(0, np.int32)] * len(texts)
        left: Sequence[int] = range(len(texts))
        characters = max(room * _CHARACTERS_A_TOKEN, _LEAST_CHARACTERS) if room else max(map(len, texts), default=0)
        while left:
            again = []
            for group in group_by_size([min(len(texts[place]), characters) for place in left]):
                places = left[group]
                part = _beginning if self._cut == "right" else _end
                read = [part(texts[place], characters) for place in places]
                encodings = self._tokenizer.encode_batch_fast(read, add_special_tokens=False)
                for place, encoding in zip(places, encodings, strict=True):
                    ids = np.array(encoding.ids, dtype=np.int32)
                    if len(texts[place]) > characters and len(ids) < room + MARGIN:
                        again.append(place)
                    else:
                        found[place] = ids
            left, characters = again, characters * 8
        return found

    def truncate(self, ids: Ids, room: int) -> Ids:
        """Return the pieces of a text that are kept if there is room for `room` of them."""
        return ids[:room] if self._cut == "right" else ids[max(0, len(ids) - room) :]


def attention_mask(rows: Sequence[Ids]) -> NDArray[np.bool_]:
    """Return where rows of different lengths have tokens once padded: shape (rows, longest row, at least 1)."""
    lengths = np.array([len(row) for row in rows])
    attended: NDArray[np.bool_] = np.arange(max(1, int(lengths.max()))) < lengths[:, None]
    return attended


def pad_rows(rows: Sequence[Ids], attended: NDArray[np.bool_], dtype: Any) -> NDArray[Any]:
    """Return rows of different lengths as one array, with 0 behind their ends."""
    found = np.zeros(attended.shape, dtype=dtype)
    found[attended] = np.concatenate(rows)
    return found


def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """Count the tokens of each text, special tokens included, without any limit."""
    counts: list[int] = []
    for group in group_by_size([len(text) for text in texts]):
        counts += [len(found.ids) for found in tokenizer.encode_batch_fast(list(texts[group]))]
    return counts


def dimensions_of(tokenizer: Tokenizer, terms: Sequence[str], size: int) -> list[int | None]:
    """Return the id of each vocabulary entry; None for what is no entry, or lies beyond the model's dimensions.

    Args:
        tokenizer: whose vocabulary names the dimensions.
        terms: entries as the vocabulary writes them.
        size: number of the model's dimensions; 0 if unknown.
    """
    ids = [tokenizer.token_to_id(term) for term in terms]
    return [None if number is None or (size and number >= size) else number for number in ids]


def group_by_size(sizes: Sequence[int], at_once: int = _AT_ONCE) -> Iterator[slice]:
    """Yield slices of neighbours whose sizes add up to at most `at_once`; a larger item is alone.

    >>> list(group_by_size([3, 3, 9, 1], at_once=6))
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """
    start = taken = 0
    for place, size in enumerate(sizes):
        if place > start and taken + size > at_once:
            yield slice(start, place)
            start, taken = place, 0
        taken += size
    if start < len(sizes):
        yield slice(start, len(sizes))


def _beginning(text: str, characters: int) -> str:
    """Return the text's first characters, cut before a blank if there is one, because a word must not end inside."""
    if len(text) <= characters:
        return text
    cut = text[:characters]
    words = cut.rsplit(None, 1)
    # A cut inside a word that fills half of what is read: there are no blanks, so anywhere is as good.
    return words[0] if len(words) == 2 and len(words[0]) > characters // 2 else cut


def _end(text: str, characters: int) -> str:
    """Return the text's last characters, cut behind a blank if there is one."""
    if len(text) <= characters:
        return text
    cut = text[-characters:]
    words = cut.split(None, 1)
    # The first piece may be one of a word whose beginning is not there; it is beyond the room, as the margin has it.
    return words[1] if len(words) == 2 and len(words[1]) > characters // 2 else cut


def _around(tokenizer: Tokenizer) -> tuple[Ids, Ids]:
    """Return the special tokens before and after a text."""
    found = tokenizer.encode("a")
    special = np.array(found.special_tokens_mask, dtype=bool)
    ids = np.array(found.ids, dtype=np.int32)
    own = np.flatnonzero(~special)
    if not len(own):
        return ids[:0], ids[:0]
    return ids[: own[0]], ids[own[-1] + 1 :]


class _Part(NamedTuple):
    """A part of a pair: special tokens, or the text with this number."""

    ids: Ids
    of: int | None
    type: int


def _between(tokenizer: Tokenizer) -> list[_Part]:
    """Return how a pair is put together: the special tokens, and where each text goes."""
    found = tokenizer.encode("a", "a")
    parts: list[_Part] = []
    last: int | None = -1
    for number, special, kind, of in zip(
        found.ids, found.special_tokens_mask, found.type_ids, found.sequence_ids, strict=True
    ):
        if special:
            parts.append(_Part(np.array([number], dtype=np.int32), None, kind))
        elif of != last:
            parts.append(_Part(np.zeros(0, dtype=np.int32), of, kind))
        last = None if special else of
    return parts


def _longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how much of each of two texts is kept.

    Source: the strategy `longest_first` of the tokenizers library, which the models were trained with.

    >>> _longest_first(10, 600, 509), _longest_first(600, 600, 509), _longest_first(5, 6, 509)
    ((10, 499), (254, 255), (5, 6))
    """
    if first + second <= room:
        return first, second
    short, long = sorted((first, second))
    long = short if short > room else max(short, room - short)
    if short + long > room:
        short, long = room // 2, room // 2 + room % 2
    return (short, long) if first <= second else (long, short)
