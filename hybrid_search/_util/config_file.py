"""What settings fall back to, and one of them read by itself: in a moment, where a key was pressed for it.

`settings` validates all of them, which takes longer than a person waits for a shell to complete a word.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

from platformdirs import user_config_path, user_data_path

PREFIX = "HYBRID_SEARCH_"


def default_config_file() -> Path:
    """Where the config file is looked for when none is named: `config.toml` in the user's config folder."""
    return user_config_path("hybrid-search", appauthor=False) / "config.toml"


def default_store() -> str:
    """Where collections lie when no store is named: in the user's data folder."""
    return str(user_data_path("hybrid-search", appauthor=False) / "store")


def raw_setting(name: str, config: str | None = None) -> str | None:
    """A setting as it stands in the environment or else in the config file; None where it stands in neither.

    Args:
        name: of the setting.
        config: the config file; the usual one when not given.

    Raises:
        OSError, ValueError: the file cannot be read.
    """
    if given := os.environ.get(f"{PREFIX}{name.upper()}"):
        return given
    named = config or os.environ.get(f"{PREFIX}CONFIG")
    file = Path(named) if named else default_config_file()
    if not named and not file.is_file():
        return None
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    value = toml.loads(file.read_text(encoding="utf-8")).get(name)
    return None if value is None else str(value)
