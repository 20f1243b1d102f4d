"""Edits an ONNX graph: adds nodes, gives values new sources, and removes what is left over.

What is added works in every opset from 11 on. The file's opset and IR version stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import ModelError

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

FUSED = "com.microsoft"
FLOAT, FLOAT16, BOOL, INT64 = 1, 10, 9, 7
_LEAST_OPSET = 11
_LEAST_SIDE = 16
"""A narrower matrix, such as a classifier's, is not worth its loss in eight bits."""


class Edit:
    """An ONNX graph being edited.

    Args:
        model: changed in place.
        weights: name -> value of the weights that are not in the graph itself.
    """

    def __init__(self, model: onnx.ModelProto, weights: Mapping[str, Array] | None = None) -> None:
        self.model = model
        self.graph = model.graph
        self._weights = weights or {}
        self.opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
        if self.opset < _LEAST_OPSET:
            raise ModelError(f"The graph is of opset {self.opset}; {_LEAST_OPSET} or newer is needed.")
        self._sources = {name: node for node in self.graph.node for name in node.output}
        self._constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self._names = {node.name for node in self.graph.node}
        self._made = 0

    def add(self, op: str, *inputs: str, domain: str = "", name: str = "", **attributes: Any) -> str:
        """Add an operator; return the name of its output."""
        from onnx import helper

        self._made += 1
        while f"ours/{self._made}" in self._sources or f"ours/{op}/{self._made}" in self._names:  # of an earlier edit
            self._made += 1
        output = name or f"ours/{self._made}"
        node = helper.make_node(op, list(inputs), [output], name=f"ours/{op}/{self._made}", domain=domain, **attributes)
        self.graph.node.append(node)
        self._sources[output] = node
        if domain and domain not in {one.domain for one in self.model.opset_import}:
            self.model.opset_import.append(helper.make_opsetid(domain, 1))
        return output

    def constant(self, value: Any, dtype: Any) -> str:
        from onnx import numpy_helper

        return self.add("Constant", value=numpy_helper.from_array(np.array(value, dtype=dtype)))

    def reduce(self, op: str, value: str, axis: int, *, keepdims: bool = False) -> str:
        """Add ReduceMax, ReduceMin or ReduceSum over one axis; return the name of its output."""
        takes_input = self.opset >= (13 if op == "ReduceSum" else 18)
        if takes_input:
            return self.add(op, value, self.constant([axis], np.int64), keepdims=int(keepdims))
        return self.add(op, value, axes=[axis], keepdims=int(keepdims))

    def source(self, name: str) -> Any:
        """Return the node that gives a value; None for inputs and weights."""
        return self._sources.get(name)

    def value(self, name: str) -> Array | None:
        """Return the array a name stands for if it is constant, transposed or not; None otherwise."""
        from onnx import numpy_helper

        if name in self._weights:
            return self._weights[name]
        if name in self._constants:
            found: Array = numpy_helper.to_array(self._constants[name])
            return found
        node = self.source(name)
        if node is None:
            return None
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
            found = numpy_helper.to_array(attributes["value"].t)
            return found
        if node.op_type in ("Identity", "Transpose"):
            inner = self.value(node.input[0])
            if inner is None or node.op_type == "Identity":
                return inner
            return np.transpose(inner, list(attributes["perm"].ints) if "perm" in attributes else None)
        return None

    def outside(self, name: str, array: Array) -> None:
        """Add a weight whose value lies in another file."""
        from onnx import TensorProto, helper

        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=array.shape, data_location=TensorProto.EXTERNAL)
        for key, text in (("location", "elsewhere"), ("offset", "0"), ("length", str(array.nbytes))):
            tensor.external_data.add(key=key, value=text)
        self.graph.initializer.append(tensor)

    def take_over(self, node: Any, op: str, *inputs: str, **attributes: Any) -> None:
        """Replace a node by an operator."""
        name = node.output[0]
        node.output[0] = f"{name}/before"
        self.add(op, *inputs, name=name, **attributes)

    def put_behind(self, node: Any, op: str, **attributes: Any) -> None:
        """Add an operator behind a node: all readers of the node's output read the operator's output instead."""
        name = node.output[0]
        node.output[0] = f"{name}/inner"
        self._sources[node.output[0]] = node
        self.add(op, node.output[0], name=name, **attributes)

    def input(self, name: str, shape: Iterable[str], kind: int = INT64) -> str:
        """Return the graph's input of this name, added if it is missing."""
        from onnx import helper

        if all(one.name != name for one in self.graph.input):
            self.graph.input.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def replace_output(self, name: str, value: str, shape: list[str | int]) -> None:
        """Make the graph give one value, as float32, and nothing else."""
        from onnx import helper

        self.add("Cast", value, name=name, to=FLOAT)
        del self.graph.output[:]
        self.graph.output.append(helper.make_tensor_value_info(name, FLOAT, shape))

    def tidy(self) -> None:
        """Drop what no output needs, and sort the rest so that it can run."""
        needed: dict[int, Any] = {}
        ready: list[Any] = []
        stack = [(node, False) for output in self.graph.output if (node := self.source(output.name)) is not None]
        while stack:
            node, seen = stack.pop()
            if seen:
                ready.append(node)
                continue
            if id(node) in needed:
                continue
            needed[id(node)] = node
            stack.append((node, True))
            stack += [(before, False) for name in _read(node) if (before := self.source(name)) is not None]
        copies = [type(node).FromString(node.SerializeToString()) for node in ready]
        del self.graph.node[:]
        self.graph.node.extend(copies)
        used = {name for node in copies for name in _read(node)} | {output.name for output in self.graph.output}
        initializers = [tensor for tensor in self.graph.initializer if tensor.name in used]
        initializers = [type(tensor).FromString(tensor.SerializeToString()) for tensor in initializers]
        del self.graph.initializer[:]
        self.graph.initializer.extend(initializers)
        del self.graph.value_info[:]


