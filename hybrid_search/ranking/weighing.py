"""Weights of the legs chosen for each query, from what a search knows of it anyway."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hybrid_search.ranking.expansion import Term
from hybrid_search.types import Ranking

HEAD = 10
"""Hits of each leg whose agreement counts."""

_WORDS = re.compile(r"\w+")


class Features(NamedTuple):
    """What is known of a query once its legs have answered, and costs nothing more.

    Args:
        words: how many the query has.
        expanded: 0..1, of a learned sparse vector the share of its weight on terms that the query lacks; 0 where no
            leg expands.
        agreement: 0..1, the share of their first hits that two legs have in common, the mean over pairs of legs.
    """

    words: int
    expanded: float
    agreement: float


def features(query: str, terms: Sequence[Term], rankings: Mapping[str, Ranking]) -> Features:
    """The features of one query.

    Args:
        query: its text.
        terms: of its learned sparse vector; none where no leg has one.
        rankings: by leg.

    >>> features("heart attack", [Term("heart", 3.0, True), Term("cardiac", 1.0, False)], {})
    Features(words=2, expanded=0.25, agreement=1.0)
    """
    mass = sum(term.weight for term in terms)
    added = sum(term.weight for term in terms if not term.in_query)
    return Features(len(_WORDS.findall(query)), added / mass if mass else 0.0, agreement(rankings))


def agreement(rankings: Mapping[str, Ranking], head: int = HEAD) -> float:
    """The share of their first `head` hits that two legs have in common, the mean over pairs of legs; 1 for one leg.

    A leg that found nothing agrees with none.
    """
    heads = [{hit.chunk_id for hit in ranking.hits[:head]} for ranking in rankings.values()]
    pairs = [(one, other) for place, one in enumerate(heads) for other in heads[:place]]
    if not pairs:
        return 1.0
    return sum(len(one & other) / max(len(one), len(other), 1) for one, other in pairs) / len(pairs)


def weigh(found: Features, kinds: Mapping[str, str]) -> dict[str, float]:
    """The weights of the legs for a query with these features.

    Args:
        found: of the query.
        kinds: `sparse` or `dense`, by leg.
    """
    raise NotImplementedError
