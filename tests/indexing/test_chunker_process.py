"""Documents cut in a process of their own: the same chunks, and an end in time whatever they hold."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from hybrid_search import Indexer, Searcher
from hybrid_search.collection.models import ModelRequest
from hybrid_search.collection.profiles import select_models
from hybrid_search.corpus.code import grammar
from hybrid_search.indexing import chunker_process
from hybrid_search.indexing.chunker import Chunker
from hybrid_search.types import Document

PROSE = "The river runs past the old mill, and nobody knows why. " * 2_000
MARKDOWN = "".join(
    f"# Part {n}\n\nSome *text* about [stones](x.html) number {n}.\n\n- one\n- two\n\n" for n in range(400)
)
CODE = "".join(f"def stone_{n}(a, b):\n    return [a * {n}, (b, {{'x': a}})]\n\n\n" for n in range(400))
NESTED = "(" * 4_000 + ")" * 4_000
needs_grammar = pytest.mark.skipif(grammar("python") is None, reason="needs the extra code")


@pytest.fixture
def cut(settings):
    with closing(Chunker(select_models(ModelRequest("bundled"), settings), 64, 8)) as cut:
        yield cut


@pytest.mark.parametrize(("text", "markup"), [(PROSE, "plain"), (MARKDOWN, "markdown"), (CODE, "code:python")])
def test_the_chunks_are_those_that_are_cut_here(cut, monkeypatch, text, markup):
    document = Document("d", text, "A title", {"year": 1999}, "somewhere", markup)
    assert not chunker_process.is_short(document)
    apart = cut(document)
    monkeypatch.setattr("hybrid_search.indexing.chunker.is_short", lambda _: True)
    assert apart == cut(document)
    assert len(apart) > 50


def test_models_that_have_no_limit_count_words(settings):
    with closing(Chunker(select_models(ModelRequest("auto", legs=["bm25"]), settings), 64, 0)) as cut:
        chunks = cut(Document("d", PROSE))
    assert {len(each.text.split()) for each in chunks[:-1]} <= set(range(50, 65))


def test_one_chunk_a_document_takes_no_process(settings):
    with closing(Chunker(select_models(ModelRequest("bundled"), settings), 0, 0)) as cut:
        assert len(cut(Document("d", CODE, markup="code:python"))) == 1
        assert "_chunker" not in cut.__dict__


@needs_grammar
def test_nesting_that_takes_too_long_is_cut_as_plain_text_and_counted(settings, monkeypatch, tmp_path):
    monkeypatch.setattr(chunker_process, "STRUCTURED_S", 0.5)
    (tmp_path / "nested.py").write_text(f"x = {NESTED}\n# a heron stands here\n")
    (tmp_path / "other.py").write_text("def lantern():\n    return 'light'\n")
    begun = time.monotonic()
    report = Indexer.open("c", settings=settings, profile="bundled", chunk_tokens=64).index([tmp_path])
    assert time.monotonic() - begun < 60
    assert (report.documents, report.failed) == (2, 0)
    assert report.passed_over == {"syntax that takes too long": 1}
    with closing(Searcher.open("c", settings=settings)) as searcher:
        assert searcher.search("heron").hits[0].doc_id == "nested.py"


@needs_grammar
def test_what_cannot_be_cut_in_time_at_all_is_a_failure_and_the_others_go_in(settings, monkeypatch, tmp_path):
    monkeypatch.setattr(chunker_process, "STRUCTURED_S", 0.3)
    monkeypatch.setattr(chunker_process, "PLAIN_S", 0.0)
    (tmp_path / "nested.py").write_text(f"x = {NESTED}\n" * 60)
    (tmp_path / "a.txt").write_text("A heron stands here.")
    (tmp_path / "z.txt").write_text("A lantern hangs there.")
    report = Indexer.open("c", settings=settings, profile="bundled", chunk_tokens=64).index([tmp_path], prune=True)
    assert (report.documents, report.failed) == (2, 1)
    [failure] = report.failures
    assert failure.origin.endswith("nested.py")
    assert "cannot be cut into chunks: takes more than" in failure.reason


def test_bounds_grow_with_the_text_and_end_somewhere():
    small, large, huge = (chunker_process.bound_of(n, plain=False) for n in (10, 10_000_000, 10_000_000_000))
    assert small.cpu_s == chunker_process.STRUCTURED_S
    assert small.memory_bytes <= 1_000_000_000
    assert large.cpu_s == 10 * small.cpu_s
    assert huge.memory_bytes == 4_000_000_000
