"""The LangChain example of the README, as it stands there."""

import json
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("langchain_core", reason="needs the langchain extra")

from hybrid_search import Indexer

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_runs_and_prints_what_it_promises(settings, bundled, monkeypatch, capsys):
    readme = ROOT / "README.md"
    if not readme.is_file():
        pytest.skip("there is no README.md")
    section = readme.read_text(encoding="utf-8").partition("## From LangChain\n")[2].partition("\n## ")[0]
    start, rest = section.partition("    from hybrid_search.integrations")[1:]
    code = textwrap.dedent(start + rest.partition("\n\n|")[0])
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    rows = [json.loads(line) for line in (ROOT / "datasets/movies/corpus.jsonl").read_text("utf-8").splitlines()]
    some = [row for row in rows if row["_id"] == "spinal-tap-1984" or row["_id"] < "ap"]
    Indexer.open("movies", settings=settings, profile="bundled").index(some)
    monkeypatch.setenv("HYBRID_SEARCH_STORE", settings.store)
    monkeypatch.setenv("HYBRID_SEARCH_CACHE_DIR", str(settings.cache_dir))
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5
    assert printed[0].startswith("This Is Spinal Tap {'sparse': {'rank': ")
    assert printed[3:] == ["Backups are kept for 30 days.", "ada"]
