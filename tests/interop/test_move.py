"""A collection that is moved is the one it was: between any two stores, cut short, onto others, changed meanwhile."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hybrid_search._util import batched
from hybrid_search.collection.legs import swap_legs
from hybrid_search.errors import CollectionChanged, CollectionNotFound, InvalidArgument, StoreError, StoreUnavailable
from hybrid_search.indexing.add_leg import add_leg
from hybrid_search.interop import move as moves
from hybrid_search.interop.move import move, open_end
from hybrid_search.interop.move_check import check_vectors_and_answers, difference
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.settings import Settings
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.server.store import ServerStore
from hybrid_search.store.server.writer import ServerWriter
from hybrid_search.types import Document, Point, SparseVector, chunk_id_of
from tests.faults import cut, reset_after, reset_before, status
from tests.interop.test_encodings import SMALL, assert_same_answers, build, content, documents, top_ten
from tests.qdrant_over_http import QdrantOverHttp, child, send_away
from tests.store import store_points
from tests.store.conftest import in_memory

DRIVER = Path(__file__).with_name("move_driver.py")


@pytest.fixture(params=["edge to server", "server to edge", "edge to edge", "server to server"])
def ends(request, tmp_path):
    """Two stores, of both kinds each."""
    kinds = request.param.split(" to ")
    ends = [EdgeStore(tmp_path / f"end{n}") if kind == "edge" else in_memory() for n, kind in enumerate(kinds)]
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def here(settings, fakes, tmp_path):
    """A folder with the collection `c` of 30 documents."""
    store = EdgeStore(tmp_path / "here")
    build(settings, store, documents(), **SMALL)
    return store


@pytest.fixture
def there():
    store = in_memory()
    yield store
    store.close()


# ---------------------------------------------------------------- the same collection elsewhere


def test_a_moved_collection_is_the_one_it_was(ends, settings, fakes):
    here, there = ends
    build(settings, here, documents())
    report = move("c", source=here, target=there, settings=settings)
    assert (report.documents, report.written, report.removed, report.replaced) == (30, 30, 0, False)
    assert content(settings, there) == content(settings, here)
    assert there.manifest("c") == here.manifest("c")
    assert set(report.vectors) == set(report.searches) == {"sparse", "dense", "bm25"}
    assert all(report.searches.values())
    assert report.notes == ()
    assert_same_answers(top_ten(settings, here, "c"), top_ten(settings, there, "c"))
    again = build(settings, there, documents())
    assert (again.documents, again.unchanged) == (0, 30)
    assert move("c", source=here, target=there, settings=settings).written == 0


def test_legs_that_were_added_and_swapped_travel(ends, settings, fakes):
    here, there = ends
    build(settings, here, documents(), **SMALL)
    add_leg("c", "new", "fake/both", kind="sparse", store=here, settings=settings)
    swap_legs("c", "sparse", "new", store=here, settings=settings)
    report = move("c", "d", source=here, target=there, settings=settings)
    assert set(report.vectors) == {"sparse", "dense", "new"}
    assert there.manifest("d") == here.manifest("c")
    assert content(settings, there, "d") == content(settings, here)
    assert_same_answers(top_ten(settings, here, "c"), top_ten(settings, there, "d"))
    assert build(settings, there, documents(), name="d", sparse="fake/both", dense="fake/dense").unchanged == 30


def test_a_copy_in_the_same_store(ends, settings, fakes):
    store = ends[0]
    build(settings, store, documents(), **SMALL)
    move("c", "d", source=store, target=store, settings=settings)
    assert store.names() == ["c", "d"]
    assert content(settings, store, "d") == content(settings, store)
    for target in (store, store.location) if isinstance(store, EdgeStore) else (store,):
        with pytest.raises(InvalidArgument, match="cannot be copied onto itself"):
            move("c", source=store, target=target, settings=settings)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_pages_may_end_anywhere(here, there, settings, monkeypatch, batch):
    monkeypatch.setattr("hybrid_search.interop.move_source.READ_BATCH", batch)
    monkeypatch.setattr("hybrid_search.interop.filling.WRITE_BATCH", batch)
    assert move("c", source=here, target=there, settings=settings).written == 30
    assert content(settings, there) == content(settings, here)


def test_payloads_of_every_kind_of_value_travel_over_the_wire(tmp_path):
    metadata = {
        "text": '\u0000 \u202e 漢字 \U0001f600 "\\ é e\u0301',
        "numbers": [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 0.1, 1.0, -0.0, 1e300, 5e-324],
        "deep": {"a": {"b": [{"c": None}, [], {}, [[True, False]]]}},
        "": "no name",
        "a.b[]": 'say "hi"',
    }
    here, back = EdgeStore(tmp_path / "here"), EdgeStore(tmp_path / "back")
    store_points.build(here, "c", [store_points.point("d 1/#2", metadata=metadata), *store_points.points(3)])
    settings = Settings(store=str(here.folder))
    with QdrantOverHttp() as server:
        move("c", source=here, target=server.url, settings=settings)
        move("c", source=server.url, target=back, settings=settings)
    assert_equal(here, back)
    [payload] = back.reader("c").payloads(["d 1/#2#0"]).values()
    assert payload["metadata"] == metadata


def test_a_collection_without_a_document(ends, settings):
    here, there = ends
    store_points.build(here, "c", [])
    report = move("c", source=here, target=there, settings=settings)
    assert (report.documents, report.chunks, dict(report.searches)) == (0, 0, {"sparse": 0, "dense": 0})
    assert there.names() == ["c"]
    assert move("c", source=here, target=there, settings=settings).written == 0


def test_a_long_document_is_cut_short_and_written_to_its_end(here, there, settings, monkeypatch):
    """Its chunks take several batches; what the first try left of it is completed."""
    monkeypatch.setattr("hybrid_search.interop.filling.WRITE_BATCH", 2)
    long = [store_points.point("long", n, chunks=9) for n in range(9)]
    store_points.build(here, "l", long)
    upsert = ServerWriter.upsert

    def stopping(writer, points):
        upsert(writer, points)
        if any(point.payload["number"] == 5 for point in points):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ServerWriter, "upsert", stopping)
        with pytest.raises(KeyboardInterrupt):
            move("l", source=here, target=there, settings=settings)
    assert there.names() == []
    assert move("l", source=here, target=there, settings=settings).chunks == 9
    assert content(settings, there, "l") == content(settings, here, "l")


# ---------------------------------------------------------------- what is there already


def test_other_content_is_left_alone_unless_told(here, there, settings):
    build(settings, there, documents()[:7], **SMALL)
    before = content(settings, there)
    with pytest.raises(StoreError, match=r"7 documents instead of 30.*--replace"):
        move("c", source=here, target=there, settings=settings)
    assert content(settings, there) == before
    seen = []
    report = move(
        "c",
        source=here,
        target=there,
        replace=True,
        settings=settings,
        on_progress=lambda now: seen.append(len(list(there.reader("c").doc_ids()))),
    )
    assert set(seen) == {7}
    assert report.replaced
    assert content(settings, there) == content(settings, here)


@pytest.mark.parametrize("what", ["text", "models", "vector"])
def test_how_the_content_differs_is_told(here, there, settings, fakes, what):
    changed = documents()
    if what == "text":
        changed[3] = Document("d3", changed[3].text + " river", title=changed[3].title)
    build(settings, there, changed, **({"sparse": "fake/both", "dense": "fake/both"} if what == "models" else SMALL))
    if what == "vector":
        writer = there.writer("c", there.manifest("c"))
        for chunk_id, payload in content(settings, there).items():
            vectors = {leg: there.reader("c").vectors(leg, [chunk_id]).get(chunk_id) for leg in ("sparse", "dense")}
            vectors["dense"] = np.roll(vectors["dense"], 1)
            writer.upsert([Point(chunk_id, {leg: v for leg, v in vectors.items() if v is not None}, payload)])
        writer.publish()
    told = {"text": "checksum|chunks instead", "models": "other models", "vector": "the dense vector of"}[what]
    with pytest.raises(StoreError, match=told) as caught:
        move("c", source=here, target=there, settings=settings)
    assert "--replace" in str(caught.value)


def test_what_another_job_has_begun_is_left_alone(here, there, settings, fakes):
    manifest = store_points.manifest_of()
    there.writer("c", manifest).close()
    with pytest.raises(StoreError, match=r"is being built with other models.*--replace"):
        move("c", source=here, target=there, settings=settings)
    assert there.manifest("c") == manifest
    move("c", source=here, target=there, replace=True, settings=settings)
    assert content(settings, there) == content(settings, here)


# ---------------------------------------------------------------- what cannot be moved


def test_what_cannot_be_moved(here, there, settings):
    with pytest.raises(CollectionNotFound):
        move("d", source=here, target=there, settings=settings)
    with pytest.raises(InvalidArgument, match="cannot be used"):
        move("c", "../d", source=here, target=there, settings=settings)
    assert there.names() == []


def test_an_adopted_collection_is_refused(here, there, settings, fakes):
    from qdrant_client import models

    client = there._client
    client.create_collection("notes", vectors_config=models.VectorParams(size=16, distance=models.Distance.COSINE))
    point = models.PointStruct(id=1, vector=[1.0] + [0.0] * 15, payload={"page_content": "river", "metadata": {}})
    client.upsert("notes", [point])
    from hybrid_search import adopt

    adopt("notes", dense="fake/dense", layout="langchain", check=False, store=there, settings=settings)
    with pytest.raises(StoreError, match=r"was adopted.*hybrid-search index SOURCE -c notes"):
        move("notes", source=there, target=here, settings=settings)
    assert here.names() == ["c"]


def test_the_key_of_a_server_goes_to_no_other(monkeypatch):
    asked = []
    monkeypatch.setattr(moves, "open_store_for", lambda end, settings, patient: asked.append(settings.api_key))
    one, other = "https://one:6333", "https://other:6333"
    for store, end in ((one, None), (one, one), (one, f"{one}/"), (one, other), ("/folder", other)):
        open_end(end, Settings(store=store, api_key="k"))
    assert [key and key.get_secret_value() for key in asked] == ["k", "k", "k", None, "k"]
    with pytest.raises(InvalidArgument, match="empty text"):
        open_end("", Settings(store=one))


def test_a_server_that_is_not_there_is_told_without_its_key(here, settings):
    settings = settings.model_copy(update={"retry_s": 0.0})
    with pytest.raises(StoreUnavailable) as caught:
        move("c", source=here, target="http://127.0.0.1:9?api-key=secret-key", settings=settings)
    assert "127.0.0.1:9" in str(caught.value)
    assert "secret" not in str(caught.value)


# ---------------------------------------------------------------- meanwhile


def test_a_source_that_changes_meanwhile_is_noticed(there, settings, fakes):
    here = in_memory()
    build(settings, here, documents(), **SMALL)
    changed = documents()
    changed[5] = Document("d5", changed[5].text + " river")

    def change(now):
        if now.documents and here.manifest("c") and len(changed) == 30:
            build(settings, here, changed, **SMALL)
            changed.append(None)

    with pytest.raises(CollectionChanged, match=r"changed while it was moved.*Nothing was published"):
        move("c", source=here, target=there, settings=settings, on_progress=change)
    assert there.names() == []
    report = move("c", source=here, target=there, settings=settings)
    assert (report.documents, report.written) == (30, 1)
    assert content(settings, there) == content(settings, here)
    here.close()


def test_a_folder_that_is_published_again_meanwhile_is_copied_as_it_was_and_that_is_told(here, there, settings):
    before = content(settings, here)
    done = []

    def change(now):
        if not done:
            done.append(build(settings, here, [Document("more", "river stone")], **SMALL))

    report = move("c", source=here, target=there, settings=settings, on_progress=change)
    assert ["published again while it was copied" in note for note in report.notes] == [True]
    assert content(settings, there) == before
    assert move("c", source=here, target=there, settings=settings, replace=True).notes == ()
    assert content(settings, there) == content(settings, here)
    assert len(content(settings, here)) == len(before) + 1


@pytest.mark.parametrize("fault", [reset_before, reset_after, cut, lambda: status(503), lambda: status(429)])
def test_faults_on_the_way_lose_nothing(here, settings, fault):
    with QdrantOverHttp() as server:
        for nth in (2, 9):
            server.faults.add(fault(), nth=nth)
        server.faults.add(fault(), "PUT", "/points", times=2)
        server.faults.add(fault(), "POST", "/scroll")
        report = move("c", source=here, target=server.url, settings=settings)
        assert report.written == 30
        store = ServerStore.connect(server.url)
        assert content(settings, store) == content(settings, here)
        for nth in (1, 4, 7, 11):
            server.faults.add(fault(), nth=nth)
        server.faults.add(fault(), "POST", "/query")
        assert move("c", "back", source=server.url, target=here, settings=settings).written == 30
        assert content(settings, here, "back") == content(settings, here)
        store.close()


def test_a_source_that_is_away_for_a_while_is_waited_for(here, settings, tmp_path):
    """For as long as a writer waits, which is longer than a search does."""
    settings = settings.model_copy(update={"retry_s": 30.0})
    with child() as url:
        move("c", source=here, target=url, settings=settings)
        away = []

        def leave(now):
            if not away:
                away.append(send_away(url, 3.0))

        report = move("c", "d", source=url, target=here, settings=settings, on_progress=leave)
    assert away
    assert report.written == 30
    assert content(settings, here, "d") == content(settings, here, "c")


def test_limits_of_a_server_are_kept_and_told(here, settings):
    with QdrantOverHttp() as server:
        store = ServerStore.connect(server.url)
        writer = store.writer("c", here.manifest("c"))
        limits = {"enabled": True, "upsert_max_batchsize": 5, "max_query_limit": 4, "search_max_batchsize": 3}
        writer._line.call(lambda client: client.update_collection("c__v1", strict_mode_config=limits))
        writer.close()
        report = move("c", source=here, target=store, settings=settings)
        assert report.written == 30
        assert len(report.notes) == 2
        assert all("4 chunks at most" in note for note in report.notes)
        assert content(settings, store) == content(settings, here)
        store.close()


def test_a_copy_that_is_not_its_source_is_not_published(here, there, settings, monkeypatch):
    class Lossy:
        """A store that loses what one chunk says."""

        def __init__(self):
            self.location, self.names, self.manifest = there.location, there.names, there.manifest

        def writer(self, *arguments, **options):
            writer = there.writer(*arguments, **options)
            upsert = writer.upsert
            writer.upsert = lambda points: upsert(
                [Point(p.chunk_id, p.vectors, {**p.payload, "text": p.payload["text"][:3]}) for p in points]
            )
            return writer

    with pytest.raises(StoreError, match=r"is not as its source: the checksum.*not published"):
        move("c", source=here, target=Lossy(), settings=settings)
    assert there.names() == []


# ---------------------------------------------------------------- cut short


def drive(source, target, where="never", after=1, batch=4, name="c"):
    """Move in a process of its own; return what it reports, or None where it was killed."""
    command = [sys.executable, str(DRIVER), str(source), str(target), name, where, str(after), str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if where != "never" and done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def killed_and_moved(source, target, documents, batch):
    """Move and be killed five times, then end; return the documents that were written at last."""
    for where in ("writing", "writing", "writing", "comparing", "publishing"):
        assert drive(source, target, where, documents // 5, batch) is None
    return drive(source, target, batch=batch)


def points_of(count, dim=store_points.DIM):
    """Documents of one and of two chunks."""
    for number in range(count):
        chunks = 1 + number % 2
        for part in reversed(range(chunks)):
            yield store_points.point(f"d{number}", part, chunks=chunks, metadata={"n": number, "of": f"g{number % 9}"})


def filled(folder, count):
    """A folder with a collection of so many documents."""
    store = EdgeStore(folder)
    writer = store.writer("c", store_points.manifest_of())
    for some in batched(points_of(count), 1_000):
        writer.upsert(some)
    writer.publish()
    writer.close()
    return store


def whole_of(store, name="c"):
    """Every payload and every vector of a collection."""
    reader = store.reader(name)
    heads = reader.payloads([chunk_id_of(doc_id, 0) for doc_id in reader.doc_ids()])
    ids = sorted(chunk_id_of(head["doc_id"], n) for head in heads.values() for n in range(head["chunks"]))
    vectors = {leg: reader.vectors(leg, ids) for leg in reader.manifest.legs}
    found = reader.payloads(ids), vectors, reader.info().points
    reader.close()
    return found


def assert_equal(one, other):
    (payloads, vectors, points), (payloads_too, vectors_too, points_too) = whole_of(one), whole_of(other)
    assert payloads == payloads_too
    assert points == points_too == len(payloads)
    assert vectors["sparse"] == vectors_too["sparse"]
    assert vectors["dense"].keys() == vectors_too["dense"].keys() == payloads.keys()
    for chunk_id, vector in vectors["dense"].items():
        np.testing.assert_allclose(vector, vectors_too["dense"][chunk_id], atol=1e-5)


@pytest.mark.parametrize("count", [60, pytest.param(13_334, marks=pytest.mark.slow)])
def test_a_push_that_was_killed_five_times_ends_whole_and_comes_back_equal(tmp_path, count):
    """Of 13,334 documents in 20,001 chunks, or of fewer."""
    here, back = filled(tmp_path / "here", count), EdgeStore(tmp_path / "back")
    batch = 4 if count < 1_000 else 256
    with child() as url:
        report = killed_and_moved(here.folder, url, count, batch)
        assert report["documents"] == count
        assert report["written"] == 0
        store = ServerStore.connect(url)
        assert store.names() == ["c"]
        assert_equal(here, store)
        report = killed_and_moved(url, back.folder, count, batch)
        assert (report["documents"], report["chunks"]) == (count, count + count // 2)
        assert_equal(here, back)
        store.close()


def test_a_push_that_was_killed_when_it_had_published_has_nothing_to_do(tmp_path):
    here, there = filled(tmp_path / "here", 20), EdgeStore(tmp_path / "there")
    assert drive(here.folder, there.folder, "published") is None
    assert there.names() == ["c"]
    assert drive(here.folder, there.folder)["written"] == 0
    assert_equal(here, there)


def test_what_the_source_has_lost_since_does_not_stay(tmp_path):
    here, there = filled(tmp_path / "here", 30), EdgeStore(tmp_path / "there")
    assert drive(here.folder, there.folder, "comparing") is None
    writer = here.writer("c", here.manifest("c"))
    writer.delete([chunk_id_of("d3", 0), chunk_id_of("d3", 1), chunk_id_of("d4", 0)])
    [origin] = [store_points.point("d6", stamp="stamp")]
    writer.upsert([Point(origin.chunk_id, origin.vectors, {**origin.payload, "origin": "elsewhere.txt"})])
    writer.publish()
    writer.close()
    report = move("c", source=here, target=there, settings=Settings(store=str(here.folder)))
    assert (report.documents, report.removed) == (28, 2)
    assert_equal(here, there)


class Side:
    """One side of a comparison, which answers every search alike."""

    def __init__(self, answer, vector=(1.0, 0.0), **spec):
        legs = {"leg": LegSpec("m", "f", **spec)}
        self.manifest = Manifest("custom", legs, 256)
        self.answer, self.vector = answer, np.array(vector, np.float32) if spec.get("dim") else SPARSE

    def vectors(self, leg, chunk_ids):
        return dict.fromkeys(chunk_ids, self.vector)

    def retrieve(self, requests, limit):
        return [self.answer for _ in requests]


SPARSE = SparseVector.of([1], [1.0])
TEN = [(f"c{n}", 1 - n / 20) for n in range(10)]
OTHER = [*TEN[:9], ("x", 0.5)]
"""One hit is another, with another score."""


@pytest.mark.parametrize(
    ("theirs", "spec", "told"),
    [
        (TEN, {}, []),
        ([(name, score * 1.00001) for name, score in TEN], {}, []),
        ([*TEN[:9], ("x", TEN[9][1])], {}, []),
        ([(name, score * 1.01) for name, score in TEN], {}, None),
        ([(name, score * 1.01) for name, score in TEN], {"dim": 2}, None),
        ([(name, score * 1.01) for name, score in TEN], {"needs_idf": True}, ["document frequencies"]),
        (OTHER, {}, None),
        (OTHER, {"dim": 2}, ["90% of the hits"]),
        (TEN[:3], {"dim": 2}, None),
        ([], {"dim": 2}, None),
    ],
)
def test_answers_that_differ(theirs, spec, told):
    """Which answers may differ, and which mean that the copy is not its source."""
    one, other = Side(TEN, **spec), Side(theirs, **spec)
    if told is None:
        with pytest.raises(StoreError, match="1 of 1 sample searches of the leg 'leg'"):
            check_vectors_and_answers(one, other, ["c0#0"])
    else:
        checked = check_vectors_and_answers(one, other, ["c0#0"])
        assert len(checked.notes) == len(told)
        assert all(part in note for part, note in zip(told, checked.notes, strict=True))


def test_contents_that_differ():
    same = moves.Contents(2, 3, "a")
    assert difference(same, same) == ""
    assert difference(same, moves.Contents(1, 3, "a")) == "it has 1 documents instead of 2"
    assert "checksum" in difference(same, moves.Contents(2, 3, "b"))
