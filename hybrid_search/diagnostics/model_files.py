"""Checks of the model files on this machine, bundled and cached, and of the hub that others come from."""

from __future__ import annotations

import importlib.metadata
import os
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterator
from hashlib import sha256
from pathlib import Path

from hybrid_search.diagnostics.diagnosis import Diagnosis, about, guarded
from hybrid_search.encoders import hub
from hybrid_search.encoders.bundled.package import INSTALL_WITHOUT_TORCH, OWN_FOLDER, PACKAGE
from hybrid_search.encoders.catalog import BUNDLED_HYBRID, cards
from hybrid_search.errors import DISTRIBUTION
from hybrid_search.settings import Settings
from hybrid_search.types import ModelCard

MODELS = "models"

OWN_HASHES = {
    "model.onnx": "40f7d8edbe76d4c22b8402e1286ef8c40cbc348c340a18dd0ff4fc90a998691b",
    "tokenizer.json": "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66",
}
"""SHA-256 of the files of the model that ships in this package."""


def check_model_files(settings: Settings, used: Collection[str], deep: bool) -> list[Diagnosis]:
    """Return every finding on the model files.

    Args:
        settings: where models are cached.
        used: the models of the collections that are looked at. Their files are read; of others, only with `deep`.
        deep: read every file.
    """
    here = [one for one in cards() if one.source and hub.is_here(one, settings.cache_dir)]
    read = [one for one in here if deep or one.name in used]
    found = guarded("bundled model", MODELS, check_own_files, OWN_FOLDER)
    found += guarded("bundled dense model", MODELS, check_package_files)
    for one in read:
        found += guarded(one.name, MODELS, check_cached, one, settings.cache_dir)
    if len(here) > len(read):
        text = f"{about(len(here) - len(read), 'other model')} in the cache, whose files are read with --deep"
        found.append(Diagnosis("cached models", MODELS, "ok", text))
    return found + guarded("hub", MODELS, check_hub)


def check_own_files(folder: Path) -> Iterator[Diagnosis]:
    """Compare the files of the bundled model with what they must hold."""
    wrong = [text for name, expected in OWN_HASHES.items() if (text := _difference(folder / name, expected))]
    command = f"pip install --force-reinstall --no-deps {DISTRIBUTION}"
    for text in wrong:
        yield Diagnosis("bundled model", MODELS, "problem", f"{BUNDLED_HYBRID}: {text}", command)
    if not wrong:
        yield Diagnosis("bundled model", MODELS, "ok", f"{BUNDLED_HYBRID}: every byte as it was made")


def _difference(file: Path, expected: str) -> str:
    if not file.is_file():
        return f"{file} is missing"
    return "" if sha256(file.read_bytes()).hexdigest() == expected else f"{file} holds other bytes than it must"


def check_package_files() -> Iterator[Diagnosis]:
    """Compare the files of the dense model's package, where it is installed, with what its wheel records."""
    try:
        files = importlib.metadata.files(PACKAGE.replace("_", "-")) or []
    except importlib.metadata.PackageNotFoundError:
        return
    wrong = []
    for file in files:
        if file.hash is None or file.hash.mode != "sha256" or "model" not in file.parts:
            continue
        there = Path(str(file.locate()))
        made = sha256(there.read_bytes()).digest() if there.is_file() else b""
        if urlsafe_b64encode(made).rstrip(b"=").decode() != file.hash.value:
            wrong.append(str(there))
    if wrong:
        text = f"{wrong[0]} is missing, or holds other bytes than were installed"
        yield Diagnosis("bundled dense model", MODELS, "problem", text, f"{INSTALL_WITHOUT_TORCH} --force-reinstall")
    else:
        yield Diagnosis("bundled dense model", MODELS, "ok", f"{PACKAGE}: every byte as it was installed")


def check_cached(model: ModelCard, cache_dir: Path) -> Iterator[Diagnosis]:
    """Read the files of a cached model, and compare them with what the cache says about them."""
    checks = hub.verify(model, cache_dir)
    damaged = [check.name for check in checks if check.sound is False]
    if damaged:
        text = f"{', '.join(damaged)} is damaged: other bytes than the hub has"
        yield Diagnosis(model.name, MODELS, "problem", text, f"hybrid-search models download {model.name}")
        return
    known = sum(check.sound is True for check in checks)
    yield Diagnosis(model.name, MODELS, "ok", f"{known} of {about(len(checks), 'file')} compared with what the hub has")


def check_hub() -> Iterator[Diagnosis]:
    """Say whether new models can be downloaded. Nothing that is here needs it."""
    if any(os.environ.get(name, "0").upper() not in ("", "0", "FALSE", "NO", "OFF") for name in _OFFLINE):
        yield Diagnosis("hub", MODELS, "ok", "offline mode is on: models come from this machine alone")
    elif hub.hub_answers():
        yield Diagnosis("hub", MODELS, "ok", "the hub answers: models can be downloaded")
    else:
        yield Diagnosis("hub", MODELS, "ok", "the hub does not answer: no model can be downloaded; those here work")


_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
