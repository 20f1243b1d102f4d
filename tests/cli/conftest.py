"""How this room runs commands: in this process for most, in one of their own where the process is what is tested."""

import logging
import os
import subprocess
import sys
from functools import cache
from types import SimpleNamespace

import pytest
import typer.main
from typer.testing import CliRunner

from hybrid_search.cli import console
from hybrid_search.cli.app import app
from hybrid_search.cli.command import global_options

BM25 = ("--sparse", "qdrant/bm25-engine", "--dense", "none")
FRUIT = [
    {"_id": "a", "title": "Apples", "text": "Red apples grow on old trees.", "year": 1999},
    {"_id": "b", "text": "Green pears are sweet in autumn."},
    {"_id": "c", "text": "Yellow bananas come by ship."},
]


@pytest.fixture(scope="session", autouse=True)
def commands_are_made_once():
    """Typer makes all commands anew for every run of one, which takes longer than most of them do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", cache(typer.main.get_command), raising=False)
        yield


@pytest.fixture
def environment(tmp_path, model_cache, monkeypatch):
    """A store, a cache and an empty config file of this test's own, and no network."""
    config = tmp_path / "empty.toml"
    config.write_text("")
    wanted = {
        "HYBRID_SEARCH_STORE": str(tmp_path / "store"),
        "HYBRID_SEARCH_CONFIG": str(config),
        "HYBRID_SEARCH_CACHE_DIR": str(model_cache),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(tmp_path / "no-hub"),
    }
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    for shown in (console.out, console.err):  # whatever COLUMNS was when they were made
        monkeypatch.setattr(shown, "_width", None)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no-hub"))
    return os.environ


@pytest.fixture
def run(environment, monkeypatch):
    """Run a command in this process: `run("search", "apples", "-c", "c")` gives code, out and err."""

    def call(*arguments, stdin=None):
        global_options.reset()
        handlers = logging.getLogger().handlers[:]
        try:
            result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
        finally:
            logging.getLogger().handlers[:] = handlers
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return SimpleNamespace(code=result.exit_code, out=result.stdout, err=result.stderr)

    return call


@pytest.fixture
def start(environment):
    """Start a command in a process of its own."""
    started = []

    def begin(*arguments, **options):
        command = [sys.executable, "-m", "hybrid_search", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8", **options}
        started.append(subprocess.Popen(command, **pipes))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def fruit(run, jsonl):
    """The collection `fruit`, with BM25 alone; gives its source."""
    file = jsonl(FRUIT, "fruit.jsonl")
    assert run("index", file, "-c", "fruit", *BM25).code == 0
    return file


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own that can grow: gives the folder, and a function that sets its size in MB, and more if asked."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        return subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False
        )

    try:
        made = mount("size=150m")
    except OSError as error:
        pytest.skip(f"a small disk cannot be mounted: {error}")
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted: {made.stderr.strip()}")
    yield folder, lambda megabytes, more="": mount(f"remount,size={megabytes}m{more}")
    subprocess.run(["umount", "-l", folder], check=False)
