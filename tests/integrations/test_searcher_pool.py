"""Many threads share the collections of one store."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hybrid_search.collection.legs import swap_legs
from hybrid_search.collection.models import open_store_for
from hybrid_search.errors import CollectionNotFound, InvalidArgument, StoreError
from hybrid_search.indexer import Indexer
from hybrid_search.indexing.add_leg import add_leg
from hybrid_search.integrations import searcher_pool as module
from hybrid_search.integrations.searcher_pool import SearcherPool, expansion
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


@pytest.fixture
def shared(settings, fakes):
    with SearcherPool(settings=settings) as found:
        yield found


def put(settings, name, *texts):
    Indexer.open(name, settings=settings, **FAKE).index([Document(text, text) for text in texts])


def first(shared, name, query):
    with shared.use(name) as searcher:
        return searcher.search(query, k=1)[0].doc_id


def is_closed(searcher):
    try:
        searcher.search("a")
    except StoreError:
        return True
    return False


def leases(settings, name):
    return list((Path(settings.store) / name / "leases").iterdir())


def test_many_threads_open_a_collection_once(settings, shared, opened, fakes):
    put(settings, "c", "apples")
    before = len(fakes.loaded)
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: first(shared, "c", "apples"), range(64))) == {"apples"}
    assert len(opened) == 1
    assert len(fakes.loaded) == before + 1
    assert leases(settings, "c")
    shared.close()
    assert is_closed(opened[0])
    assert not leases(settings, "c")


def test_what_is_published_is_seen_and_the_models_stay_loaded(settings, shared, opened, fakes):
    put(settings, "c", "apples")
    assert first(shared, "c", "pears") == "apples"
    before = len(fakes.loaded)
    put(settings, "c", "pears")
    indexing = len(fakes.loaded) - before
    assert first(shared, "c", "pears") == "pears"
    assert len(opened) == 1
    assert len(fakes.loaded) == before + indexing


def test_other_models_are_taken_from_a_rebuilt_collection(settings, shared):
    put(settings, "c", "apples")
    with shared.use("c") as searcher:
        assert expansion(searcher, "apples", "sparse").model == "fake/both"
        other = {"sparse": "fake/sparse", "dense": "fake/dense"}
        Indexer.open("c", settings=settings, replace=True, **other).index([Document("pears", "pears")])
        assert expansion(searcher, "apples", "sparse").model == "fake/sparse"
    assert first(shared, "c", "pears") == "pears"


def test_legs_that_change_names_are_seen(settings, shared):
    put(settings, "c", "apples", "pears")
    add_leg("c", "new", "fake/sparse", settings=settings)
    with shared.use("c") as searcher:
        assert expansion(searcher, "apples", "sparse").model == "fake/both"
    swap_legs("c", "sparse", "new", settings=settings)
    with shared.use("c") as searcher:
        assert expansion(searcher, "apples", "sparse").model == "fake/sparse"
        assert searcher.search("apples", mode="sparse", k=1)[0].doc_id == "apples"
        with pytest.raises(InvalidArgument):
            expansion(searcher, "apples", "nope")


def test_one_that_is_deleted_is_not_found_and_can_come_again(settings, shared, opened):
    put(settings, "c", "apples")
    first(shared, "c", "apples")
    open_store_for(None, settings).delete("c")
    for _ in range(2):
        with pytest.raises(CollectionNotFound, match="'c'"):
            first(shared, "c", "apples")
    assert len(opened) == 1
    assert is_closed(opened[0])
    put(settings, "c", "pears")
    assert first(shared, "c", "pears") == "pears"
    assert len(opened) == 2


def test_one_that_is_deleted_is_closed_behind_its_last_user(settings, shared, opened):
    put(settings, "c", "apples")
    with shared.use("c") as searcher:
        open_store_for(None, settings).delete("c")
        with pytest.raises(CollectionNotFound):
            first(shared, "c", "apples")
        put(settings, "c", "pears")
        assert first(shared, "c", "pears") == "pears"
        assert searcher.search("pears")[0].doc_id == "pears"
    assert [is_closed(one) for one in opened] == [True, False]


def test_only_some_may_be_asked_for(settings, fakes):
    put(settings, "a", "apples")
    put(settings, "b", "bananas")
    with SearcherPool(settings=settings, only=["a", "a"]) as shared:
        assert shared.only == ("a",)
        assert shared.names() == ["a"]
        found, problems = shared.infos()
        assert [info.name for info in found] == ["a"]
        assert problems == []
        with pytest.raises(CollectionNotFound), shared.use("b"):
            pass


def test_after_closing_nothing_is_opened(settings, shared, opened):
    put(settings, "c", "apples")
    with shared.use("c") as searcher:
        shared.close()
        assert searcher.search("apples")[0].doc_id == "apples"  # who uses it goes on to the end
    assert is_closed(searcher)
    with pytest.raises(StoreError, match="closed"), shared.use("c"):
        pass


def test_so_many_stay_open_and_none_is_closed_under_its_user(settings, shared, opened, monkeypatch):
    monkeypatch.setattr(module, "MOST_OPEN", 2)
    for name in "abc":
        put(settings, name, "apples")
    with shared.use("a") as searcher:
        for name in "bc":
            first(shared, name, "apples")
        assert not is_closed(searcher)
    assert [is_closed(one) for one in opened] == [False, True, False]
    first(shared, "c", "apples")
    first(shared, "b", "apples")  # of a and c, a was asked for longer ago
    assert [is_closed(one) for one in opened] == [True, True, False, False]


def test_names_that_are_not_there_close_nothing(settings, shared, opened, monkeypatch):
    monkeypatch.setattr(module, "MOST_OPEN", 1)
    put(settings, "c", "apples")
    first(shared, "c", "apples")
    for name in ("x", "y"):
        with pytest.raises(CollectionNotFound), shared.use(name):
            pass
    assert not is_closed(opened[0])


def test_one_that_is_slow_to_open_holds_nothing_up(settings, shared, monkeypatch):
    put(settings, "c", "apples")
    whole, begun, go_on = Searcher.open, threading.Event(), threading.Event()

    def slow(name, **options):
        if name == "nope":
            begun.set()
            assert go_on.wait(60)
        return whole(name, **options)

    monkeypatch.setattr(Searcher, "open", slow)
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(first, shared, "nope", "apples")
        assert begun.wait(60)
        assert first(shared, "c", "apples") == "apples"
        go_on.set()
        with pytest.raises(CollectionNotFound):
            asked.result()


def test_many_threads_search_while_it_is_indexed(settings, shared):
    texts = [f"apple number{n}" for n in range(20)]
    put(settings, "c", *texts)
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(first, shared, "c", f"number{n % 20}") for n in range(100)]
        for more in range(3):
            put(settings, "c", f"apple more{more}")
        assert [one.result() for one in asked] == [texts[n % 20] for n in range(100)]
