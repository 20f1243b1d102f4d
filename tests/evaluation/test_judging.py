"""Judgements made in a terminal: resumed, locked, read from logs, and a dataset that evaluate takes."""

from __future__ import annotations

import json

import pytest

from hybrid_search.corpus.trec import read_beir
from hybrid_search.errors import EvaluationError
from hybrid_search.evaluation.judgements import judging
from hybrid_search.evaluation.judging import begin, log_remarks, queries_of_lines, read_log, read_query_file, resume
from hybrid_search.indexer import Indexer
from hybrid_search.search.trace import append_trace, trace
from hybrid_search.searcher import Searcher
from hybrid_search.store.edge.store import EdgeStore
from tests.evaluation.conftest import DOCUMENTS

LEGS = {"sparse": "fake/sparse", "dense": "fake/dense"}


@pytest.fixture
def films(settings, fakes):
    store = EdgeStore(settings.store)
    rows = [{"id": key, "text": text, "title": f"Film {key}"} for key, text in DOCUMENTS.items()]
    Indexer.open("films", store=store, settings=settings, **LEGS).index(rows)
    with Searcher.open("films", store=store, settings=settings) as searcher:
        yield searcher, store


def test_a_pool_is_of_every_leg_and_the_folder_is_a_dataset(films, tmp_path):
    searcher, store = films
    queries = queries_of_lines(["music", "island", "music", " "])
    assert [query.query_id for query in queries] == ["q1", "q2"]
    sitting = begin(tmp_path / "out", searcher, store, queries, 2)
    for query in queries:
        legs = {hit.doc_id for leg in LEGS for hit in searcher.search(query.text, mode=leg, k=2)}
        assert set(sitting.pools[query.query_id]) == legs
    with judging(tmp_path / "out") as judgements:
        for query, doc_id in sitting.left(judgements):
            judgements.give(query.query_id, doc_id, 2)
        assert not list(sitting.left(judgements))
        judgements.write(tmp_path / "out" / "qrels" / "test.tsv")
    data = read_beir(tmp_path / "out")
    assert {query.text for query in data.queries} == {"music", "island"}
    assert len(data.qrels) == sum(map(len, sitting.pools.values()))


def test_the_same_folder_is_gone_on_with_and_no_other(films, tmp_path):
    searcher, store = films
    queries = queries_of_lines(["music"])
    out = tmp_path / "out"
    assert resume(out, "films", queries) is None
    begun = begin(out, searcher, store, queries, 2)
    assert resume(out, "films", ()) == begun == resume(out, "films", queries)
    with pytest.raises(EvaluationError, match="judges 'films', not 'books'"):
        resume(out, "books", ())
    with pytest.raises(EvaluationError, match="other queries"):
        resume(out, "films", queries_of_lines(["island"]))
    (out / "pool.json").write_text("{", encoding="utf-8")
    with pytest.raises(EvaluationError, match="is damaged"):
        resume(out, "films", ())
    (out / "pool.json").unlink()
    with pytest.raises(EvaluationError, match="not begun here"):
        resume(out, "films", ())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\ufeffmusic\n\n far away \nmusic\n", [("q1", "music"), ("q2", "far away")]),
        ("7\tmusic\n8\tisland\n", [("7", "music"), ("8", "island")]),
        ('{"_id": "a", "text": "music"}\n', [("a", "music")]),
        ("<top>\n<num> Number: 3\n<title> music\n</top>\n", [("3", "music")]),
    ],
)
def test_queries_are_read_as_they_are_written(tmp_path, text, found):
    file = tmp_path / "queries"
    file.write_text(text, encoding="utf-8")
    assert [(query.query_id, query.text) for query in read_query_file(file)] == found


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe\x00"])
def test_a_file_without_queries_is_refused(tmp_path, content):
    file = tmp_path / "queries"
    file.write_bytes(content)
    with pytest.raises(EvaluationError):
        read_query_file(file)
    with pytest.raises(EvaluationError):
        read_query_file(tmp_path / "missing")


def test_a_log_gives_its_queries_by_frequency_and_names_what_it_passes_over(films, tmp_path):
    searcher, _ = films
    log = tmp_path / "log.jsonl"
    for query in ("music", "island", "music", "shark"):
        append_trace(log, trace(searcher.search(query), {}))
    kept = trace(searcher.search("else"), {})
    append_trace(log, {**kept, "collection": "books"})
    append_trace(log, {**kept, "vector": {"a": 1.0}})
    with log.open("ab") as file:
        file.write(b'\n[1]\n{"version": 1}\n{"torn": ')
    found = read_log(log, "films")
    assert [query.text for query in found.queries] == ["music", "island", "shark"]
    assert (found.others, found.damaged, found.textless) == ({"books": 1}, (8, 9, 10), 1)
    assert "Lines that are no trace of a search were passed over: 8, 9, 10." in list(log_remarks(found))
    assert [query.text for query in read_log(log, "films", 1).queries] == ["music"]
    with pytest.raises(EvaluationError, match=r"no search of 'pets' with a text. .*'films'"):
        read_log(log, "pets")


def test_a_document_that_has_gone_is_none(films, tmp_path):
    from hybrid_search.evaluation.judging import shown_document

    searcher, store = films
    sitting = begin(tmp_path / "out", searcher, store, queries_of_lines(["music"]), 2)
    assert shown_document(sitting, "gone", store) is None
    found = shown_document(sitting, sitting.pools["q1"][0], store)
    assert found.title.startswith("Film")
    assert json.loads((tmp_path / "out" / "pool.json").read_text(encoding="utf-8"))["collection"] == "films"
