"""Runs that other engines returned: whose ids they have, what they are called, and what is broken in them."""

from __future__ import annotations

import pytest

from hybrid_search.corpus.trec import Dataset, Qrel, ScoredDoc, read_run, write_run
from hybrid_search.errors import EvaluationError, InvalidArgument
from hybrid_search.evaluation.outside_runs import forms, read_outside_runs
from hybrid_search.types import Query

QRELS = (Qrel("q1", "tap", 1), Qrel("q1", "my notes.md", 1), Qrel("q2", "c#2", 1), Qrel("q2", "shark", 1))
DATA = Dataset((Query("q1", "music"), Query("q2", "fish")), QRELS, None)


def corpus():
    return ["tap", "my notes.md", "c#2", "shark", "island", "100%20", "caf\u00e9"]


def read(tmp_path, *runs, doc_ids=corpus, modes=()):
    paths = []
    for place, (name, lines) in enumerate(runs):
        paths.append(tmp_path / (name or f"run{place}.trec"))
        paths[-1].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return read_outside_runs(paths, DATA, doc_ids, modes)


def test_passages_become_their_document_with_the_best_score(tmp_path):
    lines = ["q1 Q0 tap#0 1 9.5 x", "q1 Q0 island#12 2 9 x", "q1 Q0 tap#3 3 8 x", "q1 Q0 island 4 9.2 x"]
    [run] = read(tmp_path, ("", lines))
    assert run.rows == [ScoredDoc("q1", "tap", 9.5), ScoredDoc("q1", "island", 9.2)]


def test_an_id_that_is_known_as_it_stands_is_left_alone(tmp_path):
    lines = ["q2 Q0 c#2 1 3 x", "q2 Q0 c#2#1 2 2 x", "q2 Q0 c#1 3 1 x", "q2 Q0 100%20 4 0.5 x"]
    [run] = read(tmp_path, ("", lines))
    assert [(row.doc_id, row.score) for row in run.rows] == [("c#2", 3), ("c#1", 1), ("100%20", 0.5)]


@pytest.mark.parametrize("written", ["my%20notes.md", "my%20notes.md#4", "my%20notes%2Emd"])
def test_escaped_ids_are_read_where_only_the_plain_one_is_known(tmp_path, written):
    [run] = read(tmp_path, ("", [f"q1 Q0 {written} 1 1 x"]))
    assert [row.doc_id for row in run.rows] == ["my notes.md"]


def test_ids_in_another_normal_form_are_one(tmp_path):
    [run] = read(tmp_path, ("", ["q1 Q0 cafe\u0301#1 1 2 x", "q1 Q0 caf\u00e9#2 2 1 x"]))
    assert run.rows == [ScoredDoc("q1", "caf\u00e9", 2.0)]


def test_our_own_runs_are_read_as_they_were_written(tmp_path):
    rows = [ScoredDoc("q1", "my notes.md", 2.0), ScoredDoc("q1", "100%20", 1.0), ScoredDoc("q2", "shark", 3.0)]
    write_run(tmp_path / "own.trec", rows, "hybrid-search-sparse")
    [run] = read_outside_runs([tmp_path / "own.trec"], DATA, corpus, ["sparse"])
    assert run.rows == rows == read_run(tmp_path / "own.trec")
    assert run.label == "hybrid-search-sparse"


def test_documents_stand_by_score_and_equal_ones_by_id_downwards(tmp_path):
    lines = ["q2 Q0 b 1 1 x", "q2 Q0 a 2 1.0 x", "q2 Q0 shark 3 7e-1 x", "q2 Q0 z 9 5 x", "q2 Q0 n 9 -5 x"]
    [run] = read(tmp_path, ("", lines))
    assert [row.doc_id for row in run.rows] == ["z", "b", "a", "shark", "n"]


def test_the_corpus_is_asked_only_where_an_id_has_several_forms(tmp_path):
    def never():
        raise AssertionError

    assert read(tmp_path, ("", ["q1 Q0 tap 1 1 x", "q1 Q0 nobody 2 0.5 x", "q2 Q0 c#2 1 1 x"]), doc_ids=never)
    with pytest.raises(AssertionError):
        read(tmp_path, ("", ["q1 Q0 tap#1 1 1 x"]), doc_ids=never)


