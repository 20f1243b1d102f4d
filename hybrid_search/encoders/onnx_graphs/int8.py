"""Converts products with constant matrices to int8: a quarter of the weights, two to four times the speed.

Weights have one scale per column, values one scale per row, computed from the row itself at run time (dynamic). So a
text's vector does not depend on the rest of its batch, as it would with one scale for the whole batch. Source: Dettmers
et al. 2022, arXiv 2208.07339, section 2 (vector-wise quantisation). Word embeddings and everything that is not a
product with a constant matrix stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.onnx_graphs.artifacts import GraphDraft
from hybrid_search.encoders.onnx_graphs.edit import FUSED, Edit, kernel_of
from hybrid_search.encoders.onnx_graphs.weights import WeightFiles

Array = NDArray[Any]

# Seven bits: where a processor adds two products into sixteen bits before it widens them, eight overflow.
_LEVELS = 63
_MIDDLE = 128


def quantize_int8(made: GraphDraft, maps: WeightFiles) -> GraphDraft:
    """Return the graph with its products in int8. Its inputs stay as they are.

    Args:
        made: a graph in fp32.
        maps: gives its weights.
    """
    import onnx

    model = onnx.ModelProto.FromString(made.graph)
    values = {name: maps.array(weight) for name, weight in made.old.items()}
    edit = Edit(model, {**values, **made.new})
    products = _Products(edit)
    for node in list(edit.graph.node):
        kernel = kernel_of(edit, node)
        if kernel is not None:
            bias = node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 else ""
            edit.take_over(node, "Identity", products.add(node.input[0], kernel, bias))
        elif node.op_type == "Attention" and node.domain == FUSED:
            _apart(edit, node, products)
    edit.tidy()
    return made.with_model(model, products.new)


class _Products:
    """Adds int8 products to a graph; the rows of a value are quantised once, however many matrices it meets."""

    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self._rows: dict[str, tuple[str, str]] = {}
        self.new: dict[str, Array] = {}

    def add(self, value: str, kernel: Array, bias: str = "") -> str:
        """Add `value @ kernel + bias`, with the bias given as the name of a value; return the name of the result."""
        edit = self._edit
        if value not in self._rows:
            self._rows[value] = _row_by_row(edit, value)
        rows, row_scale = self._rows[value]
        names = []
        for kind, array in zip(("whole", "scale"), quantize_matrix(kernel), strict=True):
            names.append(f"eight/{len(self.new)}/{kind}")
            self.new[names[-1]] = array
            edit.outside(names[-1], array)
        zeros = edit.constant([_MIDDLE], np.uint8), edit.constant([0], np.int8)
        one = edit.constant(1, np.float32)
        product = edit.add("MatMulIntegerToFloat", rows, names[0], one, names[1], *zeros, domain=FUSED)
        product = edit.add("Mul", product, row_scale)
        return edit.add("Add", product, bias) if bias else product


def quantize_matrix(kernel: Array) -> tuple[Array, Array]:
    """Return a matrix (in, out) as int8 within -63..63, and the scale of each column, shape (out,)."""
    scale = np.maximum(np.abs(kernel).max(axis=0), 1e-12).astype(np.float32) / np.float32(_LEVELS)
    return np.rint(kernel / scale).astype(np.int8), scale


def _apart(edit: Edit, node: Any, products: _Products) -> None:
    """Split onnxruntime's fused attention into three products and the rest; attention of another form stays."""
    kernel, shifts = edit.value(node.input[1]), edit.value(node.input[2])
    attributes = {attribute.name: attribute for attribute in node.attribute}
    plain = len(node.input) == 4 and not set(attributes) - {"num_heads", "mask_filter_value", "scale", "unidirectional"}
    causal = "unidirectional" in attributes and attributes["unidirectional"].i
    mask = edit.source(node.input[3]) if plain else None
    known = mask is not None and mask.op_type == "Cast" and mask.input[0] == "attention_mask"
    if kernel is None or shifts is None or causal or not known or kernel.shape[1] != len(shifts):
        return
    width = kernel.shape[1] // 3
    thirds = [slice(start, start + width) for start in range(0, 3 * width, width)]
    three = [
        products.add(node.input[0], kernel[:, third], edit.constant(shifts[third], np.float32)) for third in thirds
    ]
    options = {name: attributes[name].f for name in ("mask_filter_value", "scale") if name in attributes}
    heads = attributes["num_heads"].i
    edit.take_over(node, "MultiHeadAttention", *three, "", node.input[3], domain=FUSED, num_heads=heads, **options)


def _row_by_row(edit: Edit, value: str) -> tuple[str, str]:
    """Return the value as uint8 around 128, and the factor of each of its rows."""
    high = edit.reduce("ReduceMax", value, -1, keepdims=True)
    low = edit.add("Neg", edit.reduce("ReduceMin", value, -1, keepdims=True))
    top = edit.add("Max", high, low)
    scale = edit.add("Add", edit.add("Mul", top, edit.constant(1 / 127, np.float32)), edit.constant(1e-9, np.float32))
    flat = edit.add("Reshape", scale, edit.constant([-1], np.int64))
    middles = edit.add("Expand", edit.constant(_MIDDLE, np.uint8), edit.add("Shape", flat))
    shape = edit.add("Shape", value)
    # One scale a row is said of a matrix; the value may have any number of dimensions.
    width = edit.add("Gather", shape, edit.constant([-1], np.int64), axis=0)
    matrix = edit.add("Reshape", value, edit.add("Concat", edit.constant([-1], np.int64), width, axis=0))
    whole = edit.add("QuantizeLinear", matrix, flat, middles, axis=0)
    return edit.add("Reshape", whole, shape), scale
