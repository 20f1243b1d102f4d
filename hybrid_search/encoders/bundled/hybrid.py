"""The model that ships inside the package: one forward pass of onnxruntime gives both vectors of a text.

Its folder `model/` holds the graph (int8), the tokenizer and the model card; `training/bundled/` makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.files import file_hash, fingerprint_of
from hybrid_search.encoders.seat import FileModel
from hybrid_search.errors import ModelUnavailable
from hybrid_search.types import DenseVector, ModelCard, SparseVector

FOLDER = Path(__file__).parent / "model"
FILES = ("model.onnx", "tokenizer.json")
QUERY, DOCUMENT = 0, 1
MAX_ACTIVE_DIMS = (60, 250)
"""Of a query and of a document; the heaviest are kept."""
BATCH_TOKENS = 1024
BATCH_TEXTS = 64


class BundledHybrid(FileModel):
    """A HybridEncoder that needs no hub and no torch.

    Args:
        threads: of one forward pass; None means every core.
        folder: the model's files; None means those of the package.
    """

    def __init__(
        self, card: ModelCard, *, cache_dir: Path, threads: int | None = None, folder: Path | None = None
    ) -> None:
        super().__init__(card, cache_dir=cache_dir, threads=threads)
        self._found = folder

    def fingerprint(self) -> str:
        folder = self._folder()
        hashes = {name: file_hash(folder / name, self._cache_dir) for name in FILES}
        return fingerprint_of(self._card, hashes, max_active_dims=str(MAX_ACTIVE_DIMS))

    def warm_up(self) -> None:
        self._run([[101, 102]], QUERY)

    def encode_documents(self, texts: Sequence[str]) -> list[tuple[SparseVector, DenseVector]]:
        return self._encode(self._documents(texts), DOCUMENT)

    def encode_queries(self, texts: Sequence[str]) -> list[tuple[SparseVector, DenseVector]]:
        return self._encode(self._queries(texts), QUERY)

    def terms(self, indices: Sequence[int]) -> list[str]:
        """The wordpiece of each dimension; it stands for all words of its stem."""
        vocabulary = self._own_tokenizer()
        return [vocabulary.id_to_token(int(index)) or f"#{index}" for index in indices]

    def _encode(self, texts: Sequence[str], side: int) -> list[tuple[SparseVector, DenseVector]]:
        limit = self._card.max_tokens
        found = [encoding.ids for encoding in self._own_tokenizer().encode_batch_fast(list(texts))]
        # Cut by hand, as the tokenizer would: the text's head, then its closing [SEP].
        ids = [each if len(each) <= limit else [*each[: limit - 1], each[-1]] for each in found]
        encoded: list[Any] = [None] * len(ids)
        for batch in self._batches([len(each) for each in ids], (BATCH_TOKENS, BATCH_TEXTS)):
            sparse, dense = self._run([ids[place] for place in batch], side)
            for row, place in enumerate(batch):
                encoded[place] = (_heaviest(sparse[row], MAX_ACTIVE_DIMS[side]), dense[row])
        return encoded

    def _run(self, ids: Sequence[Sequence[int]], side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        tokens = np.zeros((len(ids), max(map(len, ids))), dtype=np.int64)
        mask = np.zeros_like(tokens)
        for row, found in enumerate(ids):
            tokens[row, : len(found)] = found
            mask[row, : len(found)] = 1
        given = {"input_ids": tokens, "attention_mask": mask, "side": np.array(side, dtype=np.int64)}
        sparse, dense = self._loaded().run(["sparse", "dense"], given)
        return sparse, dense

    def _loaded(self) -> Any:
        with self._lock:
            if self._model is None:
                self._model = self._open()
            return self._model

    def _open(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        path = str(self._folder() / FILES[0])
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def _folder(self) -> Path:
        folder = self._found or FOLDER
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            what = f"The bundled model lacks {', '.join(missing)} in {folder}"
            raise ModelUnavailable(f"{what}; it comes with the package. Install that again.")
        return folder


def _heaviest(weights: NDArray[np.float32], limit: int) -> SparseVector:
    """The dimensions above 0, at most `limit` of them; of equal weights the first."""
    active = np.flatnonzero(weights > 0)
    if len(active) > limit:
        kept = np.argsort(-weights[active], kind="stable")[:limit]
        active = np.sort(active[kept])
    return SparseVector(active.astype(np.int32), weights[active])
