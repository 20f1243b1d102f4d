"""What is typed for a side of a comparison."""

import json

import pytest

from hybrid_search.errors import EvaluationError, InvalidArgument
from hybrid_search.evaluation.sides import read_side

STORE = ["films", "sparse", "notes.v2"]


def read(text, collection=None, legs=("sparse", "dense")):
    return read_side("A", text, collection, legs, lambda: STORE)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Stand in a folder with a run, an evaluation, and a folder of a collection's name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bm25.trec").write_text("q1 Q0 a 1 1 x\n")
    (tmp_path / "before.json").write_text("\ufeff" + json.dumps({"results": []}))
    (tmp_path / "films").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "kind", "mode", "collection", "settings"),
    [
        ("bm25.trec", "run", "", None, {}),
        ("before.json", "evaluation", "", None, {}),
        ("before.json@hybrid:dbsf", "evaluation", "hybrid:dbsf", None, {}),
        ("films", "search", "hybrid", "films", {}),
        ("films,rrf_k=20", "search", "hybrid", "films", {"rrf_k": 20.0}),
        ("films@sparse", "search", "sparse", "films", {}),
        ("elsewhere@new+dense", "search", "new+dense", "elsewhere", {}),
        ("notes.v2@bm25", "search", "bm25", "notes.v2", {}),
        ("sparse", "search", "sparse", None, {}),
        ("sparse@hybrid", "search", "hybrid", "sparse", {}),
        ("hybrid+auto+rerank", "search", "hybrid+auto+rerank", None, {}),
        ("hybrid:convex,depth=200", "search", "hybrid:convex", None, {"depth": 200}),
        ("hybrid,fusion=dbsf , rrf_k=1e2", "search", "hybrid", None, {"fusion": "dbsf", "rrf_k": 100.0}),
        ("hybrid,weights=auto", "search", "hybrid", None, {"weights": "auto"}),
        (
            "hybrid,rerank=a/b@c,rerank_depth=20",
            "search",
            "hybrid+rerank",
            None,
            {"rerank": "a/b@c", "rerank_depth": 20},
        ),
        (
            "hybrid,weights=sparse=1,dense=0.5,rrf_k=20",
            "search",
            "hybrid",
            None,
            {"weights": {"sparse": 1.0, "dense": 0.5}, "rrf_k": 20.0},
        ),
    ],
)
def test_a_side_is_what_it_says(here, text, kind, mode, collection, settings):
    side = read(text)
    assert (side.text, side.kind, side.mode, side.collection) == (text, kind, mode, collection)
    assert dict(side.settings) == settings
    assert (side.file is None) == (kind == "search")


def test_models_stand_behind_a_mode_of_what_is_built():
    side = read("dense,profile=bundled,sparse=none,dense=intfloat/e5@main")
    assert dict(side.models) == {"profile": "bundled", "sparse": "none", "dense": "intfloat/e5@main"}
    with pytest.raises(InvalidArgument, match="the collection 'films' has its models"):
        read("films,profile=bundled")
    with pytest.raises(InvalidArgument, match="the collection 'mine' has its models"):
        read("hybrid,dense=x", "mine")


def test_a_file_goes_before_a_mode_and_a_mode_before_a_collection(here):
    assert read("sparse").kind == "search"
    assert read("sparse").collection is None
    (here / "sparse").write_text("q1 Q0 a 1 1 x\n")
    assert read("sparse").kind == "run"
    assert read("sparse", "mine").kind == "run"
    assert read("new", "mine", ("new", "dense")).collection == "mine"


def test_what_is_written_otherwise_may_mean_the_same(here):
    same = [
        ("films", "films@hybrid"),
        ("bm25.trec", "./bm25.trec"),
        ("hybrid,rrf_k=20,depth=50", "hybrid,depth=50,rrf_k=20.0"),
        ("hybrid,rerank=m", "hybrid+rerank,rerank=m"),
    ]
    for one, other in same:
        assert read(one).meaning() == read(other).meaning()
    for one, other in [("films", "films@sparse"), ("hybrid,rrf_k=20", "hybrid"), ("hybrid", "hybrid,profile=bundled")]:
        assert read(one).meaning() != read(other).meaning()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "A is empty"),
        (" ", "A is empty"),
        ("nothing", "no file, no mode .*The store has films, sparse, notes.v2"),
        ("hybrid:nope", "no file, no mode"),
        ("films@", "a mode is missing"),
        ("hybrid,", "'' is no setting"),
        ("hybrid,rrf_k", "'rrf_k' is no setting"),
        ("hybrid,rrf_k=", "is no setting"),
        ("hybrid,rrfk=3", "'rrfk=3' is no setting"),
        ("hybrid,k=3", "'k=3' is no setting"),
        ("hybrid,rrf_k=x", "rrf_k is 'x'; it must be a number"),
        ("hybrid,rrf_k=nan", "rrf_k"),
        ("hybrid,depth=1.5", "depth is '1.5'; it must be a whole number"),
        ("hybrid,depth=0", "depth is 0"),
        ("hybrid,rrf_k=1,rrf_k=2", "rrf_k is given twice"),
        ("hybrid,fusion=sum", "fusion"),
        ("hybrid,weights=sparse=x", "weights is 'sparse=x'"),
        ("hybrid,weights=sparse=-1", "sparse"),
        ("sparse,weights=sparse=1", "weights is for legs that are fused"),
        ("sparse,rrf_k=2,fusion=rrf", "fusion and rrf_k are for legs that are fused"),
        ("hybrid:dbsf,fusion=rrf", "the fusion is named twice, dbsf and rrf"),
        ("hybrid+auto,weights=sparse=1", "the weights are given twice"),
        ("hybrid,rerank_depth=20", r"rerank_depth is for what is re-ranked: hybrid\+rerank"),
        ("bm25.trec@sparse", "is a run, which has no modes"),
    ],
)
def test_what_is_no_side(here, text, message):
    with pytest.raises(InvalidArgument, match=message):
        read(text)


@pytest.mark.parametrize("text", ["nowhere.trec", "runs/films", "before2.json@hybrid", "x" * 300 + ".run"])
def test_a_file_that_is_not_there(here, text):
    with pytest.raises(EvaluationError, match="no such file"):
        read(text)


def test_the_store_is_asked_only_for_what_is_neither_file_nor_mode(here):
    def never():
        raise AssertionError

    for text in ("hybrid", "bm25.trec", "films@sparse", "before.json@x"):
        read_side("B", text, None, ("sparse", "dense"), never)
