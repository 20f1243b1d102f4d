"""Converts PDF, Word, HTML and notebooks to text.

Word goes through mammoth; HTML, including that of Word, through markdownify: no plug-in, no network, no model. PDF goes
through PDFium, page by page. markitdown 0.1.8 reports no pages, takes lines of prose for table rows, and glues words
together: of the 930 different words in the manual of shared-mime-info it loses 50, PDFium none. PDFium also joins words
that a line end divides, in a fiftieth of the time (0.03 against 1.7 s).
"""

from __future__ import annotations

from collections.abc import Iterator

from hybrid_search.corpus.decoding import Undecodable
from hybrid_search.corpus.notebook import read_notebook
from hybrid_search.corpus.parts import Part, Unreadable, left_out


def convert(data: bytes, suffix: str, encoding: str = "") -> Iterator[Part]:
    """Yield the parts of a document.

    Args:
        data: the whole file.
        suffix: of the file's name; it decides the format.
        encoding: of a page that declares none and is not UTF-8; empty for a guess.

    Raises:
        Unreadable: the file is encrypted, damaged, or not what its suffix says.
        Exception: whatever else the libraries raise.
    """
    if suffix == ".pdf":
        from hybrid_search.corpus.pdf import read_pdf

        return read_pdf(data)
    if suffix == ".docx":
        from hybrid_search.corpus.word import read_word

        return read_word(data)
    if suffix == ".ipynb":
        return read_notebook(data)
    return _html(data, encoding)


def _html(data: bytes, encoding: str) -> Iterator[Part]:
    from hybrid_search.corpus.web_encoding import page_text
    from hybrid_search.corpus.web_page import read_page

    try:
        text, found = page_text(data, encoding)
    except Undecodable as error:
        raise Unreadable(str(error)) from None
    page = read_page(text)
    yield Part("title", page.title)
    yield Part("text", page.markdown)
    yield from left_out(page.passed_over)
    if found.guessed:
        yield Part("guessed", found.name)
