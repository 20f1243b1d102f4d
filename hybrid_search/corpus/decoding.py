"""Decodes bytes to text, or says why that fails. The text never holds a lone surrogate or a NUL."""

from __future__ import annotations

import codecs
import gzip
import io
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from hybrid_search.corpus.guessing import guess_encodings

SAMPLE_BYTES = 1 << 16
MAX_DOCUMENT_BYTES = 256 << 20
"""Bytes of the longest line, and of the largest text file, that are held in memory as one document."""

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP = b"\x1f\x8b"
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
    """A text with `\\n` as its line end, and the encoding of its bytes."""

    text: str
    encoding: Encoding


class RestUndecodable(Undecodable):
    """Nothing can be read from here to the end of the file, and how much that is, is not known."""


def open_unpacked(path: Path) -> IO[bytes]:
    """Open a file for its bytes, decompressed if they are gzip, whatever the file is called."""
    with path.open("rb") as stream:
        packed = stream.read(len(_GZIP)) == _GZIP
    return cast("IO[bytes]", gzip.open(path)) if packed else path.open("rb")


def without_surrogates(text: str) -> str:
    """Replace every lone surrogate by U+FFFD, one for one, so that offsets stay the same.

    >>> without_surrogates("a\\ud800b")
    'a\ufffdb'
    """
    return _SURROGATE.sub("\ufffd", text)


def bom_encoding(data: bytes) -> str:
    """Return the encoding that a byte order mark names; empty for no mark."""
    return next((encoding for mark, encoding in _BOMS if data.startswith(mark)), "")


def sniff(sample: bytes, asked: str = "") -> Encoding:
    """Name the encoding of a file by its first bytes: a byte order mark, else UTF-8, else `asked`, else a guess.

    If most of the non-ASCII lines are UTF-8, the file is UTF-8, so one damaged line does not turn all others into
    mojibake.

    Raises:
        Undecodable: more than one byte in twenty is a control byte, or no encoding fits.
    """
    if named := bom_encoding(sample):
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
    """Return the text of a whole file, and its encoding.

    Raises:
        Undecodable: the data holds NUL characters, or bytes that no candidate encoding knows.
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
    """Yield the encoding of the first bytes; if a later byte does not fit it, yield what the other bytes suggest."""
    first = sniff(data[:SAMPLE_BYTES], asked)
    yield first
    if first.name != "utf-8" and not first.guessed:
        return
    # The sample was plain ASCII or UTF-8, or a guess; what does not fit came later and may show another encoding.
    legacy = _legacy_lines(data.split(b"\n"))
    if legacy:
        yield from [Encoding(asked)] if asked else _guesses(legacy)


def numbered_lines(stream: IO[bytes], encoding: str) -> Generator[tuple[int, str | Undecodable], None, None]:
    """Yield lines, numbered from 1, with their `\\n`; a line that is not text comes as the reason, and reading goes on.

    Only `\\n` ends a line, because U+2028 and similar may stand inside a JSON string.
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
    """Return the lines that are not UTF-8 if they are most of the non-ASCII ones; empty if UTF-8 fits better."""
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
    """Return whether the line is UTF-8; `cut` allows an incomplete last character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(line, final=not cut)
    except UnicodeDecodeError:
        return False
    return True


def _guesses(sample: bytes) -> list[Encoding]:
    """Return the encodings the bytes may be in, likeliest first.

    Raises:
        Undecodable: no encoding fits.
    """
    found = [Encoding(name, guessed=True) for name in guess_encodings(sample)]
    if not found:
        raise Undecodable(_binary(sample))
    return found


def _is_wide(encoding: str) -> bool:
    """Return whether a line end takes other bytes than in ASCII."""
    return "\n".encode(encoding) != b"\n"


def _is_shifted(sample: bytes, asked: str) -> bool:
    """Return whether bytes below 128 mean other characters in the requested encoding: ISO-2022, HZ, UTF-7."""
    return sample.isascii() and sample.decode(asked, "ignore") != sample.decode("ascii")


def _binary(data: bytes) -> str:
    for magic, kind in (
        (b"%PDF", "PDF"),
        (b"PK\x03\x04", "a zip or an Office file"),
        (_GZIP, "gzip"),
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
