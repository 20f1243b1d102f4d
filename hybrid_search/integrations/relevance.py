"""How relevant the hits of an answer are, as numbers that can be compared across queries.

The score of fused ranks says how a hit stands among the others, never whether any of them is any good: the first of
nonsense has that of an exact title. What legs measure themselves does say it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import cast
from weakref import WeakKeyDictionary

import numpy as np

from hybrid_search.encoders.hybrid import encode
from hybrid_search.errors import InvalidArgument
from hybrid_search.manifest import Manifest
from hybrid_search.results import Results
from hybrid_search.search.open_collection import OpenCollection, known_frequencies
from hybrid_search.search.retrieval import read
from hybrid_search.types import DenseVector, LegName, SparseVector, Vector

PROBES = (
    "vbqx zrtk", "plimf", "wugnar blicket tove", "qzjx", "hgfd lkjw mnbv", "snorvel quib", "tkk dffp", "zzyx orpum xel",
)  # fmt: skip
"""Texts without any sense: what they find is what a leg finds when there is nothing to find."""

MOST_FLOOR = 0.95
"""Of a model to which all texts are nearly alike something is left above it."""


def relevances(query: str, results: Results, opened: OpenCollection) -> list[float]:
    """Return the relevance of each hit, 0..1: the mean over the legs that were searched, by their weights, of

    - dense: the cosine of the query's and the best chunk's vectors;
    - sparse: the chunk's score as a share of the score that a text of exactly the query's words would have;

    each from the leg's floor, which counts as 0, to 1. The floor is what the best chunk has for `PROBES`, on the mean:
    it depends on the model and on the collection. A hit counts as no less relevant than one behind it, so that a
    threshold cuts a list at one place.

    Raises:
        InvalidArgument: no dense leg was searched, or the weights of the query's terms were given.
    """
    if results.vector:
        raise InvalidArgument(
            "There is no relevance in 0..1 where the weights of the query's terms are given (vector): nothing tells "
            "the greatest score. Take similarity_search_with_score."
        )
    _require_dense(results.legs, opened.reader.manifest)
    vectors, _ = read([query], {leg: opened.encoders[leg] for leg in results.legs})
    chunk_ids = [hit.passages[0].chunk_id for hit in results]
    sums, whole = np.zeros(len(chunk_ids)), 0.0
    for leg in results.legs:
        [vector], weight = vectors[leg], results.weights.get(leg, 1.0)
        if vector is None or not weight or not chunk_ids:
            continue
        stored = opened.reader.vectors(leg, chunk_ids)
        floor = _floor(leg, opened)
        raw = np.array(_raw(leg, query, vector, [stored.get(chunk_id) for chunk_id in chunk_ids], opened))
        sums += weight * np.clip((raw - floor) / (1 - floor), 0, 1)
        whole += weight
    each = (sums / whole).tolist() if whole else sums.tolist()
    return list(accumulate(reversed(each), max))[::-1]


def _floor(leg: LegName, opened: OpenCollection) -> float:
    """Return what nonsense finds in a leg, 0..1; measured once for each state of a collection."""
    known = _FLOORS.setdefault(opened.reader, {})
    if leg not in known:
        encoder = opened.encoders[leg]
        vectors = read(PROBES, {leg: encoder})[0][leg]
        asked = [(probe, vector) for probe, vector in zip(PROBES, vectors, strict=True) if vector is not None]
        answers = opened.reader.retrieve([(leg, vector) for _, vector in asked], 1)
        best = opened.reader.vectors(leg, [chunk_id for answer in answers for chunk_id, _ in answer])
        found = [
            _raw(leg, probe, vector, [best.get(chunk_id) for chunk_id, _ in answer] or [None], opened)[0]
            for (probe, vector), answer in zip(asked, answers, strict=True)
        ]
        known[leg] = min(MOST_FLOOR, float(np.mean(found))) if found else 0.0
    return known[leg]


def _require_dense(legs: Sequence[LegName], manifest: Manifest) -> None:
    if not any(manifest.legs[leg].kind == "dense" for leg in legs):
        named = " and ".join(map(repr, legs))
        raise InvalidArgument(
            f"Scores of the leg {named} have no greatest, so there is no relevance in 0..1. Search another mode, or "
            "take similarity_search_with_score."
        )


def _raw(
    leg: LegName, query: str, vector: Vector, stored: Sequence[Vector | None], opened: OpenCollection
) -> list[float]:
    """Return what a leg says of each chunk, before its floor is taken off; 0 of one that has no vector there."""
    if not isinstance(vector, SparseVector):
        return [0.0 if one is None else _cosine(vector, cast(DenseVector, one)) for one in stored]
    weighted = _weighted(leg, vector, opened)
    [itself] = encode({leg: opened.encoders[leg]}, [query])[leg]
    most = weighted.dot(cast(SparseVector, itself))
    scores = (0.0 if one is None else weighted.dot(cast(SparseVector, one)) for one in stored)
    return [min(1.0, max(0.0, score / most)) if most > 0 else 0.0 for score in scores]


_FLOORS: WeakKeyDictionary[object, dict[LegName, float]] = WeakKeyDictionary()


def _cosine(one: DenseVector, other: DenseVector) -> float:
    first, second = one.astype(np.float64), other.astype(np.float64)
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return min(1.0, max(0.0, float(first @ second) / lengths)) if lengths else 0.0


def _weighted(leg: LegName, vector: SparseVector, opened: OpenCollection) -> SparseVector:
    """Return the query's vector with the frequencies that the store multiplies in; a term of no chunk is the rarest."""
    if not opened.reader.manifest.legs[leg].needs_idf:
        return vector
    dimensions = vector.indices.tolist()
    factors = known_frequencies(opened, leg, dimensions)
    # ln(1 + (n - df + 0.5) / (df + 0.5)) with df = 0, as Qdrant has it.
    rarest = math.log(1 + (opened.reader.info().points + 0.5) / 0.5)
    values = [value * (factors[one] or rarest) for one, value in zip(dimensions, vector.values.tolist(), strict=True)]
    return SparseVector.of(dimensions, values, signed=vector.signed)
