"""Many threads share the collections of one store."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hybrid_search.errors import CollectionNotFound, StoreError
from hybrid_search.indexer import Indexer
from hybrid_search.integrations import searchers as module
from hybrid_search.integrations.searchers import Searchers
from hybrid_search.profiles import open_place
from hybrid_search.searcher import Searcher
from hybrid_search.types import Document

FAKE = {"sparse": "fake/both", "dense": "fake/both"}


@pytest.fixture
def opened(monkeypatch):
    """How often a searcher was made."""
    made, whole = [], Searcher.__init__

    def init(self, *arguments, **options):
        made.append(self)
        whole(self, *arguments, **options)

    monkeypatch.setattr(Searcher, "__init__", init)
    return made


def put(settings, name, *texts):
    Indexer.open(name, settings=settings, **FAKE).index([Document(text, text) for text in texts])


def is_closed(searcher):
    try:
        searcher.search("a")
    except StoreError:
        return True
    return False


def test_many_threads_open_a_collection_once(settings, fakes, opened):
    put(settings, "c", "apples")
    shared = Searchers(settings=settings)

    def search(_):
        with shared.use("c") as searcher:
            return searcher.search("apples").hits[0].doc_id

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(search, range(64))) == {"apples"}
    assert len(opened) == 1
    shared.close()
    assert is_closed(opened[0])


def test_a_newer_publication_is_opened_and_the_old_one_closed_when_nobody_uses_it(settings, fakes, opened, monkeypatch):
    monkeypatch.setattr(module, "LOOK_AFTER_S", 0.0)
    put(settings, "c", "apples")
    shared = Searchers(settings=settings)
    with shared.use("c") as old:
        put(settings, "c", "pears")
        with shared.use("c") as new:
            assert new is not old
            assert [hit.doc_id for hit in new.search("pears", k=1)] == ["pears"]
            assert [hit.doc_id for hit in old.search("pears", k=1)] == ["apples"]
        with shared.use("c") as again:
            assert again is new
    assert is_closed(old)
    assert not is_closed(new)
    assert len(opened) == 2


def test_it_is_looked_at_now_and_then_only(settings, fakes, monkeypatch):
    monkeypatch.setattr(module, "LOOK_AFTER_S", 1e9)
    put(settings, "c", "apples")
    shared = Searchers(settings=settings)
    with shared.use("c") as old:
        put(settings, "c", "pears")
        with shared.use("c") as again:
            assert again is old


def test_other_models_are_taken_from_a_rebuilt_collection(settings, fakes, monkeypatch):
    monkeypatch.setattr(module, "LOOK_AFTER_S", 0.0)
    put(settings, "c", "apples")
    shared = Searchers(settings=settings)
    with shared.use("c") as old:
        assert old.manifest.legs["sparse"].model == "fake/both"
    other = {"sparse": "fake/sparse", "dense": "fake/dense"}
    Indexer.open("c", settings=settings, replace=True, **other).index([Document("pears", "pears")])
    with shared.use("c") as new:
        assert new.search("pears").hits[0].doc_id == "pears"
        assert new.manifest.legs["sparse"].model == "fake/sparse"


def test_one_that_is_deleted_is_not_found_and_can_come_again(settings, fakes, monkeypatch):
    monkeypatch.setattr(module, "LOOK_AFTER_S", 0.0)
    put(settings, "c", "apples")
    shared = Searchers(settings=settings)
    with shared.use("c"):
        pass
    open_place(None, settings).delete("c")
    for _ in range(2):
        with pytest.raises(CollectionNotFound), shared.use("c"):
            pass
    put(settings, "c", "pears")
    with shared.use("c") as searcher:
        assert searcher.search("pears").hits[0].doc_id == "pears"


def test_only_some_may_be_asked_for(settings, fakes):
    put(settings, "a", "apples")
    put(settings, "b", "bananas")
    shared = Searchers(settings=settings, only=["a"])
    assert shared.names() == ["a"]
    assert [info.name for info in shared.infos()] == ["a"]
    with pytest.raises(CollectionNotFound), shared.use("b"):
        pass


def test_so_many_stay_open_and_none_is_closed_under_its_user(settings, fakes, opened, monkeypatch):
    monkeypatch.setattr(module, "MOST_OPEN", 2)
    for name in "abc":
        put(settings, name, "apples")
    shared = Searchers(settings=settings)
    with shared.use("a") as first:
        for name in "bc":
            with shared.use(name):
                pass
        assert not is_closed(first)
    assert is_closed(first)
    assert [is_closed(searcher) for searcher in opened] == [True, False, False]


def test_one_that_cannot_be_opened_holds_nothing_up(settings, fakes):
    put(settings, "c", "apples")
    shared = Searchers(settings=settings)
    with pytest.raises(CollectionNotFound), shared.use("nope"):
        pass
    done = threading.Event()

    def search():
        with shared.use("c"):
            done.set()

    threading.Thread(target=search, daemon=True).start()
    assert done.wait(20)
