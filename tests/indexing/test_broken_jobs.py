"""Errors in the threads of an index job reach the caller, and leave the collection as it was."""

from __future__ import annotations

import gc
import itertools
import json
import threading
import time
from contextlib import closing

import numpy as np
import pytest

from hybrid_search import Indexer, add_leg, load_encodings, save_encodings, watch
from hybrid_search.corpus import readers
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.errors import CorpusError, StoreError
from hybrid_search.indexing import pipeline, sources
from hybrid_search.indexing.chunker import Chunker
from hybrid_search.indexing.prefetch import JobThreads
from hybrid_search.interop import reader
from hybrid_search.interop.reader import EncodedFile
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.server.store import ServerStore
from hybrid_search.types import Document
from tests import odd_reading
from tests.store.conftest import in_memory

COUNT = 96
ROWS = (0, 1, 50, COUNT - 1, COUNT)
MODES = [{}, {"prune": True}, {"replace": True}, {"prune": True, "replace": True}]
LEGS = {"sparse": "fake/sparse", "dense": "fake/dense"}


class Broken(Exception):
    """What no part of the library knows of."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(pipeline, "BATCH_TOKENS", 150)


@pytest.fixture(params=["edge", "server"])
def store(request, tmp_path):
    store = EdgeStore(tmp_path / "store") if request.param == "edge" else in_memory()
    yield store
    store.close()


@pytest.fixture
def filled(fakes, settings, store):
    """A store with a complete collection `c`; the second value makes a job on it."""
    job(store, settings)(documents())
    return store, settings


def documents(count=COUNT, *, word="stone"):
    return [Document(f"d{n}", f"The {word} number {n} lies beside another {word}.") for n in range(count)]


def job(store, settings, *, replace=False, prune=False, **more):
    indexer = Indexer.open("c", store=store, settings=settings, replace=replace, **LEGS)
    return lambda source: indexer.index(source, prune=prune, **more)


def breaking_off(rows, after, error):
    """The first rows, then an error, as a lost connection brings it."""
    yield from itertools.islice(rows, after)
    raise error


def held(store):
    """What readers see: each chunk's payload and vectors."""
    with closing(store.reader("c")) as opened:
        chunk_ids = [f"{doc_id}#0" for doc_id in sorted(opened.doc_ids())]
        vectors = {leg: opened.vectors(leg, chunk_ids) for leg in opened.manifest.legs}
        as_text = {leg: {name: repr(vector) for name, vector in found.items()} for leg, found in vectors.items()}
        return opened.payloads(chunk_ids), as_text


def raising_at(call, function, error):
    """The function, which raises on its n-th call."""
    calls = itertools.count()

    def broken(*arguments, **named):
        if next(calls) == call:
            raise error
        return function(*arguments, **named)

    return broken


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("after", ROWS)
def test_a_source_that_breaks_off(filled, mode, after):
    store, settings = filled
    before = held(store)
    with pytest.raises(ConnectionError, match="reset by peer"):
        job(store, settings, **mode)(breaking_off(documents(), after, ConnectionError("reset by peer")))
    assert held(store) == before
    assert len(before[0]) == COUNT


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_after_a_broken_job_the_same_one_ends_well(filled, mode):
    store, settings = filled
    changed = documents(word="river")
    with pytest.raises(ConnectionError):
        job(store, settings, **mode)(breaking_off(changed, 60, ConnectionError("gone")))
    report = job(store, settings, **mode)(changed)
    assert report.documents + report.unchanged == COUNT
    assert {payload["text"].split()[1] for payload in held(store)[0].values()} == {"river"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), SystemExit(3), GeneratorExit(), OSError(5)])
@pytest.mark.parametrize("after", [0, 50, COUNT])
def test_whatever_a_source_raises_comes_out(filled, error, after):
    store, settings = filled
    before = held(store)
    with pytest.raises(type(error)):
        job(store, settings, prune=True)(breaking_off(documents(), after, error))
    assert held(store) == before


