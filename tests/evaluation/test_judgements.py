"""Pools of documents to judge, and judgements that outlive a kill, a full disk and a second judge."""

import pytest

from hybrid_search.corpus.trec import read_beir_qrels
from hybrid_search.errors import EvaluationError, StoreBusy
from hybrid_search.evaluation import judgements
from hybrid_search.evaluation.judgements import JOURNAL, judging
from hybrid_search.evaluation.pool import pool

LEGS = [[f"s{n}" for n in range(20)], [f"d{n}" for n in range(20)]]


def test_a_pool_is_the_union_of_the_first_of_each_leg():
    assert sorted(pool("q", [["a", "b", "c"], ["b", "d", "e"]], 2)) == ["a", "b", "d"]
    assert pool("q", []) == []


def test_the_order_of_a_pool_is_the_same_each_time_and_tells_no_rank():
    assert pool("apples", LEGS) == pool("apples", reversed(LEGS))
    assert pool("apples", LEGS) != pool("pears", LEGS)
    first = [pool(f"query {n}", LEGS)[0] for n in range(200)]
    assert len(set(first)) == 20


def test_a_second_sitting_knows_the_first(tmp_path):
    with judging(tmp_path / "new") as kept:
        kept.give("1", "a", 3)
        kept.give("1", "b", 0)
        kept.give("1", "a", 1)
        kept.give("2", "a\u2028\ud800", 2)
        kept.give("2", "c", 2)
        kept.give("2", "c", None)
    with judging(tmp_path / "new") as kept:
        assert kept.of("1") == {"b": 0, "a": 1}
        assert kept.of("2") == {"a\u2028\ud800": 2}
        assert kept.of("3") == {}


def test_judged_not_relevant_is_written_as_0(tmp_path):
    with judging(tmp_path) as kept:
        kept.give("1", "a", 0)
        kept.write(tmp_path / "qrels" / "test.tsv")
    assert [row[:3] for row in read_beir_qrels(tmp_path / "qrels" / "test.tsv")] == [("1", "a", 0)]


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_kill_loses_no_more_than_the_last_key(tmp_path, cut):
    with judging(tmp_path) as kept:
        kept.give("1", "a", 3)
        kept.give("1", "b", 2)
    journal = tmp_path / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-cut])
    with judging(tmp_path) as kept:
        assert kept.of("1") == {"a": 3}
        kept.give("1", "b", 1)
    with judging(tmp_path) as kept:
        assert kept.of("1") == {"a": 3, "b": 1}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        '{"query_id": "1"}',
        '{"query_id": "1", "doc_id": "a", "relevance": 4}',
        '{"query_id": "1", "doc_id": "a", "relevance": true}',
        '{"query_id": 1, "doc_id": "a", "relevance": 1}',
    ],
)
def test_a_damaged_line_is_named(tmp_path, line):
    (tmp_path / JOURNAL).write_text(f'{{"query_id": "1", "doc_id": "a", "relevance": 1}}\n{line}\n')
    with pytest.raises(EvaluationError, match=r"Line 2 of .*judgements\.jsonl"), judging(tmp_path):
        pass


def test_a_second_judge_is_kept_out(tmp_path):
    with judging(tmp_path), pytest.raises(StoreBusy, match="Somebody else judges"), judging(tmp_path):
        pass


def test_a_full_disk_leaves_what_was_judged(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    with judging(tmp_path) as kept:
        kept.give("1", "a", 3)
        with monkeypatch.context() as patch:
            patch.setattr(judgements.os, "fsync", full)
            with pytest.raises(OSError, match="No space"):
                kept.give("1", "b", 2)
        assert kept.of("1") == {"a": 3}
    with judging(tmp_path) as kept:
        assert kept.of("1") == {"a": 3}
