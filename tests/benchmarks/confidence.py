"""How well the confidence of a search tells that nothing relevant is among the first ten documents.

    python tests/benchmarks/confidence.py COLLECTION... [--store FOLDER]
    python tests/benchmarks/confidence.py --remove-answers COLLECTION... [--training FOLDER] [--source NAME]...
    python tests/benchmarks/confidence.py --fit --training FOLDER [--store FOLDER]

The first prints for each collection (a BEIR folder) and mode the area under the ROC curve, with a 95 % interval by
bootstrap over the queries, and how often `low` is right; `foreign` is the area for telling its own queries from those
of `datasets/movies`, to which it has no answer.

The second takes all that is relevant to a random half of a collection's queries out of its documents, so that these
queries have no answer there, and prints the same area; with `--source` also on queries and passages of sources in
FOLDER that no fit has seen.

The third fits the coefficients of `ranking/confidence.py`: on `datasets/movies`, and on queries with their passages
from `pairs.jsonl.gz` in FOLDER (`query`, `passage` and `source` in each row), a collection of its own for each source;
and prints the area on each collection when fitted on the others.

Collections are built with the bundled models in `--store`, or in a temporary folder. Prints dated JSON lines and adds
them to tests/benchmarks/results/confidence.jsonl.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hybrid_search.indexer import Indexer
from hybrid_search.ranking.confidence import FITS, Signals, confidence, signals
from hybrid_search.results import Confidence
from hybrid_search.search.handed_on import leg_evidence
from hybrid_search.search.open_collection import OpenCollection
from hybrid_search.search.request import SearchRequest
from hybrid_search.search.retrieval import retrieve_documents, retrieve_queries
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.store import open_store

ROOT = Path(__file__).parents[2]
MOVIES = ROOT / "datasets" / "movies"
MODES = {"hybrid": FITS[0], "dense": FITS[1], "sparse": FITS[2]}
SOURCES = {"MedQuAD": 2000, "osbooks": 3000, "Open English WordNet": 5000}
"""By the beginning of a source's name, the passages that are taken of it."""

PASSAGES = 2000
"""Of a source that no fit has seen."""

QUERIES = 350
FOREIGN = 100
FOREIGN_SHARE = 0.3
"""What a collection's foreign queries weigh in a fit, together, where its own weigh 1."""

L2 = 0.01
SEED = 17


class Judged(NamedTuple):
    """A query, and the ids of what is relevant to it; none for a foreign query."""

    text: str
    relevant: frozenset[str]


class Row(NamedTuple):
    """What a search for a query came to: its signals, its confidence, and whether one of its first ten is relevant."""

    signals: Signals
    confidence: Confidence | None
    answered: bool
    foreign: bool


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("collections", nargs="*", type=Path)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--remove-answers", action="store_true")
    parser.add_argument("--source", action="append", default=[])
    parser.add_argument("--training", type=Path)
    parser.add_argument("--store", type=Path)
    asked = parser.parse_args()
    if asked.source and not (asked.remove_answers and asked.training):
        parser.error("--source takes --remove-answers and --training FOLDER")
    if asked.fit and not asked.training:
        parser.error("--fit takes --training FOLDER")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        store = asked.store or Path(place)
        if asked.fit:
            fit_all(asked.training, store)
        if asked.remove_answers:
            measure_removed(asked.collections, asked.source, asked.training, store)
        elif asked.collections:
            measure_all(asked.collections, store)


def measure_all(folders: Sequence[Path], store: Path) -> None:
    """Print one line a collection, and one of the means over them, for each mode."""
    strangers = [Judged(query.text, frozenset()) for query in beir(MOVIES)]
    areas: dict[str, list[float]] = {mode: [] for mode in MODES}
    pooled: dict[str, list[Row]] = {mode: [] for mode in MODES}
    for folder in folders:
        build(store, folder.name, folder)
        queries = [*beir(folder), *random.Random(SEED).sample(strangers, FOREIGN)]
        for mode in MODES:
            rows = observe(store, folder.name, queries, mode)
            found = measured(rows)
            areas[mode].append(found["auc"])
            pooled[mode] += rows
            tell(dataset=folder.name, mode=mode, **found)
    for mode in MODES:
        tell(dataset="mean", mode=mode, auc=round(float(np.mean(areas[mode])), 3), pooled=measured(pooled[mode]))


