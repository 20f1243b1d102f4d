"""A small collection made of known models, on the embedded store, on the client's own in-memory form, and over HTTP."""

import pytest

from hybrid_search.encoders import hub
from hybrid_search.indexer import Indexer
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.server.store import ServerStore
from hybrid_search.types import Document
from tests.qdrant_over_http import QdrantOverHttp
from tests.store.conftest import in_memory

NAME = "films"
WORDS = ("whale", "sailor", "island", "music", "school", "winter", "train", "letter", "garden", "crown")


def documents(count=12):
    """Each of two chunks, with a year and a kind to filter by."""
    for number in range(count):
        words = [WORDS[(number * step) % len(WORDS)] + str(number * step) for step in range(1, 40)]
        metadata = {"year": 1900 + number, "kind": "film" if number % 2 else "book"}
        yield Document(f"d{number}", " ".join(words), metadata=metadata)


@pytest.fixture(params=["edge", "memory", "http"])
def store(request, tmp_path):
    if request.param == "edge":
        yield EdgeStore(tmp_path / "store")
    elif request.param == "memory":
        yield in_memory()
    else:
        with QdrantOverHttp() as server:
            store = ServerStore.connect(server.url)
            store.fake = server  # so that a test can plant an issue
            yield store
            store.close()


@pytest.fixture
def edge_store(tmp_path):
    return EdgeStore(tmp_path / "store")


@pytest.fixture
def build(fakes, settings, monkeypatch):
    """Index the documents into a store; gives its manifest. The models of `fakes` have no files, and are here."""
    is_here = hub.is_here
    monkeypatch.setattr(hub, "is_here", lambda card, cache: card.name.startswith("fake/") or is_here(card, cache))

    def build(store, name=NAME, sparse="fake/sparse", dense="fake/dense", **options):
        indexer = Indexer.open(name, store=store, sparse=sparse, dense=dense, settings=settings, **options)
        indexer.index(list(documents()))
        return store.manifest(name)

    return build
