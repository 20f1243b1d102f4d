"""Decides where a model runs: on the processor, or on a GPU through CUDA.

ONNX models need the package onnxruntime-gpu for a GPU, torch models a torch that finds one. Graphs in int8 or bf16, and
what fastembed runs, stay on the processor. The device belongs to the machine: a collection does not record it and can
be searched on any.

This was written without a GPU at hand. Fakes and the processor's half of the work hold what would run on one; the tests
marked `gpu` are to prove it on a machine that has one.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Mapping
from functools import cache
from typing import Literal

from hybrid_search._util import quiet_warnings
from hybrid_search._util.extras import are_installed, check_extra
from hybrid_search.encoders.hub import has_files
from hybrid_search.errors import ModelError
from hybrid_search.manifest import Precision
from hybrid_search.types import ModelCard

Device = Literal["auto", "cpu", "cuda"]
"""The requested device; `auto` takes a GPU if there is one."""

ActiveDevice = Literal["cpu", "cuda"]
"""Where a model then runs."""

Sizes = Mapping[ActiveDevice, tuple[int, int]]
"""(tokens, texts) of one batch, by device."""

PROVIDER = "CUDAExecutionProvider"
_INSTEAD = "Take --device auto or cpu"


class NoCuda(ModelError):
    """A GPU was requested for a model that cannot run on one here."""


def resolve_device(card: ModelCard, precision: Precision, device: Device) -> ActiveDevice:
    """Return where a model runs.

    Args:
        card: the model. One without a network (BM25, word vectors from a table) always runs on the processor.
        precision: the precision it runs in.
        device: the requested device.

    Raises:
        NoCuda: the device is `cuda`, and the model runs on the processor only or there is no CUDA here.
        MissingExtra: the device is `cuda`, and torch, which this model needs, is not installed.
    """
    if device == "cpu" or _needs_no_network(card):
        return "cpu"
    why = _bound(card, precision)
    if not why:
        why = _lacking(card)
        if not why:
            return "cuda"
    if device == "auto":
        return "cpu"
    if card.runtime == "torch":
        check_extra("torch", f"The model {card.name}")
    raise NoCuda(f"{card.name} cannot run on cuda: {why}")


def check_building(card: ModelCard, precision: Precision, device: Device) -> None:
    """Refuse to build a collection in fp16 without a GPU: a processor computes it in fp32 and gains nothing.

    What was built in fp16 elsewhere can be searched and extended on any machine.

    Raises:
        ModelError: the precision is fp16 and there is no GPU; or as `resolve_device` raises.
    """
    if precision == "fp16" and resolve_device(card, precision, device) != "cuda":
        why = "the device is cpu." if device == "cpu" else _lacking(card)
        raise ModelError(
            f"{card.name} is not built in fp16 here: fp16 is for GPUs, and {why} Take int8, which processors are "
            "fast in, or fp32. A collection that was built in fp16 elsewhere can be searched here."
        )


def release_memory() -> None:
    """Release the GPU memory that torch caches, after memory ran out."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


@cache
def onnx_has_cuda() -> bool:
    """Return whether this onnxruntime was built for CUDA. Whether CUDA starts shows when a graph is opened."""
    import onnxruntime

    if getattr(onnxruntime, "cuda_version", "") and hasattr(onnxruntime, "preload_dlls"):
        # CUDA's libraries where pip put them. What is missing of them it prints; that matters when a graph is opened.
        with contextlib.redirect_stdout(io.StringIO()), quiet_warnings(), contextlib.suppress(Exception):
            onnxruntime.preload_dlls()
    return PROVIDER in onnxruntime.get_available_providers()


def torch_has_cuda() -> bool:
    """Return whether torch is installed and finds a GPU."""
    if not are_installed("torch"):
        return False
    import torch

    return bool(torch.cuda.is_available())


def _needs_no_network(card: ModelCard) -> bool:
    return not has_files(card) or (card.runtime == "fastembed" and card.family not in ("bm42", "minicoil"))


def _bound(card: ModelCard, precision: Precision) -> str:
    """Return why a model stays on the processor; empty if it need not."""
    if card.runtime == "fastembed":
        return f"fastembed runs it here, on the processor. {_INSTEAD}."
    if card.runtime == "bundled" and card.kind == "hybrid":
        return (
            "its graph is in eight bits, which run on the processor. "
            f"{_INSTEAD}, or another model (such as --profile splade)."
        )
    if precision in ("int8", "bf16"):
        return f"{precision} runs on the processor. {_INSTEAD}, or --precision fp16 or fp32."
    return ""


def _lacking(card: ModelCard) -> str:
    """Return what a model lacks here to run on a GPU; empty if nothing."""
    if card.runtime == "torch":
        if torch_has_cuda():
            return ""
        return (
            "torch finds no GPU here. It needs an NVIDIA driver and a torch built for CUDA "
            f"(https://pytorch.org/get-started/locally). {_INSTEAD}."
        )
    if onnx_has_cuda():
        return ""
    return (
        f"this onnxruntime has no {PROVIDER}. Put the package onnxruntime-gpu in its place: "
        "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]' (Linux and Windows, with an NVIDIA "
        f"driver). {_INSTEAD}."
    )
