"""Hard negatives: from a real collection, and rule by rule from a list of hits made by hand."""

import pytest
from hypothesis import given
from hypothesis import settings as examples_of
from hypothesis import strategies as st

from hybrid_search.errors import InvalidArgument
from hybrid_search.indexer import Indexer
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.results import DocumentHit, Passage, Results
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.training.examples import Example, normalize
from hybrid_search.training.mining import RankedPlace, mine
from hybrid_search.types import Document, LegHit

SPARSE, DENSE = LegSpec("s", "f"), LegSpec("d", "f", dim=3)


class Fake:
    """A searcher whose answers are given: by query, rows of (doc_id, dense score or None, sparse score or None)."""

    def __init__(self, answers, legs=("sparse", "dense")):
        specs = {"sparse": SPARSE, "dense": DENSE}
        self.manifest = Manifest("custom", {leg: specs[leg] for leg in legs}, 0)
        self.answers = answers
        self.asked = []

    def search_many(self, queries, *, k, depth, highlight):
        assert k == depth
        self.asked.append(list(queries))
        return [self.results(query, self.answers[query][:k]) for query in queries]

    def results(self, query, rows):
        hits = []
        for rank, (doc_id, dense, sparse) in enumerate(rows, 1):
            scores = {"dense": dense, "sparse": sparse}
            legs = {leg: None if score is None else LegHit(leg, 1, score) for leg, score in scores.items()}
            passage = Passage(f"{doc_id}#0", 0, 9, f"passage of {doc_id}.", 1 / rank)
            hits.append(DocumentHit(rank, doc_id, 1 / rank, doc_id.title(), {}, "", (passage,), legs))
        return Results(query, "c", "hybrid", len(rows), tuple(hits), {})


def text(doc_id):
    return f"{doc_id.title()}\npassage of {doc_id}."


def ids(mined):
    return [[place.doc_id for place in evidence.negatives] for evidence in mined.evidence]


def scored(*rows):
    """Hits with a dense score alone."""
    return [(doc_id, score, None) for doc_id, score in rows]


EXAMPLE = Example("q", "Good\npassage of good.", positive_id="good")
LIST = scored(("best", 0.9), ("near", 0.77), ("good", 0.8), ("edge", 0.76), ("far", 0.75), ("last", 0.1))


# ---------------------------------------------------------------- a real collection


def shark(number):
    return f"A shark story number {number}. {'waves ' * number}".strip()


@pytest.fixture(scope="module")
def films(tmp_path_factory, model_cache):
    place = Settings(store=str(tmp_path_factory.mktemp("mining")), cache_dir=model_cache)
    documents = [Document(f"shark-{n}", shark(n), title="Sharks") for n in range(12)]
    documents += [Document(f"bear-{n}", f"A bear in the woods, {n}.") for n in range(4)]
    documents.append(Document("double", shark(3), title="Copied"))
    Indexer.open("films", settings=place, sparse="qdrant/bm25-engine", dense="none").index(documents)
    with Searcher.open("films", settings=place) as searcher:
        yield searcher


def test_negatives_come_from_the_collection_and_are_no_answers(films):
    answer = f"Sharks\n{shark(3)}"
    examples = [
        Example("shark waves", answer, positive_id="shark-3"),
        Example("SHARK waves?", f"Sharks\n{shark(4)}"),  # the same query; no id
        Example("a bear", "A bear in the woods, 1.", ("A bear in the woods, 2.",), positive_id="bear-1"),
        Example("a bear", "A bear in the woods, 0.", ("x",), (1.0, 0.0)),
    ]
    told = []
    mined = mine(examples, films, margin=None, negatives=20, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 2)]
    assert mined.reference == "sparse"
    assert (mined.searched, mined.positives_found, mined.scored) == (2, 3, 1)
    sharks = {f"shark-{n}" for n in range(12)} - {"shark-3", "shark-4"}  # nor "double", which says what shark-3 says
    assert set(ids(mined)[0]) == set(ids(mined)[1]) == sharks
    assert set(mined.examples[0].negatives) == {f"Sharks\n{shark(n)}" for n in range(12) if n not in (3, 4)}
    # Its own negative stays in front and is not mined again; bear-0 answers the same query, in a row with scores.
    assert mined.examples[2].negatives == ("A bear in the woods, 2.", "A bear in the woods, 3.")
    assert mined.examples[3] is examples[3]
    assert mined.evidence[3].negatives == ()
    assert mined.short == 3
    for example, evidence in zip(mined.examples[:2], mined.evidence[:2], strict=True):
        ranks = [place.rank for place in evidence.negatives]
        assert ranks == sorted(ranks)
        found = films.search(example.query, k=100)
        assert {(hit.doc_id, hit.rank, hit.legs["sparse"].score) for hit in found} >= set(evidence.negatives)


