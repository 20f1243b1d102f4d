"""What chunks are encoded with besides title and text: headers of tables, paths and names of code."""

from __future__ import annotations

import time
from dataclasses import replace
from hashlib import blake2b
from itertools import pairwise

import pytest

from hybrid_search.corpus.chunking import chunk
from hybrid_search.corpus.code import grammar
from hybrid_search.corpus.contexts import Table, is_affected, names_around, tables
from hybrid_search.indexing.pipeline import stamp_of
from hybrid_search.store.schema import chunk_of, payload_of
from hybrid_search.types import Document


def words(texts):
    return [len(text.split()) + 2 for text in texts]


def cut(text, size=40, markup="markdown", title="", overlap=0, **metadata):
    document = Document("d", text, title, metadata, markup=markup)
    chunks = chunk(document, size_tokens=size, overlap_tokens=overlap, count_tokens=words)
    covered = bytearray(len(text))
    for found in chunks:
        assert text[found.start : found.end] == found.text
        covered[found.start : found.end] = b"\1" * (found.end - found.start)
    assert all(covered[place] or char.isspace() for place, char in enumerate(text))
    assert all(a.start < b.start for a, b in pairwise(chunks))
    assert max(words([found.searchable for found in chunks])) <= size
    return chunks


# ---- tables

HEADER = "| Fruit | Price | Colour |"
ROWS = [f"| fruit {n} | {n}.50 | some green |" for n in range(30)]
TABLE = "\n".join([HEADER, "| --- | ---: | :-: |", *ROWS])


@pytest.mark.parametrize("overlap", [0, 5])
@pytest.mark.parametrize("title", ["", "Prices of fruit"])
def test_each_chunk_of_a_table_has_its_header(title, overlap):
    chunks = cut(f"# Prices\n\nIntro.\n\n{TABLE}\n\nProse after it.\n", title=title, overlap=overlap)
    inside = [found for found in chunks if found.text.startswith("| fruit")]
    assert len(inside) > 4
    assert {found.context for found in inside} == {HEADER}
    assert {found.context for found in chunks if found not in inside} == {""}
    assert all(found.searchable == "\n".join(filter(None, (title, HEADER, found.text))) for found in inside)


def test_rows_stay_whole():
    chunks = cut(TABLE)
    lines = [line for found in chunks for line in found.text.split("\n")]
    assert lines == TABLE.split("\n")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a | b\n--- | ---\n1 | 2\n", [Table(16, 22, "a | b")]),
        ("|a|\n|-|\n|1|\n|2|\n\ntext\n|b|\n|:-:|\n|3|", [Table(8, 16, "|a|"), Table(32, 35, "|b|")]),
        ("```\n|a|\n|-|\n|1|\n```\n", []),
        ("~~~~\n```\n~~~~\n|a|\n|-|\n|1|", [Table(22, 25, "|a|")]),
        ("|  |  |\n| - | - |\n| 1 | 2 |\n", []),
        ("|a|\n|-|\n\ntext", []),
        ("no table | here\nat all\n", []),
        ("|-|\n|-|\n", []),
        ("a\n---\n1 | 2\n", []),
        ("", []),
    ],
)
def test_tables(text, found):
    assert tables(text) == found


def test_the_header_of_another_table_is_not_taken():
    other = "\n".join(["| Car | Speed |", "|---|---|", *(f"| car {n} | {n} miles |" for n in range(30))])
    chunks = cut(f"{TABLE}\n\n{other}\n")
    assert {found.context for found in chunks if found.text.startswith("| car")} == {"| Car | Speed |"}


def test_a_long_header_is_cut_to_a_quarter_of_the_room():
    names = " | ".join(f"column{n}" for n in range(60))
    chunks = cut(f"| {names} |\n|{'---|' * 60}\n" + "| cell words here |\n" * 40)
    inside = [found for found in chunks if found.text.startswith("| cell")]
    assert {len(found.context.split()) for found in inside} == {9}


def test_a_row_longer_than_the_room_is_cut():
    cut(HEADER + "\n|---|---|---|\n" + ("| " + "word " * 300 + "| b | c |\n") * 3)


def test_a_table_that_fits_needs_no_header():
    [found] = cut(TABLE, size=500)
    assert found.context == ""


# ---- code

CLASS = """class Tea:
    \"\"\"Hot.\"\"\"

    def brew(
        self,
        minutes: int,
    ) -> None:
        for minute in range(minutes):
            if minute:
                wait()
        pour()

async def serve(): pass
"""


