"""Traces of searches: what a line has, and files that several processes, or a full disk, have to do with."""

import json
import os
import stat
import subprocess
import sys

import pytest

from hybrid_search.results import Confidence, DocumentHit, Results
from hybrid_search.search import trace as traces
from hybrid_search.search.trace import append_trace, trace
from hybrid_search.types import LegHit

HIT = DocumentHit(1, "a", 0.5, "Apples", {"year": 1999}, "a", (), {"sparse": LegHit("sparse", 2, 7.5), "dense": None})


def results(query="red apples", **more):
    return Results(query, "fruit", "hybrid", 10, (HIT,), {"total": 1.23456}, **more)


def test_a_trace_has_the_search_and_where_each_leg_had_each_hit():
    kept = trace(
        results(confidence=Confidence(0.25, "low")), {"fusion": "rrf", "depth": None, "k": 3, "where": "year > 1"}
    )
    assert kept.pop("time").endswith("+00:00")
    assert kept == {
        "version": 1,
        "collection": "fruit",
        "query": "red apples",
        "mode": "hybrid",
        "k": 10,
        "settings": {"fusion": "rrf", "where": "year > 1"},
        "timings_ms": {"total": 1.235},
        "hits": [
            {"doc_id": "a", "rank": 1, "score": 0.5, "legs": {"sparse": {"rank": 2, "score": 7.5}, "dense": None}}
        ],
        "confidence": {"value": 0.25, "word": "low"},
    }


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_the_owner_reads_a_new_file(tmp_path):
    append_trace(tmp_path / "log.jsonl", {"query": "a"})
    assert stat.S_IMODE((tmp_path / "log.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("query", ["a\nb", "naïve", "\ud800", "\u2028", "x" * 300_000])
def test_every_query_is_one_line(tmp_path, query):
    log = tmp_path / "log.jsonl"
    for _ in range(2):
        append_trace(log, trace(results(query), {}))
    lines = log.read_bytes().splitlines()
    assert [json.loads(line)["query"] for line in lines] == [query, query]


def test_a_torn_line_spoils_no_other(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"query": "a"}\n{"que')
    append_trace(log, {"query": "b"})
    assert log.read_text() == '{"query": "a"}\n{"que\n{"query": "b"}\n'


def test_a_line_that_is_written_in_part_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(traces.os, "write", lambda handle, line: len(line) - 1)
    with pytest.raises(OSError, match="bytes were written"):
        append_trace(tmp_path / "log.jsonl", {"query": "a"})


def test_lines_of_processes_at_once_do_not_mix(tmp_path):
    log = tmp_path / "log.jsonl"
    code = (
        "import sys; from pathlib import Path; from hybrid_search.search.trace import append_trace\n"
        "for n in range(200): append_trace(Path(sys.argv[1]), {'query': sys.argv[2] * 5000, 'n': n})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(log), name]) for name in "abc"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for name in "abc":
        assert [line["n"] for line in lines if line["query"] == name * 5000] == list(range(200))
    assert len(lines) == 600
