"""Legs put beside, swapped, taken in and dropped, in collections that are searched meanwhile."""

import pytest

from hybrid_search.collection.legs import drop_leg, promote_leg, swap_legs
from hybrid_search.errors import (
    CollectionNotFound,
    InvalidArgument,
    ManifestMismatch,
    ModelError,
    StoreBusy,
    StoreError,
    UnknownModel,
)
from hybrid_search.indexer import Indexer
from hybrid_search.indexing.add_leg import ENCODE_BATCH, add_leg
from hybrid_search.searcher import Searcher
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import Document
from tests.store.conftest import in_memory

OLD = {"sparse": "fake/sparse", "dense": "fake/dense"}
WORDS = ["river", "stone", "apple", "cloud", "winter", "garden", "copper", "window", "letter", "ocean"]


def documents(count, first=0):
    return [
        Document(f"d{n:03}", f"{WORDS[n % 10]} {WORDS[n // 10 % 10]} number{n}", title=f"Title {n}")
        for n in range(first, first + count)
    ]


@pytest.fixture(params=["edge", "server"])
def store(request, settings):
    store = EdgeStore(settings.store) if request.param == "edge" else in_memory()
    yield store
    store.close()


@pytest.fixture
def at(store, settings):
    return {"store": store, "settings": settings}


@pytest.fixture
def filled(at, fakes):
    """The collection `c`: 150 documents, two fake models."""
    Indexer.open("c", **at, **OLD).index(documents(150))
    for name in ("sparse", "dense"):
        fakes.calls(name)
    return at


def top(at, mode, query="Title 12 apple stone number12"):
    with Searcher.open("c", **at) as searcher:
        return [(hit.doc_id, hit.score) for hit in searcher.search(query, mode=mode)]


def fresh(at, name, legs):
    """What a collection built with these models answers, in its sparse leg."""
    Indexer.open(name, **at, **legs).index(documents(150))
    with Searcher.open(name, **at) as searcher:
        return [(hit.doc_id, hit.score) for hit in searcher.search("Title 12 apple stone number12", mode="sparse")]


def close(pairs):
    return [(doc_id, pytest.approx(score, rel=1e-5)) for doc_id, score in pairs]


# ---------------------------------------------------------------- adding


def test_a_new_leg_reads_the_stored_texts_with_the_new_model_only(filled, fakes):
    told = []
    report = add_leg("c", "new", "fake/sparse-2", **filled, on_progress=told.append)
    assert (report.documents, report.chunks, report.unchanged, report.failed) == (150, 150, 0, 0)
    assert not any(report.truncated.values())
    assert [count for _, count in fakes.calls("sparse-2")] == [ENCODE_BATCH, ENCODE_BATCH, 150 - 2 * ENCODE_BATCH]
    assert fakes.calls("sparse") == fakes.calls("dense") == []
    assert [(one.documents, one.total) for one in told] == [(0, 150), (64, 150), (128, 150), (150, 150)]
    # It answers like a collection that was built with it, titles and all.
    assert top(filled, "new") == close(fresh(filled, "other", {**OLD, "sparse": "fake/sparse-2"}))


def test_hybrid_goes_on_without_it_and_with_it_where_it_is_asked_for(filled):
    before = top(filled, "hybrid")
    add_leg("c", "new", "fake/sparse-2", **filled)
    assert top(filled, "hybrid") == before
    with Searcher.open("c", **filled) as searcher:
        hit = searcher.search("river stone")[0]
        assert list(hit.legs) == ["sparse", "dense", "new"]
        assert hit.legs["new"] is None
        both = searcher.search("river stone", mode="dense+new")
        assert both.legs == ("dense", "new")
        assert both[0].legs["sparse"] is None
        assert both[0].legs["new"].rank == 1


def test_searches_go_on_meanwhile(filled):
    before, seen = top(filled, "hybrid"), []
    add_leg("c", "new", "fake/sparse-2", **filled, on_progress=lambda _: seen.append(top(filled, "hybrid")))
    assert seen == [before] * 4


