"""Tokens and ids that another engine would split, cut or not find, written so that they can be read back.

A character is written as the percent signs of a URL write it: `wi fi` becomes `wi%20fi`. A percent sign that could be
taken for such a sign is written so, too; everything else stays as it is. Source: RFC 3986, section 2.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

LUCENE_BLANKS = r"\t-\r\x1c-\x20\u1680\u2000-\u2006\u2008-\u200a\u2028\u2029\u205f\u3000"
"""What Lucene's whitespace tokenizer splits at, for a character class: `Character.isWhitespace` of Java."""

CONTROLS = r"\x00-\x1f\x7f\x85\xa0"
"""Signs that end a line or a column for some readers, for a character class."""

_AMBIGUOUS = "%(?=[0-9A-Fa-f]{2})"
_PASSAGE = re.compile(r"#(?=[0-9]+\Z)")


def escaper(characters: str) -> Callable[[str], str]:
    """Return a function that escapes these characters of a text; `unescape` is its inverse.

    >>> escaper(LUCENE_BLANKS)("wi fi 100%")
    'wi%20fi%20100%'
    >>> escaper(".")("50%2E")
    '50%252E'
    """
    pattern = re.compile(f"[{characters}]|{_AMBIGUOUS}")
    return lambda text: pattern.sub(_quoted, text)


def unescape(text: str) -> str:
    """Return a text as it was before it was escaped.

    >>> unescape("wi%20fi%20100%")
    'wi fi 100%'
    """
    return unquote(text, errors="strict") if "%" in text else text


def export_id(doc_id: str, number: int, chunks: int) -> str:
    """Return the id under which a chunk leaves: its document's, with `#number` where there are several.

    Blanks and signs are escaped, for a line of a run has blanks between its columns. So is the `#` of a document in one
    piece whose id ends as a passage's does: no two ids are the same.

    >>> export_id("a b", 0, 1), export_id("a", 2, 3), export_id("a#2", 0, 1)
    ('a%20b', 'a#2', 'a%232')
    """
    escaped = _escape_id(doc_id)
    return f"{escaped}#{number}" if chunks > 1 else _PASSAGE.sub("%23", escaped)


def stored_id(exported: str) -> str:
    """Return the id of the chunk that left under an id; the inverse of `export_id`.

    >>> stored_id("a%20b"), stored_id("a#2"), stored_id("a%232")
    ('a b#0', 'a#2', 'a#2#0')
    """
    return unescape(exported) if _PASSAGE.search(exported) else f"{unescape(exported)}#0"


def _quoted(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


_escape_id = escaper(rf"\s{CONTROLS}")
