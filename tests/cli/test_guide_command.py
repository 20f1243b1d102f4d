"""`hybrid-search guide`: what it lists, how it shows a page, and what it says of a topic that there is not."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from hybrid_search import guide
from hybrid_search.cli import guide as command
from tests.cli.test_completion import offered


def test_it_lists_every_topic_with_its_first_sentence(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    done = run("guide")
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == list(guide.topics())
    assert any("Narrow a search to the chunks that pass a condition" in line for line in lines)
    assert "guide TOPIC" in done.err


@pytest.mark.parametrize("topic", guide.topics())
def test_elsewhere_than_on_a_terminal_a_page_is_its_markdown(run, topic):
    done = run("guide", topic)
    assert (done.code, done.out, done.err) == (0, guide.page(topic), "")
    assert "<!--" not in done.out


def test_the_page_for_agents_keeps_its_front_matter(run):
    assert run("guide", "agents").out.startswith("---\nname: hybrid-search\n")


@pytest.mark.parametrize("topic", guide.topics())
@pytest.mark.parametrize("width", [40, 120])
def test_on_a_terminal_a_page_is_laid_out(run, monkeypatch, topic, width):
    screen = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(command, "out", screen)
    assert run("guide", topic).code == 0
    shown = screen.file.getvalue()
    assert "```" not in shown
    assert "<!--" not in shown
    assert "description:" not in shown
    assert ".md)" not in shown
    assert max(map(cell_len, shown.splitlines())) <= width


@pytest.mark.parametrize("name", ["Filters", "FILTERS.md", " filters "])
def test_a_topic_is_found_however_it_is_written(run, name):
    assert run("guide", name).out == guide.page("filters")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("filtrs", "filters"), ("larg-jobs", "large-jobs"), ("explian", "explain"), ("Mdels", "models")],
)
def test_an_unknown_topic_names_the_nearest_and_all(run, name, nearest):
    done = run("guide", name)
    assert (done.code, done.out) == (2, "")
    assert f"no topic {name!r}" in done.err
    assert f"Did you mean {nearest!r}?" in done.err
    assert all(topic in done.err for topic in guide.topics())


@pytest.mark.parametrize("name", ["", "zzzzzz", "../errors", "__init__", "\x1b[31m", "猫" * 500, "a/b", "\udcff"])
def test_odd_topics_are_refused(run, name):
    done = run("guide", name)
    assert (done.code, done.out) == (2, "")
    assert "Did you mean" not in done.err
    assert "\x1b" not in done.err


def test_topics_are_offered_to_a_shell(run):
    assert offered("guide la") == ["langchain", "large-jobs"]
    assert set(offered("guide ")) == set(guide.topics())


def test_a_page_that_there_is_not_is_an_error():
    with pytest.raises(KeyError, match="nothing"):
        guide.page("nothing")
