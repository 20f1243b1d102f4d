"""Collections with any legs: one model for two of them, a third one, legs that stand beside, and old manifests."""

import json

import pytest

from hybrid_search.collection.models import ModelRequest, load_models
from hybrid_search.collection.profiles import select_models
from hybrid_search.errors import FusionError, InvalidArgument, ManifestMismatch
from hybrid_search.indexer import Indexer
from hybrid_search.indexing import pipeline
from hybrid_search.manifest import LegSpec, Manifest, check_leg_name
from hybrid_search.search.request import available_modes, resolve_mode
from hybrid_search.searcher import Searcher
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import Document
from tests.fake_models import DIM

BOTH = {"sparse": "fake/both", "dense": "fake/both"}
THREE = ("sparse", "dense", "bm25")
FRUIT = [
    Document("a", "Red apples grow on old trees.", title="Apples"),
    Document("b", "Green pears are sweet in autumn."),
    Document("c", "Yellow bananas come by ship, red ones too."),
]


def many(count):
    return [Document(f"d{n}", f"stone river number{n}") for n in range(count)]


# ---------------------------------------------------------------- one model for both legs


def test_a_hybrid_model_is_loaded_once_and_reads_each_batch_once(settings, fakes, monkeypatch):
    monkeypatch.setattr(pipeline, "BATCH_TOKENS", 320)  # of five each
    report = Indexer.open("c", settings=settings, **BOTH).index(many(150))
    assert report.documents == 150
    assert len(fakes.loaded) == 1
    batches = [count for verb, count in fakes.calls("both") if verb == "documents"]
    assert batches == [64, 64, 22]


def test_a_search_encodes_its_queries_once_for_both_legs(settings, fakes):
    Indexer.open("c", settings=settings, **BOTH).index(FRUIT)
    fakes.calls("both")
    with Searcher.open("c", settings=settings) as searcher:
        results = searcher.search_many(["red apples", "sweet pears"])
        assert fakes.calls("both") == [("queries", 2)]
        assert [answer[0].doc_id for answer in results] == ["a", "b"]
        assert all(results[0][0].legs[leg].rank == 1 for leg in ("sparse", "dense"))
        for mode in ("sparse", "dense"):
            assert searcher.search("yellow bananas", mode=mode)[0].doc_id == "c"
            assert fakes.calls("both") == [("queries", 1)]


def test_its_legs_are_recorded_each_with_its_kind(settings, fakes):
    both = {"sparse": "fake/both-idf", "dense": "fake/both-idf"}
    Indexer.open("c", settings=settings, **both).index(FRUIT)
    manifest = EdgeStore(settings.store).info("c").manifest
    sparse, dense = manifest.legs["sparse"], manifest.legs["dense"]
    assert (sparse.model, sparse.kind, sparse.dim, sparse.needs_idf) == ("fake/both-idf", "sparse", 0, True)
    assert (dense.model, dense.kind, dense.dim, dense.needs_idf) == ("fake/both-idf", "dense", DIM, False)
    assert sparse.fingerprint == dense.fingerprint
    again = load_models("c", manifest, settings).encoders
    assert again["sparse"].whole is again["dense"].whole


def test_a_hybrid_model_may_fill_one_leg_beside_another_model(settings, fakes):
    Indexer.open("c", settings=settings, sparse="fake/sparse", dense="fake/both").index(FRUIT)
    assert (len(fakes.calls("sparse")), len(fakes.calls("both"))) == (1, 1)
    Indexer.open("d", settings=settings, sparse="fake/both", dense="none").index(FRUIT)
    assert list(EdgeStore(settings.store).info("d").manifest.legs) == ["sparse"]


def test_chunks_that_it_does_not_read_whole_count_for_both_legs(settings, fakes):
    long = Document("long", "word " * 100)
    report = Indexer.open("c", settings=settings, chunk_tokens=0, **BOTH).index([*FRUIT, long])
    assert report.truncated == {"sparse": 1, "dense": 1}


# ---------------------------------------------------------------- a third leg


