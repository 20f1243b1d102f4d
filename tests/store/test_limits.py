"""A server's limits shape the work and do not end it; where they change what is found, that is said."""

import numpy as np
import pytest
from qdrant_client import models  # noqa: TID253

from hybrid_search import Indexer, Searcher
from hybrid_search.errors import StoreError
from hybrid_search.store.server.client_errors import EXACT, LimitExceeded
from hybrid_search.store.server.limits import SearchLimits, WriteLimits
from hybrid_search.store.server.store import ServerStore
from hybrid_search.store.server.writer import size_of
from hybrid_search.types import SparseVector
from tests import faults
from tests.store.store_points import DIM, build, found, manifest_of, points

ONES = np.ones(DIM, np.float32)
LEGS = {"sparse": "fake/sparse", "dense": "fake/dense"}
FILMS = [{"id": str(n), "text": f"a film number {n} about whales", "metadata": {"year": 1900 + n}} for n in range(30)]


@pytest.fixture
def store(http):
    store = ServerStore.connect(http.url, retry_s=30)
    yield store
    store.close()


def limit(store, real, **limits):
    store._client.update_collection(real, strict_mode_config=models.StrictModeConfig(enabled=True, **limits))


SPARSE = SparseVector.of([1, 2_000_000_000], [0.1, 12.3])


def upserts(http):
    return sum(method == "PUT" and path.endswith("/points") for method, path in http.asked)


def test_a_writer_sends_what_the_strict_mode_takes(http, store):
    build(store, "c", points(1))
    limit(store, "c__v1", upsert_max_batchsize=7)
    writer = store.writer("c", manifest_of())
    before = upserts(http)
    writer.upsert(points(30, "more"))
    writer.close()
    assert upserts(http) - before == 5
    assert len(found(store.reader("c"))) == 31


def test_a_writer_halves_what_is_refused_for_its_size(http, store):
    build(store, "c", points(1))
    writer = store.writer("c", manifest_of())
    limit(store, "c__v1", upsert_max_batchsize=7)  # after the writer looked
    writer.upsert(points(30, "more"))
    split = "Write rate limit exceeded, request larger than rate limiter capacity, please try to split your request"
    limit(store, "c__v1", upsert_max_batchsize=1_000)
    http.faults.add(faults.Fault("status", status=429, text=split), "PUT", "/points$")
    writer.upsert(points(20, "third"))
    writer.close()
    assert len(found(store.reader("c"))) == 51


def test_one_record_that_is_too_large_alone_is_an_error(http, store):
    build(store, "c", points(1))
    writer = store.writer("c", manifest_of())
    http.faults.add(faults.status(413, "Payload Too Large"), "PUT", "/points$", times=faults.ALWAYS)
    with pytest.raises(LimitExceeded, match="413"):
        writer.upsert(points(2, "more"))
    writer.close()


@pytest.fixture
def films(http, store, settings):
    Indexer.open("films", store=store, settings=settings, **LEGS).index(FILMS)
    return Searcher.open("films", store=store, settings=settings)


@pytest.fixture
def settings(tmp_path):
    from hybrid_search.settings import Settings

    return Settings(cache_dir=tmp_path / "cache", store=str(tmp_path / "store"))


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    ("limits", "note"),
    [
        ({"max_query_limit": 12}, "ask for 12 chunks at most"),
        ({"search_max_batchsize": 1}, None),
        ({"search_allow_exact": False}, "no exact search"),
        ({"max_query_limit": 12, "search_max_batchsize": 1, "search_allow_exact": False}, "12 chunks"),
        ({"unindexed_filtering_retrieve": False, "search_allow_exact": False}, "no exact search"),
    ],
)
def test_searches_are_shaped_to_the_limits_and_say_what_that_changes(films, store, limits, note):
    query, options = "whales number", {"k": 5, "where": "year >= 1910"}
    usual = films.search(query, **options)
    limit(store, "films__v1", **limits)
    shaped = films.search(query, **options)
    if "max_query_limit" in limits:  # legs hand on fewer, which the note says
        assert len(shaped) == 5
    else:
        assert [hit.doc_id for hit in shaped] == [hit.doc_id for hit in usual]
        assert [hit.score for hit in shaped] == pytest.approx([hit.score for hit in usual])
    assert (note in " ".join(shaped.notes)) if note else not shaped.notes
    assert not usual.notes
    assert [hit.doc_id for hit in films.search_many([query, query], k=5)[1]]


