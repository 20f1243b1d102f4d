"""Every figure that README and the guide show, measured again: tests/benchmarks/figures.json.

    python tests/benchmarks/figures.py [--only PREFIX] [--collections FOLDER] [--work FOLDER]

Each row of the file has an id, the value, its unit, the command that reproduces it, the day and the machine. This runs
the evaluations whose dataset is at hand: `movies` is, the others lie in `--collections` (BEIR folders that are called
`cranfield`, `cisi` and `cacm`). What a benchmark measures is taken from the newest fitting line of its file in
tests/benchmarks/results, so run that benchmark before. A row that is not measured now stays as it is; what has changed
is printed, and one that no page shows is left out. A page marks a figure behind the number, `<!-- figure: ID -->`;
tests/test_figures.py compares the two.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("figures.json")
RESULTS = Path(__file__).with_name("results")
MARKER = re.compile(r"<!-- figures?: ([^>]+?) -->")
DATASETS = ("cranfield", "cisi", "cacm", "movies")
NDCG = "nDCG@10"


class Row(NamedTuple):
    """A figure: what it is called, what it is, and where it comes from."""

    id: str
    value: float
    unit: str
    command: str
    date: str
    machine: str


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="figures whose id begins so")
    parser.add_argument("--collections", type=Path, default=ROOT.parent / "shared" / "collections")
    parser.add_argument("--work", type=Path, default=Path("/tmp/hybrid-search-figures"))
    asked = parser.parse_args()
    before = {row.id: row for row in stored()}
    rows = dict(before)
    for row in (*from_files(), *from_results(), *from_commands(asked.collections, asked.work, asked.only)):
        if row.id.startswith(asked.only):
            if row.id not in before or before[row.id].value != row.value:
                print(f"{row.id}: {before[row.id].value if row.id in before else 'new'} -> {row.value}")
            rows[row.id] = row
    write(rows.values())


def stored() -> list[Row]:
    """The rows of the file."""
    return [Row(**row) for row in json.loads(FILE.read_text(encoding="utf-8"))] if FILE.is_file() else []


def write(rows: Iterable[Row]) -> None:
    """Write the file: one row a line, by id; those alone that a page shows."""
    pages = (ROOT / "README.md", *(ROOT / "hybrid_search" / "guide").glob("*.md"))
    marks = (mark for page in pages for mark in MARKER.findall(page.read_text(encoding="utf-8")))
    shown = {name for mark in marks for name in mark.split()}
    lines = [json.dumps(row._asdict(), ensure_ascii=False) for row in sorted(rows) if row.id in shown]
    FILE.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def here() -> tuple[str, str]:
    """Today, and this machine."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return datetime.now(timezone.utc).date().isoformat(), f"{model}, {os.cpu_count()} cores"


# ---------------------------------------------------------------- of files


def from_files() -> Iterator[Row]:
    """What is counted or weighed without running anything."""
    model = ROOT / "hybrid_search" / "encoders" / "bundled" / "model"
    films = (ROOT / "datasets" / "movies" / "corpus.jsonl").read_text(encoding="utf-8").count("\n")
    size = round(sum(file.stat().st_size for file in model.iterdir()) / 1e6)
    yield Row("films.documents", films, "documents", "python tests/benchmarks/figures.py --only films", *here())
    yield Row("bundled.size", size, "MB", "python tests/benchmarks/figures.py --only bundled", *here())
    from hybrid_search.encoders.catalog import PROFILES, card

    names = PROFILES["splade"]
    weight = (card(names.sparse, "sparse").size_mb + card(names.dense, "dense").size_mb) / 1000
    yield Row("splade.size", weight, "GB", "hybrid-search models show splade", *here())


# ---------------------------------------------------------------- of benchmarks


def newest(file: str, **wanted: Any) -> dict[str, Any] | None:
    """The last line of a benchmark's results that has these values."""
    lines = (RESULTS / f"{file}.jsonl").read_text(encoding="utf-8").splitlines()
    fitting = [row for row in map(json.loads, lines) if all(row.get(name) == value for name, value in wanted.items())]
    return fitting[-1] if fitting else None


