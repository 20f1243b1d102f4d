"""Guesses the encoding of bytes when nothing declares it: chardet's guess, without what nobody writes.

chardet ranks encodings by models of 49 languages. Two rules are added. Candidates are only encodings that people wrote
files in, because the others win by chance. And no word mixes two alphabets: if the accents of Latin words would be
Greek, Cyrillic, Hebrew, Arabic or Thai letters, the guess is wrong. `tests/corpus/test_guessing.py` counts how many
short texts are read right.
"""

from __future__ import annotations

import codecs
import re

from hybrid_search.errors import InvalidArgument

CANDIDATES = (
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874", "tis-620"),
    *("koi8-r", "koi8-u", "mac-roman", "mac-cyrillic", "cp437", "cp850", "cp852", "cp866"),
    *("cp932", "euc_jis_2004", "gb18030", "big5hkscs", "cp949", "euc_kr"),
    *(f"iso8859-{part}" for part in (2, 5, 6, 7, 8, 9, 13, 15)),
)
"""ISO 8859-1 is missing because it is Windows-1252 without the quotation marks."""

_MOST = 5
_LATIN = "[A-Za-z\u00c0-\u024f]"
_OTHER = "[\u0370-\u052f\u0590-\u06ff\u0e00-\u0e7f]"
_OTHERS = re.compile(_OTHER)
_MIXED = re.compile(f"(?<={_LATIN}){_OTHER}|{_OTHER}(?={_LATIN})")
_NO_TEXT = ("idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "charmap")


def guess_encodings(sample: bytes) -> list[str]:
    """Return the encodings a text may be in, likeliest first; empty if none fits."""
    import chardet

    found: list[str] = []
    for each in chardet.detect_all(sample, ignore_threshold=True, compat_names=False, include_encodings=CANDIDATES):
        encoding = each["encoding"]
        if encoding is not None and len(found) < _MOST and _is_plausible(sample, encoding):
            found.append(encoding)
    return found


def check_encoding(name: str) -> str:
    """Validate and return the name of a text encoding.

    Raises:
        InvalidArgument: Python does not know the encoding, or it does not encode text.
    """
    try:
        codec = codecs.lookup(name)
        if codec.name in _NO_TEXT:
            raise LookupError(name)
        "".encode(name)  # refused by codecs that turn bytes into bytes
    except (LookupError, ValueError, UnicodeError):
        raise InvalidArgument(
            f"The encoding {name!r} is not known. Name one that Python knows, such as cp1252, latin-1, koi8-r, "
            "shift_jis or gb18030."
        ) from None
    return name


def _is_plausible(sample: bytes, encoding: str) -> bool:
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    others = len(_OTHERS.findall(text))
    return 3 * len(_MIXED.findall(text)) <= others
