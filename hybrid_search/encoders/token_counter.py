"""Counts tokens by counting each distinct word once.

Chunking counts stretches of the same text again and again, seven times the text in all. BERT's tokenizers read each
word by itself, and each sign within it, so a counted word need not be read again: 2 MB of prose are cut in 1.4 s
instead of 8, into the same chunks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from hybrid_search.encoders.batching import readable
from hybrid_search.encoders.tokenizer import count_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_KEPT = 100_000
"""Words that are remembered. Then the memory is emptied, so that a stream of ids and numbers does not fill it."""

MAX_KEPT_CHARACTERS = 64
"""Characters of a remembered word; longer words are read each time, because text without blanks does not recur."""

# What `str.split` takes for a blank and BERT's normalizer takes out, or may.
_NO_BLANK = re.compile("[^\\S \\t\\n\\r]")
_BLANKS = re.compile("[ \\t\\n\\r]+")
# Some of the signs that BERT reads by themselves, one by one, and what stands between them.
_ALONE = "!-/:-@\\[-`{-~\u4e00-\u9fff"
_PARTS = re.compile(f"[{_ALONE}]|[^{_ALONE}]+")


class TokenCount(NamedTuple):
    """How a model counts the tokens of a document, as a value that can be sent to another process.

    Args:
        tokenizer: the tokenizer as JSON, without truncation and padding.
        prefix: the model's prefix for documents.
    """

    tokenizer: str
    prefix: str

    def counter(self) -> Callable[[Sequence[str]], list[int]]:
        """Return a function that counts the tokens of texts as the model's `count_tokens` does."""
        from tokenizers import Tokenizer

        count = Counter(Tokenizer.from_str(self.tokenizer))
        return lambda texts: count([self.prefix + readable(text) for text in texts])


class Counter:
    """Counts the tokens of texts, special tokens included, without any limit."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._by_words = reads_words(tokenizer)
        self._added = _added(tokenizer)
        self._special = len(tokenizer.encode("").ids)
        self._known: dict[str, int] = {}

    def __call__(self, texts: Sequence[str]) -> list[int]:
        if self._by_words:
            return [self._special + self._words(text) for text in texts]
        return count_tokens(self._tokenizer, texts)

    def _words(self, text: str) -> int:
        words = _BLANKS.split(text) if _NO_BLANK.search(text) else text.split()
        known = self._known  # the same to the end, whatever another thread does
        try:
            return sum(map(known.__getitem__, words))
        except KeyError:
            pass
        sizes = self._sizes([word for word in dict.fromkeys(words) if word not in known], known)
        if len(known) + len(sizes) > MAX_KEPT:
            self._known = {}
        self._known.update((word, size) for word, size in sizes.items() if len(word) <= MAX_KEPT_CHARACTERS)
        return sum(sizes[word] if word in sizes else known[word] for word in words)

    def _sizes(self, words: Sequence[str], known: Mapping[str, int]) -> dict[str, int]:
        """Return the tokens of words and of their parts; text without blanks has long words with few distinct parts."""
        parts = {word: self._apart(word) for word in words}
        new = [part for part in dict.fromkeys(chain.from_iterable(parts.values())) if part not in known]
        sizes = dict(zip(new, self._bare(new), strict=True))
        for word, some in parts.items():
            sizes[word] = sum(sizes[part] if part in sizes else known[part] for part in some)
        return sizes

    def _apart(self, word: str) -> list[str]:
        return [word] if self._added and self._added.search(word) else _PARTS.findall(word)

    def _bare(self, texts: Sequence[str]) -> list[int]:
        return [count - self._special for count in count_tokens(self._tokenizer, texts)]


def _added(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    """Return a pattern of the tokens that are read whole whatever signs they hold, such as `[SEP]`; None for none."""
    contents = [re.escape(added.content) for added in tokenizer.get_added_tokens_decoder().values()]
    return re.compile("|".join(contents)) if contents else None


def reads_words(tokenizer: Tokenizer) -> bool:
    """Return whether a text's tokens are those of its blank-separated words, as with BERT's tokenizers."""
    from tokenizers import models, normalizers, pre_tokenizers

    return (
        isinstance(tokenizer.model, models.WordPiece)
        and isinstance(tokenizer.pre_tokenizer, pre_tokenizers.BertPreTokenizer)
        and isinstance(tokenizer.normalizer, normalizers.BertNormalizer)
        and tokenizer.normalizer.handle_chinese_chars
        and not any(_BLANKS.search(added.content) for added in tokenizer.get_added_tokens_decoder().values())
    )
