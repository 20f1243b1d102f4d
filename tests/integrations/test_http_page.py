"""The search page, as a reader with a keyboard finds it, in a headless Chromium."""

import shutil
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")
pytest.importorskip("prometheus_client", reason="needs the serve extra")
pytest.importorskip("uvicorn", reason="needs the serve extra")
pytest.importorskip("playwright", reason="needs Playwright, which drives the browser")

from playwright.sync_api import sync_playwright

from hybrid_search.indexer import Indexer
from hybrid_search.integrations.http import create_app
from hybrid_search.types import Document
from tests.integrations.conftest import FILMS, serving

CHROMIUM = next(
    filter(None, map(shutil.which, ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome"))), None
)
SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
SWITCHES += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the path")
KEY = "open sesame"
CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser():
    """A browser that is there already; none is fetched."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(films):
    with serving(create_app(settings=films)) as server:
        yield server


@pytest.fixture
def tab(browser):
    """A tab of its own, with nothing kept of the others."""
    context = browser.new_context(viewport={"width": 1100, "height": 900}, color_scheme="light")
    yield context.new_page()
    context.close()


@pytest.fixture
def page(tab, server):
    """The page, freshly opened; nothing may be logged as an error, or asked of another host."""
    complaints, hosts = [], set()
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    tab.on("request", lambda request: hosts.add(request.url.split("/")[2]) if "//" in request.url else None)
    tab.goto(server.url + "/")
    tab.wait_for_selector(".note")
    yield tab
    assert [said for said in complaints if "422" not in said] == []
    assert hosts == {server.url.split("/")[2]}


def wait(page, script, seconds=30.0):
    """Until an expression holds; the page's own policy lets Playwright's `wait_for_function` evaluate none."""
    end = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({script})"):
        assert time.monotonic() < end, (script, page.inner_text("body"))
        page.wait_for_timeout(50)


def search(page, words):
    page.fill("#query", words)
    page.press("#query", "Enter")


def test_a_search_by_keyboard_shows_hits_with_their_evidence(page):
    assert page.evaluate("document.activeElement.id") == "query"  # one can type at once
    assert "6 documents" in page.evaluate("document.querySelector('.note').innerText")
    page.keyboard.insert_text("music on an island")
    page.keyboard.press("Enter")
    wait(page, "document.querySelectorAll('.hit').length === 6")
    first = page.evaluate("document.querySelector('.hit').innerText")
    assert "sparse" in first
    assert "rank 1" in first
    assert "fused 0.0" in first
    marks = page.evaluate(
        "[...document.querySelectorAll('.hit mark.literal')].map((one) => one.textContent.toLowerCase())"
    )
    assert set(marks) >= {"music", "island"}
    assert page.evaluate("location.search") == "?query=music+on+an+island&collection=films&mode=hybrid"
    assert "for “music on an island”" in page.evaluate("document.querySelector('[role=status]').textContent")
    assert "encode" in page.evaluate("document.querySelector('#times').textContent")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("[...document.querySelectorAll('.hit')].indexOf(document.activeElement)") == 1
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"


def test_what_is_in_a_document_is_text_and_offsets_count_characters(page):
    search(page, "emoji music")
    wait(page, "document.querySelector('.hit')")
    odd = "[...document.querySelectorAll('.hit')].find((hit) => hit.innerText.includes('Odd'))"
    assert page.evaluate(f"{odd}.querySelector('h2').textContent") == "Odd <b>"
    assert FILMS["odd"] in page.evaluate(f"{odd}.querySelector('.text').textContent")
    # The mark stands behind an emoji, which is two halves in JavaScript.
    assert page.evaluate(f"[...{odd}.querySelectorAll('mark')].map((one) => one.textContent)") == ["emoji", "music"]


def test_no_sign_of_a_document_turns_or_hides_letters(tab, models, settings):
    """Controls, overrides and isolates of bidirectional text, tags: in every field that is shown."""
    odd = "emoji \x1b[2J\x07 \x9b \x7f \u202egnp.exe\u202c \u2066x\u2069 \U000e0041 music"
    marked = f"music 🎬 {odd} music"
    Indexer.open("signs", settings=settings, sparse="fake/both", dense="fake/both").index(
        [Document(f"id{odd[6:20]}", marked, odd, {odd[6:20]: odd[6:30], "year": 1999}, f"{odd}/{odd}")]
    )
    with serving(create_app(settings=settings)) as server:
        tab.goto(server.url + "/?query=music")
        wait(tab, "document.querySelector('.hit')")
        tab.evaluate("document.querySelectorAll('.more button').forEach((one) => one.click())")
        wait(tab, "document.querySelector('.words tbody tr')")
        shown = tab.evaluate("document.documentElement.outerHTML")
        assert not {sign for sign in odd if not sign.isprintable()} & set(
            shown.partition("<body>")[2].partition("<script>")[0]
        )
        assert "gnp.exe" in shown
        assert tab.evaluate("document.querySelector('.hit .text').textContent").count("\ufffd") == 9
        assert (
            tab.evaluate("[...document.querySelectorAll('.hit mark')].map((one) => one.textContent)") == ["music"] * 3
        )
        tab.goto(server.url + "/?query=music&where=nofield%1b%e2%80%ae%3D1")
        wait(tab, "document.querySelector('[role=alert]')")
        assert not set("\x1b\u202e") & set(tab.evaluate("document.querySelector('[role=alert]').textContent"))


def test_the_words_of_a_hit_are_told_when_asked_for(page):
    search(page, "drummer school")
    wait(page, "document.querySelector('.hit')")
    assert not page.evaluate("document.querySelector('.words')")
    page.evaluate(
        "[...document.querySelectorAll('.more button')].find((one) => one.textContent === 'Matched words').focus()"
    )
    page.keyboard.press("Enter")
    wait(page, "document.querySelector('.words tbody tr')")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    parts = page.evaluate(
        "[...document.querySelectorAll('.words tr td:last-child')].map((one) => Number(one.textContent))"
    )
    score = page.evaluate("document.querySelector('.leg.sparse').textContent.match(/\\(([\\d.,]+)\\)/)[1]")
    assert sum(parts) == pytest.approx(float(score.replace(",", "")), abs=0.05)


def test_mode_collection_and_filter_are_chosen_and_the_way_back_works(page):
    search(page, "music")
    wait(page, "document.querySelectorAll('.hit').length === 6")
    page.evaluate("document.querySelector('#modes input[value=sparse]').click()")
    wait(page, "document.querySelector('.hit') && document.querySelector('#status').textContent.includes('sparse')")
    assert "dense" in page.evaluate("document.querySelector('.leg.none').textContent")
    assert "not asked" in page.evaluate("document.querySelector('.leg.none').textContent")
    page.evaluate("document.querySelector('#where').value = 'year < 1981'")
    page.evaluate("document.querySelector('#form').requestSubmit()")
    wait(page, "document.querySelector('.note')")
    assert "The filter may keep everything out" in page.evaluate("document.querySelector('.note').innerText")
    page.evaluate("history.back()")
    wait(page, "document.querySelectorAll('.hit').length === 3")
    assert page.evaluate("document.querySelector('#where').value") == ""
    page.evaluate("document.querySelector('#collection').value = 'words'")
    page.evaluate("document.querySelector('#collection').dispatchEvent(new Event('change'))")
    wait(page, "location.search.includes('words')")
    assert page.evaluate("[...document.querySelectorAll('#modes input')].map((one) => one.value)") == ["sparse"]


def test_a_wrong_filter_is_told_with_its_place(page):
    search(page, "music")
    wait(page, "document.querySelector('.hit')")
    page.evaluate("document.querySelector('#where').value = 'yeer > 1'")
    page.evaluate("document.querySelector('#form').requestSubmit()")
    wait(page, "document.querySelector('[role=alert]')")
    said = page.evaluate("document.querySelector('[role=alert]').textContent")
    assert "Did you mean year" in said
    assert "^" in said


def test_pages_are_turned(tab, films):
    with serving(create_app(settings=films)) as server:
        tab.goto(server.url + "/?query=music&offset=10")
        wait(tab, "document.querySelector('.note h2')?.textContent === 'No more results'")
        tab.evaluate("document.querySelector('.note button').click()")
        wait(tab, "document.querySelectorAll('.hit').length === 6")
        assert not tab.evaluate("document.querySelector('.pages')")


def test_a_key_is_asked_for_and_kept_for_the_tab(tab, films):
    with serving(create_app(settings=films, api_key=KEY)) as server:
        tab.goto(server.url + "/?query=music")
        wait(tab, "document.activeElement?.type === 'password'")
        tab.keyboard.insert_text(KEY)
        tab.keyboard.press("Enter")
        wait(tab, "document.querySelectorAll('.hit').length === 6")
        tab.goto(server.url + "/?query=shark")
        wait(tab, "document.querySelectorAll('.hit').length === 6")
        assert KEY not in tab.evaluate("location.href")


def test_an_empty_store_and_a_server_that_has_gone_are_told(tab, settings):
    with serving(create_app(settings=settings)) as server:
        tab.goto(server.url + "/")
        wait(tab, "document.querySelector('.note')?.innerText.includes('hybrid-search index')")
    tab.evaluate("start()")
    wait(tab, "document.querySelector('[role=alert]')?.textContent.includes('does not answer')")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1100])
def test_it_can_be_read_in_the_light_in_the_dark_and_on_a_telephone(page, width, dark):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme="dark" if dark else "light")
    search(page, "music on an island")
    wait(page, "document.querySelectorAll('.hit').length === 6")
    page.evaluate("document.querySelectorAll('.more button').forEach((one) => one.click())")
    wait(page, "document.querySelectorAll('.words').length === 6 || document.querySelectorAll('.words').length > 2")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []


def test_everything_that_can_be_used_has_a_name(page):
    search(page, "music")
    wait(page, "document.querySelector('.hit')")
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "textbox", "searchbox", "combobox", "radio", "checkbox", "article", "search"}
    for node in nodes:
        if not node["ignored"] and node["role"]["value"] in roles - {"search"}:
            assert node.get("name", {}).get("value"), node
    assert {"main", "search", "status", "banner"} <= {n["role"]["value"] for n in nodes if not n["ignored"]}
    assert page.evaluate("document.documentElement.lang") == "en"
