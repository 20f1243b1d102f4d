"""The defaults of the settings, and reading a single setting quickly, for shell completion.

`settings` validates all of them, which takes longer than a person waits for a completion.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

from platformdirs import user_config_path, user_data_path

PREFIX = "HYBRID_SEARCH_"


def default_config_file() -> Path:
    """Return where the config file is looked for by default: `config.toml` in the user's config folder."""
    return user_config_path("hybrid-search", appauthor=False) / "config.toml"


def default_store() -> str:
    """Return where collections are stored by default: in the user's data folder."""
    return str(user_data_path("hybrid-search", appauthor=False) / "store")


def raw_setting(name: str, config: str | None = None) -> str | None:
    """Return a setting from the environment or else from the config file, as written there; None if it is in neither.

    Args:
        name: of the setting.
        config: the config file; the default one when not given.

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
