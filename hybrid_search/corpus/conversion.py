"""PDF, Word, HTML and notebooks to text. This runs in the process of its own that `documents.Converter` starts.

Word, HTML and notebooks go through markitdown's converters, called one by one: no plug-in, no network, no model.
PDF goes through PDFium, page by page. markitdown 0.1.8 tells nothing of pages, takes lines of prose for rows of tables,
and glues words together: of the 930 different words in the manual of shared-mime-info it loses 50, PDFium none, and
PDFium joins words that a line's end divides, in a fiftieth of the time (0.03 against 1.7 s).
"""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from html import unescape
from io import BytesIO
from typing import IO, Any, NamedTuple
from zipfile import BadZipFile, ZipFile

from hybrid_search.corpus.decoding import Undecodable, decode

MAX_UNPACKED_BYTES = 1 << 30
MAX_MEMORY_BYTES = 4 << 30
"""What the process may take, where the system can hold it to that: a small file can unpack to anything."""

_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_HIDDEN = re.compile(r"<(template|noscript)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_CORE_TITLE = re.compile(r"<dc:title>(.*?)</dc:title>", re.DOTALL)
_PROGRAM_TITLE = re.compile(r"(?:Microsoft (?:Word|PowerPoint|Excel) - )|untitled\Z", re.IGNORECASE)
_EMBEDDED_IMAGE = re.compile(r"!\[([^\]]*)\]\(data:[^)]*\)")
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"


class Unreadable(ValueError):
    """The file cannot be converted; the message is the reason."""


class Part(NamedTuple):
    """What a conversion gives: the title, if there is one, and the text, of a PDF page by page."""

    kind: str
    text: str


def convert(data: bytes, suffix: str) -> Iterator[Part]:
    """The parts of a document.

    Raises:
        Unreadable: it is encrypted, damaged, or not what its suffix says.
        Exception: whatever else the libraries raise.
    """
    if suffix == ".pdf":
        yield from _pdf(data)
        return
    if suffix == ".docx":
        title, markdown = _word(data)
    elif suffix == ".ipynb":
        title, markdown = _notebook(data)
    else:
        title, markdown = _html(data)
    yield Part("title", title)
    yield Part("text", _EMBEDDED_IMAGE.sub(r"\1", markdown))


def serve() -> None:
    """Answer requests until there are no more: a JSON line `[suffix, bytes]` and the bytes, on standard input.

    The answers are JSON lines `[kind, text]` on standard output: the parts, then `end`, or `failure` with the reason.
    """
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed here is no answer
    warnings.simplefilter("ignore")
    _hold_back()
    while line := requests.readline():
        suffix, size = json.loads(line)
        data = requests.read(size)
        try:
            for part in convert(data, suffix):
                _answer(answers, *part)
            _answer(answers, "end", "")
        except MemoryError:
            _answer(answers, "failure", f"it takes more than {MAX_MEMORY_BYTES >> 30} GB of memory to convert")
        except Unreadable as error:
            _answer(answers, "failure", str(error))
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            _answer(answers, "failure", f"cannot be converted ({reason[:200]})")


def _answer(answers: IO[bytes], kind: str, text: str) -> None:
    answers.write(json.dumps([kind, text]).encode() + b"\n")
    answers.flush()


def _hold_back() -> None:
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, hard))
    except (ImportError, OSError, ValueError):  # not on this system
        return


def _pdf(data: bytes) -> Iterator[Part]:
    import pypdfium2 as pdfium

    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if "password" in str(error).lower():
            raise Unreadable("the PDF is encrypted; save a copy without a password") from None
        raise Unreadable("not a PDF that can be read; it is damaged or something else") from None
    title = document.get_metadata_dict().get("Title", "").strip()
    yield Part("title", _PROGRAM_TITLE.sub("", title))
    for number in range(len(document)):
        try:
            page = document[number]
            text = page.get_textpage().get_text_bounded()
            page.close()
        except pdfium.PdfiumError:  # one damaged page does not take the others with it
            text = ""
        # PDFium puts U+0002 where it joined the halves of a word.
        yield Part("text", _flowing(text.replace("\r\n", "\n").replace("\x02", "")))


def _flowing(text: str) -> str:
    """The text with the line ends inside its sentences taken out, so that it can be cut between sentences instead."""
    lines: list[str] = []
    for line in text.split("\n"):
        goes_on = bool(lines) and line[:1].islower() and lines[-1].strip() != "" and lines[-1][-1:] not in ".!?:;"
        if goes_on:
            lines[-1] += " " + line
        else:
            lines.append(line)
    return "\n".join(lines)


def _word(data: bytes) -> tuple[str, str]:
    from markitdown import StreamInfo
    from markitdown.converters import DocxConverter

    if data.startswith(_OLD_OFFICE):
        raise Unreadable("encrypted, or in the format of Word 97; save it as .docx without a password")
    try:
        with ZipFile(BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > MAX_UNPACKED_BYTES:
                raise Unreadable(f"unpacks to {unpacked >> 20:,} MB, more than {MAX_UNPACKED_BYTES >> 20:,}")
            names = set(archive.namelist())
            core = archive.read("docProps/core.xml") if "docProps/core.xml" in names else b""
    except BadZipFile:
        raise Unreadable("not a Word document that can be read; it is damaged or something else") from None
    title = _CORE_TITLE.search(core.decode("utf-8", "replace"))
    result = DocxConverter().convert(BytesIO(data), StreamInfo(extension=".docx"))
    return unescape(title[1]).strip() if title else "", result.markdown


def _html(data: bytes) -> tuple[str, str]:
    from markitdown import StreamInfo
    from markitdown.converters import HtmlConverter

    shown = _HIDDEN.sub("", _page(data)).encode()
    result = HtmlConverter().convert(BytesIO(shown), StreamInfo(extension=".html", charset="utf-8"))
    return " ".join(str(result.title or "").split()), result.markdown


def _page(data: bytes) -> str:
    """An HTML page as text: in the encoding that it names, where it is not UTF-8."""
    named = _CHARSET.search(data[:4096])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        try:
            return data.decode(named[1].decode("ascii") if named else "utf-8")
        except (LookupError, UnicodeDecodeError):
            pass
    try:
        return decode(data).text
    except Undecodable as error:
        raise Unreadable(str(error)) from None


def _notebook(data: bytes) -> tuple[str, str]:
    from markitdown import StreamInfo
    from markitdown.converters import IpynbConverter

    try:
        notebook: Any = json.loads(data.decode("utf-8-sig"))
    except ValueError as error:
        raise Unreadable(f"not a notebook: {error}") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise Unreadable("not a notebook of version 4 or newer: it has no list of cells")
    result = IpynbConverter().convert(BytesIO(data), StreamInfo(extension=".ipynb", charset="utf-8"))
    return result.title if isinstance(result.title, str) else "", result.markdown
