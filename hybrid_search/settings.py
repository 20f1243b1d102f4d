"""Reading the settings from the environment and the config file. (`_util.config_file` reads a single one.)

A value comes from the first of these that has it: the caller's argument, `HYBRID_SEARCH_*` in the environment, the
config file, the default below.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_cache_path
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from hybrid_search._util.config_file import PREFIX, default_config_file, default_store
from hybrid_search.errors import ConfigError


def _default_cache() -> Path:
    given = os.environ.get("FASTEMBED_CACHE_PATH")
    return Path(given) if given else user_cache_path("hybrid-search", appauthor=False) / "models"


class Settings(BaseSettings):
    """The settings of a machine or a project."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", hide_input_in_errors=True
    )

    store: str = Field(
        default_factory=default_store,
        description="a folder (embedded engine), or http(s)://... (Qdrant server)",
        repr=False,  # a URL can hold a password
    )
    api_key: SecretStr | None = Field(default=None, description="of the Qdrant server")
    serve_api_key: SecretStr | None = Field(default=None, description="that `serve` asks its callers for")
    timeout_s: float = Field(default=30.0, gt=0, description="seconds that a request to a server may take")
    search_timeout_s: float = Field(
        default=5.0, gt=0, description="seconds within which a server answers a request of a search, or it fails"
    )
    tls_ca: Path | None = Field(default=None, description="certificates of the authorities that sign a server's")
    tls_cert: Path | None = Field(default=None, description="your certificate, for a server that asks for one")
    tls_key: Path | None = Field(default=None, description="the key of tls_cert, where it lies in another file")
    retry_s: float = Field(
        default=60.0, ge=0, description="seconds for which writing goes on trying when a server stops answering"
    )
    cache_dir: Path = Field(default_factory=_default_cache, description="model files")
    precision: Literal["fp32", "int8", "bf16", "fp16"] = Field(
        default="fp32", description="fp32, int8, bf16 or fp16: of the models of new collections, and of re-rankers"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto, cpu or cuda: where models run; auto is a GPU where there is one"
    )
    reranker: str | None = Field(
        default=None, description="the cross-encoder of searches that name none; the first of `models list` if not set"
    )
    mcp_token: SecretStr | None = Field(default=None, description="that clients of `mcp --http` have to send")
    threads: int | None = Field(default=None, ge=1, description="threads of a model, all cores when not set")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        config = settings_cls.model_config.get("toml_file")
        file = (TomlConfigSettingsSource(settings_cls),) if config else ()
        return (init_settings, env_settings, *file)


def load_settings(config: str | Path | None = None, **given: Any) -> Settings:
    """Read the settings. Given values that are not None take precedence.

    Args:
        given: settings by name.
        config: a TOML file, else `HYBRID_SEARCH_CONFIG`, else `default_config_file()` where it exists.

    Raises:
        ConfigError: the file is missing or no TOML, or a value or a name is invalid; every problem is listed.
    """
    named = config or os.environ.get(f"{PREFIX}CONFIG")
    file = Path(named) if named else default_config_file()
    if named and not file.is_file():
        raise ConfigError(f"There is no config file {file}. Name one that exists, or leave --config out.")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file if file.is_file() else None)

    try:
        return FromFile(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        known = ", ".join(Settings.model_fields)
        raise ConfigError(f"Settings are wrong: {problems}. Known settings: {known} (file: {file}).") from error
    except ValueError as error:
        raise ConfigError(f"{file} is no TOML file: {error}.") from error
