"""Runs the models of fastembed: BM25, BM42, miniCOIL, and dense models that are a table of word vectors.

fastembed always gets a complete folder and never looks for files itself, because its own search gives up only after
forty seconds. It runs on the processor here, although by default it would take a GPU. Batches are bounded by tokens.
The card limits a text's length, whatever the tokenizer's config says.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util import quiet_warnings
from hybrid_search.encoders import hub
from hybrid_search.encoders.base import FileModel
from hybrid_search.encoders.batching import Positions
from hybrid_search.encoders.hashing import file_hash, fingerprint_of
from hybrid_search.errors import ModelError
from hybrid_search.types import ModelCard, SparseVector

# (tokens, texts) of one batch.
_SPARSE_BATCH = (512, 32)
_STATIC_BATCH = (1 << 16, 256)
_MAX_INDEX = 2**31 - 1
# BM42 encodes queries without its network, so it is loaded only when the first document comes.
_LAZY = frozenset({"bm42"})
_BM25: dict[str, Any] = {"k": 1.2, "b": 0.75, "avg_len": 256.0, "language": "english"}


def load(card: ModelCard, *, cache_dir: Path, threads: int | None = None) -> FastembedSparse | FastembedDense:
    """Return the encoder of a card whose runtime is `fastembed`."""
    encoder_class = FastembedSparse if card.kind == "sparse" else FastembedDense
    return encoder_class(card, cache_dir=cache_dir, threads=threads)


class _Fastembed(FileModel):
    """What the encoders share: the fingerprint, one lazily loaded model, and its errors."""

    def fingerprint(self) -> str:
        folder = self._folder()
        names = (*hub.needed_files(self._card), "special_tokens_map.json")
        if self._card.family == "bm25":
            names = (f"{_BM25['language']}.txt",)
        hashes = {name: file_hash(folder / name, self._cache_dir) for name in names if (folder / name).is_file()}
        facts: dict[str, Any] = dict(_BM25) if self._card.family == "bm25" else {}
        return fingerprint_of(self._card, hashes, **facts)

    def _loaded(self, *, weights: bool = True) -> Any:
        """Return the fastembed model; with `weights` False a lazy family comes without its network."""
        with self._lock:
            if self._model is None:
                folder = self._folder()
                _silence_log()
                with self._faults():
                    model = self._open(folder)
                    self._limit_length(model)
                self._model = model
            if weights and self._card.family in _LAZY and getattr(self._model, "model", None) is None:
                with self._faults():
                    self._model.load_onnx_model()
            return self._model

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (ModelError, MemoryError):
            raise
        except Exception as fault:  # onnxruntime, tokenizers and fastembed share no error type
            raise self._unloadable(fault) from fault

    def _limit_length(self, model: Any) -> None:
        if self._card.max_tokens == 0 or getattr(model, "tokenizer", None) is None:
            return
        side = (model.tokenizer.truncation or {}).get("direction", "right")
        model.tokenizer.enable_truncation(max_length=self._card.max_tokens, direction=side)

    @abstractmethod
    def _open(self, folder: Path) -> Any:
        """Load fastembed's model from these files."""


