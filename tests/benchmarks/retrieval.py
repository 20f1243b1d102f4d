"""Retrieval of both legs, fusion and explanation on the embedded store, models left out.

    python tests/benchmarks/retrieval.py [CHUNKS]

Builds a collection of random chunks (SPLADE-like sparse vectors of about 120 active dims over 30,522 terms by Zipf,
384-d dense vectors in clusters), then times `Searcher`'s own stages for 500 queries, and the engine alone on the same
requests, interleaved. `explained` is everything but encoding, of a search with explanation; a chunk has 12 words that
match. Prints one dated JSON line and adds it to tests/benchmarks/results/retrieval.jsonl.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from hybrid_search.collection.models import ModelSet
from hybrid_search.manifest import LegSpec, Manifest
from hybrid_search.search.request import DEPTH
from hybrid_search.searcher import Searcher
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.schema import payload_of
from hybrid_search.types import Chunk, ModelCard, Point, SparseVector

QUERIES = 500
VOCABULARY = 30_522
DIM = 384


class RandomVectors:
    """Stands where the models stand: hands out vectors drawn beforehand, so that encoding takes no time."""

    def __init__(self, kind: str, vectors: list[Any]) -> None:
        self.card = ModelCard(f"random/{kind}", kind, "engine", "random")  # type: ignore[arg-type]
        self._vectors = iter(vectors)

    def encode_queries(self, texts: list[str]) -> list[Any]:
        return [next(self._vectors) for _ in texts]

    def terms(self, indices: list[int]) -> list[str]:
        return [f"term{index}" for index in indices]


def sparse(random: np.random.Generator, active: int) -> SparseVector:
    indices = np.minimum((VOCABULARY * random.random(active) ** 3).astype(np.int64), VOCABULARY - 1)
    return SparseVector.of(indices, random.gamma(2.0, 0.5, active).astype(np.float32) + 0.01)


def dense(random: np.random.Generator, centres: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    vector = centres[random.integers(len(centres))] + random.normal(size=DIM)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def build(store: EdgeStore, chunks: int, random: np.random.Generator, centres: np.ndarray[Any, Any]) -> float:
    legs = {"sparse": LegSpec("random/sparse", "0"), "dense": LegSpec("random/dense", "0", dim=DIM)}
    start = perf_counter()
    writer = store.writer("bench", Manifest("custom", legs, 0))  # type: ignore[arg-type]
    for first in range(0, chunks, 256):
        points = []
        for number in range(first, min(first + 256, chunks)):
            chunk = Chunk(f"d{number}", 0, "some words of the text " * 12, 0, 276, f"Document {number}")
            payload = payload_of(chunk, {"year": 1990 + number % 30, "kind": f"k{number % 7}"}, "", ("stamp", 1))
            points.append(
                Point(chunk.chunk_id, {"sparse": sparse(random, 150), "dense": dense(random, centres)}, payload)
            )
        writer.upsert(points)
    writer.publish()
    writer.close()
    return perf_counter() - start


def main() -> None:
    chunks = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    random = np.random.default_rng(0)
    centres = random.normal(size=(50, DIM))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        store = EdgeStore(folder)
        build_s = build(store, chunks, random, centres)
        queries = [(sparse(random, 35), dense(random, centres)) for _ in range(QUERIES + 50)]
        encoders: Any = {
            "sparse": RandomVectors("sparse", [query[0] for query in queries]),
            "dense": RandomVectors("dense", [query[1] for query in queries]),
        }
        reader = store.reader("bench")
        searcher = Searcher("bench", reader, ModelSet("custom", encoders))
        names = ("retrieve", "fuse", "both", "explained", "engine")
        stages: dict[str, list[float]] = {name: [] for name in names}
        for place, (one, two) in enumerate(queries):
            timings = searcher.search("words of a query", explain=True).timings_ms
            start = perf_counter()
            reader._shard.query([("sparse", one), ("dense", two)], DEPTH)
            engine_ms = (perf_counter() - start) * 1e3
            if place >= 50:
                both = timings["retrieve"] + timings["fuse"]
                explained = timings["total"] - timings["encode"]
                found = {**timings, "both": both, "explained": explained, "engine": engine_ms}
                for stage, value in found.items():
                    if stage in stages:
                        stages[stage].append(value)
        searcher.close()
    line = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "benchmark": "retrieval",
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "chunks": chunks,
        "depth": DEPTH,
        "build_s": round(build_s, 1),
        **{f"{stage}_p50_ms": round(float(np.percentile(times, 50)), 3) for stage, times in stages.items()},
        **{f"{stage}_p99_ms": round(float(np.percentile(times, 99)), 3) for stage, times in stages.items()},
    }
    results = Path(__file__).parent / "results" / "retrieval.jsonl"
    results.parent.mkdir(exist_ok=True)
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line))


if __name__ == "__main__":
    main()
