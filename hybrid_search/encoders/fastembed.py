"""ONNX models run by fastembed: SPLADE++, inference-free SPLADE, BM25, BM42, miniCOIL, dense models, cross-encoders.

fastembed is given a complete folder every time and never looks for files itself: its own search for them gives up only
after forty seconds. Batches are bounded by tokens, because a SPLADE model's output is batch x tokens x 30,522 floats,
and the limit of a text's length is the card's, whatever the tokenizer's config says.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders import hub
from hybrid_search.encoders.files import file_hash, fingerprint_of
from hybrid_search.encoders.local import pooling_of
from hybrid_search.encoders.seat import FileModel
from hybrid_search.errors import ModelError, ModelUnavailable
from hybrid_search.types import ModelCard, SparseVector

if TYPE_CHECKING:
    pass

# (tokens, texts) of one batch.
_SPLADE_BATCH = (512, 32)
_DENSE_BATCH = (1024, 32)
_RERANK_BATCH = (1024, 32)
_MAX_INDEX = 2**31 - 1
_HASHED = frozenset({"bm25", "bm42", "minicoil"})
# These encode queries without their network, so it is loaded only when the first document comes.
_LAZY = frozenset({"inference_free_splade", "bm42"})
_BM25: dict[str, Any] = {"k": 1.2, "b": 0.75, "avg_len": 256.0, "language": "english"}


def load(
    card: ModelCard, *, cache_dir: Path, threads: int | None = None
) -> FastembedSparse | FastembedDense | FastembedReranker:
    """The encoder or reranker of a card whose runtime is `fastembed`."""
    if card.kind == "sparse":
        return FastembedSparse(card, cache_dir=cache_dir, threads=threads)
    if card.kind == "dense":
        return FastembedDense(card, cache_dir=cache_dir, threads=threads)
    return FastembedReranker(card, cache_dir=cache_dir, threads=threads)


class _Fastembed(FileModel):
    """What the three seats share: the fingerprint, one lazily loaded model, and its faults."""

    def fingerprint(self) -> str:
        folder = self._folder()
        names = (*hub.needed_files(self._card), "special_tokens_map.json")
        if self._card.family == "bm25":
            names = (f"{_BM25['language']}.txt",)
        hashes = {name: file_hash(folder / name, self._cache_dir) for name in names if (folder / name).is_file()}
        facts: dict[str, Any] = dict(_BM25) if self._card.family == "bm25" else {}
        if self._is_local_dense():
            facts["pooling"] = pooling_of(folder)
        return fingerprint_of(self._card, hashes, **facts)

    def _loaded(self, *, weights: bool = True) -> Any:
        """The fastembed model; with `weights` False a lazy family comes without its network."""
        with self._lock:
            if self._model is None:
                folder = self._folder()
                _hush()
                with self._faults_of(folder):
                    model = self._open(folder)
                    self._limit_length(model)
                self._model = model
            if weights and self._card.family in _LAZY and getattr(self._model, "model", None) is None:
                with self._faults_of(self._folder()):
                    self._model.load_onnx_model()
            return self._model

    @contextlib.contextmanager
    def _faults_of(self, folder: Path) -> Iterator[None]:
        try:
            yield
        except (ModelError, MemoryError):
            raise
        except Exception as fault:  # onnxruntime, tokenizers and fastembed share no error type
            raise ModelUnavailable(
                f"{self._card.name} cannot be loaded from {folder}: {fault} "
                f"Check its files: hybrid-search models verify {self._card.name}"
            ) from fault

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise
        except Exception as fault:  # whatever onnxruntime raises for a graph that is not what its card says
            raise ModelError(f"{self._card.name} ({self._card.family}) failed on a batch of texts: {fault}") from fault

    def _limit_length(self, model: Any) -> None:
        if self._card.max_tokens == 0:
            return
        if self._card.family in _LAZY:
            model._ensure_tokenizer()
        side = (model.tokenizer.truncation or {}).get("direction", "right")
        model.tokenizer.enable_truncation(max_length=self._card.max_tokens, direction=side)

    def _is_local_dense(self) -> bool:
        return self._card.kind == "dense" and not self._card.source

    @abstractmethod
    def _open(self, folder: Path) -> Any:
        """Fastembed's model over these files."""


