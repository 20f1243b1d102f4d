"""Defines what a graph is at each step: the model's own, a new derived one, one to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.onnx_graphs.weights import TYPES, Weight, WeightFiles, strip_weights
from hybrid_search.errors import ModelError

if TYPE_CHECKING:
    import onnx

OWN = "weights.bin"
"""The file of the weights that the original graph does not have."""

_ALIGNED = 64

Array = NDArray[Any]


class Source(NamedTuple):
    """A model's own graph.

    Args:
        folder: the folder of its files.
        file: the graph's path inside the folder; the name to give it if `make` is given.
        hashes: file name -> SHA-256, of the graph and of every file with weights of it.
        make: writes the graph into a folder, for a model that has no graph of its own.
    """

    folder: Path
    file: str
    hashes: Mapping[str, str]
    make: Callable[[Path], None] | None = None


class Derived(NamedTuple):
    """A graph to run.

    Args:
        graph: the ONNX file, without its large weights.
        weights: name -> where each large weight lies; not read yet.
        maps: gives their values.
        inputs: name -> ONNX element type of the graph's inputs.
        pooled: whether the graph's rows were pooled here; then they are the plain maximum or an unscaled sum.
        file: where the graph is kept; None if it is only in memory.
    """

    graph: bytes
    weights: Mapping[str, Weight]
    maps: WeightFiles
    inputs: Mapping[str, int]
    pooled: bool
    file: Path | None = None

    def arrays(self) -> dict[str, Array]:
        return {name: self.maps.array(weight) for name, weight in self.weights.items()}


class GraphDraft(NamedTuple):
    """A new derived graph: new weights are arrays, old ones are locations."""

    graph: bytes
    old: Mapping[str, Weight]
    new: Mapping[str, Array]
    inputs: Mapping[str, int]
    pooled: bool

    def with_model(self, model: onnx.ModelProto, new: Mapping[str, Array]) -> GraphDraft:
        """Return the draft of a changed graph, which keeps the weights that this one still reads.

        Args:
            model: the changed graph.
            new: weights that came with the change, by name.
        """
        used = {tensor.name for tensor in model.graph.initializer}
        return self._replace(
            graph=model.SerializeToString(),
            old={name: weight for name, weight in self.old.items() if name in used},
            new={name: array for name, array in {**self.new, **new}.items() if name in used},
        )


def pack_weights(new: Mapping[str, Array]) -> tuple[list[bytes], dict[str, Weight]]:
    """Return new weights as the content of one file, and where each lies in it."""
    content: list[bytes] = []
    places, at = {}, 0
    for name, array in new.items():
        kind = next(kind for kind in TYPES.values() if np.dtype(kind) == array.dtype)
        data = np.ascontiguousarray(array, dtype=kind).tobytes()
        content += [data, bytes(-len(data) % _ALIGNED)]
        places[name] = Weight("", at, kind, array.shape)
        at += len(content[-2]) + len(content[-1])
    return content, places


def load_original(source: Source, folder: Path) -> tuple[Any, dict[str, Weight]]:
    """Return the original graph as an `onnx.ModelProto` without large weights, and where all of those lie.

    Args:
        source: the original graph.
        folder: where its graph is: the source's own folder, or the one it was just made in.

    Raises:
        ModelError: the graph is damaged, or its weights lie outside of its folder.
    """
    import onnx

    lean, weights = strip_weights(folder, source.file)
    try:
        model = onnx.ModelProto.FromString(lean)
    except Exception as fault:  # protobuf's own error
        raise ModelError(f"{folder / source.file} is damaged or no ONNX graph: {fault}") from fault
    home = Path(source.file).parent
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL or tensor.name in weights:
            continue
        external = {entry.key: entry.value for entry in tensor.external_data}
        place = home / external.get("location", "")
        if place.is_absolute() or ".." in place.parts or tensor.data_type not in TYPES:
            raise ModelError(f"The weight {tensor.name} of {source.file} cannot be read from {place}.")
        weights[tensor.name] = Weight(
            place.as_posix(), int(external.get("offset", 0)), TYPES[tensor.data_type], tuple(tensor.dims)
        )
    return model, weights
