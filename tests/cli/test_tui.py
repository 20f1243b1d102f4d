"""The full-screen search: what its keys do, what it shows, and that typing waits for nothing."""

import asyncio
import re
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from textual.widgets import OptionList, Static  # noqa: TID253

from hybrid_search.cli.tui import app as tui
from hybrid_search.cli.tui import command
from hybrid_search.cli.tui.app import SearchApp
from hybrid_search.cli.tui.dialogs import KEYS, Choose, Help
from hybrid_search.cli.tui.screenshot import pictured
from hybrid_search.collection import models
from hybrid_search.encoders import catalog
from hybrid_search.errors import CollectionNotFound
from hybrid_search.indexer import Indexer
from hybrid_search.results import Results
from hybrid_search.search import rerank
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.types import Document, ModelCard
from tests.cli.conftest import BM25
from tests.fake_models import FAKE_CARDS, Fakes

ROOT = Path(__file__).resolve().parents[2]
FRUIT = [
    ("a", "Apples", "Red apples grow on old trees. An apple a day."),
    ("b", "Pears", "Green pears are sweet in autumn, and pears keep until winter on cool shelves."),
    ("c", "Bananas", "Yellow bananas come by ship. No tree bears them."),
    ("d", "Plums", "Plums and pears stand on one old tree."),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory, model_cache):
    """A folder with a text file of four lines and a store, and the collection `orchard` in it, with two fake legs."""
    folder = tmp_path_factory.mktemp("tui")
    lines = folder / "fruit.txt"
    lines.write_text("one\ntwo\nthree\nfour\n")
    fakes, load = Fakes(), models.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "CARDS", (*catalog.CARDS, *FAKE_CARDS))
        patch.setattr(models, "load", lambda c, **o: fakes.load(c) if c.name.startswith("fake/") else load(c, **o))
        settings = Settings(store=str(folder / "store"), cache_dir=model_cache)
        documents = [
            Document(name, text, title, {"year": 2000 + at}, f"{lines}:{at}" if at < 4 else "")
            for at, (name, title, text) in enumerate(FRUIT, 1)
        ]
        Indexer.open("orchard", settings=settings, sparse="fake/both", dense="fake/both").index(documents)
        yield SimpleNamespace(lines=lines, settings=settings)


@pytest.fixture
def orchard(place):
    """What opens the collection."""
    return lambda name: Searcher.open(name, settings=place.settings)


def drive(app, play, size=(120, 40)):
    """Run an app without a terminal, and the steps in `play` on it; gives the app once it has ended."""

    async def whole():
        async with app.run_test(size=size) as pilot:
            await play(pilot)
        return app

    return asyncio.run(whole())


