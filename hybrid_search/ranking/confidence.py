"""Estimates whether a search has found an answer, from what its legs return anyway."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import permutations
from typing import NamedTuple

from hybrid_search.results import Confidence, ConfidenceWord
from hybrid_search.types import Kind, Ranking

DEPTH = 50
"""First hits of each leg that count, whatever is asked for."""

LEAST_HITS = 10
"""Hits of a dense leg from which on its last one stands for what does not answer."""

STRENGTH_MODEL = "bundled/minilm-splade"
"""The model for whose scores `strength` was fitted. Those of others have another scale, so it would tell nothing."""

LOW = 0.3
"""Confidence below which it is low. On what the fit is from, one in eleven answered hybrid queries is below it, on the
mean of the collections, and 89 % of what is below it has no answer."""

HIGH = 0.8
"""Confidence from which on it is high. On what the fit is from, 90 % of the hybrid queries above it are answered."""


class LegEvidence(NamedTuple):
    """What one leg found for a query.

    Args:
        kind: of its vectors.
        ranking: its hits; those after the first `DEPTH` do not count.
        norm: the Euclidean length of a sparse query vector of `STRENGTH_MODEL`; 0 for other models.
    """

    kind: Kind
    ranking: Ranking
    norm: float = 0.0


class Signals(NamedTuple):
    """What tells a found answer from the nearest of what is no answer; None where a leg for it is missing.

    Args:
        closeness: 0..1, how much of the way from the dense leg's last score to a cosine of 1 its best one goes.
        support: 0..1, how well the best hit of each leg does in each other leg.
        strength: the sparse leg's best score over the length of the query's vector; None beside a dense leg.
    """

    closeness: float | None = None
    support: float | None = None
    strength: float | None = None


class Fit(NamedTuple):
    """A logistic regression: the names of its signals, the weight of each, and the constant."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    constant: float


FITS = (
    Fit(("closeness", "support"), (5.83, 0.981), -2.166),
    Fit(("closeness",), (7.466,), -2.085),
    Fit(("strength",), (0.273,), -2.196),
)
"""For hybrid, a dense leg and a sparse leg; the first whose signals are there counts.

Source: `python tests/benchmarks/confidence.py --fit`.
"""


def confidence(legs: Mapping[str, LegEvidence], read: float = 1.0) -> Confidence | None:
    """Return how likely it is that something relevant is among the first ten documents; None where nothing tells it.

    The probability is that of a logistic regression (`FITS`) over the signals, times the share of the query that was
    read, for nothing is known about the rest. If no leg has a hit, it is 0.

    Nothing tells it if a dense leg answers that has fewer than 10 hits; or if sparse legs alone answer, none of them of
    `STRENGTH_MODEL`: not by BM25, whose scores are compared with nothing.

    Args:
        legs: leg -> what it found, without the legs that abstain.
        read: 0..1, the share of the query that the legs' models know.

    Source: our own. Fitted with the bundled models on 1,153 queries: those of `datasets/movies`, and questions,
    headings and words with their passages from MedQuAD, OpenStax and Open English WordNet; and on 396 queries that were
    put to a collection which is not theirs. The signals were chosen, and `LOW` was moved, with the areas on cranfield,
    cisi and cacm in view: what the benchmark prints for these is no blind test. `closeness` and `support` do not depend
    on the scale of a model's scores, so for other models greater values still mean more. Calibrated for them they are
    not. Nor is it for what re-ranking does, and hardly for collections with less than some hundred chunks, or filters
    that leave less.
    """
    if not any(leg.ranking.hits for leg in legs.values()):
        return Confidence(0.0, "low")
    given = signals(legs)._asdict()
    fit = next((fit for fit in FITS if all(given[name] is not None for name in fit.names)), None)
    if fit is None:
        return None
    logit = fit.constant + sum(weight * given[name] for name, weight in zip(fit.names, fit.weights, strict=True))
    value = round(min(max(read, 0.0), 1.0) / (1 + math.exp(-min(max(logit, -30.0), 30.0))), 4)
    return Confidence(value, word_of(value))


def word_of(value: float) -> ConfidenceWord:
    """Return the word for a confidence: `low` below 0.3, `high` from 0.8 on."""
    return "low" if value < LOW else "high" if value >= HIGH else "fair"


def signals(legs: Mapping[str, LegEvidence]) -> Signals:
    """Return the signals of one query; of several legs of a kind the first that tells anything counts."""
    dense = [closeness(leg.ranking) for leg in legs.values() if leg.kind == "dense"]
    sparse = [strength(leg.ranking, leg.norm) for leg in legs.values() if leg.kind == "sparse"]
    return Signals(
        next((found for found in dense if found is not None), None),
        support({name: leg.ranking for name, leg in legs.items()}),
        None if dense else next((found for found in sparse if found is not None), None),
    )


def closeness(ranking: Ranking) -> float | None:
    """Return (best - last) / (1 - last) of a dense leg's scores, 0..1; None for fewer than 10 hits.

    The last of the first 50 stands for what does not answer the query. A model whose cosines all lie in 0.7..0.9 is so
    compared with itself.
    """
    hits = ranking.hits[:DEPTH]
    if len(hits) < LEAST_HITS:
        return None
    best, last = hits[0].score, hits[-1].score
    if not (math.isfinite(best) and math.isfinite(last)):
        return None
    room = 1 - last
    return min(max((best - last) / room, 0.0), 1.0) if room > 1e-6 else 1.0


def strength(ranking: Ranking, norm: float) -> float | None:
    """Return a sparse leg's best score over the length of the query's vector, >= 0; None where that is not known."""
    if not (math.isfinite(norm) and norm > 0):
        return None
    best = ranking.hits[0].score if ranking.hits else 0.0
    return max(best / norm, 0.0) if math.isfinite(best) else None


def support(rankings: Mapping[str, Ranking]) -> float | None:
    """Return how well the best hit of each leg does in each other leg, 0..1, averaged; None for one leg.

    It is (score - last) / (best - last) there, and 0 where the other leg does not have it.
    """
    if len(rankings) < 2:
        return None
    shares = [_share(one, other) for one, other in permutations(rankings.values(), 2)]
    return sum(shares) / len(shares)


def _share(one: Ranking, other: Ranking) -> float:
    """Return how well the best hit of one ranking does in another."""
    hits = other.hits[:DEPTH]
    if not (one.hits and hits):
        return 0.0
    head = one.hits[0].chunk_id
    score = next((hit.score for hit in hits if hit.chunk_id == head), None)
    if score is None:
        return 0.0
    best, last = hits[0].score, hits[-1].score
    share = (score - last) / (best - last) if best > last else 1.0
    return share if math.isfinite(share) else 0.0