STAGES = {
    "ledger": lambda patch, error, call: patch.setattr(Ledger, "seen", raising_at(call, Ledger.seen, error)),
    "chunker": lambda patch, error, call: patch.setattr(Chunker, "__call__", raising_at(call, Chunker.__call__, error)),
    "payloads": lambda patch, error, call: patch.setattr(
        pipeline, "payload_of", raising_at(call, pipeline.payload_of, error)
    ),
    "encoder": lambda patch, error, call: patch.setattr(
        pipeline, "encode_expanded", raising_at(call // 14, pipeline.encode_expanded, error)
    ),
}


@pytest.mark.parametrize("mode", [{"replace": True}, {"replace": True, "prune": True}], ids=str)
@pytest.mark.parametrize("row", [0, 40, COUNT - 1])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_fails(filled, monkeypatch, stage, row, mode):
    store, settings = filled
    before = held(store)
    STAGES[stage](monkeypatch, Broken(stage), row)
    with pytest.raises(Broken, match=stage):
        job(store, settings, **mode)(documents(word="river"))
    monkeypatch.undo()
    assert held(store) == before


FAILING = [(verb, "prune") for verb in ("heads", "delete", "doc_ids", "publish", "info")]
FAILING += [(verb, "replace") for verb in ("upsert", "doc_ids", "publish", "info")]


@pytest.mark.parametrize(("verb", "mode"), FAILING)
def test_a_store_that_fails(filled, monkeypatch, verb, mode):
    store, settings = filled
    before, open_writer = held(store), store.writer

    def writer(*arguments, **named):
        made = open_writer(*arguments, **named)
        failing = raising_at(1 if verb in ("heads", "upsert") else 0, getattr(made, verb), Broken(verb))
        monkeypatch.setattr(made, verb, failing)
        return made

    monkeypatch.setattr(store, "writer", writer)
    source = documents()[:-1] if mode == "prune" else documents(word="river")
    with pytest.raises(Broken, match=verb):
        job(store, settings, **{mode: True})(source)
    monkeypatch.undo()
    # What is told comes last. A server has no drafts: what was removed there is gone before it is published.
    if verb != "info" and (verb, mode, type(store)) != ("publish", "prune", ServerStore):
        assert held(store) == before


def test_several_at_once_bring_one_of_their_errors(filled, monkeypatch):
    store, settings = filled
    before = held(store)
    for stage in STAGES:
        STAGES[stage](monkeypatch, Broken(stage), 40)
    with pytest.raises((Broken, ConnectionError)):
        job(store, settings, replace=True, prune=True)(
            breaking_off(documents(word="river"), 40, ConnectionError("gone"))
        )
    monkeypatch.undo()
    assert held(store) == before


def test_a_progress_callback_that_fails(filled):
    store, settings = filled
    before = held(store)

    def on_progress(now):
        if now.documents > 30:
            raise Broken("callback")

    with pytest.raises(Broken):
        job(store, settings, replace=True, on_progress=on_progress)(documents(word="river"))
    assert held(store) == before


def test_with_workers_too(settings, tmp_path):
    store = EdgeStore(tmp_path / "store")
    indexer = Indexer.open("c", store=store, settings=settings, legs=["bm25"])
    indexer.index(documents(60))
    with pytest.raises(ConnectionError):
        indexer.index(breaking_off(documents(60, word="river"), 50, ConnectionError("gone")), prune=True, workers=2)
    with closing(store.reader("c")) as opened:
        assert len(list(opened.doc_ids())) == 60


def test_a_dry_run_too(filled):
    store, settings = filled
    with pytest.raises(ConnectionError):
        job(store, settings, dry_run=True)(breaking_off(documents(), 50, ConnectionError("gone")))


@pytest.mark.parametrize("name", ["raises", "aborts", "exits"])
def test_a_reader_of_files_that_fails(filled, monkeypatch, tmp_path, name):
    store, settings = filled
    folder = tmp_path / "texts"
    folder.mkdir()
    for n in range(9):
        (folder / f"t{n}.txt").write_text(f"text number {n}")
    (folder / f"{name}.txt").write_text("text of what will not be read")
    job(store, settings, prune=True)([folder])
    before = held(store)
    monkeypatch.setattr(readers, "OPENER", odd_reading.OPENER)
    (folder / "t1.txt").unlink()
    report = job(store, settings, prune=True)([folder])
    assert [failure.origin for failure in report.failures] == [str(folder / f"{name}.txt")]
    assert report.failures[0].reason.startswith("cannot be read: ")
    assert (report.unchanged, report.removed) == (8, 0)
    assert held(store) == before


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_file_of_records_that_cannot_be_read_to_its_end(filled, monkeypatch, tmp_path, mode):
    store, settings = filled
    file = tmp_path / "half.jsonl"
    file.write_text("".join(json.dumps({"_id": f"d{n}", "text": f"record {n}"}) + "\n" for n in range(COUNT)))
    job(store, settings)([file])
    before = held(store)
    monkeypatch.setattr(readers, "OPENER", odd_reading.OPENER)
    if mode.get("replace"):
        with pytest.raises(CorpusError, match="KeyError: 'half'"):
            job(store, settings, **mode)([file])
    else:
        report = job(store, settings, **mode)([file])
        assert (report.unchanged, len(report.failures)) == (5, 1)
    assert held(store) == before


def test_a_round_of_watching_that_fails_removes_nothing(filled, monkeypatch, tmp_path):
    pytest.importorskip("watchfiles", reason="needs the extra watch")
    store, settings = filled
    folder = tmp_path / "texts"
    folder.mkdir()
    for n in range(9):
        (folder / f"t{n}.txt").write_text(f"text number {n}")
    rounds, before = [], []

    def on_report(report):
        rounds.append(report)
        before.append(held(store))
        monkeypatch.setattr(readers, "read_all", raising_at(0, readers.read_all, Broken("reader")))
        monkeypatch.setattr(sources, "read_all", readers.read_all)
        (folder / "t1.txt").write_text("changed")

    with pytest.raises(Broken):
        watch(lambda: job(store, settings, prune=True)([folder]), [folder], on_report=on_report, quiet_s=0.05)
    assert len(rounds) == 1
    assert held(store) == before[0]


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("call", [0, 1, 2])
def test_a_file_of_encodings_that_breaks_off(filled, monkeypatch, tmp_path, mode, call):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    store, settings = filled
    monkeypatch.setattr(reader, "READ_ROWS", 40)
    save_encodings("c", tmp_path / "c.parquet", store=store, settings=settings)
    before, rows = held(store), EncodedFile.rows
    monkeypatch.setattr(EncodedFile, "rows", lambda file: breaking_off(rows(file), call, Broken("page")))
    with pytest.raises(Broken):
        load_encodings("c", tmp_path / "c.parquet", store=store, settings=settings, **mode)
    assert held(store) == before


def test_a_model_whose_tokenizer_is_damaged_publishes_nothing(settings, tmp_path, monkeypatch):
    store = EdgeStore(tmp_path / "store")
    monkeypatch.setattr(Chunker, "count", raising_at(3, Chunker.count, Broken("tokenizer")))
    indexer = Indexer.open("c", store=store, settings=settings, legs=["bm25"])
    with pytest.raises(Broken):
        indexer.index(documents(9))
    assert store.names() == []


def test_adding_a_leg_that_fails_leaves_the_legs_as_they_were(filled, fakes, monkeypatch):
    store, settings = filled
    before = held(store)
    fakes.stop_after = 1
    with pytest.raises(KeyboardInterrupt):
        add_leg("c", "new", "fake/dense-2", kind="dense", store=store, settings=settings)
    assert held(store) == before


def test_a_replacement_is_not_published_where_a_source_broke_off(fakes, settings, store, tmp_path):
    """A file of which nobody can say how much is missing: what is there already is better than the rest of it."""
    file = tmp_path / "rows.json"
    file.write_text('[{"_id": "a", "text": "one stone"}, {"_id": "b", "text": "two stones"}]')
    job(store, settings)([file])
    before = held(store)
    file.write_text('[{"_id": "a", "text": "one river"}, {"_id": "b", "text": "two ri')
    with pytest.raises(CorpusError, match=r"rows\.json.*stays as it was"):
        job(store, settings, replace=True)([file])
    assert held(store) == before
    report = job(store, settings, prune=True)([file])
    assert (report.documents, report.removed, report.failed) == (1, 0, 1)


# ---------------------------------------------------------------- the threads alone


def through_all_threads(source):
    with JobThreads() as threads:
        read = (group for group in threads.lookup_batches(source))
        cut = (group for group in threads.prefetch(read, "cutting"))
        found = [document for group in threads.prefetch(cut, "encoding") for document in group]
        threads.require_complete()
        return found


def test_an_error_outranks_the_stop_that_it_brings():
    """Over many schedules: whichever thread sees the stop first, the owner gets the error."""
    for n in range(300):
        with pytest.raises(Broken):
            through_all_threads(breaking_off(documents(n % 7), n % 7, Broken()))


def test_whoever_goes_away_early_ends_all_threads():
    begun = threading.active_count()

    def endless():
        while True:
            yield documents(1)[0]

    with JobThreads() as threads:
        groups = threads.prefetch((group for group in threads.lookup_batches(endless())), "cutting")
        next(groups)
    gc.collect()
    deadline = time.monotonic() + 10
    while threading.active_count() > begun and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() == begun


def test_what_is_not_complete_is_named():
    def endless():
        while True:
            time.sleep(0.01)
            yield documents(1)[0]

    with JobThreads() as threads:
        next(threads.lookup_batches(endless()))
        with pytest.raises(StoreError, match="before reading had come to an end"):
            threads.require_complete()


def test_nothing_is_lost_or_changes_places():
    rng = np.random.default_rng(0)

    def slow(items):
        for item in items:
            if rng.random() < 0.05:
                time.sleep(0.01)
            yield item

    assert through_all_threads(slow(documents())) == documents()
