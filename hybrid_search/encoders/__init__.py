"""Run models: text in, sparse vectors, dense vectors or scores out. No other room does.

A model is identified by its card and the hashes of its files, so a collection can record what it was built with. No
model library is imported before a model is used.

Words: a card describes a model; its runtime is what runs it; a fingerprint is a hash of all that changes its vectors; a
leg is served by one encoder; a hybrid model gives both vectors in one pass, and a view shows one of them.

Modules, in reading order:

- which model: `catalog`, `dense_cards`, `torch_cards` and `term_cards` (by name), `published` (figures of others),
  `local_card` (a folder), `hub` (files), `hashing`;
- what all share: `base`, `batching`, `threads`, `devices`, `tokenizer`, `token_cache`, `token_counter`,
  `unknown_tokens`, `vocabulary`;
- one module per runtime: `onnx` (with `onnx_session`, `openvino` and `onnx_graphs/`), `torch` (sentence-transformers,
  an extra) and `torch_terms` (uniCOIL, SPARTA, DeepImpact), `fastembed` (BM25 and others that are not one plain
  graph), `bundled/` (files of a Python package);
- vectors: `hybrid` (one model, two legs), `pruning`, `query_table` (queries without a network), `term_weights` (queries
  of documents that come with their weights).

May import the values (`types`, `protocols`, `manifest`, `errors`, `_util`), and no other room.
"""

from __future__ import annotations

from pathlib import Path

from hybrid_search.encoders.devices import Device, resolve_device
from hybrid_search.errors import ModelError
from hybrid_search.manifest import Precision
from hybrid_search.protocols import DenseEncoder, HybridEncoder, Reranker, SparseEncoder
from hybrid_search.types import ModelCard


def precision_of(card: ModelCard, asked: Precision) -> Precision:
    """Return the precision a model runs in if `asked` is requested.

    A model without a network, or with an eight-bit graph of its own, runs as it is; that is called `fp32`.
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
    """Return the encoder or reranker of a card. Cheap: files are read on first use or by `warm_up()`.

    Args:
        card: from the catalogue or of a local folder.
        cache_dir: where model files are looked for and downloaded to, besides the Hugging Face cache.
        threads: threads of one forward pass; None means every core.
        precision: of the matrix products: `fp32` (as the files are), `int8`, `bf16`, `fp16`; see `precision_of`.
        device: `auto` takes a GPU if the model can run on one here, `cuda` insists on it, `cpu` never uses one.

    Raises:
        ModelError: the model cannot run here, or not in this precision, or not on this device. (Missing files and
            extras are reported on first use.)
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
    if card.runtime == "terms":
        from hybrid_search.encoders.term_weights import TermWeightsEncoder

        return TermWeightsEncoder(card)
    if card.runtime == "torch":
        from hybrid_search.encoders import torch, torch_terms

        make = torch_terms.load if card.family in torch_terms.FAMILIES else torch.load
        return make(card, cache_dir=cache_dir, threads=threads, precision=precision, device=device)
    raise ModelError(
        f"{card.name!r} runs inside {card.runtime!r}, not as a model here; the store supplies this encoder."
    )