async def until(pilot, holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come"
        await pilot.pause(0.01)


async def settled(pilot):
    """Wait for the answer to what the screen asks now."""
    await until(pilot, lambda: pilot.app.shown is not None and pilot.app.shown.state == pilot.app.state)
    await pilot.pause()


async def typed(pilot, text):
    await pilot.press(*("space" if sign == " " else sign for sign in text))
    await settled(pilot)


def ids(app):
    return [hit.doc_id for hit in app.shown.results]


def words(app, selector):
    """What stands in a part of the screen."""
    part = app.screen_stack[0].query_one(selector)
    if isinstance(part, OptionList):
        return "\n".join(str(option.prompt) for option in part.options)
    return str(part.render()) if part.display else ""


# ---------------------------------------------------------------- typing and what it brings


def test_typing_brings_hits_with_their_evidence(orchard):
    async def play(pilot):
        await typed(pilot, "old pears")
        assert pilot.app.search_modes == ("hybrid", "sparse", "dense")
        listed = words(pilot.app, "#hits")
        assert re.search(r" 2 Plums\n +sparse 1  dense \d  pears old", listed), listed
        assert "4 hits" in words(pilot.app, "#outcome")
        assert "legs hybrid (sparse + dense)   fusion rrf   re-rank off   filter none" in words(pilot.app, "#controls")
        await pilot.press("down")
        await pilot.pause()
        preview = words(pilot.app, "#text")
        assert preview.startswith("Plums\nd")
        assert "year 2004" in preview
        assert "Plums and pears stand on one old tree." in preview
        hit = pilot.app.shown.results[1]
        assert words(pilot.app, "#path").startswith("sparse 1 (")
        assert f"sum {hit.legs['sparse'].score:.2f} in sparse" in words(pilot.app, "#bars")
        assert "◉" in words(pilot.app, "#plot")

    drive(SearchApp(["orchard"], orchard), play)


def test_the_list_is_walked_and_everything_beside_it_follows(orchard):
    async def play(pilot):
        await typed(pilot, "old pears")
        await pilot.press("down", "down", "up")
        await pilot.pause()
        assert pilot.app.selected.doc_id == ids(pilot.app)[1]
        assert words(pilot.app, "#text").startswith(pilot.app.selected.title)
        await pilot.press(*["up"] * 9)
        assert pilot.app.hits.at == 0
        await pilot.press(*["down"] * 9)
        assert pilot.app.hits.at == 3

    drive(SearchApp(["orchard"], orchard), play)


def test_an_empty_query_has_a_hint_and_nothing_found_is_said(place):
    Indexer.open("words", settings=place.settings, sparse=BM25[1], dense="none").index([Document("a", "apples")])

    async def play(pilot):
        await until(pilot, lambda: pilot.app.search_modes)
        assert "Type to search" in words(pilot.app, "#nothing")
        await typed(pilot, "apples")
        assert words(pilot.app, "#nothing") == ""
        await typed(pilot, " x")
        await pilot.press(*["backspace"] * 8)
        await until(pilot, lambda: pilot.app.shown is None)
        assert "Type to search" in words(pilot.app, "#nothing")
        await typed(pilot, "zebra")
        assert "Nothing was found for “zebra”" in words(pilot.app, "#nothing")
        assert "no hits" in words(pilot.app, "#outcome")
        await pilot.press("ctrl+l", "ctrl+g", "ctrl+o", "ctrl+y", "down", "pagedown", "escape")
        assert pilot.app.field.value == ""

    drive(SearchApp(["words"], lambda name: Searcher.open(name, settings=place.settings)), play)


# ---------------------------------------------------------------- typing never waits


class Slow:
    """A searcher that answers when it is let, and remembers what it was asked."""

    manifest = SimpleNamespace(fused=lambda: ("dense",), legs={"dense": None}, search=None)

    def __init__(self):
        self.queries, self.begun, self.let, self.closed = [], threading.Semaphore(0), threading.Semaphore(0), False

    def warm_up(self):
        pass

    def search(self, query, **options):
        if query != "warm":
            self.queries.append(query)
            self.begun.release()
            assert self.let.acquire(timeout=30)
        return Results(query, "slow", "dense", options["k"], (), {"total": 1.0}, legs=("dense",))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True


class Watched(SearchApp):
    """Remembers the answers that were shown."""

    def __init__(self, *given, **options):
        super().__init__(*given, **options)
        self.seen = []

    def _answered(self, answered):
        self.seen.append(answered.results.query)
        super()._answered(answered)


def test_keys_are_heard_while_a_search_runs_and_its_stale_answer_is_dropped():
    slow = Slow()

    async def play(pilot):
        await pilot.press("a")
        await until(pilot, lambda: slow.queries == ["a"])
        await pilot.press("b", "c", "d")
        assert pilot.app.field.value == "abcd"
        await pilot.press("left", "backspace", "f1")
        assert isinstance(pilot.app.screen, Help)  # an answer that comes in meanwhile finds the screen below
        await pilot.pause(0.3)
        assert "searching" in words(pilot.app, "#outcome")
        assert slow.queries == ["a"]
        slow.let.release()
        await until(pilot, lambda: len(slow.queries) == 2)
        assert pilot.app.shown is None
        slow.let.release()
        await settled(pilot)
        assert slow.queries == ["a", "abd"]  # what was typed in between was never searched
        assert pilot.app.seen == ["abd"]

    drive(Watched(["slow"], lambda name: slow), play)
    assert slow.closed


def test_what_is_typed_while_the_models_load_is_answered_then():
    gate, slow = threading.Event(), Slow()
    slow.let.release(9)

    def opened(name):
        assert gate.wait(30)
        return slow

    async def play(pilot):
        assert "loading the models" in words(pilot.app, "#outcome")
        assert "Loading" in words(pilot.app, "#nothing")
        await pilot.press("a", "b", "ctrl+l", "ctrl+g")
        await pilot.pause(0.3)
        assert "loading the models" in words(pilot.app, "#outcome")
        gate.set()
        await settled(pilot)
        assert slow.queries[-1] == "ab"

    drive(SearchApp(["slow"], opened), play)


@pytest.mark.parametrize("key", ["ctrl+c", "ctrl+q"])
def test_leaving_ends_with_0_and_closes_the_searcher(key):
    slow = Slow()
    slow.let.release(9)

    async def play(pilot):
        await typed(pilot, "a")
        await pilot.press(key)
        await pilot.pause()

    app = drive(SearchApp(["slow"], lambda name: slow), play)
    assert app.return_code == 0
    assert slow.closed


# ---------------------------------------------------------------- legs, fusion, re-ranking, filter, pages


def test_legs_and_fusion_go_round_and_the_list_tells_its_moves(orchard):
    async def play(pilot):
        await typed(pilot, "old pears")
        kept = pilot.app.selected.doc_id
        for mode in ("sparse", "dense", "hybrid"):
            await pilot.press("ctrl+l")
            await settled(pilot)
            assert pilot.app.shown.results.mode == mode
            assert pilot.app.selected.doc_id == kept
            if mode == "dense":
                await pilot.press("ctrl+g")
                assert "nothing is fused" in words(pilot.app, "#message")
                assert "scores in dense" in words(pilot.app, "#plot")
                assert "found by meaning" in words(pilot.app, "#bars")
        assert re.search(r" 1 [·▲▼]", words(pilot.app, "#hits"))
        for fusion in ("dbsf", "minmax", "convex", "rrf"):
            await pilot.press("ctrl+g")
            await settled(pilot)
            assert f"fusion {fusion}" in words(pilot.app, "#controls")

    drive(SearchApp(["orchard"], orchard), play)


class Backwards:
    """A re-ranker that likes the last first."""

    card = ModelCard("fake/backwards", "reranker", "bundled", "cross_encoder")

    def warm_up(self):
        pass

    def __init__(self):
        self.read = 0

    def score(self, query, texts):
        if query == "warm":
            return np.zeros(1, np.float32)
        self.read += len(texts)
        return np.arange(self.read - len(texts), self.read, dtype=np.float32)


def test_reranking_shows_the_ranks_before_and_after(orchard, monkeypatch):
    monkeypatch.setattr(catalog, "CARDS", (*catalog.CARDS, Backwards.card))
    monkeypatch.setattr(rerank, "default_name", lambda settings: "fake/backwards")
    monkeypatch.setattr(rerank, "load", lambda card, **options: Backwards())

    async def play(pilot):
        await typed(pilot, "old pears")
        first = ids(pilot.app)
        await pilot.press("ctrl+r")
        await settled(pilot)
        assert ids(pilot.app) == first[::-1]
        assert "re-rank on" in words(pilot.app, "#controls")
        assert f" 1 ▲{len(first) - 1}" in words(pilot.app, "#hits")
        assert pilot.app.selected.doc_id == first[0]
        assert "→  fused 1 (" in words(pilot.app, "#path")
        assert "→  re-ranked 4 (0.000)" in words(pilot.app, "#path")
        await pilot.press("ctrl+r")
        await settled(pilot)
        assert ids(pilot.app) == first

    drive(SearchApp(["orchard"], orchard), play)


def test_without_a_reranker_it_says_so_and_goes_on(orchard, environment):
    async def play(pilot):
        await typed(pilot, "old pears")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "Nothing can be re-ranked" in words(pilot.app, "#message"))
        await settled(pilot)
        assert "Nothing can be re-ranked" in words(pilot.app, "#message")
        assert "re-rank off" in words(pilot.app, "#controls")
        assert len(pilot.app.shown.results) == 4
        await typed(pilot, " x")
        assert words(pilot.app, "#message") == ""

    drive(SearchApp(["orchard"], orchard), play)


