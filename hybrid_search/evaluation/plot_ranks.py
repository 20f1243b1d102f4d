"""Where a run has the relevant documents, for pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util.unicode_text import nfc
from hybrid_search.corpus.trec import Qrel, ScoredDoc

DEPTH = 100
"""Documents of each query that pictures look at."""


def relevant_ranks(run: Sequence[ScoredDoc], qrels: Sequence[Qrel]) -> NDArray[np.int32]:
    """Return the rank of each relevant document, in the order of the judgements; 0 where it is not among the first.

    Args:
        run: for each query its documents, best first.
        qrels: of them those with a relevance above 0 count.
    """
    ranks: dict[str, dict[str, int]] = {}
    for row in run:
        known = ranks.setdefault(row.query_id, {})
        if len(known) < DEPTH:
            known[nfc(row.doc_id)] = len(known) + 1
    found = [ranks.get(one.query_id, {}).get(nfc(one.doc_id), 0) for one in qrels if one.relevance > 0]
    return np.array(found, np.int32)
