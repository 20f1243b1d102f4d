"""Bytes to text, or a reason why not. No lone surrogate and no NUL ever comes out."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Generator, Iterator
from typing import IO, NamedTuple

from hybrid_search.corpus.guessing import plausible

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


class Undecodable(ValueError):
    """The bytes are not text; the message is the reason shown to the user."""


class Encoding(NamedTuple):
    """The name of an encoding as Python knows it, and whether it was guessed from the bytes."""

    name: str
    guessed: bool = False


class Decoded(NamedTuple):
    """A text, line ends as `\\n`, and the encoding that its bytes were in."""

    text: str
    encoding: Encoding


class RestUndecodable(Undecodable):
    """From here to the end of a file nothing can be read, and nobody knows how much that is."""


def without_surrogates(text: str) -> str:
    """Replace every lone surrogate by U+FFFD, one for one, so offsets stay where they are.

    >>> without_surrogates("a\\ud800b")
    'a\ufffdb'
    """
    return _SURROGATE.sub("\ufffd", text)


def marked(data: bytes) -> str:
    """The encoding that a byte order mark says; empty for none."""
    return next((encoding for mark, encoding in _BOMS if data.startswith(mark)), "")


def sniff(sample: bytes, asked: str = "") -> Encoding:
    """Name the encoding of a file from its first bytes: a byte order mark, else UTF-8, else `asked`, else a guess.

    A file whose non-ASCII lines are mostly UTF-8 is UTF-8, so one damaged line does not turn all others into mojibake.

    Raises:
        Undecodable: more than one byte in twenty is a control byte, or no encoding fits.
    """
    if named := marked(sample):
        return Encoding(named)
    if asked and _is_wide(asked) and (b"\0" in sample or not _is_utf8(sample, cut=True)):
        return Encoding(asked)
    if len(sample) - len(sample.translate(None, _CONTROL)) > len(sample) / 20:
        raise Undecodable(_binary(sample))
    *whole, last = sample.split(b"\n")
    if len(sample) >= SAMPLE_BYTES and _is_utf8(last, cut=True):
        last = b""  # only its last character is incomplete, and the sample's end did that
    legacy = _legacy_lines([*whole, last])
    if asked and (legacy or _is_shifted(sample, asked)):
        return Encoding(asked)
    return _guesses(legacy)[0] if legacy else Encoding("utf-8")


def decode(data: bytes, asked: str = "") -> Decoded:
    """The text of a whole file.

    Raises:
        Undecodable: it holds NUL characters, or bytes that its encoding does not know.
    """
    reason = ""
    for encoding in _attempts(data, asked):
        try:
            text = data.decode(encoding.name)
        except UnicodeDecodeError as error:
            reason = _what_is_wrong(error, encoding.name)
            continue
        if "\0" in text:
            raise Undecodable(_binary(data))
        return Decoded(without_surrogates(text).replace("\r\n", "\n").replace("\r", "\n"), encoding)
    raise Undecodable(reason)


def _attempts(data: bytes, asked: str) -> Iterator[Encoding]:
    """The encoding of the first bytes; and where a later byte does not fit it, what the others say."""
    first = sniff(data[:SAMPLE_BYTES], asked)
    yield first
    if first.name != "utf-8" and not first.guessed:
        return
    # The sample was plain ASCII or UTF-8, or a guess; what does not fit came later and may show another encoding.
    legacy = _legacy_lines(data.split(b"\n"))
    if legacy:
        yield from [Encoding(asked)] if asked else _guesses(legacy)


def numbered_lines(stream: IO[bytes], encoding: str) -> Generator[tuple[int, str | Undecodable], None, None]:
    """Lines from 1 with their `\\n`; a line that is no text comes as the reason, and the next ones follow.

    Only `\\n` ends a line: U+2028 and its kin may stand inside a JSON string.
    """
    if _is_wide(encoding) and encoding != "utf-8-sig":
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
            yield number, Undecodable(_what_is_wrong(error, encoding))
            continue
        yield number, Undecodable("looks binary (NUL bytes)") if "\0" in line else line


def _wide_lines(stream: IO[bytes], encoding: str) -> Generator[tuple[int, str | Undecodable], None, None]:
    text = io.TextIOWrapper(stream, encoding=encoding, newline="\n")
    number = 0
    try:
        for number, line in enumerate(text, 1):
            yield number, Undecodable("looks binary (NUL characters)") if "\0" in line else line
    except UnicodeError as error:
        reason = _what_is_wrong(error, encoding) if isinstance(error, UnicodeDecodeError) else str(error)
        yield number + 1, RestUndecodable(f"{reason}; the rest of the file is left out")
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


def _guesses(sample: bytes) -> list[Encoding]:
    """The encodings that the bytes may be in, the likeliest first.

    Raises:
        Undecodable: there is none.
    """
    found = [Encoding(name, guessed=True) for name in plausible(sample)]
    if not found:
        raise Undecodable(_binary(sample))
    return found


def _is_wide(encoding: str) -> bool:
    """Whether a line end is not the byte that it is in ASCII."""
    return "\n".encode(encoding) != b"\n"


def _is_shifted(sample: bytes, asked: str) -> bool:
    """Whether bytes below 128 stand for other characters in the encoding that was asked for: ISO-2022, HZ, UTF-7."""
    return sample.isascii() and sample.decode(asked, "ignore") != sample.decode("ascii")


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


def _what_is_wrong(error: UnicodeDecodeError, encoding: str) -> str:
    found = error.object[error.start : error.start + 1].hex()
    return f"byte 0x{found} at offset {error.start} is not {encoding} text ({error.reason})"
