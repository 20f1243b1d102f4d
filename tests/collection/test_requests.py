"""What is asked of a collection's models, and models that are open already."""

import pytest

from hybrid_search.collection.models import ModelRequest, ModelSet
from hybrid_search.collection.profiles import check_request, models_for, select_models
from hybrid_search.errors import ManifestMismatch
from hybrid_search.indexer import Indexer
from hybrid_search.manifest import Sparsity
from hybrid_search.settings import Settings
from hybrid_search.store import open_store
from hybrid_search.types import Document

FAKES = {"sparse": "fake/sparse", "dense": "fake/dense"}
DOCUMENTS = [Document("a", "the river"), Document("b", "the stone")]


@pytest.fixture
def settings(tmp_path):
    return Settings(store=str(tmp_path / "store"))


@pytest.fixture
def manifest(settings, fakes):
    Indexer.open("c", settings=settings, **FAKES).index(DOCUMENTS)
    return open_store(settings.store).manifest("c")


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (ModelRequest("bundled"), "the sparse model"),
        (ModelRequest(names={"dense": "none"}), "the dense model"),
        (ModelRequest(names={"sparse": "fake/both"}), "the sparse model"),
        (ModelRequest(legs=["sparse"]), "the legs"),
        (ModelRequest(layout="langchain"), "the layout"),
        (ModelRequest(sparsity=Sparsity((1, 1))), "the sparse leg's limits"),
    ],
    ids=str,
)
def test_a_request_is_checked_whole(manifest, request_, named):
    check_request("c", manifest, ModelRequest())
    check_request("c", manifest, ModelRequest(names=FAKES, legs=["dense", "sparse"], precision="fp32"))
    with pytest.raises(ManifestMismatch, match=named):
        check_request("c", manifest, request_)


def test_a_new_collection_takes_models_that_are_open(settings, fakes):
    models = select_models(ModelRequest(names=FAKES), settings)
    loaded = len(fakes.loaded)
    Indexer.open("new", settings=settings, models=models).index(DOCUMENTS)
    Indexer.open("new", settings=settings, models=models).index([*DOCUMENTS, Document("c", "the hill")])
    assert len(fakes.loaded) == loaded
    manifest = open_store(settings.store).manifest("new")
    assert {leg: spec.model for leg, spec in manifest.legs.items()} == FAKES
    Indexer.open("asked", settings=settings, **FAKES).index(DOCUMENTS)
    asked = open_store(settings.store).manifest("asked")
    assert (asked.legs, asked.profile, asked.chunk_tokens) == (manifest.legs, manifest.profile, manifest.chunk_tokens)


def test_an_existing_collection_takes_only_its_own(settings, manifest, fakes):
    others = select_models(ModelRequest(names={"sparse": "fake/sparse", "dense": "none"}), settings)
    assert set(models_for("c", manifest, ModelRequest(), settings, None, others).encoders) == {"sparse", "dense"}
    same = select_models(ModelRequest(names=FAKES), settings)
    assert models_for("c", manifest, ModelRequest(), settings, None, same) is same
    assert isinstance(same, ModelSet)
