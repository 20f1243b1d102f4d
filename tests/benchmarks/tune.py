"""What `tune` recommends on one half of the judged queries, and what that is worth on the other half.

    python tests/benchmarks/tune.py COLLECTION... [--splits 30]

For each collection (a BEIR folder), built with the bundled models in the cache, the judged queries are cut into halves
so many times. On one half settings are chosen as `tune` does; where it would recommend them, their nDCG@10 is held
against the default's on the other half. `LEAST_QUERIES` does not count here, so that small collections say something.
Prints dated JSON lines and adds them to tests/benchmarks/results/tune.jsonl.
"""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_search.collection.models import ModelRequest
from hybrid_search.evaluation import measures
from hybrid_search.evaluation.datasets import read_dataset
from hybrid_search.evaluation.experiment import collection_for
from hybrid_search.evaluation.job import Job
from hybrid_search.evaluation.tune_candidates import Candidate
from hybrid_search.evaluation.tune_selection import LEAST_QUERIES, corrected_p, held_out_gain, verdict
from hybrid_search.evaluation.tune_trial import Trial, choose_fixed
from hybrid_search.settings import load_settings

RESULTS = Path(__file__).parent / "results" / "tune.jsonl"


def main() -> None:
    """Measure each collection, and keep the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+", type=Path)
    parser.add_argument("--splits", type=int, default=30)
    given = parser.parse_args()
    with RESULTS.open("a", encoding="utf-8") as file:
        for folder in given.collections:
            line = json.dumps(measured(folder, given.splits))
            print(line, flush=True)
            file.write(line + "\n")


def measured(folder: Path, splits: int) -> dict[str, Any]:
    """Return what the recommendations on halves of a collection's queries are worth on the others."""
    settings = load_settings()
    data, name = read_dataset(folder, settings=settings)
    job = Job(settings, data, name, {}, {})
    main, _ = collection_for(job, None, ModelRequest("bundled", {"sparse": None, "dense": None}, None), None)
    with job.open:
        (measure,) = measures.parse(["nDCG@10"])
        trial = Trial(data, job.searcher(main), measure, None, lambda *_: None)
        gains = [gain for seed in range(splits) if (gain := split(trial, seed)) is not None]
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "collection": name,
        "queries": trial.queries,
        "splits": splits,
        "recommended": len(gains),
        "mean_gain": round(float(np.mean(gains)), 4) if gains else None,
        "least_gain": round(min(gains), 4) if gains else None,
        "worse_by_0.005": sum(gain < -0.005 for gain in gains),
    }


def split(trial: Trial, seed: int) -> float | None:
    """Return the gain on one half of what is recommended on the other; None where nothing is."""
    order = np.random.default_rng(seed).permutation(trial.queries)
    ours, others = np.sort(order[: trial.queries // 2]), np.sort(order[trial.queries // 2 :])
    default = trial.values(Candidate())
    gain = held_out_gain(
        lambda rows: choose_fixed(trial, ours[rows]), lambda one: trial.values(one)[ours], default[ours], seed
    )
    chosen = choose_fixed(trial, ours)
    looked_at = [values[ours] for values in trial.all_values()]
    p = corrected_p(trial.values(chosen)[ours], looked_at, default[ours], seed)
    if verdict(gain, p, chosen != Candidate(), max(LEAST_QUERIES, len(ours))) != "recommend":
        return None
    return float((trial.values(chosen) - default)[others].mean())


if __name__ == "__main__":
    main()
