"""Computes SPLADE pooling in a form that trains fast on a CPU.

A SPLADE vector is, for each word of the vocabulary, log(1 + ReLU(the largest logit of any token)): Formal et al.,
SPLADE v2, 2021, arXiv 2109.10086, equations 1 and 2 with max pooling. The maximum may be taken first, because both
functions are monotonic. Written plainly, that stores batch x tokens x 30,522 logits, and walks through all of them
again in the backward pass. But a gradient reaches only the logits that won their word and are above zero, a few hundred
per text. So `quicken` stores the position of each winner instead, and the backward pass costs next to nothing.
"""

from __future__ import annotations

import types
from functools import cache
from importlib import import_module
from typing import Any

# Tokens that a CPU multiplies at a time, and logits that a GPU holds.
_CPU_TOKENS = 256
_GPU_LOGITS = 1 << 27
# Gradients that are spread at a time, each a row of the hidden size.
_GRADIENTS = 1 << 16


def quicken(model: Any) -> bool:
    """Change how a SparseEncoder computes its vectors, without changing what it computes or saves.

    Args:
        model: a model of sentence-transformers; the `forward` of its transformer and its pooling are replaced.

    Returns:
        True if that was possible: the model ends in a linear decoder with max pooling.
    """
    torch: Any = import_module("torch")
    transformer, pooling = parts(model)
    decoder = transformer.auto_model.get_output_embeddings()
    if not isinstance(decoder, torch.nn.Linear) or pooling.pooling_strategy != "max":
        return False
    largest = _largest()

    def forward(self: Any, features: dict[str, Any]) -> dict[str, Any]:
        states, mask = features["token_embeddings"], features["attention_mask"]
        bias = decoder.bias if decoder.bias is not None else decoder.weight.new_zeros(len(decoder.weight))
        weights = torch.log1p(torch.relu(largest(states, mask, decoder.weight, bias)))
        if self.activation_function == "log1p_relu":
            weights = torch.log1p(weights)
        self.embedding_dimension = weights.shape[1]
        features["sentence_embedding"] = weights
        return features

    # The decoder hands the states on; its weights stay where they are, tied and saved as before.
    decoder.forward = lambda states: states
    pooling.forward = types.MethodType(forward, pooling)
    return True


def parts(model: Any) -> tuple[Any, Any]:
    """Return the transformer and the pooling of a SparseEncoder; those of the document side if there are two."""
    modules = list(model)
    if hasattr(modules[0], "sub_modules"):
        modules = list(modules[0].sub_modules["document"])
    return modules[0], modules[1]


def dimensions(model: Any) -> int:
    """Return the number of dimensions of its vectors."""
    return len(parts(model)[0].auto_model.get_output_embeddings().weight)


@cache
def _largest() -> Any:
    """Return largest(states, mask, weight, bias): the largest logit of the attended tokens for each text and word.

    Shapes: states (batch, length, hidden), mask (batch, length), weight (vocabulary, hidden), bias (vocabulary); the
    result is (batch, vocabulary), in float32.
    """
    torch: Any = import_module("torch")

    class Largest(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, states: Any, mask: Any, weight: Any, bias: Any) -> Any:
            best, places = (_some if states.device.type == "cpu" else _many)(states, mask, weight, bias)
            ctx.save_for_backward(states, weight, places)
            return best

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            states, weight, places = ctx.saved_tensors
            length, hidden = states.shape[1:]
            flat = states.reshape(-1, hidden)
            texts, words = gradient.nonzero(as_tuple=True)
            to_states = torch.zeros(flat.shape, dtype=torch.float32, device=flat.device)
            to_weight = torch.zeros_like(weight, dtype=torch.float32)
            for at in range(0, len(texts), _GRADIENTS):
                text, word = texts[at : at + _GRADIENTS], words[at : at + _GRADIENTS]
                token = text * length + places[text, word].long()
                size = gradient[text, word].float().unsqueeze(1)
                to_states.index_add_(0, token, size * weight[word].float())
                to_weight.index_add_(0, word, size * flat[token].float())
            return to_states.view_as(states).to(states.dtype), None, to_weight.to(weight.dtype), gradient.sum(0)

    return Largest.apply


def _some(states: Any, mask: Any, weight: Any, bias: Any) -> tuple[Any, Any]:
    """Return the largest logits and their tokens, a few texts at a time: as many tokens as a CPU multiplies fastest.

    Finding the token takes longer than finding the largest value, so it is done only for values that count.
    """
    torch: Any = import_module("torch")
    best = states.new_empty((len(states), len(weight)), dtype=torch.float32)
    places = torch.zeros((len(states), len(weight)), dtype=torch.int32)
    counts = (mask != 0).sum(dim=1).tolist()
    start = 0
    while start < len(counts):
        end, total = start + 1, counts[start]
        while end < len(counts) and total + counts[end] <= _CPU_TOKENS:
            total += counts[end]
            end += 1
        kept = mask[start:end] != 0
        logits = torch.matmul(weight, states[start:end][kept].T)
        at = 0
        for text in range(start, end):
            own, at = logits[:, at : at + counts[text]], at + counts[text]
            best[text] = own.amax(dim=1).float() + bias
            words = (best[text] > 0).nonzero().squeeze(1)
            places[text, words] = mask[text].nonzero().squeeze(1)[own[words].argmax(dim=1)].int()
        start = end
    return best, places


def _many(states: Any, mask: Any, weight: Any, bias: Any) -> tuple[Any, Any]:
    """Return the largest logits and their tokens, as many texts at a time as keep a GPU busy."""
    torch: Any = import_module("torch")
    best = states.new_empty((len(states), len(weight)), dtype=torch.float32)
    places = torch.empty((len(states), len(weight)), dtype=torch.int32, device=states.device)
    rows = max(1, _GPU_LOGITS // (states.shape[1] * len(weight)))
    for at in range(0, len(states), rows):
        part = slice(at, at + rows)
        logits = torch.matmul(states[part], weight.T)
        values, indices = logits.masked_fill((mask[part] == 0).unsqueeze(-1), float("-inf")).max(dim=1)
        best[part], places[part] = values.float() + bias, indices.int()
    return best, places
