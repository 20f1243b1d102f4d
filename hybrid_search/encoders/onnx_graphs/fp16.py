"""Converts products with constant matrices to fp16, for GPUs: half the weights, and a multiple of fp32's speed there.

As in mixed precision, only the products are in fp16; their factors are cast on the way in, their results on the way
out. Word embeddings, biases, layer norms, softmax outside of fused attention, and pooling stay in fp32. So sums are in
fp16 only inside a product, where GPUs add in fp32. Source: Micikevicius et al. 2018, arXiv 1710.03740.

Products of two computed values (attention that is not fused) stay in fp32 too: they can leave the range of fp16, and a
GPU computes them with rounded factors (`onnx_session.open_session`).

Proven by tests on a processor, which casts what it cannot compute: the graph runs, vectors of small models have a
cosine above 0.9999 to those of fp32, and a matrix beyond the range of fp16 stays in fp32. Not proven, for want of a
GPU: that onnxruntime runs the graph on one, how fast it is, and how close its vectors are there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.onnx_graphs.artifacts import GraphDraft
from hybrid_search.encoders.onnx_graphs.edit import FLOAT, FLOAT16, FUSED, Edit, kernel_of
from hybrid_search.encoders.onnx_graphs.weights import WeightFiles

Array = NDArray[Any]

_LARGEST = float(np.finfo(np.float16).max)


def convert_to_fp16(made: GraphDraft, maps: WeightFiles) -> GraphDraft:
    """Return the graph with its products in fp16. Its inputs stay as they are, and its output is fp32.

    Args:
        made: a graph in fp32.
        maps: gives its weights.
    """
    import onnx

    model = onnx.ModelProto.FromString(made.graph)
    values = {name: maps.array(weight) for name, weight in made.old.items()}
    products = _Products(Edit(model, {**values, **made.new}))
    for node in list(model.graph.node):
        products.replace(node)
    products.edit.tidy()
    return made.with_model(model, products.new)


class _Products:
    """Adds fp16 products to a graph; a value is cast once, however many matrices it meets."""

    def __init__(self, edit: Edit) -> None:
        self.edit = edit
        self.new: dict[str, Array] = {}
        self._cast: dict[str, str] = {}
        self._readers: dict[str, list[Any]] = {}
        for node in edit.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def replace(self, node: Any) -> None:
        """Convert this node to fp16 if it is a product."""
        edit = self.edit
        if node.op_type == "Attention" and node.domain == FUSED:
            return self._attention(node)
        kernel = kernel_of(edit, node)
        if kernel is None or not _fits(kernel):
            return None
        product = edit.add("MatMul", self._half(node.input[0]), self._weight(kernel))
        bias = node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 else ""
        top = None if bias else self._maximum(node.output[0])
        if top is None:
            product = edit.add("Cast", product, to=FLOAT)
            return edit.take_over(node, "Identity", edit.add("Add", product, bias) if bias else product)
        # The maximum of a SPLADE model's logits is the same in fp16, and the largest array of all is never cast.
        top.input[0] = product
        return edit.put_behind(top, "Cast", to=FLOAT)

    def _attention(self, node: Any) -> None:
        """Convert onnxruntime's fused attention as a whole; its kernels keep the softmax in fp32."""
        edit = self.edit
        kernel, shifts = edit.value(node.input[1]), edit.value(node.input[2])
        masked = len(node.input) in (3, 4)  # a past, and biases of positions, would have to be cast as well
        if not masked or kernel is None or shifts is None or kernel.dtype != np.float32 or not _fits(kernel, shifts):
            return
        node.input[0] = self._half(node.input[0])
        node.input[1], node.input[2] = self._weight(kernel), self._weight(shifts)
        edit.put_behind(node, "Cast", to=FLOAT)

    def _maximum(self, name: str) -> Any:
        """Return the single reader of a value if it takes the maximum; None otherwise."""
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and readers[0].op_type == "ReduceMax" else None

    def _half(self, name: str) -> str:
        if name not in self._cast:
            self._cast[name] = self.edit.add("Cast", name, to=FLOAT16)
        return self._cast[name]

    def _weight(self, array: Array) -> str:
        name = f"sixteen/{len(self.new)}"
        self.new[name] = np.ascontiguousarray(array, dtype=np.float16)
        self.edit.outside(name, self.new[name])
        return name


def _fits(*arrays: Array) -> bool:
    """Return whether all numbers are within the range of fp16."""
    return all(float(np.abs(array).max(initial=0)) <= _LARGEST for array in arrays)
