"""Rank moves, overlap and recall by depth, against what a few lines and ir_measures say of random rankings."""

import random

import pytest

from hybrid_search.corpus.trec import Qrel, ScoredDoc
from hybrid_search.evaluation import measures
from hybrid_search.evaluation.rank_moves import DEPTHS, FIRST, MOVES, Place, first_of, move, only_in, overlap
from hybrid_search.evaluation.rank_moves import recall_by_depth as recall


def ranking(doc_ids):
    return {doc_id: Place(rank, 1 / rank) for rank, doc_id in enumerate(doc_ids, 1)}


@pytest.mark.parametrize("seed", range(20))
def test_moves_are_those_of_two_plain_lists(seed):
    rng = random.Random(seed)
    documents = [f"d{n}" for n in range(30)]
    a, b = (rng.sample(documents, rng.choice([0, 1, 7, 25])) for _ in range(2))
    counts = dict.fromkeys(MOVES, 0)
    for doc_id in documents:
        there = (doc_id in a, doc_id in b)
        expected = {(False, False): "neither", (True, False): "only_a", (False, True): "only_b"}.get(there)
        if expected is None:
            step = b.index(doc_id) - a.index(doc_id)
            expected = "rose" if step < 0 else "fell" if step > 0 else "same"
        assert move(ranking(a).get(doc_id), ranking(b).get(doc_id)) == expected
        counts[expected] += 1
    assert sum(counts.values()) == len(documents)
    assert only_in(ranking(a), ranking(b)) == [doc_id for doc_id in a[:FIRST] if doc_id not in b]
    assert first_of(ranking(a)) == a[:FIRST]
    longest = max(len(a[:FIRST]), len(b[:FIRST]))
    assert overlap(ranking(a), ranking(b)) == (len({*a[:FIRST]} & {*b[:FIRST]}) / longest if longest else 1)


def test_recall_by_depth_is_that_of_ir_measures():
    rng = random.Random(7)
    documents = [f"d{n}" for n in range(200)]
    lists = {f"q{n}": rng.sample(documents, 150) for n in range(12)}
    qrels = [Qrel(query_id, doc_id, rng.choice([0, 1, 2])) for query_id in lists for doc_id in rng.sample(documents, 9)]
    qrels += [Qrel("unanswered", "d1", 1), Qrel("without", "d2", 0)]
    relevant = {qrel.query_id: [] for qrel in qrels}
    for qrel in qrels:
        relevant[qrel.query_id] += [qrel.doc_id] if qrel.relevance > 0 else []
    run = [ScoredDoc(q, doc_id, 1 / rank) for q, ids in lists.items() for rank, doc_id in enumerate(ids, 1)]
    depths = [depth for depth in DEPTHS if depth <= 150]
    told = recall({q: ranking(ids) for q, ids in lists.items()}, relevant, depths)
    scored = measures.score(run, qrels, measures.parse([f"R@{depth}" for depth in depths]))
    assert told == pytest.approx({depth: scored[f"R@{depth}"].mean() for depth in depths}, abs=1e-12)
    assert list(told.values()) == sorted(told.values())
    assert told[1] > 0
