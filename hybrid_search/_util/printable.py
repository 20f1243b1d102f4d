"""Text from outside, made fit to be shown: no sign in it moves a cursor, starts a command or hides what stands there.

Titles, texts, ids, metadata, names of files and of models, queries, and errors that quote any of these: a terminal
obeys the control signs in them. Each such sign is shown as another one, so offsets in a text stay where they are.
"""

from __future__ import annotations

import re

_BLANKS = "\t\n\v\f\r\x85\u2028\u2029"
"""What starts a line or leaves room: shown as a blank."""

_HIDDEN = (
    "\u200b\u2060-\u2069"  # of no width; the isolates of bidirectional text
    "\u202a-\u202e"  # its embeddings and overrides
    "\u206a-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f"  # tags: letters that nobody sees
)
"""Signs without a shape of their own that hide letters or turn their order.

Those that scripts need to be written at all are not among them: joiners (U+200C, U+200D), marks of direction (U+200E,
U+200F, U+061C), the soft hyphen and variation selectors.
"""

UNSEEN = re.compile(f"[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029{_HIDDEN}\\ud800-\\udfff]")
"""Every sign that is not shown as it is: controls, hidden signs, halves of characters."""


def printable(text: str, keep: str = "\n") -> str:
    """The text with another sign for each one that cannot be shown; of the same length.

    White space becomes a blank, other ASCII controls their pictures, all else U+FFFD.

    Args:
        text: from anywhere.
        keep: signs that are left as they are, for a layout that knows what to do with them.

    >>> printable("a\\x1b[2J\\u202eb\\tc")
    'a␛[2J�b c'
    """
    return UNSEEN.sub(lambda match: match[0] if match[0] in keep else _shown(match[0]), text)


def one_line(text: str) -> str:
    """The same for what takes one line: a name, an id, a path. Line breaks, too, are blanks.

    >>> one_line("two\\nlines")
    'two lines'
    """
    return printable(text, keep="")


def storable(path: str) -> str:
    r"""A path as text that can be encoded: bytes of a name that are no UTF-8 as `\xNN`.

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
