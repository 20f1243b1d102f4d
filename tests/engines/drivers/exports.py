"""What the drivers read of an export, and how they answer. Runs in every environment: the standard library alone."""

import json
from collections import Counter
from pathlib import Path


def topics(folder):
    """Yield the topics: id, and each token with the number of its repetitions."""
    for line in (Path(folder) / "topics.tsv").read_text(encoding="utf-8").rstrip("\n").split("\n"):
        query, tokens = line.split("\t")
        yield query, dict(Counter(tokens.split(" ")))


def vectors(folder):
    """Yield Anserini's documents: id, and each token with its weight."""
    for part in sorted((Path(folder) / "documents").glob("part-*.jsonl")):
        with part.open(encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                yield row["id"], row["vector"]


def tell(answer, indexed, run, index_s, search_s):
    """Write what the harness reads as an outcome."""
    told = {"indexed": indexed, "run": run, "index_s": index_s, "search_s": search_s}
    Path(answer).write_text(json.dumps(told), encoding="utf-8")
