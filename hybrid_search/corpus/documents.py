"""Files of word processors, PDF, HTML and notebooks to documents (extra `documents`).

They are converted in a process of their own, one for all files of a run. Whatever one bad file does, crash, take all
memory or never end, it does there: it becomes a `Failure`, and the next file gets a new process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import PurePosixPath
from types import TracebackType
from typing import IO, NamedTuple, cast

from hybrid_search.corpus.decoding import without_surrogates
from hybrid_search.corpus.headings import outline
from hybrid_search.errors import MissingExtra
from hybrid_search.types import Document, Failure, Guessed, PassedOver, Place, SourceItem

NEEDS = {
    ".pdf": ("pypdfium2",),
    ".docx": ("markitdown", "mammoth", "bs4", "markdownify"),
    ".html": ("bs4", "markdownify", "webencodings"),
    ".htm": ("bs4", "markdownify", "webencodings"),
}
"""By suffix, the packages that reading it takes."""

CONVERTED = (*NEEDS, ".ipynb")
"""The suffixes of files that are converted; notebooks take nothing more."""

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


class Converted(NamedTuple):
    """What became of a file.

    Args:
        title: empty for none.
        texts: of a PDF one a page, else one, in Markdown.
        passed_over: by kind what was left out.
        guessed: the encoding that was guessed; empty where none was.
    """

    title: str
    texts: list[str]
    passed_over: dict[str, int]
    guessed: str = ""


class Converter:
    """The process that converts; started with the first file, ended by `close`."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, data: bytes, suffix: str, encoding: str = "") -> Converted:
        """What becomes of a file; `encoding` as for `conversion.convert`.

        Raises:
            Unconvertible: it is damaged, encrypted, takes too long, or brought the process down.
        """
        parts: dict[str, list[tuple[str, int]]] = {"title": [], "text": [], "passed_over": [], "guessed": []}
        request = json.dumps([suffix, encoding, len(data)]).encode() + b"\n" + data
        while True:
            kind, text, count = self._answer(request)
            request = b""
            if kind == "failure":
                raise Unconvertible(text)
            if kind == "end":
                title, guessed = ("".join(text for text, _ in parts[kind]) for kind in ("title", "guessed"))
                return Converted(title, [text for text, _ in parts["text"]], dict(parts["passed_over"]), guessed)
            parts[kind].append((text, count))

    def _answer(self, request: bytes) -> tuple[str, str, int]:
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
            kind, text, count = json.loads(line)
            return kind, text, count
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


def read_document(
    data: bytes, *, origin: str, name: str, convert: Converter, encoding: str = ""
) -> Iterator[SourceItem]:
    """The file as one document, with its name as id and `path` and `suffix` as metadata, and what was left out of it.

    Its title is what the file says it is, else its first heading of level 1. The places of a PDF are its pages, as
    `page` from 1, those of the others their headings, as `heading`.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if not data:
        yield Failure(origin, "the file is empty")
        return
    if not all(find_spec(package) for package in NEEDS.get(suffix, ())):
        yield Failure(origin, str(MissingExtra("documents", f"Reading {suffix} files")))
        return
    try:
        found = convert(data, suffix, encoding)
    except Unconvertible as error:
        yield Failure(origin, str(error))
        return
    yield _document(found, suffix, origin, name)
    for kind, count in found.passed_over.items():
        yield PassedOver(origin, kind, count)
    if found.guessed:
        yield Guessed(origin, found.guessed)


def _document(found: Converted, suffix: str, origin: str, name: str) -> Document | Failure:
    texts = [_plain(text) for text in found.texts]
    pages = {number: text for number, text in enumerate(texts, 1) if text}
    if not pages:
        return Failure(origin, _without_text(suffix, len(texts)))
    text = "\n\n".join(pages.values())
    title, metadata = _plain(found.title), {"path": name, "suffix": suffix}
    if suffix == ".pdf":
        return Document(name, text, title, metadata, origin, places=_page_places(pages))
    heading, places = outline(text)
    return Document(name, text, title or heading, metadata, origin, "markdown", places)


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
