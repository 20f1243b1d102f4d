"""The oracle gap: what the best order of a mode's first documents would reach, and so what re-ranking could add."""

from __future__ import annotations

from collections.abc import Sequence

from hybrid_search._util.unicode_text import nfc
from hybrid_search.corpus.trec import Qrel, ScoredDoc
from hybrid_search.evaluation import measures

MEASURE = "nDCG@10"
DEPTHS = (10, 20, 50, 100)


def oracle(run: Sequence[ScoredDoc], qrels: Sequence[Qrel], depths: Sequence[int] = DEPTHS) -> dict[int, float]:
    """Return by depth the mean nDCG@10 of each query's first documents in the order of their relevance.

    Args:
        run: for each query its documents, best first.
        qrels: decide which queries count, as in `measures.score`.
        depths: how many first documents of each query are put in order.
    """
    relevance = {(qrel.query_id, nfc(qrel.doc_id)): qrel.relevance for qrel in qrels}
    by_query: dict[str, list[ScoredDoc]] = {}
    for row in run:
        by_query.setdefault(row.query_id, []).append(row)
    parsed = measures.parse([MEASURE])
    found = {}
    for depth in depths:
        best = [
            row
            for rows in by_query.values()
            for row in sorted(rows[:depth], key=lambda row: -relevance.get((row.query_id, nfc(row.doc_id)), 0))
        ]
        found[depth] = round(float(measures.score(best, qrels, parsed)[MEASURE].mean()), 4)
    return found
