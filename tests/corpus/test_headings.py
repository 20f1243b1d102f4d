"""Which lines of Markdown are headings, and the paths of them."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hybrid_search.corpus.headings import MAX_HEADING, MAX_PARSED_LINES, headings, outline


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# A\n### B ###\n## C", [(0, 1, "A"), (4, 3, "B"), (14, 2, "C")]),
        ("A\n===\nB\n---\n", [(0, 1, "A"), (6, 2, "B")]),
        ("```\n# A\n```\n~~~\n## B\n```\n~~~\n#### C", [(29, 4, "C")]),
        ("####### seven\n#hash\n    # code\n#\n", []),
        ("- item\n---\n\n> said\n---\n\n1. one\n---\n", []),
        ("two lines\nof text\n---\n\n---\n", []),
        ("two lines\nof text\n===\n", [(0, 1, "two lines of text")]),
        ("> # said\n\n- # item\n\n1. # one\n\n# A\n", [(30, 1, "A")]),
        ("<!--\n# a comment\n-->\n\n# A\n", [(22, 1, "A")]),
        ("<pre>\n# A\n\n# B\n</pre>\n", []),
        ("- a\n\n  # b\n\n      # c\n", []),
        ("[a]: http://x\n---\n# A", [(18, 1, "A")]),
        ("a | b\n--- | ---\n1 | 2\n---\n", []),
        ("\t# code\n # A\n", [(8, 1, "A")]),
        ("x\r# A\r\n# B\n", [(2, 1, "A"), (7, 1, "B")]),
        ("a\x0b\u2028b\x85\n# A\x0cx\n", [(6, 1, "A x")]),
        ("#\tA\n#\xa0B\n# \n## ##\n", [(0, 1, "A")]),
        ("", []),
    ],
)
def test_headings(text, found):
    assert list(headings(text)) == found


@pytest.mark.parametrize(
    ("heading", "shown"),
    [
        ("How to *brew* `tea`", "How to brew tea"),
        ("[Install](https://example.org/a_b)", "Install"),
        (r"snake\_case", "snake_case"),
        ("a_b and C\\D", "a_b and C\\D"),
        ('<a name="x"></a>Use', "Use"),
        ("Use {#use-it}", "Use"),
        ("[`text()`][there] and [here]\n\n[There]: http://x 'y'", "text() and [here]"),
        ("![An *old* cat](cat.png) here", "An old cat here"),
        ("&amp; &lt;b&gt; <http://x.y>", "& <b> http://x.y"),
        ("2 * 3 * 4 < 5 [x] {y}", "2 * 3 * 4 < 5 [x] {y}"),
        ("**[a](b)**  `c  d` ##", "a c d"),
        ("Use {#use-it .wide}", "Use"),
        ("x" * 500, "x" * MAX_HEADING),
    ],
)
def test_a_heading_is_shown_without_its_markup(heading, shown):
    assert [place.metadata for place in outline("# " + heading).places] == [{"heading": shown}]


def test_a_heading_ends_those_of_its_level_and_below():
    text = "intro\n### Deep\n# A\n## B\n#### C\n## D\n# E\n"
    assert [place.metadata["heading"] for place in outline(text).places] == [
        "Deep",
        "A",
        "A > B",
        "A > B > C",
        "A > D",
        "E",
    ]


def beginnings(source: str) -> list[str]:
    """Return the source of a heading, and what follows each of the hard breaks that it begins with, which nobody sees.

    Source: CommonMark 0.31, 6.7: a backslash before the line's end is a hard line break.
    """
    found = [source]
    while after := re.match(r" *\\[\r\n]+ *", found[-1]):
        found.append(found[-1][after.end() :])
    return found


@example("\\\n    # e\n===")
@example("\\\n\\\n===")
@given(
    st.lists(
        st.sampled_from(["# a", "## b", "c", "===", "---", "```", "", "- d", "> # q", "  ", "\\", "x\r", "    # e"]),
        max_size=12,
    ).map("\n".join)
)
def test_starts_are_places_of_the_text(text):
    starts = [heading.start for heading in headings(text)]
    assert starts == sorted(set(starts))
    for found in headings(text):
        assert found.start == 0 or text[found.start - 1] in "\r\n"
        shown = found.text.split()[0]
        assert any(shown in rest.lstrip(" #")[:3] or rest.startswith(shown) for rest in beginnings(text[found.start :]))


def test_a_text_of_very_many_lines_is_read_line_by_line():
    head = "# *One*\n\n```\n# no\n```\n~~~ x\n# no\n```\n~~~~\n####### seven\n## Two ##\n#hash\n"
    text = head + "a\n" * MAX_PARSED_LINES + "# Last #\n"
    assert [(found.level, found.text) for found in headings(text)] == [(1, "One"), (2, "Two"), (1, "Last")]
    assert [text[found.start :].split("\n")[0] for found in headings(text)] == ["# *One*", "## Two ##", "# Last #"]


def test_what_follows_blocks_nested_too_deep_is_found():
    assert [found.text for found in headings("- " * 60 + "a\n\n# A\n")] == ["A"]


def filled(unit: str, size: int = 500_000) -> str:
    return unit * (size // len(unit))


HOSTILE = {
    "blanks": "# a" + " " * 500_000,
    "brackets": "# " + "[" * 500_000,
    "angles": "# " + "<" * 500_000,
    "braces": "# a" + "{#" * 250_000,
    "braces and blanks": "# a" + filled(" " * 99 + "{#"),
    "many brackets": filled("# " + "[" * 600 + "\n"),
    "images": filled("# " + "![a](" * 120 + "\n"),
    "stars": filled("# " + "*a **b " * 80 + "\n"),
    "ticks": filled("# " + "".join("`" * n + "a" for n in range(34)) + "\n"),
    "hashes": "#" * 500_000,
    "short headings": filled("# *a*\n"),
    "no headings": filled("#\n"),
    "underlines": filled("a\n-\n"),
    "lists": filled("- a\n") + "# A",
    "deep lists": filled("- " * 30 + "a\n") + "# A",
    "lazy": "> " * 9 + "- " * 5 + "a\n" + filled("b\n") + "# A",
    "definitions": filled("[a]: x\n") + "# A",
    "an open title": "[a]: x '" + filled("a\n") + "# A",
    "html": filled("<div>\n\n") + "# A",
    "dashes": "a\n" + "-" * 500_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_time_does_not_grow_with_the_square(kind):
    began = time.perf_counter()
    found = outline(HOSTILE[kind])
    assert len(found.title) < 1_000
    assert time.perf_counter() - began < 15  # about 1 at most; the square of it takes minutes
