"""No framework talks to anybody while it is tested; set before any of them is imported."""

import os

import pytest

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ["LLAMA_INDEX_CACHE_DIR"] = os.environ.get("LLAMA_INDEX_CACHE_DIR", "")

FAKE = {"profile": "auto", "sparse": "fake/sparse", "dense": "fake/dense"}


@pytest.fixture
def making(fakes):
    """How to make a collection that runs the fake models."""
    return FAKE