@pytest.mark.parametrize(
    ("text", "at", "names"),
    [
        (CLASS, "wait()", "class Tea:\ndef brew("),
        (CLASS, "pour()", "class Tea:\ndef brew("),
        (CLASS, "def brew", "class Tea:"),
        (CLASS, "async def", ""),
        (
            "public class A\n{\n    void b(int c,\n           int d)\n    {\n        e();\n    }\n}\n",
            "e()",
            "public class A\nvoid b(int c,",
        ),
        (
            "impl A {\n\tpub fn b(&self) -> u8 {\n\t\tmatch x {\n\t\t\t_ => 1,\n",
            "_ =>",
            "impl A {\npub fn b(&self) -> u8 {",
        ),
        (
            "const app = {\n  home: function() {\n    go();\n  }\n};\nafter();\n",
            "go()",
            "const app = {\nhome: function() {",
        ),
        ("const app = {\n  home: function() {\n    go();\n  }\n};\nafter();\n", "after", ""),
        ("module A\n  class B < C\n    def d\n      e\n    end\n", "e\n    end", "module A\nclass B < C\ndef d"),
        ("if x:\n    y()\n", "y()", ""),
        ("# a comment:\n    y()\n", "y()", ""),
        ("\n\n", "\n", ""),
    ],
)
def test_the_names_around_a_place(text, at, names):
    assert names_around(text, [text.index(at)]) == [names]


def test_only_the_innermost_names_are_kept():
    text = "".join("  " * n + f"class C{n}:\n" for n in range(9)) + "  " * 9 + "x()\n"
    assert names_around(text, [len(text) - 4]) == ["class C5:\nclass C6:\nclass C7:\nclass C8:"]


python = pytest.mark.skipif(grammar("python") is None, reason="the extra `code` is not installed")
BODY = "class Tea:\n    def brew(self):\n" + "".join(
    f"        step_{n} = one_of(the, steps, {n})\n" for n in range(200)
)


@python
def test_a_piece_of_code_has_its_path_and_the_names_around_it():
    chunks = cut(BODY, size=140, markup="code:python", path="shop/tea.py")
    assert chunks[0].context == "shop/tea.py"
    assert len(chunks) > 3
    assert {found.context for found in chunks[1:]} == {"shop/tea.py\nclass Tea:\ndef brew(self):"}
    assert chunks[1].searchable.startswith("shop/tea.py\nclass Tea:\ndef brew(self):\nstep_")


@python
def test_where_there_is_little_room_the_path_goes_first():
    chunks = cut(BODY, size=22, markup="code:python", path="some folder/with a very long/name of its own/tea.py")
    assert {found.context for found in chunks[2:]} <= {
        "tea.py\nclass Tea:\ndef brew(self):",
        "class Tea:\ndef brew(self):",
        "def brew(self):",
        "",
    }


@python
def test_code_that_fits_has_its_path_and_without_chunking_too():
    document = Document("d", "x = 1\n", metadata={"path": "a/b.py"}, markup="code:python")
    for size in (0, 40):
        [found] = chunk(document, size_tokens=size, overlap_tokens=0, count_tokens=words)
        assert found.searchable == "a/b.py\nx = 1\n"


@python
def test_no_piece_of_code_is_a_sliver_where_that_can_be_helped():
    functions = "".join(
        f"@decorated\ndef function_{n}(value):\n    # What it does.\n"
        + "    value = value + one + two\n" * 19
        + "    return value\n\n\n"
        for n in range(12)
    )
    chunks = cut("import one\n\n" + functions, size=140, markup="code:python")
    assert min(words([found.text for found in chunks[:-1]])) >= 20
    assert not [found for found in chunks if found.text.strip() in ("@decorated", "import one")]


# ---- kept and stamped


def test_a_context_is_stored_and_read_back():
    [*_, last] = cut(TABLE)
    payload = payload_of(last, {"year": 1}, "a.md", None)
    assert payload["context"] == HEADER
    assert chunk_of(payload) == last
    plain = replace(last, context="")
    assert "context" not in payload_of(plain, {}, "a.md", None)
    assert chunk_of(payload_of(plain, {}, "a.md", None)) == plain


def test_only_what_is_encoded_otherwise_than_before_has_another_stamp():
    plain = Document("d", "text", "title", {"a": 1})
    assert not is_affected(plain)
    assert not is_affected(replace(plain, markup="markdown"))
    assert not is_affected(replace(plain, markup="markdown", text="| a | b |\n" * 99))
    earlier = blake2b(f"{plain.content_hash()} base".encode(), digest_size=16).hexdigest()
    assert earlier == stamp_of(plain, "base") == stamp_of(replace(plain, markup="markdown"), "base")
    assert is_affected(replace(plain, markup="code:python"))
    table = replace(plain, text=TABLE, markup="markdown")
    assert is_affected(table)
    assert stamp_of(table, "base") != stamp_of(replace(table, markup="plain"), "base")


@pytest.mark.parametrize(
    "unit", ["(\n", "a:\n", "{", "\n", " ", "|", "|-", "-|-\n", "a|b\n-|-\n", "def ", "@a ", "class A:\n"]
)
def test_looking_for_them_takes_no_time(unit):
    text = unit * (500_000 // len(unit))
    began = time.perf_counter()
    names_around(text, range(0, len(text), 1_000))
    tables(text)
    assert time.perf_counter() - began < 8
