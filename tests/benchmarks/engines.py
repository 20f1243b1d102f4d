"""Other engines over what a collection exports: how much of the exact top 10 they find, and nDCG@10.

    python tests/benchmarks/engines.py [DATASET] [--only lucene,pisa_ciff] [--work FOLDER]

DATASET is a BEIR folder, ../shared/collections/cranfield by default. Indexes it with the bundled model, one
chunk a document, exports it for each case of tests/engines/cases.py, and indexes and searches each export with its
engine. Engines are installed on demand, as tests/engines/environments.py says. One that cannot be had is named with its
reason. Prints one dated JSON line and adds it to tests/benchmarks/results/engines.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.engines.cases import CASES, Bench, Case, bench  # noqa: E402
from tests.engines.environments import Unavailable  # noqa: E402
from tests.engines.exact import K, ndcg, overlap  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", nargs="?", type=Path, default=ROOT.parent / "shared" / "collections" / "cranfield")
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--work", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        work = asked.work or Path(place)
        made = bench(asked.dataset, work, work / "cache")
        line = {
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "benchmark": "engines",
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "cores": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 2),
            "dataset": asked.dataset.name,
            "documents": len(made.encoded.documents),
            "queries": len(made.encoded.queries),
            "exact_ndcg": round(ndcg(made.exact, made.data.qrels), 4),
            "rows": {name: row(made, CASES[name]) for name in asked.only.split(",")},
        }
    results = Path(__file__).parent / "results" / "engines.jsonl"
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line))


def row(made: Bench, case: Case) -> dict[str, Any]:
    """One engine on one export; where it cannot be had, why."""
    try:
        _, done = made.outcome(case)
    except Unavailable as error:
        return {"unavailable": str(error)}
    best = {query: ids[:K] for query, ids in done.ids.items()}
    return {
        "options": " ".join(case.options),
        "indexed": done.indexed,
        "overlap": round(overlap(done.ids, made.exact), 4),
        "ndcg": round(ndcg(best, made.data.qrels), 4),
        "index_s": round(done.index_s, 2),
        "search_s": round(done.search_s, 2),
    }


if __name__ == "__main__":
    main()