def test_likely_answers_are_left_out_of_a_real_collection(films):
    example = Example("shark waves", f"Sharks\n{shark(3)}", positive_id="shark-3")
    mined = mine([example], films, margin=0.05, negatives=20)
    (evidence,) = mined.evidence
    assert evidence.positive.doc_id == "shark-3"
    assert evidence.negatives
    assert mined.likely_false > 0
    assert all(place.score < 0.95 * evidence.positive.score for place in evidence.negatives)


def test_chunks_of_a_long_positive_are_known(settings):
    sentences = [f"Sentence {n} tells of ships and of the long voyage that they made." for n in range(40)]
    whole = " ".join(sentences)
    documents = [Document("ships", whole, title="Ships"), Document("other", "Other ships made no voyage.")]
    indexer = Indexer.open("chunked", settings=settings, sparse="qdrant/bm25-engine", dense="none", chunk_tokens=32)
    assert indexer.index(documents).chunks > 5
    with Searcher.open("chunked", settings=settings) as searcher:
        mined = mine([Example("ships voyage", f"Ships\n{whole}")], searcher, margin=None)
    assert mined.examples[0].negatives == ("Other ships made no voyage.",)
    assert mined.evidence[0].positive.doc_id == "ships"


# ---------------------------------------------------------------- rule by rule


def test_candidates_too_near_to_the_positive_are_left_out():
    mined = mine([EXAMPLE], Fake({"q": LIST}), pick="top")
    assert ids(mined) == [["far", "last"]]  # 0.76 is 0.95 x 0.8: as good as the positive
    assert mined.examples[0].negatives == (text("far"), text("last"))
    assert mined.evidence[0].positive == RankedPlace("good", 3, 0.8)
    assert (mined.likely_false, mined.known, mined.short, mined.positives_found) == (3, 1, 1, 1)
    assert ids(mine([EXAMPLE], Fake({"q": LIST}), margin=0.0, pick="top")) == [["near", "edge", "far", "last"]]
    assert ids(mine([EXAMPLE], Fake({"q": LIST}), margin=0.5, pick="top")) == [["last"]]
    assert ids(mine([EXAMPLE], Fake({"q": LIST}), margin=None, pick="top")) == [["best", "near", "edge", "far"]]


def test_a_margin_below_a_negative_score_lies_below_it():
    rows = scored(("good", -0.2), ("near", -0.205), ("far", -0.3))
    assert ids(mine([EXAMPLE], Fake({"q": rows}))) == [["far"]]


def test_without_a_score_of_the_reference_leg_ranks_decide():
    rows = [("best", 0.9, 5.0), ("good", None, 4.0), ("far", 0.8, None), ("last", None, 1.0)]
    mined = mine([EXAMPLE], Fake({"q": rows}), pick="top")
    assert ids(mined) == [["far", "last"]]
    assert mined.evidence[0].positive == RankedPlace("good", 2, None)
    # A candidate that the reference leg did not hand on is below all that it did.
    rows = [("best", None, 5.0), ("good", 0.5, 4.0), ("far", 0.2, None)]
    assert ids(mine([EXAMPLE], Fake({"q": rows}), pick="top")) == [["best", "far"]]
    assert ids(mine([EXAMPLE], Fake({"q": rows}), reference="sparse", pick="top")) == [["far"]]


@pytest.mark.parametrize(
    ("count", "expected"), [(1, []), (2, ["d2"]), (5, ["d4", "d5"]), (8, ["d5", "d6", "d7", "d8"])]
)
def test_where_the_positive_is_not_found_negatives_come_from_the_lower_half(count, expected):
    rows = scored(*((f"d{n}", 1 - n / 10) for n in range(1, count + 1)))
    mined = mine([EXAMPLE], Fake({"q": rows}), pick="top")
    assert ids(mined) == [expected]
    assert mined.evidence[0].positive is None
    assert mined.positives_found == 0
    assert ids(mine([EXAMPLE], Fake({"q": rows}), margin=None, pick="top")) == [
        [f"d{n}" for n in range(1, count + 1)][:4]
    ]


def test_ranks_are_taken_from_first_to_depth():
    rows = scored(("good", 1.0), *((f"d{n}", 0.5) for n in range(2, 21)))
    mined = mine([EXAMPLE], Fake({"q": rows}), first=5, depth=8, negatives=9)
    assert ids(mined) == [["d5", "d6", "d7", "d8"]]
    assert ids(mine([EXAMPLE], Fake({"q": rows}), first=30)) == [[]]
    assert ids(mine([EXAMPLE], Fake({"q": rows}), depth=4, exclude={"d3"})) == [["d2", "d4"]]