def test_a_dense_leg_and_either_half_of_a_hybrid_model(filled, fakes):
    add_leg("c", "wide", "fake/dense-2", **filled)
    add_leg("c", "half", "fake/both", **filled)
    add_leg("c", "other-half", "fake/both", kind="dense", **filled)
    legs = filled["store"].info("c").manifest.legs
    kinds = {leg: (spec.kind, spec.shadow) for leg, spec in legs.items()}
    assert kinds == {
        "sparse": ("sparse", False),
        "dense": ("dense", False),
        "wide": ("dense", True),
        "half": ("sparse", True),
        "other-half": ("dense", True),
    }
    for mode in ("wide", "half", "other-half", "half+other-half"):
        assert top(filled, mode)[0][0] == "d012"


def test_bm25_measures_what_is_stored(filled):
    add_leg("c", "bm25", "qdrant/bm25-engine", **filled)
    spec = filled["store"].info("c").manifest.legs["bm25"]
    assert spec.needs_idf
    assert 3 < spec.average_tokens < 6  # two words and a number, and the title's two
    assert top(filled, "bm25")[0][0] == "d012"
    assert add_leg("c", "bm25", "qdrant/bm25-engine", **filled).unchanged == 150


def test_cut_short_it_leaves_the_old_and_goes_on_where_it_stopped(filled, fakes):
    before = {mode: top(filled, mode) for mode in ("hybrid", "sparse", "dense")}
    fakes.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        add_leg("c", "new", "fake/sparse-2", **filled)
    fakes.stop_after = 10**9
    assert set(filled["store"].info("c").manifest.legs) == {"sparse", "dense"}
    assert {mode: top(filled, mode) for mode in before} == before
    with Searcher.open("c", **filled) as searcher, pytest.raises(InvalidArgument, match="no 'new' leg"):
        searcher.search("river", mode="new")
    fakes.calls("sparse-2")
    report = add_leg("c", "new", "fake/sparse-2", **filled)
    assert (report.documents, report.unchanged) == (150 - 2 * ENCODE_BATCH, 2 * ENCODE_BATCH)
    assert [count for _, count in fakes.calls("sparse-2")] == [150 - 2 * ENCODE_BATCH]
    assert top(filled, "new") == close(fresh(filled, "other", {**OLD, "sparse": "fake/sparse-2"}))


def test_documents_indexed_between_two_halves_of_the_work_are_not_forgotten(filled, fakes):
    fakes.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        add_leg("c", "new", "fake/sparse-2", **filled)
    fakes.stop_after = 10**9
    changed = [Document("d012", "garden ocean number12"), *documents(20, first=150)]
    assert Indexer.open("c", **filled).index(changed).documents == 21
    report = add_leg("c", "new", "fake/sparse-2", **filled)
    assert report.documents + report.unchanged == 170
    assert top(filled, "new", "garden ocean number12")[0][0] == "d012"
    assert top(filled, "new", "number169")[0][0] == "d169"


def test_another_model_under_the_same_name_starts_afresh(filled, fakes):
    fakes.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        add_leg("c", "new", "fake/sparse-2", **filled)
    fakes.stop_after = 10**9
    assert add_leg("c", "new", "fake/both", **filled).documents == 150
    assert filled["store"].info("c").manifest.legs["new"].model == "fake/both"


def test_done_twice_is_done_once(filled, fakes):
    add_leg("c", "new", "fake/sparse-2", **filled)
    fakes.calls("sparse-2")
    report = add_leg("c", "new", "fake/sparse-2", **filled)
    assert (report.documents, report.unchanged, fakes.calls("sparse-2")) == (0, 150, [])


def test_chunks_that_the_new_model_does_not_read_whole_are_told(at, fakes):
    long = Document("long", "word " * 20)
    Indexer.open("c", **at, **OLD).index([*documents(3), long])
    report = add_leg("c", "new", "fake/sparse-2", **at)  # reads twenty tokens
    assert report.truncated == {"new": 1}


