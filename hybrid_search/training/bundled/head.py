"""Defines the trained part of the bundled model, in torch: states of the frozen transformer -> sparse vectors.

A head is a dict of tensors under the names that `graph.hybrid_graph` reads. Each word of a text gets a weight: a gate
over what it does there, times its rarity in a query, saturated as in BM25 in a document. A query also gets other words
(expansion). A document does not: measured, that made rankings worse and documents expensive.

Decoding is the expensive step (every token against every column), and only columns above 0 have a gradient. So numpy
finds those without computing gradients, and torch computes only them again. The result and its gradient are those of
the plain form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.training.bundled.graph import REACH, SATURATION, Lexicon
from hybrid_search.training.bundled.states import States

if TYPE_CHECKING:
    from torch import Tensor

QUERY, DOCUMENT = 0, 1
_START_BIAS = -1.0
_ROWS_AT_ONCE = 256
_GATE = 64

Head = dict[str, "Tensor"]


class Batch(NamedTuple):
    """Some texts: states (texts, length, 2 * hidden), which tokens are the text's own, and their classes or -1."""

    states: Tensor
    inside: Tensor
    stems: Tensor


class Expansion(NamedTuple):
    """The entries that a decoder gives: row, column, logit, and weight = log(1 + relu(logit))."""

    rows: Tensor
    columns: Tensor
    logits: Tensor
    weights: Tensor


def new_head(words: NDArray[Any], lexicon: Lexicon, seed: int) -> Head:
    """Return an untrained head that only knows which words are alike.

    Args:
        words: (vocabulary, hidden) the transformer's word embeddings; the decoder starts as the mean of each class.
        lexicon: the vocabulary's lexicon.
        seed: seed of the first weights.
    """
    import torch

    torch.manual_seed(seed)
    hidden = words.shape[1]
    place = np.full(len(words), -1)
    place[lexicon.columns] = np.arange(len(lexicon.columns))
    column = np.where(lexicon.stems >= 0, place[lexicon.stems], -1)
    known = column >= 0
    decoder = np.zeros((len(lexicon.columns), hidden), dtype=np.float32)
    np.add.at(decoder, column[known], words[known])
    decoder /= 2 * np.linalg.norm(decoder, axis=1, keepdims=True)
    line = torch.nn.Linear(2 * hidden, hidden)
    gate = torch.nn.Linear(2 * hidden, 2 * _GATE)
    head = {
        "decoder": torch.from_numpy(decoder),
        "transform": line.weight.detach().T,
        "transform_bias": line.bias.detach(),
        "norm_gain": torch.ones(hidden),
        "norm_bias": torch.zeros(hidden),
        "bias": torch.full((len(lexicon.columns),), _START_BIAS),
        "expansion_scale": torch.tensor(1.0),
        "gate_in": gate.weight.detach().view(2, _GATE, 2 * hidden).transpose(1, 2),
        "gate_in_bias": gate.bias.detach().view(2, _GATE),
        "gate": torch.zeros(2, _GATE),
        "gate_bias": torch.zeros(2),
        "lexical_scale": torch.ones(2),
    }
    return {name: value.contiguous().requires_grad_() for name, value in head.items()}


def batch_of(states: States, places: Sequence[int] | NDArray[np.int64], lexicon: Lexicon) -> Batch:
    """Return the states of some texts, padded to the longest."""
    import torch

    spans = [(int(states.offsets[place]), int(states.offsets[place + 1])) for place in places]
    longest = max(end - start for start, end in spans)
    found = np.zeros((len(spans), longest, states.layers.shape[1]), dtype=np.float32)
    inside = np.zeros((len(spans), longest), dtype=bool)
    stems = np.full((len(spans), longest), -1, dtype=np.int64)
    for row, (start, end) in enumerate(spans):
        found[row, : end - start] = states.layers[start:end]
        inside[row, 1 : end - start - 1] = True
        stems[row, 1 : end - start - 1] = lexicon.stems[states.ids[start + 1 : end - 1]]
    return Batch(torch.from_numpy(found), torch.from_numpy(inside), torch.from_numpy(stems))


