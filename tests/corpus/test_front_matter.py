"""Front matter: what becomes metadata, as it is written, and that everything else stays in the text."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_search.corpus import front_matter as module
from hybrid_search.corpus.front_matter import front_matter
from hybrid_search.corpus.text import read_text
from hybrid_search.store.schema import clean_metadata


@pytest.fixture(params=["libyaml", "python"])
def loader(request, monkeypatch):
    """Both parsers of PyYAML: the quick one is not there on every system."""
    if request.param == "python":
        monkeypatch.setattr(module, "_LOADER", yaml.SafeLoader)
    return request.param


@pytest.mark.parametrize(
    ("block", "values"),
    [
        ("tags: [rodents, alps]", {"tags": ["rodents", "alps"]}),
        ("tags:\n- rodents\n- alps", {"tags": ["rodents", "alps"]}),
        ("tags:\n  - name: a\n    n: 1\n  - b", {"tags": [{"name": "a", "n": 1}, "b"]}),
        ("author: {name: Ann, born: 1950}", {"author": {"name": "Ann", "born": 1950}}),
        ("author:\n  name: Ann\n  born: 1950", {"author": {"name": "Ann", "born": 1950}}),
        ("summary: >\n  two\n  lines\nnext: 1", {"summary": "two lines\n", "next": 1}),
        ("summary: |-\n  two\n  lines", {"summary": "two\nlines"}),
        ("summary: goes\n  on here", {"summary": "goes on here"}),
        ("a: 'it''s'\nb: \"tab\\t\"\nc: \"a: b\"", {"a": "it's", "b": "tab\t", "c": "a: b"}),
        ("a: 'true'\nb: \"7\"\nc: !!str 7", {"a": "true", "b": "7", "c": "7"}),
        ("a: 7 # seven\n# a line\nb: x#y", {"a": 7, "b": "x#y"}),
        ("a: ~\nb:\nc: null\nd: [~, 1]", {"d": [None, 1]}),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("1: one\nschlüssel: wert\n漢: 字", {"1": "one", "schlüssel": "wert", "漢": "字"}),
        (
            "country: NO\nswitch: on\nsure: yes\nflag: True",
            {"country": "NO", "switch": "on", "sure": "yes", "flag": True},
        ),
        (
            "version: 1.10\nprice: 4.5\nbig: 12345678901234567890",
            {"version": "1.10", "price": 4.5, "big": "12345678901234567890"},
        ),
        (
            "time: 12:30\nlong: 190:20:30\nmode: 0755\nhex: 0x1F",
            {"time": "12:30", "long": "190:20:30", "mode": "0755", "hex": "0x1F"},
        ),
        (
            "n: 1_000\ne: 1e3\ni: .inf\nx: -0\nplus: +5",
            {"n": "1_000", "e": "1e3", "i": ".inf", "x": "-0", "plus": "+5"},
        ),
        ("date: 2020-01-02\nat: 2020-01-02 03:04:05 -0500", {"date": "2020-01-02", "at": "2020-01-02T03:04:05-05:00"}),
        ("at: 2020-01-02t03:04:05.5z", {"at": "2020-01-02T03:04:05.5Z"}),
        ("<<: {a: 1}\na: 2", {"<<": {"a": 1}, "a": 2}),
    ],
)
@pytest.mark.parametrize("close", ["---", "...", "--- \t"])
def test_yaml_becomes_metadata_as_it_is_written(loader, block, values, close):
    text = f"---\n{block}\n{close}\nBody --- and more\n---\n"
    assert front_matter(text) == (values, "Body --- and more\n---\n")


@pytest.mark.parametrize("fence", ["---", "+++"])
def test_empty_front_matter_goes(loader, fence):
    assert front_matter(f"{fence}\n{fence}\nBody") == ({}, "Body")


def test_toml_becomes_metadata(loader):
    block = "title = 'Tea'\ntags = ['a', 'b']\ndate = 2024-05-01\nat = 2024-05-01T10:00:00Z\nversion = 1.10\nx = nan\n"
    block += "[author]\nborn = 1950"
    assert front_matter(f"+++\n{block}\n+++\nBody") == (
        {
            "title": "Tea",
            "tags": ["a", "b"],
            "date": "2024-05-01",
            "at": "2024-05-01T10:00:00+00:00",
            "version": "1.10",
            "x": "nan",
            "author": {"born": 1950},
        },
        "Body",
    )


@pytest.mark.parametrize(
    "text",
    [
        "---\n\n# Harvest plan\n\nPlant the quinces in March.\n\n---\n\n# Second slide\n",
        "---\nPlant the quinces in March.\n---\nbody",
        "---\n\nNote: plant them in March.\n\n---\nbody",
        "---\n# Harvest plan\n---\nbody",
        "---\n- one\n- two\n---\nbody",
        "---\ntitle: not closed\n# Real",
        "---\ntitle: On: tea\n---\nbody",
        "---\nNext steps:\n---\nbody",
        "---\na: 1\na: 2\n---\nbody",
        "---\na: *nothing\n---\nbody",
        "---\na: &a [*a]\n---\nbody",
        "---\n? [1, 2]\n: 3\n---\nbody",
        "---\na: {{ page.title }}\n---\nbody",
        "---\na:\tb: c\n---\nbody",
        "---\na: [1\n---\nbody",
        "---\n%YAML 1.2\n---\na: 1\n---\nbody",
        "---\nbell: \a\n---\nbody",
        "+++\na =\n+++\nbody",
        "+++\na = 1\na = 2\n+++\nbody",
        "+++\na = 1\n---\nbody",
        "----\na: 1\n----\nbody",
        "---a: 1\n---\n",
        " ---\na: 1\n---\n",
        "\n---\na: 1\n---\n",
        "***\na: 1\n***\n",
        "---",
        "+++",
        "",
    ],
)
def test_what_is_no_mapping_stays_in_the_text(loader, text):
    assert front_matter(text) == ({}, text)


def laughs() -> str:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines)


HOSTILE = {
    "aliases": laughs(),
    "brackets": "a: " + "[" * 60_000,
    "braces": "a: " + "{a: " * 20_000,
    "dashes": "- " * 40_000,
    "questions": "? " * 40_000,
    "blanks": "a: b" + " " * 100_000 + "c",
    "colons": ":" * 60_000,
    "anchors": "&a " * 30_000,
    "backslashes": 'a: "' + "\\" * 60_000,
    "steps": "\n".join(" " * n + "a:" for n in range(200)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_yaml_stays_in_the_text_and_takes_no_time(loader, kind):
    text = f"---\n{HOSTILE[kind]}\n---\nbody"
    began = time.perf_counter()
    found, rest = front_matter(text)
    assert time.perf_counter() - began < 5
    assert (found, rest) in (({}, text), ({"a": HOSTILE["blanks"][3:]}, "body"))


@pytest.mark.parametrize(
    "block", ["a" + ".a" * 60_000 + " = 1", "a = " + "[" * 60_000, "a = " + "{b=" * 900 + "1" + "}" * 900]
)
def test_hostile_toml_stays_in_the_text_and_takes_no_time(block):
    text = f"+++\n{block}\n+++\nbody"
    began = time.perf_counter()
    assert front_matter(text) == ({}, text)
    assert time.perf_counter() - began < 5


def test_no_object_of_python_is_ever_made():
    found, _ = front_matter("---\na: !!python/object/apply:os.system ['true']\n---\n")
    assert found == {"a": ["true"]}


def test_a_list_is_no_title_and_reserved_names_are_kept():
    text = b"---\ntitle: [a, b]\npath: /tea\nsuffix: x\n---\n# Tea\n"
    [found] = read_text(text, origin="a.md", name="a.md")
    assert found.title == "Tea"
    assert found.metadata == {
        "title": ["a", "b"],
        "front_matter": {"path": "/tea", "suffix": "x"},
        "path": "a.md",
        "suffix": ".md",
    }


@pytest.mark.parametrize(
    ("written", "title"), [("1984", "1984"), ("1.10", "1.10"), ("true", "true"), ("~\nyear: 1", "Tea"), ("' '", "Tea")]
)
def test_a_title_is_what_is_written(written, title):
    [found] = read_text(f"---\ntitle: {written}\n---\n# Tea\n".encode(), origin="a.md", name="a.md")
    assert (found.title, found.text) == (title, "# Tea\n")


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.sampled_from([*"ab:-[]{},&*!|>'\"#%@` \t", "\n", ": ", "- ", "1", "\u2028", "é", "\n---\n"]), max_size=60
    ).map("".join)
)
def test_nothing_is_lost_whatever_stands_there(block):
    text = f"---\n{block}\n---\nbody"
    found, rest = front_matter(text)
    assert text.endswith(rest)
    assert found or not text.removesuffix(rest).strip("-. \t\n")  # of nothing but fences at most
    assert clean_metadata(found) == found