class FastembedSparse(_Fastembed):
    """A sparse encoder; which class of fastembed runs it follows from the card's family."""

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        model = self._loaded()
        return self._encode(self._documents(texts), model.embed)

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]:
        model = self._loaded(weights=self._card.family not in _LAZY)
        return self._encode(self._queries(texts), model.query_embed)

    def terms(self, indices: Sequence[int]) -> list[str]:
        """The wordpiece of each dimension; `#<index>` where dimensions are hashes of words."""
        tokenizer = None if self._card.family in _HASHED else self.tokenizer()
        if tokenizer is None:
            return [f"#{index}" for index in indices]
        return [tokenizer.id_to_token(int(index)) or f"#{index}" for index in indices]

    def _encode(self, texts: list[str], embed: Any) -> list[SparseVector]:
        encoded: list[Any] = [None] * len(texts)
        signed = self._card.family == "minicoil"  # directions of a word's meaning, so either sign
        for batch in self._parts(texts):
            with self._running():
                rows = list(embed([texts[place] for place in batch]))
            for place, found in zip(batch, rows, strict=True):
                # A hash of -2**31 has no positive twin in 32 bits.
                encoded[place] = SparseVector.of(np.minimum(found.indices, _MAX_INDEX), found.values, signed=signed)
        return encoded

    def _parts(self, texts: list[str]) -> Iterable[NDArray[np.intp]]:
        if self._card.max_tokens == 0:
            return [np.arange(len(texts))] if texts else []
        return self._batches(self._lengths(texts), _SPLADE_BATCH)

    def _open(self, folder: Path) -> Any:
        from fastembed.common.model_description import SparseModelDescription
        from fastembed.sparse.bm25 import Bm25
        from fastembed.sparse.bm42 import Bm42
        from fastembed.sparse.if_splade import IfSplade
        from fastembed.sparse.minicoil import MiniCOIL
        from fastembed.sparse.splade_pp import SpladePP

        classes: dict[str, Any] = {
            "splade": SpladePP,
            "inference_free_splade": IfSplade,
            "bm25": Bm25,
            "bm42": Bm42,
            "minicoil": MiniCOIL,
        }
        base = classes.get(self._card.family)
        if base is None:
            raise ModelError(f"{self._card.name}: fastembed has no sparse family {self._card.family!r}.")
        common: dict[str, Any] = {"specific_model_path": str(folder), "cache_dir": str(self._cache_dir)}
        # BM42 and miniCOIL look their language up by name, so a folder of theirs goes by the name of its family.
        name = base._list_supported_models()[0].model
        if base is Bm25:
            return Bm25(name, **common, **_BM25)
        described = SparseModelDescription(model=name, vocab_size=self._card.vocab_size, **_described_files(self._card))
        lazy = self._card.family in _LAZY
        model_class = _described(base, described)
        if base is SpladePP:
            model_class._post_process_onnx_output = _splade_pooled
        return model_class(name, threads=self._threads, lazy_load=lazy, **common)


