"""Source code is cut at its syntax where its grammar is installed, and as plain text elsewhere."""

from __future__ import annotations

import importlib.util
import random
from itertools import pairwise

import pytest

from hybrid_search.corpus import code
from hybrid_search.corpus.chunking import chunk
from hybrid_search.corpus.code import CODE_MARKUP, grammar
from hybrid_search.corpus.readers import read
from hybrid_search.types import Document

LANGUAGES = sorted({markup.removeprefix("code:") for markup in CODE_MARKUP.values()})
PACKAGES = {language.package for language in code._LANGUAGES.values() if language.package}
extra = pytest.mark.skipif(
    not all(importlib.util.find_spec(package) for package in PACKAGES), reason="the extra `code` is not installed"
)

# Blank lines, which plain text is cut at first, are more inside than between.
FUNCTION = """def {name}(value):
    # Twice. As said. By all.
    total = value + 1


    for item in range(total):
        print(item, {name!r}. upper())
    return total

"""


def words(texts):
    return [len(text.split()) + 2 for text in texts]


def characters(texts):
    return [len(text) + 2 for text in texts]


def check(document, chunks, size, count):
    assert [found.number for found in chunks] == list(range(len(chunks)))
    assert all(a.start < b.start for a, b in pairwise(chunks))
    covered = bytearray(len(document.text))
    for found in chunks:
        assert document.text[found.start : found.end] == found.text
        covered[found.start : found.end] = b"\1" * (found.end - found.start)
    assert all(covered[place] or char.isspace() for place, char in enumerate(document.text))
    assert max(count([found.searchable for found in chunks])) <= size


@extra
@pytest.mark.parametrize("language", [name for name in LANGUAGES if code._LANGUAGES[name].package])
def test_every_grammar_is_there_and_cuts(language):
    assert grammar(language) is not None
    document = Document("d", "a = b;\n" * 40, markup=f"code:{language}")
    check(document, chunk(document, size_tokens=32, overlap_tokens=0, count_tokens=words), 32, words)


@extra
def test_functions_stay_whole():
    text = "".join(FUNCTION.format(name=f"f{n}") for n in range(6))
    cut = chunk(Document("d", text, markup="code:python"), size_tokens=26, overlap_tokens=0, count_tokens=words)
    assert [found.text for found in cut] == [FUNCTION.format(name=f"f{n}").strip() for n in range(6)]
    plain = chunk(Document("d", text), size_tokens=26, overlap_tokens=0, count_tokens=words)
    assert [found.text for found in plain] != [found.text for found in cut]


@extra
@pytest.mark.parametrize("overlap", [0, 5])
def test_a_long_file_of_many_windows(overlap):
    rng = random.Random(1)
    text = "".join(FUNCTION.format(name=f"f{rng.randrange(10**6)}") for _ in range(1500))
    assert len(text) > 3 * 65_536
    document = Document("d", text, markup="code:python")
    check(document, chunk(document, size_tokens=32, overlap_tokens=overlap, count_tokens=words), 32, words)


@extra
@pytest.mark.parametrize("text", ["x=1;" * 30_000, "(" * 20_000, "é\U0001f600'" * 5_000, "\ud800 def \x1c" * 99])
@pytest.mark.parametrize("language", ["javascript", "python"])
def test_what_is_no_code_that_people_write(text, language):
    document = Document("d", text, markup=f"code:{language}")
    check(document, chunk(document, size_tokens=512, overlap_tokens=0, count_tokens=characters), 512, characters)


@pytest.mark.parametrize("markup", ["code:python", "code:r", "code:nobody-knows-it"])
def test_without_a_grammar_code_is_plain_text(monkeypatch, markup):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(code, "import_module", missing)
    grammar.cache_clear()
    try:
        text = "".join(FUNCTION.format(name=f"f{n}") for n in range(6))
        found = chunk(Document("d", text, markup=markup), size_tokens=26, overlap_tokens=0, count_tokens=words)
        assert found == chunk(Document("d", text), size_tokens=26, overlap_tokens=0, count_tokens=words)
    finally:
        grammar.cache_clear()


def test_files_of_code_are_read_from_folders(tmp_path):
    for name in ("a.py", "b.TSX", "c.h", "d.exe"):
        (tmp_path / name).write_text("x = 1")
    assert [(found.doc_id, found.markup) for found in read([tmp_path])] == [
        ("a.py", "code:python"),
        ("b.TSX", "code:tsx"),
        ("c.h", "code:c"),
    ]
