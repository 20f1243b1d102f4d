"""Settings of searches that lie in the manifest: who goes before whom, what is kept, and what is said about it."""

import json
from dataclasses import replace

import pytest

from hybrid_search.collection.defaults import set_search_defaults
from hybrid_search.collection.legs import drop_leg, swap_legs
from hybrid_search.errors import FusionError, InvalidArgument, ModelError, StoreBusy
from hybrid_search.indexer import Indexer
from hybrid_search.manifest import TUNED, Manifest
from hybrid_search.search_defaults import SearchDefaults
from hybrid_search.searcher import Searcher
from hybrid_search.store.edge.store import EdgeStore
from tests.collection.test_legs import OLD, documents
from tests.store.conftest import in_memory

QUERY = "Title 12 apple stone number12"
EVIDENCE = {"date": "2026-12-01", "measure": "nDCG@10"}
FUSED = SearchDefaults(fusion="convex", weights={"sparse": 1.0, "dense": 3.0}, evidence=EVIDENCE)


@pytest.fixture(params=["edge", "server"])
def at(request, settings):
    store = EdgeStore(settings.store) if request.param == "edge" else in_memory()
    yield {"store": store, "settings": settings}
    store.close()


@pytest.fixture
def films(at, fakes):
    Indexer.open("c", **at, **OLD).index(documents(60))
    return at


def ranking(at, **options):
    with Searcher.open("c", **at) as searcher:
        found = searcher.search(QUERY, **options)
        return [(hit.doc_id, hit.score) for hit in found], found


def near(pairs):
    return [(doc_id, pytest.approx(score, rel=1e-5)) for doc_id, score in pairs]


def manifest(at):
    return at["store"].info("c").manifest


PRECEDENCE = [
    # what a search says, and what it is the same as without any defaults
    ({}, {"fusion": "convex", "weights": {"sparse": 1, "dense": 3}}),
    ({"fusion": "rrf"}, {"fusion": "rrf"}),
    ({"rrf_k": 60}, {"fusion": "rrf"}),
    ({"weights": {"sparse": 1, "dense": 1}}, {"fusion": "rrf"}),
    ({"fusion": "dbsf"}, {"fusion": "dbsf"}),
    ({"fusion": None, "weights": None, "rrf_k": None}, {"fusion": "convex", "weights": {"sparse": 1, "dense": 3}}),
    ({"mode": "dense"}, {"mode": "dense"}),
    ({"mode": "sparse+dense"}, {"mode": "sparse+dense", "fusion": "convex", "weights": {"sparse": 1, "dense": 3}}),
]


@pytest.mark.parametrize(("said", "like"), PRECEDENCE)
def test_what_a_search_says_goes_before_the_collections_own(films, said, like):
    expected, before = ranking(films, **like)
    set_search_defaults("c", FUSED, **films)
    found, after = ranking(films, **said)
    assert found == near(expected)
    assert not before.defaults
    taken = "fusion" in after.defaults
    assert taken == (like.get("fusion") == "convex")


def test_the_depth_is_the_collections_own_and_k_at_least(films):
    set_search_defaults("c", SearchDefaults(depth=2), **films)
    few, found = ranking(films, k=2)
    assert found.defaults == {"depth": 2}
    assert few == near(ranking(films, k=2, depth=2)[0])
    assert len(ranking(films, k=20)[1]) == 20
    assert ranking(films, k=2, depth=100)[1].defaults == {}


def test_queries_are_pruned_as_the_defaults_say_and_given_weights_are_not(films):
    full, _ = ranking(films, mode="sparse")
    set_search_defaults("c", SearchDefaults(query_dims={"sparse": 1}), **films)
    pruned, found = ranking(films, mode="sparse", explain=True)
    assert pruned != full
    assert found.defaults["query_dims"] == {"sparse": 1}
    assert {len(hit.matched_terms) for hit in found} == {1}
    assert ranking(films, mode="dense")[1].defaults == {}


def test_learned_weights_are_those_of_auto(films):
    learned = {"intercept": 40.0}
    set_search_defaults("c", SearchDefaults(weights="auto", learned=learned), **films)
    _, found = ranking(films)
    assert found.weights == {"sparse": 0.0, "dense": 2.0}
    set_search_defaults("c", SearchDefaults(learned=learned), **films)
    assert ranking(films, weights="auto")[1].weights == {"sparse": 0.0, "dense": 2.0}
    assert ranking(films)[1].weights == {}


