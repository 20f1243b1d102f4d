"""Builds a derived graph with the `onnx` package.

Runs once per model; loading a cached graph never imports this module.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hybrid_search.encoders.onnx_graphs.artifacts import OWN, GraphDraft, Source, load_original, pack_weights
from hybrid_search.encoders.onnx_graphs.edit import Edit
from hybrid_search.encoders.onnx_graphs.pooling import OutputSpec, fuse_pooling, input_types
from hybrid_search.encoders.onnx_graphs.weights import WeightFiles


def make(source: Source, wanted: OutputSpec, precision: str) -> GraphDraft:
    """Derive a graph from a model's own.

    Raises:
        ModelError: the original is damaged or has no usable output.
    """
    if source.make is None:
        return _from(source, source.folder, wanted, precision)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source.make(Path(folder))
        made = _from(source, Path(folder), wanted, precision)
        # The folder goes, and what lies in it must stay.
        maps = WeightFiles(Path(folder))
        copies = {name: maps.array(weight).copy() for name, weight in made.old.items()}
        return made._replace(old={}, new={**made.new, **copies})


def _from(source: Source, folder: Path, wanted: OutputSpec, precision: str) -> GraphDraft:
    model, weights = load_original(source, folder)
    maps = WeightFiles(folder)
    edit = Edit(model, {name: maps.array(weight) for name, weight in weights.items()})
    pooled = fuse_pooling(edit, wanted)
    used = {tensor.name for tensor in model.graph.initializer}
    old = {name: weight for name, weight in weights.items() if name in used}
    made = GraphDraft(model.SerializeToString(), old, {}, input_types(model), pooled)
    if precision == "int8":
        from hybrid_search.encoders.onnx_graphs.int8 import quantize_int8

        return quantize_int8(made, maps)
    if precision == "fp16":
        from hybrid_search.encoders.onnx_graphs.fp16 import convert_to_fp16

        return convert_to_fp16(made, maps)
    return _whole(made, maps) if precision == "bf16" else made


def _whole(made: GraphDraft, maps: WeightFiles) -> GraphDraft:
    """Return the same graph with all its weights in the file beside it, so that any runtime can read it."""
    import onnx

    new = {name: maps.array(weight) for name, weight in made.old.items()}
    _, places = pack_weights(new)
    model = onnx.ModelProto.FromString(made.graph)
    for tensor in model.graph.initializer:
        if tensor.name in places:
            del tensor.external_data[:]
            facts = {"location": OWN, "offset": places[tensor.name].offset, "length": places[tensor.name].size}
            for key, value in facts.items():
                tensor.external_data.add(key=key, value=str(value))
    return made._replace(graph=model.SerializeToString(), old={}, new=new)
