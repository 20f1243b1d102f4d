"""How onnxruntime is asked to run a graph here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


def open_session(graph: bytes | str, weights: Arrays, *, threads: int | None = None, quick: bool = False) -> Any:
    """An `onnxruntime.InferenceSession` on the processor.

    Args:
        graph: the ONNX file, or its path.
        weights: those that the file only names; they must outlive the session.
        threads: of one run; None means every core.
        quick: open in a third to half of the time, and run some 4 % slower: good for a handful of queries. (Which
            buffers can be shared is not planned; onnxruntime compares every pair of values for it.)
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Lengths change from batch to batch, so a plan of the memory for one of them is kept for nothing.
    options.enable_mem_pattern = False
    options.enable_mem_reuse = not quick
    # `session.set_denormal_as_zero` is left off: it changes the arithmetic of the thread that opens the session too.
    if threads is not None:
        options.intra_op_num_threads = threads
    if weights:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
