"""Opens graphs in onnxruntime."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from hybrid_search.encoders.devices import PROVIDER, ActiveDevice, NoCuda

Arrays = Mapping[str, NDArray[Any]]

logger = logging.getLogger(__name__)

_shared: list[bool] = []


def share_weights() -> None:
    """Map the weights of large models from shared files from here on (`onnx_graphs.shared_weights`)."""
    _shared.append(True)


def sharing_weights() -> bool:
    return bool(_shared)


def open_session(
    graph: bytes | str,
    weights: Arrays,
    *,
    threads: int | None = None,
    place: ActiveDevice = "cpu",
    tf32: bool = False,
    quick: bool = False,
    mapped: bool = False,
) -> Any:
    """Return an `onnxruntime.InferenceSession`.

    Args:
        graph: the ONNX file, or its path.
        weights: the weights that the file only names; they must outlive the session.
        threads: threads of one run on the processor; None means every core.
        place: the processor, or a GPU, which computes in fp32 where the graph does.
        mapped: leave the weights in the file beside the graph, so that all processes share them.
        quick: open in a third to half of the time, and run about 4 % slower: good for a handful of queries. (The
            sharing of buffers is not planned, for which onnxruntime compares every pair of values.)
        tf32: let a GPU round the factors of fp32 products to ten bits, as in fp16, which is several times faster.

    Raises:
        NoCuda: onnxruntime could not start on the GPU.
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
    if mapped:
        # Packed for the kernels, the weights would be copied, each process its own.
        options.add_session_config_entry("session.disable_prepacking", "1")
    if weights:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
    if place == "cpu":
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    # Memory by what is needed: by default it doubles, and is full before it is used.
    gpu = {"arena_extend_strategy": "kSameAsRequested", "use_tf32": str(int(tf32))}
    providers = [(PROVIDER, gpu), "CPUExecutionProvider"]
    try:
        # Its own fallback prints; without it a fault is raised.
        session = onnxruntime.InferenceSession(graph, options, providers=providers, enable_fallback=0)
    except Exception as fault:  # onnxruntime has no error type of its own
        raise NoCuda(f"onnxruntime cannot start on the GPU: {fault}") from fault
    if PROVIDER not in session.get_providers():
        raise NoCuda(
            "onnxruntime is built for CUDA but cannot start it here. It needs an NVIDIA driver, CUDA and cuDNN of the "
            "versions it was built with: pip install 'onnxruntime-gpu[cuda,cudnn]'. Take --device auto or cpu."
        )
    return session


def open_with_fallback(
    graph: bytes | str,
    weights: Arrays,
    *,
    threads: int | None,
    place: ActiveDevice,
    tf32: bool,
    quick: bool,
    strict: bool,
    mapped: bool = False,
) -> tuple[Any, ActiveDevice]:
    """Return the session and where it runs: on the processor if a GPU cannot be started, unless `strict` is set.

    Raises:
        NoCuda: `strict` is set, and the GPU cannot be started.
    """
    if place == "cuda":
        try:
            return open_session(graph, weights, threads=threads, place=place, tf32=tf32, quick=quick), place
        except NoCuda as fault:
            if strict:
                raise
            logger.warning("%s The processor is used instead.", fault)
    return open_session(graph, weights, threads=threads, quick=quick, mapped=mapped), "cpu"