def test_a_third_leg_is_built_searched_and_shown(settings, fakes):
    indexer = Indexer.open("c", settings=settings, legs=THREE, **BOTH)
    indexer.index(FRUIT)
    manifest = EdgeStore(settings.store).info("c").manifest
    assert manifest.fused() == THREE
    bm25 = manifest.legs["bm25"]
    assert (bm25.model, bm25.kind, bm25.needs_idf) == ("qdrant/bm25-engine", "sparse", True)
    assert bm25.average_tokens > 1
    with Searcher.open("c", settings=settings) as searcher:
        alone = {leg: searcher.search("red bananas", mode=leg) for leg in THREE}
        results = searcher.search("red bananas")
        assert (results.mode, results.legs) == ("hybrid", THREE)
        for hit in results:
            score = 0.0
            for leg in THREE:
                there = {one.doc_id: one for one in alone[leg]}.get(hit.doc_id)
                assert (hit.legs[leg] is None) == (there is None)
                score += 1 / (60 + there.rank) if there else 0.0
            assert hit.score == pytest.approx(score, rel=1e-12)
        shown = searcher.search("yellow", mode="bm25").to_dict()
        assert shown["mode"] == "bm25"
        assert list(shown["hits"][0]["legs"]) == list(THREE)
        assert shown["hits"][0]["legs"]["sparse"] is None
        assert shown["hits"][0]["legs"]["bm25"]["rank"] == 1
        weighed = searcher.search("red bananas", weights={"sparse": 0, "dense": 0, "bm25": 2})
        assert [hit.doc_id for hit in weighed] == [hit.doc_id for hit in alone["bm25"]]
    assert Indexer.open("c", settings=settings, legs=THREE).index(FRUIT).unchanged == 3


def test_modes_of_several_legs_fuse_these(settings, fakes):
    Indexer.open("c", settings=settings, legs=THREE, **BOTH).index(FRUIT)
    with Searcher.open("c", settings=settings) as searcher:
        results = searcher.search("red bananas", mode="bm25+sparse")
        assert (results.mode, results.legs) == ("bm25+sparse", ("sparse", "bm25"))
        assert all(hit.legs["dense"] is None for hit in results)
        for hit in results:
            assert hit.score == pytest.approx(sum(1 / (60 + leg.rank) for leg in hit.legs.values() if leg))
        with pytest.raises(InvalidArgument, match=r"no 'new' leg.*hybrid, sparse, dense or bm25"):
            searcher.search("red", mode="sparse+new")
        with pytest.raises(InvalidArgument, match="names a leg twice"):
            searcher.search("red", mode="sparse+sparse")
        with pytest.raises(InvalidArgument, match="no 'hybrid' leg"):
            searcher.search("red", mode="hybrid+sparse")
        with pytest.raises(FusionError, match="weight for the leg 'dense', but the legs are: sparse, bm25"):
            searcher.search("red", mode="bm25+sparse", weights={"dense": 1.0})


def test_bm25_stands_for_itself_whatever_the_profile(settings, fakes):
    models = select_models(ModelRequest("auto", {}, ["bm25"]), settings)
    assert {leg: encoder.card.name for leg, encoder in models.encoders.items()} == {"bm25": "qdrant/bm25-engine"}
    assert (models.profile, models.reason, models.measuring) == ("custom", "", True)
    both = select_models(ModelRequest("auto", BOTH, ["bm25", "dense", "sparse", "dense"]), settings)
    assert list(both.encoders) == ["sparse", "dense", "bm25"]
    fitted = both.fitted(["one two three", "four"])
    assert fitted.encoders["bm25"].average_tokens == 2.0
    assert fitted.encoders["sparse"] is both.encoders["sparse"]


@pytest.mark.parametrize(
    ("names", "legs", "message"),
    [
        ({}, ["sparse", "colbert"], r"sparse, dense, bm25, or some of these; 'colbert'.*collections add-leg"),
        ({}, [], "none cannot be one"),
        ({"dense": "fake/dense"}, ["sparse"], r"model for the leg 'dense' \(fake/dense\), but the legs are sparse"),
        ({"sparse": "none"}, ["sparse"], "keep at least one"),
    ],
)
def test_legs_that_cannot_be(settings, fakes, names, legs, message):
    with pytest.raises(InvalidArgument, match=message):
        select_models(ModelRequest("bundled", names, legs), settings)


def test_other_legs_than_a_collection_has_are_refused(settings, fakes):
    Indexer.open("c", settings=settings, **BOTH).index(FRUIT)
    with pytest.raises(ManifestMismatch, match=r"built with the legs sparse,dense, not with sparse,dense,bm25"):
        Indexer.open("c", settings=settings, legs=THREE).index(FRUIT)


