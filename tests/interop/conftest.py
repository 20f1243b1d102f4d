"""What exports and imports are tried on: texts of few words, queries, and a collection of a module's documents."""

import json

import numpy as np
import pytest

from hybrid_search.indexer import Indexer
from hybrid_search.types import Document

WORDS = ["river", "stone", "apple", "cloud", "winter", "garden", "copper", "window", "letter", "ocean"]

IDF = {"sparse": "fake/both-idf", "dense": "fake/both-idf"}


def words(count, seed=0):
    """So many words, the same for each seed."""
    return " ".join(np.random.default_rng(seed).choice(WORDS, count))


def documents():
    """Some of one chunk, some of several, one without a word, some ids that need care."""
    found = [Document(f"d{n}", words(4 + 7 * (n % 6), n), title=words(1, n + 99), metadata={"n": n}) for n in range(30)]
    odd = [Document("no words", "漢字 … !"), Document("d5#1", words(5, 1)), Document("ü 100%25.md", words(9, 2))]
    return [*found, *odd]


@pytest.fixture
def queries(tmp_path):
    """A file of queries: one id with a blank, words that no document has, a text without a word."""
    file = tmp_path / "queries.jsonl"
    asked = [*(f"{words(3, n + 500)} {'' if n else 'unheard'}" for n in range(12)), "!"]
    rows = [{"_id": f"q {n}" if n == 3 else f"q{n}", "text": query} for n, query in enumerate(asked)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def collection(request, settings, fakes):
    """The collection `c` of `documents()` and the models `IDF`, or of those of the module; gives the settings."""
    made_of, models = (getattr(request.module, name, ours) for name, ours in (("documents", documents), ("IDF", IDF)))
    Indexer.open("c", settings=settings, chunk_tokens=16, **models).index(made_of())
    return settings
