"""Converts Word documents to Markdown: mammoth's HTML, and what mammoth leaves out.

Headers, footers, comments and text boxes follow the text, each once: a letterhead names the writer and a footer the
file number, and people search for both. They repeat on every printed page, but not in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from io import BytesIO
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

from hybrid_search.corpus.embedded import without_pictures
from hybrid_search.corpus.parts import Part, Unreadable, left_out
from hybrid_search.corpus.web_page import read_page

MAX_UNPACKED_BYTES = 1 << 30

_OLD_OFFICE = b"\xd0\xcf\x11\xe0"
_CORE_TITLE = re.compile(r"<dc:title>([^<]*)</dc:title>")
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_PARTS = (("word/header", ""), ("word/footer", ""), ("word/comments.xml", "comment"))
_ASIDE = (("charts", re.compile(r"word/charts/chart\d*\.xml")), ("diagrams", re.compile(r"word/diagrams/data\d*\.xml")))
_ATTACHED = re.compile(r"word/embeddings/.+")
_SPACES = {f"{_WORD}tab": " ", f"{_WORD}br": "\n", f"{_WORD}cr": "\n"}


def read_word(data: bytes) -> Iterator[Part]:
    """Yield the title and the text of a document, and what was left out of it.

    Raises:
        Unreadable: the data is encrypted, damaged, no Word file, or unpacks to more than `MAX_UNPACKED_BYTES`.
    """
    import mammoth
    from markitdown.converter_utils.docx.pre_process import pre_process_docx  # equations as LaTeX

    if data.startswith(_OLD_OFFICE):
        raise Unreadable("encrypted, or in the format of Word 97; save it as .docx without a password")
    try:
        with ZipFile(BytesIO(data)) as archive:
            title, asides, counts = _beside_the_text(archive)
    except BadZipFile:
        raise Unreadable("not a Word document that can be read; it is damaged or something else") from None
    page = read_page(mammoth.convert_to_html(pre_process_docx(BytesIO(data))).value, first_row_is_header=True)
    markdown, _ = without_pictures(page.markdown)
    words = " ".join(markdown.split())
    more = [aside for aside in dict.fromkeys(asides) if " ".join(aside.split()) not in words]
    yield Part("title", title)
    yield Part("text", "\n\n".join(filter(None, (markdown, *more))))
    yield from left_out({**page.passed_over, **counts})


def _beside_the_text(archive: ZipFile) -> tuple[str, list[str], dict[str, int]]:
    """Return the title, the texts outside the flow of the document, and the counts of what is left out."""
    unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MAX_UNPACKED_BYTES:
        raise Unreadable(f"unpacks to {unpacked >> 20:,} MB, more than {MAX_UNPACKED_BYTES >> 20:,}")
    names = archive.namelist()
    core = archive.read("docProps/core.xml").decode("utf-8", "replace") if "docProps/core.xml" in names else ""
    title = _CORE_TITLE.search(core)
    asides = []
    if "word/document.xml" in names:
        asides += _texts(archive.read("word/document.xml"), "txbxContent")
    for beginning, element in _PARTS:
        for name in sorted(name for name in names if name.startswith(beginning) and name.endswith(".xml")):
            asides += _texts(archive.read(name), element)
    counts = {kind: sum(bool(pattern.fullmatch(name)) for name in names) for kind, pattern in _ASIDE}
    counts["attachments"] = sum(bool(_ATTACHED.fullmatch(name)) for name in names)
    return unescape(title[1]).strip() if title else "", asides, counts


def _texts(xml: bytes, element: str) -> list[str]:
    """Return the texts of all elements of a name, or of the whole if none is named; none if it is not XML."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return []
    found = root.iter(f"{_WORD}{element}") if element else [root]
    return [text for each in found if (text := _text(each))]


def _text(element: ElementTree.Element) -> str:
    paragraphs = ("".join(_runs(paragraph)).strip() for paragraph in element.iter(f"{_WORD}p"))
    return "\n".join(dict.fromkeys(filter(None, paragraphs)))


def _runs(paragraph: ElementTree.Element) -> Iterator[str]:
    for node in paragraph.iter():
        if node.tag == f"{_WORD}t":
            yield node.text or ""
        else:
            yield _SPACES.get(node.tag, "")
