"""The search page, as a reader with a keyboard finds it, in a headless Chromium."""

from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="needs the serve extra")
pytest.importorskip("uvicorn", reason="needs the serve extra")

from hybrid_search.indexer import Indexer
from hybrid_search.integrations.http import create_app
from hybrid_search.types import Document
from tests.integrations import chromium
from tests.integrations.conftest import FILMS, serving

pytestmark = pytest.mark.skipif(chromium.found() is None, reason="needs Chromium on the path")
KEY = "open sesame"
CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser():
    with chromium.Browser.start() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(films):
    with serving(create_app(settings=films)) as server:
        yield server


@pytest.fixture
def page(browser, server):
    """The page, freshly opened; nothing may be logged as an error, or asked of another host."""
    browser.events.clear()
    browser.look()
    browser.open(server.url + "/")
    browser.wait("document.querySelector('.note')")
    yield browser
    assert [said for said in browser.complaints() if "422" not in said.get("text", "")] == []
    assert {url.split("/")[2] for url in browser.fetched() if not url.startswith("data:")} == {server.url.split("/")[2]}


def search(page, words):
    page.run("document.querySelector('#query').value = ''")
    page.run("document.querySelector('#query').focus()")
    page.type(words)
    page.press("Enter")


def test_a_search_by_keyboard_shows_hits_with_their_evidence(page):
    assert page.run("document.activeElement.id") == "query"  # one can type at once
    assert "6 documents" in page.run("document.querySelector('.note').innerText")
    page.type("music on an island")
    page.press("Enter")
    page.wait("document.querySelectorAll('.hit').length === 6")
    first = page.run("document.querySelector('.hit').innerText")
    assert "sparse" in first
    assert "rank 1" in first
    assert "fused 0.0" in first
    marks = page.run("[...document.querySelectorAll('.hit mark.literal')].map((one) => one.textContent.toLowerCase())")
    assert set(marks) >= {"music", "island"}
    assert page.run("location.search") == "?query=music+on+an+island&collection=films&mode=hybrid"
    assert "for “music on an island”" in page.run("document.querySelector('[role=status]').textContent")
    assert "encode" in page.run("document.querySelector('#times').textContent")
    page.press("ArrowDown")
    page.press("ArrowDown")
    assert page.run("[...document.querySelectorAll('.hit')].indexOf(document.activeElement)") == 1
    page.press("/")
    assert page.run("document.activeElement.id") == "query"


def test_what_is_in_a_document_is_text_and_offsets_count_characters(page):
    search(page, "emoji music")
    page.wait("document.querySelector('.hit')")
    odd = "[...document.querySelectorAll('.hit')].find((hit) => hit.innerText.includes('Odd'))"
    assert page.run(f"{odd}.querySelector('h2').textContent") == "Odd <b>"
    assert FILMS["odd"] in page.run(f"{odd}.querySelector('.text').textContent")
    # The mark stands behind an emoji, which is two halves in JavaScript.
    assert page.run(f"[...{odd}.querySelectorAll('mark')].map((one) => one.textContent)") == ["emoji", "music"]


def test_no_sign_of_a_document_turns_or_hides_letters(browser, models, settings):
    """Controls, overrides and isolates of bidirectional text, tags: in every field that is shown."""
    odd = "emoji \x1b[2J\x07 \x9b \x7f \u202egnp.exe\u202c \u2066x\u2069 \U000e0041 music"
    marked = f"music 🎬 {odd} music"
    Indexer.open("signs", settings=settings, sparse="fake/both", dense="fake/both").index(
        [Document(f"id{odd[6:20]}", marked, odd, {odd[6:20]: odd[6:30], "year": 1999}, f"{odd}/{odd}")]
    )
    with serving(create_app(settings=settings)) as server:
        browser.open(server.url + "/?query=music")
        browser.wait("document.querySelector('.hit')")
        browser.run("document.querySelectorAll('.more button').forEach((one) => one.click())")
        browser.wait("document.querySelector('.words tbody tr')")
        shown = browser.run("document.documentElement.outerHTML")
        assert not {sign for sign in odd if not sign.isprintable()} & set(
            shown.partition("<body>")[2].partition("<script>")[0]
        )
        assert "gnp.exe" in shown
        assert browser.run("document.querySelector('.hit .text').textContent").count("\ufffd") == 9
        assert browser.run("[...document.querySelectorAll('.hit mark')].map((one) => one.textContent)") == ["music"] * 3
        browser.open(server.url + "/?query=music&where=nofield%1b%e2%80%ae%3D1")
        browser.wait("document.querySelector('[role=alert]')")
        assert not set("\x1b\u202e") & set(browser.run("document.querySelector('[role=alert]').textContent"))


