"""PDF, Word, HTML and notebooks to text. This runs in the process of its own that `documents.Converter` starts.

Word goes through mammoth, and HTML, that of Word too, through markdownify: no plug-in, no network, no model.
PDF goes through PDFium, page by page. markitdown 0.1.8 tells nothing of pages, takes lines of prose for rows of tables,
and glues words together: of the 930 different words in the manual of shared-mime-info it loses 50, PDFium none, and
PDFium joins words that a line's end divides, in a fiftieth of the time (0.03 against 1.7 s).
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from typing import IO

from hybrid_search.corpus.decoding import Undecodable
from hybrid_search.corpus.notebook import read_notebook
from hybrid_search.corpus.parts import Part, Unreadable, left_out

MAX_MEMORY_BYTES = 4 << 30
"""What the process may take, where the system can hold it to that: a small file can unpack to anything."""


def convert(data: bytes, suffix: str, encoding: str = "") -> Iterator[Part]:
    """The parts of a document.

    Args:
        data: the whole file.
        suffix: of its name, which says what it is.
        encoding: of a page that names none, where it is no UTF-8; empty for a guess.

    Raises:
        Unreadable: it is encrypted, damaged, or not what its suffix says.
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


def serve() -> None:
    """Answer requests on standard input until there are no more: a JSON line `[suffix, encoding, bytes]` and the bytes.

    The answers are JSON lines `[kind, text, number]` on standard output: the parts, then `end`, or `failure` with the
    reason.
    """
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed here is no answer
    warnings.simplefilter("ignore")
    _hold_back()
    while line := requests.readline():
        suffix, encoding, size = json.loads(line)
        data = requests.read(size)
        try:
            for part in convert(data, suffix, encoding):
                _answer(answers, *part)
            _answer(answers, "end", "")
        except MemoryError:
            _answer(answers, "failure", f"it takes more than {MAX_MEMORY_BYTES >> 30} GB of memory to convert")
        except Unreadable as error:
            _answer(answers, "failure", str(error))
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            _answer(answers, "failure", f"cannot be converted ({reason[:200]})")


def _answer(answers: IO[bytes], kind: str, text: str, number: int = 0) -> None:
    answers.write(json.dumps([kind, text, number]).encode() + b"\n")
    answers.flush()


def _hold_back() -> None:
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, hard))
    except (ImportError, OSError, ValueError):  # not on this system
        return


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