def test_a_run_is_called_by_its_tag_or_its_file(tmp_path):
    line = "q1 Q0 tap 1 1"
    runs = [("a.trec", [f"{line} BM25"]), ("b.trec", [f"{line} BM25"]), ("c.trec", [f"{line} x", "q2 Q0 shark 1 1 y"])]
    runs.append(("d.trec", [f"{line} sparse"]))
    assert [run.label for run in read(tmp_path, *runs, modes=["sparse"])] == ["BM25", "b", "c", "d"]
    file = tmp_path / "a.trec"
    with pytest.raises(InvalidArgument, match="given twice"):
        read_outside_runs([file] * 5, DATA, corpus, [])


def test_what_counts_for_nothing_is_told(tmp_path):
    [run] = read(tmp_path, ("", ["q1 Q0 tap 1 1 x", "q9 Q0 tap 1 1 x"]))
    assert run.notes == (
        "x has nothing for 1 query ('q2') of 2; each counts as 0.",
        "x has 1 queries that are not judged; they count for nothing.",
    )
    [run] = read(tmp_path, ("", ["q1 Q0 7 1 1 x", "q2 Q0 8 1 1 x"]))
    assert run.notes == ("x has no document that is judged: are its ids those of this dataset?",)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["q1 Q0 tap 1 1 x", "q1 Q0 shark 2 0.5"], r"run0\.trec:2: expected 6 columns, found 5"),
        (["q1 Q0 tap 1 much x"], r"run0\.trec:1: could not convert"),
        (["q1 Q0 tap 1 nan x"], r"run0\.trec:1: the score nan is not finite"),
        (["q1 Q0 tap 1 1 x y"], r"run0\.trec:1: expected 6 columns, found 7"),
        (
            ["q1 Q0 tap 1 1 x", "q1 Q0 tap 2 1 x"],
            r"run0\.trec:2: document 'tap' for query 'q1' stands more than once, first in line 1",
        ),
        ([], "holds no line of a run"),
    ],
)
def test_what_is_broken_is_refused_with_file_and_line(tmp_path, lines, told):
    with pytest.raises(EvaluationError, match=told):
        read(tmp_path, ("", lines))


def test_ranks_given_twice_are_told_with_their_place(tmp_path):
    [run] = read(tmp_path, ("", ["q1 Q0 tap 1 2 x", "q1 Q0 shark 1 1 x", "q2 Q0 shark 1 1 x", "q2 Q0 tap 2 0 x"]))
    assert [row.doc_id for row in run.rows if row.query_id == "q1"] == ["tap", "shark"]
    assert run.notes == (
        "x gives a rank to several documents in 1 query ('q1'): first rank 1 in query 'q1' to 2 documents ('tap', "
        "'shark'). Ranks are not read; the scores decide.",
    )
    zeros = [f"q1 Q0 d{n} 0 {-n} x" for n in range(50)]
    [run] = read(tmp_path, ("", [*zeros, "q2 Q0 tap 1 1 x"]))
    assert "first rank 0 in query 'q1' to 50 documents ('d0', 'd1' and 48 more)" in run.notes[0]


def test_equal_scores_in_another_order_than_that_of_trec_eval_are_told(tmp_path):
    [run] = read(tmp_path, ("", ["q1 Q0 shark 1 1 x", "q1 Q0 tap 2 1 x", "q2 Q0 tap 1 1 x", "q2 Q0 shark 2 1 x"]))
    assert run.notes == (
        "x has equal scores in 1 query ('q1'): first 1.0 in query 'q1' for 2 documents ('shark', 'tap'). As in "
        "trec_eval, the greater id comes first, whatever the order of the file.",
    )


def test_forms_of_an_id_are_each_once():
    assert forms("plain") == ("plain",)
    assert forms("#1") == ("#1",)
    assert forms("a#1") == ("a#1", "a")