def test_the_words_of_a_hit_are_told_when_asked_for(page):
    search(page, "drummer school")
    page.wait("document.querySelector('.hit')")
    assert not page.run("document.querySelector('.words')")
    page.run(
        "[...document.querySelectorAll('.more button')].find((one) => one.textContent === 'Matched words').focus()"
    )
    page.press("Enter")
    page.wait("document.querySelector('.words tbody tr')")
    assert page.run("document.activeElement.getAttribute('aria-expanded')") == "true"
    parts = page.run("[...document.querySelectorAll('.words tr td:last-child')].map((one) => Number(one.textContent))")
    score = page.run("document.querySelector('.leg.sparse').textContent.match(/\\(([\\d.,]+)\\)/)[1]")
    assert sum(parts) == pytest.approx(float(score.replace(",", "")), abs=0.05)


def test_mode_collection_and_filter_are_chosen_and_the_way_back_works(page):
    search(page, "music")
    page.wait("document.querySelectorAll('.hit').length === 6")
    page.run("document.querySelector('#modes input[value=sparse]').click()")
    page.wait("document.querySelector('.hit') && document.querySelector('#status').textContent.includes('sparse')")
    assert "dense" in page.run("document.querySelector('.leg.none').textContent")
    assert "not asked" in page.run("document.querySelector('.leg.none').textContent")
    page.run("document.querySelector('#where').value = 'year < 1981'")
    page.run("document.querySelector('#form').requestSubmit()")
    page.wait("document.querySelector('.note')")
    assert "The filter may keep everything out" in page.run("document.querySelector('.note').innerText")
    page.run("history.back()")
    page.wait("document.querySelectorAll('.hit').length === 3")
    assert page.run("document.querySelector('#where').value") == ""
    page.run("document.querySelector('#collection').value = 'words'")
    page.run("document.querySelector('#collection').dispatchEvent(new Event('change'))")
    page.wait("location.search.includes('words')")
    assert page.run("[...document.querySelectorAll('#modes input')].map((one) => one.value)") == ["sparse"]


def test_a_wrong_filter_is_told_with_its_place(page):
    search(page, "music")
    page.wait("document.querySelector('.hit')")
    page.run("document.querySelector('#where').value = 'yeer > 1'")
    page.run("document.querySelector('#form').requestSubmit()")
    page.wait("document.querySelector('[role=alert]')")
    said = page.run("document.querySelector('[role=alert]').textContent")
    assert "Did you mean year" in said
    assert "^" in said


def test_pages_are_turned(browser, films):
    with serving(create_app(settings=films)) as server:
        browser.open(server.url + "/?query=music&offset=10")
        browser.wait("document.querySelector('.note h2')?.textContent === 'No more results'")
        browser.run("document.querySelector('.note button').click()")
        browser.wait("document.querySelectorAll('.hit').length === 6")
        assert not browser.run("document.querySelector('.pages')")


def test_a_key_is_asked_for_and_kept_for_the_tab(browser, films):
    with serving(create_app(settings=films, api_key=KEY)) as server:
        browser.open(server.url + "/?query=music")
        browser.wait("document.activeElement?.type === 'password'")
        browser.type(KEY)
        browser.press("Enter")
        browser.wait("document.querySelectorAll('.hit').length === 6")
        browser.open(server.url + "/?query=shark")
        browser.wait("document.querySelectorAll('.hit').length === 6")
        assert KEY not in browser.run("location.href")


def test_an_empty_store_and_a_server_that_has_gone_are_told(browser, settings):
    with serving(create_app(settings=settings)) as server:
        browser.open(server.url + "/")
        browser.wait("document.querySelector('.note')?.innerText.includes('hybrid-search index')")
    browser.run("start()")
    browser.wait("document.querySelector('[role=alert]')?.textContent.includes('does not answer')")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1100])
def test_it_can_be_read_in_the_light_in_the_dark_and_on_a_telephone(page, width, dark):
    page.look(width, 800, dark)
    search(page, "music on an island")
    page.wait("document.querySelectorAll('.hit').length === 6")
    page.run("document.querySelectorAll('.more button').forEach((one) => one.click())")
    page.wait("document.querySelectorAll('.words').length === 6 || document.querySelectorAll('.words').length > 2")
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run(CONTRAST) == []


def test_everything_that_can_be_used_has_a_name(page):
    search(page, "music")
    page.wait("document.querySelector('.hit')")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "textbox", "searchbox", "combobox", "radio", "checkbox", "article", "search"}
    for node in nodes:
        if not node["ignored"] and node["role"]["value"] in roles - {"search"}:
            assert node.get("name", {}).get("value"), node
    assert {"main", "search", "status", "banner"} <= {n["role"]["value"] for n in nodes if not n["ignored"]}
    assert page.run("document.documentElement.lang") == "en"
