"""Text in any script: its normal form, the ways it may be spelled, its words, its characters as a reader sees them.

One character may be written in several ways: `é` as one code point, or as `e` and an accent. What is compared is
therefore brought to normal form C on both sides, or looked for in each spelling where an engine compares by itself.
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
"""A text with more spellings is looked for as it is written, all composed, and all decomposed."""

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
"""The words of a text. What is written without blanks between words comes as runs, in the group `run`."""

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
    """What `~` looks for: words, and stretches of scripts that are written without blanks."""

    words: frozenset[str]
    runs: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.words or self.runs)


def nfc(text: str) -> str:
    """The text in normal form C: each character composed, as far as there is a code point for it."""
    return text if text.isascii() or is_normalized("NFC", text) else normalize("NFC", text)


@lru_cache(maxsize=512)
def spellings(text: str) -> tuple[str, ...]:
    """The texts that are equal to this one, itself first: each character composed, decomposed, or half of each.

    Of a text with more than `MAX_SPELLINGS` the usual ones. One in ASCII has no other.

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
    """The ids that are the same as this one, itself first, then in normal form C, in which ids are stored.

    Collections of earlier versions have ids as they came; of those with many spellings the usual ones are known here.
    """
    forms = spellings(doc_id)
    return (
        forms if len(forms) <= MAX_ID_FORMS else tuple(dict.fromkeys((doc_id, nfc(doc_id), normalize("NFD", doc_id))))
    )


@lru_cache(maxsize=512)
def followers(text: str) -> str:
    """The marks that would make another character of a text's last one: behind it, that does not end yet."""
    last = normalize("NFC", text)[-1:]
    if last and ord(last) in _SYLLABLES and (ord(last) - _SYLLABLES.start) % 28 == 0:
        return _FINALS
    return _VOWELS if "\u1100" <= last <= "\u1112" else _tables().marks.get(last, "")


def begins(text: str, beginning: str) -> bool:
    """Whether a text begins with another, in one of its spellings, and that ends where a character of the text does."""
    for spelling in spellings(beginning):
        if text.startswith(spelling):
            after = text[len(spelling) : len(spelling) + 1]
            if not after or after not in followers(beginning):
                return True
    return False


def word_list(text: str) -> list[str]:
    """The words of a text as they stand there, with their marks; a stretch without blanks of Chinese, say, is one.

    >>> word_list("don't say हिन्दी, 猫坐")
    ['don', 't', 'say', 'हिन्दी', '猫坐']
    """
    return _ASCII_WORDS.findall(text) if text.isascii() else [found[0] for found in WORDS.finditer(text)]


def is_run(word: str) -> bool:
    """Whether a word is of a script that is written without blanks, so that it may be several, or a part of one."""
    return not word.isascii() and _RUNS.match(word) is not None


def words_of(text: str) -> Words:
    """The words of a text, case folded. Signs without width inside a word, such as a soft hyphen, do not count.

    >>> sorted(words_of("The 39 Steps, in ENGLISH").words), words_of("हिन्दी").words, words_of("iPhone手机").runs
    (['39', 'english', 'in', 'steps', 'the'], frozenset({'हिन्दी'}), frozenset({'手机'}))
    """
    return _split(_folded(text))


def has_words(text: str, wanted: Words) -> bool:
    """Whether a text has all of these words; those of scripts without blanks as a part of it, of whole characters."""
    folded = _folded(text)
    return wanted.words <= _split(folded).words and all(_has_run(folded, run) for run in wanted.runs)


def whole_character(text: str, at: int) -> int:
    """The place itself where a character begins there, as a reader sees characters; else where the one it is in does.

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
    """Whether a sign belongs to the character before it; the one beyond a text's end does not."""
    return bool(sign) and not sign.isascii() and _EXTENDS.match(sign) is not None


def _usual(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((text, normalize("NFC", text), normalize("NFD", text))))


def _folded(text: str) -> str:
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
    """A composed character, what it is composed of (`ê` and a mark, `e` and two marks), and what stands for it."""
    parts = normalize("NFD", sign)
    composed = (normalize("NFC", parts[:end]) + parts[end:] for end in range(len(parts), 0, -1))
    return [*dict.fromkeys(composed), *_tables().twins.get(sign, "")]


class _Tables(NamedTuple):
    """For each character those that it is composed with, and those that normalization replaces by it."""

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