def test_a_filter_is_edited_and_a_wrong_one_is_marked_where_it_is_wrong(orchard):
    async def play(pilot):
        app = pilot.app
        await typed(pilot, "old pears")
        await pilot.press("ctrl+f")
        await typed(pilot, "year > 2002")
        assert sorted(ids(app)) == ["c", "d"]
        app.filter.field.value = "year > 2002 and year < x"
        await until(pilot, lambda: words(app, "#fault"))
        fault = words(app, "#fault").splitlines()[0]
        assert fault.index("▲") == app.filter.LABEL + len("year > 2002 and year < ")
        assert sorted(ids(app)) == ["c", "d"]
        app.filter.field.value = "yaer > 1"
        await until(pilot, lambda: "yaer" in words(app, "#fault"))
        assert "year" in words(app, "#fault")
        assert sorted(ids(app)) == ["c", "d"]
        await pilot.press("escape")
        await settled(pilot)
        assert (app.filter.field.value, words(app, "#fault")) == ("year > 2002", "")
        assert app.field.has_focus
        assert app.filter.display
        await pilot.press("ctrl+f", *["backspace"] * 4)
        app.filter.field.value = "year > 3000"
        await settled(pilot)
        assert "year > 3000" in words(app, "#nothing")
        app.filter.field.value = ""
        await settled(pilot)
        await pilot.press("enter")
        assert len(app.shown.results) == 4
        assert not app.filter.display

    drive(SearchApp(["orchard"], orchard), play)


