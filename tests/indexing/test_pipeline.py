"""What an index job does to each document, and how often."""

import threading
from collections import Counter
from contextlib import closing

import pytest

from hybrid_search.indexer import Indexer
from hybrid_search.indexing.chunker import Chunker
from hybrid_search.settings import Settings
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import Document
from tests.fake_models import FakeModel, words

LONG = " ".join(f"word{n}" for n in range(400))
SOURCES = [
    Document("short", "The river", "A title"),
    Document("long", LONG),
    Document("titled", LONG, " ".join(f"title{n}" for n in range(80)), {"year": 1984}),
    Document(
        "table", "| name | age |\n|---|---|\n" + "\n".join(f"| n{n} | {n} |" for n in range(90)), markup="markdown"
    ),
    Document("repeated", "The river", "A title"),
]


@pytest.fixture
def settings(tmp_path):
    return Settings(store=str(tmp_path / "store"))


def test_a_document_is_hashed_once(settings, monkeypatch):
    hashed = Counter()
    whole = Document._hashed
    monkeypatch.setattr(Document, "_hashed", lambda document: hashed.update([document.doc_id]) or whole(document))
    indexer = Indexer.open("c", settings=settings, legs=["bm25"])
    indexer.index([*SOURCES, SOURCES[0]])
    assert hashed == {"short": 2, "long": 1, "titled": 1, "table": 1, "repeated": 1}  # one stands twice in the sources
    hashed.clear()
    assert indexer.index(SOURCES).unchanged == 5
    assert set(hashed.values()) == {1}


@pytest.mark.parametrize("chunk_tokens", [None, 0, 32])
@pytest.mark.parametrize("document", SOURCES, ids=lambda document: document.doc_id)
def test_only_the_chunker_counts_tokens(settings, fakes, monkeypatch, document, chunk_tokens):
    """What it found out travels with the chunk. Of whole documents it is counted too how many a model cuts."""
    outside = []
    cutting = threading.local()
    cut, count = Chunker.__call__, FakeModel.count_tokens

    def within(chunker, document):
        cutting.now = True
        try:
            return cut(chunker, document)
        finally:
            cutting.now = False

    def counted(model, texts):
        if not getattr(cutting, "now", False):
            outside.extend(texts)
        return count(model, texts)

    monkeypatch.setattr(Chunker, "__call__", within)
    monkeypatch.setattr(FakeModel, "count_tokens", counted)
    options = {"sparse": "fake/sparse", "dense": "none", "chunk_tokens": chunk_tokens}
    report = Indexer.open("c", settings=settings, **options).index([document])
    with closing(EdgeStore(settings.store).reader("c")) as reader:
        payloads = reader.payloads([f"{document.doc_id}#{n}" for n in range(report.chunks)])
    texts = ["\n".join(filter(None, (p["title"], p.get("context"), p["text"]))) for p in payloads.values()]
    assert len(texts) == report.chunks
    assert report.tokens == sum(len(words(text)) + 2 for text in texts)
    assert outside == (texts if chunk_tokens == 0 else [])
