"""Reads mail files (RFC 5322): the text a reader sees, and who wrote to whom and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from email import policy
from email.parser import BytesParser
from typing import Any

from hybrid_search.corpus.decoding import Undecodable, decode, without_surrogates
from hybrid_search.corpus.documents import read_document
from hybrid_search.corpus.text import read_text
from hybrid_search.types import Document, Failure, PassedOver, SourceItem

SUFFIX = ".eml"
ATTACHMENTS = "attachments"
_HEADERS = ("From", "To", "Cc", "Date")


def read_mail(data: bytes, *, origin: str, name: str, encoding: str = "") -> Iterator[SourceItem]:
    """Yield a message as one document: its subject is the title; `from`, `to`, `cc` and `date` (ISO 8601) are metadata.

    The text is the plain body, or the HTML body if there is no plain one. A file without message headers is plain text.
    """
    try:
        message: Any = BytesParser(policy=policy.default).parsebytes(data)
        headers = {header.lower(): _header(message, header) for header in ("Subject", *_HEADERS)}
        body = message.get_body(preferencelist=("plain", "html"))
        attached = sum(1 for _ in message.iter_attachments()) if message.is_multipart() else 0
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        yield Failure(origin, f"not a message that can be read ({type(error).__name__}: {error})")
        return
    if not any(headers.values()):
        yield from read_text(data, origin=origin, name=name, encoding=encoding)
        return
    own = {key: value for key, value in headers.items() if value}
    title = own.pop("subject", "")
    yield from _document(body, title, own, origin=origin, name=name, encoding=encoding)
    if attached:
        yield PassedOver(origin, ATTACHMENTS, attached)


def _document(
    body: Any, title: str, own: Mapping[str, str], *, origin: str, name: str, encoding: str
) -> Iterator[SourceItem]:
    payload = (body.get_payload(decode=True) or b"") if body is not None else b""
    charset = str(body.get_content_charset() or "") if body is not None else ""
    metadata = {**own, "path": name, "suffix": SUFFIX}
    if payload and body.get_content_type() == "text/html":
        for item in read_document(payload, origin=origin, name="body.html", encoding=charset):
            if isinstance(item, Document):
                item = Document(name, item.text, title or item.title, metadata, origin, item.markup, item.places)
            yield item
        return
    text = _text(payload, charset, encoding)
    if text is None:
        yield Failure(origin, "no text: its body is in no known text encoding")
    elif not text.strip() and not title:
        yield Failure(origin, "no text: the message is empty")
    else:
        yield Document(name, text if text.strip() else title, title if text.strip() else "", metadata, origin)


def _text(payload: bytes, charset: str, encoding: str) -> str | None:
    with suppress(LookupError, UnicodeError):
        if charset:
            return without_surrogates(payload.decode(charset)).replace("\0", "").replace("\r\n", "\n")
    try:
        return decode(payload, encoding).text
    except Undecodable:
        return None


def _header(message: Any, name: str) -> str:
    """Return a header as text, a date in ISO 8601; empty if it is missing."""
    value = message[name]
    written = getattr(value, "datetime", None) if name == "Date" else None
    text = written.isoformat() if written is not None else str(value or "")
    return " ".join(without_surrogates(text).split())
