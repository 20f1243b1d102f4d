"""Pictures of an evaluation: what they show, against the report; and what stands in the files."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from hybrid_search.corpus.trec import Qrel, ScoredDoc
from hybrid_search.errors import InvalidArgument
from hybrid_search.evaluation.experiment import evaluate
from hybrid_search.evaluation.plot_data import MOST_BARS, MOST_POINTS, plot_data
from hybrid_search.evaluation.plot_ranks import DEPTH, relevant_ranks
from hybrid_search.evaluation.plots import check_plot, page, write_plot
from hybrid_search.evaluation.report import ModeResult, Report

EVIL = '</script><script>alert("x")</script>\x1b[31m'


def result(mode, values, ms=None):
    mean = float(np.mean(values))
    latency = {"p50": ms} if ms else {}
    return ModeResult(
        mode, {"nDCG@10": mean}, None, None, {"nDCG@10": (mean - 0.1, mean + 0.1)}, {"nDCG@10": tuple(values)}, latency
    )


def report(queries=("q1", "q2", "q3"), modes=("bm25", "sparse", "dense", "hybrid"), ms=3.5, name="films"):
    random = np.random.default_rng(0)
    results = tuple(result(mode, random.random(len(queries)).round(3).tolist(), ms) for mode in modes)
    return Report(name, 10, len(queries), "bundled", "", results, {}, query_ids=tuple(queries))


def ranks(modes, documents=8):
    random = np.random.default_rng(1)
    return {mode: random.integers(0, DEPTH + 1, documents).astype(np.int32) for mode in modes}


MODES = ("bm25", "sparse", "dense", "hybrid")


def drawn(data):
    """The rows of each picture, by the beginning of its title."""
    spec = page(data)
    found = {}
    for row in spec["vconcat"]:
        for chart in row["hconcat"]:
            values = (chart.get("data") or chart["layer"][0]["data"])["values"]
            found[(chart.get("title") or chart["layer"][0]["title"])["text"]] = values
    return found


def test_ranks_are_those_of_the_run_and_of_what_is_relevant_alone():
    qrels = [Qrel("q1", "a", 1), Qrel("q1", "b", 0), Qrel("q1", "c", 2), Qrel("q2", "a", 1), Qrel("q3", "x", 1)]
    run = [ScoredDoc("q1", doc_id, 1.0) for doc_id in ("b", "c", "a")] + [ScoredDoc("q2", "z", 1.0)]
    assert relevant_ranks(run, qrels).tolist() == [3, 2, 0, 0]
    long = [ScoredDoc("q1", f"d{n}", 1.0) for n in range(DEPTH)] + [ScoredDoc("q1", "a", 0.5)]
    assert relevant_ranks(long, qrels).tolist()[0] == 0


def test_the_pictures_show_what_the_report_says():
    given, found = report(), ranks(MODES)
    data = plot_data(given, found)
    by_mode = {one.mode: one for one in given.results}
    best = max(("bm25", "sparse", "dense"), key=lambda mode: by_mode[mode].measures["nDCG@10"])
    assert (data.gains.better, data.gains.base) == ("hybrid", best)
    expected = sorted(
        a - b for a, b in zip(by_mode["hybrid"].per_query["nDCG@10"], by_mode[best].per_query["nDCG@10"], strict=True)
    )
    assert [value for _, value in data.gains.differences] == pytest.approx(expected)
    for mode, values in data.recall.items():
        for depth in (1, 10, DEPTH):
            share = np.mean([0 < rank <= depth for rank in found[mode]])
            assert values[depth - 1] == pytest.approx(share, abs=1e-6)
    assert data.legs == ("sparse", "dense")
    assert set(data.ranks) <= set(zip(found["sparse"].tolist(), found["dense"].tolist(), strict=True))
    pictures = drawn(data)
    assert len(pictures) == 4
    assert [row["gain"] for row in pictures[f"hybrid against {best}, query by query"]] == pytest.approx(expected)
    assert {row["mode"]: row["mean"] for row in pictures["nDCG@10 against latency"]} == {
        mode: by_mode[mode].measures["nDCG@10"] for mode in MODES
    }


def test_what_has_no_data_is_left_out_and_named():
    spec = page(plot_data(report(modes=("dense",), ms=None), ranks(("dense",))))
    assert sum(len(row["hconcat"]) for row in spec["vconcat"]) == 1
    assert "gains and losses" in spec["title"]["subtitle"]
    assert "latency" in spec["title"]["subtitle"]


@pytest.mark.parametrize("kind", ["svg", "html", "png"])
def test_the_same_report_gives_the_same_bytes_and_the_file_fetches_nothing(tmp_path, kind):
    data = plot_data(report(queries=(EVIL, "запрос", "q3"), name=EVIL), ranks(MODES))
    one, other = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    write_plot(data, one)
    write_plot(data, other)
    if kind != "html":
        assert one.read_bytes() == other.read_bytes()
    content = one.read_bytes()
    if kind == "png":
        assert content.startswith(b"\x89PNG")
        return
    text = content.decode()
    assert not re.findall(r"(?:src|href)=[\"']https?:", text)
    assert "<script>alert" not in text
    assert "\x1b" not in text
    assert "<text" in text if kind == "svg" else "vega" in text


def test_a_great_many_queries_stay_a_small_file(tmp_path):
    many = tuple(f"q{n}" for n in range(10_000))
    data = plot_data(report(queries=many), ranks(MODES, 60_000))
    pictures = drawn(data)
    assert len(next(rows for title, rows in pictures.items() if "query by query" in title)) == MOST_BARS
    assert len(pictures["Ranks of relevant documents in sparse and dense"]) <= MOST_POINTS
    write_plot(data, tmp_path / "many.svg")
    assert (tmp_path / "many.svg").stat().st_size < 1_500_000


@pytest.mark.parametrize(
    ("name", "says"), [("a.gif", "none of them"), ("a", "none of them"), ("no/a.svg", "no folder")]
)
def test_a_file_that_cannot_be_drawn_is_refused_before_the_work(tmp_path, name, says):
    with pytest.raises(InvalidArgument, match=says):
        check_plot(tmp_path / name)


def test_an_evaluation_keeps_what_its_pictures_show(dataset, settings, fakes, tmp_path):
    found = evaluate(
        dataset(), settings=settings, sparse="fake/sparse", dense="fake/dense", measures=["nDCG@10"], pictures=True
    )
    assert set(found.ranks) == {"bm25", "sparse", "dense", "hybrid"}
    data = plot_data(found, found.ranks)
    assert len(data.speed) == 4
    write_plot(data, tmp_path / "films.svg")
    assert "films: 4 judged queries" in (tmp_path / "films.svg").read_text(encoding="utf-8")
    assert "ranks" not in json.dumps(found.to_dict())
