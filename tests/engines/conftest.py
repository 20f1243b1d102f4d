"""One collection for all engines, and what was exported and searched of it: once for the whole run."""

import json
from functools import cache

import pytest

from hybrid_search.indexer import Indexer
from hybrid_search.settings import Settings
from tests.conftest import ROOT
from tests.engines import cases
from tests.engines.environments import Unavailable


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skip a test whose engine cannot be had on this machine, with the reason."""
    try:
        return (yield)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def cranfield(tmp_path_factory, model_cache):
    """Cranfield in a collection, with its exact ranking."""
    folder = ROOT.parent / "shared" / "collections" / "cranfield"
    if not folder.is_dir():
        pytest.skip(f"needs the test collections in {folder.parent}")
    return cases.bench(folder, tmp_path_factory.mktemp("engines"), model_cache)


@pytest.fixture(scope="session")
def outcome(cranfield):
    """Run a case by its name, once; gives the export and what the engine did."""
    return cache(lambda name: cranfield.outcome(cases.CASES[name]))


@pytest.fixture(scope="session")
def odd_ids(tmp_path_factory, model_cache):
    """Export documents with odd ids, one of them in several passages, in any format; all answer the one query."""
    place = tmp_path_factory.mktemp("odd")
    settings = Settings(store=str(place / "store"), cache_dir=model_cache)
    rows = [{"_id": name, "text": f"A whale swims in the sea, number {n}."} for n, name in enumerate(cases.ODD)]
    rows.append({"_id": "long one", "text": "The whale of the sea. " * 40})
    (place / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (place / "queries.jsonl").write_text(json.dumps({"_id": "q 1", "text": "whale sea"}) + "\n", encoding="utf-8")
    Indexer.open("odd", settings=settings, profile="bundled", chunk_tokens=32).index(place / "corpus.jsonl")

    @cache
    def export(format):
        queries = ("--queries", place / "queries.jsonl")
        cases.run_program(settings, "export", format, "-c", "odd", "--out", place / format, *queries)
        return place / format

    return export