def measure_removed(folders: Sequence[Path], sources: Sequence[str], training: Path, store: Path) -> None:
    """Print one line a collection and mode, after the answers of half of its queries were removed."""
    given = {folder.name: (documents_of(folder), beir(folder)) for folder in folders}
    given |= {source: known_items(training / "pairs.jsonl.gz", source, PASSAGES) for source in sources}
    areas: dict[str, list[float]] = {mode: [] for mode in MODES}
    for name, (documents, queries) in given.items():
        robbed = random.Random(SEED).sample(queries, len(queries) // 2)
        gone = {doc_id for query in robbed for doc_id in query.relevant}
        collection = "removed-" + re.sub("[^A-Za-z0-9]+", "-", name)
        build(store, collection, [document for document in documents if document["id"] not in gone])
        for mode in MODES:
            found = measured(observe(store, collection, queries, mode))
            areas[mode].append(found["auc"])
            own = {key: value for key, value in found.items() if not key.startswith("foreign")}
            tell(
                dataset=f"{name} without answers",
                mode=mode,
                removed=len(gone),
                documents=len(documents) - len(gone),
                **own,
            )
    for mode in MODES if given else ():
        tell(dataset="mean without answers", mode=mode, auc=round(float(np.mean(areas[mode])), 3))


def documents_of(folder: Path) -> list[dict[str, str]]:
    """Read the documents of a BEIR folder."""
    rows = map(json.loads, (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines())
    return [{"id": row["_id"], "title": row.get("title", ""), "text": row["text"]} for row in rows]


def measured(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the areas, and how often the words are right."""
    own = [row for row in rows if not row.foreign]
    low = [row for row in own if row.confidence and row.confidence.word == "low"]
    high = [row for row in own if row.confidence and row.confidence.word == "high"]
    strangers = [row for row in rows if row.foreign]
    return {
        "queries": len(own),
        "unanswered": sum(not row.answered for row in own),
        "auc": round(area([row.answered for row in own], [value(row) for row in own]), 3),
        "auc_95": interval(own),
        "foreign": round(area([not row.foreign for row in rows], [value(row) for row in rows]), 3),
        "low": len(low),
        "low_unanswered": sum(not row.answered for row in low),
        "high": len(high),
        "high_unanswered": sum(not row.answered for row in high),
        "foreign_low": round(float(np.mean([bool(r.confidence and r.confidence.word == "low") for r in strangers])), 3),
    }


def value(row: Row) -> float:
    return row.confidence.value if row.confidence else 0.5


def area(truth: Sequence[bool], values: Sequence[float]) -> float:
    """Return the area under the ROC curve: how often a true one has a greater value than a false one, ties half."""
    truth_of, value_of = np.asarray(truth, bool), np.asarray(values, float)
    differences = value_of[truth_of][:, None] - value_of[~truth_of][None, :]
    return float(np.mean((differences > 0) + 0.5 * (differences == 0))) if differences.size else float("nan")


def interval(rows: Sequence[Row], samples: int = 1000) -> list[float]:
    """Return the 95 % interval of the area by bootstrap; samples without any unanswered query are drawn anew."""
    truth, values = np.array([row.answered for row in rows]), np.array([value(row) for row in rows])
    drawn: list[float] = []
    generator = np.random.default_rng(SEED)
    while len(drawn) < samples and not truth.all():
        places = generator.integers(len(rows), size=len(rows))
        if not truth[places].all():
            drawn.append(area(truth[places].tolist(), values[places].tolist()))
    return [round(float(end), 3) for end in np.percentile(drawn, [2.5, 97.5])] if drawn else []


def fit_all(training: Path, store: Path) -> None:
    """Fit each mode on all collections, and print the area on each when fitted on the others."""
    queries = {"movies": beir(MOVIES)}
    build(store, "movies", MOVIES)
    for source, size in SOURCES.items():
        name = source.split()[-1].lower()
        documents, queries[name] = known_items(training / "pairs.jsonl.gz", source, size)
        build(store, name, documents)
    for mode, fit in MODES.items():
        rows = {name: observe(store, name, [*own, *strangers(queries, name)], mode) for name, own in queries.items()}
        held_out = {}
        for name in rows:
            weights, constant = logistic([rows[other] for other in rows if other != name], fit.names)
            own = [row for row in rows[name] if not row.foreign]
            scores = [linear(row.signals, fit.names, weights, constant) for row in own]
            held_out[name] = round(area([row.answered for row in own], scores), 3)
        weights, constant = logistic(list(rows.values()), fit.names)
        told = {name: round(float(weight), 3) for name, weight in zip(fit.names, weights, strict=True)}
        counts = {name: [len(some), sum(not row.answered for row in some)] for name, some in rows.items()}
        tell(fit=mode, weights=told, constant=round(float(constant), 3), held_out_auc=held_out, counts=counts)


def strangers(queries: Mapping[str, Sequence[Judged]], name: str) -> list[Judged]:
    """Return some queries of the other collections, as many of each."""
    others = [own for other, own in queries.items() if other != name]
    drawn = (random.Random(SEED).sample(list(own), FOREIGN // len(others)) for own in others)
    return [Judged(query.text, frozenset()) for own in drawn for query in own]


def logistic(
    collections: Sequence[Sequence[Row]], names: Sequence[str], steps: int = 50
) -> tuple[np.ndarray[Any, Any], float]:
    """Fit a ridge logistic regression by Newton's method; each collection weighs the same."""
    inputs, truths, shares = [], [], []
    for rows in collections:
        foreign = np.array([row.foreign for row in rows])
        share = np.where(foreign, FOREIGN_SHARE / max(foreign.sum(), 1), 1 / (~foreign).sum())
        inputs.append([vector(row.signals, names) for row in rows])
        truths.append([row.answered for row in rows])
        shares.append(share / share.sum() / len(collections))
    given, truth, share = np.vstack(inputs), np.concatenate(truths).astype(float), np.concatenate(shares)
    mean = share @ given
    deviation = np.sqrt(share @ (given - mean) ** 2)
    scaled = np.column_stack([(given - mean) / deviation, np.ones(len(given))])
    ridge = np.diag([L2] * len(names) + [0.0])
    weights = np.zeros(scaled.shape[1])
    for _ in range(steps):
        likely = 1 / (1 + np.exp(-scaled @ weights))
        slope = scaled.T @ (share * (likely - truth)) + ridge @ weights
        weights -= np.linalg.solve((scaled * (share * likely * (1 - likely))[:, None]).T @ scaled + ridge, slope)
    own = weights[:-1] / deviation
    return own, float(weights[-1] - own @ mean)


def vector(given: Signals, names: Iterable[str]) -> list[float]:
    """Return signals by name; 0 for one that is missing, as where a leg abstains."""
    return [getattr(given, name) or 0.0 for name in names]


def linear(given: Signals, names: Sequence[str], weights: np.ndarray[Any, Any], constant: float) -> float:
    return float(np.dot(vector(given, names), weights) + constant)


def observe(store: Path, name: str, queries: Sequence[Judged], mode: str) -> list[Row]:
    """Search for each query."""
    request = SearchRequest(mode=mode)
    with Searcher.open(name, store=store) as searcher:

        def work(opened: OpenCollection) -> list[Row]:
            rows = []
            retrieved = retrieve_queries([query.text for query in queries], request, opened, searcher._threads)
            for query, found in zip(queries, retrieved, strict=True):
                legs = leg_evidence(found.vectors, found.rankings, opened.reader.manifest)
                assert found.confidence is None or confidence(legs) is not None
                first = {group[0].doc_id for group in retrieve_documents(found, request, opened).groups[:10]}
                told = Row(signals(legs), found.confidence, bool(first & query.relevant), not query.relevant)
                rows.append(told)
            return rows

        return searcher._within(work)


def build(store: Path, name: str, source: Path | list[dict[str, str]]) -> None:
    """Index a collection with the bundled models, if the store has none of that name."""
    opened = open_store(str(store))
    there = name in opened.names()
    opened.close()
    if not there:
        Indexer.open(name, settings=Settings(store=str(store)), profile="bundled").index(source)


def beir(folder: Path) -> list[Judged]:
    """Read the judged queries of a BEIR folder that have something relevant."""
    relevant: dict[str, set[str]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query_id, doc_id, score = line.split("\t")
        if int(score) > 0:
            relevant.setdefault(query_id, set()).add(doc_id)
    rows = map(json.loads, (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines())
    return [Judged(row["text"], frozenset(relevant[row["_id"]])) for row in rows if row["_id"] in relevant]


def known_items(path: Path, source: str, size: int) -> tuple[list[dict[str, str]], list[Judged]]:
    """Draw passages of a source, and queries whose passages are among them."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        pairs = [pair for pair in map(json.loads, file) if pair["source"].startswith(source)]
    drawing = random.Random(SEED)
    drawing.shuffle(pairs)
    ids: dict[str, str] = {}
    relevant: dict[str, set[str]] = {}
    for pair in pairs:
        if len(ids) < size or pair["passage"] in ids:
            doc_id = ids.setdefault(pair["passage"], f"d{len(ids)}")
            relevant.setdefault(pair["query"], set()).add(doc_id)
    queries = [Judged(query, frozenset(relevant[query])) for query in drawing.sample(sorted(relevant), QUERIES)]
    return [{"id": doc_id, "text": passage[:2000]} for passage, doc_id in ids.items()], queries


def tell(**facts: Any) -> None:
    """Print a dated line and keep it."""
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    line = json.dumps({"date": date, "benchmark": "confidence", **facts})
    print(line, flush=True)
    results = Path(__file__).parent / "results" / "confidence.jsonl"
    results.parent.mkdir(exist_ok=True)
    with results.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    main()
