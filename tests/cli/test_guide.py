"""What README and the guide say is so: examples run, commands exist, links lead somewhere, every option has a place."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise

import pytest

from hybrid_search import guide
from hybrid_search.encoders import hub
from hybrid_search.indexer import Indexer
from hybrid_search.settings import Settings
from hybrid_search.store.edge.store import EdgeStore
from tests.conftest import ROOT
from tests.pages import (
    FENCE,
    GUIDE,
    INDENTED,
    PAGES,
    all_blocks,
    block,
    blocks,
    calls,
    commands_by_words,
    named_calls,
    prose,
    shell_lines,
    text_of,
    wrong_with,
)

REASONS = {
    "files": "it names files of the reader's own",
    "shell": "it changes the reader's shell",
    "install": "it installs packages",
    "terminal": "it takes a whole terminal; tests/cli/test_tui.py",
    "serving": "it serves until it is stopped; tests/integrations/test_http_process.py and tests/cli/test_mcp.py",
    "server": "it needs a Qdrant server; tests/store",
    "hub": "it needs a model hub; tests/encoders/test_hub_models.py",
    "ray": "it needs Ray and a server; tests/indexing",
    "torch": "it needs torch and takes long; tests/training",
    "minilm": "it needs the extra 'minilm'; tests/cli/test_precision.py",
    "gpu": "it needs a CUDA device",
    "engines": "it runs another search engine; tests/engines/test_guide_examples.py",
    "time": "it takes long; tests/benchmarks/figures.py runs what it measures",
}
"""Why an example is not run here, by what it says that it needs."""

MODULES = {"parquet": "pyarrow", "langchain": "langchain_core", "llamaindex": "llama_index", "haystack": "haystack"}
"""What an example needs that an extra brings: it is run where that is installed."""

ids = {"ids": lambda value: getattr(value, "id", None) or value.stem}


@pytest.fixture(scope="module")
def films(tmp_path_factory, model_cache):
    """A place where the films are indexed: a folder with `datasets`, and the store beside it."""
    place = tmp_path_factory.mktemp("guide")
    shutil.copytree(ROOT / "datasets" / "movies", place / "datasets" / "movies")
    settings = Settings(store=str(place / "store"), cache_dir=model_cache)
    Indexer.open("movies", settings=settings, profile="bundled").index(ROOT / "datasets" / "movies")
    return place


@pytest.fixture
def here(films, environment, monkeypatch):
    """Stand where the films are, offline; what an example adds to the store is gone after it."""
    monkeypatch.chdir(films)
    monkeypatch.setenv("HYBRID_SEARCH_STORE", str(films / "store"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(hub, "hub_answers", lambda *a, **o: False)
    yield films
    store = EdgeStore(films / "store")
    for name in set(store.names()) - {"movies"}:
        store.delete(name)


def passed_over(one):
    """Skip a block whose needs are not met, with the reason."""
    if module := MODULES.get(one.needs):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs the extra {one.needs!r}")
    elif one.needs:
        pytest.skip(REASONS[one.needs])


# ---------------------------------------------------------------- examples

PRINTED = {
    ("README", ""): lambda lines: "[1] This Is Spinal Tap" in lines,
    ("python", "context"): lambda lines: (
        lines[0] == "[1] This Is Spinal Tap"
        and lines[-1].split()[0] in "345"
        and any(line.startswith("1 spinal-tap-1984 0 ") for line in lines)
    ),
    ("python", "async"): lambda lines: "2001: A Space Odyssey" in lines[0],
    ("filters", ""): lambda lines: lines == ["True"],
    ("import", ""): lambda lines: lines == ["[('7', 31.0), ('8', 21.0)]"],
    ("indexing", ""): lambda lines: lines == ["2 0"],
    ("ciff", "ciff"): lambda lines: lines == ["True True", "True"],
    ("explain", ""): lambda lines: lines[-1].startswith("outranked 1"),
    ("langchain", ""): lambda lines: (
        lines[0].startswith("This Is Spinal Tap {'sparse': {'rank': ")
        and lines[3:] == ["Backups are kept for 30 days.", "ada"]
    ),
    ("llamaindex", ""): lambda lines: "ninety days" in lines[0] and "'sparse': {'rank': 1" in lines[0],
    ("haystack", ""): lambda lines: "ninety days" in lines[0] and "'sparse': {'rank': 1" in lines[0],
}
"""What the examples in Python print, by page and the word behind their language."""


@pytest.mark.parametrize("one", all_blocks("python"), **ids)
def test_the_examples_in_python_run(one, here):
    passed_over(one)
    script = f"from hybrid_search.encoders import hub\nhub.hub_answers = lambda *a, **o: False\n{one.code}"
    warned = [] if one.needs else ["-W", "error"]  # the frameworks warn about themselves
    done = subprocess.run(
        [sys.executable, *warned, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = PRINTED.get((one.page, one.words[0] if one.words else ""))
    assert expected is None or expected(done.stdout.splitlines()), done.stdout


def test_each_expectation_is_of_an_example():
    known = {(one.page, one.words[0] if one.words else "") for one in all_blocks("python")}
    assert set(PRINTED) <= known


def answer(line, run):
    """Run a line of shell: our command in this process, what stands before a pipe in a shell."""
    before, _, pipe = line.rpartition(" | ")
    given = subprocess.run(before, shell=True, capture_output=True, check=True).stdout if pipe and before else None
    [call] = calls(line if given is None else pipe)
    return run(*call, stdin=given)


@pytest.mark.parametrize("page", PAGES, **ids)
def test_the_examples_in_the_shell_run(page, here, run):
    """All of a page in their order; those that cannot run are named by what they need."""
    assert {one.needs for one in blocks(page, "sh")} <= {"", *REASONS, *MODULES}
    for one in blocks(page, "sh"):
        extra_lacks = one.needs in MODULES and importlib.util.find_spec(MODULES[one.needs]) is None
        if one.needs in REASONS or extra_lacks:
            continue
        for line in shell_lines(one):
            done = answer(line, run)
            assert done.code == 0, (one.id, line, done.out, done.err)


def shown(line):
    """A line of output as compared: bars and blanks of any length are alike, and wherever the films lie."""
    return " ".join(re.sub(r"\S*/datasets/", "datasets/", re.sub("█+", "█", line)).split())


def outputs():
    """Blocks of output, each with the last command of the block of shell before it."""
    for page in PAGES:
        found = blocks(page)
        for before, behind in pairwise(found):
            if before.language == "sh" and behind.language == "text" and not before.needs:
                yield pytest.param(shell_lines(before)[-1], behind, id=behind.id)


DIGITS = re.compile(r"(?<![\w-])\d+(?:\.\d+)?")


def alike(told, printed):
    """Whether two lines say the same; numbers to 5 in 100, for processors do not multiply eight bits alike."""
    if DIGITS.sub("#", told) != DIGITS.sub("#", printed):
        return False
    pairs = zip(DIGITS.findall(told), DIGITS.findall(printed), strict=True)
    return all(float(a) == pytest.approx(float(b), rel=0.05) for a, b in pairs)


@pytest.mark.parametrize(("line", "behind"), list(outputs()))
def test_what_the_pages_show_is_what_is_printed(line, behind, here, run):
    """Line by line; of those that end in dots the words alone."""
    printed = [shown(each) for each in answer(line, run).out.splitlines()]
    together = DIGITS.sub("#", " ".join(printed))
    for each in map(shown, behind.code.splitlines()):
        if each.endswith("..."):
            assert DIGITS.sub("#", each.removesuffix("...").strip()) in together, each
        elif each:
            assert any(alike(each, other) for other in printed), each


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize("page", PAGES, **ids)
def test_commands_and_options_exist(page):
    for call in named_calls(page):
        problem = wrong_with(call) and wrong_with([*call, "VALUE"])  # prose names an option without its value
        assert not problem, (call, problem)


@pytest.mark.parametrize(
    "line",
    [
        "serch x",
        "search x -c c --wights 1",
        "collections lst",
        "index . -c c --watch=1",
        "--stor x search",
        "search x -k",
    ],
)
def test_a_wrong_call_is_found(line):
    assert wrong_with(line.split())


@pytest.mark.parametrize("words", commands_by_words())
def test_every_verb_and_option_has_a_place(words):
    """Some page names the verb, and pages that do name each of its options."""
    group, _, rest = words.rpartition(" ")
    there = [text for text in map(text_of, PAGES) if f"hybrid-search {words}" in text or f"`{words} " in text]
    if group:
        there += [t for page in PAGES if f"hybrid-search {group}" in (t := text_of(page)) and f"`{rest}`" in t]
    assert there
    for parameter in (one for one in commands_by_words()[words].params if not getattr(one, "hidden", False)):
        for names in filter(None, (parameter.opts, parameter.secondary_opts)):
            pattern = rf"(?<![\w-])({'|'.join(names)})(?![\w-])"
            assert not names[0].startswith("-") or any(re.search(pattern, text) for text in there), names


def test_the_install_lines_name_our_distribution_and_its_extras():
    toml = (ROOT / "pyproject.toml").read_text(encoding="utf-8") if (ROOT / "pyproject.toml").is_file() else ""
    extras = set(re.findall(r"^([a-z]+) = \[", toml.partition("[project.optional-dependencies]")[2], re.MULTILINE))
    seen = 0
    for page in PAGES:
        for name, some in re.findall(r"pip install[^\n`]*?(hybrid-search[\w-]*)(?:\[([^]]*)\])?", text_of(page)):
            seen += 1
            assert name == "hybrid-search-qdrant", page
            assert not extras or set(filter(None, some.split(","))) <= extras, (page, some)
    assert seen > 5


def test_scripts_that_the_pages_run_are_there():
    for page in PAGES:
        for file in re.findall(r"python (tests/[\w/]+\.py)", text_of(page)):
            assert (ROOT / file).is_file(), (page, file)


# ---------------------------------------------------------------- pages


@pytest.mark.parametrize("page", PAGES, **ids)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not target.startswith("https://"):
            assert (page.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, **ids)
def test_files_and_modules_that_are_named_exist(page):
    if not (ROOT / "tests").is_dir():
        pytest.skip("there is no checkout")
    for name in re.findall(r"`((?:hybrid_search|tests|datasets)/[\w./-]+)`", text_of(page)):
        assert (ROOT / name).exists(), name


def test_readme_links_to_every_page():
    readme = ROOT / "README.md"
    if not readme.is_file():
        pytest.skip("there is no README.md")
    linked = set(re.findall(r"\(hybrid_search/guide/([\w-]+)\.md\)", text_of(readme)))
    assert linked == set(guide.topics())
    assert len(text_of(readme).splitlines()) <= 130


@pytest.mark.parametrize("page", PAGES, **ids)
def test_pages_have_a_title_a_first_sentence_and_short_lines(page):
    text = guide.without_front_matter(text_of(page))
    assert text.startswith("# ")
    if page.parent == GUIDE:
        assert 20 < len(guide.first_sentence(text)) < 140
    for line in INDENTED.sub("\n", FENCE.sub("\n", text)).splitlines():
        assert len(re.sub(r" ?<!--.*?-->", "", line)) <= 120 or line.startswith(("|", "- ", "![")), line


def test_the_picture_is_small_and_fetches_nothing():
    picture = (GUIDE / "screenshot.svg").read_text(encoding="utf-8")
    assert len(picture) < 300_000
    assert "url(http" not in picture.replace('"', "")


SHAPES = {
    "search": "search music -c movies -k 1 --format json",
    "explain": "explain 'a film about music' -c movies --doc amadeus-1984 --format json",
    "collections": "collections list --format json",
}


def shape(value):
    """The keys of a JSON value, at every depth; of lists those of the first."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else None


