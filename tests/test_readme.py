"""The examples in README.md run as they stand there, on the films."""

import os
import subprocess
import sys
import textwrap

import pytest

from hybrid_search.indexer import Indexer
from hybrid_search.settings import Settings
from tests.conftest import ROOT

README = ROOT / "README.md"

pytestmark = pytest.mark.skipif(not README.is_file(), reason="there is no README.md")


@pytest.fixture(scope="module")
def films(tmp_path_factory, model_cache):
    """What a process has to know, to find the films indexed."""
    store = str(tmp_path_factory.mktemp("readme"))
    Indexer.open("movies", settings=Settings(store=store, cache_dir=model_cache), profile="bundled").index(
        ROOT / "datasets" / "movies"
    )
    return {**os.environ, "HYBRID_SEARCH_STORE": store, "HYBRID_SEARCH_CACHE_DIR": str(model_cache)}


def example(words):
    """The first indented block behind a line that has these words."""
    behind = README.read_text(encoding="utf-8").partition(words)[2].splitlines()[1:]
    start = next(place for place, line in enumerate(behind) if line.startswith("    "))
    end = next(place for place in range(start, len(behind)) if behind[place] and not behind[place].startswith("    "))
    return textwrap.dedent("\n".join(behind[start:end]))


def printed(code, env):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_context_for_a_prompt(films):
    lines = printed(example("**A context for a prompt.**"), films).splitlines()
    assert lines[0] == "[1] This Is Spinal Tap"
    assert lines[-1].split()[0] in "345"
    assert any(line.startswith("1 spinal-tap-1984 0 ") for line in lines)


def test_async(films):
    assert "2001: A Space Odyssey" in printed(example("**Async.**"), films)
