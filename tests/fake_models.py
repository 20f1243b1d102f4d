"""Models that hash words, named like any other: cards `fake/...`, put into the catalogue by the fixture `fakes`.

They count what they encode, so a test can say how often a model ran.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybrid_search.types import ModelCard, SparseVector

DIM = 16


def fake_card(name: str, kind: str, *, max_tokens: int = 64, needs_idf: bool = False) -> ModelCard:
    return ModelCard(
        name=f"fake/{name}",
        kind=kind,  # type: ignore[arg-type]
        runtime="bundled",
        family="splade" if kind != "dense" else "dense",
        dim=DIM if kind != "sparse" else 0,
        vocab_size=1 << 16 if kind != "dense" else 0,
        max_tokens=max_tokens,
        needs_idf=needs_idf,
    )


FAKE_CARDS = (
    fake_card("both", "hybrid"),
    fake_card("both-idf", "hybrid", needs_idf=True),
    fake_card("sparse", "sparse"),
    fake_card("sparse-2", "sparse", max_tokens=20),
    fake_card("dense", "dense"),
    fake_card("dense-2", "dense"),
)


class FakeModel:
    """What the fakes share. `calls` has a (verb, number of texts) for every pass; `stop_after` passes it raises."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card
        self.calls: list[tuple[str, int]] = []
        self.stop_after = 10**9

    def fingerprint(self) -> str:
        return hashlib.blake2b(self.card.name.encode(), digest_size=16).hexdigest()

    def warm_up(self) -> None:
        pass

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(words(text)) + 2 for text in texts]

    def terms(self, indices: Sequence[int]) -> list[str]:
        return [f"#{index}" for index in indices]

    def dimensions(self, terms: Sequence[str]) -> list[int | None]:
        return [self.number(term) if re.fullmatch("[a-z0-9]+", term) else None for term in terms]

    def passed(self, verb: str, texts: Sequence[str]) -> Sequence[str]:
        if len(self.calls) >= self.stop_after:
            raise KeyboardInterrupt
        self.calls.append((verb, len(texts)))
        return texts

    def number(self, word: str) -> int:
        """A word's dimension, or the seed of its direction: of this model alone."""
        return int.from_bytes(hashlib.blake2b(f"{self.card.name} {word}".encode(), digest_size=2).digest(), "big")

    def sparse(self, text: str) -> SparseVector:
        return SparseVector.of([self.number(word) for word in words(text)], [1.0 + len(word) for word in words(text)])

    def dense(self, text: str) -> NDArray[np.float32]:
        found = np.full(DIM, 0.01)
        for word in words(text):
            found += np.random.default_rng(self.number(word)).normal(size=DIM)
        return (found / np.linalg.norm(found)).astype(np.float32)


class FakeSparse(FakeModel):
    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        return [self.sparse(text) for text in self.passed("documents", texts)]

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]:
        return [self.sparse(text) for text in self.passed("queries", texts)]


class FakeDense(FakeModel):
    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._stacked(self.passed("documents", texts))

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._stacked(self.passed("queries", texts))

    def _stacked(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([self.dense(text) for text in texts], np.float32).reshape(len(texts), DIM)


class FakeHybrid(FakeModel):
    def encode_documents(self, texts: Sequence[str]) -> list[tuple[SparseVector, NDArray[np.float32]]]:
        return [(self.sparse(text), self.dense(text)) for text in self.passed("documents", texts)]

    def encode_queries(self, texts: Sequence[str]) -> list[tuple[SparseVector, NDArray[np.float32]]]:
        return [(self.sparse(text), self.dense(text)) for text in self.passed("queries", texts)]


class Fakes:
    """Makes the models as the encoders' room would, one object a loading, and remembers them."""

    def __init__(self) -> None:
        self.loaded: list[FakeModel] = []
        self.stop_after = 10**9

    def load(self, card: ModelCard) -> FakeModel:
        made = {"sparse": FakeSparse, "dense": FakeDense, "hybrid": FakeHybrid}[card.kind](card)
        made.stop_after = self.stop_after
        self.loaded.append(made)
        return made

    def calls(self, name: str) -> list[tuple[str, int]]:
        """What all objects of one model were asked so far; asking forgets it."""
        mine = [model for model in self.loaded if model.card.name == f"fake/{name}"]
        found = [call for model in mine for call in model.calls]
        for model in mine:
            model.calls.clear()
        return found


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())
