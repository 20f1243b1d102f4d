"""Words and their stems."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """The Snowball stem of a word, in small letters without accents."""
    return str(_stemmer().stem_word(plain(word)))


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    from py_rust_stemmers import SnowballStemmer

    return SnowballStemmer("english")


def plain(word: str) -> str:
    """Small letters without accents, as the models' tokenizers read them."""
    word = word.lower()
    if word.isascii():
        return word
    return "".join(sign for sign in unicodedata.normalize("NFKD", word) if not unicodedata.combining(sign))
