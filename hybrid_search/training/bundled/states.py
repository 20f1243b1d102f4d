"""Computes what the frozen transformer makes of texts: the states of two layers per token, and the dense vector."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.batching import batches
from hybrid_search.encoders.bundled.graph import BertShape, Graph, mean_pooling, read_safetensors
from hybrid_search.encoders.bundled.package import model_folder
from hybrid_search.encoders.onnx_session import open_session
from hybrid_search.encoders.tokenizer import TruncatingTokenizer, attention_mask, pad_rows
from hybrid_search.errors import MissingExtra
from hybrid_search.training.bundled.graph import Builder, transformer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BATCH_TOKENS = 1024
_BATCH_TEXTS = 128
log = logging.getLogger(__name__)


class States(NamedTuple):
    """The states of some texts, one after another.

    Args:
        offsets: (texts + 1,) where the tokens of each text begin.
        ids: (tokens,) their wordpieces, including [CLS] and [SEP] of each text.
        layers: (tokens, 2 * hidden) float16 (float32 from `exact_states`), states of the middle and the last layer.
        dense: (texts, hidden) float32 of unit length.
    """

    offsets: NDArray[np.int64]
    ids: NDArray[np.int32]
    layers: NDArray[Any]
    dense: NDArray[np.float32]

    def texts(self) -> list[NDArray[np.int32]]:
        return [self.ids[start:end] for start, end in zip(self.offsets[:-1], self.offsets[1:], strict=True)]


def base_model() -> tuple[BertShape, Mapping[str, NDArray[Any]], Tokenizer]:
    """Load all-MiniLM-L6-v2 from its Python package: shape, weights, and a tokenizer without truncation and padding.

    Raises:
        MissingExtra: the package is not installed.
        ModelError: one of its files is damaged.
    """
    from tokenizers import Tokenizer

    folder = model_folder()
    if folder is None:
        raise MissingExtra("train", "The recipe of the bundled model")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return BertShape.of(config), read_safetensors(folder / "model.safetensors"), tokenizer


def states_of(
    texts: Sequence[str],
    shape: BertShape,
    weights: Mapping[str, NDArray[Any]],
    tokenizer: Tokenizer,
    max_tokens: int,
    keep: Path,
) -> States:
    """Run the transformer over texts, or read what an earlier run kept of the same texts.

    Args:
        texts: the texts to encode; each is cut at `max_tokens`.
        shape: the transformer's shape.
        weights: its weights.
        tokenizer: its tokenizer.
        max_tokens: how much of a text is read.
        keep: a folder for the result; created if missing, and complete once it holds `dense.npy`.
    """
    ids = TruncatingTokenizer(tokenizer, max_tokens).texts(texts)
    flat = np.concatenate(ids)
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in ids])])
    if (keep / "dense.npy").is_file() and np.array_equal(np.load(keep / "ids.npy"), flat):
        return States(offsets, flat, np.load(keep / "layers.npy", mmap_mode="r"), np.load(keep / "dense.npy"))
    keep.mkdir(parents=True, exist_ok=True)
    (keep / "dense.npy").unlink(missing_ok=True)
    hidden = weights["embeddings.word_embeddings.weight"].shape[1]
    size = (int(offsets[-1]), 2 * hidden)
    layers = np.lib.format.open_memmap(keep / "layers.npy", "w+", np.float16, size)
    dense = np.empty((len(ids), hidden), dtype=np.float32)
    session = _session(shape, weights, hidden)
    done = 0
    for number, batch in enumerate(batches([len(each) for each in ids], budget=_BATCH_TOKENS, limit=_BATCH_TEXTS)):
        inputs = pad([ids[place] for place in batch])
        dense[batch], middle, last = session.run(["dense", "middle", "last"], inputs)
        for row, place in enumerate(batch):
            start, end = offsets[place], offsets[place + 1]
            layers[start:end, :hidden] = middle[row, : end - start]
            layers[start:end, hidden:] = last[row, : end - start]
            done += end - start
        if number % 100 == 99:
            log.info("states: %d of %d tokens", done, offsets[-1])
    layers.flush()
    np.save(keep / "ids.npy", flat)
    np.save(keep / "dense.npy", dense)
    return States(offsets, flat, layers, dense)


def exact_states(ids: Sequence[NDArray[np.int32]], shape: BertShape, weights: Mapping[str, NDArray[Any]]) -> States:
    """Compute the states of a few texts, given as ids, one at a time and in float32, as in the shipped graph."""
    hidden = weights["embeddings.word_embeddings.weight"].shape[1]
    session = _session(shape, weights, hidden)
    found = [session.run(["dense", "middle", "last"], pad([each])) for each in ids]
    layers = [np.concatenate([middle[0], last[0]], axis=1) for _, middle, last in found]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in ids])])
    return States(offsets, np.concatenate(ids), np.concatenate(layers), np.concatenate([each[0] for each in found]))


def pad(ids: Sequence[NDArray[np.int32]]) -> dict[str, NDArray[np.int64]]:
    """Return `input_ids` and `attention_mask` of a batch, (texts, longest)."""
    attended = attention_mask(ids)
    return {"input_ids": pad_rows(ids, attended, np.int64), "attention_mask": attended.astype(np.int64)}


def _session(shape: BertShape, weights: Mapping[str, NDArray[Any]], hidden: int) -> Any:
    graph = Graph()
    last, middle = transformer(Builder(graph, False, {}), shape, weights)
    batch = ("batch", "length")
    model = graph.model(
        {"input_ids": batch, "attention_mask": batch},
        {
            "dense": (mean_pooling(graph, last), ("batch", hidden)),
            "middle": (middle, (*batch, hidden)),
            "last": (last, (*batch, hidden)),
        },
    )
    return open_session(model.SerializeToString(), {})
