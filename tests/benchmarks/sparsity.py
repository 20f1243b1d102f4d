"""What smaller sparse vectors cost: active dims, size on disk and nDCG@10 against the limit.

    python tests/benchmarks/sparsity.py [DATASET...] [--model bundled/minilm-splade] [--documents 250,120,60,30,15]
                                        [--queries 60,30,15]

Builds a collection of the model's sparse leg alone for each limit on documents, with queries whole, and then for each
limit on queries, with documents whole. Prints one dated JSON line a dataset and adds it to
tests/benchmarks/results/sparsity.jsonl.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from hybrid_search.collection.models import ModelRequest
from hybrid_search.collection.profiles import select_models
from hybrid_search.corpus.trec import read_beir
from hybrid_search.evaluation.experiment import evaluate
from hybrid_search.manifest import Sparsity
from hybrid_search.settings import Settings
from hybrid_search.store import open_store

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("datasets", nargs="*", default=[str(ROOT / "datasets" / "movies")])
    parser.add_argument("--model", default="bundled/minilm-splade")
    parser.add_argument("--documents", default="120,60,30,15")
    parser.add_argument("--queries", default="30,15,8")
    asked = parser.parse_args()
    limits = [Sparsity()]
    limits += [Sparsity((0, int(each))) for each in asked.documents.split(",") if each]
    limits += [Sparsity((int(each), 0)) for each in asked.queries.split(",") if each]
    for dataset in asked.datasets:
        line = {
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "benchmark": "sparsity",
            "dataset": Path(dataset).name,
            "model": asked.model,
            "rows": [row(dataset, asked.model, sparsity) for sparsity in limits],
        }
        print(json.dumps(line))
        results = Path(__file__).parent / "results"
        results.mkdir(exist_ok=True)
        with (results / "sparsity.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def row(dataset: str, model: str, sparsity: Sparsity) -> dict[str, float]:
    """One limit: what is left of the vectors, the collection's size, and how well it answers."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        settings = Settings(store=place)
        options = {"sparse": model, "dense": "none", "sparsity": sparsity}
        report = evaluate(dataset, settings=settings, modes=["sparse"], measures=["nDCG@10"], **options)
        store = open_store(place)
        info = store.info(store.names()[0])
        store.close()
        names = {"sparse": model, "dense": "none"}
        encoder = select_models(ModelRequest("auto", names, sparsity=sparsity), settings).encoders["sparse"]
        data = read_beir(dataset)
        texts = [json.loads(each) for each in data.corpus.open(encoding="utf-8")]
        documents = encoder.encode_documents([f"{text.get('title', '')}\n{text['text']}".strip() for text in texts])
        queries = encoder.encode_queries([query.text for query in data.queries])
    return {
        "query_limit": sparsity.max_active_dims[0],
        "document_limit": sparsity.max_active_dims[1],
        "query_dims": round(float(np.mean([len(each) for each in queries])), 1),
        "document_dims": round(float(np.mean([len(each) for each in documents])), 1),
        "sparse_bytes_a_document": round(8 * float(np.mean([len(each) for each in documents]))),
        "mb_on_disk": round((info.bytes_on_disk or 0) / 1e6, 2),
        "nDCG@10": report.results[0].measures["nDCG@10"],
    }


if __name__ == "__main__":
    main()
