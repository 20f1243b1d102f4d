"""Bytes to text, or a reason why not. No lone surrogate and no NUL ever comes out."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Generator
from typing import IO

SAMPLE_BYTES = 1 << 16
MAX_DOCUMENT_BYTES = 256 << 20
"""The longest line, and the largest text file, that is held in memory as one document."""

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = bytes(b for b in range(32) if b not in b"\t\n\v\f\r\x1b") + b"\x7f"
_ASCII = bytes(range(128))
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNICODE_FORMS = ["utf_7", "utf_8", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le"]


class Undecodable(ValueError):
    """The bytes are not text; the message is the reason shown to the user."""


def without_surrogates(text: str) -> str:
    """Replace every lone surrogate by U+FFFD, one for one, so offsets stay where they are.

    >>> without_surrogates("a\\ud800b")
    'a\ufffdb'
    """
    return _SURROGATE.sub("\ufffd", text)


def sniff(sample: bytes) -> str:
    """Name the encoding of a file from its first bytes: a byte order mark, else UTF-8, else a guess.

    A file whose non-ASCII lines are mostly UTF-8 is UTF-8, so one damaged line does not turn all others into mojibake.

    Raises:
        Undecodable: more than one byte in twenty is a control byte, or no encoding fits.
    """
    for mark, encoding in _BOMS:
        if sample.startswith(mark):
            return encoding
    if len(sample) - len(sample.translate(None, _CONTROL)) > len(sample) / 20:
        raise Undecodable(_binary(sample))
    *whole, last = sample.split(b"\n")
    if len(sample) >= SAMPLE_BYTES and _is_utf8(last, cut=True):
        last = b""  # only its last character is incomplete, and the sample's end did that
    legacy = _legacy_lines([*whole, last])
    return _guess(legacy) if legacy else "utf-8"


def decode(data: bytes) -> str:
    """The text of a whole file, line ends as `\\n`.

    Raises:
        Undecodable: it holds NUL characters, or bytes that its encoding does not know.
    """
    encoding = sniff(data[:SAMPLE_BYTES])
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise Undecodable(_what_is_wrong(error)) from None
        # The sample was plain ASCII or UTF-8; what does not fit came later and may show another encoding.
        legacy = _legacy_lines(data.split(b"\n"))
        if not legacy:
            raise Undecodable(_what_is_wrong(error)) from None
        try:
            text = data.decode(_guess(legacy))
        except UnicodeDecodeError as second:
            raise Undecodable(_what_is_wrong(second)) from None
    if "\0" in text:
        raise Undecodable(_binary(data))
    return without_surrogates(text).replace("\r\n", "\n").replace("\r", "\n")


def numbered_lines(stream: IO[bytes], encoding: str) -> Generator[tuple[int, str | Undecodable], None, None]:
    """Lines from 1 with their `\\n`; a line that is no text comes as the reason, and the next ones follow.

    Only `\\n` ends a line: U+2028 and its kin may stand inside a JSON string.
    """
    if "\n".encode(encoding) != b"\n" and encoding != "utf-8-sig":
        yield from _wide_lines(stream, encoding)
        return
    number = 0
    while raw := stream.readline(MAX_DOCUMENT_BYTES + 1):
        number += 1
        if len(raw) > MAX_DOCUMENT_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = stream.readline(MAX_DOCUMENT_BYTES)
            yield number, Undecodable(f"the line is longer than {MAX_DOCUMENT_BYTES >> 20} MB")
            continue
        try:
            line = raw.decode("utf-8-sig" if number == 1 and encoding.startswith("utf-8") else encoding)
        except UnicodeDecodeError as error:
            yield number, Undecodable(_what_is_wrong(error))
            continue
        yield number, Undecodable("looks binary (NUL bytes)") if "\0" in line else line


def _wide_lines(stream: IO[bytes], encoding: str) -> Generator[tuple[int, str | Undecodable], None, None]:
    text = io.TextIOWrapper(stream, encoding=encoding, newline="\n")
    number = 0
    try:
        for number, line in enumerate(text, 1):
            yield number, Undecodable("looks binary (NUL characters)") if "\0" in line else line
    except UnicodeError as error:
        reason = _what_is_wrong(error) if isinstance(error, UnicodeDecodeError) else str(error)
        yield number + 1, Undecodable(f"{reason}; the rest of the file is left out")
    finally:
        text.detach()


def _legacy_lines(lines: list[bytes]) -> bytes:
    """The lines that are not UTF-8, where they are most of the non-ASCII ones; empty where UTF-8 fits better."""
    beyond_ascii = [line for line in lines if not line.isascii()]
    broken = [line for line in beyond_ascii if not _is_utf8(line)]
    if 2 * len(broken) <= len(beyond_ascii):
        return b""
    # Of a long line the part that begins a little before its first byte above 127: what is plain ASCII tells nothing.
    sample = b"\n".join(line[max(0, len(line) - len(line.lstrip(_ASCII)) - 99) :] for line in broken)
    if len(sample) > SAMPLE_BYTES:  # cut where no character of several bytes is cut
        sample = sample[:SAMPLE_BYTES]
        sample = sample[: max(sample.rfind(b"\n"), sample.rfind(b" "))] if b" " in sample or b"\n" in sample else sample
    return sample


def _is_utf8(line: bytes, *, cut: bool = False) -> bool:
    """Whether the line is UTF-8; `cut` allows an incomplete last character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(line, final=not cut)
    except UnicodeDecodeError:
        return False
    return True


def _guess(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    matches = from_bytes(sample, cp_exclusion=_UNICODE_FORMS)
    best = matches.best()
    if best is None:
        raise Undecodable(_binary(sample))
    # Short texts fit many code pages about equally well; Windows-1252, by far the commonest, wins what is nearly a tie.
    for match in matches:
        as_clean = match.chaos == best.chaos and match.coherence >= best.coherence - 0.15
        as_fluent = match.chaos <= best.chaos + 0.15 and match.coherence >= max(best.coherence, 0.2)
        if (as_clean or as_fluent) and "cp1252" in (match.encoding, *match.could_be_from_charset):
            return "cp1252"
    return best.encoding


def _binary(data: bytes) -> str:
    for magic, kind in (
        (b"%PDF", "PDF"),
        (b"PK\x03\x04", "a zip or an Office file"),
        (b"\x1f\x8b", "gzip"),
        (b"PAR1", "Parquet"),
        (b"\x89PNG", "PNG"),
        (b"\xff\xd8\xff", "JPEG"),
    ):
        if data.startswith(magic):
            return f"looks binary ({kind}), not like text"
    return "looks binary (NUL bytes), not like text" if b"\0" in data else "looks binary, in no known text encoding"


def _what_is_wrong(error: UnicodeDecodeError) -> str:
    found = error.object[error.start : error.start + 1].hex()
    return f"byte 0x{found} at offset {error.start} is not {error.encoding} text ({error.reason})"
