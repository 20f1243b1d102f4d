"""Libraries that speak on the terminal are kept quiet: what goes wrong is raised, the rest is told by callbacks."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import Any

_LOGGERS = ("transformers", "sentence_transformers", "accelerate", "datasets", "huggingface_hub")


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """No notes, warnings and progress bars of the training libraries, for as long as this is open."""
    theirs: Any = import_module("transformers.utils.logging")
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels, disabled = [logger.level for logger in loggers], logging.root.manager.disable
    had_bars = theirs.is_progress_bar_enabled()
    theirs.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    # The quantiser speaks through the root logger.
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if had_bars:
            theirs.enable_progress_bar()
