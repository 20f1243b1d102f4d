"""An open searcher goes on with its collection: states, the searches in them, and when they are closed."""

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from hybrid_search.collection.legs import promote_leg, swap_legs
from hybrid_search.errors import CollectionChanged, CollectionNotFound, ManifestMismatch, StoreError
from hybrid_search.indexer import Indexer
from hybrid_search.indexing.add_leg import add_leg
from hybrid_search.search.open_collection import OpenCollection
from hybrid_search.search.reader_manager import TRIES, ReaderManager
from hybrid_search.searcher import Searcher
from hybrid_search.store import open_store
from hybrid_search.types import Document
from tests.qdrant_over_http import child

APPLES = [Document("a", "red apples")]
PEARS = [Document("b", "green pears and apples")]


def index(settings, documents, sparse="fake/sparse", dense="fake/dense", **options):
    return Indexer.open("c", settings=settings, sparse=sparse, dense=dense, **options).index(documents)


def replace(settings, documents, sparse="fake/sparse", dense="fake/dense"):
    return Indexer.open("c", settings=settings, sparse=sparse, dense=dense, replace=True).index(documents)


def ids(results):
    return [hit.doc_id for hit in results]


@pytest.fixture
def opened(settings, fakes):
    """Index apples, and open a searcher with these options."""
    searchers = []

    def make(**options):
        index(settings, APPLES)
        searchers.append(Searcher.open("c", settings=settings, **options))
        return searchers[-1]

    yield make
    for searcher in searchers:
        searcher.close()


# ---------------------------------------------------------------- in a folder


def test_what_is_indexed_later_is_found_by_the_next_search_with_the_models_that_are_loaded(opened, settings, fakes):
    searcher = opened()
    assert ids(searcher.search("apples")) == ["a"]
    loaded, reader = len(fakes.loaded), searcher._latest.opened.reader
    index(settings, PEARS)
    theirs = len(fakes.loaded)
    assert sorted(ids(searcher.search("apples"))) == ["a", "b"]
    assert len(fakes.loaded) == theirs > loaded  # the indexer's, none of ours
    assert searcher._latest.opened.reader is not reader
    assert ids(searcher.search("apples", k=1)) == ids(Searcher.open("c", settings=settings).search("apples", k=1))


def test_a_replacement_is_found_and_an_unchanged_collection_is_not_opened_again(opened, settings):
    searcher = opened()
    replace(settings, PEARS)
    assert ids(searcher.search("apples")) == ["b"]
    reader = searcher._latest.opened.reader
    assert ids(searcher.search("pears")) == ["b"]
    assert searcher._latest.opened.reader is reader


def test_one_that_does_not_follow_keeps_what_it_opened(opened, settings):
    searcher = opened(refresh=False)
    index(settings, PEARS)
    assert ids(searcher.search("apples")) == ["a"]
    replace(settings, PEARS, dense="fake/dense-2")
    assert ids(searcher.search("apples")) == ["a"]


def test_a_replacement_with_other_models_is_opened_anew_and_keeps_those_that_are_the_same(opened, settings, fakes):
    searcher = opened()
    before = searcher._latest.opened.encoders
    replace(settings, PEARS, dense="fake/dense-2")
    assert ids(searcher.search("apples", mode="dense")) == ["b"]
    after = searcher._latest.opened.encoders
    assert searcher.manifest.legs["dense"].model == after["dense"].card.name == "fake/dense-2"
    assert after["sparse"] is before["sparse"]


def test_a_leg_that_is_added_and_swapped_is_searched(opened, settings):
    searcher = opened()
    add_leg("c", "new", "fake/dense-2", settings=settings)
    assert searcher.search("apples", mode="new").mode == "new"
    promote_leg("c", "new", settings=settings)
    assert set(searcher.search("apples").legs) == {"sparse", "dense", "new"}
    swap_legs("c", "dense", "new", settings=settings)
    searcher.search("apples")
    assert searcher._latest.opened.encoders["dense"].card.name == "fake/dense-2"