def test_nothing_but_the_manifest_changes_and_a_reset_restores_it(films):
    before = manifest(films)
    set_search_defaults("c", FUSED, **films)
    tuned = manifest(films)
    assert tuned.search == FUSED
    assert (tuned.fingerprint(), tuned.stamp_base()) == (before.fingerprint(), before.stamp_base())
    assert tuned.to_dict()["schema"] == TUNED
    assert Manifest.from_dict(json.loads(json.dumps(tuned.to_dict()))) == tuned
    set_search_defaults("c", None, **films)
    assert manifest(films).to_dict() == before.to_dict()
    assert "search" not in before.to_dict()


def test_a_searcher_that_is_open_takes_it_up(films):
    with Searcher.open("c", **films) as searcher:
        assert not searcher.search(QUERY).defaults
        searcher._latest.opened.reader._looked = -10  # a server is looked at once a second
        set_search_defaults("c", FUSED, **films)
        assert searcher.search(QUERY).defaults["fusion"] == "convex"


def test_indexing_more_and_building_anew_keep_it(films):
    set_search_defaults("c", FUSED, **films)
    report = Indexer.open("c", **films).index(documents(62))
    assert (report.documents, manifest(films).search) == (2, FUSED)
    Indexer.open("c", replace=True, **films, **OLD).index(documents(10))
    assert manifest(films).search == FUSED
    assert len(list(films["store"].reader("c").doc_ids())) == 10


def test_what_names_a_leg_goes_with_it(films):
    both = replace(FUSED, depth=200, query_dims={"sparse": 5})
    set_search_defaults("c", both, **films)
    drop_leg("c", "sparse", **films)
    assert manifest(films).search == SearchDefaults(depth=200, evidence=EVIDENCE)
    set_search_defaults("c", SearchDefaults(weights={"dense": 2.0}), **films)
    with pytest.raises(InvalidArgument):
        swap_legs("c", "dense", "sparse", **films)


@pytest.mark.parametrize(
    ("wrong", "kind", "says"),
    [
        (SearchDefaults(fusion="best"), FusionError, "'best'"),
        (SearchDefaults(rrf_k=-1), FusionError, "rrf_k is -1"),
        (SearchDefaults(weights={"other": 1.0}), FusionError, "'other'"),
        (SearchDefaults(weights={"sparse": 0.0, "dense": 0.0}), FusionError, "weight 0"),
        (SearchDefaults(depth=0), InvalidArgument, "depth is 0"),
        (SearchDefaults(query_dims={"dense": 4}), InvalidArgument, "'dense'"),
        (SearchDefaults(query_dims={"sparse": 0}), InvalidArgument, "query_dims of sparse is 0"),
        (SearchDefaults(learned={"mood": 1.0}), InvalidArgument, "'mood'"),
    ],
)
def test_what_no_search_takes_is_refused_and_nothing_is_written(films, wrong, kind, says):
    before = manifest(films)
    with pytest.raises(kind, match=says):
        set_search_defaults("c", wrong, **films)
    assert manifest(films) == before


def test_a_writer_at_work_is_waited_for(settings, fakes):
    store = EdgeStore(settings.store)
    Indexer.open("c", store=store, settings=settings, **OLD).index(documents(3))
    writer = store.writer("c", store.manifest("c"))
    with pytest.raises(StoreBusy):
        set_search_defaults("c", FUSED, store=store, settings=settings)
    writer.close()


def test_damaged_values_are_said(films):
    found = manifest(films).to_dict() | {"schema": TUNED, "untuned": 2, "search": {"fusiom": "rrf"}}
    with pytest.raises(ValueError, match="'fusiom' is no search default"):
        Manifest.from_dict(found)
    with pytest.raises(ValueError, match="schema 6 is newer"):
        Manifest.from_dict(found | {"schema": 6})


def test_a_reranker_that_cannot_be_loaded_is_the_collections_wish(films):
    set_search_defaults("c", SearchDefaults(rerank="no/such-reranker"), **films)
    with pytest.raises(ModelError, match=r"own search defaults ask for it.*--rerank none"):
        ranking(films)
    assert len(ranking(films, rerank=False)[1]) == 10
    with Searcher.open("c", **films) as searcher:
        vector = [0.1] * searcher.manifest.legs["dense"].dim
        assert len(searcher.search_by_vector(vector)) == 10


def test_an_explanation_is_of_the_same_search(films):
    set_search_defaults("c", FUSED, **films)
    with Searcher.open("c", **films) as searcher:
        found = searcher.search(QUERY)
        explained = searcher.explain(QUERY, found[2].doc_id)
    assert explained.rank == 3
    assert explained.to_dict()["defaults"] == FUSED.to_dict() == found.to_dict()["defaults"]
