"""Files that mean harm, or look as if: names, encodings, nesting, and a megabyte of whatever, for every suffix.

    python -m tests.corpus.hostile [--size 1000000] [--limit 60] [--only .html]

reads and cuts each in a process of its own, and prints those that take more than five seconds a megabyte, with the
seconds of each stage. Everything is made of a seed, so that the same files come every time.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import random
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hybrid_search.corpus.chunking import chunk
from hybrid_search.corpus.readers import read_file
from hybrid_search.corpus.walk import KNOWN_SUFFIXES, FoundFile
from hybrid_search.types import Document
from tests.corpus.made_documents import form, notebook, pdf, pdf_of, word

SECONDS_A_MEGABYTE = 5.0

UNITS = [
    "(",
    "[",
    "{",
    "<",
    "<div>",
    "<a ",
    "<!--",
    "&",
    "&amp;",
    "&#0;",
    "[[",
    "![a](",
    "](",
    "*a **b ",
    "`",
    "``` ",
    "#",
]
UNITS += [
    "# a\n",
    "a\n-\n",
    "- ",
    "> ",
    "1. ",
    "|",
    "-|-\n",
    "|a|b|\n|-|-|\n",
    "---\n",
    "+++\n",
    "a: ",
    "&a ",
    "? ",
    "[a]: x\n",
]
UNITS += [
    "{{",
    "{%",
    "\\",
    '"',
    "'",
    '"""',
    ",",
    ";",
    "\t",
    " ",
    "\n",
    "\r",
    "\r\n",
    "a",
    "a ",
    "A.",
    "漢",
    "e\u0301",
    "\U0001f600",
]
UNITS += [
    "\u202e",
    "\u200d",
    "\x1b[2J",
    "\x0c",
    "\x85",
    "\u2028",
    "\ufeff",
    "0",
    "-",
    "=",
    "==\n",
    "/*",
    "//",
    "@",
    "$",
    "%",
]
UNITS += ["if (a) {\n", "class A:\n", "def a(\n", "x = (", "f(", "a.b.", "a=>", "<<EOF\n", "data:image/png;base64,AAAA"]
UNITS += [
    "From: a\n",
    "Content-Type: multipart/mixed; boundary=b\n\n--b\n",
    '{"a":',
    "[[1],",
    '"a","b"\n',
    'a,"b\n',
    "a\tb\n",
]

PAIRS = [("(", ")"), ("[", "]"), ("{", "}"), ('{"a":', "}"), ("<b>", "</b>"), ("<table><tr><td>", "</td></tr></table>")]
PAIRS += [("begin ", " end"), ("if (a) { ", " }"), ("f(", ")"), ("> ", "\n"), ("/* ", " */"), ('"', '"')]

HEADS = {
    ".csv": "id,text\n",
    ".tsv": "id\ttext\n",
    ".md": "---\n",
    ".markdown": "# a",
    ".html": "<p>",
    ".json": "[",
    ".eml": "From: a@b.c\n\n",
}
HEADS |= {
    ".jsonl": '{"text": "',
    ".ipynb": '{"cells": [',
    ".py": "x = ",
    ".c": "int a = ",
    ".js": "var a = ",
    ".java": "class A { int a = ",
}

ENCODINGS = ("utf-8", "utf-16", "utf-8-sig", "cp1252", "shift_jis", "gb18030", "koi8-r")

NAMES = [
    "new\nline.txt",
    "esc\x1b[2J.txt",
    "\u202etxt.exe.md",
    "x" * 240 + ".txt",
    "-rf.txt",
    "#hash#.txt",
    "a b\tc.txt",
    "..txt",
]
NAMES += [
    "café.txt",
    "cafe\u0301.txt",
    "漢字.md",
    "%00.txt",
    "a:b|c.txt",
    "'quote\".txt",
    "*.txt",
    "~",
    "con.txt",
    "[x].md",
    "$HOME.txt",
]
UNDECODABLE = [b"caf\xe9.txt", b"\xff\xfe.md"]
"""Names as bytes that are no UTF-8, for systems that take any."""


class Case(NamedTuple):
    """A file: its name says what it is made of."""

    name: str
    suffix: str
    data: bytes


