"""What each leg hands on: no hit below its least score; and what all that it found tells of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hybrid_search._util.arguments import is_number, numbers, plain, shown
from hybrid_search.errors import InvalidArgument
from hybrid_search.manifest import Manifest
from hybrid_search.ranking.confidence import STRENGTH_MODEL, LegEvidence, confidence
from hybrid_search.results import Confidence
from hybrid_search.types import LegName, Ranking, SparseVector, Vector


def read_least_scores(value: Any) -> dict[LegName, float] | None:
    """Return the least score of each leg that has one, from a mapping or a text such as `sparse=8,dense=0.3`.

    Raises:
        InvalidArgument: it is neither, it is empty, or a score is not a finite number.
    """
    if value is None:
        return None
    given = numbers(value, "min_score", "sparse=8,dense=0.3") if isinstance(value, str) else value
    if not (isinstance(given, Mapping) and given and all(isinstance(leg, str) for leg in given)):
        raise InvalidArgument(f"min_score is {shown(value)}; give a score by leg, such as sparse=8,dense=0.3.")
    for leg, score in given.items():
        if not is_number(score):
            raise InvalidArgument(f"The min_score of {shown(leg)} is {shown(score)}; it must be a finite number.")
    return {leg: plain(score) for leg, score in given.items()}


def check_least_scores(least: Mapping[LegName, float], legs: Mapping[LegName, Any], collection: str) -> None:
    """Refuse a score for a leg that the collection lacks.

    Raises:
        InvalidArgument: for the first such leg.
    """
    for leg in least:
        if leg not in legs:
            raise InvalidArgument(
                f"min_score names the leg {shown(leg)}, but the legs of {collection!r} are: {', '.join(legs)}."
            )


def hand_on(rankings: Mapping[LegName, Ranking], least: Mapping[LegName, float], depth: int) -> dict[LegName, Ranking]:
    """Return of each ranking the first `depth` hits, without those below the leg's least score."""
    return {leg: _above(ranking, least.get(leg), depth) for leg, ranking in rankings.items()}


def _above(ranking: Ranking, least: float | None, depth: int) -> Ranking:
    hits = ranking.hits[:depth]
    if least is not None:
        hits = tuple(hit for hit in hits if hit.score >= least)
    return ranking if len(hits) == len(ranking.hits) else Ranking(hits)


def estimate(
    query: str,
    vectors: Mapping[LegName, Vector | None],
    rankings: Mapping[LegName, Ranking],
    unread: Mapping[LegName, Sequence[str]],
    manifest: Manifest,
    given: LegName | None = None,
) -> Confidence | None:
    """Estimate whether an answer was found.

    Args:
        query: its text.
        vectors: of the query by leg; None where the leg abstains.
        rankings: by leg, at least `ranking.confidence.DEPTH` deep.
        unread: by leg, the parts of the query that its model does not know, where there are any.
        manifest: of the collection.
        given: the leg whose vector is not its model's, but was given as weights of terms.
    """
    missed = [unread.get(leg, ()) for leg, vector in vectors.items() if vector is not None]
    legs = leg_evidence(vectors, rankings, manifest)
    if given in legs:
        legs[given] = legs[given]._replace(norm=0.0)
    return confidence(legs, share_read(query, missed))


def leg_evidence(
    vectors: Mapping[LegName, Vector | None], rankings: Mapping[LegName, Ranking], manifest: Manifest
) -> dict[LegName, LegEvidence]:
    """Return what each leg found that does not abstain; the arguments are those of `estimate`."""
    legs = {}
    for leg, vector in vectors.items():
        if vector is not None:
            spec = manifest.legs[leg]
            norm = 0.0
            if isinstance(vector, SparseVector) and spec.model == STRENGTH_MODEL:
                norm = float(np.linalg.norm(vector.values))
            legs[leg] = LegEvidence(spec.kind, rankings[leg], norm)
    return legs


def too_low(confidence: Confidence | None, least: float | None) -> tuple[str, ...]:
    """Say that no hits are shown because the confidence is too low; nothing where it is not, or is not known."""
    if confidence is None or least is None or confidence.value >= least:
        return ()
    return (f"No hits are shown: the confidence is {confidence.value:.2f}, and {least:g} is wanted (min_confidence).",)


def share_read(query: str, unread: Sequence[Sequence[str]]) -> float:
    """Return the share of a query's letters, 0..1, that legs read, averaged over them.

    Args:
        query: its text.
        unread: of each leg that answers, the parts that its model does not know.

    >>> share_read("blue 猫猫猫猫", [["猫猫猫猫"], ["猫猫猫猫"]]), share_read("blue", [["blue"], []])
    (0.5, 0.5)
    """
    letters = _letters([query])
    if not (letters and unread):
        return 1.0
    return sum(max(1 - _letters(parts) / letters, 0.0) for parts in unread) / len(unread)


def _letters(texts: Sequence[str]) -> int:
    return sum(len(word) for text in texts for word in text.split())
