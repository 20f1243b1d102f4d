"""Draws the documents to judge for a query: the union of the first ones of every leg, in an order that tells no rank.

The method is pooling as TREC does it (Spärck Jones & van Rijsbergen, 1975): what no leg finds within the depth is not
judged, and counts as not relevant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

POOL_DEPTH = 10
"""Documents that each leg puts into the pool of a query."""


def pool(query: str, rankings: Iterable[Sequence[str]], depth: int = POOL_DEPTH) -> list[str]:
    """Return the union of the first documents of rankings, shuffled.

    The order depends on the query's text and the ids alone, so that it is the same in each sitting.

    Args:
        query: its text.
        rankings: ids of documents, best first, one ranking for each leg.
        depth: documents taken of each ranking.
    """
    drawn = {doc_id for ranking in rankings for doc_id in ranking[:depth]}
    return sorted(drawn, key=lambda doc_id: (_place(query, doc_id), doc_id))


def _place(query: str, doc_id: str) -> bytes:
    """Return bytes that order documents as if by chance."""
    digest = hashlib.sha256(query.encode("utf-8", "surrogatepass") + b"\0")
    digest.update(doc_id.encode("utf-8", "surrogatepass"))
    return digest.digest()
