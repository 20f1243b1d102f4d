"""Which lines of Markdown are headings, and the paths of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.corpus.headings import MAX_HEADING, heading_places, headings


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# A\n### B ###\n## C", [(0, 1, "A"), (4, 3, "B"), (14, 2, "C")]),
        ("A\n===\nB\n---\n", [(0, 1, "A"), (6, 2, "B")]),
        ("```\n# A\n```\n~~~\n## B\n```\n~~~\n#### C", [(29, 4, "C")]),
        ("####### seven\n#hash\n    # code\n#\n", []),
        ("- item\n---\n\n> said\n---\n\n1. one\n---\n", []),
        ("two lines\nof text\n---\n\n---\n", []),
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
        ("x" * 500, "x" * MAX_HEADING),
    ],
)
def test_a_heading_is_shown_without_its_markup(heading, shown):
    assert [place.metadata for place in heading_places("# " + heading)] == [{"heading": shown}]


def test_a_heading_ends_those_of_its_level_and_below():
    text = "intro\n### Deep\n# A\n## B\n#### C\n## D\n# E\n"
    assert [place.metadata["heading"] for place in heading_places(text)] == [
        "Deep",
        "A",
        "A > B",
        "A > B > C",
        "A > D",
        "E",
    ]


@given(
    st.lists(st.sampled_from(["# a", "## b", "c", "===", "---", "```", "", "- d", "\\"]), max_size=12).map("\n".join)
)
def test_starts_are_places_of_the_text(text):
    starts = [heading.start for heading in headings(text)]
    assert starts == sorted(set(starts))
    assert all(text[found.start :].split("\n")[0].lstrip("# ").startswith(found.text) for found in headings(text))
