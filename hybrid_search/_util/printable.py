"""Making text from outside safe to show: no character in it moves a cursor, starts a command or hides text.

Titles, texts, ids, metadata, names of files and models, queries, and errors that quote any of these may hold control
characters, which a terminal obeys. Each one is replaced by one other character, so offsets in a text stay valid.
"""

from __future__ import annotations

import re

_BLANKS = "\t\n\v\f\r\x85\u2028\u2029"
"""Line breaks and tabs: shown as a blank."""

_HIDDEN = (
    "\u200b\u2060-\u2069"  # of no width; the isolates of bidirectional text
    "\u202a-\u202e"  # its embeddings and overrides
    "\u206a-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f"  # tags: letters that nobody sees
)
"""Invisible characters that hide letters or change their order.

Characters that scripts need are not among them: joiners (U+200C, U+200D), marks of direction (U+200E, U+200F, U+061C),
the soft hyphen and variation selectors.
"""

UNSEEN = re.compile(f"[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029{_HIDDEN}\\ud800-\\udfff]")
"""Every character that is not shown as it is: controls, hidden characters, halves of surrogate pairs."""


def printable(text: str, keep: str = "\n") -> str:
    """Replace each character that cannot be shown by another one. The length stays the same.

    White space becomes a blank, other ASCII controls their pictures, all else U+FFFD.

    Args:
        text: from anywhere.
        keep: characters to leave as they are, for a layout that handles them.

    >>> printable("a\\x1b[2J\\u202eb\\tc")
    'a␛[2J�b c'
    """
    return UNSEEN.sub(lambda match: match[0] if match[0] in keep else _shown(match[0]), text)


def one_line(text: str) -> str:
    """Replace as `printable` does, and line breaks by blanks: for a name, an id or a path.

    >>> one_line("two\\nlines")
    'two lines'
    """
    return printable(text, keep="")


def storable(path: str) -> str:
    r"""Return a path as text that can be encoded: bytes of a name that are no UTF-8 become `\xNN`.

    >>> print(storable("caf\udce9.txt"))
    caf\xe9.txt
    """
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _shown(sign: str) -> str:
    if sign in _BLANKS:
        return " "
    if sign < " ":
        return chr(0x2400 + ord(sign))
    return "\u2421" if sign == "\x7f" else "\ufffd"
