"""How fast `hybrid-search index` is over prose, code and HTML, by itself or against another checkout.

    python tests/benchmarks/indexing.py [--against CHECKOUT] [--rounds 3] [--files 60] [--kinds prose code html]
                                        [--work FOLDER] [-- OPTIONS OF index]

The sources are made of what every Python has: `code` are modules of the standard library, `prose` their docstrings as
plain text, `html` the same as pages with headings and lists. Each round indexes them anew into a new store, with this
checkout and then with the other one, so that both meet the same machine. The models are those of the profile `bundled`
unless options say otherwise. Prints a dated JSON line a kind, with medians, and adds it to
tests/benchmarks/results/indexing.jsonl; `times` is the other checkout's seconds over ours: below 0.9 we are slower by
more than a tenth.
"""

from __future__ import annotations

import argparse
import ast
import html
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--kinds", nargs="+", default=["prose", "code", "html"])
    parser.add_argument("--work", type=Path, default=Path("/tmp/hybrid-search-indexing"))
    parser.add_argument("options", nargs="*", help="of index; put -- before them")
    asked = parser.parse_args()
    shutil.rmtree(asked.work, ignore_errors=True)
    for kind in asked.kinds:
        folder = asked.work / kind
        size = make(kind, folder, asked.files)
        checkouts = [ROOT, *([asked.against.resolve()] if asked.against else [])]
        taken: dict[Path, list[float]] = {checkout: [] for checkout in checkouts}
        for _ in range(asked.rounds):
            for checkout in checkouts:
                taken[checkout].append(index(checkout, folder, asked.work / "store", asked.options))
        tell(kind, size, asked, taken)


def index(checkout: Path, folder: Path, store: Path, options: list[str]) -> float:
    """Seconds of one whole command."""
    shutil.rmtree(store, ignore_errors=True)
    env = {**os.environ, "HYBRID_SEARCH_STORE": str(store), "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-m", "hybrid_search", "index", str(folder), "-c", "c", "--progress", "none"]
    begun = time.perf_counter()
    subprocess.run(
        [*command, *(options or ["--profile", "bundled"])], env=env, cwd=checkout, check=True, capture_output=True
    )
    return time.perf_counter() - begun


def tell(kind: str, size: int, asked: argparse.Namespace, taken: dict[Path, list[float]]) -> None:
    own, *others = (median(seconds) for seconds in taken.values())
    line = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "benchmark": "indexing",
        "cores": os.cpu_count(),
        "machine": platform.processor() or platform.machine(),
        "load_average": round(os.getloadavg()[0], 2),
        "kind": kind,
        "files": asked.files,
        "kilobytes": size // 1000,
        "rounds": asked.rounds,
        "options": asked.options,
        "seconds": round(own, 2),
        **({"other_seconds": round(others[0], 2), "times": round(others[0] / own, 3)} if others else {}),
    }
    print(json.dumps(line), flush=True)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    with (results / "indexing.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def make(kind: str, folder: Path, files: int) -> int:
    """Write the files of a kind; gives their bytes."""
    folder.mkdir(parents=True)
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    sources = [source for source in sources if 8_000 < source.stat().st_size < 120_000][:files]
    for source in sources:
        text = source.read_text(encoding="utf-8")
        if kind == "code":
            (folder / source.name).write_text(text, encoding="utf-8")
            continue
        sections = docstrings(text)
        whole = page(source.stem, sections) if kind == "html" else "\n\n".join(body for _, body in sections)
        suffix = ".html" if kind == "html" else ".txt"
        (folder / f"{source.stem}{suffix}").write_text(whole or source.stem, encoding="utf-8")
    return sum(file.stat().st_size for file in folder.iterdir())


def docstrings(text: str) -> list[tuple[str, str]]:
    """Every name of a module with what it says of itself."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, documented)]
    pairs = [(getattr(node, "name", "The module"), ast.get_docstring(node)) for node in nodes]
    return [(name, told) for name, told in pairs if told]


def page(name: str, sections: list[tuple[str, str]]) -> str:
    """A page with a heading a section, its paragraphs, and a list of all of them in front."""
    index = "".join(f'<li><a href="#{html.escape(each)}">{html.escape(each)}</a></li>' for each, _ in sections)
    parts = [f"<html><head><title>{name}</title></head><body><nav><ul>{index}</ul></nav><h1>{name}</h1>"]
    for each, told in sections:
        paragraphs = "".join(f"<p>{html.escape(some)}</p>" for some in told.split("\n\n"))
        parts.append(f'<h2 id="{html.escape(each)}">{html.escape(each)}</h2><div>{paragraphs}</div>')
    return "\n".join([*parts, "</body></html>"])


if __name__ == "__main__":
    main()
