"""Turns rows into sparse vectors, and prunes any sparse encoder's vectors to their heaviest weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybrid_search.manifest import Sparsity
from hybrid_search.protocols import Encoder, KnowsTerms, SparseEncoder
from hybrid_search.types import ModelCard, SparseVector


def sparse_rows(rows: NDArray[np.float32], logs: int) -> list[SparseVector]:
    """Return the sparse vectors of a batch: of weights above 0, log(1 + w) taken `logs` times.

    Args:
        rows: shape (batch, vocabulary).
        logs: 0, 1 or 2.
    """
    width = rows.shape[1]
    flat = np.ascontiguousarray(rows).reshape(-1)
    active = np.flatnonzero(flat > 0)
    values = flat[active]
    for _ in range(logs):
        values = np.log1p(values)
    ends = np.searchsorted(active, np.arange(1, len(rows)) * width)
    indices = (active % width).astype(np.int32)
    parts = zip(np.split(indices, ends), np.split(values, ends), strict=True)
    return [SparseVector(dims, weights) for dims, weights in parts]


def prune_vector(vector: SparseVector, max_active_dims: int, min_weight: float) -> SparseVector:
    """Return the vector without its lightest weights.

    Signed weights are compared by size. Of equal weights the first stay.

    Args:
        vector: the model's output.
        max_active_dims: how many weights to keep at most; 0 for all.
        min_weight: lighter weights are dropped, even if none remains.
    """
    weights = np.abs(vector.values)
    chosen = np.flatnonzero(weights >= min_weight)
    if 0 < max_active_dims < len(chosen):
        heaviest = np.argsort(-weights[chosen], kind="stable")[:max_active_dims]
        chosen = np.sort(chosen[heaviest])
    if len(chosen) == len(vector):
        return vector
    return SparseVector(vector.indices[chosen], vector.values[chosen], vector.signed)


class PrunedEncoder:
    """A sparse encoder whose vectors keep only their heaviest weights.

    Args:
        inner: the encoder that gives the vectors.
        sparsity: what to keep of them.
    """

    def __init__(self, inner: SparseEncoder, sparsity: Sparsity) -> None:
        self.inner, self.sparsity = inner, sparsity

    @property
    def card(self) -> ModelCard:
        return self.inner.card

    def fingerprint(self) -> str:
        content = f"{self.inner.fingerprint()} {self.sparsity.max_active_dims} {self.sparsity.min_weight}"
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def warm_up(self) -> None:
        self.inner.warm_up()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self.inner.count_tokens(texts)

    def terms(self, indices: Sequence[int]) -> list[str]:
        return self.inner.terms(indices)

    def dimensions(self, terms: Sequence[str]) -> list[int | None]:
        """Return the inner encoder's dimension of each term; None for what is no term of it."""
        return self.inner.dimensions(terms) if isinstance(self.inner, KnowsTerms) else [None] * len(terms)

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        return self.cut(self.inner.encode_documents(texts))

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]:
        return self.cut(self.inner.encode_queries(texts), queries=True)

    def cut(self, vectors: Sequence[SparseVector], *, queries: bool = False) -> list[SparseVector]:
        """Prune the inner encoder's vectors."""
        side = 0 if queries else 1
        dims, weight = self.sparsity.max_active_dims[side], self.sparsity.min_weight[side]
        return [prune_vector(vector, dims, weight) for vector in vectors]


def prune(encoder: Encoder, sparsity: Sparsity) -> Encoder:
    """Return the encoder, wrapped if something is to be pruned from its vectors."""
    if sparsity == Sparsity() or not isinstance(encoder, SparseEncoder):
        return encoder
    return PrunedEncoder(encoder, sparsity)
