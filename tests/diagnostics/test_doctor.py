"""Planted faults are found, each alone; a healthy store has none; nothing is changed."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from hybrid_search.diagnostics import collection_models, collection_points, install
from hybrid_search.diagnostics import doctor as doctor_module
from hybrid_search.diagnostics.doctor import doctor
from hybrid_search.errors import CollectionNotFound, InvalidArgument
from hybrid_search.store.edge import generations
from hybrid_search.store.edge import survey as edge_survey
from hybrid_search.store.edge import writer as edge_writer
from hybrid_search.store.edge.files import read_checked, write_checked
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.store.schema import payload_of
from hybrid_search.store.server import writer as server_writer
from hybrid_search.store.server.reader import MANIFEST_KEY, to_client
from hybrid_search.types import Chunk, Point, SparseVector
from tests.diagnostics.conftest import NAME
from tests.fake_models import DIM


def is_memory(store):
    """Whether it is the client's own in-memory form, which has no indexes of fields."""
    return not isinstance(store, EdgeStore) and not hasattr(store, "fake")


def found_in(store, settings, *, deep=False, name=None):
    """(check, state) of every fault of the store and its collections: what is wrong with this machine is not asked."""
    report = doctor(name, store=store, settings=settings, deep=deep)
    wrong = [one for one in report.diagnoses if one.subject not in ("install", "models")]
    for one in wrong:
        assert one.text
        assert one.command or one.state not in ("problem", "warning") or one.check == "server issue", one
    return {(one.check, one.state) for one in wrong if one.state in ("problem", "warning")}


def made_point(doc_id, number=0, *, chunks=1, dense=True, **changes):
    chunk = Chunk(doc_id, number, "some text", 0, 9, "A title")
    payload = {**payload_of(chunk, {}, "", ("stamp", chunks) if number == 0 else None), **changes}
    payload["doc_id"] = payload.pop("payload_doc", doc_id)
    rng = np.random.default_rng(list(f"{doc_id}#{number}".encode()))
    vectors = {"sparse": SparseVector.of([1, 2], [1.0, 2.0])}
    if dense:
        vectors["dense"] = rng.normal(size=DIM).astype(np.float32)
    return Point(chunk.chunk_id, vectors, payload)


def write(store, *points):
    writer = store.writer(NAME, store.manifest(NAME))
    try:
        writer.upsert(list(points))
        writer.publish()
    finally:
        writer.close()


def edit_sparse(store, **changes):
    """Change what the manifest says of the sparse leg, without touching the points."""
    if isinstance(store, EdgeStore):
        file = generations.current(store.folder / NAME) / "manifest.json"
        data = read_checked(file)
        data["manifest"]["legs"]["sparse"].update(changes)
        write_checked(file, {name: value for name, value in data.items() if name != "checksum"})
        return
    manifest = store.manifest(NAME)
    legs = {**manifest.legs, "sparse": replace(manifest.legs["sparse"], **changes)}
    server_writer.write_manifest(store._writing, store._require(NAME), replace(manifest, legs=legs))


