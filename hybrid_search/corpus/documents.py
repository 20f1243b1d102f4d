"""Files of word processors, PDF, HTML and notebooks to documents (extra `documents`).

They are converted in a process of their own, one for all files of a run. Whatever one bad file does, crash, take all
memory or never end, it does there: it becomes a `Failure`, and the next file gets a new process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import PurePosixPath
from types import TracebackType
from typing import IO, cast

from hybrid_search.corpus.decoding import without_surrogates
from hybrid_search.corpus.headings import outline
from hybrid_search.errors import MissingExtra
from hybrid_search.types import Document, Failure, Place

NEEDS = {
    ".pdf": ("pypdfium2",),
    ".docx": ("markitdown", "mammoth"),
    ".html": ("markitdown",),
    ".htm": ("markitdown",),
    ".ipynb": ("markitdown",),
}
"""By suffix, the packages that reading it takes."""

PATIENCE_S = 120.0
"""Seconds that a file may take, and each page of a PDF."""

# What can be imported here can be there, and nothing else: not what lies in the working folder.
_SERVE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from hybrid_search.corpus.conversion import serve
serve()
"""


class Unconvertible(ValueError):
    """A file gives no text; the message is the reason."""


class Converter:
    """The process that converts; started with the first file, ended by `close`."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, data: bytes, suffix: str) -> tuple[str, list[str]]:
        """The title, empty for none, and the text: of a PDF a string a page, else one, in Markdown.

        Raises:
            Unconvertible: it is damaged, encrypted, takes too long, or brought the process down.
        """
        title, texts = "", []
        request = json.dumps([suffix, len(data)]).encode() + b"\n" + data
        while True:
            kind, text = self._answer(request)
            request = b""
            if kind == "title":
                title = text
            elif kind == "text":
                texts.append(text)
            elif kind == "end":
                return title, texts
            else:
                raise Unconvertible(text)

    def _answer(self, request: bytes) -> tuple[str, str]:
        """Send a request, or none, and wait for the next answer."""
        process = self._process = self._process or self._started()
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._patience_s, stop)
        timer.start()
        try:
            stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
            stdin.write(request)
            stdin.flush()
            line = stdout.readline()
        except OSError:  # it has gone
            line = b""
        finally:
            timer.cancel()
        if line.endswith(b"\n"):
            kind, text = json.loads(line)
            return kind, text
        self.close()
        if late.is_set():
            raise Unconvertible(f"gives no text within {self._patience_s:g} s")
        raise Unconvertible(f"cannot be converted: the process that did so ended with code {process.returncode}")

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-c", _SERVE, json.dumps(sys.path)]
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what it did not take any more
                cast("IO[bytes]", pipe).close()

    def __enter__(self) -> Converter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def read_document(data: bytes, *, origin: str, name: str, convert: Converter) -> Document | Failure:
    """The file as one document, with its name as id and `path` and `suffix` as metadata.

    Its title is what the file says it is, else its first heading of level 1. The places of a PDF are its pages, as
    `page` from 1, those of the others their headings, as `heading`.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if not data:
        return Failure(origin, "the file is empty")
    if not all(find_spec(package) for package in NEEDS[suffix]):
        return Failure(origin, str(MissingExtra("documents", f"Reading {suffix} files")))
    try:
        title, texts = convert(data, suffix)
    except Unconvertible as error:
        return Failure(origin, str(error))
    texts = [_plain(text) for text in texts]
    pages = {number: text for number, text in enumerate(texts, 1) if text}
    if not pages:
        return Failure(origin, _without_text(suffix, len(texts)))
    text = "\n\n".join(pages.values())
    metadata = {"path": name, "suffix": suffix}
    if suffix == ".pdf":
        return Document(name, text, _plain(title), metadata, origin, places=_page_places(pages))
    heading, places = outline(text)
    return Document(name, text, _plain(title) or heading, metadata, origin, "markdown", places)


def _page_places(pages: Mapping[int, str]) -> tuple[Place, ...]:
    places, at = [], 0
    for number, text in pages.items():
        places.append(Place(at, {"page": number}))
        at += len(text) + len("\n\n")
    return tuple(places)


def _plain(text: str) -> str:
    return without_surrogates(text).replace("\0", "").replace("\r\n", "\n").strip()


def _without_text(suffix: str, pages: int) -> str:
    if suffix != ".pdf":
        return "no text"
    count = "1 page holds" if pages == 1 else f"{pages:,} pages hold"
    return f"no text: its {count} pictures only, or nothing; text recognition (OCR) makes such a PDF readable"
