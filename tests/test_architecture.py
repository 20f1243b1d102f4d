"""Rooms import downwards only, public names are what they say, and nothing heavy is loaded before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hybrid_search

PACKAGE = Path(hybrid_search.__file__).parent
ROOMS = {"corpus", "encoders", "store", "ranking"}
VALUES = {"types", "results", "context", "folding", "where", "manifest", "protocols", "errors", "unicode_text"}
VALUES |= {"arguments", "printable", "config_file", "locations", "_util"}
COMPOSERS = {"asking", "legs", "indexer", "searcher", "profiles", "intake", "cutting", "report", "settings"}
COMPOSERS |= {"answering", "evidence", "why", "changing", "reranking", "stages", "workers", "memory", "following"}
COMPOSERS |= {"adopting", "naming", "distributed", "shards", "jobs", "rehearsal", "latest", "removing", "stored"}
COMPOSERS |= {"prefetch", "chunker", "verifying"}
ABOVE = {"evaluation", "training", "interop", "integrations"}
HEAVY = ["torch", "transformers", "sentence_transformers", "onnxruntime", "onnx", "fastembed", "qdrant_client"]
HEAVY += ["qdrant_edge", "pandas", "pyarrow", "ir_measures", "tokenizers", "huggingface_hub", "pydantic", "openvino"]
HEAVY += ["lark", "textual", "markitdown", "pypdfium2", "watchfiles", "ray", "starlette", "uvicorn"]
HEAVY += ["langchain_core", "haystack", "llama_index", "mcp"]


def imports_of(file: Path) -> set[str]:
    """The parts of this package that a file imports, at any level, by their first name below the package."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hybrid_search"):
            rest = node.module.split(".")[1:]
            found |= {rest[0]} if rest else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("hybrid_search.")}
    return found


def outside_imports_of(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
    return found


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_from_below(file: Path) -> None:
    room = room_of(file)
    if room in VALUES:
        allowed = VALUES
    elif room in ROOMS or room == "settings":
        allowed = VALUES | {room}
    elif room in COMPOSERS:
        allowed = VALUES | ROOMS | COMPOSERS
    elif room in ABOVE:
        # Training judges what it trains, by the measures of evaluation: the one look aside.
        allowed = VALUES | ROOMS | COMPOSERS | {room} | ({"evaluation"} if room == "training" else set())
    else:
        return  # cli, __init__ and __main__ stand above everything
    assert imports_of(file) <= allowed


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_engines_models_and_printing_stay_in_their_rooms(file: Path) -> None:
    outside = outside_imports_of(file)
    if "qdrant_edge" in outside:
        assert file.name == "shard.py"
    if "qdrant_client" in outside:
        assert room_of(file) == "store"
    if outside & {"onnxruntime", "onnx", "openvino", "fastembed", "sentence_transformers", "torch"}:
        assert room_of(file) in {"encoders", "training"}
    if outside & {"rich", "typer", "textual"}:
        assert room_of(file) == "cli"
    if "textual" in outside:
        assert file.parent.name == "tui"
    if outside & {"starlette", "uvicorn"}:
        assert file.parent.name in ("front", "http", "mcp")
    adapters = {"haystack": "haystack", "llama_index": "llamaindex", "langchain_core": "langchain", "mcp": "mcp"}
    for framework in outside & set(adapters):
        assert file.relative_to(PACKAGE).parts[:2] == ("integrations", adapters[framework])


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_reads_in_one_sitting(file: Path) -> None:
    composer = file.name in ("indexer.py", "searcher.py")
    assert len(file.read_text(encoding="utf-8").splitlines()) <= (200 if composer else 400)


LIGHT = ["import hybrid_search", "from hybrid_search.cli.app import app", "import hybrid_search.integrations.rag"]
LIGHT += ["import hybrid_search.integrations"]


@pytest.mark.parametrize("code", LIGHT)
def test_importing_loads_nothing_heavy(code: str) -> None:
    script = f"{code}; import sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_resolve_and_are_sorted() -> None:
    assert hybrid_search.__all__ == sorted(hybrid_search.__all__)
    for name in hybrid_search.__all__:
        assert getattr(hybrid_search, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing_here"):
        hybrid_search.nothing_here  # noqa: B018
