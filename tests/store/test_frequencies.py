"""Document frequencies that are kept beside a collection: they are those of what is stored, whatever happens."""

import json
import threading
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from qdrant_client import models  # noqa: TID253

from hybrid_search.errors import StoreError
from hybrid_search.indexer import Indexer
from hybrid_search.indexing.deletion import delete_documents
from hybrid_search.manifest import LegSpec
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.schema import vector_of
from hybrid_search.store.server import frequencies, writer
from hybrid_search.store.server.connection import RetryingClient, RetryPolicy
from hybrid_search.store.server.counts import count, pack, total, unpack
from hybrid_search.store.server.frequencies import COUNTS_KEY, Ledger, read_counts, rows_of
from hybrid_search.store.server.reader import by_name
from hybrid_search.store.server.scrolling import scroll_points
from hybrid_search.store.server.store import ServerStore
from hybrid_search.types import Document, SparseVector
from tests.qdrant_over_http import QdrantOverHttp
from tests.sharded_qdrant import ShardedQdrant
from tests.store.store_points import ROOT, manifest_of, point, points, random_sparse

MANIFEST = manifest_of(("sparse",), idf=True)


class Killed(BaseException):
    """What ends a job at once."""


def sharded(shards=3):
    return ServerStore(ShardedQdrant(shards), retry_s=0)


def skewed(doc_id, version=0):
    """A document whose terms are rare or frequent, and other ones in each version."""
    rng = np.random.default_rng(zlib.crc32(f"{doc_id} {version}".encode()))
    indices = np.unique((60 * rng.random(10) ** 3).astype(int))
    vector = SparseVector.of(indices, rng.random(indices.size) + 0.1)
    return point(doc_id, sparse=vector, legs=("sparse",), stamp=str(version))


def side_of(store, name="c"):
    return store._client.get_collection(name).config.metadata[COUNTS_KEY]


def stored_counts(store, name="c"):
    """The counts by brute force over what is stored."""
    line = RetryingClient(store._client, "here", RetryPolicy(0))
    records = scroll_points(line.call, lambda: name, None, False, ["sparse"])
    return plain(count(({n: vector_of(v) for n, v in by_name(r.vector).items()} for r in records), ["sparse"]))


def kept_counts(store, name="c"):
    line = RetryingClient(store._client, "here", RetryPolicy(0))
    side = side_of(store, name)
    return plain(read_counts(line.call, name, side, rows_of(line.call, side)))


def plain(counts):
    one = counts.get("sparse")
    if one is None:
        return 0, {}
    return one.chunks, dict(zip(one.dimensions.tolist(), one.counts.tolist(), strict=True))


def filled(store, batch, name="c", manifest=MANIFEST):
    made = store.writer(name, manifest)
    made.upsert(batch)
    made.publish()
    return made


def test_counts_come_back_as_they_were_packed():
    rng = np.random.default_rng(3)
    counts = count([{"a": random_sparse(rng)} for _ in range(50)], ["a", "b"])
    again = unpack(pack(counts))
    assert pack(again) == pack(counts)
    nothing = total([(1, counts), (-1, again)])
    assert nothing["a"].chunks == 0
    assert not nothing["a"].dimensions.size


def test_vectors_are_stored_without_the_modifier_of_the_server():
    store = sharded()
    filled(store, points(3, legs=("sparse",)))
    assert store._client.get_collection("c").config.params.sparse_vectors["sparse"].modifier is None
    assert store.names() == ["c"]
    assert store.leftovers() == []
    store.delete("c")
    assert store._client.get_collections().collections == []


def answers(store, queries, depth=10):
    with_ties = store.reader("c").retrieve([("sparse", query) for query in queries], 200)
    return [sorted(one, key=lambda hit: (-round(hit[1], 5), hit[0]))[:depth] for one in with_ties]


@pytest.fixture(scope="module")
def asked():
    rng = np.random.default_rng(11)
    return [random_sparse(rng) for _ in range(30)]


def spoiled(store):
    """A collection with a history: some of it is replaced, some deleted, one job killed."""
    made = filled(store, [skewed(f"d{n}") for n in range(120)])
    made.upsert([skewed(f"d{n}", 1) for n in range(0, 120, 3)])
    made.delete([f"d{n}#0" for n in range(1, 120, 10)])
    made.publish()
    made.close()