def test_later_documents_get_a_vector_of_every_leg_and_the_old_ones_are_left_alone(filled, fakes):
    add_leg("c", "new", "fake/sparse-2", **filled)
    for name in ("sparse", "dense", "sparse-2"):
        fakes.calls(name)
    report = Indexer.open("c", **filled).index(documents(160))
    assert (report.documents, report.unchanged) == (10, 150)
    assert fakes.calls("sparse") == fakes.calls("dense") == fakes.calls("sparse-2") == [("documents", 10)]
    assert top(filled, "new", "number155")[0][0] == "d155"


@pytest.mark.parametrize(
    ("leg", "model", "error", "message"),
    [
        ("New", "fake/sparse-2", InvalidArgument, "cannot be called 'New'"),
        ("hybrid", "fake/sparse-2", InvalidArgument, "cannot be called"),
        ("sparse", "fake/sparse-2", InvalidArgument, r"leg 'sparse' already, with 'fake/sparse'.*drop-leg c sparse"),
        ("new", "fake/sparse", InvalidArgument, r"has the sparse vectors of 'fake/sparse' already: its leg 'sparse'"),
        ("new", "fake/spars", UnknownModel, r"sparse or dense model 'fake/spars'.*fake/sparse"),
        ("new", "BAAI/bge-reranker-base", ModelError, "is a reranker model"),
        ("new", "/nowhere/at-all", UnknownModel, "give the path of a model folder"),
    ],
)
def test_legs_that_cannot_be_added(filled, leg, model, error, message):
    with pytest.raises(error, match=message):
        add_leg("c", leg, model, **filled)
    assert set(filled["store"].info("c").manifest.legs) == {"sparse", "dense"}


def test_a_collection_that_is_not_there_or_not_finished(at, fakes):
    with pytest.raises(CollectionNotFound):
        add_leg("c", "new", "fake/sparse-2", **at)

    def stop(progress):
        if progress.documents:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Indexer.open("c", **at, **OLD).index(documents(150), on_progress=stop)
    for change in (lambda: add_leg("c", "new", "fake/sparse-2", **at), lambda: drop_leg("c", "sparse", **at)):
        with pytest.raises(StoreError, match="has not been finished"):
            change()
    Indexer.open("c", **at).index(documents(150))
    with pytest.raises(KeyboardInterrupt):
        Indexer.open("c", **at, **OLD, replace=True).index(documents(150), on_progress=stop)
    # A replacement that was given up is no reason against it.
    assert add_leg("c", "new", "fake/sparse-2", **at).documents == 150
    assert len(top(at, "hybrid")) == 10


def test_one_writer_at_a_time(settings, fakes):
    store = EdgeStore(settings.store)
    at = {"store": store, "settings": settings}
    Indexer.open("c", **at, **OLD).index(documents(3))
    writer = store.writer("c", store.manifest("c"))
    changes = [
        lambda: add_leg("c", "new", "fake/sparse-2", **at),
        lambda: swap_legs("c", "sparse", "dense", **at),
        lambda: drop_leg("c", "sparse", **at),
    ]
    for change in changes:
        with pytest.raises(StoreBusy):
            change()
    writer.close()


# ---------------------------------------------------------------- swapping, joining, dropping


def test_a_swap_gives_the_new_leg_the_name_and_the_place_of_the_old(filled, fakes):
    add_leg("c", "new", "fake/sparse-2", **filled)
    old, new, mixed = top(filled, "sparse"), top(filled, "new"), top(filled, "dense+new")
    with Searcher.open("c", **filled, refresh=False) as early:
        manifest = swap_legs("c", "sparse", "new", **filled)
        assert manifest == filled["store"].info("c").manifest
        assert {leg: (spec.model, spec.shadow) for leg, spec in manifest.legs.items()} == {
            "sparse": ("fake/sparse-2", False),
            "dense": ("fake/dense", False),
            "new": ("fake/sparse", True),
        }
        found = early.search("Title 12 apple stone number12", mode="sparse")
        assert [(hit.doc_id, hit.score) for hit in found] == old
    assert (top(filled, "sparse"), top(filled, "new"), top(filled, "hybrid")) == (new, old, mixed)
    for name in ("sparse", "dense", "sparse-2"):
        fakes.calls(name)
    assert Indexer.open("c", **filled).index(documents(150)).unchanged == 150
    with pytest.raises(ManifestMismatch, match="'fake/sparse-2', not with 'fake/sparse'"):
        Indexer.open("c", **filled, sparse="fake/sparse").index(documents(1))
    Indexer.open("c", **filled, sparse="fake/sparse-2").index(documents(1, first=900))
    assert top(filled, "sparse", "number900")[0][0] == top(filled, "new", "number900")[0][0] == "d900"
    swap_legs("c", "sparse", "new", **filled)
    assert top(filled, "sparse") == old


