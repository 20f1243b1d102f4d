"""Runs the model that ships in the package: one forward pass of onnxruntime gives both vectors of a text.

Its folder `model/` holds the graph (int8), the tokenizer and the model card. `training/bundled/` makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.base import FileModel
from hybrid_search.encoders.batching import Positions
from hybrid_search.encoders.bundled.package import OWN_FILES, OWN_FOLDER
from hybrid_search.encoders.hashing import file_hash, fingerprint_of
from hybrid_search.encoders.onnx_session import open_session
from hybrid_search.encoders.pruning import prune_vector, sparse_rows
from hybrid_search.encoders.threads import split_cores
from hybrid_search.encoders.token_cache import Ids
from hybrid_search.encoders.tokenizer import TruncatingTokenizer, attention_mask, dimensions_of, pad_rows
from hybrid_search.errors import ModelUnavailable
from hybrid_search.types import DenseVector, ModelCard, SparseVector

QUERY, DOCUMENT = 0, 1
MAX_ACTIVE_DIMS = (60, 250)
"""Weights kept of a query and of a document, the heaviest."""
BATCH_TOKENS = (160, 1024)
"""Tokens of a batch of queries and of documents.

Queries are short and vary by half in length, so small batches pad less.
"""
BATCH_TEXTS = 64


class BundledHybrid(FileModel):
    """A HybridEncoder that needs no hub and no torch. Its graph is int8, so it runs on the processor.

    Args:
        threads: threads of one forward pass; None means every core.
        folder: the folder of the model's files; None means the package's own.
    """

    def __init__(
        self, card: ModelCard, *, cache_dir: Path, threads: int | None = None, folder: Path | None = None
    ) -> None:
        super().__init__(card, cache_dir=cache_dir, threads=threads)
        self._found = folder
        self._narrow: Any = None

    def fingerprint(self) -> str:
        folder = self._folder()
        hashes = {name: file_hash(folder / name, self._cache_dir) for name in OWN_FILES}
        return fingerprint_of(self._card, hashes, max_active_dims=str(MAX_ACTIVE_DIMS))

    def warm_up(self) -> None:
        self._own_tokenizer()
        self._run([np.array([101, 102], dtype=np.int32)], QUERY)

    def encode_documents(self, texts: Sequence[str]) -> list[tuple[SparseVector, DenseVector]]:
        return self._encode(self._documents(texts), DOCUMENT)

    def encode_queries(self, texts: Sequence[str]) -> list[tuple[SparseVector, DenseVector]]:
        return self._encode(self._queries(texts), QUERY)

    def terms(self, indices: Sequence[int]) -> list[str]:
        """Return the wordpiece of each dimension; it stands for all words of its stem."""
        vocabulary = self._own_tokenizer()
        return [vocabulary.id_to_token(int(index)) or f"#{index}" for index in indices]

    def dimensions(self, terms: Sequence[str]) -> list[int | None]:
        """Return the dimension of each wordpiece; None for what is none."""
        return dimensions_of(self._own_tokenizer(), terms, self._card.vocab_size)

    def _encode(self, texts: Sequence[str], side: int) -> list[tuple[SparseVector, DenseVector]]:
        ids = TruncatingTokenizer(self._own_tokenizer(), self._card.max_tokens).texts(texts)
        encoded: list[Any] = [None] * len(ids)
        lengths = [len(each) for each in ids]

        narrow = side == DOCUMENT or len(ids) > 1
        if ids:
            self._loaded(quick=side == QUERY, narrow=narrow)  # its faults are not those of a batch

        def run(batch: Positions) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            return self._run([ids[place] for place in batch], side, narrow)

        concurrency, _ = split_cores(self._threads)
        for batch, (sparse, dense) in self._batches(lengths, (BATCH_TOKENS[side], BATCH_TEXTS), run, concurrency):
            for place, vector, row in zip(batch, sparse_rows(sparse, 0), dense, strict=True):
                encoded[place] = (prune_vector(vector, MAX_ACTIVE_DIMS[side], 0.0), row)
        return encoded

    def _run(
        self, ids: Sequence[Ids], side: int, narrow: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        attended = attention_mask(ids)
        tokens, mask = pad_rows(ids, attended, np.int64), attended.astype(np.int64)
        inputs = {"input_ids": tokens, "attention_mask": mask, "side": np.array(side, dtype=np.int64)}
        sparse, dense = self._loaded(quick=side == QUERY, narrow=narrow).run(["sparse", "dense"], inputs)
        return sparse, dense

    def _loaded(self, *, quick: bool = False, narrow: bool = False) -> Any:
        """Return the session, opened when first needed; `narrow` is for batches that run at once."""
        concurrency, each = split_cores(self._threads)
        with self._lock:
            wide = not narrow or concurrency == 1
            found = self._model if wide else self._narrow
            if found is None:
                threads = self._threads if wide else each
                graph = str(self._folder() / OWN_FILES[0])
                try:
                    found = open_session(graph, {}, threads=threads, quick=quick)
                except MemoryError:
                    raise
                except Exception as fault:  # onnxruntime has no error type of its own
                    raise self._unloadable(fault) from fault
                if wide:
                    self._model = found
                else:
                    self._narrow = found
            return found

    def _folder(self) -> Path:
        folder = self._found or OWN_FOLDER
        missing = [name for name in OWN_FILES if not (folder / name).is_file()]
        if missing:
            what = f"The bundled model lacks {', '.join(missing)} in {folder}"
            raise ModelUnavailable(f"{what}; it comes with the package. Install that again.")
        return folder
