"""BM25 as a sparse encoder, on the engine's tokenizer, stop words and stemmer. No model file, no network.

A document's weight for a term is `tf (k + 1) / (tf + k (1 - b + b length / average length))`; a query's is its term
frequency. The store multiplies by the inverse document frequency, so the dot product is the BM25 score.
Source: Robertson & Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009, equation 3.15.

The engine's words are runs of letters and digits of any script, so words of Cyrillic, Greek, Arabic, Hebrew and Korean
texts are found; they are stemmed only if `language` is theirs. Combining signs end a word: the vowel signs of Hindi do,
and the tone marks of Thai. Chinese and Japanese have no blanks, so a word is whatever stands between two signs, and a
part of it is not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from hybrid_search._util.unicode_text import nfc
from hybrid_search.store.edge.shard import engine_bm25
from hybrid_search.types import ModelCard, SparseVector

_COUNTING_K = 1e6
"""With b = 0 and a k this large, the engine's document weight equals the term frequency to one part in a million."""


@dataclass(frozen=True)
class Bm25Encoder:
    """BM25 over hashed stems.

    Args:
        card: its model card.
        average_tokens: mean length of a chunk in tokens that are no stop words. It matters: with the engine's default
            of 256 where the true mean is 33, nDCG@10 falls by a tenth. Measure it with `fitted`.
        k: saturation of the term frequency, >= 0.
        b: strength of the length normalization, 0..1.
        language: of tokenizer, stop words and stemmer.
    """

    card: ModelCard
    average_tokens: float = 256.0
    k: float = 1.2
    b: float = 0.75
    language: str = "english"

    def fitted(self, texts: Sequence[str]) -> Bm25Encoder:
        """Return a copy that uses the mean length of these texts; the encoder itself where they hold no token."""
        lengths = [counts.sum() for _, counts in map(self._frequencies, texts) if counts.size]
        return replace(self, average_tokens=round(float(np.mean(lengths)), 2)) if lengths else self

    def fingerprint(self) -> str:
        settings = repr(("bm25", self.language, self.k, self.b, round(self.average_tokens, 2)))
        return hashlib.blake2b(settings.encode(), digest_size=16).hexdigest()

    def warm_up(self) -> None:
        _ = self._model, self._counter

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return zeros: BM25 has no limit on its input."""
        return [0] * len(texts)

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        encoded = (self._model.embed_document(_clean(text)) for text in texts)
        return [_vector(vector.indices, vector.values) for vector in encoded]

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]:
        """Weight each term by its frequency.

        The engine's own query form ignores repetition, which costs long queries.
        """
        return [_vector(*self._frequencies(text)) for text in texts]

    def terms(self, indices: Sequence[int]) -> list[str]:
        """Return `#<index>` for each dimension: dimensions are hashes of stems and have no names."""
        return [f"#{index}" for index in indices]

    def dimensions(self, terms: Sequence[str]) -> list[int | None]:
        """Return the dimension of each term that is one word, by its stem; None for stop words and several words."""
        found = []
        for term in terms:
            indices, counts = self._frequencies(term)
            found.append(int(_vector(indices, counts).indices[0]) if counts.sum() == 1 else None)
        return found

    def _frequencies(self, text: str) -> tuple[Any, np.ndarray[Any, Any]]:
        vector = self._counter.embed_document(_clean(text))
        weights = np.asarray(vector.values, dtype=np.float64)
        return vector.indices, np.rint(weights * _COUNTING_K / (_COUNTING_K + 1 - weights))

    @cached_property
    def _model(self) -> Any:
        return engine_bm25(self.average_tokens, self.k, self.b, self.language)

    @cached_property
    def _counter(self) -> Any:
        return engine_bm25(256.0, _COUNTING_K, 0.0, self.language)


def _vector(indices: Any, values: Any) -> SparseVector:
    # The engine's hash is an absolute 32-bit value; the one that does not fit int32 joins its neighbour.
    return SparseVector.of(np.minimum(np.asarray(indices, dtype=np.int64), np.iinfo(np.int32).max), values)


def _clean(text: str) -> str:
    return nfc(text.encode("utf-8", "replace").decode("utf-8"))