def documents(head: Head, batch: Batch, lexicon: Lexicon) -> Tensor:
    """Return the sparse vectors of documents, (texts, vocabulary)."""
    found = _gated_counts(head, DOCUMENT, batch, lexicon)
    k1, b, average = SATURATION
    length = (batch.stems >= 0).sum(1, keepdim=True)
    saturated: Tensor = found * (k1 + 1) / (found + k1 * (1 - b + b * length / average))
    return saturated * head["lexical_scale"][DOCUMENT]


def queries(head: Head, batch: Batch, lexicon: Lexicon) -> Tensor:
    """Return the sparse vectors of queries, (texts, vocabulary)."""
    import torch

    added = expansion(head, batch)
    columns = torch.from_numpy(lexicon.columns)[added.columns]
    own = _gated_counts(head, QUERY, batch, lexicon) * torch.from_numpy(lexicon.rarity) * head["lexical_scale"][QUERY]
    return own.index_put((added.rows, columns), added.weights * head["expansion_scale"], accumulate=True)


def expansion(head: Head, batch: Batch, wanted: Tensor | None = None) -> Expansion:
    """Compute log(1 + relu(max over tokens)). Source: SPLADE-max, Formal et al. 2021, arXiv 2109.10086.

    Args:
        head: the weights.
        batch: the texts to encode.
        wanted: (texts, columns) bool: entries to compute even if they are below 0.
    """
    import torch
    from torch.nn import functional

    lifted = functional.gelu(batch.states @ head["transform"] + head["transform_bias"])
    normed = functional.layer_norm(lifted, lifted.shape[-1:], head["norm_gain"], head["norm_bias"], eps=1e-5)
    seen = batch.inside
    above = _above_zero(normed, seen, head["decoder"], head["bias"])
    rows, columns = (above if wanted is None else above | wanted).nonzero(as_tuple=True)
    weights = functional.embedding(columns, head["decoder"])
    counts = torch.bincount(rows, minlength=len(normed)).tolist()
    tops = [
        (normed[row][seen[row]] @ some.T).amax(0) if len(some) and bool(seen[row].any()) else -some.new_ones(len(some))
        for row, some in enumerate(weights.split(counts))
    ]
    logits = torch.cat(tops) + head["bias"][columns]
    return Expansion(rows, columns, logits, torch.log1p(torch.relu(logits)))


def _above_zero(normed: Tensor, seen: Tensor, decoder: Tensor, bias: Tensor) -> Tensor:
    """Return which (text, column) have a logit above 0. numpy computes it, because its products are faster on a CPU."""
    import torch

    kernel, least = decoder.detach().numpy().T, -bias.detach().numpy()
    windows = np.ascontiguousarray(normed.detach().numpy()[seen.numpy()])
    ends = np.concatenate([[0], np.cumsum(seen.sum(1).numpy())])
    above = np.zeros((len(normed), len(decoder)), dtype=bool)
    start = 0
    while start < len(normed):
        stop = start + 1
        while stop < len(normed) and ends[stop + 1] - ends[start] <= _ROWS_AT_ONCE:
            stop += 1
        logits = torch.from_numpy(windows[ends[start] : ends[stop]] @ kernel)
        for row in range(start, stop):
            mine = logits[ends[row] - ends[start] : ends[row + 1] - ends[start]]
            if len(mine):
                np.greater(mine.amax(0).numpy(), least, out=above[row])
        start = stop
    return torch.from_numpy(above)


def _gated_counts(head: Head, side: int, batch: Batch, lexicon: Lexicon) -> Tensor:
    """Count how often each word class stands in a text, an occurrence as 1 - REACH..1 + REACH: (texts, vocabulary)."""
    import torch
    from torch.nn import functional

    lifted = functional.gelu(batch.states @ head["gate_in"][side] + head["gate_in_bias"][side])
    gates = 1 + REACH * (2 * torch.sigmoid(lifted @ head["gate"][side] + head["gate_bias"][side]) - 1)
    rows, places = (batch.stems >= 0).nonzero(as_tuple=True)
    empty = torch.zeros(len(batch.stems), len(lexicon.stems))
    return empty.index_put((rows, batch.stems[rows, places]), gates[rows, places], accumulate=True)


def arrays(head: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """Return the weights as numpy arrays."""
    return {name: value.detach().numpy() for name, value in head.items()}
