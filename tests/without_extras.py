"""What needs an extra, asked for where none is installed: `python tests/without_extras.py FOLDER` prints the answers.

The release check runs it in an environment that has none. The tests run it with `installed_without_extras` in the
place of one that has some.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MOVIES = str(ROOT / "datasets" / "movies")


class Case(NamedTuple):
    """A command, or a module to import, with the exit code and the extra that it has to name (empty for none)."""

    command: tuple[str, ...]
    code: int
    extra: str


CASES = {
    "text": Case(("index", "a.txt", "-c", "notes"), 0, ""),
    "source code": Case(("index", "a.py", "-c", "notes"), 0, ""),
    "notebook": Case(("index", "a.ipynb", "-c", "notes"), 0, ""),
    "search": Case(("search", "apples", "-c", "notes"), 0, ""),
    "explain": Case(("explain", "apples", "-c", "notes"), 0, ""),
    "files of models": Case(("models", "verify", "bundled"), 0, ""),
    "parquet": Case(("index", "a.parquet", "-c", "notes"), 3, "parquet"),
    **{
        suffix: Case(("index", f"a.{suffix}", "-c", suffix), 3, "documents")
        for suffix in ("pdf", "docx", "html", "htm")
    },
    "save encodings": Case(("index", "--save-encodings", "out.parquet", "-c", "notes"), 3, "parquet"),
    "load encodings": Case(("index", "--from-encodings", "a.parquet", "-c", "other"), 3, "parquet"),
    "watch": Case(("index", "a.txt", "-c", "notes", "--watch"), 3, "watch"),
    "ray": Case(("index", "a.txt", "-c", "notes", "--ray", "local"), 3, "ray"),
    "minilm": Case(("index", "a.txt", "-c", "m", "--dense", "bundled/all-MiniLM-L6-v2"), 3, "minilm"),
    "torch model": Case(("index", "a.txt", "-c", "t", "--sparse", "naver/splade-v3", "--dense", "none"), 3, "torch"),
    "torch reranker": Case(
        ("search", "apples", "-c", "notes", "--rerank", "cross-encoder/ms-marco-MiniLM-L6-v2"), 3, "torch"
    ),
    "a dataset by its name": Case(("evaluate", "vaswani"), 3, "datasets"),
    "evaluate": Case(("evaluate", MOVIES, "--modes", "bm25"), 3, "eval"),
    "a picture": Case(("evaluate", MOVIES, "--modes", "bm25", "--plot", "a.svg"), 3, "plot"),
    "train": Case(("train", "nowhere.jsonl", "--out", "out"), 3, "train"),
    "tui": Case(("tui", "-c", "notes"), 3, "tui"),
    "mcp": Case(("mcp", "-c", "notes"), 3, "mcp"),
    "mcp over HTTP": Case(("mcp", "-c", "notes", "--http", "127.0.0.1:0"), 3, "mcp"),
    "serve": Case(("serve", "-c", "notes", "--port", "0"), 3, "serve"),
    **{
        name: Case((f"hybrid_search.integrations.{name}",), 3, extra)
        for name, extra in (
            ("haystack", "haystack"),
            ("http", "serve"),
            ("langchain", "langchain"),
            ("llamaindex", "llamaindex"),
            ("mcp", "mcp"),
        )
    },
}


class Answer(NamedTuple):
    """The exit code and everything that was said, on one line."""

    code: int
    said: str


def answers(folder: Path) -> dict[str, Answer]:
    """Return what this process answers to every case, working in an empty folder."""
    for suffix in ("txt", "py", "pdf", "docx", "html", "htm", "parquet"):
        (folder / f"a.{suffix}").write_text("apples = 'Red apples grow on old trees.'\n", encoding="utf-8")
    cell = {"cell_type": "markdown", "metadata": {}, "source": "Pears"}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "a.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    (folder / "empty.toml").touch()
    os.environ |= {
        "HYBRID_SEARCH_STORE": str(folder / "store"),
        "HYBRID_SEARCH_CACHE_DIR": str(folder / "models"),
        "HYBRID_SEARCH_CONFIG": str(folder / "empty.toml"),
        "HF_HUB_CACHE": str(folder / "hub"),
        "HF_HUB_OFFLINE": "1",
        "NO_COLOR": "1",
    }
    os.chdir(folder)
    return {name: _imported(case) if "." in case.command[0] else _run(case) for name, case in CASES.items()}


def faults(found: dict[str, Answer]) -> list[str]:
    """Return what is wrong with the answers, one line a case; empty where each is as it has to be."""
    wrong = []
    for name, case in CASES.items():
        code, said = found[name]
        line = f"needs the '{case.extra}' extra. Install it: pip install 'hybrid-search-qdrant[{case.extra}]'"
        short = f"Install it: pip install 'hybrid-search-qdrant[{case.extra}]'"
        told = short in said if case.extra == "minilm" else line in said
        if code != case.code or (case.extra and not told) or "Traceback" in said or "fault of ours" in said:
            wrong.append(f"{name} (exit code {code}, wanted {case.code}): {said}")
    return wrong


def _run(case: Case) -> Answer:
    if "--ray" in case.command:  # a server is what Ray's workers write to
        with import_module("qdrant_over_http").QdrantOverHttp() as server:
            return _ended(*case.command, "--store", server.url)
    return _ended(*case.command)


def _ended(*arguments: str) -> Answer:
    from typer.testing import CliRunner

    from hybrid_search.cli.app import app
    from hybrid_search.cli.command import global_options

    global_options.reset()
    result = CliRunner().invoke(app, list(arguments))
    fault = result.exception
    raised = "" if fault is None or isinstance(fault, SystemExit) else f" Traceback: {type(fault).__name__}: {fault}"
    return Answer(result.exit_code, " ".join((result.stdout + result.stderr).split()) + raised)


def _imported(case: Case) -> Answer:
    try:
        import_module(case.command[0])
    except ImportError as error:
        return Answer(3, str(error))
    return Answer(0, "imported")


def installed_without_extras(folder: Path) -> list[str]:
    """Link everything that is installed here into a folder, but for the extras' packages; return the path to import by.

    A process that is started with `-S` and this as its PYTHONPATH finds nothing else, and neither do its children.
    """
    from hybrid_search._util.extras import PACKAGES

    hidden = {package.split(".")[0] for packages in PACKAGES.values() for package in packages}
    for site in dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))):
        for entry in Path(site).iterdir():
            if entry.name.split(".")[0] not in hidden and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    return [str(ROOT), str(folder)]


if __name__ == "__main__":
    answered = answers(Path(sys.argv[1]).resolve())
    print(json.dumps(answered))
    if faults(answered):
        sys.exit("\n".join(faults(answered)))
