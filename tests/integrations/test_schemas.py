"""The schemas of HTTP and MCP are made of the types beside `to_dict` and of the options of a search, and fit both."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
from pydantic import TypeAdapter, ValidationError

from hybrid_search._util.json_objects import CollectionDict, DocumentExplanationDict, ExpansionDict, ResultsDict
from hybrid_search.integrations.searcher_pool import SearcherPool, expansion
from hybrid_search.results import Confidence, DocumentHit, Highlight, Mark, MatchedTerm, Passage, Results, Term
from hybrid_search.search.options import Option
from hybrid_search.types import LegHit

TIMES = dict.fromkeys(("encode", "retrieve", "fuse", "rerank", "total"), 1.25)
PASSAGE = Passage("a#0", 0, 9, "red apple", 0.5, Highlight(0, 9, (Mark(4, 9, "literal"),)), {"page": 3}, 7, "fruit.py")
HIT = DocumentHit(
    1, "a", 0.5, "Apples", {"year": 1999, "tags": ["x"]}, "fruit.txt", (PASSAGE, Passage("a#1", 9, 12, "pie", 0.1)),
    {"sparse": LegHit("sparse", 1, 2.5), "dense": None}, 3.5, 2,
    (MatchedTerm("apple", 1.0, 2.0, 2.0, "sparse", True),), ("b",),
)  # fmt: skip
FULL = Results(
    "apple", "fruit", "hybrid", 10, (HIT,), TIMES, reranker="m", reranked=1, rerank_depth=50, weights={"sparse": 1.0},
    expansion={"sparse": (Term("apple", 1.0, True), Term("##s", 0.5, False, "apples"))}, offset=1,
    abstained={"dense": "reads nothing"}, unread={"sparse": ("猫",)}, notes=("none",), vector={"apple": 1.0},
    confidence=Confidence(0.25, "low"),
    defaults={"fusion": "dbsf"},
)  # fmt: skip
BARE = Results("apple", "fruit", "sparse", 10, (), TIMES)


def paths(value, before=()):
    """The place of every value in an object, but what is the caller's own."""
    yield before
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        if key not in ("metadata", "weights", "abstained", "unread", "vector", "notes", "folded", "clauses"):
            yield from paths(each, (*before, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def fits(kind, value):
    """Hold an object to its type: as it is, and not with anything more, less or else in it, wherever that is."""
    adapter = TypeAdapter(kind)
    value = json.loads(json.dumps(value))
    adapter.validate_python(value, strict=True, extra="forbid")
    tried = 0
    for path in paths(value):
        changed = deepcopy(value)
        found = at(changed, path)
        if isinstance(found, dict) and set(found) != {"sparse", "dense"} and set(found) != {"sparse"}:
            found["unknown"] = 1
        elif path:
            at(changed, path[:-1])[path[-1]] = object()
        else:
            continue
        tried += changed != value
        with pytest.raises(ValidationError):
            adapter.validate_python(changed, strict=True, extra="forbid")
    assert tried > 3


def test_what_a_search_answers_is_of_its_type_and_nothing_else_is():
    fits(ResultsDict, FULL.to_dict())
    fits(ResultsDict, BARE.to_dict())
    assert set(FULL.to_dict()) == ResultsDict.__required_keys__ | ResultsDict.__optional_keys__
    assert set(BARE.to_dict()) == ResultsDict.__required_keys__
    [hit] = FULL.to_dict()["hits"]
    assert list(hit) == [
        "rank", "doc_id", "score", "title", "metadata", "chunks", "legs", "rerank_score", "origin", "fused_rank",
        "matched_terms", "folded",
    ]  # fmt: skip
    assert list(hit["chunks"][0]) == [
        "chunk_id", "start", "end", "text", "line", "metadata", "context", "window", "highlights",
    ]  # fmt: skip


def test_explanations_and_collections_are_of_their_types(films):
    with SearcherPool(settings=films) as collections, collections.use("films") as searcher:
        fits(ExpansionDict, expansion(searcher, "music on an island", "sparse").to_dict())
        for doc_id in ("jaws", "nothing"):
            fits(DocumentExplanationDict, searcher.explain("music", doc_id, where="year > 1982").to_dict())
        fits(CollectionDict, collections.infos()[0][0].to_dict())


def test_the_tools_of_an_agent_answer_with_the_same_objects_cut_to_size(films):
    pytest.importorskip("mcp", reason="needs the extra 'mcp'")
    from hybrid_search.integrations.mcp import schemas, tools

    with SearcherPool(settings=films) as collections:
        for given in ({}, {"doc_id": "jaws"}, {"doc_id": "nothing"}):
            fits(schemas.Explained, tools.explain(collections, "music", "films", **given)[0])
        fits(schemas.Found, tools.search(collections, "music on an island", "films")[0])
        fits(schemas.Got, tools.get(collections, "jaws", collection="films")[0])
        fits(schemas.Status, tools.status(collections, "films")[0])
    assert {"query", "collection"} == schemas.Explained.__required_keys__
    known = ExpansionDict.__annotations__.keys() | DocumentExplanationDict.__annotations__.keys()
    assert known < schemas.Explained.__annotations__.keys()


def test_a_new_option_of_a_search_is_one_of_http_at_once(films, monkeypatch):
    """In the body, in the address, in the document, with its bounds; nothing is written but the option."""
    pytest.importorskip("fastapi", reason="needs the serve extra")
    pytest.importorskip("prometheus_client", reason="needs the serve extra")
    from hybrid_search.errors import InvalidArgument
    from hybrid_search.integrations.http import Limits, create_app, requests

    told = requests.search_options()
    novel = Option("novelty", int | None, None, least=1, most=5, help="How much must be new.")
    monkeypatch.setattr(requests, "search_options", lambda: (*told, novel, replace(novel, name="exact", type=bool)))
    forms = requests.forms_of(Limits())
    asked = {"query": "a", "collection": "films"}
    form = requests.from_value(forms.search, {**asked, "novelty": 5, "exact": True}, 1)
    assert (form.options(None)["novelty"], form.options(None)["exact"]) == (5, True)
    assert forms.search_address.model_validate({**asked, "novelty": "4"}).novelty == 4
    with pytest.raises(InvalidArgument, match=r"Line 1: novelty: .* less than or equal to 5"):
        requests.from_value(forms.explain, {**asked, "novelty": 6}, 1)
    document = create_app(settings=films).openapi()
    [parameter] = [one for one in document["paths"]["/search"]["get"]["parameters"] if one["name"] == "novelty"]
    assert (parameter["description"], parameter["schema"]["maximum"]) == ("How much must be new.", 5)
    assert "exact" in document["components"]["schemas"]["Explain"]["properties"]


def test_least_scores_are_an_object_in_a_body_and_a_text_in_an_address():
    pytest.importorskip("fastapi", reason="needs the serve extra")
    pytest.importorskip("prometheus_client", reason="needs the serve extra")
    from hybrid_search.errors import InvalidArgument
    from hybrid_search.integrations.http import Limits, requests

    forms = requests.forms_of(Limits())
    asked = {"query": "a", "collection": "films"}
    body = requests.from_value(forms.search, {**asked, "min_score": {"dense": 0.3}, "min_confidence": 0.5}, 1)
    assert (body.options(None)["min_score"], body.options(None)["min_confidence"]) == ({"dense": 0.3}, 0.5)
    address = forms.search_address.model_validate({**asked, "min_score": "dense=0.3", "min_confidence": "0.5"})
    assert (address.min_score, address.min_confidence) == ("dense=0.3", 0.5)
    for wrong in ({"min_score": {"dense": "x"}}, {"min_score": 3}, {"min_confidence": 0}, {"min_confidence": 1.5}):
        with pytest.raises(InvalidArgument, match=next(iter(wrong))):
            requests.from_value(forms.search, {**asked, **wrong}, 1)