class FastembedDense(_Fastembed):
    """A dense encoder; vectors leave it with unit length, whatever the model does."""

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        model = self._loaded()
        return self._encode(self._documents(texts), model.passage_embed)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        model = self._loaded(weights=self._card.family not in _LAZY)
        return self._encode(self._queries(texts), model.query_embed)

    def _encode(self, texts: list[str], embed: Any) -> NDArray[np.float32]:
        encoded = np.zeros((len(texts), self._card.dim), dtype=np.float32)
        for batch in self._batches(self._lengths(texts), _DENSE_BATCH):
            with self._running():
                rows = np.stack(list(embed([texts[place] for place in batch]))).astype(np.float32)
            if rows.shape[1] != self._card.dim:
                raise ModelError(f"{self._card.name} gave {rows.shape[1]} dimensions; its card says {self._card.dim}.")
            norms = np.linalg.norm(rows, axis=1, keepdims=True)
            encoded[batch] = rows / np.maximum(norms, np.finfo(np.float32).tiny)
        return encoded

    def _open(self, folder: Path) -> Any:
        common: dict[str, Any] = {"specific_model_path": str(folder), "cache_dir": str(self._cache_dir)}
        if not self._is_local_dense():
            from fastembed.text.text_embedding import TextEmbedding

            for base in TextEmbedding.EMBEDDINGS_REGISTRY:
                known = {described.model.lower() for described in base._list_supported_models()}
                if self._card.name.lower() in known:
                    return base(self._card.name, threads=self._threads, **common)
            raise ModelError(f"{self._card.name}: this fastembed does not carry it. Install the version we ask for.")
        return self._open_local(folder, common)

    def _open_local(self, folder: Path, common: dict[str, Any]) -> Any:
        from fastembed.common.model_description import DenseModelDescription, PoolingType
        from fastembed.text.custom_text_embedding import CustomTextEmbedding, PostprocessingConfig

        pooling = pooling_of(folder)
        kinds = {"mean": PoolingType.MEAN, "cls": PoolingType.CLS, "last_token": PoolingType.LAST_TOKEN}
        described = DenseModelDescription(model="local", dim=self._card.dim, **_described_files(self._card))
        # Without a word on pooling only a model that pools by itself can be meant; another one is refused below.
        chosen = PostprocessingConfig(kinds.get(pooling or "none", PoolingType.DISABLED), normalization=True)
        base = _described(CustomTextEmbedding, described)
        base.POSTPROCESSING_MAPPING = {"local": chosen}
        model = base("local", threads=self._threads, **common)
        if chosen.pooling is PoolingType.DISABLED and len(model.model.get_outputs()[0].shape) != 2:
            raise ModelError(
                f"{folder} does not say how its token vectors become one. Add 1_Pooling/config.json "
                '(sentence-transformers) or hybrid_search.json with {"pooling": "mean"} ("cls", "last_token").'
            )
        return model


class FastembedReranker(_Fastembed):
    """A cross-encoder: reads query and text together."""

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        model = self._loaded()
        (asked,) = self._queries([query])
        passages = self._documents(texts)
        of_query = self._lengths([asked])[0]
        scores = np.zeros(len(passages), dtype=np.float32)
        lengths = [of_query + length for length in self._lengths(passages)]
        for batch in self._batches(lengths, _RERANK_BATCH):
            with self._running():
                scores[batch] = list(model.rerank(asked, [passages[place] for place in batch], batch_size=len(batch)))
        return scores

    def _open(self, folder: Path) -> Any:
        from fastembed.common.model_description import BaseModelDescription
        from fastembed.rerank.cross_encoder.onnx_text_cross_encoder import OnnxTextCrossEncoder

        described = BaseModelDescription(model="reranker", **_described_files(self._card))
        common: dict[str, Any] = {"specific_model_path": str(folder), "cache_dir": str(self._cache_dir)}
        return _described(OnnxTextCrossEncoder, described)("reranker", threads=self._threads, **common)


def _described_files(card: ModelCard) -> dict[str, Any]:
    """What every description of fastembed's asks for; only the files count here."""
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
    """A class of fastembed's that knows exactly one model; fastembed's own lists stay as they are."""
    return type(base.__name__, (base,), {"_list_supported_models": classmethod(lambda cls: [description])})


def _splade_pooled(_: Any, output: Any, **__: Any) -> Iterator[Any]:
    """Max over tokens, then log(1 + ReLU): the same numbers as the other way round, for both are monotonic.

    fastembed takes the logarithm of every token's 30,522 logits first, a fifth of the whole time.
    """
    from fastembed.sparse.sparse_embedding_base import SparseEmbedding

    for logits, mask in zip(output.model_output, output.attention_mask, strict=True):
        weights = np.log1p(np.maximum(logits[mask > 0].max(axis=0), 0))
        indices = weights.nonzero()[0]
        yield SparseEmbedding(values=weights[indices], indices=indices)


def _hush() -> None:
    """Fastembed tells its troubles to stderr through loguru; ours are raised."""
    from loguru import logger

    logger.disable("fastembed")
