"""A derived graph whose weights every process maps from one file, so that several workers hold them once.

onnxruntime maps the weights of a graph that lies on the disk with its weights beside it, aligned to pages; weights that
it is handed it copies, and so it does when it packs them anew for its kernels. Measured on a BERT-base graph, one
thread, a batch of eight: 130 MB of a process's own instead of 635 in fp32 (440 MB of weights), 190 instead of 410 in
int8, and 8 to 10 % more time in fp32.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from hybrid_search._util import atomic_write
from hybrid_search.encoders.onnx_graphs.artifacts import Derived

LEAST_BYTES = 64_000_000
"""Smaller models are not worth a second file of their weights."""

_GRAPH, _WEIGHTS = "shared.onnx", "shared.bin"
_PAGE = 4096


def is_worth_sharing(graph: Derived) -> bool:
    """Whether its weights are large, and there is a folder to keep them in."""
    return graph.file is not None and sum(weight.size for weight in graph.weights.values()) >= LEAST_BYTES


def shared(graph: Derived) -> str:
    """The path of the graph with its weights in one file beside it; written by the first process that asks.

    Args:
        graph: one that is kept in a folder.

    Raises:
        OSError: the folder cannot be written.
    """
    assert graph.file is not None
    folder = graph.file.parent
    made = folder / _GRAPH
    with FileLock(folder / "shared.lock"):
        if not made.is_file():
            _write(graph, folder)
    return str(made)


def _write(graph: Derived, folder: Path) -> None:
    import onnx

    model = onnx.ModelProto.FromString(graph.graph)
    named = [tensor for tensor in model.graph.initializer if tensor.name in graph.weights]
    at = 0
    for tensor in named:
        size = graph.weights[tensor.name].size
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", _WEIGHTS), ("offset", at), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        at += size + -size % _PAGE

    def content() -> Iterator[bytes]:
        for tensor in named:
            data = graph.maps.array(graph.weights[tensor.name]).tobytes()
            yield data
            yield bytes(-len(data) % _PAGE)

    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / _WEIGHTS, content())
    atomic_write(folder / _GRAPH, model.SerializeToString())