def test_hits_come_in_pages(orchard):
    async def play(pilot):
        await typed(pilot, "old pears")
        first = ids(pilot.app)
        await pilot.press("pagedown")
        await settled(pilot)
        assert pilot.app.shown.state.offset == 2
        assert [hit.rank for hit in pilot.app.shown.results] == [3, 4]
        assert "hits 3–4" in words(pilot.app, "#outcome")
        await pilot.press("pagedown")
        await until(pilot, lambda: "no more hits" in words(pilot.app, "#message"))
        assert (pilot.app.state.offset, len(pilot.app.shown.results)) == (2, 2)
        await pilot.press("pageup")
        await settled(pilot)
        assert ids(pilot.app) == first
        await pilot.press("pageup")
        assert pilot.app.state.offset == 0
        await pilot.press("pagedown")
        await settled(pilot)
        await pilot.press("ctrl+l")
        await settled(pilot)
        assert pilot.app.shown.results.offset == 0

    drive(SearchApp(["orchard"], orchard, k=2), play)


# ---------------------------------------------------------------- out of the screen: editor, citation


def test_a_document_is_opened_in_the_editor_at_its_line(orchard, place, monkeypatch):
    ran = []
    monkeypatch.setattr(tui.subprocess, "run", lambda command, check: ran.append(command))
    monkeypatch.setenv("VISUAL", "vim")
    monkeypatch.setattr(SearchApp, "suspend", lambda self: nullcontext())

    async def play(pilot):
        await typed(pilot, "green sweet pears")
        assert pilot.app.selected.doc_id == "b"
        await pilot.press("ctrl+o")
        assert ran == [["vim", "+2", str(place.lines)]]
        place.lines.rename(place.lines.with_suffix(".away"))
        await pilot.press("ctrl+o")
        place.lines.with_suffix(".away").rename(place.lines)
        assert "no such file" in words(pilot.app, "#message")
        await pilot.press("escape")
        await typed(pilot, "plums")
        await pilot.press("ctrl+o")
        assert "no file to open" in words(pilot.app, "#message")
        assert len(ran) == 1

    drive(SearchApp(["orchard"], orchard), play)


