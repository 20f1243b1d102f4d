"""Rooms import downwards only, public names are what they say, and nothing heavy is loaded before it is used."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import hybrid_search

PACKAGE = Path(hybrid_search.__file__).parent
LAYERS = """
    __init__ __main__ where
    cli
    training | integrations
    evaluation | interop | diagnostics
    indexer | searcher
    indexing | search
    collection
    encoders | store | ranking | corpus
    results
    protocols | context
    manifest | filters | settings
    search_defaults
    types | near_duplicates
    _util
    errors | guide
"""
"""From top to bottom. A room imports from the lines below its own, never from a sibling on it."""

EXCEPTIONS = {("training", "evaluation"), ("interop", "indexing")}
"""Named looks aside or upwards: training measures what it trains, as evaluation does. (The other is one downwards.)"""

TOP = {"__init__", "__main__", "types", "results", "manifest", "protocols", "errors", "settings", "context"}
TOP |= {"near_duplicates", "indexer", "searcher", "search_defaults"}
LEVELS = {
    room: level
    for level, line in enumerate(LAYERS.split("\n"))
    for room in line.replace("|", " ").split()
    if line.strip()
}
LONG: set[tuple[str, str]] = set()
"""Functions that are longer, each with its reason."""

HEAVY = ["torch", "transformers", "sentence_transformers", "onnxruntime", "onnx", "fastembed", "qdrant_client"]
HEAVY += ["qdrant_edge", "pandas", "pyarrow", "ir_measures", "tokenizers", "huggingface_hub", "pydantic", "openvino"]
HEAVY += ["ir_datasets", "lark", "textual", "markitdown", "pypdfium2", "watchfiles", "ray", "fastapi", "starlette"]
HEAVY += ["altair", "vl_convert", "uvicorn", "prometheus_client", "langchain_core", "haystack", "llama_index", "mcp"]


def imports_of(file: Path) -> set[tuple[str, ...]]:
    """The modules of this package that a file imports when it runs, at any level, as parts below the package."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hybrid_search":
            base = tuple(str(node.module).split("."))[1:]
            found |= {module for alias in node.names if (module := _module((*base, alias.name)))}
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {module for name in names if name[0] == "hybrid_search" and (module := _module(tuple(name[1:])))}
    return found


def _module(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The longest beginning of the parts that is a module."""
    while parts and not ((PACKAGE.joinpath(*parts).with_suffix(".py")).exists() or PACKAGE.joinpath(*parts).is_dir()):
        parts = parts[:-1]
    return parts


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


def test_the_top_level_has_the_files_of_the_design_alone() -> None:
    assert {file.stem for file in PACKAGE.glob("*.py")} == TOP
    assert {room_of(file) for file in FILES} == set(LEVELS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_from_below(file: Path) -> None:
    room = room_of(file)
    for module in imports_of(file):
        other = module[0]
        assert other == room or LEVELS[other] > LEVELS[room] or (room, other) in EXCEPTIONS, module


def test_there_are_no_circles() -> None:
    """Of modules, inside a room neither: what a module imports never comes to import it. (Lazy imports count.)"""
    names = {file.relative_to(PACKAGE).with_suffix("").parts: file for file in FILES}
    names = {(parts[:-1] if parts[-1] == "__init__" else parts): file for parts, file in names.items()}
    graph = {name: {module for module in imports_of(file) if module in names} for name, file in names.items() if name}
    circle: list[str] = []
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        circle = [".".join(part) for part in error.args[1]]
    assert circle == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_function_is_at_most_40_lines(file: Path) -> None:
    """Of its body, without its docstring."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 40 or (room_of(file), node.name) in LONG, (node.name, lines)


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
        assert file.parent.name in ("gateway", "http", "mcp")
    if outside & {"fastapi", "prometheus_client"}:
        assert file.parent.name == "http"
    adapters = {"haystack": "haystack", "llama_index": "llamaindex", "langchain_core": "langchain", "mcp": "mcp"}
    for framework in outside & set(adapters):
        assert file.relative_to(PACKAGE).parts[:2] == ("integrations", adapters[framework])


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_reads_in_one_sitting(file: Path) -> None:
    composer = file.name in ("indexer.py", "searcher.py")
    assert len(file.read_text(encoding="utf-8").splitlines()) <= (200 if composer else 400)


ADAPTERS_READ = {"request", "options", "open_collection"}
"""What integrations know of a search: what it asks, and the state that a `Searcher` hands them."""

MODELS_ALONE = {"relevance.py": {"explain_terms", "retrieval"}, "compressor.py": {"rerank"}, "rerank.py": {"rerank"}}
"""Adapters that run models by themselves: on scores of their own, or on texts that no search has found."""


@pytest.mark.parametrize(
    "file", [file for file in FILES if room_of(file) == "integrations"], ids=lambda file: file.name
)
def test_adapters_search_through_the_searcher(file: Path) -> None:
    stages = {module[1] for module in imports_of(file) if module[0] == "search" and len(module) > 1}
    assert stages <= ADAPTERS_READ | MODELS_ALONE.get(file.name, set())


LIGHT = ["import hybrid_search", "from hybrid_search.cli.app import app"]
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
