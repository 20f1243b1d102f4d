"""Which part of a passage is shown: two lines of prose, or lines of code, and the matches in them at any width."""

import base64
import random
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from hybrid_search.cli import result_view
from hybrid_search.cli.snippets import CODE_LINES, snippet, whole
from hybrid_search.ranking.highlight import WINDOW
from hybrid_search.ranking.windows import densest
from hybrid_search.results import DocumentHit, Highlight, Mark, Passage, Term
from hybrid_search.types import LegHit

WIDTHS = [35, 36, 47, 60, 75, 115, 195]
WORDS = "one two three four five six seven eight nine ten eleven twelve and then some other words"


def lit(text, query):
    """The highlight of a text in which every word of the query is marked, wherever it stands."""
    words = "|".join(map(re.escape, query.split()))
    marks = tuple(Mark(*found.span(), "literal") for found in re.finditer(words, text))
    return Highlight(*densest(text, marks, WINDOW), marks)


def passage(text, query):
    return Passage("d#0", 0, len(text), text, 1.0, lit(text, query))


def shown(text, query, columns, suffix=""):
    """The lines that a terminal would have, and the words marked in them."""
    console = Console(width=columns, file=None)
    found = snippet(passage(text, query), {"suffix": suffix} if suffix else {}, columns)
    marked = [found.plain[span.start : span.end] for span in found.spans if "bold" in str(span.style)]
    lines = found.split("\n") if suffix else found.wrap(console, columns)
    assert all(cell_len(line.plain.rstrip()) <= columns for line in lines)
    return [line.plain for line in lines], marked


def base64_text(size):
    return base64.b64encode(random.Random(7).randbytes(size)).decode()


CHINESE = "数据库每天凌晨三点会自动备份一次" * 40
TEXTS = {
    "at the very end": (f"{WORDS} " * 30 + "wombat", "wombat", ["wombat"]),
    "late in a long text": (f"{WORDS} " * 3 + "before the wombat comes " + f"{WORDS} " * 40, "wombat", ["wombat"]),
    "behind words that are longer than a line": ("x" * 400 + " wombat " + "y" * 400, "wombat", ["wombat"]),
    "inside of base64": (base64_text(900) + "+wombat+" + base64_text(900), "wombat", ["wombat"]),
    "at the end of base64": (base64_text(1800) + "/wombat", "wombat", ["wombat"]),
    "in a script without blanks": (CHINESE + "猫" + CHINESE, "猫", ["猫"]),
    "at its end": (CHINESE + "袋熊", "袋熊", ["袋熊"]),
    "Latin inside of it": (CHINESE + "wombat" + CHINESE, "wombat", ["wombat"]),
    "in Thai": ("ฐานข้อมูลสำรองทุกวัน" * 50 + "แมว" + "ฐานข้อมูล" * 50, "แมว", ["แมว"]),
    "in Korean, with a particle": ("데이터베이스를 매일 백업합니다. " * 30 + "고양이가 있다", "고양이", ["고양이"]),
    "several far apart": (
        f"wombat {WORDS * 20} quokka and wombat {WORDS * 20} wombat",
        "quokka wombat",
        ["quokka", "wombat"],
    ),
    "many line breaks": ("word\n\n" * 300 + "wombat" + "\n\nword" * 300, "wombat", ["wombat"]),
    "combining marks": ("e\u0301" * 900 + " wombat " + "e\u0301" * 900, "wombat", ["wombat"]),
    "wide emoji": ("👩‍👩‍👧" * 300 + " wombat", "wombat", ["wombat"]),
}


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", TEXTS)
def test_two_lines_hold_the_match(name, columns):
    text, query, words = TEXTS[name]
    lines, marked = shown(text, query, columns)
    assert 1 <= len(lines) <= 2
    assert sorted(set(marked)) == words
    room = "".join(lines)
    assert cell_len(room) > columns * 0.6 or len(text) < columns  # and they are filled as far as words let them


def test_a_match_that_is_longer_than_the_room_begins_there():
    token = base64_text(600).replace("+", "").replace("/", "").rstrip("=")
    for columns in WIDTHS:
        lines, marked = shown(f"{WORDS} " * 20 + token + f" {WORDS}" * 20, token, columns)
        assert len(lines) <= 2
        assert marked
        assert token.startswith(marked[0][:10]) or marked[0] in token


@pytest.mark.parametrize("columns", WIDTHS)
def test_short_texts_are_shown_whole_and_long_ones_with_signs_of_the_cut(columns):
    assert shown("red apples", "apples", columns)[0] == ["red apples"]
    lines, _ = shown(f"{WORDS} " * 20, "nothing", columns)
    assert lines[0].startswith("one two")
    assert lines[-1].rstrip().endswith("…")
    lines, _ = shown("", "nothing", columns)
    assert "".join(lines).strip() == ""


@pytest.mark.parametrize("size", [1, 5, 20, 80, 280, 900])
@pytest.mark.parametrize("name", TEXTS)
def test_a_window_of_any_size_holds_a_match_that_fits(name, size):
    text, query, words = TEXTS[name]
    marks = lit(text, query).marks
    start, end = densest(text, marks, size)
    assert 0 <= start <= end <= len(text)
    assert end - start <= size
    if size >= max(map(len, words)):
        assert any(start <= mark.start and mark.end <= end for mark in marks)


def test_the_window_of_json_holds_the_match_too():
    for text, query, words in TEXTS.values():
        found = lit(text, query)
        assert any(word in text[found.start : found.end] for word in words)


