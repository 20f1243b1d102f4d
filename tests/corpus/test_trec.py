"""TREC and BEIR files: round trips, orders that survive scorers, and messages for broken ones."""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hybrid_search.corpus.readers import read
from hybrid_search.corpus.trec import (
    Dataset,
    Qrel,
    ScoredDoc,
    read_beir,
    read_beir_qrels,
    read_qrels,
    read_queries,
    read_run,
    write_beir_qrels,
    write_qrels,
    write_run,
)
from hybrid_search.errors import EvaluationError, InvalidArgument
from hybrid_search.types import Document, Failure, Query


@pytest.fixture
def beir(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "x"}\n')
    queries = [{"_id": "q2", "text": "two"}, {"_id": 1, "text": "one"}, {"_id": "q3", "text": "three"}]
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\td1\t2\nq2\td 9\t0\n")
    (tmp_path / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq3\td1\t1\n")
    return tmp_path


def as_float32(score: str) -> float:
    return struct.unpack("f", struct.pack("f", float(score)))[0]


def test_beir_keeps_the_judged_queries_in_the_files_order(beir):
    assert read_beir(beir) == Dataset(
        queries=(Query("q2", "two"), Query("1", "one")),
        qrels=(Qrel("1", "d1", 2), Qrel("q2", "d 9", 0)),
        corpus=beir / "corpus.jsonl",
    )
    assert read_beir(str(beir), split="dev").queries == (Query("q3", "three"),)


def test_beir_names_the_splits_that_exist(beir):
    with pytest.raises(EvaluationError, match=r"no split 'train'; it has dev, test$"):
        read_beir(beir, split="train")


@pytest.mark.parametrize("piece", ["corpus.jsonl", "queries.jsonl"])
def test_beir_says_what_is_missing_and_what_a_folder_holds(beir, piece):
    (beir / piece).unlink()
    with pytest.raises(EvaluationError, match=rf"is not a BEIR folder: {piece} not found\. It holds corpus\.jsonl"):
        read_beir(beir)


def test_beir_names_every_missing_piece_at_once(tmp_path):
    with pytest.raises(EvaluationError, match=r"corpus\.jsonl, queries\.jsonl, qrels/\*\.tsv not found"):
        read_beir(tmp_path / "nowhere")


def test_beir_refuses_judgements_of_unknown_queries(beir):
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq9\td1\t1\n")
    with pytest.raises(EvaluationError, match=r"judges 'q9', which .*queries\.jsonl does not have"):
        read_beir(beir)


def test_beir_refuses_a_split_without_judgements(beir):
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n")
    with pytest.raises(EvaluationError, match="judges no document"):
        read_beir(beir)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{broken", "queries.jsonl:2: Expecting"),
        ("[1]", 'queries.jsonl:2: expected an object with "_id" and "text"'),
        ('{"text": "no id"}', 'expected an object with "_id" and "text"'),
        ('{"_id": "q", "text": 7}', 'expected an object with "_id" and "text"'),
        ('{"_id": "q", "text": " "}', "queries.jsonl:2: the query is empty"),
        ('{"_id": "a", "text": "again"}', "queries.jsonl:2: query 'a' stands more than once, first in line 1"),
    ],
)
def test_broken_queries(tmp_path, line, says):
    path = tmp_path / "queries.jsonl"
    path.write_text('{"_id": "a", "text": "fine"}\n' + line + "\n")
    with pytest.raises(EvaluationError) as caught:
        read_queries(path)
    assert says in str(caught.value)


def test_trec_qrels(tmp_path):
    path = tmp_path / "qrels.txt"
    path.write_text("\ufeff1 0 d1 2\n1\t0\td2   -1\r\n\n2 Q0 d1 0\n", encoding="utf-8")
    assert read_qrels(path) == [Qrel("1", "d1", 2), Qrel("1", "d2", -1), Qrel("2", "d1", 0, "Q0")]


def test_all_broken_lines_are_named_together_up_to_five(tmp_path):
    path = tmp_path / "qrels.txt"
    path.write_text("1 0 d1\n1 0 d2 x\n1 0 d3 1\n" + "short\n" * 5)
    with pytest.raises(EvaluationError) as caught:
        read_qrels(path)
    message = str(caught.value)
    assert f"{path}:1: expected 4 columns, found 3" in message
    assert f"{path}:2: the grade 'x' is not a whole number" in message
    assert f"{path}:6" in message
    assert f"{path}:7" not in message
    assert message.endswith("(and 2 more)")


