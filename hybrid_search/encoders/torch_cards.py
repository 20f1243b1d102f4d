"""Lists the models of the catalogue that torch runs.

What a repository holds was read on the hub's pages and in the code of Pyserini and BEIR. A card without a licence is
that of a repository that states none.
"""

from __future__ import annotations

from typing import Literal

from hybrid_search.types import ModelCard

_WORDPIECES = 30522
_UNSTATED = "No licence is stated."


def torch_card(
    name: str,
    kind: Literal["sparse", "dense", "reranker"],
    family: str,
    licence: str,
    size_mb: int,
    vocab_size: int,
    note: str,
    *,
    max_tokens: int = 512,
    max_active_dims: tuple[int, int] = (0, 0),
) -> ModelCard:
    return ModelCard(
        name=name,
        kind=kind,
        runtime="torch",
        family=family,
        licence=licence,
        vocab_size=vocab_size,
        max_tokens=max_tokens,
        source=name,
        size_mb=size_mb,
        extra="torch",
        note=note,
        languages=("en",),
        max_active_dims=max_active_dims,
    )


def _unicoil(name: str, note: str) -> ModelCard:
    return torch_card(name, "sparse", "unicoil", "", 438, _WORDPIECES, f"{note} {_UNSTATED} English.")


TORCH_SPARSE: tuple[ModelCard, ...] = (
    torch_card(
        "naver/splade-v3",
        "sparse",
        "splade",
        "cc-by-nc-sa-4.0",
        440,
        _WORDPIECES,
        "Gated: accept its terms on the hub and log in first. English.",
    ),
    torch_card(
        "naver/splade-cocondenser-ensembledistil", "sparse", "splade", "cc-by-nc-sa-4.0", 440, _WORDPIECES, "English."
    ),
    torch_card(
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v3-distill",
        "sparse",
        "inference_free_splade",
        "apache-2.0",
        270,
        _WORDPIECES,
        "Documents are encoded by a model, queries by a table of token weights. English.",
    ),
    torch_card(
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v2-mini",
        "sparse",
        "inference_free_splade",
        "apache-2.0",
        91,
        _WORDPIECES,
        "Small. Documents are encoded by a model, queries by a table of token weights. English.",
    ),
    torch_card(
        "ibm-granite/granite-embedding-30m-sparse",
        "sparse",
        "splade",
        "apache-2.0",
        64,
        50265,
        "Small; a model on both sides. Keeps 50 terms of a query and 192 of a document. English.",
        max_active_dims=(50, 192),
    ),
    _unicoil(
        "castorini/unicoil-msmarco-passage",
        "uniCOIL: weights for the words of a text, without expansion; made for texts with doc2query-T5's behind them.",
    ),
    _unicoil("castorini/unicoil-noexp-msmarco-passage", "uniCOIL: weights for the words of a text as it is."),
    _unicoil(
        "ielab/unicoil-tilde200-msmarco-passage", "uniCOIL, made for texts with 200 terms of TILDE's behind them."
    ),
    torch_card(
        "BeIR/sparta-msmarco-distilbert-base-v1",
        "sparse",
        "sparta",
        "",
        265,
        _WORDPIECES,
        f"SPARTA: documents are expanded, queries need no model; 2,000 terms of a document. {_UNSTATED} English.",
        max_tokens=500,
        max_active_dims=(0, 2000),
    ),
)