@pytest.mark.parametrize("shards", [1, 3, 6])
def test_answers_are_those_of_the_embedded_store_on_any_number_of_shards(tmp_path, shards, asked):
    server, embedded = sharded(shards), EdgeStore(tmp_path / "store")
    spoiled(server)
    filled(embedded, [skewed(f"d{n}", int(n % 3 == 0)) for n in range(120) if n % 10 != 1]).close()
    for theirs, ours in zip(answers(embedded, asked), answers(server, asked), strict=True):
        assert [chunk for chunk, _ in ours] == [chunk for chunk, _ in theirs]
        assert [score for _, score in ours] == pytest.approx([score for _, score in theirs], rel=1e-5)
    dimensions = list(range(80))
    ours = server.reader("c").inverse_frequencies("sparse", dimensions)
    assert ours == pytest.approx(embedded.reader("c").inverse_frequencies("sparse", dimensions), rel=1e-5)


def test_a_collection_with_the_modifier_goes_on_and_is_distorted_by_shards(tmp_path, monkeypatch, asked):
    monkeypatch.setattr(writer, "can_count", lambda line: False)
    one, three = sharded(1), sharded(3)
    spoiled(one)
    spoiled(three)
    monkeypatch.undo()
    assert COUNTS_KEY not in three._client.get_collection("c").config.metadata
    filled(three, []).close()  # a job of now leaves it as it is
    assert COUNTS_KEY not in three._client.get_collection("c").config.metadata
    differing = [a for a, b in zip(answers(one, asked), answers(three, asked), strict=True) if a != b]
    assert len(differing) > 10


STEPS = ["upsert", "delete", "kill", "fold", "reopen"]


@examples(max_examples=40, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(STEPS), st.lists(st.integers(0, 8), min_size=1, max_size=5), st.integers(0, 7)),
        max_size=14,
    ),
    fold_at=st.sampled_from([1, 2, 32]),
)
def test_counts_are_those_of_what_is_stored_whatever_happens(steps, fold_at):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frequencies, "FOLD_AT", fold_at)
        store = sharded(1)
        writers = [filled(store, []), store.writer("c", MANIFEST)]
        for version, (step, documents, number) in enumerate(steps):
            at = number % 2
            batch = [skewed(f"d{n}", version) for n in dict.fromkeys(documents)]
            if step == "upsert":
                writers[at].upsert(batch)
            elif step == "delete":
                writers[at].delete([f"d{n}#0" for n in documents])
            elif step == "kill":
                killed(store, writers[at], batch, number)
            elif step == "fold":
                writers[at].publish()
            else:
                writers[at] = store.writer("c", MANIFEST)
            assert kept_counts(store) == stored_counts(store)
        writers[0].publish()
        assert kept_counts(store) == stored_counts(store)
        assert len(store._client.scroll(side_of(store))[0]) == 1  # one base is left


