"""Teachers' scores: by hand, by property, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples_of
from hypothesis import strategies as st

from hybrid_search.errors import InvalidArgument, ModelError
from hybrid_search.store.bm25 import Bm25Encoder
from hybrid_search.training import teachers
from hybrid_search.training.examples import Example
from hybrid_search.training.teachers import SCALINGS, Teacher, score
from hybrid_search.types import ModelCard, SparseVector


def card(kind, name="fake/teacher", **more):
    return ModelCard(name, kind, "torch", "cross_encoder" if kind == "reranker" else kind, **more)


class Reads:
    """A re-ranker that knows the score of each (query, text)."""

    def __init__(self, known, name="fake/reranker"):
        self.card, self.known, self.calls = card("reranker", name), known, []

    def score(self, query, texts):
        self.calls.append((query, tuple(texts)))
        return np.array([self.known[query, text] for text in texts], dtype=np.float32)


class Dense:
    """Counts of the letters a, b and c, and a flag that tells queries from documents."""

    card = card("dense", "fake/dense", dim=4)

    def __init__(self):
        self.read = []

    def encode_queries(self, texts):
        return self._encoded(texts, 1.0)

    def encode_documents(self, texts):
        self.read += texts
        return self._encoded(texts, 10.0)

    def _encoded(self, texts, flag):
        return np.array([[text.count(letter) for letter in "abc"] + [flag] for text in texts], dtype=np.float32)


class Sparse:
    """Counts of letters."""

    def __init__(self, needs_idf=False):
        self.card = card("sparse", "fake/sparse", needs_idf=needs_idf)

    def encode_documents(self, texts):
        return [
            SparseVector.of([ord(letter) for letter in set(text)], [text.count(x) for x in set(text)]) for text in texts
        ]

    encode_queries = encode_documents


class Both(Dense):
    """The dense and the sparse teacher in one pass."""

    card = card("hybrid", "fake/hybrid", dim=4)

    def encode_queries(self, texts):
        return list(zip(Sparse().encode_queries(texts), super().encode_queries(texts), strict=True))

    def encode_documents(self, texts):
        return list(zip(Sparse().encode_documents(texts), super().encode_documents(texts), strict=True))


EXAMPLES = [
    Example("ab", "aab", ("b", "c"), query_id="1"),
    Example("c", "ccc", ("a",), (9.0, 9.0)),
    Example("ab", "ba", ("c",)),
]
KNOWN = {("ab", "aab"): 5, ("ab", "b"): 3, ("ab", "c"): -2, ("ab", "ba"): 2, ("c", "ccc"): 1, ("c", "a"): 0.5}


def scores(found):
    return [list(example.scores) for example in found]


# ---------------------------------------------------------------- one teacher


def test_one_re_ranker_gives_its_own_scores():
    model = Reads(KNOWN)
    told = []
    found = score(EXAMPLES, [Teacher(model)], on_progress=lambda *done: told.append(done))
    assert scores(found) == [[5, 3, -2], [1, 0.5], [2, -2]]
    assert [example._replace(scores=()) for example in found] == [example._replace(scores=()) for example in EXAMPLES]
    # A query's texts are read together, each once.
    assert model.calls == [("ab", ("aab", "b", "c", "ba")), ("c", ("ccc", "a"))]
    assert told == [("fake/reranker", 1, 2), ("fake/reranker", 2, 2)]
    assert scores(score(EXAMPLES, [Teacher(model, weight=7)], scale=2)) == [[10, 6, -4], [2, 1], [4, -4]]


def test_an_encoder_s_score_is_the_dot_product_of_query_and_document(monkeypatch):
    monkeypatch.setattr(teachers, "BATCH", 2)
    model = Dense()
    told = []
    found = score(EXAMPLES, [Teacher(model, name="mine")], on_progress=lambda *done: told.append(done))
    assert scores(found) == [[13, 11, 10], [13, 10], [12, 10]]
    assert model.read == ["aab", "b", "c", "ba", "ccc", "a"]  # each text once
    assert told == [("mine", done, 8) for done in (2, 4, 6, 8)]
    assert scores(score(EXAMPLES, [Teacher(Sparse())])) == [[3, 1, 0], [3, 0], [2, 0]]
    assert scores(score(EXAMPLES, [Teacher(Both())])) == [[3, 1, 0], [3, 0], [2, 0]]
    assert scores(score(EXAMPLES, [Teacher(Both(), leg="dense")])) == [[13, 11, 10], [13, 10], [12, 10]]


def test_idf_is_measured_where_a_teacher_needs_it():
    # Of the six texts a stands in three, b in three and c in two; none has x.
    a, c = math.log(1 + 3.5 / 3.5), math.log(1 + 4.5 / 2.5)
    found = scores(score([*EXAMPLES, Example("x", "c")], [Teacher(Sparse(needs_idf=True))]))
    assert found[0] == pytest.approx([3 * a, a, 0])
    assert found[1] == pytest.approx([3 * c, 0])
    assert found[3] == [0]


def test_bm25_can_be_a_teacher():
    texts = ("a shark in the sea", "a bear in the woods", "the sea")
    model = Bm25Encoder(card("sparse", "bm25", needs_idf=True)).fitted(texts)
    (found,) = scores(score([Example("shark sea", texts[0], texts[1:])], [Teacher(model)]))
    assert found[0] > found[2] > found[1] == 0


# ---------------------------------------------------------------- several teachers

ONE = Example("q", "p", ("n", "m"))
TWO = Example("r", "p", ("n", "m"))
STEEP = Reads({("q", "p"): 30, ("q", "n"): 0, ("q", "m"): 0, ("r", "p"): 3, ("r", "n"): 0, ("r", "m"): 0}, "steep")
FLAT = Reads({("q", "p"): 0.1, ("q", "n"): 0.3, ("q", "m"): 0.2, ("r", "p"): 7, ("r", "n"): 7, ("r", "m"): 7}, "flat")


def test_the_scalings_by_hand():
    by_hand = {
        "none": [[30, 0, 0], [3, 0, 0]],
        # The squares of 20, -10, -10 and 2, -1, -1 have the mean 101.
        "pooled": [
            [20 / math.sqrt(101)] + [-10 / math.sqrt(101)] * 2,
            [2 / math.sqrt(101)] + [-1 / math.sqrt(101)] * 2,
        ],
        "query": [[math.sqrt(2)] + [-math.sqrt(0.5)] * 2] * 2,
        "minmax": [[1, 0, 0]] * 2,
    }
    for scaling, expected in by_hand.items():
        assert scores(score([ONE, TWO], [Teacher(STEEP)], scaling=scaling)) == [pytest.approx(row) for row in expected]
    assert scores(score([ONE, TWO], [Teacher(FLAT)], scaling="minmax")) == [pytest.approx([0, 1, 0.5]), [0, 0, 0]]
    spread = math.sqrt(1.5)
    for scaling, expected in (("query", [-spread, spread, 0]), ("pooled", [-math.sqrt(3), math.sqrt(3), 0])):
        found = scores(score([ONE, TWO], [Teacher(FLAT)], scaling=scaling))
        assert found == [pytest.approx(expected, abs=1e-6), [0, 0, 0]]


def test_teachers_are_averaged_by_weight():
    apart = [scores(score([ONE, TWO], [Teacher(model)], scaling="pooled")) for model in (STEEP, FLAT)]
    for weights in ((1, 1), (3, 1)):
        together = score(
            [ONE, TWO], [Teacher(STEEP, weights[0]), Teacher(FLAT, weights[1])], scale=4
        )  # pooled by itself
        expected = np.average(apart, axis=0, weights=weights) * 4
        assert np.allclose(scores(together), expected)
    same = score([ONE, TWO], [Teacher(STEEP, 2), Teacher(STEEP)])
    assert np.allclose(scores(same), apart[0])


def test_a_lone_positive_has_a_score_but_changes_nobody_else_s():
    alone = Example("q2", "p")
    model = Reads({**STEEP.known, ("q2", "p"): 1e6})
    for scaling in SCALINGS:
        with_it = scores(score([ONE, alone, TWO], [Teacher(model)], scaling=scaling))
        assert [with_it[0], with_it[2]] == scores(score([ONE, TWO], [Teacher(STEEP)], scaling=scaling))
        assert with_it[1] == [1e6 if scaling == "none" else 0]


SCORE = st.floats(-(2.0**100), 2.0**100, width=32)


@examples_of(deadline=None)
@given(st.lists(st.lists(SCORE, min_size=2, max_size=5), min_size=1, max_size=5), st.sampled_from(SCALINGS))
def test_no_scaling_turns_a_teacher_s_order_round(rows, scaling):
    if all(len(set(row)) == 1 for row in rows):
        return  # refused, see below
    known = {(f"q{at}", f"t{place}"): value for at, row in enumerate(rows) for place, value in enumerate(row)}
    examples = [Example(f"q{at}", "t0", tuple(f"t{n}" for n in range(1, len(row)))) for at, row in enumerate(rows)]
    found = scores(score(examples, [Teacher(Reads(known))], scaling=scaling))
    for row, scaled in zip(rows, found, strict=True):
        assert np.isfinite(scaled).all()
        order = np.argsort(row, kind="stable")
        assert (np.diff(np.array(scaled)[order]) >= 0).all()
        if scaling == "minmax":
            assert min(scaled) == 0
            assert max(scaled) == (len(set(row)) > 1)
        if scaling == "query" and len(set(row)) > 1:
            assert np.mean(scaled) == pytest.approx(0, abs=1e-3)
    if scaling == "pooled":
        assert np.mean(np.square(np.concatenate(found))) == pytest.approx(1, rel=1e-3)


@examples_of(deadline=None)
@given(
    st.lists(st.lists(st.integers(-50, 50), min_size=3, max_size=3), min_size=1, max_size=4),
    st.sampled_from(["pooled", "query", "minmax"]),
    st.sampled_from([0.25, 2.0, 64.0]),
    st.integers(-100, 100),
)
def test_a_teacher_s_own_unit_and_zero_do_not_matter(rows, scaling, unit, zero):
    if all(len(set(row)) == 1 for row in rows):
        return
    examples = [Example(f"q{at}", "t0", ("t1", "t2")) for at in range(len(rows))]

    def taught(change):
        known = {(f"q{at}", f"t{n}"): change(value) for at, row in enumerate(rows) for n, value in enumerate(row)}
        return scores(score(examples, [Teacher(Reads(known))], scaling=scaling))

    assert np.allclose(taught(float), taught(lambda value: value * unit + zero), atol=1e-5)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_names_teacher_and_query(wrong):
    model = Reads({**KNOWN, ("c", "a"): wrong}, "cross/encoder")
    with pytest.raises(ModelError, match=rf"'cross/encoder' scored a text of the query 'c' {wrong}; .*begins: 'a'"):
        score(EXAMPLES, [Teacher(Dense()), Teacher(model)])


def test_a_vector_that_is_no_number_is_found_too():
    class Broken(Dense):
        def encode_documents(self, texts):
            return super().encode_documents(texts) * np.float32(np.nan)

    with pytest.raises(ModelError, match="'fake/dense' scored a text of the query 'ab' nan"):
        score(EXAMPLES, [Teacher(Broken())])


def test_a_teacher_that_gives_too_little():
    class Short(Reads):
        def score(self, query, texts):
            return super().score(query, texts)[:-1]

    class Mute(Dense):
        def encode_documents(self, texts):
            return super().encode_documents(texts)[:1]

    with pytest.raises(ModelError, match=r"shape \(3,\) for 4 texts of the query 'ab'"):
        score(EXAMPLES, [Teacher(Short(KNOWN))])
    with pytest.raises(ModelError, match="'fake/dense' gave 1 vectors for 6 texts"):
        score(EXAMPLES, [Teacher(Mute())])
    with pytest.raises(ModelError, match="'same' gives all texts of a query the same score"):
        score(EXAMPLES, [Teacher(Reads(dict.fromkeys(KNOWN, 2.0)), name="same")])


def test_values_that_cannot_be_meant():
    model = Reads(KNOWN)
    for given_teachers, options, said in (
        ([], {}, "no teacher"),
        ([Teacher(model, 0)], {}, "weight of 'fake/reranker' is 0"),
        ([Teacher(model, math.inf)], {}, "weight of 'fake/reranker' is inf"),
        ([Teacher(model)], {"scale": 0.0}, "scale is 0.0"),
        ([Teacher(model)], {"scale": math.nan}, "scale is nan"),
        ([Teacher(model)], {"scaling": "softmax"}, "Unknown scaling 'softmax'"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            score(EXAMPLES, given_teachers, **options)
    with pytest.raises(InvalidArgument, match=r"No example has a negative.*--mine-from"):
        score([Example("ab", "aab")], [Teacher(model)])
    assert model.calls == []
