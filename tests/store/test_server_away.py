"""A server that goes away for a while: who waits, how long, and what is said; and readers that a rebuild passes by."""

import threading
import time

import numpy as np
import pytest

from hybrid_search import Indexer, Searcher
from hybrid_search.errors import StoreError, StoreUnavailable
from hybrid_search.store.server.client_errors import CollectionGone
from hybrid_search.store.server.connection import (
    LONGEST_WAIT_S,
    RetryingClient,
    RetryPolicy,
    interactive,
)
from hybrid_search.store.server.store import ServerStore
from tests.store.store_points import DIM, build, found, manifest_of, point, points

ONES = np.ones(DIM, np.float32)
LEGS = {"sparse": "fake/sparse", "dense": "fake/dense"}


@pytest.fixture
def store(http):
    store = ServerStore.connect(http.url, retry_s=30)
    yield store
    store.close()


def unavailable(retry_after_s=None):
    """What the client raises, for a function to raise."""
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ResponseHandlingException

    if retry_after_s is not None:
        return ResourceExhaustedResponse("slow down", retry_after_s)
    return ResponseHandlingException(ConnectionError("refused"))


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self):
        self.now = 0.0
        self.waits = []

    def __call__(self):
        return self.now

    def rest(self, seconds):
        self.waits.append(seconds)
        self.now += seconds
        return False


def line_with(patience, errors, clock):
    """A line to a client that raises these errors, one a call, and then answers."""
    waiting = iter(errors)

    def call(_):
        for error in waiting:
            raise error
        return "answer"

    line = RetryingClient(None, "http://qdrant.test", patience, clock, clock.rest)
    return lambda: line.call(call)


# ---------------------------------------------------------------- the schedule


def test_waits_grow_up_to_a_limit_and_a_random_part_of_each_is_waited(monkeypatch):
    monkeypatch.setattr("hybrid_search.store.server.connection.random.uniform", lambda low, high: high)
    clock = Clock()
    assert line_with(RetryPolicy(60), [unavailable() for _ in range(9)], clock)() == "answer"
    assert clock.waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, LONGEST_WAIT_S, LONGEST_WAIT_S, LONGEST_WAIT_S])

    monkeypatch.undo()
    clock = Clock()
    line_with(RetryPolicy(600), [unavailable() for _ in range(60)], clock)()
    limits = [min(LONGEST_WAIT_S, 0.2 * 2**n) for n in range(60)]
    assert all(0 <= wait <= limit for wait, limit in zip(clock.waits, limits, strict=True))
    assert len(set(clock.waits)) == 60


def test_patience_ends_and_the_last_attempt_is_made_at_its_end():
    clock = Clock()
    with pytest.raises(StoreUnavailable, match=r"asked again for 60 seconds .*run the same command again") as caught:
        line_with(RetryPolicy(60), (unavailable() for _ in iter(int, 1)), clock)()
    assert clock.now == pytest.approx(60)
    assert "refused" in str(caught.value)


def test_as_long_as_the_server_says_is_waited_at_least():
    clock = Clock()
    line_with(RetryPolicy(60), [unavailable(7), unavailable(30)], clock)()
    assert clock.waits == [7, 30]
    clock = Clock()
    with pytest.raises(StoreUnavailable):
        line_with(RetryPolicy(60), [unavailable(7), unavailable(54)], clock)()
    assert clock.waits == [7]


def test_a_search_tries_three_times_within_a_second(caplog):
    clock = Clock()
    with pytest.raises(StoreUnavailable) as caught:
        line_with(interactive(60), (unavailable() for _ in iter(int, 1)), clock)()
    assert len(clock.waits) == 2
    assert clock.now <= 1
    assert "asked again" not in str(caught.value)
    clock = Clock()
    with pytest.raises(StoreUnavailable):
        line_with(interactive(60), [unavailable(2)], clock)()
    with pytest.raises(StoreUnavailable):
        line_with(interactive(0), [unavailable()], clock)()
    assert (clock.waits, caplog.messages) == ([], [])


@pytest.mark.parametrize(
    ("status", "kind"), [(400, StoreError), (404, CollectionGone), (409, StoreError), (422, StoreError)]
)
def test_a_refusal_is_not_tried_again(status, kind):
    from httpx import Headers
    from qdrant_client.http.exceptions import UnexpectedResponse

    clock = Clock()
    with pytest.raises(kind, match=str(status)):
        line_with(RetryPolicy(60), [UnexpectedResponse(status, "no", b"no", Headers())], clock)()
    assert clock.waits == []