def test_an_editor_that_is_not_there_is_said(orchard, monkeypatch):
    monkeypatch.setenv("VISUAL", "no-such-editor-here")
    monkeypatch.setattr(SearchApp, "suspend", lambda self: nullcontext())

    async def play(pilot):
        await typed(pilot, "apples")
        await pilot.press("ctrl+o")
        assert "no-such-editor-here" in words(pilot.app, "#message")

    drive(SearchApp(["orchard"], orchard), play)


def test_a_hit_is_copied_as_a_citation(orchard, place):
    async def play(pilot):
        await typed(pilot, "apples")
        await pilot.press("ctrl+y")
        quoted = "“Red apples grow on old trees. An apple a day.”"
        assert pilot.app.clipboard == f"Apples. a. {place.lines}:1.\n{quoted}\n"
        assert "Copied" in words(pilot.app, "#message")

    drive(SearchApp(["orchard"], orchard), play)


# ---------------------------------------------------------------- collections, errors, sizes, help


def test_several_collections_are_chosen_from(orchard):
    async def play(pilot):
        assert isinstance(pilot.app.screen, Choose)
        await pilot.press("down", "enter")
        await pilot.pause()
        assert "orchard" in str(pilot.app.field.border_title)
        await typed(pilot, "apples")
        assert ids(pilot.app)[0] == "a"

    drive(SearchApp(["elsewhere", "orchard"], orchard), play)


def test_a_collection_that_cannot_be_opened_is_a_message(settings):
    async def play(pilot):
        await until(pilot, lambda: "No collection 'gone'" in words(pilot.app, "#message"))
        await pilot.press("a", "ctrl+r", "ctrl+l")
        await pilot.pause(0.1)

    app = drive(SearchApp(["gone"], lambda name: Searcher.open(name, settings=settings)), play)
    assert app.return_code is None or app.return_code == 0


def test_an_error_of_a_search_is_a_message_and_the_last_answer_stays():
    slow = Slow()
    slow.let.release(9)
    answer = slow.search

    def failing(query, **options):
        if query == "ab":
            raise CollectionNotFound("x", (), "y")
        if query == "abc":
            raise RuntimeError("oh")
        return answer(query, **options)

    slow.search = failing

    async def play(pilot):
        await typed(pilot, "a")
        await pilot.press("b")
        await until(pilot, lambda: "No collection 'x'" in words(pilot.app, "#message"))
        assert pilot.app.shown.results.query == "a"
        await pilot.press("c")
        await until(pilot, lambda: "RuntimeError: oh. This is a fault of ours" in words(pilot.app, "#message"))
        await typed(pilot, "d")
        assert words(pilot.app, "#message") == ""

    drive(SearchApp(["slow"], lambda name: slow), play)


@pytest.mark.parametrize("size", [(60, 20), (60, 45), (100, 24), (200, 60), (30, 10), (12, 5)])
def test_any_size_will_do(orchard, size):
    async def play(pilot):
        await typed(pilot, "old pears")
        await pilot.press("down", "shift+down", "ctrl+f", "y", "enter", "f1", "escape")
        await pilot.resize_terminal(size[0] + 45, size[1] + 15)
        await pilot.pause()
        await pilot.resize_terminal(*size)
        await pilot.pause()
        assert len(pilot.app.shown.results) == 4

    drive(SearchApp(["orchard"], orchard), play, size)