def test_models_that_were_asked_for_are_insisted_on(opened, settings):
    searcher = opened(dense="fake/dense")
    replace(settings, PEARS, dense="fake/dense-2")
    for _ in range(2):
        with pytest.raises(ManifestMismatch, match="fake/dense-2"):
            searcher.search("apples")
    replace(settings, PEARS)
    assert ids(searcher.search("apples")) == ["b"]


def test_a_collection_that_was_deleted_is_not_found_until_there_is_one_again(opened, settings):
    searcher = opened()
    open_store(settings.store).delete("c")
    with pytest.raises(CollectionNotFound):
        searcher.search("apples")
    index(settings, PEARS)
    assert ids(searcher.search("apples")) == ["b"]


def test_old_states_leave_no_lease_behind(opened, settings):
    searcher = opened()
    for number in range(4):
        replace(settings, [Document(f"d{number}", "apples")])
        assert ids(searcher.search("apples")) == [f"d{number}"]
    root = open_store(settings.store).folder / "c"
    current = (root / "CURRENT").read_text(encoding="utf-8").strip()
    assert {lease.name.split(".")[0] for lease in (root / "leases").iterdir()} == {current}
    searcher.close()
    assert not list((root / "leases").iterdir())


def test_searches_in_other_threads_end_in_the_state_they_began_in(opened, settings, fakes):
    searcher = opened()
    searcher.search("apples")
    first = searcher._latest.opened
    inside, go_on = threading.Event(), threading.Event()
    seen = []

    def slow(state):
        inside.set()
        assert go_on.wait(60)
        seen.append(ids_of(state))

    thread = threading.Thread(target=searcher._latest.run, args=(slow,))
    thread.start()
    inside.wait(60)
    replace(settings, PEARS)
    assert ids(searcher.search("apples")) == ["b"]
    assert ids_of(first) == ["a"]  # still open
    go_on.set()
    thread.join()
    assert seen == [["a"]]
    with pytest.raises(StoreError, match="closed"):
        ids_of(first)


def ids_of(state: OpenCollection):
    return list(state.reader.doc_ids())


LOOP = """
    import sys
    from pathlib import Path
    from hybrid_search.indexer import Indexer
    from hybrid_search.settings import Settings
    from hybrid_search.types import Document
    settings = Settings(store=sys.argv[1], cache_dir=Path(sys.argv[2]))
    for number in range(int(sys.argv[3])):
        documents = [Document(f"{number}-{n}", "red apples") for n in range(5)]
        Indexer.open("c", settings=settings, sparse="qdrant/bm25-engine", dense="none", replace=True).index(documents)
"""


def test_a_search_never_fails_while_another_process_replaces_the_collection_again_and_again(settings):
    search_while_replaced(settings, 8)
    assert not list((open_store(settings.store).folder / "c" / "leases").iterdir())


def search_while_replaced(settings, rounds):
    command = [sys.executable, "-c", textwrap.dedent(LOOP), settings.store, str(settings.cache_dir)]
    subprocess.run([*command, "1"], check=True)
    failures, states = [], set()
    with Searcher.open("c", settings=settings) as searcher:
        replacing = subprocess.Popen([*command, str(rounds)])

        def search():
            while replacing.poll() is None:
                try:
                    found = ids(searcher.search("apples"))
                    assert len(found) == 5
                    [state] = {name.split("-")[0] for name in found}
                    states.add(state)
                except BaseException as error:
                    failures.append(error)
                    return

        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert replacing.wait() == 0
        assert failures == []
        assert len(states) > 2
        assert {name.split("-")[0] for name in ids(searcher.search("apples"))} == {str(rounds - 1)}


def test_looking_for_a_later_state_costs_microseconds(opened):
    reader = opened()._latest.opened.reader
    began = time.thread_time()
    for _ in range(1_000):
        assert not reader.is_stale()
    assert time.thread_time() - began < 0.2  # s, so 200 µs each; it takes about 5