def rank_of(model: onnx.ModelProto, name: str) -> int | None:
    """Return the number of dimensions of one of the graph's outputs; None if it is unknown."""
    from onnx import shape_inference

    def told(known: Any) -> int | None:
        for output in known.graph.output:
            if output.name == name and output.type.tensor_type.HasField("shape"):
                return len(output.type.tensor_type.shape.dim)
        return None

    found = told(model)
    if found is None:
        try:
            found = told(shape_inference.infer_shapes(model))
        except Exception:  # what it raises depends on what it does not know
            return None
    return found


def _read(node: Any) -> set[str]:
    """Return the values a node reads, including those that its inner graphs take from outside."""
    found = {name for name in node.input if name}
    for attribute in node.attribute:
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            inside = {name for inner in graph.node for name in inner.output}
            inside |= {tensor.name for tensor in graph.initializer} | {given.name for given in graph.input}
            found |= {name for inner in graph.node for name in _read(inner)} - inside
            found |= {output.name for output in graph.output} - inside
    return found


def kernel_of(edit: Edit, node: Any) -> Array | None:
    """Return the constant matrix that a node multiplies with; None if there is none or it is small."""
    if node.op_type not in ("MatMul", "Gemm"):
        return None
    kernel = edit.value(node.input[1])
    if kernel is None or kernel.ndim != 2 or kernel.dtype != np.float32 or min(kernel.shape) < _LEAST_SIDE:
        return None
    if node.op_type == "MatMul":
        return kernel
    attributes = {attribute.name: attribute for attribute in node.attribute}
    plain = all(attributes[name].f == 1 for name in ("alpha", "beta") if name in attributes)
    if not plain or ("transA" in attributes and attributes["transA"].i):
        return None
    return kernel.T if "transB" in attributes and attributes["transB"].i else kernel
