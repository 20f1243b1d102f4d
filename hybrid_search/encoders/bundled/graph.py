"""Writes a BERT as an ONNX graph from its weights, without torch.

The graph uses onnxruntime's fused operators (domain `com.microsoft`): attention, residual plus layer norm, bias plus
GELU. The optimiser would turn the plain operators into the same; writing them directly does not depend on it
recognising a pattern.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import ModelError

if TYPE_CHECKING:
    import onnx

_FUSED = "com.microsoft"
_OPSET = 17
# Of opset 17; newer files would shut out older onnxruntimes.
_IR_VERSION = 8
_DTYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8", "I32": "<i4"}

Array = NDArray[Any]


class BertShape(NamedTuple):
    """The numbers from `config.json` that the graph needs."""

    layers: int
    heads: int
    epsilon: float

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> BertShape:
        """Read them from a config. Raises ModelError if the architecture is not a plain BERT."""
        activation, positions = config.get("hidden_act"), config.get("position_embedding_type", "absolute")
        if activation != "gelu" or positions != "absolute":
            raise ModelError(f"Not a plain BERT: hidden_act {activation!r}, positions {positions!r}.")
        return cls(config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"])


class Graph:
    """Nodes and weights under construction. Names of values are returned, never chosen by the caller."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def weight(self, array: Array) -> str:
        """Add a constant and return its name; floats become float32."""
        from onnx import numpy_helper

        constant = array.astype(np.float32) if array.dtype.kind == "f" else array
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(constant), name))
        return name

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operator and return the name of its (first) output."""
        from onnx import helper

        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], domain=domain, **attributes))
        return name

    def model(
        self, inputs: Mapping[str, tuple[str, ...]], outputs: Mapping[str, tuple[str, tuple[str | int, ...]]]
    ) -> Any:
        """Finish the graph and return it as an `onnx.ModelProto`.

        Args:
            inputs: name -> dimension names; all are int64.
            outputs: name -> (value to give that name, its dimensions); all are float32.
        """
        from onnx import TensorProto, helper

        named = [helper.make_node("Identity", [value], [name]) for name, (value, _) in outputs.items()]
        graph = helper.make_graph(
            [*self._nodes, *named],
            "bert",
            [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, (_, shape) in outputs.items()],
            self._weights,
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="hybrid-search")


def bert_body(graph: Graph, shape: BertShape, weights: Mapping[str, Array], *, token_types: str | None = None) -> str:
    """Add embeddings and transformer layers; return the name of the last hidden states (batch, length, hidden).

    The graph must have int64 inputs `input_ids` and `attention_mask`, both (batch, length).

    Args:
        graph: the graph to add to.
        shape: the model's shape.
        weights: name -> array, as transformers names them, without the leading `bert.`.
        token_types: the name of an int64 input (batch, length); None if every token is of type 0.

    Raises:
        ModelError: a weight is missing.
    """
    take = _Weights(weights)
    types = take["embeddings.token_type_embeddings.weight"]
    positions = take["embeddings.position_embeddings.weight"]
    words = graph.add("Gather", graph.weight(take["embeddings.word_embeddings.weight"]), "input_ids")
    length = graph.add("Slice", graph.add("Shape", "input_ids"), *(graph.weight(np.array([n])) for n in (1, 2)))
    table = graph.weight(positions if token_types else positions + types[0])
    places = graph.add("Slice", table, graph.weight(np.array([0])), length, graph.weight(np.array([0])))
    hidden = graph.add("Add", words, places)
    if token_types:
        hidden = graph.add("Add", hidden, graph.add("Gather", graph.weight(types), token_types))
    norm = [graph.weight(take[f"embeddings.LayerNorm.{part}"]) for part in ("weight", "bias")]
    hidden = graph.add("LayerNormalization", hidden, *norm, axis=-1, epsilon=shape.epsilon)
    mask = graph.add("Cast", "attention_mask", to=6)  # int32, what the fused attention wants
    for number in range(shape.layers):
        hidden = _layer(graph, shape, take, f"encoder.layer.{number}.", hidden, mask)
    return hidden


def mean_pooling(graph: Graph, hidden: str) -> str:
    """Add mean pooling over the attended tokens and L2 normalisation: (batch, hidden), unit length.

    The division of the mean is left out, because the normalisation undoes any scale.
    """
    mask = graph.add("Cast", graph.add("Unsqueeze", "attention_mask", graph.weight(np.array([1]))), to=1)
    pooled = graph.add("Squeeze", graph.add("MatMul", mask, hidden), graph.weight(np.array([1])))
    return graph.add("LpNormalization", pooled, axis=-1, p=2)


def sentence_encoder(config: Mapping[str, Any], weights: Mapping[str, Array]) -> onnx.ModelProto:
    """Return a whole sentence encoder: `input_ids`, `attention_mask` -> `sentence_embedding` (batch, hidden)."""
    graph = Graph()
    pooled = mean_pooling(graph, bert_body(graph, BertShape.of(config), weights))
    batch = ("batch", "length")
    model: onnx.ModelProto = graph.model(
        {"input_ids": batch, "attention_mask": batch},
        {"sentence_embedding": (pooled, ("batch", config["hidden_size"]))},
    )
    return model


def read_safetensors(path: Path) -> dict[str, Array]:
    """Return the tensors of a `.safetensors` file by name, as read-only views of its content.

    The library safetensors is not used, because neither the core nor the extra `minilm` installs it.

    Source: the format is eight bytes little-endian length, a JSON header of that length, then raw row-major data.

    Raises:
        ModelError: the file is cut off or not of this format.
    """
    content = path.read_bytes()
    try:
        (size,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8 : 8 + size])
        header.pop("__metadata__", None)
        data = memoryview(content)[8 + size :]
        tensors = {}
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(data[start:end], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    except (struct.error, ValueError, KeyError, TypeError) as fault:
        raise ModelError(f"{path} is damaged or no safetensors file: {fault}") from fault
    return tensors


class _Weights:
    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights

    def __getitem__(self, name: str) -> Array:
        try:
            return self._weights[name]
        except KeyError:
            raise ModelError(f"The weights lack {name!r}; they are not those of a BERT encoder.") from None


def _layer(graph: Graph, shape: BertShape, take: _Weights, at: str, hidden: str, mask: str) -> str:
    def norm(part: str, value: str, residual: str) -> str:
        gain, shift = (graph.weight(take[f"{at}{part}.LayerNorm.{kind}"]) for kind in ("weight", "bias"))
        bias = graph.weight(take[f"{at}{part}.dense.bias"])
        names = (value, residual, gain, shift, bias)
        return graph.add("SkipLayerNormalization", *names, domain=_FUSED, epsilon=shape.epsilon)

    def times(part: str, value: str) -> str:
        return graph.add("MatMul", value, graph.weight(take[f"{at}{part}.dense.weight"].T))

    three = [f"{at}attention.self.{part}" for part in ("query", "key", "value")]
    kernel = graph.weight(np.concatenate([take[f"{name}.weight"].T for name in three], axis=1))
    bias = graph.weight(np.concatenate([take[f"{name}.bias"] for name in three]))
    attended = graph.add("Attention", hidden, kernel, bias, mask, domain=_FUSED, num_heads=shape.heads)
    hidden = norm("attention.output", times("attention.output", attended), hidden)
    inner = graph.weight(take[f"{at}intermediate.dense.bias"])
    lifted = graph.add("BiasGelu", times("intermediate", hidden), inner, domain=_FUSED)
    return norm("output", times("output", lifted), hidden)