@pytest.mark.parametrize("name", SHAPES)
def test_the_json_of_the_page_for_agents_has_the_shape_that_is_printed(name, here, run):
    [told] = [json.loads(one.code) for one in all_blocks("json") if one.info.get("shape") == name]
    printed = json.loads(answer(f"hybrid-search {SHAPES[name]}", run).out)
    if name == "collections":
        printed = [row for row in printed if row["name"] == "movies"]
    assert shape(told) == shape(printed)


def test_the_json_of_an_evaluation_has_the_shape_that_is_printed(here, run, tmp_path):
    (tmp_path / "tiny" / "qrels").mkdir(parents=True)
    rows = {"corpus": {"_id": "a", "title": "", "text": "red apples"}, "queries": {"_id": "q", "text": "apples"}}
    for name, row in rows.items():
        (tmp_path / "tiny" / f"{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (tmp_path / "tiny" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\n", encoding="utf-8")
    models = "--sparse qdrant/bm25-engine --dense none --modes sparse"
    line = f"hybrid-search evaluate {tmp_path / 'tiny'} {models} --progress none --format json"
    printed = json.loads(answer(line, run).out)
    [told] = [json.loads(one.code) for one in all_blocks("json") if one.info.get("shape") == "evaluate"]
    assert set(told.pop("timings_s")) - {"hybrid"} == set(printed.pop("timings_s")) - {"sparse"} == {"index"}
    assert shape(told) == shape(printed)


def test_the_page_for_agents_can_be_loaded_as_a_skill():
    import yaml

    front = yaml.safe_load(guide.page("agents").split("---\n")[1])
    assert set(front) == {"name", "description"}
    assert re.fullmatch("[a-z-]{1,64}", front["name"])
    assert 50 < len(front["description"]) < 1024


def test_the_blocks_that_other_tests_run_are_there():
    for name in ("claude_desktop_config.json", ".vscode/mcp.json"):
        assert name in guide.page("mcp")
    assert "urlopen" in block("http", "python").code