class FastembedSparse(_Fastembed):
    """A sparse encoder whose dimensions are hashes of words; the card's family decides which class runs it."""

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        model = self._loaded()
        return self._encode(self._documents(texts), model.embed)

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]:
        model = self._loaded(weights=self._card.family not in _LAZY)
        return self._encode(self._queries(texts), model.query_embed)

    def terms(self, indices: Sequence[int]) -> list[str]:
        """Return `#<index>` for each dimension, because a hash does not reveal its word."""
        return [f"#{index}" for index in indices]

    def dimensions(self, terms: Sequence[str]) -> list[int | None]:
        """Return the dimension of each word that has exactly one; None for others, and where a word has several."""
        found = self.encode_queries(terms)
        return [int(vector.indices[0]) if len(vector) == 1 and not vector.signed else None for vector in found]

    def _encode(self, texts: list[str], embed: Any) -> list[SparseVector]:
        encoded: list[Any] = [None] * len(texts)
        signed = self._card.family == "minicoil"  # directions of a word's meaning, so either sign
        for batch, rows in self._parts(texts, lambda batch: list(embed([texts[place] for place in batch]))):
            for place, found in zip(batch, rows, strict=True):
                # A hash of -2**31 has no positive twin in 32 bits.
                encoded[place] = SparseVector.of(np.minimum(found.indices, _MAX_INDEX), found.values, signed=signed)
        return encoded

    def _parts(self, texts: list[str], run: Callable[[Positions], list[Any]]) -> Iterator[tuple[Positions, list[Any]]]:
        if self._card.max_tokens:
            yield from self._batches(self._lengths(texts), _SPARSE_BATCH, run)
        elif texts:
            with self._running():
                yield np.arange(len(texts)), run(np.arange(len(texts)))

    def _limit_length(self, model: Any) -> None:
        if self._card.family in _LAZY:
            model._ensure_tokenizer()
        super()._limit_length(model)

    def _open(self, folder: Path) -> Any:
        from fastembed.common.model_description import SparseModelDescription
        from fastembed.sparse.bm25 import Bm25
        from fastembed.sparse.bm42 import Bm42
        from fastembed.sparse.minicoil import MiniCOIL

        classes: dict[str, Any] = {"bm25": Bm25, "bm42": Bm42, "minicoil": MiniCOIL}
        base = classes.get(self._card.family)
        if base is None:
            raise ModelError(f"{self._card.name}: fastembed runs no sparse family {self._card.family!r} here.")
        common: dict[str, Any] = {"specific_model_path": str(folder), "cache_dir": str(self._cache_dir)}
        # BM42 and miniCOIL look their language up by name, so a folder of theirs goes by the name of its family.
        name = base._list_supported_models()[0].model
        if base is Bm25:
            return Bm25(name, **common, **_BM25)
        described = SparseModelDescription(model=name, vocab_size=self._card.vocab_size, **_described_files(self._card))
        lazy = self._card.family in _LAZY
        return _described(base, described)(name, threads=self._threads, lazy_load=lazy, cuda=False, **common)


class FastembedDense(_Fastembed):
    """A mean of word vectors, scaled to unit length."""

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encode(self._documents(texts))

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encode(self._queries(texts))

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        model = self._loaded()
        encoded = np.zeros((len(texts), self._card.dim), dtype=np.float32)

        def run(batch: Positions) -> NDArray[np.float32]:
            return np.stack(list(model.embed([texts[place] for place in batch]))).astype(np.float32)

        for batch, rows in self._batches(self._lengths(texts), _STATIC_BATCH, run):
            if rows.shape[1] != self._card.dim:
                raise ModelError(f"{self._card.name} gave {rows.shape[1]} dimensions; its card says {self._card.dim}.")
            norms = np.linalg.norm(rows, axis=1, keepdims=True)
            encoded[batch] = rows / np.maximum(norms, np.finfo(np.float32).tiny)
        return encoded

    def _open(self, folder: Path) -> Any:
        from fastembed.text.static_embedding import StaticTextEmbedding

        known = {described.model.lower() for described in StaticTextEmbedding._list_supported_models()}
        if self._card.name.lower() not in known:
            raise ModelError(f"{self._card.name}: this fastembed does not carry it. Install the version we ask for.")
        with quiet_warnings():
            return StaticTextEmbedding(self._card.name, specific_model_path=str(folder), cache_dir=str(self._cache_dir))


def _described_files(card: ModelCard) -> dict[str, Any]:
    """Return what every description of fastembed must contain; only the files matter here."""
    from fastembed.common.model_description import ModelSource

    return {
        "sources": ModelSource(hf=card.source or "local"),
        "model_file": card.files[0],
        "additional_files": list(card.files[1:]),
        "description": "",
        "license": "",
        "size_in_GB": 0.0,
    }


def _described(base: Any, description: Any) -> Any:
    """Return a class of fastembed's that knows exactly one model; fastembed's own lists stay as they are."""
    return type(base.__name__, (base,), {"_list_supported_models": classmethod(lambda cls: [description])})


def _silence_log() -> None:
    """Silence fastembed's log, which goes to stderr through loguru; errors are raised."""
    from loguru import logger

    logger.disable("fastembed")
