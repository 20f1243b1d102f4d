"""Files that mean harm, or look as if: names, encodings, nesting, and a megabyte of whatever, for every suffix.

    python -m tests.corpus.hostile [--size 1000000] [--limit 5] [--only .html]

reads and cuts each under its bound, as a job does, and prints those that take more than five seconds a megabyte, with
the seconds of each stage. Everything is made of a seed, so that the same files come every time.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from hybrid_search.collection.models import ModelSet
from hybrid_search.corpus.readers import Reader
from hybrid_search.corpus.walk import KNOWN_SUFFIXES, FoundFile
from hybrid_search.encoders.token_counter import TokenCount
from hybrid_search.indexing.chunker import Chunker
from hybrid_search.indexing.pipeline import cut_or_failed
from hybrid_search.indexing.progress import JobProgress
from hybrid_search.types import Document, Failure, Guessed, PassedOver
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
    for opening, end in PAIRS:
        times = max(1, size // (len(opening) + len(end)))
        text = HEADS.get(suffix, "") + opening * times + "1" + end * times
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


class Spent(NamedTuple):
    """What reading and cutting a file took, and what it came to."""

    read_s: float
    cut_s: float
    documents: int
    chunks: int
    failures: list[str]


def read_and_cut(file: Path, reader: Reader, cut: Chunker) -> Spent:
    """Read a file and cut what comes of it, each under its bound, as a job does.

    Raises:
        AssertionError: what comes of it is no document, or a chunk none of it.
    """
    began = time.perf_counter()
    items = list(reader(FoundFile(file, str(file), file.name)))
    read_s = time.perf_counter() - began
    tally = JobProgress("hostile", "", "", None, None)
    chunks, documents = 0, 0
    began = time.perf_counter()
    for item in items:
        assert isinstance(item, (Document, Failure, PassedOver, Guessed))
        assert item.origin
        if isinstance(item, Failure):
            tally.fail(item)
        if isinstance(item, Document):
            documents += 1
            json.dumps([item.text, item.title, dict(item.metadata), item.doc_id], allow_nan=False).encode()
            made = cut_or_failed(item, cut, tally)
            assert all(item.text[each.start : each.end] == each.text for each in made)
            chunks += len(made)
    assert items or not file.stat().st_size
    failures = [failure.reason for failure in tally.failures]
    return Spent(read_s, time.perf_counter() - began, documents, chunks, failures)


class Letters:
    """A model that reads words by their letters; it only counts tokens."""

    card = SimpleNamespace(max_tokens=256)

    def __init__(self) -> None:
        from tokenizers import Tokenizer
        from tokenizers.models import WordPiece
        from tokenizers.normalizers import BertNormalizer
        from tokenizers.pre_tokenizers import BertPreTokenizer

        signs = [chr(sign) for sign in range(33, 127)]
        vocabulary = {sign: place for place, sign in enumerate(["[UNK]", *signs, *(f"##{sign}" for sign in signs)])}
        made = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
        made.normalizer, made.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
        self._count = TokenCount(made.to_str(), "")
        self.count_tokens = self._count.counter()

    def token_count(self) -> TokenCount:
        return self._count


def cutter() -> Chunker:
    """What cuts as a job does."""
    encoder: Any = Letters()
    return Chunker(ModelSet("hostile", {"sparse": encoder}), 256, 0)


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


def slow_ones(folder: Path, size: int, limit_s: float, only: str | None = None) -> Iterator[tuple[Case, str]]:
    """The cases that take more than so many seconds a megabyte, or in all if they are smaller; with what they took."""
    with Reader() as reader, closing(cutter()) as cut:
        for case in everything(size):
            if only not in (None, case.suffix):
                continue
            file = folder / f"case{case.suffix}"
            file.write_bytes(case.data)
            spent = read_and_cut(file, reader, cut)
            if spent.read_s + spent.cut_s > limit_s * max(1.0, len(case.data) / 1e6):
                failed = "".join(f"; {reason}" for reason in spent.failures[:2])
                yield case, f"read {spent.read_s:.1f} s, cut {spent.cut_s:.1f} s{failed}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--limit", type=float, default=SECONDS_A_MEGABYTE)
    parser.add_argument("--only")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/hostile"))
    given = parser.parse_args()
    given.folder.mkdir(exist_ok=True)
    for case, found in slow_ones(given.folder, given.size, given.limit, given.only):
        print(f"{case.suffix or 'none':10} {len(case.data):>9,}  {case.name}: {found}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
