"""The ledger remembers the documents of one run."""

from __future__ import annotations

import time

import pytest

from hybrid_search.corpus.ledger import Ledger


def test_the_first_document_with_an_id_is_remembered():
    with Ledger() as ledger:
        assert ledger.seen("a", "hash-1", "x.jsonl:1") is None
        assert ledger.seen("b", "hash-1", "x.jsonl:2") is None
        assert ledger.seen("a", "hash-2", "y.jsonl:7") == ("hash-1", "x.jsonl:1")
        assert ledger.seen("a", "hash-3", "z.jsonl:9") == ("hash-1", "x.jsonl:1")
        assert len(ledger) == 2


def test_ids_are_told_apart_exactly():
    ids = ["a", "A", " a", "a ", "\u00e9", "e\u0301", "7", "07", "\ud800", "\udfff", "a\0b", "a\0c", "漢字", ""]
    with Ledger() as ledger:
        assert [ledger.seen(doc_id, "h", "o") for doc_id in ids] == [None] * len(ids)
        assert all(doc_id in ledger for doc_id in ids)
        assert "b" not in ledger
        assert "" in ledger
        assert len(ledger) == len(ids)


def test_two_ledgers_know_nothing_of_each_other():
    with Ledger() as one, Ledger() as other:
        one.seen("a", "h", "o")
        assert "a" not in other
        assert len(other) == 0


def test_a_closed_ledger_says_so():
    ledger = Ledger()
    ledger.close()
    with pytest.raises(Exception, match="closed"):
        ledger.seen("a", "h", "o")


def test_many_documents_are_quick_and_all_kept():
    began = time.perf_counter()
    with Ledger() as ledger:
        for number in range(100_000):
            ledger.seen(f"doc-{number * 7919 % 100_003}", "0123456789abcdef" * 2, f"corpus.jsonl:{number}")
        took = time.perf_counter() - began
        assert len(ledger) == 100_000
        assert ledger.seen("doc-7919", "", "") == ("0123456789abcdef" * 2, "corpus.jsonl:1")
    assert took < 10  # about half a second alone on a machine; a commit for each would take minutes
