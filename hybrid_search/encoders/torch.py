"""Runs models with sentence-transformers and torch: those without an ONNX file. An extra.

On a GPU fp16 is autocast: matrix products in fp16, and what needs the range (layer norms, softmax, logarithms) in fp32.
On a processor the same model computes in fp32.
"""

from __future__ import annotations

import contextlib
import logging
import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util.extras import check_extra
from hybrid_search.encoders.base import FileModel
from hybrid_search.encoders.batching import Positions
from hybrid_search.encoders.devices import ActiveDevice, Device, Sizes, resolve_device
from hybrid_search.encoders.hashing import file_hash, fingerprint_of
from hybrid_search.encoders.query_table import StaticTable
from hybrid_search.encoders.tokenizer import dimensions_of
from hybrid_search.errors import ModelError, ModelUnavailable
from hybrid_search.manifest import Precision
from hybrid_search.types import ModelCard, SparseVector

# (tokens, texts) of one batch; a SPLADE model's output is batch x tokens x vocabulary. Those of a GPU are estimates.
_SPARSE_BATCH: Sizes = {"cpu": (4096, 32), "cuda": (16384, 128)}
_BATCH: Sizes = {"cpu": (16384, 128), "cuda": (65536, 512)}
_HASHED = ("*.json", "*.txt", "*.model", "*.safetensors", "*.bin")


def load(
    card: ModelCard,
    *,
    cache_dir: Path,
    threads: int | None = None,
    precision: Precision = "fp32",
    device: Device = "auto",
) -> TorchSparse | TorchDense | TorchReranker:
    """Return the encoder or reranker of a card whose runtime is `torch`.

    Raises:
        ModelError: the precision is neither fp32 nor fp16.
    """
    if precision not in ("fp32", "fp16"):
        raise ModelError(f"{card.name} runs with torch, in fp32 or fp16 only; {precision} is for ONNX models.")
    classes: dict[str, type[TorchSparse | TorchDense | TorchReranker]] = {"sparse": TorchSparse, "dense": TorchDense}
    encoder_class = classes.get(card.kind, TorchReranker)
    return encoder_class(card, cache_dir=cache_dir, threads=threads, precision=precision, device=device)


