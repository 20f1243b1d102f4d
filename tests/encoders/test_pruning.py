"""Smaller sparse vectors: what is kept, on which side, and that collections know it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hybrid_search import Indexer, Searcher
from hybrid_search.collection.models import ModelRequest, load_models, spec_of
from hybrid_search.collection.profiles import select_models
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.hybrid import SparseHalf, encode, group_by_model
from hybrid_search.encoders.pruning import PrunedEncoder, prune, prune_vector
from hybrid_search.errors import InvalidArgument, ManifestMismatch
from hybrid_search.indexing.add_leg import add_leg
from hybrid_search.manifest import LegSpec, Manifest, Sparsity
from hybrid_search.protocols import SparseEncoder
from hybrid_search.types import SparseVector
from tests import hub_models

VECTOR = SparseVector.of([1, 3, 5, 7, 9], [0.5, 2.0, 0.1, 2.0, 1.0])


@pytest.mark.parametrize(
    ("dims", "weight", "left"),
    [
        (0, 0.0, [1, 3, 5, 7, 9]),
        (5, 0.0, [1, 3, 5, 7, 9]),
        (3, 0.0, [3, 7, 9]),
        (1, 0.0, [3]),  # of equal weights the first
        (0, 0.5, [1, 3, 7, 9]),
        (2, 1.5, [3, 7]),
        (4, 9.0, []),
    ],
)
def test_the_heaviest_are_kept(dims, weight, left):
    found = prune_vector(VECTOR, dims, weight)
    assert found.indices.tolist() == left
    assert found.values.tolist() == [VECTOR.values[VECTOR.indices == place][0] for place in left]


def test_signed_weights_count_by_size():
    vector = SparseVector.of([1, 2, 3], [-3.0, 1.0, 2.0], signed=True)
    assert prune_vector(vector, 2, 0.0).indices.tolist() == [1, 3]
    assert prune_vector(vector, 2, 0.0).signed


@pytest.fixture
def folder(tmp_path):
    return str(hub_models.splade_folder(tmp_path / "splade"))


SPARSITY = Sparsity((3, 8), (0.0, 0.2))


def test_each_side_has_its_own_limit(folder, settings):
    encoder = select_models(
        ModelRequest("auto", {"sparse": folder, "dense": "none"}, sparsity=SPARSITY), settings
    ).encoders["sparse"]
    assert isinstance(encoder, PrunedEncoder)
    assert isinstance(encoder, SparseEncoder)
    [query] = encoder.encode_queries(["a movie about music"])
    [document] = encoder.encode_documents(["a movie about music"])
    [whole] = encoder.inner.encode_documents(["a movie about music"])
    assert (len(query), len(document)) == (3, 8)
    assert set(query.indices.tolist()) < set(document.indices.tolist())
    assert document.values.min() >= np.sort(whole.values)[-8]
    assert encoder.terms(query.indices.tolist()) == encoder.inner.terms(query.indices.tolist())
    assert encoder.count_tokens(["a movie"]) == [4]


def test_halves_of_one_model_still_share_its_pass(settings):
    model = card("bundled/minilm-splade", "hybrid").name
    encoders = select_models(
        ModelRequest("auto", {"sparse": model, "dense": model}, sparsity=Sparsity((2, 1))), settings
    ).encoders
    assert isinstance(encoders["sparse"], PrunedEncoder)
    assert isinstance(encoders["sparse"].inner, SparseHalf)
    assert [sorted(group) for group in group_by_model(encoders)] == [["dense", "sparse"]]
    found = encode(encoders, ["a film about music"])
    assert len(found["sparse"][0]) == 1
    assert len(encode(encoders, ["a film about music"], queries=True)["sparse"][0]) == 2
    assert found["dense"][0].shape == (384,)


def test_the_limits_are_part_of_the_fingerprint(folder, settings):
    prints = set()
    for limits in (None, Sparsity(), Sparsity((3, 8)), Sparsity((3, 9)), Sparsity((3, 8), (0.0, 0.2))):
        models = select_models(ModelRequest("auto", {"sparse": folder, "dense": "none"}, sparsity=limits), settings)
        prints.add(models.encoders["sparse"].fingerprint())
    assert len(prints) == 4


def test_a_manifest_knows_them_and_old_ones_read_as_none(folder, settings):
    models = select_models(
        ModelRequest("auto", {"sparse": folder, "dense": "none"}, precision="int8", sparsity=SPARSITY), settings
    )
    manifest = models.manifest(256, 0)
    assert (manifest.legs["sparse"].sparsity, manifest.legs["sparse"].precision) == (SPARSITY, "int8")
    read = Manifest.from_dict(json.loads(json.dumps(manifest.to_dict())))
    assert read == manifest
    again = load_models("c", read, settings).encoders["sparse"]
    assert spec_of(again) == manifest.legs["sparse"]
    plain = Manifest("custom", {"sparse": LegSpec("m", "f")}, 256)
    assert set(plain.to_dict()["legs"]["sparse"]) == {
        "model", "fingerprint", "dim", "needs_idf", "max_tokens", "average_tokens", "vector", "beside",
    }  # fmt: skip
    assert Manifest.from_dict(plain.to_dict()) == plain


def test_what_learned_nothing_is_not_cut(settings):
    bm25 = {"sparse": "qdrant/bm25-engine", "dense": "none"}
    with pytest.raises(InvalidArgument, match="no leg has a learned sparse model"):
        select_models(ModelRequest("auto", bm25, sparsity=SPARSITY), settings)
    encoder = select_models(ModelRequest("auto", bm25), settings).encoders["sparse"]
    assert prune(encoder, Sparsity()) is encoder


@pytest.mark.parametrize(
    ("dims", "weights", "message"),
    [
        ({"query": 3}, {}, "no side 'query'.*queries and documents"),
        ({"queries": 0}, {}, "whole number from 1 on"),
        ({"queries": 2.5}, {}, "whole number from 1 on"),
        ({}, {"documents": -1}, "0 .no limit. or more"),
        ({}, {"documents": float("nan")}, "0 .no limit. or more"),
    ],
)
def test_numbers_that_cannot_be_meant(dims, weights, message):
    with pytest.raises(InvalidArgument, match=message):
        Sparsity.of(dims, weights)


def test_a_collection_is_searched_as_it_was_built(folder, settings, jsonl):
    rows = [
        {"id": str(number), "text": text} for number, text in enumerate(["a movie about music", "the sea", "a dog"])
    ]
    options = {"settings": settings, "sparse": folder, "dense": "none"}
    Indexer.open("c", **options, precision="int8", sparsity=SPARSITY).index([str(jsonl(rows))])
    with Searcher.open("c", settings=settings) as searcher:
        assert searcher.manifest.legs["sparse"].sparsity == SPARSITY
        assert searcher.manifest.legs["sparse"].precision == "int8"
        assert len(searcher.search("music")) > 0
        assert len(searcher.expansion("a movie about music")) == 3
    again = Indexer.open("c", settings=settings).index([str(jsonl(rows))])
    assert again.unchanged == 3
    same = Indexer.open("c", settings=settings, precision="int8", sparsity=SPARSITY).index([str(jsonl(rows))])
    assert same.unchanged == 3
    with pytest.raises(ManifestMismatch, match=r"the sparse leg.s limits max-active-dims queries=3"):
        Indexer.open("c", settings=settings, sparsity=Sparsity((3, 9))).index([str(jsonl(rows))])
    with pytest.raises(ManifestMismatch, match="int8, not with fp32"):
        Indexer.open("c", settings=settings, precision="fp32").index([str(jsonl(rows))])


def test_a_precision_of_the_settings_is_for_new_collections(folder, settings, jsonl):
    source = [str(jsonl([{"id": "1", "text": "a movie about music"}]))]
    options = {"sparse": folder, "dense": "none"}
    Indexer.open("old", settings=settings, **options).index(source)
    fast = settings.model_copy(update={"precision": "int8"})
    assert Indexer.open("old", settings=fast).index(source).unchanged == 1
    Indexer.open("new", settings=fast, **options).index(source)
    for name, precision in (("old", "fp32"), ("new", "int8")):
        with Searcher.open(name, settings=fast) as searcher:
            assert searcher.manifest.legs["sparse"].precision == precision


def test_a_leg_is_tried_in_eight_bits_and_cut_beside_the_old_one(folder, settings, jsonl):
    source = [str(jsonl([{"id": "1", "text": "a movie about music"}, {"id": "2", "text": "the sea"}]))]
    Indexer.open("c", settings=settings, sparse=folder, dense="none").index(source)
    add_leg("c", "small", folder, settings=settings, precision="int8", sparsity=Sparsity((3, 4)))
    with Searcher.open("c", settings=settings) as searcher:
        specs = searcher.manifest.legs
        assert (specs["sparse"].precision, specs["small"].precision) == ("fp32", "int8")
        assert specs["small"].sparsity == Sparsity((3, 4))
        assert len(searcher.search("music", mode="small")) > 0
    # An index job that asks for something asks it of the collection's own legs, not of those beside.
    assert Indexer.open("c", settings=settings, precision="fp32").index(source).unchanged == 2
