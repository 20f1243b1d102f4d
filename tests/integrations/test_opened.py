"""Collections that stay open for many, and are opened again when they have changed."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from hybrid_search.changing import add_leg, swap_legs
from hybrid_search.errors import CollectionNotFound, InvalidArgument, StoreError
from hybrid_search.indexer import Indexer
from hybrid_search.integrations.opened import OpenCollections, infos
from hybrid_search.profiles import open_place
from hybrid_search.types import Document

MODELS = {"sparse": "fake/both", "dense": "fake/both"}


@pytest.fixture
def index(settings, fakes):
    def make(*texts, name="c", **options):
        documents = [Document(f"d{n}", text) for n, text in enumerate(texts)]
        Indexer.open(name, settings=settings, **MODELS).index(documents, **options)

    return make


@pytest.fixture
def collections(settings):
    with OpenCollections(settings, fresh_s=0) as found:
        yield found


def test_an_open_collection_is_opened_once(collections, index, fakes):
    index("red apples", "green pears")
    before = len(fakes.loaded)
    with collections.open("c") as one, collections.open() as other:
        assert one is other
        assert one.searcher.search("apples", k=1)[0].doc_id == "d0"
    assert len(fakes.loaded) == before + 1


def test_what_is_published_is_seen_and_the_models_stay_loaded(collections, index, fakes):
    index("red apples")
    with collections.open("c") as old:
        before = len(fakes.loaded)
        index("red apples", "yellow bananas")
        loaded_by_indexing = len(fakes.loaded) - before
        with collections.open("c") as new:
            assert new is not old
            assert [hit.doc_id for hit in new.searcher.search("bananas", k=1)] == ["d1"]
            assert len(old.searcher.search("bananas", k=5)) == 1  # who has the old one goes on with it
    assert len(fakes.loaded) == before + loaded_by_indexing
    with pytest.raises(StoreError, match="closed"):
        old.searcher.search("bananas")


def test_legs_that_change_names_are_seen(collections, index, settings):
    index("red apples", "green pears")
    add_leg("c", "new", "fake/sparse", settings=settings)
    with collections.open("c") as one:
        assert one.reader.manifest.legs["sparse"].model == "fake/both"
    swap_legs("c", "sparse", "new", settings=settings)
    with collections.open("c") as one:
        assert one.reader.manifest.legs["sparse"].model == "fake/sparse"
        assert one.searcher.search("apples", mode="sparse", k=1)[0].doc_id == "d0"


def test_a_collection_that_was_deleted_is_gone(collections, index, settings):
    index("red apples")
    index("green pears", name="other")
    with collections.open("c") as one:
        open_place(None, settings).delete("c")
        with pytest.raises(CollectionNotFound, match="'c'"), collections.open("c"):
            pass
        assert one.searcher.manifest
    index("blue plums")
    with collections.open("c") as one:
        assert one.searcher.search("plums", k=1)[0].doc_id == "d0"


def test_only_what_is_served_may_be_asked_for(settings, index):
    for name in ("apples", "pears", "plums"):
        index("fruit", name=name)
    with OpenCollections(settings, ["apples", "pears", "apples"]) as some:
        assert some.only == ("apples", "pears")
        assert some.names() == ["apples", "pears"]
        assert [info.name for info in infos(some)] == ["apples", "pears"]
        for refused in ("plums", "appels"):
            with pytest.raises(InvalidArgument, match=f"'{refused}' is not served here"):
                some.info(refused)
        with pytest.raises(InvalidArgument, match="one of: apples, pears"), some.open():
            pass
    with pytest.raises(InvalidArgument, match="closed"), some.open("apples"):
        pass


def test_many_threads_search_while_it_is_indexed(collections, index):
    index(*(f"apple number{n}" for n in range(20)))

    def ask(n):
        with collections.open("c") as one:
            return one.searcher.search(f"number{n % 20}", k=1)[0].doc_id

    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(ask, n) for n in range(200)]
        for more in range(3):
            index(*(f"apple number{n}" for n in range(21 + more)))
        assert [one.result() for one in asked] == [f"d{n % 20}" for n in range(200)]