def test_one_line_is_said_when_waiting_begins_and_one_when_it_is_over(caplog):
    call = line_with(RetryPolicy(60), [unavailable() for _ in range(5)], Clock())
    call()
    call()
    assert caplog.messages == [
        "http://qdrant.test does not answer; trying again for 60 s",
        "http://qdrant.test answers again",
    ]


def test_many_threads_that_wait_say_one_line(http, caplog):
    line = RetryingClient(ServerStore.connect(http.url)._client, http.url, RetryPolicy(30))
    http.away(1.0)
    threads = [threading.Thread(target=line.call, args=(lambda c: c.get_collections(),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [message.removeprefix(http.url) for message in caplog.messages][:1] == [
        " does not answer; trying again for 30 s"
    ]
    assert len(caplog.messages) <= 4  # one may come through while another is told "no" for the last time
    line.client.close()


def test_an_interrupt_ends_the_waiting_at_once():
    def interrupted(_):
        raise KeyboardInterrupt

    line = RetryingClient(None, "x", RetryPolicy(60), time.monotonic, interrupted)
    with pytest.raises(KeyboardInterrupt):
        line.call(lambda _: (_ for _ in ()).throw(unavailable()))


def test_closing_a_writer_ends_its_waiting_in_another_thread(http, store):
    writer = store.writer("c", manifest_of())
    http.away(60)
    raised = []

    def write():
        try:
            writer.upsert(points(3))
        except StoreUnavailable as error:
            raised.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    while not any(path.endswith("/points") for _, path in http.asked):
        time.sleep(0.01)
    writer.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert len(raised) == 1


# ---------------------------------------------------------------- a real server


@pytest.mark.parametrize("how", ["close", "lost", "503", "429"])
def test_every_request_of_a_job_may_fail_once(http, store, how):
    """`lost` is the worst: it was done, but nobody was told. What is asked twice is the same as once."""
    failed = set()

    def once(method, path):
        if how == "429" and len(failed) == 3:  # each of them costs a second
            return None
        new = (method, path) not in failed
        failed.add((method, path))
        return how if new else None

    build(store, "c", points(300, "old"), manifest_of(model="old"))
    http.trouble = once
    writer = store.writer("c", manifest_of(), replace=True)
    writer.upsert(points(300))
    writer.upsert([point("with-metadata", metadata={"year": 1984})])
    writer.delete(["d7#0"])
    assert len(writer.heads([f"d{n}" for n in range(300)])) == 299
    assert len(list(writer.doc_ids())) == 300
    writer.publish()
    http.trouble = lambda method, path: None
    assert found(store.reader("c")) == {f"d{n}#0" for n in range(300) if n != 7} | {"with-metadata#0"}
    assert [c.name for c in store._client.get_collections().collections] == ["c__v2"]
    assert len(failed) >= 3


def test_a_search_does_not_wait_for_long(http, store, caplog):
    build(store, "c", points(3))
    reader = store.reader("c")
    lost = iter([True, True])
    http.trouble = lambda method, path: "close" if next(lost, None) else None
    assert len(found(reader)) == 3
    http.away(600)
    with pytest.raises(StoreUnavailable):
        reader.retrieve([("dense", ONES)], 5)
    with pytest.raises(StoreUnavailable):
        store.names()
    with pytest.raises(StoreUnavailable):
        store.reader("c")
    assert caplog.messages == []


def documents(count):
    return [{"id": f"d{n}", "text": f"word{n} word{n % 7} and some more of them", "year": n} for n in range(count)]


def everything(http, name):
    """Every point of a collection as it is stored."""
    from qdrant_client import QdrantClient

    client = QdrantClient(url=http.url, check_compatibility=False)
    records, _ = client.scroll(name, limit=10_000, with_payload=True, with_vectors=True)
    client.close()
    return {record.id: (record.payload, record.vector) for record in records}


def job_over_an_outage(http, settings, seconds, count):
    for name in ("undisturbed", "disturbed"):
        store = ServerStore.connect(http.url, retry_s=60)
        upserts = []

        def trouble(method, path, name=name, upserts=upserts):
            if method == "PUT" and path.endswith("/points"):
                upserts.append(path)
                if name == "disturbed" and len(upserts) == 2:
                    http.away(seconds)
                    return "lost"
            return None

        http.trouble = trouble
        report = Indexer.open(name, store=store, settings=settings, **LEGS).index(documents(count))
        assert (report.documents, report.failed) == (count, 0)
        store.close()
    disturbed, undisturbed = everything(http, "disturbed"), everything(http, "undisturbed")
    assert disturbed.keys() == undisturbed.keys()
    assert len(disturbed) == count
    for point_id, (payload, vectors) in undisturbed.items():
        assert disturbed[point_id][0] == payload
        assert disturbed[point_id][1]["sparse"] == vectors["sparse"]
        # The in-memory form rounds a dense vector that is written twice in another way.
        np.testing.assert_allclose(disturbed[point_id][1]["dense"], vectors["dense"], atol=1e-6)


def test_a_job_outlasts_a_server_that_goes_away(http, settings, fakes, caplog):
    job_over_an_outage(http, settings, 2, 300)
    assert caplog.messages == [f"{http.url} does not answer; trying again for 60 s", f"{http.url} answers again"]


@pytest.mark.slow
def test_a_job_outlasts_a_server_that_goes_away_for_twenty_seconds(http, settings, fakes):
    job_over_an_outage(http, settings, 20, 600)


def test_a_job_that_gave_up_goes_on_when_it_is_run_again(http, settings, fakes):
    store = ServerStore.connect(http.url, retry_s=0.3)
    upserts = []

    def trouble(method, path):
        if method == "PUT" and path.endswith("/points"):
            upserts.append(path)
            if len(upserts) == 3:
                http.away(600)
        return None

    http.trouble = trouble
    with pytest.raises(StoreUnavailable, match="run the same command again"):
        Indexer.open("c", store=store, settings=settings, **LEGS).index(documents(400))
    http.away(0)
    http.trouble = lambda method, path: None
    report = Indexer.open("c", store=store, settings=settings, **LEGS).index(documents(400))
    assert report.unchanged >= 64
    assert report.documents + report.unchanged == 400
    assert store.info("c").documents == 400
    store.close()


# ---------------------------------------------------------------- readers and rebuilds


def replaced(store, name, batch, manifest):
    writer = store.writer(name, manifest, replace=True)
    writer.upsert(batch)
    writer.publish()
    writer.close()


def test_an_open_reader_goes_on_with_a_rebuild_of_the_same_making(store):
    build(store, "c", points(3, "old"))
    readers = [store.reader("c") for _ in range(5)]
    replaced(store, "c", points(2, "new"), manifest_of())
    new = {"new0#0", "new1#0"}
    assert found(readers[0]) == new
    assert set(readers[1].payloads(["new0#0", "old0#0"])) == {"new0#0"}
    assert set(readers[2].vectors("dense", ["new0#0"])) == {"new0#0"}
    assert readers[3].info().points == 2
    assert "doc_id" in readers[4].fields()
    replaced(store, "c", points(1, "third"), manifest_of())
    assert found(readers[0]) == {"third0#0"}


def test_an_open_reader_of_a_rebuild_with_other_models_says_so(store):
    build(store, "c", points(3, "old"))
    reader = store.reader("c")
    replaced(store, "c", points(2, "new"), manifest_of(model="other"))
    with pytest.raises(StoreError, match=r"'c' in .* was rebuilt with other models .*Open it again"):
        found(reader)
    assert found(store.reader("c")) == {"new0#0", "new1#0"}


def test_an_open_reader_of_a_deleted_collection_says_so(store):
    build(store, "c", points(3))
    reader = store.reader("c")
    store.delete("c")
    with pytest.raises(CollectionGone, match="replaced or deleted meanwhile"):
        found(reader)


def test_a_collection_that_is_replaced_while_it_is_opened_opens(http, store):
    build(store, "c", points(3, "old"))
    rebuilt = []

    def trouble(method, path):
        if (method, path) == ("GET", "/collections/c__v1") and not rebuilt:
            rebuilt.append(path)
            replaced(store, "c", points(2, "new"), manifest_of())
        return None

    http.trouble = trouble
    assert found(store.reader("c")) == {"new0#0", "new1#0"}


def test_searches_never_fail_while_rebuilds_go_by(http, settings, fakes):
    store = ServerStore.connect(http.url)
    at = {"store": store, "settings": settings}
    Indexer.open("c", **at, **LEGS).index(documents(40))
    stop, counts, errors = threading.Event(), [], []

    def search():
        try:
            with Searcher.open("c", **at) as searcher:
                while not stop.is_set():
                    counts.append(len(searcher.search("word1 some more", k=10)))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        Indexer.open("c", **at, **LEGS, replace=True).index(documents(40))
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(counts) == {10}
    store.close()