def texts(suffix: str, size: int) -> Iterator[Case]:
    """One unit again and again; pairs of brackets around nothing; both behind a head that the suffix expects."""
    for number, unit in enumerate(UNITS):
        head = HEADS.get(suffix, "") if number % 2 else ""
        yield Case(f"unit {unit[:12]!r}", suffix, _filled(head, unit, size).encode("utf-8", "surrogatepass"))
    for opening, closing in PAIRS:
        times = max(1, size // (len(opening) + len(closing)))
        text = HEADS.get(suffix, "") + opening * times + "1" + closing * times
        yield Case(f"nested {opening[:12]!r}", suffix, text.encode())


def mixtures(suffix: str, size: int, seed: int, count: int) -> Iterator[Case]:
    """Units in any order, in several encodings, with damaged bytes in between."""
    rng = random.Random(f"{suffix} {seed}")
    for number in range(count):
        some = rng.sample(UNITS, rng.randint(2, 8))
        text = HEADS.get(suffix, "")
        while len(text) < size:
            text += rng.choice(some) * rng.choice((1, 1, 2, 9, 99))
        data = bytearray(text[:size].encode(rng.choice(ENCODINGS), "replace"))
        for _ in range(rng.choice((0, 0, 3, 99))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        yield Case(f"mixture {number} of {', '.join(repr(unit[:6]) for unit in some)}", suffix, bytes(data))


def containers(size: int) -> Iterator[Case]:
    """Word documents, PDFs and notebooks that are wrong inside."""
    deep = max(1, min(size, 100_000) // 20)
    yield Case("a bomb", ".docx", _bomb(size))
    yield Case(
        "nested tables",
        ".docx",
        word([], more={"body": "<w:tbl><w:tr><w:tc>" * deep + "</w:tc></w:tr></w:tbl>" * deep}),
    )
    yield Case("one long run", ".docx", word([("", "a " * (size // 2))]))
    yield Case("many paragraphs", ".docx", word([("Heading1", "a")] * (size // 100)))
    yield Case("pages that hold themselves", ".pdf", pdf_of(_LOOP))
    yield Case("a page that is its own parent", ".pdf", pdf(["a"]).replace(b"/Parent 2 0 R", b"/Parent 3 0 R"))
    yield Case(
        "contents that hold themselves", ".pdf", pdf(["a"]).replace(b"/Contents 4 0 R", b"/Contents [3 0 R 4 0 R]")
    )
    yield Case("many pages", ".pdf", pdf(["a"] * max(1, size // 300)))
    yield Case("a long page", ".pdf", pdf(["a " * (size // 2)]))
    yield Case("deep brackets", ".pdf", pdf(["a"]) + b"\n6 0 obj\n" + b"[" * size)
    yield Case("many fields", ".pdf", form([f"/FT /Tx /T (f{n}) /V (a)" for n in range(max(1, size // 120))]))
    yield Case("many cells", ".ipynb", notebook(*[("markdown", "# a\n")] * max(1, size // 80)))
    yield Case(
        "a long output", ".ipynb", notebook(("code", "x", {"output_type": "stream", "text": "\x1b[" * (size // 2)}))
    )
    yield Case("deep json", ".ipynb", b'{"cells":' + b"[" * size)
    yield Case("nothing", ".ipynb", b"{}")


def everything(size: int, *, seed: int = 0, mixed: int = 4) -> Iterator[Case]:
    """All cases of about a size, suffix by suffix."""
    for suffix in (*sorted(KNOWN_SUFFIXES - {".parquet", ".pdf", ".docx"}), ".xml", ".yaml", ""):
        yield from texts(suffix, size)
        yield from mixtures(suffix, size, seed, mixed)
    yield from containers(size)


def tokens(pieces):
    """About as many as a tokenizer gives, in no time."""
    return [len(piece) // 4 + piece.count("\n") + 2 for piece in pieces]


def read_and_cut(file: Path) -> dict[str, float]:
    """Read a file and cut what comes of it; the seconds of both.

    Raises:
        AssertionError: a chunk is none.
    """
    began = time.perf_counter()
    items = list(read_file(FoundFile(file, str(file), file.name)))
    spent = {"read": time.perf_counter() - began, "cut": 0.0}
    for document in items:
        if not isinstance(document, Document):
            continue
        json.dumps([document.text, document.title, dict(document.metadata), document.doc_id]).encode()
        began = time.perf_counter()
        chunks = chunk(document, size_tokens=256, overlap_tokens=0, count_tokens=tokens)
        spent["cut"] += time.perf_counter() - began
        assert all(document.text[each.start : each.end] == each.text for each in chunks)
        assert max(tokens([each.searchable for each in chunks])) <= 256
    return spent


def _filled(head: str, unit: str, size: int) -> str:
    return head + unit * max(1, (size - len(head)) // len(unit))


def _bomb(size: int) -> bytes:
    held = io.BytesIO()
    with (
        zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive,
        zipfile.ZipFile(io.BytesIO(word([("", "x")]))) as model,
    ):
        for name in model.namelist():
            data = model.read(name)
            archive.writestr(name, data.replace(b">x<", b">" + b"x" * size * 20 + b"<"))
    return held.getvalue()


_LOOP = [
    "<< /Type /Catalog /Pages 2 0 R >>",
    "<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>",
    "<< /Title (loop) >>",
]


# ---------------------------------------------------------------- each in a process of its own


class Worker:
    """A process that reads and cuts files, killed where it takes too long."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._process = None

    def __call__(self, file: Path, limit_s: float) -> dict[str, float] | str:
        if self._process is None:
            self._here, there = self._context.Pipe()
            self._process = self._context.Process(target=_serve, args=(there,), daemon=True)
            self._process.start()
            self._here.recv()
        self._here.send(file)
        if self._here.poll(limit_s):
            try:
                return self._here.recv()
            except EOFError:
                pass
        self.close()
        return f"over {limit_s:g} s, or the process died"

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.join()


def _serve(there) -> None:
    there.send("ready")
    while True:
        file = there.recv()
        try:
            there.send(read_and_cut(file))
        except Exception as error:
            there.send(f"{type(error).__name__}: {str(error)[:100]}")


def slow_ones(folder: Path, size: int, limit_s: float, only: str = "") -> Iterator[tuple[Case, str]]:
    """The cases that take more than `SECONDS_A_MEGABYTE`, or raise; with what they took."""
    worker = Worker()
    try:
        for case in everything(size):
            if only and case.suffix != only:
                continue
            file = folder / f"case{case.suffix}"
            file.write_bytes(case.data)
            found = worker(file, limit_s)
            allowed = SECONDS_A_MEGABYTE * max(0.2, len(case.data) / 1e6)
            if isinstance(found, str):
                yield case, found
            elif max(found.values()) > allowed:
                yield case, ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in found.items())
    finally:
        worker.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--limit", type=float, default=60.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/hostile"))
    given = parser.parse_args()
    given.folder.mkdir(exist_ok=True)
    for case, found in slow_ones(given.folder, given.size, given.limit, given.only):
        print(f"{case.suffix or 'none':10} {len(case.data):>9,}  {case.name}: {found}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