def break_file(store):
    if isinstance(store, EdgeStore):
        folder = generations.current(store.folder / NAME)
        file = max(
            (one for one in (folder / "shard").rglob("*.mmap") if one.is_file()), key=lambda one: one.stat().st_size
        )
        os.truncate(file, file.stat().st_size // 2)
    else:
        store._client.update_collection(store._require(NAME), metadata={MANIFEST_KEY: {"schema": 2}})


def leave_replacement(store):
    writer = store.writer(NAME, replace(store.manifest(NAME), chunk_tokens=77), replace=True)
    writer.upsert([made_point("new")])
    writer.flush()
    writer.close()


def write_foreign(store):
    theirs = {"page_content": "a text", "metadata": {}, "chunk_id": "theirs#0"}
    theirs_point = replace(made_point("theirs"), payload=theirs)
    if isinstance(store, EdgeStore):
        write(store, theirs_point)
    else:
        vectors = {"dense": theirs_point.vectors["dense"].tolist()}
        vectors["sparse"] = to_client(theirs_point.vectors["sparse"])
        raw = {"id": str(uuid.uuid4()), "vector": vectors, "payload": theirs}
        point_struct = importlib.import_module("qdrant_client.models").PointStruct
        store._client.upsert(store._require(NAME), [point_struct(**raw)])


FAULTS = {
    "no dense vector": (lambda s: write(s, made_point("x", dense=False)), ("vectors", "problem")),
    "no head": (lambda s: write(s, made_point("x", 1)), ("points", "problem")),
    "a chunk is missing": (lambda s: write(s, made_point("x", chunks=3)), ("points", "problem")),
    "twice": (lambda s: write(s, made_point("copy", payload_doc="d0")), ("points", "problem")),
    "foreign payload": (write_foreign, ("points", "problem")),
    "unfinished document": (lambda s: write(s, made_point("x", stamp="")), ("points", "warning")),
    "idf is missing": (lambda s: edit_sparse(s, needs_idf=True), ("idf", "problem")),
    "unknown model": (lambda s: edit_sparse(s, model="gone/model"), ("model of sparse", "problem")),
    "other model files": (lambda s: edit_sparse(s, fingerprint="0" * 32), ("model of sparse", "problem")),
    "unreadable": (break_file, ("readable", "problem")),
    "unfinished replacement": (leave_replacement, ("leftovers", "warning")),
}


def test_a_healthy_store_has_no_fault(store, build, settings):
    build(store)
    build(store, "second", sparse="fake/both-idf", dense="fake/both-idf")
    build(store, "words", sparse="none")
    assert found_in(store, settings) == set()
    assert found_in(store, settings, deep=True) == set()


@pytest.mark.parametrize("store", ["edge", "memory"], indirect=True)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(store, build, settings, fault):
    build(store)
    plant, expected = FAULTS[fault]
    plant(store)
    assert found_in(store, settings) == {expected}


@pytest.mark.parametrize("store", ["edge", "memory"], indirect=True)
def test_idf_that_no_model_needs_is_found(store, build, settings, monkeypatch):
    monkeypatch.setattr(server_writer, "can_count", lambda line: False)  # else nothing multiplies but the manifest
    build(store, sparse="fake/both-idf", dense="fake/both-idf")
    edit_sparse(store, needs_idf=False)
    assert found_in(store, settings) == {("idf", "problem")}


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@pytest.mark.parametrize("by_server", [True, False])
def test_shards_that_distort_answers_are_found(store, build, settings, monkeypatch, by_server):
    monkeypatch.setattr(server_writer, "can_count", lambda line: not by_server)
    build(store, sparse="fake/both-idf", dense="fake/both-idf")
    real = store._client.get_collection

    def of_three_shards(name):
        info = real(name)
        params = info.config.params.model_copy(update={"shard_number": 3})
        return info.model_copy(update={"config": info.config.model_copy(update={"params": params})})

    monkeypatch.setattr(store._client, "get_collection", of_three_shards)
    assert found_in(store, settings) == ({("shards", "problem")} if by_server else set())
    report = doctor(store=store, settings=settings)
    said = [(one.text, one.command) for one in report.diagnoses if one.check == "shards"]
    assert all("distorted: each of 3 shards" in text and "--replace" in command for text, command in said)


def test_fields_without_an_index_are_found(store, build, settings, monkeypatch):
    for module in (edge_writer, server_writer):
        monkeypatch.setattr(module, "new_fields", lambda points, known: {})
    build(store)
    monkeypatch.undo()
    report = doctor(store=store, settings=settings)
    one = next(one for one in report.diagnoses if one.check == "filter fields")
    assert (one.state, "metadata.year" in one.text) == (("unchecked", False) if is_memory(store) else ("warning", True))


@pytest.mark.parametrize("store", ["http"], indirect=True)
def test_what_an_issue_list_says_is_told(store, build, settings):
    build(store)
    solution = {"immediate": {"method": "PUT", "uri": "/collections/films/index", "body": {"field_name": "year"}}}
    store.fake._collections.known_issues = [{"id": "1", "description": "Unindexed field 'year'", "solution": solution}]
    issue = next(one for one in doctor(store=store, settings=settings).diagnoses if one.check == "server issue")
    assert (issue.state, issue.text) == ("warning", "Unindexed field 'year'")
    assert issue.command.startswith("PUT /collections/films/index")


@pytest.mark.parametrize("store", ["http"], indirect=True)
def test_on_a_server_there_are_only_reading_calls(store, build, settings):
    build(store)
    store.fake.asked.clear()
    doctor(store=store, settings=settings, deep=True)
    assert store.fake.asked
    for method, path in store.fake.asked:
        reads = path.endswith(("/points", "/points/scroll", "/points/count", "/points/query", "/points/query/batch"))
        assert method == "GET" or (method == "POST" and reads), (method, path)


def test_without_room_for_a_copy_a_collection_is_unchecked(edge_store, build, settings, monkeypatch):
    build(edge_store)
    monkeypatch.setattr(generations, "SPARE_BYTES", 1 << 62)
    one = next(one for one in doctor(store=edge_store, settings=settings).diagnoses if one.subject.endswith(NAME))
    assert (one.state, "TMPDIR" in one.text) == ("unchecked", True)
    assert edge_store.verify(NAME)[0].whole  # in its place


def state_of(folder):
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.parametrize("deep", [False, True])
def test_no_file_of_a_store_changes(edge_store, build, settings, deep):
    build(edge_store)
    leave_replacement(edge_store)
    build(edge_store, "second")
    before = state_of(edge_store.folder)
    report = doctor(store=edge_store, settings=settings, deep=deep)
    assert state_of(edge_store.folder) == before
    assert {one.state for one in report.diagnoses if one.subject == f"collection {NAME}"} == {"ok"}


def test_a_broken_check_is_unchecked_and_hides_no_other(edge_store, build, settings, monkeypatch):
    build(edge_store)
    edit_sparse(edge_store, needs_idf=True)

    def broken(*_):
        raise RuntimeError("planted")

    for module, name in (
        (collection_points, "check_fields"),
        (collection_models, "hub"),
        (install, "check_memory"),
        (doctor_module, "check_journal"),
    ):
        monkeypatch.setattr(module, name, broken)
    report = doctor(store=edge_store, settings=settings)
    unchecked = {one.check: one.text for one in report.diagnoses if one.state == "unchecked"}
    assert {"points", "model of sparse", "model of dense", "free memory", "journal"} <= set(unchecked)
    assert all("planted" in unchecked[name] for name in ("points", "free memory", "journal"))
    assert ("idf", "problem") in {(one.check, one.state) for one in report.diagnoses}


@pytest.mark.parametrize("store", ["edge", "memory"], indirect=True)
def test_one_collection_is_looked_at_where_it_is_named(store, build, settings):
    build(store)
    build(store, "second")
    edit_sparse(store, needs_idf=True)
    assert found_in(store, settings, name="second") == set()
    subjects = {one.subject for one in doctor("second", store=store, settings=settings).diagnoses}
    assert subjects == {"install", "models", "store", "collection second"}
    with pytest.raises(CollectionNotFound):
        doctor("third", store=store, settings=settings)
    with pytest.raises(InvalidArgument):
        doctor("../third", store=store, settings=settings)


def test_a_store_that_does_not_answer_is_a_problem(settings):
    report = doctor(store="http://127.0.0.1:9", settings=settings.model_copy(update={"retry_s": 0.0}))
    one = next(one for one in report.diagnoses if one.subject == "store")
    assert (one.check, one.state) == ("open", "problem")
    assert {one.subject for one in report.diagnoses} == {"install", "models", "store"}


def test_settings_that_cannot_be_read_are_a_problem(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("stor = 'x'\n")
    (one,) = doctor(config=config).diagnoses
    assert (one.subject, one.check, one.state) == ("install", "settings", "problem")
    assert "stor" in one.text


def test_a_store_that_is_not_there_yet_is_no_problem(edge_store, settings):
    assert found_in(edge_store, settings) == set()
    assert not edge_store.folder.exists()


def test_leftovers_of_readers_and_writers_are_found(edge_store, build, settings):
    build(edge_store)
    root = edge_store.folder / NAME
    (root / "leases").mkdir(exist_ok=True)
    (root / "leases" / "g000001.dead.lock").touch()
    (root / "writer.json").write_text(json.dumps({"pid": 1, "host": "h", "since": "now", "command": "c"}))
    shutil.copytree(generations.current(root), root / "g000009")
    (root / "g000010.building").mkdir()
    texts = [one.text for one in doctor(store=edge_store, settings=settings).diagnoses if one.check == "leftovers"]
    assert len(texts) == 3
    assert any("1 lock" in text for text in texts)
    assert any("writer.json" in text for text in texts)
    assert any("g000009" in text and "g000010.building" in text for text in texts)


def test_a_build_that_was_never_finished_is_found(edge_store, build, settings):
    manifest = build(edge_store)
    with closing(edge_store.writer("new", manifest)) as writer:
        writer.upsert([made_point("x")])
        writer.flush()
    assert found_in(edge_store, settings) == {("leftovers", "warning")}
    assert found_in(edge_store, settings, name="new") == {("leftovers", "warning"), ("readable", "problem")}
    assert found_in(edge_store, settings, name=NAME) == set()


@pytest.mark.parametrize("store", ["http"], indirect=True)
def test_a_server_without_a_list_of_issues_is_no_fault(store, build, settings):
    build(store)
    store.fake.trouble = lambda method, path: None
    store.fake._collections.answer = without_issues(store.fake._collections.answer)
    (one,) = [one for one in doctor(store=store, settings=settings).diagnoses if one.check == "server issues"]
    assert one.state == "ok"
    assert found_in(store, settings) == set()


def without_issues(answer):
    """The server's answers, as one of an early version gives them."""

    def answered(method, path, body):
        if path == "/issues":
            raise LookupError(path)
        return answer(method, path, body)

    return answered


@pytest.mark.parametrize("store", ["http"], indirect=True)
def test_a_server_that_goes_away_meanwhile_leaves_unchecked_what_it_was_not_asked(store, build, settings):
    build(store)
    store._reading.patience = store._reading.patience._replace(seconds=0.0)
    store.fake.trouble = lambda method, path: "503" if path.endswith("/points/scroll") else None
    found = {(one.check, one.state) for one in doctor(store=store, settings=settings).diagnoses}
    assert ("survey", "unchecked") in found
    assert ("leftovers", "ok") in found


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_what_strict_mode_and_the_optimizer_say_is_told(store, build, settings, monkeypatch):
    build(store)
    get = store._client.get_collection

    def described(name):
        info = get(name)
        strict = importlib.import_module("qdrant_client.models").StrictModeConfigOutput
        info.config.strict_mode_config = strict(enabled=True, max_query_limit=10)
        info.status = "red"
        return info

    monkeypatch.setattr(store._client, "get_collection", described)
    found = {one.check: one for one in doctor(store=store, settings=settings).diagnoses}
    assert found["strict mode"].text.endswith("max_query_limit=10")
    assert (found["segments"].state, "failed" in found["segments"].text) == ("warning", True)


def test_a_writer_or_a_reader_at_work_is_no_leftover(edge_store, build, settings):
    build(edge_store)
    reader = edge_store.reader(NAME)
    writer = edge_store.writer(NAME, edge_store.manifest(NAME))
    try:
        writer.upsert([made_point("x")])
        assert found_in(edge_store, settings) == set()
    finally:
        writer.close()
        reader.close()


def test_a_generation_that_is_gone_is_a_problem_and_no_hang(edge_store, build, settings):
    build(edge_store)
    shutil.rmtree(generations.current(edge_store.folder / NAME))
    assert found_in(edge_store, settings) == {("readable", "problem")}


def test_a_current_that_names_no_generation_is_a_problem(edge_store, build, settings):
    build(edge_store)
    (edge_store.folder / NAME / "CURRENT").write_bytes(b"\xff\x00")
    build(edge_store, "second")
    (edge_store.folder / "second" / "writer.json").touch()
    assert found_in(edge_store, settings) == {("readable", "problem"), ("leftovers", "warning")}


@pytest.mark.parametrize("ending", ["import os; os.abort()", "raise SystemExit(3)", "print('no json')"])
def test_an_engine_that_kills_its_process_hides_nothing(edge_store, build, settings, monkeypatch, ending):
    build(edge_store)
    build(edge_store, "second")
    run_in_child, copied = edge_survey.run_in_child, []

    def dying(function, folder):
        copied.append(folder)
        if len(copied) > 1:  # of the second collection
            return run_in_child(function, folder)
        return subprocess.run([sys.executable, "-c", ending], capture_output=True, text=True, check=False)

    monkeypatch.setattr(edge_survey, "run_in_child", dying)
    report = doctor(store=edge_store, settings=settings)
    mine = {(one.check, one.state) for one in report.diagnoses if one.subject == f"collection {NAME}"}
    assert mine <= {("readable", "problem"), ("survey", "unchecked")}
    assert len(mine) == 1
    assert {one.state for one in report.diagnoses if one.subject == "collection second"} == {"ok"}
    assert len(copied) == 2
    assert not any(folder.exists() for folder in copied)


def test_a_survey_while_a_writer_publishes(edge_store, build, settings):
    """What was read is one state, and the writer removes nothing that is being read."""
    build(edge_store)
    manifest = edge_store.manifest(NAME)
    ended = threading.Event()

    def publish():
        while not ended.is_set():
            with closing(edge_store.writer(NAME, manifest)) as writer:
                writer.upsert([made_point(f"new{time.monotonic_ns()}")])
                writer.publish()

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for _ in range(4):
            survey = edge_store.survey(NAME)
            assert survey.scan.headless == survey.scan.incomplete == survey.scan.foreign == 0
            assert survey.points == survey.scan.read
    finally:
        ended.set()
        thread.join()


def test_a_damaged_journal_is_found(edge_store, build, settings):
    build(edge_store)
    (edge_store.folder / "jobs.sqlite").write_bytes(b"no database at all" * 100)
    assert found_in(edge_store, settings) == {("journal", "problem")}
