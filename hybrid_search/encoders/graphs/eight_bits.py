"""Products with constant matrices in eight bits: a quarter of the weights, and two to four times the speed.

Weights have one scale a column, values one scale a row, taken from the row itself when it comes (dynamic): so a text's
vector does not depend on what else is in its batch, as it does with one scale for all of it. Source: Dettmers et al.
2022, arXiv 2208.07339, section 2 (vector-wise quantisation). Word embeddings and everything that is no product with a
matrix stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.graphs.derived import Made
from hybrid_search.encoders.graphs.edit import FUSED, Edit
from hybrid_search.encoders.graphs.skeleton import Maps

Array = NDArray[Any]

# Seven bits: where a processor adds two products into sixteen bits before it widens them, eight overflow.
_LEVELS = 63
_MIDDLE = 128
_LEAST_NUMBERS = 1 << 12
"""A smaller matrix, such as a classifier's, is not worth its loss."""


def in_eight_bits(made: Made, maps: Maps) -> Made:
    """The same graph with its products in eight bits; what it was given stays as it is.

    Args:
        made: a graph in fp32.
        maps: what gives its weights.
    """
    import onnx

    model = onnx.ModelProto.FromString(made.graph)
    values = {name: maps.array(weight) for name, weight in made.old.items()}
    edit = Edit(model, {**values, **made.new})
    new: dict[str, Array] = {}
    rows: dict[str, tuple[str, str]] = {}
    for node in list(edit.graph.node):
        kernel = _kernel(edit, node)
        if kernel is None:
            continue
        whole, scale = quantised(kernel)
        names = f"{node.output[0]}/whole", f"{node.output[0]}/scale"
        new.update(zip(names, (whole, scale), strict=True))
        for name, array in zip(names, (whole, scale), strict=True):
            edit.outside(name, array)
        if node.input[0] not in rows:
            rows[node.input[0]] = _row_by_row(edit, node.input[0])
        value, row_scale = rows[node.input[0]]
        zeros = edit.constant([_MIDDLE], np.uint8), edit.constant([0], np.int8)
        one = edit.constant(1, np.float32)
        product = edit.add("MatMulIntegerToFloat", value, names[0], one, names[1], *zeros, domain=FUSED)
        bias = node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 else ""
        edit.take_over(node, "Mul", product, row_scale, bias=bias)
    edit.tidy()
    used = {tensor.name for tensor in model.graph.initializer}
    return made._replace(
        graph=model.SerializeToString(),
        old={name: weight for name, weight in made.old.items() if name in used},
        new={name: array for name, array in {**made.new, **new}.items() if name in used},
    )


def quantised(kernel: Array) -> tuple[Array, Array]:
    """A matrix (in, out) as int8 within -63..63, and the scale of each column: (out,)."""
    scale = np.maximum(np.abs(kernel).max(axis=0), 1e-12).astype(np.float32) / np.float32(_LEVELS)
    return np.rint(kernel / scale).astype(np.int8), scale


def _kernel(edit: Edit, node: Any) -> Array | None:
    """The constant matrix that a node multiplies with; None where it does not, or the matrix is small."""
    if node.op_type not in ("MatMul", "Gemm"):
        return None
    kernel = edit.value(node.input[1])
    if kernel is None or kernel.ndim != 2 or kernel.dtype != np.float32 or kernel.size < _LEAST_NUMBERS:
        return None
    if node.op_type == "MatMul":
        return kernel
    given = {attribute.name: attribute for attribute in node.attribute}
    plain = all(given[name].f == 1 for name in ("alpha", "beta") if name in given)
    if not plain or ("transA" in given and given["transA"].i):
        return None
    return kernel.T if "transB" in given and given["transB"].i else kernel


def _row_by_row(edit: Edit, value: str) -> tuple[str, str]:
    """The value as uint8 around 128, and what each of its rows is to be multiplied with."""
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