def from_results() -> Iterator[Row]:
    """What the benchmarks have measured."""
    for what, others in (("splade", ("fastembed 4", "fastembed 8")), ("dense", ("sentence-transformers 32",))):
        if line := newest("encode", benchmark=f"encode {what}"):
            of = _of(line, f"python tests/benchmarks/encode.py {what}")
            pace = line["documents_per_s"]
            other = max(pace[name] for name in others if name in pace)
            for precision in ("fp32", "int8"):
                yield of(f"encode.{what}.{precision}", round(pace[f"ours {precision}"] / other, 2), "times")
            yield of(f"encode.{what}.memory", line["peak_rss_mb"]["ours fp32"] / 1000, "GB")
            yield of(f"encode.{what}.int8.cosine", line["largest_difference"]["ours int8"][1], "cosine")
    if line := newest("one_pass"):
        of = _of(line, "python tests/benchmarks/one_pass.py 120")
        for name in ("two_dense", "dense_and_splade"):
            yield of(f"one_pass.{name}", line[f"times_{name}"], "times")
    if line := newest("memory", documents=200_000):
        yield _of(line, "python tests/benchmarks/memory.py")("memory.growth", line["times_the_first"], "times")
    if line := newest("sparsity", dataset="movies"):
        of = _of(line, "python tests/benchmarks/sparsity.py")
        for row in line["rows"]:
            side = f"q{row['query_limit']}" if row["query_limit"] else f"d{row['document_limit']}"
            name = "all" if side == "d0" else side
            yield of(f"sparsity.{name}.query_dims", row["query_dims"], "active dims")
            yield of(f"sparsity.{name}.document_dims", row["document_dims"], "active dims")
            yield of(f"sparsity.{name}.bytes", row["sparse_bytes_a_document"], "bytes a document")
            yield of(f"sparsity.{name}.ndcg", row[NDCG], NDCG)
    if line := newest("engines", dataset="cranfield"):
        of = _of(line, "python tests/benchmarks/engines.py")
        yield of("engines.exact.ndcg", line["exact_ndcg"], NDCG)
        for name, row in line["rows"].items():
            for what, unit in {"overlap": "share of the top 10", "ndcg": NDCG}.items():
                if what in row:
                    yield of(f"engines.{name}.{what}", row[what], unit)
    for dataset in ("cranfield", "cisi", "cacm", "mean"):
        if line := newest("confidence", dataset=dataset, mode="hybrid"):
            of = _of(line, "python tests/benchmarks/confidence.py cranfield cisi cacm")
            yield of(f"confidence.{dataset}.auc", line["auc"], "area under the ROC curve")
            if dataset == "mean":
                yield of("confidence.pooled.auc", line["pooled"]["auc"], "area under the ROC curve")
                yield of("confidence.pooled.foreign_low", line["pooled"]["foreign_low"], "share of the queries")


def _of(line: dict[str, Any], command: str) -> Callable[[str, float, str], Row]:
    machine = f"{line.get('machine') or 'x86_64'}, {line.get('cores', 2)} cores"
    return lambda name, value, unit: Row(name, value, unit, command, line["date"][:10], machine)


# ---------------------------------------------------------------- of commands

EVALUATIONS = {
    "rrf": "--profile bundled --modes bm25,sparse,dense,hybrid,hybrid+auto",
    "dbsf": "--profile bundled --modes hybrid --fusion dbsf",
    "minmax": "--profile bundled --modes hybrid --fusion minmax",
    "convex": "--profile bundled --modes hybrid --fusion convex",
    "convex_dense4": "--profile bundled --modes hybrid --fusion convex --weights sparse=1,dense=4",
    "bm25_leg": "--profile bundled --legs sparse,dense,bm25 --modes hybrid",
}
PRECISION = "models verify bundled/all-MiniLM-L6-v2 --precision int8 --dataset"


def from_commands(collections: Path, work: Path, only: str) -> Iterator[Row]:
    """What `evaluate` and `models verify` say of each dataset that is at hand; the latter needs the extra `minilm`."""
    for name in DATASETS:
        folder = ROOT / "datasets" / name if name == "movies" else collections / name
        shown = "datasets/movies" if name == "movies" else name
        if not folder.is_dir():
            print(f"{name}: not in {collections}, its figures stay", file=sys.stderr)
            continue
        for kind, options in EVALUATIONS.items():
            if _wanted(f"eval.{name}.{kind}", only) and (found := _answer(f"evaluate {folder} {options}", work)):
                yield from evaluated(found, name, kind, f"hybrid-search evaluate {shown} {options}")
        if _wanted(f"int8.{name}", only) and (found := _answer(f"{PRECISION} {folder}", work)):
            yield from compared(found, name, f"hybrid-search {PRECISION} {shown}")


def _wanted(name: str, only: str) -> bool:
    return name.startswith(only) or only.startswith(name)


def _answer(call: str, work: Path) -> Any:
    env = {
        **os.environ,
        "HYBRID_SEARCH_CACHE_DIR": str(work),
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
    }
    command = [sys.executable, "-m", "hybrid_search", *call.split(), "--format", "json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{call}: {done.stderr.strip()}", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def evaluated(found: dict[str, Any], name: str, kind: str, command: str) -> Iterator[Row]:
    """The rows of one evaluation."""
    if kind == "rrf":
        yield Row(f"eval.{name}.documents", found["documents"], "documents", command, *here())
        yield Row(f"eval.{name}.queries", found["queries"], "queries", command, *here())
    for result in found["results"]:
        mode = result["mode"].replace("+", "_")
        yield Row(f"eval.{name}.{kind}.{mode}", result["measures"][NDCG], NDCG, command, *here())
        if mode == "hybrid" and result["baseline_p"] is not None:
            yield Row(f"eval.{name}.{kind}.p", result["baseline_p"], "p", command, *here())


def compared(found: list[dict[str, Any]], name: str, command: str) -> Iterator[Row]:
    """The rows of one comparison of precisions."""
    [[result]] = [one["results"] for one in found]
    for precision in ("fp32", "int8"):
        yield Row(f"int8.{name}.{precision}", result[precision], NDCG, command, *here())


if __name__ == "__main__":
    main()
