"""Counts of the dimensions of sparse vectors, and the weights that follow from them.

Source of the weight: Robertson & Zaragoza, The Probabilistic Relevance Framework, 2009, in the form of Lucene.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.types import SparseVector, Vector


class Frequencies(NamedTuple):
    """How often dimensions occur, in one vector field; of a change, how much more or less often.

    Args:
        chunks: that have such a vector.
        dimensions: rising.
        counts: of the same, the chunks that have each.
    """

    chunks: int
    dimensions: NDArray[np.int64]
    counts: NDArray[np.int64]

    def idf(self, dimensions: Sequence[int]) -> NDArray[np.float64]:
        """Return `ln(1 + (N - df + 0.5) / (df + 0.5))` of each dimension, as Qdrant has it; that of df = 0 for none."""
        found = self.of(dimensions)
        return np.log1p((np.maximum(self.chunks - found, 0) + 0.5) / (found + 0.5))

    def of(self, dimensions: Sequence[int]) -> NDArray[np.int64]:
        """Return in how many chunks each dimension occurs."""
        asked = np.asarray(dimensions, np.int64)
        if not self.dimensions.size:
            return np.zeros(len(asked), np.int64)
        places = np.minimum(np.searchsorted(self.dimensions, asked), self.dimensions.size - 1)
        return np.where(self.dimensions[places] == asked, self.counts[places], 0)


Counts = Mapping[str, Frequencies]
"""By the name of a vector field."""

NOTHING = Frequencies(0, np.zeros(0, np.int64), np.zeros(0, np.int64))


def count(vectors: Iterable[Mapping[str, Vector]], names: Iterable[str]) -> Counts:
    """Count the dimensions in the named vectors of points."""
    found: dict[str, list[NDArray[np.int64]]] = {name: [] for name in names}
    for point in vectors:
        for name in found.keys() & point.keys():
            vector = point[name]
            if isinstance(vector, SparseVector):
                found[name].append(vector.indices.astype(np.int64))
    return {name: _counted(some) for name, some in found.items()}


def _counted(indices: Sequence[NDArray[np.int64]]) -> Frequencies:
    dimensions, counts = np.unique(np.concatenate([NOTHING.dimensions, *indices]), return_counts=True)
    return Frequencies(len(indices), dimensions, counts.astype(np.int64))


def total(signed: Iterable[tuple[int, Counts]]) -> Counts:
    """Add up counts, each times a sign, and leave out what comes to 0."""
    found: dict[str, list[tuple[int, Frequencies]]] = {}
    for sign, counts in signed:
        for name, one in counts.items():
            found.setdefault(name, []).append((sign, one))
    return {name: _sum(some) for name, some in found.items()}


def _sum(signed: Sequence[tuple[int, Frequencies]]) -> Frequencies:
    dimensions, places = np.unique(np.concatenate([one.dimensions for _, one in signed]), return_inverse=True)
    counts = np.zeros(dimensions.size, np.int64)
    np.add.at(counts, places, np.concatenate([sign * one.counts for sign, one in signed]))
    kept = counts != 0
    return Frequencies(sum(sign * one.chunks for sign, one in signed), dimensions[kept], counts[kept])


def pack(counts: Counts) -> dict[str, Any]:
    """Return counts as JSON; three to six bytes a dimension."""
    return {name: {"chunks": one.chunks, "terms": _packed(one)} for name, one in counts.items()}


def _packed(one: Frequencies) -> str:
    steps = np.diff(one.dimensions, prepend=0).astype("<i8")
    return base64.b64encode(zlib.compress(steps.tobytes() + one.counts.astype("<i8").tobytes())).decode()


def unpack(packed: Mapping[str, Any]) -> Counts:
    """Rebuild counts; the inverse of `pack`."""
    found = {}
    for name, one in packed.items():
        steps, counts = np.frombuffer(zlib.decompress(base64.b64decode(one["terms"])), "<i8").reshape(2, -1)
        found[name] = Frequencies(int(one["chunks"]), np.cumsum(steps), counts.astype(np.int64))
    return found
