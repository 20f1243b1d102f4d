"""The only room that runs models: text in, sparse vectors, dense vectors or scores out.

`catalog.py` knows the models by name, `local_card.py` reads a folder as one, `hub.py` finds and fetches their files.
`load` gives the encoder that a card describes; `hybrid.py` makes two encoders of one that gives both vectors. One
module per runtime: `onnx.py`, `torch.py` (sentence-transformers, an extra), `bundled/` (files of a Python package) and
`fastembed.py` (what is no plain graph). `devices.py` says what runs on a GPU, `tokenizer.py` reads texts, and
`onnx_graphs/` derives what `onnx.py` runs. Models are known by their cards and their files, so a
collection can say what it was built with. May import the values, and nothing of the other rooms; no model library is
imported before a model is used.
"""

from __future__ import annotations

from pathlib import Path

from hybrid_search.encoders.devices import Device, resolve_device
from hybrid_search.errors import ModelError
from hybrid_search.manifest import Precision
from hybrid_search.protocols import DenseEncoder, HybridEncoder, Reranker, SparseEncoder
from hybrid_search.types import ModelCard


def precision_of(card: ModelCard, asked: Precision) -> Precision:
    """What a model is run in where a precision is asked for.

    What has no network, or is in eight bits by its files, is run as it is, which is called `fp32`.
    """
    chosen = card.runtime == "onnx" or (card.runtime == "bundled" and card.kind == "dense") or card.runtime == "torch"
    return asked if chosen else "fp32"


def load(
    card: ModelCard,
    *,
    cache_dir: Path,
    threads: int | None = None,
    precision: Precision = "fp32",
    device: Device = "auto",
) -> SparseEncoder | DenseEncoder | HybridEncoder | Reranker:
    """The encoder or reranker a card describes. Cheap: files are read on first use or by `warm_up()`.

    Args:
        card: of the catalogue, or of a local folder.
        cache_dir: where model files are looked for and downloaded to, besides the Hugging Face cache.
        threads: of one forward pass; None means every core.
        precision: of the products: `fp32` (as the files are), `int8`, `bf16`, `fp16`; see `precision_of`.
        device: `auto` takes a GPU where there is one and the model can run on it, `cuda` insists, `cpu` touches none.

    Raises:
        ModelError: the card's runtime is not run here, or not in this precision, or not on this device. (Missing files
            and extras are reported on first use.)
    """
    if device == "cuda":
        resolve_device(card, precision, device)
    if precision == "bf16":
        from hybrid_search.encoders import openvino

        openvino.require(card.name)
    if card.runtime == "bundled" and card.kind == "hybrid":
        from hybrid_search.encoders.bundled.hybrid import BundledHybrid

        own = Path(card.name) if Path(card.name).is_absolute() else None
        return BundledHybrid(card, cache_dir=cache_dir, threads=threads, folder=own)
    if card.runtime == "bundled":
        from hybrid_search.encoders.bundled.minilm import BundledDense

        return BundledDense(card, cache_dir=cache_dir, threads=threads, precision=precision, device=device)
    if card.runtime == "onnx":
        from hybrid_search.encoders import onnx

        return onnx.load(card, cache_dir=cache_dir, threads=threads, precision=precision, device=device)
    if card.runtime == "fastembed":
        from hybrid_search.encoders import fastembed

        return fastembed.load(card, cache_dir=cache_dir, threads=threads)
    if card.runtime == "torch":
        from hybrid_search.encoders import torch

        return torch.load(card, cache_dir=cache_dir, threads=threads, precision=precision, device=device)
    raise ModelError(
        f"{card.name!r} runs inside {card.runtime!r}, not as a model here; the store supplies this encoder."
    )
