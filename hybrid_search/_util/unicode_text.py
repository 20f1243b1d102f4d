"""Text in any script: its normal form, its spellings, its words, and its characters as a reader sees them.

A character may have several encodings: `é` is one code point, or `e` and an accent. So both sides of a comparison are
brought to normal form C, or, where an engine compares, every spelling is searched for.
Source: Unicode Standard Annexes 15 (normal forms) and 29 (boundaries).
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import product
from typing import NamedTuple
from unicodedata import decomposition, is_normalized, normalize

import regex

MAX_SPELLINGS = 128
"""A text with more spellings is searched for as written, all composed, and all decomposed."""

MAX_ID_FORMS = 16

# Scripts that are written without blanks between words.
_SCRIPTS = (
    "Han Hiragana Katakana Bopomofo Thai Lao Khmer Myanmar Tai_Le New_Tai_Lue Tai_Tham Tai_Viet Javanese Balinese Ahom"
)
_UNSPACED = (
    "".join(rf"\p{{Script={script}}}" for script in _SCRIPTS.split()) + "ー\uff9e\uff9f"
)  # and marks of Katakana
_BEGINS = r"[\w--[\p{M}\u200c\u200d]]"  # neither a mark nor a joiner alone is a word
_RUN = rf"[{_BEGINS}&&[{_UNSPACED}]][[\w\p{{M}}]&&[{_UNSPACED}\p{{M}}]]*"
_JOINED = r"[\u00ad\u200b-\u200d\u2060\ufeff]"  # a soft hyphen, joiners, and what else has no width inside a word
_SPACED = rf"[{_BEGINS}--[{_UNSPACED}]](?:[[\w--[{_UNSPACED}]]\p{{M}}]|{_JOINED}+(?=[{_BEGINS}--[{_UNSPACED}]]))*"

WORDS = regex.compile(rf"(?V1)(?P<run>{_RUN})|{_SPACED}")
"""Matches the words of a text. A run of a script without blanks between words matches as the group `run`."""

_RUNS = regex.compile(rf"(?V1){_RUN}")
_WRAPPED = regex.compile(rf"(?V1)(?<=[{_UNSPACED}])\s*\n\s*(?=[{_UNSPACED}])")
_ASCII_WORDS = re.compile(r"\w+", re.ASCII)
_WIDTHLESS = re.compile(_JOINED)
_CLUSTERS = regex.compile(r"\X")
_EXTENDS = regex.compile(r"[\p{M}\u200d]")
_LONGEST_CLUSTER = 64
# Where the characters are that are composed of others, or stand for another.
_COMPOSED = (*range(0xC0, 0x3400), *range(0xF900, 0xFB50), *range(0x11000, 0x11A00), *range(0x2F800, 0x2FA20))
_SYLLABLES = range(0xAC00, 0xD7A4)
_VOWELS, _FINALS = "".join(map(chr, range(0x1161, 0x1176))), "".join(map(chr, range(0x11A8, 0x11C3)))


class Words(NamedTuple):
    """What `~` searches for: words, and runs of scripts without blanks."""

    words: frozenset[str]
    runs: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.words or self.runs)


def nfc(text: str) -> str:
    """Return the text in normal form C: each character composed, if there is a code point for it."""
    return text if text.isascii() or is_normalized("NFC", text) else normalize("NFC", text)


@lru_cache(maxsize=512)
def spellings(text: str) -> tuple[str, ...]:
    """Return the texts that are equal to this one, itself first: each character composed, decomposed, or half of each.

    A text with more than `MAX_SPELLINGS` gets the usual ones only. An ASCII text has no other spelling.

    >>> [len(spellings(text)) for text in ("cafe", "café", "ế", "각")]
    [1, 2, 3, 3]
    """
    if text.isascii():
        return (text,)
    composed = normalize("NFC", text)
    forms = [_forms(sign) for sign in composed]
    count = 1
    for some in forms:
        count *= len(some)
        if count > MAX_SPELLINGS:
            return _usual(text)
    return tuple(dict.fromkeys((text, *map("".join, product(*forms)))))


def id_forms(doc_id: str) -> tuple[str, ...]:
    """Return the ids that are the same as this one: itself, then in normal form C, in which ids are stored.

    Collections of earlier versions store ids as they came, so other spellings follow; for many spellings the usual
    ones.
    """
    forms = spellings(doc_id)
    return (
        forms if len(forms) <= MAX_ID_FORMS else tuple(dict.fromkeys((doc_id, nfc(doc_id), normalize("NFD", doc_id))))
    )


@lru_cache(maxsize=512)
def followers(text: str) -> str:
    """Return the combining marks that would make another character of a text's last one."""
    last = normalize("NFC", text)[-1:]
    if last and ord(last) in _SYLLABLES and (ord(last) - _SYLLABLES.start) % 28 == 0:
        return _FINALS
    return _VOWELS if "\u1100" <= last <= "\u1112" else _tables().marks.get(last, "")


