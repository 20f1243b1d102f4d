"""Chooses which queries are held out, and which documents evaluation during training ranks for them. Pure functions."""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from hybrid_search.errors import CorpusError, InvalidArgument
from hybrid_search.training.examples import Example, HeldOut, draw

MIN_QUERIES = 5
MAX_QUERIES = 1_000
"""A fraction of the queries becomes `MIN_QUERIES` to `MAX_QUERIES`: fewer tell nothing, more only take time."""

MAX_FRACTION = 0.5


def check_share(share: float) -> None:
    """Refuse an invalid share of the queries.

    Raises:
        InvalidArgument: it is neither 0, nor a fraction up to 0.5, nor a whole number of queries.
    """
    whole = math.isfinite(share) and share >= 1 and share == int(share)
    if isinstance(share, bool) or not (0 <= share <= MAX_FRACTION or whole):
        raise InvalidArgument(
            f"held_out is {share}; expected a fraction of the queries (0 .. {MAX_FRACTION}), a number of them, or a "
            "BEIR folder."
        )


class Judged(NamedTuple):
    """An example, and what evaluation needs to know about it if its query is held out.

    Args:
        example: the example, with its positive and negatives.
        query: the example's query, normalised.
        grade: the positive's grade, > 0.
        query_id: identifies the query among all sources.
        doc_ids: identify the documents of (positive, *negatives) among all sources.
    """

    example: Example
    query: str
    grade: int
    query_id: str
    doc_ids: tuple[str, ...]


class Pool:
    """The unjudged documents to rank: `size` of those offered, drawn by the seed, in bounded memory.

    The choice depends on the seed and the ids, not on the order of the offers.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed
        self._heap: list[tuple[int, str, str]] = []
        self._held: set[str] = set()

    def offer(self, doc_id: str, text: str) -> None:
        if doc_id in self._held or not self._size:
            return
        # A min-heap of negated draws: its first is the one to leave next.
        item = (-draw(self._seed, "document", doc_id), doc_id, text)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, item)
        else:
            left = heapq.heappushpop(self._heap, item)
            if left[1] == doc_id:
                return
            self._held.discard(left[1])
        self._held.add(doc_id)

    def documents(self) -> dict[str, str]:
        """Return doc_id -> text, sorted by id."""
        return dict(sorted((doc_id, text) for _, doc_id, text in self._heap))


def choose_queries(queries: Collection[str], share: float, seed: int) -> frozenset[str]:
    """Return the normalised queries to hold out.

    Args:
        queries: normalised texts, each once.
        share: as `check_share` allows. A fraction becomes 5 .. 1,000 queries, but at most half of all; 0 is none.
        seed: decides which.

    Raises:
        CorpusError: there are fewer than two queries, so one side would be empty.
        InvalidArgument: more than half of them are requested.
    """
    if share == 0 or not queries:
        return frozenset()
    if len(queries) < 2:
        raise CorpusError(
            "There is one distinct query, and none could be held out for evaluation. Give more data, or hold out none: "
            "--held-out 0"
        )
    if share >= 1 and 2 * share > len(queries):
        raise InvalidArgument(
            f"Holding out {share:g} of {len(queries):,} distinct queries leaves too few to train on; "
            f"expected at most {len(queries) // 2:,}."
        )
    count = int(share) if share >= 1 else min(max(round(share * len(queries)), MIN_QUERIES), MAX_QUERIES)
    return draw_queries(queries, min(count, len(queries) // 2), seed)


def draw_queries(queries: Iterable[str], count: int, seed: int) -> frozenset[str]:
    """Draw `count` of the queries, or all if there are fewer."""
    return frozenset(heapq.nsmallest(count, queries, key=lambda query: (draw(seed, "held out", query), query)))


def build_held_out(rows: Sequence[Judged], beside: Mapping[str, str]) -> HeldOut:
    """Return what evaluation ranks: the queries of these rows, their documents, and unjudged documents beside them.

    The same query text under several ids is one query, under its first id, with all their judgements. Of two grades for
    one document the higher counts. Negatives are judged 0.

    Args:
        rows: the rows of the held-out queries.
        beside: doc_id -> text of unjudged documents.
    """
    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    first_id: dict[str, str] = {}
    for row in rows:
        query_id = first_id.setdefault(row.query, row.query_id)
        queries.setdefault(query_id, row.example.query)
        grades = qrels.setdefault(query_id, {})
        texts = (row.example.positive, *row.example.negatives)
        for place, (doc_id, text) in enumerate(zip(row.doc_ids, texts, strict=True)):
            documents.setdefault(doc_id, text)
            grades[doc_id] = max(grades.get(doc_id, 0), 0 if place else row.grade)
    return HeldOut(queries, {**documents, **{key: text for key, text in beside.items() if key not in documents}}, qrels)
