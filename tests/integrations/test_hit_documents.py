"""What every framework's document says of a hit."""

import json
from types import MappingProxyType

from hybrid_search.integrations.hit_documents import EVIDENCE, Found, found, found_one, own_metadata
from hybrid_search.results import DocumentHit, Passage, Results
from hybrid_search.types import LegHit


def hit(rank=1, **changes):
    passages = (
        Passage("a#3", 40, 52, "best passage", 0.5, metadata=MappingProxyType({"page": 2})),
        Passage("a#1", 10, 20, "other text", 0.25),
    )
    given = {
        "rank": rank, "doc_id": "a", "score": 0.5, "title": "A", "metadata": {"year": 1984, "cast": ["x"]},
        "origin": "a.txt", "passages": passages, "legs": {"sparse": LegHit("sparse", 4, 7.5), "dense": None},
    }  # fmt: skip
    return DocumentHit(**{**given, **changes})


def test_a_hit_as_a_document_has_its_evidence_in_json():
    one = found_one(hit())
    assert (one.id, one.content, one.score) == ("a#3", "best passage", 0.5)
    assert one.metadata == {
        "year": 1984, "cast": ["x"], "page": 2, "doc_id": "a", "chunk_id": "a#3", "start": 40, "end": 52, "title": "A",
        "origin": "a.txt", "rank": 1, "score": 0.5, "legs": {"sparse": {"rank": 4, "score": 7.5}, "dense": None},
        "rerank_score": None,
    }  # fmt: skip
    assert set(EVIDENCE) <= set(one.metadata)
    assert json.loads(json.dumps(one.metadata)) == one.metadata


def test_the_documents_own_values_under_our_names_are_not_lost():
    own = {"rank": "captain", "own": True, "year": 1}
    one = found_one(hit(metadata=own))
    assert one.metadata["rank"] == 1
    assert one.metadata["own"] == {"rank": "captain", "own": True}
    assert own_metadata(one.metadata) == {**own, "page": 2}


def test_changing_what_was_handed_out_changes_no_result():
    one = hit()
    found_one(one).metadata["cast"].append("y")
    assert one.metadata["cast"] == ["x"]


def test_one_document_a_hit_in_the_order_of_the_answer():
    results = Results("q", "c", "hybrid", 2, (hit(1), hit(2, score=0.4, rerank_score=3.0)), {})
    first, second = found(results)
    assert isinstance(first, Found)
    assert [one.metadata["rank"] for one in (first, second)] == [1, 2]
    assert (second.score, second.metadata["rerank_score"]) == (0.4, 3.0)
