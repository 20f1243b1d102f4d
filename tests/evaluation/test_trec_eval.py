"""Saved runs give the same values in trec_eval itself, and by the measures' own definitions."""

import math

import numpy as np
import pytest

from hybrid_search.corpus.trec import Dataset, Qrel, ScoredDoc, read_beir_qrels, read_run, write_run
from hybrid_search.evaluation import measures
from hybrid_search.evaluation.experiment import evaluate
from hybrid_search.evaluation.outside_runs import read_outside_runs
from hybrid_search.types import Query

NAMES = {"nDCG@10": "ndcg_cut_10", "R@100": "recall_100", "RR@10": "recip_rank", "AP": "map"}
BM25 = {"sparse": "qdrant/bm25-engine", "dense": "none"}


def as_trec_eval_sorts(path):
    """By query the documents of a run: by score in 32 bits, equal ones by id, the greater first; ranks are not read."""
    by_query = {}
    for line in path.read_text().splitlines():
        query_id, q0, doc_id, _, score, _ = line.split(" ")
        assert q0 == "Q0"
        by_query.setdefault(query_id, []).append((np.float32(score), doc_id))
    return {query_id: [doc_id for _, doc_id in sorted(rows, reverse=True)] for query_id, rows in by_query.items()}


def by_definition(ranked, relevance):
    """nDCG@10, R@100, RR@10 and AP of one query."""
    gains = [relevance.get(doc_id, 0) for doc_id in ranked]
    ideal = sorted((gain for gain in relevance.values() if gain > 0), reverse=True)
    dcg, best = (sum(max(g, 0) / math.log2(n + 2) for n, g in enumerate(some[:10])) for some in (gains, ideal))
    places = [n for n, gain in enumerate(gains, 1) if gain > 0]
    if not ideal:
        return 0.0, 0.0, 0.0, 0.0
    first = places[0] if places and places[0] <= 10 else math.inf
    precision = sum(found / place for found, place in enumerate(places, 1)) / len(ideal)
    return dcg / best, sum(place <= 100 for place in places) / len(ideal), 1 / first, precision


def check(path, qrels, found):
    """Hold values by measure and query against both."""
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pytrec-eval-terrier is not installed")
    relevance = {}
    for qrel in qrels:
        relevance.setdefault(qrel.query_id, {})[qrel.doc_id] = qrel.relevance
    ranked = as_trec_eval_sorts(path)
    run = {}
    for row in read_run(path):
        run.setdefault(row.query_id, {})[row.doc_id] = row.score
    measured = pytrec_eval.RelevanceEvaluator(relevance, set(NAMES.values())).evaluate(run)
    for place, query_id in enumerate(relevance):
        ours = [found[name][place] for name in NAMES]
        assert ours == pytest.approx(by_definition(ranked.get(query_id, []), relevance[query_id]), abs=1e-6)
        theirs = [measured.get(query_id, {}).get(name, 0.0) for name in NAMES.values()]
        theirs[2] = theirs[2] if theirs[2] >= 0.1 else 0.0  # recip_rank has no cutoff
        assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_random_runs_with_ties_and_queries_without_hits(tmp_path, seed):
    random = np.random.default_rng(seed)
    qrels, rows = [], []
    for query in range(30):
        judged = random.permutation(400)[: random.integers(1, 40)]
        qrels += [Qrel(f"q{query}", f"d{one}", int(random.integers(0, 4))) for one in judged]
        if query % 5:  # the others have no hit
            scores = np.sort(random.integers(0, 50, 300))[::-1] / (7 if seed % 2 else 1e9)
            documents = random.permutation(400)[:300]
            rows += [ScoredDoc(f"q{query}", f"d{d}", float(s)) for d, s in zip(documents, scores, strict=True)]
    write_run(tmp_path / "a.trec", rows, "tag")
    found = measures.score(rows, qrels, measures.parse(list(NAMES)))
    check(tmp_path / "a.trec", qrels, found)


def test_what_is_reported_by_query_is_what_trec_eval_says_of_the_saved_runs(dataset, settings, tmp_path, fakes):
    folder = dataset(queries={"q0": "zzz", "q1": "music", "q2": "alone", "q3": "a rock band", "q4": "fish"})
    with (folder / "qrels" / "test.tsv").open("a") as file:
        file.write("q0\tmars\t1\n")
    modes = ["bm25", "sparse", "dense", "hybrid:all"]
    report = evaluate(
        folder,
        settings=settings,
        sparse="fake/sparse",
        dense="fake/dense",
        modes=modes,
        measures=list(NAMES),
        runs=tmp_path / "runs",
    )
    qrels = read_beir_qrels(folder / "qrels" / "test.tsv")
    assert [result.mode for result in report.results][3:] == [
        *("hybrid:rrf", "hybrid:dbsf", "hybrid:minmax", "hybrid:convex")
    ]
    for result in report.results:
        path = tmp_path / "runs" / f"films.{result.mode.replace(':', '.')}.trec"
        check(path, qrels, result.per_query)
        for name, values in result.per_query.items():
            assert len(values) == 5
            assert result.measures[name] == pytest.approx(np.mean(values), abs=5e-5)
            low, high = result.intervals[name]
            assert 0 <= low <= result.measures[name] + 1e-4
            assert result.measures[name] <= high + 1e-4
    bm25 = report.results[0].per_query["AP"]
    assert bm25[report.query_ids.index("q0")] == 0.0


@pytest.mark.parametrize("depth", [5, 40, 1000])
def test_a_saved_run_is_as_deep_as_asked_and_sorted_by_any_scorer_alike(dataset, settings, tmp_path, depth):
    many = {f"d{n}": "music " * (n % 7 + 1) for n in range(1200)}  # with many equal scores
    folder = dataset(documents=many, queries={"q1": "music"}, qrels=[("q1", "d7", 1)])
    evaluate(folder, settings=settings, **BM25, modes=["sparse"], measures=["nDCG@10"], runs=tmp_path, run_depth=depth)
    path = tmp_path / "films.sparse.trec"
    lines = path.read_text().splitlines()
    assert len(lines) == max(10, depth)
    assert [int(line.split()[3]) for line in lines] == list(range(1, len(lines) + 1))
    assert as_trec_eval_sorts(path)["q1"] == [line.split()[2] for line in lines]


@pytest.mark.parametrize("seed", range(4))
def test_a_run_made_elsewhere_has_the_values_of_trec_eval_with_ties_too(tmp_path, seed):
    random = np.random.default_rng(seed)
    qrels, lines = [], []
    names = [f"d{n}" if n % 3 else f"é{n}" for n in range(300)]
    for query in range(20):
        judged = random.permutation(300)[: random.integers(1, 40)]
        qrels += [Qrel(f"q{query}", names[one], int(random.integers(-1, 4))) for one in judged]
        if query % 5:  # the others have no hit
            scores = random.integers(0, 12, 200) / 3  # unsorted, many of them equal
            if seed % 2:
                scores = 1e6 + scores / 1e4  # differ in 64 bits alone
            documents = random.permutation(300)[:200]
            lines += [f"q{query} Q0 {names[d]} 1 {s!r} x" for d, s in zip(documents, scores.tolist(), strict=True)]
    path = tmp_path / "theirs.trec"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    queries = tuple(Query(f"q{n}", "words") for n in range(20))
    [run] = read_outside_runs([path], Dataset(queries, tuple(qrels), tmp_path), list, [])
    check(path, qrels, measures.score(run.rows, qrels, measures.parse(list(NAMES))))
