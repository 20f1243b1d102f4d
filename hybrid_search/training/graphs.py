"""Writes a trained model as an ONNX graph: input_ids, attention_mask -> logits (batch, length, vocabulary).

A plain BERT is written operator by operator, with onnxruntime's fused operators (`encoders/bundled/graph.py`). Any
other transformer goes through torch's exporter. The family of the folder decides what an encoder does behind the
logits; if the model does something else, the graph makes up for it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util import quiet_warnings
from hybrid_search.encoders.bundled.graph import BertShape, Graph, bert_body
from hybrid_search.errors import ModelError, TrainingError
from hybrid_search.training.models import is_inference_free
from hybrid_search.training.pooling import parts

_INPUTS = ("input_ids", "attention_mask")
_OPSET = 17


def onnx_model(model: Any, *, tied: bool = True) -> bytes:
    """Return the serialised graph of the model's document side.

    Args:
        model: a SparseEncoder of sentence-transformers.
        tied: store the word embeddings once, for input and output; a quantiser needs them apart.

    Raises:
        TrainingError: the transformer cannot be exported.
    """
    transformer, pooling = parts(model)
    mlm = transformer.auto_model
    logs = 2 if pooling.activation_function == "log1p_relu" else 1
    read_logs = 2 if is_inference_free(model) else 1
    config = mlm.config.to_dict()
    try:
        shape = BertShape.of(config) if config.get("model_type") == "bert" else None
    except ModelError:
        shape = None
    if shape is None:
        return _trace(mlm, logs - read_logs)
    return _write_bert(mlm, shape, logs - read_logs, tied=tied)


def _write_bert(mlm: Any, shape: BertShape, extra_logs: int, *, tied: bool) -> bytes:
    weights = _weights(mlm)
    at = "cls.predictions."
    graph = Graph()
    value = bert_body(graph, shape, weights)
    value = graph.add("MatMul", value, graph.weight(weights[f"{at}transform.dense.weight"].T))
    bias = graph.weight(weights[f"{at}transform.dense.bias"])
    value = graph.add("BiasGelu", value, bias, domain="com.microsoft")
    norm = [graph.weight(weights[f"{at}transform.LayerNorm.{part}"]) for part in ("weight", "bias")]
    value = graph.add("LayerNormalization", value, *norm, axis=-1, epsilon=shape.epsilon)
    words = mlm.get_output_embeddings().weight.detach().float().cpu().numpy()
    kernel = graph.add("Transpose", graph.weight(words), perm=[1, 0]) if tied else graph.weight(words.T)
    value = graph.add("MatMul", value, kernel)
    value = graph.add("Add", value, graph.weight(weights[f"{at}bias"]))
    if extra_logs:
        value, one = graph.add("Relu", value), graph.weight(np.array(1.0, dtype=np.float32))
        more = extra_logs > 0
        value = (
            graph.add("Log", graph.add("Add", value, one)) if more else graph.add("Sub", graph.add("Exp", value), one)
        )
    logits = (value, ("batch", "length", len(words)))
    built = graph.model(dict.fromkeys(_INPUTS, ("batch", "length")), {"logits": logits})
    return bytes(_each_once(built).SerializeToString())


def _each_once(built: Any) -> Any:
    """Return the graph with equal weights stored once, such as word embeddings that serve both ends."""
    first: dict[tuple[Any, ...], str] = {}
    same = {}
    for weight in built.graph.initializer:
        key = (tuple(weight.dims), weight.data_type, weight.raw_data)
        same[weight.name] = first.setdefault(key, weight.name)
    for node in built.graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
    distinct = [weight for weight in built.graph.initializer if same[weight.name] == weight.name]
    del built.graph.initializer[:]
    built.graph.initializer.extend(distinct)
    return built


def _weights(mlm: Any) -> Mapping[str, NDArray[Any]]:
    return {
        name.removeprefix("bert."): tensor.detach().float().cpu().numpy() for name, tensor in mlm.state_dict().items()
    }


def _trace(mlm: Any, extra_logs: int) -> bytes:
    torch: Any = import_module("torch")

    class Logits(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.mlm, self.decoder = mlm, mlm.get_output_embeddings()

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            logits = self.mlm(input_ids=input_ids, attention_mask=attention_mask).logits
            if "forward" in vars(self.decoder):  # quickened: these are the states before it
                logits = torch.nn.functional.linear(logits, self.decoder.weight, self.decoder.bias)
            if extra_logs > 0:
                logits = torch.log1p(torch.relu(logits))
            return torch.expm1(torch.relu(logits)) if extra_logs < 0 else logits

    before = mlm.training
    device = next(mlm.parameters()).device
    examples = tuple(torch.ones((2, 7), dtype=torch.long, device=device) for _ in _INPUTS)
    content = io.BytesIO()
    try:
        with quiet_warnings(), torch.no_grad():
            torch.onnx.export(
                Logits().eval(),
                examples,
                content,
                input_names=list(_INPUTS),
                output_names=["logits"],
                dynamic_axes={name: {0: "batch", 1: "length"} for name in (*_INPUTS, "logits")},
                opset_version=_OPSET,
                dynamo=False,
            )
    except Exception as fault:  # torch's exporter raises whatever tracing meets
        raise TrainingError(
            f"torch cannot export a {mlm.config.model_type} to ONNX: {fault}. The trained weights are kept; "
            "--sparse takes their folder as well, and runs it with torch."
        ) from fault
    finally:
        mlm.train(before)
    return content.getvalue()