def begins(text: str, beginning: str) -> bool:
    """Say whether a text begins with another, in one of its spellings, and a character of the text ends there."""
    for spelling in spellings(beginning):
        if text.startswith(spelling):
            after = text[len(spelling) : len(spelling) + 1]
            if not after or after not in followers(beginning):
                return True
    return False


def word_list(text: str) -> list[str]:
    """Return the words of a text as written, with their marks.

    A run without blanks, in Chinese for example, is one word.

    >>> word_list("don't say हिन्दी, 猫坐")
    ['don', 't', 'say', 'हिन्दी', '猫坐']
    """
    return _ASCII_WORDS.findall(text) if text.isascii() else [found[0] for found in WORDS.finditer(text)]


def is_run(word: str) -> bool:
    """Say whether a word is of a script without blanks between words: it may be several words or part of one."""
    return not word.isascii() and _RUNS.match(word) is not None


def words_of(text: str) -> Words:
    """Return the words of a text, case folded. Zero-width characters inside a word, such as a soft hyphen, are ignored.

    >>> sorted(words_of("The 39 Steps, in ENGLISH").words), words_of("हिन्दी").words, words_of("iPhone手机").runs
    (['39', 'english', 'in', 'steps', 'the'], frozenset({'हिन्दी'}), frozenset({'手机'}))
    """
    return _split(_fold_case(text))


def has_words(text: str, wanted: Words) -> bool:
    """Say whether a text has all of these words. Runs without blanks match as substrings of whole characters."""
    folded = _fold_case(text)
    return wanted.words <= _split(folded).words and all(_has_run(folded, run) for run in wanted.runs)


def whole_character(text: str, at: int) -> int:
    """Return the offset if a character, as a reader sees it, begins there; otherwise the start of the one it is in.

    >>> whole_character("cafe\\u0301s", 4), whole_character("cafe\\u0301s", 5)
    (3, 5)
    """
    if not 0 < at < len(text) or (text[at - 1].isascii() and text[at].isascii() and text[at] != "\n"):
        return at
    start = max(0, at - _LONGEST_CLUSTER)
    for cluster in _CLUSTERS.finditer(text, start, at + _LONGEST_CLUSTER):
        if cluster.end() > at:
            return int(cluster.start()) if cluster.start() > start or not start else at
    return at


def extends(sign: str) -> bool:
    """Say whether the code point at an offset belongs to the character before it; False behind the end of the text."""
    return bool(sign) and not sign.isascii() and _EXTENDS.match(sign) is not None


def _usual(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((text, normalize("NFC", text), normalize("NFD", text))))


def _fold_case(text: str) -> str:
    if text.isascii():
        return text.casefold()
    plain = _WIDTHLESS.sub("", text)
    if "\n" in plain:
        plain = _WRAPPED.sub("", plain)  # a line's end inside such a script stands for nothing
    return nfc(nfc(plain).casefold())


def _split(folded: str) -> Words:
    if folded.isascii():
        return Words(frozenset(_ASCII_WORDS.findall(folded)), frozenset())
    words: set[str] = set()
    runs: set[str] = set()
    for found in WORDS.finditer(folded):
        (runs if found["run"] else words).add(found[0])
    return Words(frozenset(words), frozenset(runs))


def _has_run(folded: str, run: str) -> bool:
    at = folded.find(run)
    while at >= 0:
        if not extends(folded[at + len(run) : at + len(run) + 1]):
            return True
        at = folded.find(run, at + 1)
    return False


def _forms(sign: str) -> list[str]:
    """Return a composed character, its decompositions (`ê` and a mark, `e` and two marks), and what stands for it."""
    parts = normalize("NFD", sign)
    composed = (normalize("NFC", parts[:end]) + parts[end:] for end in range(len(parts), 0, -1))
    return [*dict.fromkeys(composed), *_tables().twins.get(sign, "")]


class _Tables(NamedTuple):
    """For each character, those it combines with, and those that normalization replaces by it."""

    marks: dict[str, str]
    twins: dict[str, str]


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    found = _Tables({}, {})
    for sign in map(chr, _COMPOSED):
        parts = decomposition(sign).split()
        if not parts or parts[0].startswith("<"):
            continue
        composed = normalize("NFC", sign)
        if composed == sign:
            first, second = (chr(int(part, 16)) for part in parts)
            found.marks[first] = found.marks.get(first, "") + second
        elif len(composed) == 1:
            found.twins[composed] = found.twins.get(composed, "") + sign
    return found
