"""Stems words."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """Return the Snowball stem of a word, in lower case without accents."""
    return str(_stemmer().stem_word(plain(word)))


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    from py_rust_stemmers import SnowballStemmer

    return SnowballStemmer("english")


def plain(word: str) -> str:
    """Return a word in lower case without accents, as the models' tokenizers read it."""
    word = word.lower()
    if word.isascii():
        return word
    return "".join(sign for sign in unicodedata.normalize("NFKD", word) if not unicodedata.combining(sign))