@pytest.mark.usefixtures("fakes")
def test_a_limit_costs_one_refusal_and_then_no_more(films, store, http):
    limit(store, "films__v1", max_query_limit=12, search_max_batchsize=1)
    films.search("whales", k=3)
    http.asked.clear()
    films.search("whales", k=3)
    assert [path.rpartition("/")[2] for _, path in http.asked if path.endswith("batch")] == ["batch", "batch"]


def test_scrolling_takes_pages_of_the_size_that_is_allowed(http, store):
    build(store, "c", points(30))
    limit(store, "c__v1", max_query_limit=4)
    reader = store.reader("c")
    assert len(list(reader.doc_ids())) == 30
    assert reader.fields() is not None


@pytest.mark.parametrize(
    ("error", "limit", "searches", "learned"),
    [
        (LimitExceeded("", "limit", 5), 10, 2, SearchLimits(points=5)),
        (LimitExceeded("", "limit", 10), 10, 2, None),
        (LimitExceeded("", "limit", 0), 10, 2, None),
        (LimitExceeded("", "search batch size", 1), 10, 2, SearchLimits(searches=1)),
        (LimitExceeded("", "search batch size", 1), 10, 1, None),
        (LimitExceeded("", EXACT), 10, 2, SearchLimits(exact=False)),
    ],
)
def test_what_is_learned_from_a_refusal(error, limit, searches, learned):
    limits = SearchLimits()
    assert limits.learn(error, limit, searches) == (learned is not None)
    if learned:
        assert (limits.points, limits.searches, limits.exact) == (learned.points, learned.searches, learned.exact)
        assert not limits.learn(error, limits.most(limit), searches if not limits.searches else 1)


@pytest.mark.parametrize("taken", [1, 2, 3, 10, 100])
def test_every_record_is_written_once_and_in_order_whatever_is_taken(taken):
    written = []

    def write(batch):
        if len(batch) > taken:
            raise LimitExceeded("too large")
        written.extend(batch)

    WriteLimits(records=16, size=1_000).write(write, list(range(50)), lambda record: 10 * record)
    assert written == list(range(50))


def test_no_request_is_larger_than_a_server_takes():
    batches = []
    WriteLimits(records=128, size=1_000).write(batches.append, [400] * 5 + [2_000] + [1] * 300, lambda size: size)
    assert [len(batch) for batch in batches] == [2, 2, 1, 1, 128, 128, 44]


@pytest.mark.parametrize(
    ("vector", "payload"),
    [
        ({"dense": [0.123456789012345] * 384}, {"text": "ä" * 5_000}),
        (
            {"dense": [-1.5e-7] * 384, "sparse": SparseVector.of([1, 2_000_000_000], [0.1, 12.3])},
            {"a": {"b": [1, "\n" * 99]}},
        ),
        ({}, {}),
    ],
)
def test_a_record_takes_no_more_bytes_than_is_reckoned(vector, payload):
    from hybrid_search.store.server.reader import to_client

    sent = {name: to_client(one) if isinstance(one, SparseVector) else one for name, one in vector.items()}
    point = models.PointStruct(id=1, vector=sent, payload=payload)
    assert len(point.model_dump_json(exclude_none=True)) <= size_of(point) + 64


def test_a_refusal_that_is_no_limit_stays_an_error(http, store):
    build(store, "c", points(1))
    reader = store.reader("c")
    http.faults.add(faults.status(400, "Wrong input"), "POST", "/query/batch$", times=faults.ALWAYS)
    with pytest.raises(StoreError, match="Wrong input"):
        reader.retrieve([("dense", ONES)], 3)