def test_a_dropped_leg_is_gone_and_its_name_is_free(filled, fakes):
    add_leg("c", "new", "fake/sparse-2", **filled)
    swap_legs("c", "sparse", "new", **filled)
    manifest = drop_leg("c", "new", **filled)
    assert set(manifest.legs) == {"sparse", "dense"}
    assert filled["store"].info("c").manifest == manifest
    with Searcher.open("c", **filled) as searcher, pytest.raises(InvalidArgument, match="no 'new' leg"):
        searcher.search("river", mode="new")
    assert top(filled, "hybrid")[0][0] == "d012"
    assert add_leg("c", "new", "fake/sparse", **filled).documents == 150
    swap_legs("c", "sparse", "new", **filled)
    assert filled["store"].info("c").manifest.legs["sparse"].model == "fake/sparse"
    assert Indexer.open("c", **filled).index(documents(150)).unchanged == 150


def test_a_leg_is_taken_into_hybrid(filled):
    add_leg("c", "bm25", "qdrant/bm25-engine", **filled)
    three = top(filled, "sparse+dense+bm25")
    assert top(filled, "hybrid") != three
    assert promote_leg("c", "bm25", **filled).fused() == ("sparse", "dense", "bm25")
    assert top(filled, "hybrid") == three
    assert drop_leg("c", "bm25", **filled).fused() == ("sparse", "dense")


def test_changes_that_cannot_be(filled):
    for change in (
        lambda: swap_legs("c", "sparse", "new", **filled),
        lambda: promote_leg("c", "new", **filled),
        lambda: drop_leg("c", "new", **filled),
    ):
        with pytest.raises(InvalidArgument, match=r"has no 'new' leg. It has: sparse, dense"):
            change()
    with pytest.raises(InvalidArgument, match="the one is sparse, the other dense"):
        swap_legs("c", "sparse", "dense", **filled)
    with pytest.raises(InvalidArgument, match="the same leg"):
        swap_legs("c", "sparse", "sparse", **filled)
    add_leg("c", "new", "fake/sparse-2", **filled)
    drop_leg("c", "dense", **filled)
    with pytest.raises(InvalidArgument, match=r"all that `hybrid` searches.*swap-leg c sparse OTHER"):
        drop_leg("c", "sparse", **filled)
    assert len(top(filled, "hybrid")) == 10


def test_a_leg_whose_model_is_gone_can_be_dropped(filled, fakes, monkeypatch):
    from hybrid_search.encoders import catalog

    add_leg("c", "new", "fake/sparse-2", **filled)
    monkeypatch.setattr(catalog, "CARDS", tuple(card for card in catalog.CARDS if card.name != "fake/sparse-2"))
    with pytest.raises(ModelError, match=r"the new model 'fake/sparse-2'.*drop-leg c new"):
        Searcher.open("c", **filled)
    drop_leg("c", "new", **filled)
    assert len(top(filled, "hybrid")) == 10


def test_the_profile_is_what_the_models_make_it(at, fakes, monkeypatch):
    from hybrid_search.encoders import catalog
    from hybrid_search.encoders.catalog import Profile

    monkeypatch.setitem(catalog.PROFILES, "tiny", Profile("fake/sparse", "fake/dense"))
    Indexer.open("c", **at, profile="tiny").index(documents(3))
    assert add_leg("c", "new", "fake/sparse-2", **at).profile == "tiny"
    assert swap_legs("c", "sparse", "new", **at).profile == "custom"
    assert swap_legs("c", "sparse", "new", **at).profile == "tiny"