# ---------------------------------------------------------------- on a server


@pytest.fixture(scope="module")
def url():
    with child() as url:
        yield url


@pytest.fixture
def served(url, settings, fakes):
    """Settings with a server of this module as their store, and apples on it."""
    served = settings.model_copy(update={"store": url})
    replace(served, APPLES)
    return served


def test_a_replacement_on_a_server_is_found_also_one_with_other_models(served):
    with Searcher.open("c", settings=served) as searcher:
        assert ids(searcher.search("apples")) == ["a"]
        replace(served, PEARS)
        assert ids(searcher.search("apples")) == ["b"]
        replace(served, APPLES, dense="fake/dense-2")
        assert ids(searcher.search("apples", mode="dense")) == ["a"]
        assert searcher.manifest.legs["dense"].model == "fake/dense-2"


def test_one_that_does_not_follow_says_that_a_server_has_other_models_now(served):
    with Searcher.open("c", settings=served, refresh=False) as searcher:
        replace(served, APPLES, dense="fake/dense-2")
        with pytest.raises(StoreError, match=r"rebuilt with other models.*Open it again"):
            searcher.search("apples")


def test_a_document_that_goes_while_it_is_searched_for_is_no_error(served):
    index(served, PEARS)
    with Searcher.open("c", settings=served) as searcher:
        reader = searcher._latest.opened.reader
        query, tries = reader._query, []

        def late(*given):
            found = query(*given)
            if not tries:
                Indexer.open("c", settings=served).index(PEARS, prune=True)
            tries.append(found)
            return found

        reader._query = late
        assert ids(searcher.search("apples")) == ["b"]
        assert len(tries) == 1  # the second time in another state


def test_a_search_never_fails_while_a_collection_on_a_server_is_replaced_again_and_again(served):
    search_while_replaced(served, 8)


# ---------------------------------------------------------------- on any store


class Reader:
    """A reader that says what it is told to say."""

    max_concurrency = 1

    def __init__(self):
        self.old, self.closed = False, 0

    def is_stale(self):
        return self.old

    def close(self):
        self.closed += 1


def state():
    return OpenCollection("c", Reader(), {}, (), {})


def test_a_change_halfway_begins_the_search_anew_in_the_state_after_it():
    first, second = state(), state()
    latest = ReaderManager(first, lambda before: second)
    seen = []

    def job(opened):
        seen.append(opened)
        if opened is first:
            raise CollectionChanged("gone")
        return "found"

    assert latest.run(job) == "found"
    assert seen == [first, second]
    assert (first.reader.closed, second.reader.closed) == (1, 0)
    latest.close()
    latest.close()
    assert second.reader.closed == 1


@pytest.mark.parametrize("renew", [None, lambda before: state()])
def test_a_collection_that_changes_without_end_is_an_error_in_the_end(renew):
    tries = []

    def job(opened):
        tries.append(opened)
        raise CollectionChanged("gone")

    with pytest.raises(CollectionChanged):
        ReaderManager(state(), renew).run(job)
    assert len(tries) == TRIES


def test_where_the_new_state_cannot_be_opened_the_error_is_said_and_the_next_search_tries_again():
    first, second, broken = state(), state(), [True]

    def renew(before):
        if broken:
            raise StoreError("not now")
        return second

    latest = ReaderManager(first, renew)
    first.reader.old = True
    with pytest.raises(StoreError, match="not now"):
        latest.run(lambda opened: opened)
    assert first.reader.closed == 0
    broken.clear()
    assert latest.run(lambda opened: opened) is second
    assert first.reader.closed == 1


