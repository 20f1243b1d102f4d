"""Pictures inside Markdown: cut out, counted, and their names kept, in a time that grows with the text alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_search.corpus.embedded import without_pictures
from hybrid_search.corpus.readers import read_all
from hybrid_search.types import PassedOver

DATA = "data:image/png;base64," + "iVBORw0KGgo" * 20 + "+/A=="


@pytest.mark.parametrize(
    ("text", "left", "count"),
    [
        ("See ![a cat]({}) there", "See a cat there", 1),
        ('See ![a cat]({} "A title") there', "See a cat there", 1),
        ("See ![a cat](<{}> 'A title' ) there", "See a cat there", 1),
        ("See ![a cat]( {}\n(A title)) there", "See a cat\n there", 1),
        ("![]({})![two]({}) ![three](three.png)", "two ![three](three.png)", 2),
        ("[![a cat]({})](http://x.y)", "[a cat](http://x.y)", 1),
        ("[the data]({})", "the data", 1),
        ("![a\ncat]({})", "a\ncat", 1),
        ('![a cat][1]\n\n[1]: {}\n[2]: <{}> "A title"\n[3]: http://x.y\n', "![a cat][1]\n\n\n\n[3]: http://x.y\n", 2),
        ('<img src="{}" alt="a cat">', "a cat", 1),
        ("<img\n width=5 alt='a \"cat\"' src='{}' class=x />there", 'a "cat"\nthere', 1),
        ("<IMG SRC={} ALT=cat>there", "catthere", 1),
        ('<p><img src="{}"/></p>', "<p></p>", 1),
        ("<img src='data:image/svg+xml;utf8,<svg xmlns=\"x\"><path/></svg>' alt=cat>", "cat", 1),
        ("```css\nurl({})\n```", "```css\nurl(data:image/png;)\n```", 1),
        ("![never closed]({}", "![never closed](data:image/png;", 1),
        (
            "data:image/png;base64,short and data:text/plain, words",
            "data:image/png;base64,short and data:text/plain, words",
            0,
        ),
        ("metadata: image/png; data: x", "metadata: image/png; data: x", 0),
        ("![a cat](cat.png) <img src=cat.png>", "![a cat](cat.png) <img src=cat.png>", 0),
        ("", "", 0),
    ],
)
def test_pictures_go_and_their_names_stay(text, left, count):
    assert without_pictures(text.replace("{}", DATA)) == (left, count)


def test_in_a_file_places_are_those_of_the_text_that_is_left(tmp_path):
    file = tmp_path / "a.md"
    file.write_text(f"---\ntitle: Cats\n---\n# One\n\n![a cat]({DATA})\n\n# Two\n\nMore.\n", encoding="utf-8")
    document, pictures = read_all([file])
    assert document.text == "# One\n\na cat\n\n# Two\n\nMore.\n"
    assert [document.text[place.start :][:5] for place in document.places] == ["# One", "# Two"]
    assert pictures == PassedOver(str(file), "images", 1)


UNITS = [
    "data:a/b;",
    "![a](data:a/b;",
    "![a](data:a/b,x (",
    '<img src="data:a/b;',
    '<img src="data:a/b;"',
    "[a]: data:a/b;",
]
UNITS += [
    "![",
    "](data:a/b,",
    "<img ",
    "<img src='data:a/b; ",
    '<img alt="',
    "![a](data:image/png;base64,AAAA",
    "[data:a/b;",
]


@pytest.mark.parametrize("unit", UNITS)
def test_the_time_does_not_grow_with_the_square(unit):
    began = time.perf_counter()
    without_pictures(unit * (500_000 // len(unit)))
    assert time.perf_counter() - began < 10  # about 1 at most


pieces = [
    "![",
    "[",
    "](",
    ")",
    "<img ",
    "src=",
    '"',
    "'",
    ">",
    "alt=x ",
    "]: ",
    "\n",
    " ",
    DATA,
    "data:a/b,",
    "word",
    "<",
    "(",
]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(pieces), max_size=25).map("".join))
def test_words_outside_stay(text):
    left, count = without_pictures(f"alpha {text} omega")
    assert left.startswith("alpha ")
    assert DATA not in left or count == 0
    assert count <= text.count("data:")
