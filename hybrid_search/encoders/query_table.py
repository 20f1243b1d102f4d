"""Encodes queries without a network: a table gives the weight of each token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.bundled.graph import read_safetensors
from hybrid_search.encoders.local_card import as_json, cut_side, length_limit
from hybrid_search.encoders.token_cache import Ids
from hybrid_search.encoders.tokenizer import TruncatingTokenizer
from hybrid_search.errors import ModelError
from hybrid_search.types import SparseVector

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE = "idf.json"
_WEIGHTS = "model.safetensors"


class QueryWeightTable(NamedTuple):
    """The query side of an inference-free SPLADE model.

    Args:
        weights: weight of each token id, shape (vocabulary,); 0 for special tokens and those missing in the table.
        special: ids of the special tokens; they have no weight in documents either.

    Source: Geng et al. 2024, arXiv 2411.04403 (inference-free retrievers with IDF).
    """

    weights: NDArray[np.float32]
    special: NDArray[np.int64]

    @classmethod
    def read(cls, folder: Path, tokenizer: Tokenizer) -> QueryWeightTable:
        """Read `idf.json`: token -> weight.

        Raises:
            ModelError: the file is not a table of weights.
            OSError: the file cannot be read.
        """
        found = json.loads((folder / FILE).read_text("utf-8"))
        if not isinstance(found, dict):
            raise ModelError(f"{folder / FILE} must hold token: weight, not a {type(found).__name__}.")
        ids = tokenizer.get_vocab()
        weights = np.zeros(max(ids.values(), default=-1) + 1, dtype=np.float32)
        known = {ids[token]: weight for token, weight in found.items() if token in ids}
        weights[list(known)] = list(known.values())
        special = special_ids(folder, tokenizer)
        weights[special] = 0
        return cls(weights, special)

    def vector(self, ids: Ids) -> SparseVector:
        """Return the vector of a query, given its token ids; repeated tokens count once."""
        once = np.unique(ids)
        weights = self.weights[once]
        return SparseVector(once[weights > 0], weights[weights > 0])


class StaticTable(NamedTuple):
    """The query side of an inference-free model saved by sentence-transformers: a router's `SparseStaticEmbedding`.

    Args:
        weights: weight of each token id, as in that module, including special tokens, which its tokenizer does not add.
        reader: its own tokenizer.
        limit: tokens that it reads of a query; 0 for all.
    """

    weights: NDArray[np.float32]
    reader: TruncatingTokenizer
    limit: int

    @classmethod
    def read(cls, folder: Path) -> StaticTable | None:
        """Read the table; return None if the folder has another layout, or one that only that library can run.

        Raises:
            ModelError: a file is damaged.
        """
        found = static_folder(folder)
        if found is None:
            return None
        from tokenizers import Tokenizer

        weights = read_safetensors(found / _WEIGHTS).get("weight")
        tokenizer = Tokenizer.from_file(str(found / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        if weights is None or weights.shape != (tokenizer.get_vocab_size(),):
            return None
        limit = length_limit(found) or 0
        return cls(weights.astype(np.float32), TruncatingTokenizer(tokenizer, limit, cut_side(found)), limit)

    def vectors(self, texts: Sequence[str]) -> list[SparseVector]:
        """Return the vectors of queries; repeated tokens count once."""
        found = []
        for pieces in self.reader.pieces(texts, self.limit):
            once = np.unique(self.reader.truncate(pieces, self.limit) if self.limit else pieces)
            found.append(SparseVector.of(once, self.weights[once]))
        return found


def static_folder(folder: Path) -> Path | None:
    """Return where a saved router keeps its table for queries; None if queries need more than a table."""
    if as_json(folder, "config_sentence_transformers.json").get("max_active_dims"):
        return None
    router = as_json(folder, "router_config.json")
    names = (router.get("structure") or {}).get("query") or []
    kinds = [str((router.get("types") or {}).get(name)).rpartition(".")[2] for name in names]
    if kinds != ["SparseStaticEmbedding"] or as_json(folder / names[0], "config.json").get("path"):
        return None
    found = folder / str(names[0])
    return found if all((found / name).is_file() for name in (_WEIGHTS, "tokenizer.json")) else None


def special_ids(folder: Path, tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Return the ids of tokens that the tokenizer calls special or that `special_tokens_map.json` lists."""
    ids = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    path = folder / "special_tokens_map.json"
    named = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    for value in named.values():
        for token in value if isinstance(value, list) else [value]:
            number = tokenizer.token_to_id(token["content"] if isinstance(token, dict) else token)
            ids |= {number} if number is not None else set()
    return np.array(sorted(ids), dtype=np.int64)
