"""Every figure that README and the guide show is a row of tests/benchmarks/figures.json, shown as it stands there.

A figure is marked behind the number, `<!-- figure: ID -->`, or at the end of a line with several, in their order:
`<!-- figures: ID ID -->`.
"""

from __future__ import annotations

import re
from datetime import date

import pytest

from tests.benchmarks.figures import MARKER, from_files, from_results, stored
from tests.conftest import ROOT
from tests.pages import OUTSIDE, PAGES, calls, prose, wrong_with

pytestmark = pytest.mark.skipif(not OUTSIDE, reason="there is no checkout")

FIGURES = {row.id: row for row in stored()}
NUMBER = re.compile(r"(?<![\w.,])\d[\d,]*(?:\.\d+)?(?![\w.]*\d)")
MEASURED = re.compile(
    r"(?<![\w.,-])(?:"
    r"\d+\.\d+ times|0\.\d{3,}|p [=<] ?0\.\d+|\d[\d,.]* (?:films|MB|GB|ms|seconds|minutes|hours|s)\b"
    r"|\d[\d,.]* \w+ (?:a|per) second|\d[\d,.]*(?:/s| %|%))"
)
"""What looks like something that was measured."""

BOUNDS = {
    "evaluation": {"95 %": "hybrid_search.evaluation.significance.CONFIDENCE"},
    "mcp": {"1 MB": "hybrid_search.integrations.mcp.bounds.MAX_ANSWER"},
    "models": {"3 s": "hybrid_search.encoders.hub.hub_answers"},
    "precision": {"0.9999": "tests/encoders/test_precision.py holds it"},
    "python": {"5 ms": "tests/test_async.py holds it"},
}
"""Numbers with a unit that nobody measured: what the code keeps to, and where."""


def marked(page):
    """What a page marks: the number before each marker, with the id it is given."""
    for line in re.sub(r"`[^`\n]*`", "", prose(page)).splitlines():
        begin = 0
        for marker in MARKER.finditer(line):
            ids = marker[1].split()
            numbers = NUMBER.findall(line[begin : marker.start()])[-len(ids) :]
            begin = marker.end()
            assert len(numbers) == len(ids), (page.stem, line)
            yield from zip(ids, numbers, strict=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_marked_number_is_the_value_of_its_row(page):
    """Rounded to the digits that are shown."""
    for name, shown in marked(page):
        assert name in FIGURES, name
        digits = len(shown.partition(".")[2])
        rounded = f"{FIGURES[name].value:,.{digits}f}"
        assert shown == rounded, (name, shown, FIGURES[name].value)


def test_each_row_is_shown_somewhere():
    shown = {name for page in PAGES for name, _ in marked(page)}
    assert shown == set(FIGURES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_looks_measured_is_marked(page):
    for line in re.sub(r"`[^`\n]*`", "", prose(page)).splitlines():
        found = [match for match in MEASURED.findall(MARKER.sub("", line)) if match not in BOUNDS.get(page.stem, {})]
        numbers = sum(len(marker.split()) for marker in MARKER.findall(line))
        assert len(found) <= numbers, (line, found)


def test_rows_are_whole():
    for row in FIGURES.values():
        assert re.fullmatch(r"[\w.]+", row.id)
        assert isinstance(row.value, int | float)
        assert row.unit
        assert row.machine
        assert date(2026, 1, 1) <= date.fromisoformat(row.date)


@pytest.mark.parametrize("command", sorted({row.command for row in FIGURES.values()}))
def test_each_command_exists(command):
    if command.startswith("python "):
        assert (ROOT / command.split()[1]).is_file()
    else:
        [call] = calls(command)
        assert wrong_with(call) == ""


def test_the_rows_of_benchmarks_are_those_of_their_newest_results():
    for row in (*from_files(), *from_results()):
        if row.id in FIGURES:
            assert FIGURES[row.id].value == row.value, row.id
