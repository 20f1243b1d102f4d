"""One search command as a fresh process, and one short query in a warm one.

    python tests/benchmarks/start.py [--rounds 15] [--work FOLDER]

The collection is datasets/movies with the bundled profile; the disk is warm. `wall_s` runs from the start of the
process to its first line of output; `own_ms` is what is left of it without the interpreter, imports, model load and
encoding. `query_ms` are medians over 200 queries of an open searcher. Prints one dated JSON line and adds it to
tests/benchmarks/results/start.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).parents[2]
QUERY = "a film about music"
COMMAND = ["search", QUERY, "-c", "movies"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--work", type=Path, default=Path("/tmp/hybrid-search-start"))
    parser.add_argument("--inside", action="store_true")
    asked = parser.parse_args()
    if asked.inside:
        return inside()
    paths = {"HYBRID_SEARCH_STORE": str(asked.work / "store"), "PYTHONPYCACHEPREFIX": str(asked.work / "compiled")}
    env = {**os.environ, **paths, "PYTHONPATH": str(ROOT)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
    command = [sys.executable, "-m", "hybrid_search"]
    index = ["index", str(ROOT / "datasets/movies"), "-c", "movies", "--profile", "bundled", "--progress", "none"]
    subprocess.run([*command, *index], env=env, check=True, stdout=subprocess.DEVNULL)
    walls, parts = [], []
    for _ in range(asked.rounds):
        start = perf_counter()
        with subprocess.Popen([*command, *COMMAND], env=env, stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            walls.append(perf_counter() - start)
            process.stdout.read()
        within = [sys.executable, __file__, "--inside"]
        parts.append(json.loads(subprocess.run(within, env=env, check=True, capture_output=True, text=True).stdout))
    line = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "benchmark": "start",
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "rounds": asked.rounds,
        "wall_s": {"median": round(statistics.median(walls), 3), "least": round(min(walls), 3)},
        **{name: round(statistics.median(part[name] for part in parts), 1) for name in parts[0]},
    }
    print(json.dumps(line))
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    with (results / "start.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def inside() -> None:
    """The same command in this process, in its parts; then queries to an open searcher."""
    spent: dict[str, float] = {}
    start = perf_counter()
    import_all()
    spent["import_ms"] = (perf_counter() - start) * 1e3
    import contextlib
    import io

    from hybrid_search import searcher
    from hybrid_search.cli.app import app
    from hybrid_search.search import retrieval

    load, encode = searcher.Searcher.warm_up, retrieval.encode

    def timed(name: str, function: Any) -> Any:
        def run(*given: Any, **options: Any) -> Any:
            began = perf_counter()
            try:
                return function(*given, **options)
            finally:
                spent[name] = spent.get(name, 0.0) + (perf_counter() - began) * 1e3

        return run

    searcher.Searcher.warm_up, retrieval.encode = timed("load_ms", load), timed("encode_ms", encode)  # type: ignore[method-assign]

    class First(io.StringIO):
        """Notes when the first result is written."""

        def write(self, text: str) -> int:
            spent.setdefault("own_ms", (perf_counter() - start) * 1e3)
            return super().write(text)

    start = perf_counter()
    with contextlib.redirect_stdout(First()), contextlib.suppress(SystemExit):
        app(COMMAND)
    spent["own_ms"] -= spent["load_ms"] + spent["encode_ms"]
    searcher.Searcher.warm_up, retrieval.encode = load, encode  # type: ignore[method-assign]
    with searcher.Searcher.open("movies") as open_one:
        found = [open_one.search(QUERY).timings_ms for _ in range(200)]
    spent["query_ms"] = statistics.median(each["total"] for each in found)
    spent["query_encode_ms"] = statistics.median(each["encode"] for each in found)
    print(json.dumps(spent))


def import_all() -> None:
    """What the command imports on its way, now."""
    from importlib import import_module

    names = "cli.app searcher store.edge store.shard encoders.bundled.hybrid corpus.decoding settings"
    for name in names.split():
        import_module(f"hybrid_search.{name}")
    for name in ("onnxruntime", "tokenizers", "qdrant_edge", "filelock"):
        import_module(name)
    from hybrid_search.settings import load_settings

    load_settings()  # pydantic imports the rest when it first validates


if __name__ == "__main__":
    main()
