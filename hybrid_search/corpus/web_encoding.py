"""Decodes the bytes of a web page: by a byte order mark, else as UTF-8, else as declared, else by a guess.

A declared name means what the Encoding Standard of the WHATWG says, not what Python calls so: `iso-8859-1` is
Windows-1252, `gb2312` is GB 18030, `shift_jis` is Windows-31J. (https://encoding.spec.whatwg.org, section 4.2.)
"""

from __future__ import annotations

import codecs
import re
from contextlib import suppress
from html.parser import HTMLParser

import webencodings

from hybrid_search.corpus.decoding import SAMPLE_BYTES, Decoded, Encoding, Undecodable, bom_encoding, decode, sniff

_LOOKED_AT = 4_096
"""Bytes; browsers look at no fewer than 1,024, and at all that has arrived."""

_SUPERSETS = {
    "shift_jis": "cp932",
    "euc-kr": "cp949",
    "big5": "big5hkscs",
    "gbk": "gb18030",
    "x-user-defined": "cp1252",
}
_SEVEN_BIT = ("iso2022_jp", "iso2022_kr", "hz")
"""Their bytes are ASCII, so any page in them is valid UTF-8."""

_WIDE = ("utf-16le", "utf-16be")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s;\"']+)", re.IGNORECASE)
_XML = re.compile(r"\A\s*<\?xml[^>]*?\sencoding\s*=\s*[\"']([^\"'>]+)[\"'][^>]*>", re.IGNORECASE)


def page_text(data: bytes, asked: str = "") -> Decoded:
    """Return the text of a page, and its encoding.

    Bytes that the encoding does not know become U+FFFD, as in a browser.

    Args:
        data: the whole page.
        asked: the encoding of a page that declares none and is not UTF-8; empty for a guess.

    Raises:
        Undecodable: the data is not text.
    """
    named = _codec(declared(data[:_LOOKED_AT]))
    if not bom_encoding(data) and named and (not _is_utf8(data) or (named in _SEVEN_BIT and data.isascii())):
        return Decoded(data.decode(named, "replace"), Encoding(named))
    try:
        return decode(data, asked)
    except Undecodable:
        encoding = sniff(data[:SAMPLE_BYTES], asked)
        return Decoded(data.decode(encoding.name, "replace"), encoding)


def declared(head: bytes) -> str:
    """Return the encoding that the first bytes of a page declare, in a `meta` element or the XML declaration.

    >>> declared(b"<!-- <meta charset=x> --><meta http-equiv=Content-Type content='text/html; charset=GBK'>")
    'GBK'
    """
    text = head.decode("latin-1")
    found = _Metas()
    with suppress(AssertionError):  # a declaration that the parser does not know
        found.feed(text)
    xml = _XML.match(text)
    return found.name or (xml[1] if xml else "")


class _Metas(HTMLParser):
    """Keeps the first encoding that a `meta` element declares; those in comments and scripts do not count."""

    name = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta" or self.name:
            return
        given = {key: value or "" for key, value in reversed(attrs)}
        content = _CHARSET.search(given.get("content", ""))
        if given.get("charset"):
            self.name = given["charset"].strip()
        elif given.get("http-equiv", "").strip().lower() == "content-type" and content:
            self.name = content[1]


def _codec(label: str) -> str:
    """Return Python's name of a declared encoding; empty for none, and for UTF-8, which needs no name."""
    known = webencodings.lookup(label) if label.isascii() else None
    if known is None or known.name in ("utf-8", *_WIDE):
        return ""
    if known.name == "replacement":  # browsers show nothing of these
        with suppress(LookupError):
            return codecs.lookup(label.strip()).name
        return ""
    return _SUPERSETS.get(known.name) or str(known.codec_info.name)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