def test_an_answer_is_known_by_its_id_or_by_its_words():
    reworded = Example("q", "Words that the collection does not have.", positive_id="good")
    assert ids(mine([reworded], Fake({"q": LIST}), pick="top")) == [["far", "last"]]
    unnamed = Example("q", "passage of good")
    assert mine([unnamed], Fake({"q": LIST})).evidence[0].positive == RankedPlace("good", 3, 0.8)
    neither = Example("q", "Words that the collection does not have.", positive_id="lost")
    assert mine([neither], Fake({"q": LIST})).known == 0


def test_the_anchor_is_each_example_s_own_positive():
    rows = scored(("good", 0.9), ("mid", 0.6), ("fine", 0.5), ("low", 0.4))
    examples = [EXAMPLE, Example("q", "Fine\npassage of fine.")]
    mined = mine(examples, Fake({"q": rows}))
    assert ids(mined) == [["mid", "low"], ["low"]]
    assert [evidence.positive.doc_id for evidence in mined.evidence] == ["good", "fine"]


def test_queries_are_searched_once_and_in_batches():
    examples = [Example(f"q{n % 70}", "p") for n in range(140)]
    fake = Fake({f"q{n}": scored((f"d{n}", 0.5)) for n in range(70)})
    told = []
    mined = mine(examples, fake, on_progress=lambda *done: told.append(done))
    assert [len(batch) for batch in fake.asked] == [64, 6]
    assert told == [(64, 70), (70, 70)]
    assert mined.searched == 70


def test_equal_texts_are_taken_once():
    fake = Fake({"q": scored(("good", 0.9), ("one", 0.5), ("ONE", 0.4), ("two", 0.3))})
    assert ids(mine([EXAMPLE], fake)) == [["one", "two"]]


def test_the_draw_depends_on_the_example_and_the_seed_alone():
    rows = scored(("good", 1.0), *((f"d{n:02}", 0.5) for n in range(50)))
    fake = Fake({"q": rows, "other": rows})
    alone = mine([EXAMPLE], fake)
    among = mine([Example("other", "x"), EXAMPLE, Example("q", "y")], fake)
    assert alone.examples[0] == among.examples[1] == mine([EXAMPLE], fake).examples[0]
    assert len({mine([EXAMPLE], fake, seed=seed).examples[0].negatives for seed in range(6)}) == 6
    ranks = [place.rank for place in alone.evidence[0].negatives]
    assert ranks == sorted(ranks)
    assert ranks != [2, 3, 4, 5]


def test_values_that_cannot_be_meant():
    fake = Fake({"q": LIST})
    for options, said in (
        ({"depth": 0}, "depth is 0"),
        ({"depth": 10_001}, "depth is 10001"),
        ({"first": 0}, "first is 0"),
        ({"first": 9, "depth": 8}, "first is 9"),
        ({"negatives": 0}, "negatives is 0"),
        ({"margin": 1.0}, "margin is 1.0"),
        ({"margin": float("nan")}, "margin is nan"),
        ({"pick": "best"}, "Unknown pick 'best'"),
        ({"reference": "bm25"}, "the collection has: sparse, dense"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            mine([EXAMPLE], fake, **options)
    assert mine([], fake).examples == ()
    assert fake.asked == []


SCORE = st.none() | st.floats(-1, 1, width=16)


@examples_of(deadline=None)
@given(
    st.lists(st.tuples(SCORE, SCORE), min_size=1, max_size=20),
    st.none() | st.floats(0, 0.9),
    st.integers(0, 25),
    st.integers(1, 6),
    st.sampled_from(["sample", "top"]),
)
def test_whatever_the_list_no_answer_and_nothing_near_it_becomes_a_negative(rows, margin, answer, wanted, pick):
    hits = [(f"d{n}", dense, sparse) for n, (dense, sparse) in enumerate(rows)]
    example = Example("q", text(f"d{answer}"), (text("d1"),) if answer != 1 else ())
    mined = mine([example], Fake({"q": hits}), margin=margin, negatives=wanted, pick=pick)
    (evidence,), (made,) = mined.evidence, mined.examples
    assert made.negatives[: len(example.negatives)] == example.negatives
    added = made.negatives[len(example.negatives) :]
    assert len(added) == len(evidence.negatives) <= wanted
    assert mined.short == (len(added) < wanted)
    assert len({normalize(each) for each in made.negatives}) == len(made.negatives)
    assert normalize(made.positive) not in {normalize(each) for each in made.negatives}
    assert (evidence.positive is not None) == (answer < len(rows))
    for place, negative in zip(evidence.negatives, added, strict=True):
        assert negative == text(place.doc_id)
        assert hits[place.rank - 1][:2] == (place.doc_id, place.score)
        if margin is None:
            continue
        if evidence.positive is None:
            assert place.rank > len(rows) / 2
        elif evidence.positive.score is None:
            assert place.rank > evidence.positive.rank
        elif place.score is not None:
            assert place.score < evidence.positive.score
