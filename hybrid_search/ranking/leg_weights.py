"""Chooses the weights of the legs for each query, from what a search knows about it anyway."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hybrid_search._util.unicode_text import word_list
from hybrid_search.results import Term
from hybrid_search.types import Ranking

HEAD = 10
"""First hits of each leg whose agreement counts."""

LONG = 8
"""Words from which on a query is long."""

GUESSED = 0.6
"""Share of added weight from which on the sparse leg is taken to guess."""

LEAN = 0.4
"""How far the dense share may rise above a half."""


LEARNED = ("intercept", "words", "expanded", "agreement")
"""What a regression that chooses the weights may have coefficients of."""

MOST_LOGIT = 30.0


class Features(NamedTuple):
    """What is known about a query once its legs have answered, at no extra cost.

    Args:
        words: how many words the query has.
        expanded: 0..1, the share of a learned sparse vector's weight on terms that the query lacks; 0 if no
            leg expands.
        agreement: 0..1, the share of first hits that two legs have in common, averaged over pairs of legs.
    """

    words: int
    expanded: float
    agreement: float


def features(query: str, terms: Sequence[Term], rankings: Mapping[str, Ranking]) -> Features:
    """Return the features of one query.

    Args:
        query: the query's text.
        terms: the terms of its learned sparse vector; none if no leg has one.
        rankings: leg -> ranking.

    >>> features("heart attack", [Term("heart", 3.0, True), Term("cardiac", 1.0, False)], {})
    Features(words=2, expanded=0.25, agreement=1.0)
    """
    mass = sum(term.weight for term in terms)
    added = sum(term.weight for term in terms if not term.in_query)
    return Features(len(word_list(query)), added / mass if mass else 0.0, agreement(rankings))


def agreement(rankings: Mapping[str, Ranking], head: int = HEAD) -> float:
    """Return the share of first hits that two legs have in common, averaged over pairs of legs; 1 for one leg.

    The first `head` hits of each leg count. A leg that found nothing agrees with none.
    """
    heads = [{hit.chunk_id for hit in ranking.hits[:head]} for ranking in rankings.values()]
    pairs = [(one, other) for place, one in enumerate(heads) for other in heads[:place]]
    if not pairs:
        return 1.0
    return sum(len(one & other) / max(len(one), len(other), 1) for one, other in pairs) / len(pairs)


def leg_weights(
    found: Features, kinds: Mapping[str, str], learned: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return the weights of the legs for a query with these features: 0.2..1.8, and 1 each by default.

    A sparse leg that adds most of its words to a short query relies on guesses. If the dense leg then finds other
    documents than the sparse leg, the dense leg gets more weight. The three signs, each 0..1:

        short    = (8 - words) / 7
        guessed  = expanded / 0.6
        apart    = 1 - agreement

    The dense share is 0.5 + 0.4 * (short * guessed * apart) ** (1 / 3). The root is the geometric mean, so each sign
    has to speak for the dense leg. A dense leg weighs twice the share, a sparse one twice the rest.

    Args:
        found: the query's features.
        kinds: leg -> `sparse` or `dense`. If all legs are of one kind, each weighs 1.
        learned: coefficients of a regression that takes the formula's place, by name of `LEARNED`: the dense share is
            1 / (1 + exp(-sum of coefficient * feature)), where `intercept` stands for 1. One that is missing counts 0.

    Source: our own. Form and numbers were chosen on 400 queries from the training data of the bundled model, with that
    model. `hybrid-search guide evaluation` says what it is worth elsewhere.

    >>> leg_weights(Features(words=1, expanded=0.6, agreement=0.0), {"sparse": "sparse", "dense": "dense"})
    {'sparse': 0.2, 'dense': 1.8}
    >>> leg_weights(Features(words=20, expanded=0.6, agreement=0.0), {"sparse": "sparse", "dense": "dense"})
    {'sparse': 1.0, 'dense': 1.0}
    """
    if len(set(kinds.values())) < 2:
        return dict.fromkeys(kinds, 1.0)
    if learned:
        return _shared(_learned_share(found, learned), kinds)
    signs = ((LONG - found.words) / (LONG - 1), found.expanded / GUESSED, 1 - found.agreement)
    share = 0.5 + LEAN * math.prod(min(max(sign, 0.0), 1.0) for sign in signs) ** (1 / 3)
    return _shared(share, kinds)


def inputs(found: Features) -> dict[str, float]:
    """Return the features of a query as the regression takes them, by name, each 0..1.

    >>> inputs(Features(words=4, expanded=0.25, agreement=0.5))
    {'intercept': 1.0, 'words': 0.5, 'expanded': 0.25, 'agreement': 0.5}
    """
    values = (1.0, min(found.words, LONG) / LONG, found.expanded, found.agreement)
    return dict(zip(LEARNED, values, strict=True))


def _learned_share(found: Features, learned: Mapping[str, float]) -> float:
    logit = math.fsum(learned.get(name, 0.0) * value for name, value in inputs(found).items())
    return 1 / (1 + math.exp(-min(max(logit, -MOST_LOGIT), MOST_LOGIT)))


def _shared(share: float, kinds: Mapping[str, str]) -> dict[str, float]:
    return {leg: round(2 * (share if kind == "dense" else 1 - share), 4) for leg, kind in kinds.items()}
