"""Weights of the legs chosen for each query, from what a search knows of it anyway."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hybrid_search._util.unicode_text import word_list
from hybrid_search.results import Term
from hybrid_search.types import Ranking

HEAD = 10
"""Hits of each leg whose agreement counts."""

LONG = 8
"""Words from which a query is long."""

GUESSED = 0.6
"""Share of added weight from which the sparse leg is held to guess."""

LEAN = 0.4
"""How far the dense share may go above a half."""


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
    return Features(len(word_list(query)), added / mass if mass else 0.0, agreement(rankings))


def agreement(rankings: Mapping[str, Ranking], head: int = HEAD) -> float:
    """The share of their first `head` hits that two legs have in common, the mean over pairs of legs; 1 for one leg.

    A leg that found nothing agrees with none.
    """
    heads = [{hit.chunk_id for hit in ranking.hits[:head]} for ranking in rankings.values()]
    pairs = [(one, other) for place, one in enumerate(heads) for other in heads[:place]]
    if not pairs:
        return 1.0
    return sum(len(one & other) / max(len(one), len(other), 1) for one, other in pairs) / len(pairs)


def leg_weights(found: Features, kinds: Mapping[str, str]) -> dict[str, float]:
    """The weights of the legs for a query with these features: 0.2..1.8, and 1 for all where nothing speaks against it.

    A sparse leg that adds most of its words to a short query goes by its guesses; where the dense leg finds other
    documents than it does, the dense leg is given more. The three signs, each 0..1:

        short    = (8 - words) / 7
        guessed  = expanded / 0.6
        apart    = 1 - agreement

    and the dense share is 0.5 + 0.4 * (short * guessed * apart) ** (1 / 3): their geometric mean, so that each of them
    has to speak for it. A dense leg weighs twice the share, a sparse one twice the rest.

    Args:
        found: of the query.
        kinds: `sparse` or `dense`, by leg. Where all legs are of one kind, each weighs 1.

    Source: our own; form and numbers were chosen on 400 queries out of the training data of the bundled model, with
    that model. README says what it is worth elsewhere.

    >>> weigh(Features(words=1, expanded=0.6, agreement=0.0), {"sparse": "sparse", "dense": "dense"})
    {'sparse': 0.2, 'dense': 1.8}
    >>> weigh(Features(words=20, expanded=0.6, agreement=0.0), {"sparse": "sparse", "dense": "dense"})
    {'sparse': 1.0, 'dense': 1.0}
    """
    if len(set(kinds.values())) < 2:
        return dict.fromkeys(kinds, 1.0)
    signs = ((LONG - found.words) / (LONG - 1), found.expanded / GUESSED, 1 - found.agreement)
    share = 0.5 + LEAN * math.prod(min(max(sign, 0.0), 1.0) for sign in signs) ** (1 / 3)
    return {leg: round(2 * (share if kind == "dense" else 1 - share), 4) for leg, kind in kinds.items()}
