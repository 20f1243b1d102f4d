"""What a store multiplies the dimensions of a query with, where it does not tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from hybrid_search.protocols import CollectionReader
from hybrid_search.types import LegName, SparseVector


def measured_frequencies(reader: CollectionReader, leg: LegName, dimensions: Sequence[int]) -> dict[int, float]:
    """Return what the store multiplies dimensions of a query with, as the store itself has it: one search a dimension.

    The score of a document in a search for one dimension, at weight 1, over its own weight there; 0 for none.
    """
    singles = [SparseVector.of([dimension], [1.0]) for dimension in dimensions]
    answers = reader.retrieve([(leg, single) for single in singles], 1) if singles else []
    stored = reader.vectors(leg, sorted({chunk_id for answer in answers for chunk_id, _ in answer})) if singles else {}
    frequencies = dict.fromkeys(dimensions, 0.0)
    for dimension, single, answer in zip(dimensions, singles, answers, strict=True):
        for chunk_id, score in answer:
            frequencies[dimension] = score / cast(SparseVector, stored[chunk_id]).dot(single)
    return frequencies
