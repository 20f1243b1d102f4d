"""Runs graphs with OpenVINO in bf16, on processors that multiply in it. An extra.

bf16 has the range of fp32 and eight bits of precision. Vectors stay within a few thousandths of fp32, at several times
the speed if the processor has AMX or AVX512_BF16. On others it would be slower than fp32, so it is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hybrid_search._util.extras import check_extra
from hybrid_search.errors import ModelError

NEEDED = ("amx_bf16", "avx512_bf16")
_HINT = "bf16"


def require(name: str) -> None:
    """Refuse if this machine cannot run a model in bf16.

    Args:
        name: the model's name, for the message.

    Raises:
        ModelError: the processor has no bf16.
        MissingExtra: OpenVINO is not installed.
    """
    processor, flags = _processor()
    if flags is not None and not flags & set(NEEDED):
        raise ModelError(
            f"{name} cannot run in bf16 here: it needs a processor with AMX or AVX512_BF16, and this one "
            f"({processor}) has neither. Take int8, which every processor runs, or fp32."
        )
    check_extra("openvino", f"{name} in bf16")


class OpenVinoSession:
    """A compiled graph with the `run` method of onnxruntime's session. Safe to use from many threads.

    Args:
        graph: an ONNX file, its weights beside it.
        threads: threads of one run; None means every core.
    """

    def __init__(self, graph: Path, threads: int | None = None) -> None:
        import openvino

        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINT, "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        self._core = openvino.Core()
        self._compiled: Any = self._core.compile_model(str(graph), "CPU", options)
        self._requests = threading.local()

    def run(self, outputs: Sequence[str], given: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        found = self._requests.own.infer(dict(given))
        return [found[name].copy() for name in outputs]


def _processor() -> tuple[str, set[str] | None]:
    """Return the processor's name and its features; None for the features if the system does not list them."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return "", None
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    values = {name.strip(): value.strip() for name, value in facts.items()}
    flags = values.get("flags")
    return values.get("model name", "unknown"), None if flags is None else set(flags.split())