class _Torch(FileModel):
    """What the three models share."""

    _place: ActiveDevice = "cpu"
    """Where the model runs, once it is loaded."""

    def fingerprint(self) -> str:
        folder = self._folder()
        paths = {path for pattern in _HASHED for path in folder.rglob(pattern) if path.is_file()}
        # What sentence-transformers notes of its own versions changes nothing of the output.
        paths = {path for path in paths if path.name not in ("config_sentence_transformers.json", "hybrid_search.json")}
        hashes = {path.relative_to(folder).as_posix(): file_hash(path, self._cache_dir) for path in paths}
        return fingerprint_of(self._card, hashes, **self._precision_facts())

    def _loaded(self) -> Any:
        with self._lock:
            if self._model is None:
                check_extra("torch", f"The model {self._card.name}")
                folder = self._folder()
                if self._threads is not None:
                    import torch

                    torch.set_num_threads(self._threads)
                try:
                    self._place = resolve_device(self._card, self.precision, self._device)
                    with _collected_warnings() as said:
                        model = self._open(str(folder))
                except (ModelError, MemoryError):
                    raise
                except Exception as fault:  # torch, transformers and safetensors share no error type
                    raise ModelUnavailable(f"{self._card.name} cannot be loaded from {folder}: {fault}") from fault
                self._refuse_random_weights(said)
                self._model = model
            return self._model

    def _refuse_random_weights(self, said: Sequence[str]) -> None:
        """Refuse a model with missing weights: transformers fills in random numbers and only logs it."""
        lacking = {name for message in said for name in _lacking(message)}
        if self._card.kind == "dense":  # BERT's own pooler is made with every BERT, and used by none of these
            lacking = {name for name in lacking if "pooler." not in name}
        if lacking:
            raise ModelUnavailable(
                f"The weights of {self._card.name} in {self._folder()} lack {', '.join(sorted(lacking)[:5])}; "
                f"they are not those of a {self._card.family} model."
            )

    def _mixed(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context that a batch runs in: autocast for fp16 on a GPU, else none."""
        if self.precision != "fp16" or self._place != "cuda":
            return contextlib.nullcontext()
        import torch

        context: contextlib.AbstractContextManager[Any] = torch.autocast("cuda", dtype=torch.float16)
        return context

    def _limit(self, model: Any) -> Any:
        if self._card.max_tokens:
            model.max_seq_length = self._card.max_tokens
        # Prefixes are ours to put, from the card.
        model.prompts = {}
        model.default_prompt_name = None
        return model

    @abstractmethod
    def _open(self, folder: str) -> Any:
        """Load the model of sentence-transformers in this folder."""


class TorchSparse(_Torch):
    """A sparse encoder of sentence-transformers: SPLADE, or inference-free models, whose queries load no torch."""

    _table: StaticTable | None = None

    def warm_up(self) -> None:
        """Load what a query needs."""
        if self._query_table() is None:
            self._loaded()

    def encode_documents(self, texts: Sequence[str]) -> list[SparseVector]:
        return self._encode(self._documents(texts), "encode_document")

    def encode_queries(self, texts: Sequence[str]) -> list[SparseVector]:
        given, table = self._queries(texts), self._query_table()
        return self._encode(given, "encode_query") if table is None else table.vectors(given)

    def terms(self, indices: Sequence[int]) -> list[str]:
        tokenizer = self._own_tokenizer()
        return [tokenizer.id_to_token(int(index)) or f"#{index}" for index in indices]

    def dimensions(self, terms: Sequence[str]) -> list[int | None]:
        """Return the dimension of each vocabulary entry; None for what is none."""
        return dimensions_of(self._own_tokenizer(), terms, self._card.vocab_size)

    def _query_table(self) -> StaticTable | None:
        """Return the table of the queries; None if they need the network, or a query side that only torch can run."""
        if self._card.family != "inference_free_splade":
            return None
        with self._lock:
            if self._table is None:
                self._table = StaticTable.read(self._folder())
            return self._table

    def _encode(self, texts: list[str], verb: str) -> list[SparseVector]:
        encode = getattr(self._loaded(), verb)
        encoded: list[Any] = [None] * len(texts)

        def run(batch: Positions) -> Any:
            options = {"batch_size": len(batch), "show_progress_bar": False, "save_to_cpu": True}
            with self._mixed():
                part = [texts[place] for place in batch]
                return encode(part, convert_to_tensor=False, convert_to_sparse_tensor=True, **options)

        for batch, rows in self._batches(self._lengths(texts), _SPARSE_BATCH[self._place], run):
            for place, row in zip(batch, rows, strict=True):
                kept = row.coalesce()
                encoded[place] = SparseVector.of(kept.indices()[0].numpy(), kept.values().float().numpy())
        return encoded

    def _open(self, folder: str) -> Any:
        from sentence_transformers import SparseEncoder

        return self._limit(SparseEncoder(folder, local_files_only=True, device=self._place))


class TorchDense(_Torch):
    """A dense encoder of sentence-transformers; its vectors have unit length."""

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encode(self._documents(texts), "encode_document")

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encode(self._queries(texts), "encode_query")

    def _encode(self, texts: list[str], verb: str) -> NDArray[np.float32]:
        encode = getattr(self._loaded(), verb)
        encoded = np.zeros((len(texts), self._card.dim), dtype=np.float32)

        def run(batch: Positions) -> Any:
            with self._mixed():
                part = [texts[place] for place in batch]
                return encode(part, batch_size=len(part), show_progress_bar=False, normalize_embeddings=True)

        for batch, rows in self._batches(self._lengths(texts), _BATCH[self._place], run):
            if rows.shape[1] != self._card.dim:
                raise ModelError(f"{self._card.name} gave {rows.shape[1]} dimensions; its card says {self._card.dim}.")
            encoded[batch] = rows
        return encoded

    def _open(self, folder: str) -> Any:
        from sentence_transformers import SentenceTransformer

        return self._limit(SentenceTransformer(folder, local_files_only=True, device=self._place))


class TorchReranker(_Torch):
    """A cross-encoder of sentence-transformers; scores are the model's raw outputs."""

    def score(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        model = self._loaded()
        import torch

        (asked,) = self._queries([query])
        passages = self._documents(texts)
        of_query = self._lengths([asked])[0]
        scores = np.zeros(len(passages), dtype=np.float32)

        def run(batch: Positions) -> Any:
            options = {"batch_size": len(batch), "show_progress_bar": False, "activation_fn": torch.nn.Identity()}
            with self._mixed():
                return model.predict([(asked, passages[place]) for place in batch], **options)

        lengths = [of_query + length for length in self._lengths(passages)]
        for batch, found in self._batches(lengths, _BATCH[self._place], run):
            scores[batch] = found
        return scores

    def _open(self, folder: str) -> Any:
        from sentence_transformers import CrossEncoder

        limit = self._card.max_tokens or None
        return CrossEncoder(folder, local_files_only=True, max_length=limit, num_labels=1, device=self._place)


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def no_progress_bars() -> Iterator[None]:
    """Switch the progress bars of transformers off while the block runs."""
    theirs: Any = import_module("transformers.utils.logging")
    had_bars = theirs.is_progress_bar_enabled()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        if had_bars:
            theirs.enable_progress_bar()


@contextlib.contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """Keep what transformers writes off the terminal while the block runs, and yield its warnings as they come."""
    logger = logging.getLogger("transformers")
    collector, handlers, passes_on = _Collector(), list(logger.handlers), logger.propagate
    with no_progress_bars():
        logger.handlers, logger.propagate = [collector], False
        try:
            yield collector.messages
        finally:
            logger.handlers, logger.propagate = handlers, passes_on


def _lacking(message: str) -> list[str]:
    """Return the weights that transformers reports as missing: in a table (version 5) or in a list (version 4)."""
    if "newly initialized: [" in message:
        return re.findall(r"'([^']+)'", message.partition("newly initialized: [")[2].partition("]")[0])
    rows = [[part.strip() for part in line.split("|")] for line in message.splitlines()]
    return [row[0] for row in rows if len(row) > 1 and row[1].startswith("MISSING")]
