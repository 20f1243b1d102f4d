"""One collection for all engines, and what was exported and searched of it: once for the whole run."""

from functools import cache

import pytest

from tests.conftest import ROOT
from tests.engines import cases
from tests.engines.environments import Unavailable


@pytest.fixture(scope="session")
def cranfield(tmp_path_factory, model_cache):
    """Cranfield in a collection, with its exact ranking."""
    folder = ROOT.parent / "shared" / "collections" / "cranfield"
    if not folder.is_dir():
        pytest.skip(f"needs the test collections in {folder.parent}")
    return cases.bench(folder, tmp_path_factory.mktemp("engines"), model_cache)


@pytest.fixture(scope="session")
def outcome(cranfield):
    """Run a case by its name; gives the export and what the engine did. An engine that cannot be had skips."""

    @cache
    def run(name):
        return cranfield.outcome(cases.CASES[name])

    def run_or_skip(name):
        try:
            return run(name)
        except Unavailable as error:
            pytest.skip(str(error))

    return run_or_skip
