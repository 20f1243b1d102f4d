"""Fuses pooling into a graph, so that the runtime gives one row per text instead of one per token.

SPLADE: the maximum of the logits over the tokens, (batch, vocabulary). The logarithm is taken later, only of the few
hundred values above 0; that is allowed because logarithm and ReLU are monotonic. Dense: mean, first or last token,
(batch, dim). Padding does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hybrid_search.encoders.onnx_graphs.edit import BOOL, FLOAT, FLOAT16, Edit, rank_of
from hybrid_search.errors import ModelError

if TYPE_CHECKING:
    import onnx

OUTPUT = "pooled"
"""The name of a derived graph's only output."""

_MASK = "attention_mask"
_FAR_BELOW = -1e4
_POOLED_NAMES = ("sentence_embedding", "pooled", "pooler_output")


class OutputSpec(NamedTuple):
    """What the graph is to give.

    Args:
        family: `splade`, `inference_free_splade`, `dense` or `cross_encoder`.
        pooling: of a dense model: `mean`, `cls`, `last_token`, `none` (the graph does it), or empty if unknown.
        width: length of a row: vocabulary or dimensions; 0 if unknown.
    """

    family: str
    pooling: str = ""
    width: int = 0


class NoPooling(ModelError):
    """A dense graph gives token vectors, and its pooling is unknown."""


def fuse_pooling(edit: Edit, wanted: OutputSpec) -> bool:
    """Make the graph give one row per text.

    Returns:
        True if the rows were pooled here, False if the graph pooled them already.

    Raises:
        NoPooling: the graph gives token vectors, and its pooling is unknown.
        ModelError: the graph has no usable output.
    """
    name, rank = _chosen(edit.model, wanted)
    if rank != 3 or wanted.family == "cross_encoder":
        edit.replace_output(OUTPUT, name, ["batch", wanted.width or "width"])
        edit.tidy()
        return False
    mask = edit.input(_MASK, ("batch", "length"))
    pooled = _maximum(edit, name, mask) if wanted.family != "dense" else _vector(edit, name, mask, wanted.pooling)
    edit.replace_output(OUTPUT, pooled, ["batch", wanted.width or "width"])
    edit.tidy()
    return True


def _chosen(model: onnx.ModelProto, wanted: OutputSpec) -> tuple[str, int]:
    """Choose the output and return it with its number of dimensions: the one that fits the spec, or the first."""
    outputs = [output.name for output in model.graph.output]
    if not outputs:
        raise ModelError("The graph has no output.")
    ranks = {name: rank_of(model, name) for name in outputs}
    if wanted.family == "dense":
        if wanted.pooling == "none":
            rows = [name for name in outputs if ranks[name] == 2]
            named = [name for name in rows or outputs if name in _POOLED_NAMES]
            return ([*named, *rows, *outputs[1:], *outputs])[0], 2
        return outputs[0], ranks[outputs[0]] or (2 if outputs[0] in _POOLED_NAMES else 3)
    if wanted.family == "cross_encoder":
        return outputs[0], ranks[outputs[0]] or 2
    wide = [name for name in outputs if _width(model, name) == wanted.width > 0]
    found = next(iter([*wide, *(name for name in outputs if name == "logits"), *outputs]))
    return found, ranks[found] or 3


def _width(model: onnx.ModelProto, name: str) -> int:
    for output in model.graph.output:
        if output.name == name and output.type.tensor_type.shape.dim:
            return int(output.type.tensor_type.shape.dim[-1].dim_value)
    return 0


def _maximum(edit: Edit, logits: str, mask: str) -> str:
    """Add the maximum over the attended tokens: (batch, vocabulary).

    If the logits are a product and a bias, padding is handled before the product, on rows of hidden size: each padded
    token becomes a copy of its text's first one, which changes no maximum. The bias is added behind the maximum.
    """
    seen = edit.add("Cast", edit.add("Reshape", mask, edit.constant([0, -1, 1], np.int64)), to=BOOL)
    parts = _product(edit, logits)
    if parts is None:
        kind = np.float16 if _kind(edit, logits) == FLOAT16 else np.float32
        far = edit.constant(_FAR_BELOW, kind)
        return edit.reduce("ReduceMax", edit.add("Where", seen, logits, far), 1)
    value, kernel, bias = parts
    first = edit.add("Gather", value, edit.constant([0], np.int64), axis=1)
    masked = edit.add("Where", seen, value, first)
    top = edit.reduce("ReduceMax", edit.add("MatMul", masked, kernel), 1)
    return top if bias is None else edit.add("Add", top, bias)


def _product(edit: Edit, logits: str) -> tuple[str, str, str | None] | None:
    """Return hidden states, kernel and bias of the last layer if it is a plain product; None otherwise."""
    node, bias = edit.source(logits), None
    while node is not None and node.op_type == "Identity":
        node = edit.source(node.input[0])
    if node is not None and node.op_type == "Add":
        for place in (0, 1):
            shift, inner = edit.value(node.input[place]), edit.source(node.input[1 - place])
            if shift is not None and shift.ndim == 1 and inner is not None and inner.op_type == "MatMul":
                node, bias = inner, node.input[place]
                break
    if node is None or node.op_type != "MatMul":
        return None
    kernel = edit.value(node.input[1])
    return (node.input[0], node.input[1], bias) if kernel is not None and kernel.ndim == 2 else None


def _vector(edit: Edit, hidden: str, mask: str, pooling: str) -> str:
    """Add one vector per text, not normalised: (batch, dim)."""
    hidden = edit.add("Cast", hidden, to=FLOAT)
    if pooling == "cls":
        first = edit.constant(0, np.int64)
        return edit.add("Gather", hidden, first, axis=1)
    if pooling not in ("mean", "last_token"):
        raise NoPooling("The graph gives a vector a token, and nobody said how they become one.")
    counts = edit.add("Cast", mask, to=FLOAT)
    if pooling == "last_token":
        along = edit.add("CumSum", counts, edit.constant(1, np.int64))
        whole = edit.reduce("ReduceMax", along, 1, keepdims=True)
        counts = edit.add("Mul", edit.add("Cast", edit.add("Equal", along, whole), to=FLOAT), counts)
    seen = edit.add("Cast", edit.add("Reshape", counts, edit.constant([0, -1, 1], np.int64)), to=BOOL)
    masked = edit.add("Where", seen, hidden, edit.constant(0, np.float32))
    return edit.reduce("ReduceSum", masked, 1)


def _kind(edit: Edit, name: str) -> int:
    for output in edit.graph.output:
        if output.name == name:
            return int(output.type.tensor_type.elem_type)
    return FLOAT


def input_types(model: Any) -> dict[str, int]:
    """Return the graph's inputs and their element types, without those that are weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {
        given.name: int(given.type.tensor_type.elem_type) for given in model.graph.input if given.name not in weights
    }
