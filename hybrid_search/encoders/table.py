"""Queries without a network: each token of a query weighs what a table says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.tokens import Ids
from hybrid_search.errors import ModelError
from hybrid_search.types import SparseVector

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE = "idf.json"


class Table(NamedTuple):
    """The query side of an inference-free SPLADE model.

    Args:
        weights: by token id: (vocabulary,); 0 for special tokens and for those the table lacks.
        special: ids of the special tokens, which weigh nothing in documents either.

    Source: Geng et al. 2024, arXiv 2411.04403 (inference-free retrievers with IDF).
    """

    weights: NDArray[np.float32]
    special: NDArray[np.int64]

    @classmethod
    def read(cls, folder: Path, tokenizer: Tokenizer) -> Table:
        """Read `idf.json`: token -> weight.

        Raises:
            ModelError: it is no table of weights.
            OSError: it cannot be read.
        """
        found = json.loads((folder / FILE).read_text("utf-8"))
        if not isinstance(found, dict):
            raise ModelError(f"{folder / FILE} must hold token: weight, not a {type(found).__name__}.")
        ids = tokenizer.get_vocab()
        weights = np.zeros(max(ids.values(), default=-1) + 1, dtype=np.float32)
        known = {ids[token]: weight for token, weight in found.items() if token in ids}
        weights[list(known)] = list(known.values())
        special = _special(folder, tokenizer)
        weights[special] = 0
        return cls(weights, special)

    def vector(self, ids: Ids) -> SparseVector:
        """The vector of a query, by its token ids; how often a token stands in it does not count."""
        once = np.unique(ids)
        weights = self.weights[once]
        return SparseVector(once[weights > 0], weights[weights > 0])


def _special(folder: Path, tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Those that the tokenizer calls special, and those that stand in `special_tokens_map.json`."""
    ids = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    path = folder / "special_tokens_map.json"
    named = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    for value in named.values():
        for token in value if isinstance(value, list) else [value]:
            number = tokenizer.token_to_id(token["content"] if isinstance(token, dict) else token)
            ids |= {number} if number is not None else set()
    return np.array(sorted(ids), dtype=np.int64)