def test_many_threads_open_a_new_state_once_and_every_state_is_closed_once():
    made = [state()]

    def renew(before):
        time.sleep(0.001)
        made.append(state())
        return made[-1]

    latest = ReaderManager(made[0], renew)

    def search():
        for _ in range(200):
            found = latest.run(lambda opened: (opened.reader.closed, opened))
            assert found[0] == 0
            time.sleep(0)

    threads = [threading.Thread(target=search) for _ in range(8)]
    for thread in threads:
        thread.start()
    changes = 0
    while any(thread.is_alive() for thread in threads):
        made[-1].reader.old = True
        changes += 1
        time.sleep(0.002)
    latest.close()
    assert 1 < len(made) <= changes + 1
    assert [each.reader.closed for each in made] == [1] * len(made)
    with pytest.raises(StoreError, match="has been closed"):
        latest.run(lambda opened: opened)


def test_closing_waits_for_nobody_and_what_has_begun_ends_as_ever():
    only = state()
    latest = ReaderManager(only)

    def job(opened):
        latest.close()
        assert only.reader.closed == 0
        return "found"

    assert latest.run(job) == "found"
    assert only.reader.closed == 1


# ---------------------------------------------------------------- forks

FORK = """
    import asyncio, os, sys, warnings
    from pathlib import Path
    warnings.simplefilter("ignore")
    from hybrid_search.errors import StoreError
    from hybrid_search.searcher import Searcher
    from hybrid_search.settings import Settings
    settings = Settings(store=sys.argv[1], cache_dir=Path(sys.argv[2]))
    searcher = Searcher.open("c", settings=settings)
    asyncio.run(searcher.asearch("apples"))
    children = []
    calls = [
        lambda: searcher.search("apples"),
        lambda: searcher.search_many(["apples"]),
        lambda: asyncio.run(searcher.asearch("apples")),
        lambda: asyncio.run(searcher.asearch_many(["apples"])),
        lambda: asyncio.run(searcher.aexplain("apples", "a")),
        lambda: searcher.explain("apples", "a"),
        lambda: searcher.expansion("apples"),
        lambda: searcher.warm_up(),
    ]
    for number, call in enumerate(calls):
        child = os.fork()
        if child == 0:
            try:
                call()
            except StoreError as error:
                told = all(word in str(error) for word in ("fork", "Searcher.open", "spawn"))
                searcher.close()
                os._exit(7 if told else 8)
            os._exit(9)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    child = os.fork()
    if child == 0:  # as the error says
        os._exit(7 if len(Searcher.open("c", settings=settings).search("apples")) == 1 else 9)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert len(searcher.search("apples")) == 1
    print(codes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_is_refused_by_everything_instead_of_hanging_and_may_open_its_own(settings, bundled):
    index(settings, APPLES, sparse=bundled, dense=bundled)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORK), settings.store, str(settings.cache_dir)],
        timeout=100,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str([7] * 9), done.stderr


# ---------------------------------------------------------------- memory


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(searcher, searches):
    """Bytes that so many searches add, after some that fill what is kept on purpose."""
    for number in range(100):
        searcher.search(f"apples {number % 7} red", explain=True)
    gc.collect()
    before = resident_bytes()
    for number in range(searches):
        searcher.search(f"apples {number} red", explain=number % 10 == 0, where="n < 900" if number % 5 == 0 else None)
    gc.collect()
    return resident_bytes() - before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize("searches", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_memory_is_flat(settings, fakes, searches):
    index(settings, [Document(f"d{n}", f"red apples number {n}", metadata={"n": n}) for n in range(300)])
    with Searcher.open("c", settings=settings) as searcher:
        assert growth(searcher, searches) < 20e6


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_memory_and_files_are_flat_over_many_states(opened, settings):
    searcher = opened()

    def rounds(count):
        for number in range(count):
            replace(settings, [Document(f"d{number}", "apples")])
            assert ids(searcher.search("apples")) == [f"d{number}"]

    rounds(3)
    before, files = resident_bytes(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    rounds(6)
    assert resident_bytes() - before < 20e6
    assert len(os.listdir("/proc/self/fd")) <= files + 2  # noqa: PTH208
