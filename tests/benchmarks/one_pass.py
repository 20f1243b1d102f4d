"""The bundled model's one pass against two models of MiniLM's size, both vectors of each document, one runtime.

    python tests/benchmarks/one_pass.py [DOCUMENTS]

Three ways to the same two vectors, all int8, all built by the same code and run by onnxruntime with the same batches:
`bundled` (one pass), `two dense` (the transformer with mean pooling, twice: the least that two models can cost) and
`dense and splade` (the transformer with mean pooling, and the transformer with a full SPLADE head over 30,522 pieces).
Rounds are interleaved; medians of seven. Needs the `train` extra, for the weights of all-MiniLM-L6-v2. Prints one dated
JSON line and adds it to tests/benchmarks/results/one_pass.jsonl.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from hybrid_search.encoders.batching import batches
from hybrid_search.encoders.bundled.graph import Graph, mean_pooling
from hybrid_search.encoders.bundled.hybrid import BATCH_TEXTS, BATCH_TOKENS, BundledHybrid
from hybrid_search.encoders.catalog import card
from hybrid_search.training.bundled.graph import Builder, transformer
from hybrid_search.training.bundled.states import base_model, pad

ROUNDS = 7
MOVIES = Path(__file__).parents[2] / "datasets" / "movies" / "corpus.jsonl"


def main(documents: int) -> None:
    rows = [json.loads(line) for line in MOVIES.open(encoding="utf-8")]
    texts = [f"{row['title']}\n{row['text']}" for row in rows][:documents]
    model = BundledHybrid(card("bundled/minilm-splade", "hybrid"), cache_dir=Path(tempfile.mkdtemp()))
    shape, weights, tokenizer = base_model()
    ids = [found.ids[:256] for found in tokenizer.encode_batch_fast(texts)]
    dense, sparse = (session(graph(shape, weights, splade=splade)) for splade in (False, True))
    ways: dict[str, Callable[[], object]] = {
        "bundled": lambda: model.encode_documents(texts),
        "two dense": lambda: [run(dense, ids), run(dense, ids)],
        "dense and splade": lambda: [run(dense, ids), run(sparse, ids)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            start = perf_counter()
            way()
            if number:
                seconds[name].append(perf_counter() - start)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    line = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "documents": len(texts),
        "tokens": sum(map(len, ids)),
        "documents_per_s": {name: round(len(texts) / median, 1) for name, median in medians.items()},
        "times_two_dense": round(medians["two dense"] / medians["bundled"], 2),
        "times_dense_and_splade": round(medians["dense and splade"] / medians["bundled"], 2),
    }
    print(json.dumps(line))
    with (Path(__file__).parent / "results" / "one_pass.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def graph(shape: Any, weights: Any, *, splade: bool) -> Any:
    """MiniLM with mean pooling, or with the decoder of its own word embeddings: log(1 + relu(max over tokens))."""
    made = Builder(Graph(), True, {})
    last, _ = transformer(made, shape, weights)
    words = weights["embeddings.word_embeddings.weight"]
    if splade:
        logits = made.graph.add("Relu", made.times(last, words.T))
        mask = made.graph.add("Cast", made.graph.add("Unsqueeze", "attention_mask", made.ints(2)), to=1)
        top = made.graph.add("ReduceMax", made.graph.add("Mul", logits, mask), axes=[1], keepdims=0)
        found = made.graph.add("Log", made.graph.add("Add", top, made.number(1.0)))
    else:
        found = mean_pooling(made.graph, last)
    batch = ("batch", "length")
    shapes = {"found": (found, ("batch", words.shape[0 if splade else 1]))}
    return made.graph.model({"input_ids": batch, "attention_mask": batch}, shapes)


def session(model: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(model: Any, ids: Sequence[Sequence[int]]) -> None:
    """Encode, and for a sparse output find what is above 0, as any caller has to."""
    for batch in batches([len(each) for each in ids], budget=BATCH_TOKENS[1], limit=BATCH_TEXTS):
        [found] = model.run(None, pad([ids[place] for place in batch]))
        if found.shape[1] > 1000:
            for row in found:
                np.flatnonzero(row > 0)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
