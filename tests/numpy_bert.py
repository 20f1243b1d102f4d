"""BERT in plain numpy, for small models, and its weights by DistilBERT's names: what an encoder's output is held to.

Source: Devlin et al. 2019; the order of the layers and the names of the weights are those of transformers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tests.hub_models import HEADS, LAYERS

_erf = np.vectorize(math.erf)
_DISTIL = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


def states(weights: Mapping[str, np.ndarray], ids: Sequence[int]) -> np.ndarray:
    """The last hidden states of one text, shape (tokens, hidden), in double precision."""
    found = {name: tensor.astype(np.float64) for name, tensor in weights.items()}

    def dense(value: np.ndarray, name: str) -> np.ndarray:
        return value @ found[f"{name}.weight"].T + found[f"{name}.bias"]

    def norm(value: np.ndarray, name: str) -> np.ndarray:
        centred = value - value.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * found[f"{name}.weight"] + found[f"{name}.bias"]

    def heads(value: np.ndarray) -> np.ndarray:
        return value.reshape(len(ids), HEADS, -1).transpose(1, 0, 2)

    value = found["embeddings.word_embeddings.weight"][list(ids)]
    value = value + found["embeddings.position_embeddings.weight"][: len(ids)]
    value = norm(value + found["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        query, key, other = (heads(dense(value, f"{at}attention.self.{part}")) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (shares / shares.sum(axis=-1, keepdims=True)) @ other
        mixed = dense(mixed.transpose(1, 0, 2).reshape(len(ids), -1), f"{at}attention.output.dense")
        value = norm(value + mixed, f"{at}attention.output.LayerNorm")
        inner = dense(value, f"{at}intermediate.dense")
        inner = inner * 0.5 * (1 + _erf(inner / math.sqrt(2)))
        value = norm(value + dense(inner, f"{at}output.dense"), f"{at}output.LayerNorm")
    return value


def as_distilbert(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A BERT's weights by DistilBERT's names, which has no token types: their row joins every position."""
    kinds = weights["embeddings.token_type_embeddings.weight"]
    found = {
        "embeddings.word_embeddings.weight": weights["embeddings.word_embeddings.weight"],
        "embeddings.position_embeddings.weight": weights["embeddings.position_embeddings.weight"] + kinds[0],
        **{f"embeddings.LayerNorm.{part}": weights[f"embeddings.LayerNorm.{part}"] for part in ("weight", "bias")},
    }
    for layer in range(LAYERS):
        for theirs, name in _DISTIL.items():
            for part in ("weight", "bias"):
                tensor = weights[f"encoder.layer.{layer}.{theirs}.{part}"]
                found[f"transformer.layer.{layer}.{name}.{part}"] = tensor
    return found