def killed(store, writer, batch, after):
    """Write, and be killed after so many writing requests, or in the middle of the batch."""
    client, left = store._client, [after]
    real = {name: getattr(client, name) for name in ("upsert", "delete")}

    def dying(name):
        def call(collection, *arguments, **options):
            if not left[0]:
                some = arguments[0][: len(arguments[0]) // 2] if name == "upsert" else []
                if some and "__idf_" not in collection:  # some of the batch arrived
                    real[name](collection, some, *arguments[1:], **options)
                raise Killed
            left[0] -= 1
            return real[name](collection, *arguments, **options)

        return call

    for name in real:
        setattr(client, name, dying(name))
    try:
        writer.upsert(batch)
        writer.publish()
    except Killed:
        pass
    finally:
        for name in real:
            delattr(client, name)


@pytest.mark.parametrize("after", range(9))
def test_a_job_that_is_killed_at_any_request_leaves_counts_that_are_right(after):
    store = sharded(1)
    made = filled(store, [skewed(f"d{n}") for n in range(6)])
    killed(store, made, [skewed(f"d{n}", 1) for n in range(3, 9)], after)
    assert kept_counts(store) == stored_counts(store)
    again = store.writer("c", MANIFEST)
    again.upsert([skewed(f"d{n}", 2) for n in range(3, 9)])
    again.publish()
    assert kept_counts(store) == stored_counts(store)
    assert len(store._client.scroll(side_of(store))[0]) == 1


def one_at_a_time(lock, real):
    def call(*arguments, **options):
        with lock:
            return real(*arguments, **options)

    return call


def test_writers_of_the_same_documents_at_once_wait_for_each_other():
    store = sharded(1)
    filled(store, [])
    lock, client = threading.Lock(), store._client
    for name in ("upsert", "delete", "scroll", "retrieve"):  # the in-memory form is not made for threads
        setattr(client, name, one_at_a_time(lock, getattr(client, name)))
    failed = []

    def work(number):
        try:
            mine = store.writer("c", MANIFEST)
            for version in range(6):
                mine.upsert([skewed(f"d{n}", 10 * version + number) for n in range(number, number + 4)])
                mine.delete([f"d{version}#0"])
                mine.publish()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    assert kept_counts(store) == stored_counts(store)


def ledger_of(store):
    line = RetryingClient(store._client, "here", RetryPolicy(0))
    return Ledger(line.call, "c", side_of(store))


def test_of_two_who_fold_at_once_one_wins():
    store = sharded(1)
    filled(store, [skewed("a"), skewed("b")]).upsert([skewed("c")])
    ledger, other = ledger_of(store), ledger_of(store)
    real = ledger._won

    def late(generation, counts, folds):
        other.fold()
        return real(generation, counts, folds)

    ledger._won = late
    ledger.fold()
    assert kept_counts(store) == stored_counts(store)


def test_work_of_another_machine_is_dead_after_its_lease():
    store = sharded(1)
    made = filled(store, [skewed("a")])
    ledger = ledger_of(store)
    change = ledger.change([str(skewed("a").point_id)], ["sparse"], {})
    change.__enter__()
    store._client.delete("c", models.PointIdsList(points=[str(skewed("a").point_id)]))
    [row] = [row for row in rows_of(ledger.ask, ledger.side) if row.kind == "work"]
    elsewhere = {**row.payload, "owner": {"place": "elsewhere", "pid": 1, "began": 0.0}}
    store._client.upsert(ledger.side, [models.PointStruct(id=row.id, vector={}, payload=elsewhere)])
    now = [0.0]
    waiting = Ledger(ledger.ask, "c", ledger.side, clock=lambda: now[0], rest=lambda _: now.__setitem__(0, now[0] + 10))
    made._ledger = waiting
    made.upsert([skewed("a", 1)])
    assert now[0] > frequencies.LEASE_S
    assert kept_counts(store) == stored_counts(store)


def test_who_was_taken_for_dead_says_so():
    store = sharded(1)
    filled(store, [skewed("a")])
    ledger = ledger_of(store)
    now = [0.0]
    slow = Ledger(ledger.ask, "c", ledger.side, clock=lambda: now[0])
    change = slow.change([str(skewed("a").point_id)], ["sparse"], {})
    change.__enter__()
    [row] = [row for row in rows_of(ledger.ask, ledger.side) if row.kind == "work"]
    ledger.settle(row)
    ledger.fold()
    now[0] = 200.0
    with pytest.raises(StoreError, match="took it for dead"):
        change.__exit__(None, None, None)


def test_without_counts_a_search_says_what_to_do():
    store = sharded(1)
    filled(store, [skewed("a")])
    for row in rows_of(ledger_of(store).ask, side_of(store)):
        store._client.delete(side_of(store), models.PointIdsList(points=[row.id]))
    with pytest.raises(StoreError, match=r"no document frequencies.*--replace"):
        store.reader("c").retrieve([("sparse", random_sparse(np.random.default_rng(1)))], 3)


def test_an_open_reader_goes_on_with_the_counts_of_the_version_that_came_after():
    with QdrantOverHttp() as server:
        store = ServerStore.connect(server.url)
        filled(store, [skewed(f"d{n}") for n in range(9)])
        reader, query = store.reader("c"), random_sparse(np.random.default_rng(1))
        reader.retrieve([("sparse", query)], 3)
        made = store.writer("c", MANIFEST, replace=True)
        made.upsert([skewed(f"e{n}", 1) for n in range(20)])
        made.publish()
        reader._counts._looked = float("-inf")
        assert reader.retrieve([("sparse", query)], 3) == store.reader("c").retrieve([("sparse", query)], 3)
        assert len(store._client.get_collections().collections) == 2
        now, dimensions = store.reader("c"), list(range(60))
        assert reader.inverse_frequencies("sparse", dimensions) == now.inverse_frequencies("sparse", dimensions)
        store.close()


def test_a_search_of_a_collection_that_nobody_writes_to_asks_nothing_more():
    with QdrantOverHttp() as server:
        store = ServerStore.connect(server.url)
        made = filled(store, [skewed(f"d{n}") for n in range(9)])
        assert kept_counts(store) == stored_counts(store)
        before = len(server.asked)
        made.upsert([skewed(f"d{n}", 1) for n in range(5, 300)])
        asked = [(method, path.rpartition("__")[2]) for method, path in server.asked[before:]]
        assert len(asked) <= 3 + 5  # three batches, and five small requests for all of them
        made.publish()
        assert kept_counts(store) == stored_counts(store)
        reader, query = store.reader("c"), random_sparse(np.random.default_rng(1))
        reader.retrieve([("sparse", query)], 3)
        before = len(server.asked)
        for _ in range(5):
            reader.retrieve([("sparse", query)], 3)
        assert len(server.asked) == before + 5
        store.close()


def test_a_leg_that_comes_later_is_counted_and_one_that_goes_is_not():
    store = sharded(1)
    manifest = manifest_of(("dense",))
    made = filled(store, points(5, legs=("dense",)), manifest=manifest)
    spec = LegSpec("new-model", "f-new", needs_idf=True, vector="new.12345678")
    made.add_vector(spec)
    rng = np.random.default_rng(5)
    made.set_vectors(spec, {f"d{n}#0": random_sparse(rng) for n in range(4)})
    made.publish(manifest.with_legs({**manifest.legs, "new": spec}, "custom"))
    line = RetryingClient(store._client, "here", RetryPolicy(0))
    counts = read_counts(line.call, "c", side_of(store), rows_of(line.call, side_of(store)))
    assert counts["new.12345678"].chunks == 4
    made.replace_manifest(manifest)
    made.drop_unused_vectors()
    assert not read_counts(line.call, "c", side_of(store), rows_of(line.call, side_of(store)))


@pytest.fixture(scope="module")
def cranfield(tmp_path_factory):
    folder = ROOT.parent / "shared" / "collections" / "cranfield"
    if not folder.is_dir():
        pytest.skip(f"needs the test collection in {folder}")
    documents = [Document(row["_id"], row["text"], row.get("title", "")) for row in rows(folder / "corpus.jsonl")]
    queries = [row["text"] for row in rows(folder / "queries.jsonl")]
    store = EdgeStore(tmp_path_factory.mktemp("embedded") / "store")
    return documents, queries, top_10s(store, documents, queries)


def rows(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def top_10s(store, documents, queries):
    """The ten best of every query in every mode, after some documents were replaced and others deleted."""
    place = {"store": store, "settings": Settings()}
    changed = [Document(one.doc_id, f"{one.text} boundary layer", one.title) for one in documents[::4]]
    with_bm25 = Indexer.open("c", profile="bundled", legs=("sparse", "dense", "bm25"), **place)
    with_bm25.index([*changed, *documents[:40]])
    with_bm25.index(documents, prune=True)
    delete_documents("c", [one.doc_id for one in documents[::10]], **place)
    with Searcher.open("c", **place) as searcher:
        return {
            mode: [[hit.doc_id for hit in found] for found in searcher.search_many(queries, k=10, mode=mode)]
            for mode in ("sparse", "bm25", "hybrid")
        }


@pytest.mark.slow
@pytest.mark.timeout(1200)  # the in-memory form compares vectors in Python
@pytest.mark.parametrize("shards", [1, 3, 6])
def test_all_queries_of_a_test_collection_have_the_same_top_10_on_any_number_of_shards(cranfield, shards):
    documents, queries, expected = cranfield
    found = top_10s(sharded(shards), documents, queries)
    assert {mode: sum(a != b for a, b in zip(found[mode], expected[mode], strict=True)) for mode in expected} == {
        "sparse": 0,
        "bm25": 0,
        "hybrid": 0,
    }
