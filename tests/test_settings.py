"""Where settings come from, and which one wins."""

from pathlib import Path

import pytest

from hybrid_search.errors import ConfigError
from hybrid_search.settings import Settings, default_config_file, load_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """Neither the machine's settings nor its config file."""
    for name in (*(f"HYBRID_SEARCH_{field.upper()}" for field in Settings.model_fields), "HYBRID_SEARCH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("FASTEMBED_CACHE_PATH", raising=False)
    monkeypatch.setattr("hybrid_search.settings.default_config_file", lambda: tmp_path / "none.toml")


@pytest.fixture
def config(tmp_path):
    def write(text):
        file = tmp_path / "config.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_defaults_lie_in_the_users_own_folders():
    settings = load_settings()
    assert Path(settings.store).is_absolute()
    assert "hybrid-search" in settings.store
    assert settings.cache_dir.name == "models"
    assert (settings.api_key, settings.timeout_s, settings.threads) == (None, 30.0, None)
    assert default_config_file().name == "config.toml"


def test_the_first_that_has_a_value_wins(monkeypatch, config):
    file = config('store = "from-file"\nthreads = 3\ntimeout_s = 7.5\n')
    assert load_settings(file).store == "from-file"
    monkeypatch.setenv("HYBRID_SEARCH_STORE", "from-environment")
    settings = load_settings(file)
    assert (settings.store, settings.threads, settings.timeout_s) == ("from-environment", 3, 7.5)
    settings = load_settings(file, store="given", threads=None)
    assert (settings.store, settings.threads) == ("given", 3)


def test_a_config_file_can_be_named_in_the_environment(monkeypatch, config, tmp_path):
    monkeypatch.setenv("HYBRID_SEARCH_CONFIG", str(config('store = "named"')))
    assert load_settings().store == "named"
    other = tmp_path / "other.toml"
    other.write_text('store = "other"')
    assert load_settings(other).store == "other"


def test_the_users_own_config_file_is_read_where_it_exists(monkeypatch, config):
    file = config('store = "mine"')
    monkeypatch.setattr("hybrid_search.settings.default_config_file", lambda: file)
    assert load_settings().store == "mine"


@pytest.mark.parametrize("name", ["STORE", "THREADS", "CACHE_DIR"])
def test_an_empty_variable_is_as_good_as_none(monkeypatch, name):
    monkeypatch.setenv(f"HYBRID_SEARCH_{name}", "")
    assert load_settings().model_dump() == Settings(store=load_settings().store).model_dump()
    assert Path(load_settings().store).is_absolute()


def test_the_cache_of_fastembed_is_shared_where_it_is_set(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(tmp_path))
    assert load_settings().cache_dir == tmp_path


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("sotre = 'x'\nthreads = 0", ["sotre", "threads", "store, api_key", "config.toml"]),
        ("timeout_s = 'soon'", ["timeout_s", "number"]),
        ("store = ", ["config.toml", "TOML"]),
    ],
)
def test_what_is_wrong_in_the_file_is_named_all_of_it(config, text, named):
    with pytest.raises(ConfigError) as caught:
        load_settings(config(text))
    for word in named:
        assert word in str(caught.value)


def test_what_is_wrong_in_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("HYBRID_SEARCH_THREADS", "many")
    with pytest.raises(ConfigError, match=r"threads.*integer"):
        load_settings()


def test_a_config_file_that_is_not_there_is_an_error(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        load_settings(tmp_path / "missing.toml")
    monkeypatch.setenv("HYBRID_SEARCH_CONFIG", str(tmp_path / "gone.toml"))
    with pytest.raises(ConfigError, match=r"gone\.toml"):
        load_settings()


def test_the_api_key_is_never_shown(monkeypatch):
    monkeypatch.setenv("HYBRID_SEARCH_API_KEY", "top-secret")
    settings = load_settings()
    assert "top-secret" not in repr(settings)
    assert settings.api_key.get_secret_value() == "top-secret"