def test_at_sixty_columns_hits_and_document_stand_one_above_the_other(orchard):
    async def play(pilot):
        await typed(pilot, "old pears")
        hits, text = pilot.app.screen.query_one("#hits").region, pilot.app.screen.query_one("#text", Static).region
        assert hits.bottom <= text.y
        assert hits.height >= 5
        assert hits.width == 60

    drive(SearchApp(["orchard"], orchard), play, (60, 24))


def test_texts_cannot_reach_the_terminal(place):
    wild = Document(
        "w\x1b[2J",
        "pears \x1b]52;c;aGk=\x07 [bold]pears[/] \x9b2J\r",
        title="[red]T\x1b[0m\n",
        metadata={"\x1b": "\x1b"},
    )
    Indexer.open("wild", settings=place.settings, sparse="fake/both", dense="fake/both").index([wild])

    async def play(pilot):
        await typed(pilot, "pears")
        shown = "".join(words(pilot.app, part) for part in ("#hits", "#text"))
        assert "[bold]pears[/]" in shown
        assert not set(shown) & set("\x1b\x07\x9b\r")

    drive(SearchApp(["wild"], lambda name: Searcher.open(name, settings=place.settings)), play)


def test_help_names_every_key():
    told = " ".join(keys for keys, _ in KEYS).lower().replace("ctrl+", "^").split()
    for binding in SearchApp.BINDINGS:
        for key in binding.key.split(","):
            short = (
                key.replace("ctrl+", "^").replace("pagedown", "pgdn").replace("pageup", "pgup").replace("escape", "esc")
            )
            short = (
                short.replace("shift+up", "shift+↑").replace("shift+down", "↓").replace("up", "↑")
                if "pg" not in short
                else short
            )
            assert short.replace("down", "↓") in told or key == "f1", key


# ---------------------------------------------------------------- the verb, the picture


@pytest.fixture
def screens(monkeypatch):
    """A terminal that is there, and an app that only remembers how it was called."""
    made = []
    monkeypatch.setattr(command, "on_terminal", lambda: True)
    monkeypatch.setattr(SearchApp, "run", lambda self: made.append((self._names, self.state.k)))
    return made


def test_it_needs_a_terminal(run, fruit):
    ended = run("tui", "-c", "fruit")
    assert (ended.code, ended.out) == (2, "")
    assert "needs a terminal" in ended.err
    assert "hybrid-search search QUERY" in ended.err


def test_it_needs_its_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "textual", None)
    ended = run("tui")
    assert ended.code == 3
    assert "pip install 'hybrid-search-qdrant[tui]'" in ended.err


def test_the_verb_checks_what_search_checks(run, fruit, screens):
    assert "No collection 'froot'" in run("tui", "-c", "froot").err
    assert "built with" in run("tui", "-c", "fruit", "--profile", "bundled").err
    ended = run("tui", "-c", "fruit", "-k", "0")
    assert (ended.code, "k is 0" in ended.err) == (2, True)
    assert screens == []


def test_the_only_collection_is_taken_and_several_are_offered(run, jsonl, screens):
    ended = run("tui")
    assert ended.code == 3
    assert "hybrid-search index SOURCE -c NAME" in ended.err
    file = jsonl([{"_id": "a", "text": "apples"}])
    for name in ("one", "two"):
        run("index", file, "-c", name, *BM25)
        assert run("tui", "-k", "7").code == 0
    assert run("tui", "-c", "two").code == 0
    assert screens == [(("one",), 7), (("one", "two"), 7), (("two",), 20)]


def test_the_picture_shows_the_screen_and_fetches_nothing(orchard):
    svg = asyncio.run(pictured(SearchApp(["orchard"], orchard), "old pears", (100, 40)))
    assert "Plums" in svg
    assert "url(http" not in svg.replace('"', "")
    assert "@import" not in svg