@pytest.mark.parametrize("name", ["bm25", "a", "new-2_x", "x" * 40])
def test_names_of_legs(name):
    assert check_leg_name(name) == name


@pytest.mark.parametrize("name", ["", "New", "1st", "a b", "a+b", "a.b", "é", "x" * 41, "hybrid", "none", "points"])
def test_what_no_leg_can_be_called(name):
    with pytest.raises(InvalidArgument, match="A leg cannot be called"):
        check_leg_name(name)


# ---------------------------------------------------------------- legs that stand beside


SPARSE, DENSE = LegSpec("m", "f"), LegSpec("n", "g", dim=4)


def test_a_leg_that_stands_beside_is_no_part_of_hybrid_until_it_is_named():
    manifest = Manifest("custom", {"dense": DENSE, "new": LegSpec("o", "h", shadow=True), "sparse": SPARSE}, 0)
    assert manifest.fused() == ("sparse", "dense")
    assert available_modes(manifest) == ("hybrid", "sparse", "dense", "new")
    assert resolve_mode("hybrid", manifest, "c") == ("hybrid", ("sparse", "dense"))
    assert resolve_mode("new", manifest, "c") == ("new", ("new",))
    assert resolve_mode("dense+new", manifest, "c") == ("dense+new", ("dense", "new"))


def test_hybrid_over_one_leg_is_that_leg_though_another_stands_beside():
    manifest = Manifest("custom", {"sparse": SPARSE, "new": LegSpec("o", "h", shadow=True)}, 0)
    assert resolve_mode("hybrid", manifest, "c") == ("sparse", ("sparse",))
    assert available_modes(manifest) == ("sparse", "new")


# ---------------------------------------------------------------- manifests of early versions


def as_schema_1(store, name):
    """Rewrite a collection's manifests as the first version wrote them; its stamps are left as they are."""
    for file in (store.folder / name).rglob("manifest.json"):
        data = json.loads(file.read_text())
        for key in ("build", "checksum", "token", "after"):
            data.pop(key, None)
        old = data["manifest"]
        old.pop("stamped")
        old["schema"] = 1
        for spec in old["legs"].values():
            spec.pop("vector")
            spec.pop("beside")
        file.write_text(json.dumps(data))


def test_a_collection_of_the_first_version_opens_and_goes_on(settings, fakes):
    store = EdgeStore(settings.store)
    Indexer.open("c", settings=settings, sparse="fake/sparse", dense="fake/dense").index(FRUIT)
    as_schema_1(store, "c")
    with Searcher.open("c", settings=settings) as searcher:
        assert searcher.manifest.schema == 1
        assert searcher.search("red apples")[0].doc_id == "a"
    # Its stamps were made with schema 2, so all is written once more; from then on nothing is.
    assert Indexer.open("c", settings=settings).index(FRUIT).documents == 3
    assert Indexer.open("c", settings=settings).index(FRUIT).unchanged == 3
    assert store.info("c").manifest.schema == 1


def test_the_fingerprint_of_an_old_manifest_is_what_it_was():
    """It is in the stamps of its documents. Computed by the first version over the same values."""
    legs = {"sparse": LegSpec("m", "f", average_tokens=2.5), "dense": LegSpec("n", "g", dim=4)}
    assert Manifest("custom", legs, 256, 32, schema=1).fingerprint() == "8d884a8e4e4bba5a2fecf8bb1f1555c9"


def test_a_shadow_leg_is_called_beside_on_disk_as_ever():
    spec = LegSpec("m", "f", vector="new.1", shadow=True)
    told = spec.to_dict()
    assert list(told) == [
        "model", "fingerprint", "dim", "needs_idf", "max_tokens", "average_tokens", "vector", "beside",
    ]  # fmt: skip
    assert told["beside"] is True
    assert LegSpec.from_dict(told) == spec
    assert LegSpec.from_dict({"model": "m", "fingerprint": "f"}) == LegSpec("m", "f")
    assert spec.beside
    manifest = Manifest("custom", {"sparse": SPARSE, "new": spec}, 0)
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest
    assert manifest.fused() == ("sparse",)