PYTHON = """class Burrow:
    def __init__(self, deep):
        self.deep = deep

    def dig(self):
        for tunnel in self.tunnels():
            if tunnel.wombat:
                return tunnel
        return None

    def tunnels(self):
        return []

    def close(self):
        pass
"""


@pytest.mark.parametrize("columns", WIDTHS)
def test_code_keeps_its_lines_and_what_they_are_indented_by(columns):
    lines, marked = shown(PYTHON, "wombat", columns, ".py")
    assert marked == ["wombat"]
    assert len(lines) == CODE_LINES
    assert lines == [
        "    for tunnel in self.tunnels():",
        "        if tunnel.wombat:",
        "            return tunnel",
        "    return None",
        "def tunnels(self):",
        "    return []",
    ]


LONG = {
    "calls": "x = f(" + "1, " * 900 + "wombat" + ", 2" * 900 + ")",
    "wide": "猫" * 900 + "wombat",
    "no blanks": "a" * 900 + "+wombat+" + "b" * 900,
}


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("line", LONG.values(), ids=LONG)
def test_in_a_long_line_of_code_the_match_is_seen(line, columns):
    lines, marked = shown(f"first()\n\t{line}\nlast()", "wombat", columns, ".js")
    assert marked == ["wombat"]
    assert len(lines) == 3


def test_tabs_are_blanks_and_the_lines_around_several_matches_are_those_with_most_of_them():
    code = "start\n" + "\tpass\n" * 40 + "\tquokka = 1\n\t\twombat = 2\n" + "\tpass\n" * 40 + "wombat\n"
    lines, marked = shown(code, "quokka wombat", 75, ".go")
    assert marked == ["quokka", "wombat"]
    assert "quokka = 1" in lines
    assert "    wombat = 2" in lines


@pytest.mark.parametrize("fence", ["```python\n{}```", "~~~\n{}~~~", "```\n{}"])
def test_code_in_markdown_keeps_its_lines_where_the_match_is_in_it(fence):
    text = "# Burrows\n\nThere is prose about digging.\n\n" + fence.format(PYTHON) + "\n\nAnd more prose.\n"
    found = snippet(passage(text, "wombat"), {}, 75).plain.split("\n")
    assert "        if tunnel.wombat:" in found or "    if tunnel.wombat:" in found
    assert not any("prose" in line or "`" in line for line in found)
    prose = snippet(passage(text, "digging"), {}, 75).plain
    assert "There is prose about digging." in prose


def test_indented_blocks_keep_their_lines():
    text = "Type this:\n\n    hybrid-search index notes \\\n      -c wombat\n\nThat is all.\n"
    found = snippet(passage(text, "wombat"), {}, 75).plain
    assert found == "hybrid-search index notes \\\n  -c wombat"


def test_the_whole_keeps_its_lines():
    text = f"\n\n{PYTHON}\t# end\r\nlast\n\n"
    assert whole(passage(text, "wombat"), {}).plain == f"{PYTHON}    # end\nlast"


def test_a_huge_text_takes_little_time():
    import time

    text = "wombat " * 200_000
    begun = time.perf_counter()
    shown(text, "wombat", 75)
    assert time.perf_counter() - begun < 5


@pytest.mark.parametrize(
    ("chunk", "first"),
    [
        ("def dig(self):\n        wombat()\n        if x:\n            y()\n", "def dig(self):"),
        ("wombat()\n        if x:\n            y()\n        z()\n", "wombat()"),
        ("def top():\n    wombat()\n    if x:\n        y()\n", "def top():"),
        ("function f() {\n\t\twombat()\n\t\treturn\n\t}\n", "function f() {"),
        ("import a\nimport wombat\n\ndef f():\n    pass\n", "import a"),
    ],
)
def test_the_first_line_of_a_chunk_is_indented_as_it_was(chunk, first):
    """A chunk of code begins behind the indentation of its first line."""
    lines, _ = shown(chunk, "wombat", 75, ".py")
    assert lines[0].strip() == first
    depths = [len(line) - len(line.lstrip()) for line in lines]
    assert depths[0] == 0
    assert depths[1] <= 4
    assert whole(passage(chunk, "wombat"), {"suffix": ".py"}).plain.splitlines()[0].strip() == first


def test_what_a_line_is_indented_by_is_seen_where_its_beginning_is_not():
    code = "if a:\n    call(" + "1, " * 50 + "wombat)\n"
    lines, marked = shown(code, "wombat", 40, ".py")
    assert marked == ["wombat"]
    assert lines[1].startswith("    …")


def test_a_leg_stands_on_its_own_line_where_one_is_too_short():
    legs = {"sparse": LegHit("sparse", 3, 12.5), "dense": LegHit("dense", 1, 0.25), "bm25": None}
    hit = DocumentHit(1, "d", 0.03, "", {}, "", (), legs)
    assert result_view._evidence(hit, list(legs), 80).plain == (
        "0.0300  =  sparse rank 3 (12.500) + dense rank 1 (0.250) + bm25 not found"
    )
    assert result_view._evidence(hit, list(legs), 50).plain.split("\n") == [
        "0.0300  =  sparse rank 3 (12.500)",
        "         + dense rank 1 (0.250)",
        "         + bm25 not found",
    ]


@pytest.mark.parametrize("width", [40, 60, 120])
def test_a_word_and_its_weight_stand_on_one_line(width):
    terms = [Term(f"word{n}", 3.0 - n / 10, n < 3) for n in range(20)]
    lines = result_view._expansion_line("sparse", terms, width).plain.split("\n")
    assert all(cell_len(line) <= width for line in lines)
    assert all(re.fullmatch(r"(sparse reads  )?(word\d+ \d\.\d( {2}|$))+(and 4 more)?", line) for line in lines)
