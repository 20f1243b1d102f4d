"""What the engine's approximate search of dense vectors finds of the exact one, in numpy over the stored vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util import batched
from hybrid_search.errors import EvaluationError
from hybrid_search.protocols import CollectionReader
from hybrid_search.types import LegName, Vector, chunk_id_of

CUTOFFS = (10, 100)
CHUNKS = 4_096
"""Vectors that are read at once."""
_SAME_SCORE = 1e-5
"""Cosines of 32 bits that are so near are a tie: the order of equals is chance."""


def recall_of_engine(
    reader: CollectionReader, leg: LegName, queries: Sequence[Vector], cutoffs: Sequence[int] = CUTOFFS
) -> dict[str, float]:
    """Return the mean recall of the engine's k nearest chunks among the exact k nearest, for each k.

    A chunk whose cosine ties with that of the last exact one counts as found. At most `CHUNKS` vectors are in memory.

    Args:
        reader: of the collection.
        leg: a dense one.
        queries: their vectors.
        cutoffs: the values of k.

    Returns:
        `queries` and `chunks`, their numbers, and `recall@k` in 0..1. A k above the number of chunks means all.

    Raises:
        EvaluationError: no chunk has a vector under an id of this package's, as in collections of other programs.
    """
    asked = _unit(np.stack([np.asarray(query, np.float64) for query in queries]))
    answers = reader.retrieve([(leg, query) for query in queries], max(cutoffs))
    wanted = {chunk_id for answer in answers for chunk_id, _ in answer}
    best = np.full((len(queries), 0), -np.inf)
    cosine_of: dict[str, NDArray[np.float64]] = {}
    chunks = 0
    for ids, vectors in _stored(reader, leg):
        cosines = asked @ _unit(vectors).T
        chunks += len(ids)
        cosine_of.update((one, cosines[:, place]) for place, one in enumerate(ids) if one in wanted)
        both = np.concatenate([best, cosines], axis=1)
        best = -np.sort(-both, axis=1)[:, : max(cutoffs)]
    if not chunks:
        raise EvaluationError(f"No chunk of the leg {leg!r} can be read by its id; nothing can be compared.")
    recalls = {f"recall@{k}": _recall(answers, cosine_of, best, k) for k in cutoffs}
    return {"queries": len(queries), "chunks": chunks, **recalls}


def _recall(
    answers: Sequence[Sequence[tuple[str, float]]],
    cosine_of: Mapping[str, NDArray[np.float64]],
    best: NDArray[np.float64],
    k: int,
) -> float:
    """Return the mean share of the exact k best that stand among the engine's k best."""
    k = min(k, best.shape[1])
    shares = []
    for row, answer in enumerate(answers):
        least = best[row, k - 1] - _SAME_SCORE
        found = sum(cosine_of[chunk_id][row] >= least for chunk_id, _ in answer[:k] if chunk_id in cosine_of)
        shares.append(found / k)
    return round(float(np.mean(shares)), 4)


def _stored(reader: CollectionReader, leg: LegName) -> Iterator[tuple[list[str], NDArray[np.float64]]]:
    """Yield ids and vectors of the chunks of a leg, a block at a time."""
    for documents in batched(reader.doc_ids(), CHUNKS):
        doc_ids, number = list(documents), 0
        while doc_ids:
            vectors = reader.vectors(leg, [chunk_id_of(doc_id, number) for doc_id in doc_ids])
            if vectors:
                yield list(vectors), np.stack([np.asarray(vector, np.float64) for vector in vectors.values()])
            doc_ids = [doc_id for doc_id in doc_ids if chunk_id_of(doc_id, number) in vectors]
            number += 1


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