def test_a_document_judged_twice_is_refused(tmp_path):
    path = tmp_path / "test.tsv"
    path.write_text("query-id\tcorpus-id\tscore\nq\td\t1\nq\td\t0\n")
    with pytest.raises(
        EvaluationError, match=r"test\.tsv:3: judgement of 'd' for query 'q' stands more than once, first in line 2"
    ):
        read_beir_qrels(path)


@pytest.mark.parametrize(
    ("row", "says"),
    [("q\td", "expected 3 columns, found 2"), ("q\td\t0.5", "0.5"), ("\td\t1", "an id is empty"), ("q d 1", "found 1")],
)
def test_broken_beir_qrels(tmp_path, row, says):
    path = tmp_path / "test.tsv"
    path.write_text(f"query-id\tcorpus-id\tscore\n{row}\n")
    with pytest.raises(EvaluationError) as caught:
        read_beir_qrels(path)
    assert f"{path}:2" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize("reader", [read_qrels, read_beir_qrels, read_queries, read_run])
def test_files_that_cannot_be_read(tmp_path, reader):
    with pytest.raises(EvaluationError, match="cannot be read: No such file"):
        reader(tmp_path / "nothing")
    (tmp_path / "binary").write_bytes(b"\x80\xff\n")
    with pytest.raises(EvaluationError, match="not UTF-8"):
        reader(tmp_path / "binary")


def test_a_run_is_written_as_trec_wants_it(tmp_path):
    path = tmp_path / "run.txt"
    rows = [ScoredDoc("q2", "b", 1.5), ScoredDoc("q1", "my notes.md", 0.25), ScoredDoc("q2", "a", 1.0)]
    write_run(path, rows, "hybrid rrf")
    assert path.read_text() == (
        "q2 Q0 b 1 1.5 hybrid%20rrf\nq2 Q0 a 2 1 hybrid%20rrf\nq1 Q0 my%20notes.md 1 0.25 hybrid%20rrf\n"
    )
    assert read_run(path) == [rows[0], rows[2], rows[1]]


def test_equal_scores_keep_the_order_given_even_in_32_bits(tmp_path):
    path = tmp_path / "run.txt"
    scores = [1.0, 1.0 - 1e-12, 1.0 - 1e-12, 0.5, 0.0, 0.0, -0.0, -1e30, -1e30]
    write_run(path, [ScoredDoc("q", f"d{n}", score) for n, score in enumerate(scores)], "t")
    printed = [line.split() for line in path.read_text().splitlines()]
    assert [row[2] for row in printed] == [f"d{n}" for n in range(9)]
    assert [row[3] for row in printed] == [str(n) for n in range(1, 10)]
    kept = [as_float32(row[4]) for row in printed]
    assert all(a > b for a, b in pairwise(kept))
    assert kept[3] == 0.5


