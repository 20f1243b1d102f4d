"""Peak memory of `hybrid-search index` over generated short documents, of the whole process tree.

    python tests/benchmarks/memory.py [--documents 20000 200000] [--work FOLDER] [-- OPTIONS OF index]

By default the only leg is the engine's BM25, so that no model hides what the job itself takes. Needs psutil, and /proc
(Linux). The tree is looked at every 20 ms; `peak_mb` is the greatest sum of its resident memory, `peak_anonymous_mb`
that of what is no mapped file (the engine maps its files, and the system takes their pages back when it wants), and
`largest_process_mb` the greatest high-water mark (VmHWM) of one process. After it, a search has to find a document.
Prints one dated JSON line a size and adds it to tests/benchmarks/results/memory.jsonl; with two sizes or more each line
says how many times the first's peak it is.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
CHEAP = ["--sparse", "qdrant/bm25-engine", "--dense", "none"]
EVERY_S = 0.02
WORDS = 40
VOCABULARY = 20_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--work", type=Path, default=Path("/tmp/hybrid-search-memory"))
    parser.add_argument("options", nargs="*", help="of index, instead of the cheap ones; put -- before them")
    asked = parser.parse_args()
    options = asked.options or CHEAP
    first = 0.0
    for documents in asked.documents:
        measured = measure(documents, asked.work, options)
        first = first or measured["peak_mb"]
        line = {
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "benchmark": "memory",
            "cores": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 2),
            "options": options,
            "documents": documents,
            **measured,
            "times_the_first": round(measured["peak_mb"] / first, 2),
        }
        print(json.dumps(line), flush=True)
        results = Path(__file__).parent / "results"
        results.mkdir(exist_ok=True)
        with (results / "memory.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def measure(documents: int, work: Path, options: list[str]) -> dict[str, float]:
    """Index so many documents into a new store; what it took, in MB (10**6 bytes) and seconds."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    source = work / "corpus.jsonl"
    generate(documents, source)
    env = {**os.environ, "HYBRID_SEARCH_STORE": str(work / "store"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "hybrid_search"]
    begun = time.perf_counter()
    job = subprocess.Popen([*command, "index", str(source), "-c", "c", *options, "--progress", "none"], env=env)
    peak = anonymous = largest = 0
    while job.poll() is None:
        tree = [found for found in map(memory, pids(job.pid)) if found]
        peak = max(peak, sum(found["VmRSS"] for found in tree))
        anonymous = max(anonymous, sum(found["RssAnon"] for found in tree))
        largest = max(largest, *(found["VmHWM"] for found in tree), 0)
        time.sleep(EVERY_S)
    seconds = time.perf_counter() - begun
    if job.returncode != 0:
        raise SystemExit(f"index ended with {job.returncode}")
    search = [*command, "search", f"marker{documents - 1}", "-c", "c", "--format", "json"]
    found = json.loads(subprocess.run(search, env=env, check=True, capture_output=True, text=True).stdout)
    if found["hits"][0]["doc_id"] != f"d{documents - 1}":
        raise SystemExit(f"the search found {found['hits'][0]['doc_id']}")
    sizes = {"peak_mb": peak, "peak_anonymous_mb": anonymous, "largest_process_mb": largest}
    shutil.rmtree(work)
    return {**{name: round(size / 1e6, 1) for name, size in sizes.items()}, "seconds": round(seconds, 1)}


def pids(root: int) -> list[int]:
    """A process and all below it."""
    with suppress(psutil.NoSuchProcess):
        return [root, *(child.pid for child in psutil.Process(root).children(recursive=True))]
    return []


def memory(pid: int) -> dict[str, int] | None:
    """VmRSS, VmHWM and RssAnon of a process in bytes; None where it has ended."""
    with suppress(OSError):
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
        if "VmRSS" in lines:
            return {name: int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM", "RssAnon")}
    return None


def generate(documents: int, file: Path) -> None:
    """Documents of `WORDS` invented words, and one word that each has alone; the same every time."""
    chance = random.Random(6)
    words = [f"w{number}" for number in range(VOCABULARY)]
    with file.open("w", encoding="utf-8") as out:
        for number in range(documents):
            text = " ".join([*chance.choices(words, k=WORDS), f"marker{number}"])
            out.write(json.dumps({"_id": f"d{number}", "title": f"Title {number}", "text": text}) + "\n")


if __name__ == "__main__":
    main()
