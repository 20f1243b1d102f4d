"""Near-duplicates: documents that say the same in the same words.

Two texts are near-duplicates if nearly all of their five-word shingles are equal, and nothing that changes a meaning
differs: title, numbers, symbols, negations, single letters, names with capitals inside. Case, blanks and the signs that
end sentences do not count. In code, which is recognized by its signs, everything but blanks counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import regex

from hybrid_search._util.unicode_text import is_run, nfc, word_list

_SHINGLE = 5
ALIKE = 0.9
"""Share of common shingles from which two texts are near-duplicates."""

CODE = 0.04
"""Share of signs that are common in code and rare in prose from which a text is code."""

_CODE_SIGNS = regex.compile(r"[{}()\[\]=<>;|&*+]")
_BLANK = regex.compile(r"\s+")
_SIGN = regex.compile(r"([^\w\s])")
_DIGITS = regex.compile(r"\p{N}+")
_MARKERS = regex.compile(r"(?m)^\s*(?:[-*+•]|#{1,6})\s+")  # of lists and headings in Markdown
_PARTS = regex.compile(
    r"(?V1)(?P<number>\p{N}+(?:[.,:/]\p{N}+)*)"
    r"|(?P<word>[\w\p{M}]+(?:['’][\w\p{M}]+)*)"
    # Of sentences: full stops and the like, quotes, brackets; a hyphen between letters; an exclamation mark at an end.
    r"|(?P<sign>[\p{S}\p{P}--[.,;:?!'\"“”‘’«»„…()\[\]–—\-¡¿。、，！？：；「」『』（）]]|(?<!\p{L})-|-(?!\p{L})|!(?=[\w=(])|[–—](?=\p{N}))"
)
_NEGATIONS_AS_TEXT = """
not no nor never none cannot without neither nobody nothing nowhere hardly
nicht kein keine keinen keinem keiner nie niemals ohne ne pas jamais sans aucun nunca sin ningún non senza mai
não sem niet geen ikke inte ej bez не нет ни без
"""
_NEGATIONS = frozenset(_NEGATIONS_AS_TEXT.split())
_TURNING = frozenset("〇零一二三四五六七八九十百千万亿不没沒无無非未")
_PLAIN_LETTERS = frozenset("aiouyàèéìòùáíóú")


class Shingles(NamedTuple):
    """What is compared of a text.

    Args:
        rows: hashes of every five consecutive words, ignoring case and signs; of a shorter text one hash of all of it.
        telling: hash of what changes a meaning, in its order, and of the title.
        numbered: the words with digits in them.
    """

    rows: frozenset[int]
    telling: bytes
    numbered: frozenset[str]


def shingles(text: str, title: str = "") -> Shingles:
    """Return what is compared of a text. A text without words has no rows and is similar to nothing.

    Source: Broder, On the Resemblance and Containment of Documents, 1997.
    """
    plain = nfc(text)
    words = [part for word in word_list(plain.lower()) for part in (word if is_run(word) else [word])]
    rows = [tuple(words[start : start + _SHINGLE]) for start in range(len(words) - _SHINGLE + 1)]
    told = "\0".join([" ".join(nfc(title).casefold().split()), *_meaning_tokens(plain)])
    return Shingles(
        frozenset(map(hash, rows or ([tuple(words)] if words else []))),
        hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).digest(),
        frozenset(word for word in words if not word.isalpha() and _DIGITS.search(word)),
    )


def alike(one: Shingles, other: Shingles, share: float = ALIKE) -> bool:
    """Say whether two texts are near-duplicates: the Jaccard similarity of their rows is at least `share`, 0..1.

    >>> alike(shingles("The quick brown fox jumps."), shingles("the quick brown fox JUMPS"))
    True
    >>> alike(shingles("The answer is a - b."), shingles("The answer is a + b."))
    False
    """
    if one.telling != other.telling or not one.rows:
        return False
    if min(len(one.rows), len(other.rows)) < share * max(len(one.rows), len(other.rows)):
        return False
    if len(one.rows & other.rows) < share * len(one.rows | other.rows):
        return False
    mine, theirs = (_strip(some) for some in (one.numbered - other.numbered, other.numbered - one.numbered))
    return not mine & theirs  # `mp3` here and `mp4` there


def _strip(words: frozenset[str]) -> set[str]:
    return {_DIGITS.sub("", word) for word in words}


def _meaning_tokens(text: str) -> Iterator[str]:
    """Return the tokens that must be equal in near-duplicates, in order."""
    if _is_code(text):
        yield from _SIGN.sub(r" \1 ", text).split()
        return
    for part in _PARTS.finditer(_MARKERS.sub("", text)):
        word = part["word"]
        if word is None:
            yield part[0]
            continue
        small = word.casefold().replace("’", "'")
        single = len(word) == 1 and small not in _PLAIN_LETTERS
        if single or small in _NEGATIONS or small.endswith("n't"):
            yield small
        elif "_" in word or any(one.islower() and other.isupper() for one, other in pairwise(word)):
            yield word  # of a program, or as odd
        else:
            yield from (sign for sign in word if sign in _TURNING)


def _is_code(text: str) -> bool:
    signs = len(_CODE_SIGNS.findall(text))
    return signs > 2 and signs >= CODE * len(_BLANK.sub("", text))