@settings(max_examples=60, deadline=None)
@given(scores=st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1 / 61, 1 / 62]), min_size=1, max_size=30))
def test_a_run_falls_strictly_and_stays_close(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("run") / "run.txt"
    scores = sorted(scores, reverse=True)
    write_run(path, [ScoredDoc("q", str(n), score) for n, score in enumerate(scores)], "t")
    kept = [as_float32(line.split()[4]) for line in path.read_text().splitlines()]
    assert all(a > b for a, b in pairwise(kept))
    assert all(abs(a - b) <= 1e-5 * max(1, abs(b)) for a, b in zip(kept, scores, strict=True))


ids = st.text(min_size=1, max_size=12) | st.lists(
    st.sampled_from(["%", "2", "0", "%20", "%25", " ", "C2", "A0", "\xa0", "\u3000", "\x1c", "a", "\n"]), min_size=1
).map("".join)


@settings(max_examples=300, deadline=None)
@given(query_id=ids, doc_id=ids)
@example(query_id="a%20b", doc_id="a b")
@example(query_id="100%", doc_id="%2 5")
def test_any_id_survives_runs_and_qrels(tmp_path_factory, query_id, doc_id):
    folder = tmp_path_factory.mktemp("ids")
    write_run(folder / "run", [ScoredDoc(query_id, doc_id, 1.0)], "t")
    assert read_run(folder / "run") == [ScoredDoc(query_id, doc_id, 1.0)]
    write_qrels(folder / "qrels", [Qrel(query_id, doc_id, 3)])
    assert read_qrels(folder / "qrels") == [Qrel(query_id, doc_id, 3)]


def test_addresses_as_ids_stay_readable(tmp_path):
    path = tmp_path / "run.txt"
    path.write_text("q Q0 https://x.org/caf%C3%A9?a=1 1 2.0 other\n")
    assert read_run(path) == [ScoredDoc("q", "https://x.org/caf%C3%A9?a=1", 2.0)]


def test_beir_qrels_round_trip(tmp_path):
    path = tmp_path / "test.tsv"
    rows = [Qrel("q 1", "my doc", 2), Qrel("q%20", "d", 0)]
    write_beir_qrels(path, rows)
    assert path.read_text() == "query-id\tcorpus-id\tscore\nq 1\tmy doc\t2\nq%20\td\t0\n"
    assert read_beir_qrels(path) == rows
    with pytest.raises(EvaluationError, match="a tab or a line break"):
        write_beir_qrels(path, [Qrel("q", "a\tb", 1)])


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("q", "a", float("nan"))], "nan"),
        ([("q", "a", float("inf"))], "needs over 32 bits"),
        ([("q", "a", 1e300)], "needs over 32 bits"),
        ([("q", "a", 1.0), ("q", "b", 2.0)], "the score 2.0 of 'b' is above 1.0"),
        ([("q", "a", 1.0), ("q", "a", 0.5)], "document 'a' more than once"),
    ],
)
def test_rows_that_are_no_run(tmp_path, rows, says):
    with pytest.raises(EvaluationError) as caught:
        write_run(tmp_path / "run", [ScoredDoc(*row) for row in rows], "t")
    assert says in str(caught.value)


def test_a_run_needs_a_tag(tmp_path):
    with pytest.raises(InvalidArgument, match="tag"):
        write_run(tmp_path / "run", [], "  ")


@pytest.mark.parametrize(
    ("line", "says"), [("q Q0 d 1 2.0", "found 5"), ("q Q0 d 1 nan t", "nan is not finite"), ("q Q0 d 1 x t", "x")]
)
def test_broken_runs(tmp_path, line, says):
    path = tmp_path / "run.txt"
    path.write_text(line + "\n")
    with pytest.raises(EvaluationError) as caught:
        read_run(path)
    assert says in str(caught.value)
    assert ":1: " in str(caught.value)


def test_ir_measures_scores_our_files(tmp_path):
    """The order inside ties is what is scored: the relevant document stands second of three equals."""
    ir_measures = pytest.importorskip("ir_measures")
    write_run(tmp_path / "run", [ScoredDoc("q", doc, 1.0) for doc in ("c", "a", "b")], "t")
    write_qrels(tmp_path / "qrels", [Qrel("q", "a", 1)])
    run = list(ir_measures.read_trec_run(str(tmp_path / "run")))
    qrels = list(ir_measures.read_trec_qrels(str(tmp_path / "qrels")))
    assert ir_measures.calc_aggregate([ir_measures.RR @ 10], qrels, run) == {ir_measures.RR @ 10: 0.5}


COLLECTIONS = Path(__file__).parents[3] / "shared" / "collections"


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "documents", "queries", "without_text"),
    [("cacm", 3204, 52, []), ("cisi", 1460, 76, []), ("cranfield", 1398, 225, [471, 995])],
)
def test_the_shared_collections_are_read_whole(name, documents, queries, without_text):
    if not (COLLECTIONS / name).is_dir():
        pytest.skip(f"{COLLECTIONS / name} is not there")
    dataset = read_beir(COLLECTIONS / name)
    found = list(read([COLLECTIONS / name]))
    failures = [int(item.origin.rpartition(":")[2]) for item in found if isinstance(item, Failure)]
    assert failures == without_text
    ids = {item.doc_id for item in found if isinstance(item, Document)}
    assert (len(ids), len(dataset.queries)) == (documents, queries)
    assert len({qrel.doc_id for qrel in dataset.qrels} - ids) == (name == "cranfield")
