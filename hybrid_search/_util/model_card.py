"""The description of a model. `types` hands it on: import it from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Published:
    """What has been published of a model's quality; None where nothing is known.

    Args:
        beir: mean nDCG@10, times 100, over 13 collections of BEIR.
        msmarco: MRR@10, times 100, of the queries (dev) of MS MARCO's passages.
        source: where that stands; empty for none.
    """

    beir: float | None = None
    msmarco: float | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The description of a model, known before any of its files is read.

    Args:
        name: the name on the hub, or the absolute path of a local folder.
        kind: the encoder protocol it fills; a `hybrid` model gives both vectors in one pass and may be named for either
            leg.
        runtime: what runs it: `onnx`, `fastembed` (models that are no plain graph), `torch` (sentence-transformers),
            `engine` (Qdrant's own BM25), `bundled` (a Python package's files), `terms` (no model, only terms' weights).
        family: which of the runtime's classes: `splade`, `inference_free_splade`, `bm25`, `bm42`, `minicoil`,
            `unicoil`, `sparta`, `deepimpact`, `term_weights`, `dense`, `cross_encoder`.
        dim: length of the dense vector; 0 for models without one.
        vocab_size: number of sparse dimensions; 0 if they are hashed, or the model is not sparse.
        max_tokens: longest input, special tokens included; 0 for no limit.
        needs_idf: the store has to multiply the sparse vector by the inverse document frequency.
        source: the hub repository whose files are loaded; empty for none.
        files: the files needed from it besides config and tokenizer; of an ONNX model its graph first.
        languages: that it was made for, as ISO 639 codes, `mul` for dozens; empty if unknown.
        pooling: of a dense model's tokens: `mean`, `cls`, `last_token`, `none` (its graph does it); empty if unknown.
        size_mb: of the download.
        max_active_dims: weights that a sparse vector keeps at most, of queries and of documents; 0 for all.
        unweighted: what uniCOIL, SPARTA and DeepImpact give no weight besides special tokens: `punctuation`, or
            `stop_words` (English ones, and punctuation); empty for nothing.
        published: figures of others; they change nothing that the model does.
    """

    name: str
    kind: Literal["sparse", "dense", "hybrid", "reranker", "generator"]
    runtime: Literal["onnx", "fastembed", "torch", "engine", "bundled", "terms"]
    family: str
    licence: str = ""
    dim: int = 0
    vocab_size: int = 0
    max_tokens: int = 0
    needs_idf: bool = False
    query_prefix: str = ""
    document_prefix: str = ""
    source: str = ""
    revision: str = ""
    files: tuple[str, ...] = ()
    size_mb: int = 0
    pooling: str = ""
    extra: str = ""
    note: str = ""
    languages: tuple[str, ...] = ()
    max_active_dims: tuple[int, int] = (0, 0)
    unweighted: Literal["", "punctuation", "stop_words"] = ""
    published: Published = Published()
