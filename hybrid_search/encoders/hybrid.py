"""Shows a hybrid model as two encoders, and encodes several legs with one run per model.

Code that needs one vector takes a view and sees an ordinary sparse or dense encoder. When several legs are encoded
together (`group_by_model`, `encode`), legs that are views of one model share its forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.pruning import PrunedEncoder
from hybrid_search.protocols import DenseEncoder, Encoder, HybridEncoder, KnowsTerms, SparseEncoder
from hybrid_search.types import DenseVector, Kind, LegName, ModelCard, SparseVector, Vector


class _Half:
    """What both views share. The card is the model's card, reduced to this view."""

    def __init__(self, whole: HybridEncoder, card: ModelCard) -> None:
        self.whole = whole
        self._card = card

    @property
    def card(self) -> ModelCard:
        return self._card

    def fingerprint(self) -> str:
        return self.whole.fingerprint()

    def warm_up(self) -> None:
        self.whole.warm_up()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self.whole.count_tokens(texts)


class SparseHalf(_Half):
    """A view of a hybrid model that gives its sparse vectors."""

    def __init__(self, whole: HybridEncoder) -> None:
        super().__init__(whole, replace(whole.card, kind="sparse", dim=0))

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        return [sparse for sparse, _ in self.whole.encode_documents(texts)]

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]:
        return [sparse for sparse, _ in self.whole.encode_queries(texts)]

    def terms(self, indices: Sequence[int]) -> list[str]:
        return self.whole.terms(indices)

    def dimensions(self, terms: Sequence[str]) -> list[int | None]:
        """Return the model's dimension of each term; None for what is no term of it."""
        return self.whole.dimensions(terms) if isinstance(self.whole, KnowsTerms) else [None] * len(terms)


class DenseHalf(_Half):
    """A view of a hybrid model that gives its dense vectors."""

    def __init__(self, whole: HybridEncoder) -> None:
        super().__init__(whole, replace(whole.card, kind="dense", vocab_size=0, needs_idf=False))

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._stacked(self.whole.encode_documents(texts))

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._stacked(self.whole.encode_queries(texts))

    def _stacked(self, pairs: Sequence[tuple[SparseVector, DenseVector]]) -> NDArray[np.float32]:
        found = np.empty((len(pairs), self._card.dim), dtype=np.float32)
        for place, (_, dense) in enumerate(pairs):
            found[place] = dense
        return found


def view_for(whole: HybridEncoder, kind: Kind) -> SparseEncoder | DenseEncoder:
    """Return the view of a hybrid model that fills a leg of this kind."""
    return SparseHalf(whole) if kind == "sparse" else DenseHalf(whole)


def unwrap(encoder: Encoder) -> Encoder:
    """Return the model behind an encoder: the hybrid model of a view, the inner one of a pruned encoder, or itself."""
    if isinstance(encoder, PrunedEncoder):
        return unwrap(encoder.inner)
    return encoder.whole if isinstance(encoder, _Half) else encoder


def group_by_model(encoders: Mapping[LegName, Encoder]) -> list[dict[LegName, Encoder]]:
    """Group legs by the model behind them, so a shared hybrid model runs once. Their order is kept."""
    found: dict[int, dict[LegName, Encoder]] = {}
    for leg, encoder in encoders.items():
        found.setdefault(id(unwrap(encoder)), {})[leg] = encoder
    return list(found.values())


def encode(
    encoders: Mapping[LegName, Encoder], texts: Sequence[str], *, queries: bool = False
) -> dict[LegName, Sequence[Vector]]:
    """Encode texts for several legs; every model runs once, however many legs it serves."""
    found: dict[LegName, Sequence[Vector]] = {}
    for group in group_by_model(encoders):
        whole: Any = unwrap(next(iter(group.values())))
        vectors = (whole.encode_queries if queries else whole.encode_documents)(texts)
        for leg, encoder in group.items():
            found[leg] = _select(encoder, vectors, queries)
    return {leg: found[leg] for leg in encoders}


def _select(encoder: Encoder, vectors: Any, queries: bool) -> Sequence[Vector]:
    """Select an encoder's own part of its model's output."""
    if isinstance(encoder, PrunedEncoder):
        return encoder.cut(_select(encoder.inner, vectors, queries), queries=queries)  # type: ignore[arg-type]
    if isinstance(encoder, _Half):
        return [pair[0 if isinstance(encoder, SparseHalf) else 1] for pair in vectors]
    return list(vectors)
