"""Encode once: a file of encodings fills a collection that is the one it was saved from, on both stores."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hybrid_search import load_encodings, save_encodings
from hybrid_search.collection.legs import drop_leg, swap_legs
from hybrid_search.errors import (
    CollectionNotFound,
    CorpusError,
    InvalidArgument,
    ManifestMismatch,
    StoreError,
    StoreFull,
)
from hybrid_search.indexer import Indexer
from hybrid_search.indexing.add_leg import add_leg
from hybrid_search.indexing.pipeline import INCOMPLETE
from hybrid_search.interop import encodings, filling, reader, writer
from hybrid_search.interop.reader import EncodedFile
from hybrid_search.searcher import Searcher
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import Document, Place, Point, chunk_id_of
from tests.interop.conftest import words
from tests.store.conftest import in_memory

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

MODELS = {"sparse": "fake/both", "dense": "fake/both", "legs": ("sparse", "dense", "bm25")}
SAVED: list[bytes] = []
SMALL = {"sparse": "fake/sparse", "dense": "fake/dense"}


def documents(count=30):
    """Some of one chunk, some of several, one whose text has no word and so no sparse vector."""
    found = [Document(f"d{n}", words(4 + 7 * (n % 6), n), title=words(1, n + 99)) for n in range(count)]
    found[1] = Document("ünï #2", "漢字 … !", metadata={"year": 1999, "tags": ["ä", "b"], "of": {"deep": None}})
    return found


@pytest.fixture(params=["edge", "local"])
def store(request, tmp_path):
    store = EdgeStore(tmp_path / "store") if request.param == "edge" else in_memory()
    yield store
    store.close()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "c.parquet"


@pytest.fixture
def saved(settings, fakes, file):
    """A file of 30 documents, and the store `one` that it was saved from."""
    build(settings, EdgeStore(file.parent / "one"), documents(), **SMALL)
    save_encodings("c", file, store=file.parent / "one", settings=settings)
    return file


def build(settings, store, items, name="c", **options):
    options = {"chunk_tokens": 16, **(options or MODELS)}
    return Indexer.open(name, store=store, settings=settings, **options).index(items)


def load(settings, file, name="c", store=None, **options):
    return load_encodings(name, file, store=store, settings=settings, **options)


def top_ten(settings, store, name):
    queries = [words(1 + n % 4, 500 + n) for n in range(40)]
    with Searcher.open(name, store=store, settings=settings) as searcher:
        return [
            [(hit.doc_id, {leg: found for leg, found in hit.legs.items() if found}, hit.score) for hit in results]
            for mode in ("hybrid", *sorted(searcher.manifest.legs))
            for results in searcher.search_many(queries, mode=mode)
        ]


def assert_same_answers(one, other):
    assert len(one) == len(other) > 0
    for mine, theirs in zip(one, other, strict=True):
        assert [doc_id for doc_id, _, _ in mine] == [doc_id for doc_id, _, _ in theirs]
        assert [score for *_, score in mine] == pytest.approx([score for *_, score in theirs], abs=1e-6)
        for (_, legs, _), (_, others, _) in zip(mine, theirs, strict=True):
            assert {leg: found.rank for leg, found in legs.items()} == {leg: f.rank for leg, f in others.items()}
            assert [f.score for f in legs.values()] == pytest.approx([f.score for f in others.values()], abs=1e-6)


def content(settings, store=None, name="c"):
    """Everything in a collection: chunk id -> payload."""
    opened = (store or EdgeStore(settings.store)).reader(name)
    try:
        heads = opened.payloads([chunk_id_of(doc_id, 0) for doc_id in opened.doc_ids()])
        ids = [chunk_id_of(head["doc_id"], n) for head in heads.values() for n in range(head["chunks"])]
        payloads = opened.payloads(ids)
        assert len(payloads) == len(ids) == opened.info().points
        return payloads
    finally:
        opened.close()


def counts(report):
    return (report.documents, report.unchanged, report.removed, report.failed)


# ---------------------------------------------------------------- the same collection again


def test_a_loaded_collection_is_the_saved_one(store, settings, fakes, file, tmp_path):
    build(settings, store, documents())
    told = []
    saved = save_encodings("c", file, store=store, settings=settings, on_progress=told.append)
    assert (saved.file, saved.documents, saved.bytes) == (file, 30, file.stat().st_size)
    assert saved.chunks == store.info("c").points >= 60
    assert (told[0].done, told[-1].done, told[-1].total) == (0, 30, 30)
    fakes.calls("both")

    told.clear()
    report = load(settings, file, "copy", store, on_progress=told.append)
    assert counts(report) == (30, 0, 0, 0)
    assert (report.chunks, report.profile, report.failures) == (saved.chunks, "custom", ())
    assert (told[0].done, told[-1].done, told[-1].total) == (0, 30, 30)
    assert fakes.calls("both") == []
    assert store.info("copy").manifest == store.info("c").manifest
    assert content(settings, store, "copy") == content(settings, store)

    # Before any search: the client's in-memory form touches the last bit of its dense vectors then.
    save_encodings("copy", tmp_path / "again.parquet", store=store, settings=settings)
    assert (tmp_path / "again.parquet").read_bytes() == file.read_bytes()
    assert_same_answers(top_ten(settings, store, "copy"), top_ten(settings, store, "c"))

    assert counts(load(settings, file, "copy", store)) == (0, 30, 0, 0)
    fakes.calls("both")
    assert counts(build(settings, store, documents(), "copy")) == (0, 30, 0, 0)
    assert fakes.calls("both") == []


def test_what_a_folder_saved_a_server_answers_the_same_from(settings, fakes, file, tmp_path):
    folder, server = EdgeStore(tmp_path / "one"), in_memory()
    build(settings, folder, documents())
    save_encodings("c", file, store=folder, settings=settings)
    load(settings, file, store=server)
    assert_same_answers(top_ten(settings, server, "c"), top_ten(settings, folder, "c"))
    save_encodings("c", tmp_path / "again.parquet", store=server, settings=settings)
    ours, theirs = (pq.read_table(path).to_pylist() for path in (file, tmp_path / "again.parquet"))
    by_chunk = {(row["doc_id"], row["number"]): row for row in theirs}
    for row in ours:
        other = by_chunk.pop((row["doc_id"], row["number"]))
        assert row.pop("vector_dense") == pytest.approx(other.pop("vector_dense"), abs=1e-6)
        assert row == other
    assert not by_chunk
    server.close()


def test_legs_that_changed_places_are_loaded_as_they_are(settings, fakes, file):
    build(settings, None, documents(), **SMALL)
    add_leg("c", "new", "fake/sparse-2", settings=settings)
    swap_legs("c", "sparse", "new", settings=settings)
    save_encodings("c", file, settings=settings)
    load(settings, file, "copy")
    assert EdgeStore(settings.store).info("copy").manifest == EdgeStore(settings.store).info("c").manifest
    assert_same_answers(top_ten(settings, None, "copy"), top_ten(settings, None, "c"))
    assert counts(build(settings, None, documents(), "copy", chunk_tokens=16)) == (0, 30, 0, 0)
    drop_leg("copy", "new", settings=settings)
    with pytest.raises(ManifestMismatch, match="the legs sparse,dense, not with sparse,dense,new"):
        load(settings, file, "copy")


def test_no_model_is_needed_to_load(saved, tmp_path):
    """In a process that has never heard of the fakes, and with no model library."""
    code = (
        "import sys; from hybrid_search import load_encodings, settings\n"
        "report = load_encodings('c', sys.argv[1], store=sys.argv[2], settings=settings.Settings())\n"
        "heavy = {'torch', 'onnxruntime', 'fastembed', 'tokenizers', 'huggingface_hub'} & set(sys.modules)\n"
        "print(report.documents, heavy)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code, saved, tmp_path / "two"], capture_output=True, text=True, check=True, env=env
    )
    assert done.stdout.strip() == "30 set()"


def test_other_tools_read_the_file_and_may_write_it(saved, settings):
    table = pq.read_table(saved)
    row = next(row for row in table.to_pylist() if row["doc_id"] == "ünï #2")
    assert json.loads(row["metadata"]) == {"year": 1999, "tags": ["ä", "b"], "of": {"deep": None}}
    assert (row["number"], row["chunks"], row["start"], row["end"]) == (0, 1, 0, 6)
    assert (row["indices_sparse"], row["values_sparse"]) == ([], [])
    dense = np.stack(table["vector_dense"].to_numpy(zero_copy_only=False))
    assert dense.shape == (table.num_rows, 16)
    np.testing.assert_allclose(np.linalg.norm(dense, axis=1), 1, atol=1e-6)
    told = json.loads(table.schema.metadata[b"hybrid_search.manifest"])
    assert {leg: spec["model"] for leg, spec in told["legs"].items()} == {
        "sparse": "fake/sparse",
        "dense": "fake/dense",
    }
    # As polars and DuckDB have them: long strings, lists of any length, 64 bits; columns in another order.
    kinds = {"string": pa.large_string(), "int32": pa.int64()}
    kinds |= {"vector_dense": pa.large_list(pa.float64()), "indices_sparse": pa.large_list(pa.int64())}
    fields = [field.with_type(kinds.get(field.name, kinds.get(str(field.type), field.type))) for field in table.schema]
    foreign = table.cast(pa.schema(fields, table.schema.metadata)).select(table.column_names[::-1])
    pq.write_table(foreign, saved, row_group_size=7)
    assert counts(load(settings, saved)) == (30, 0, 0, 0)


# ---------------------------------------------------------------- in step, and resumed


def test_changed_documents_are_replaced_and_prune_removes_the_others(saved, settings, fakes):
    old = [*documents()[:10], Document("d10", words(90, 1)), Document("d11", words(9, 77)), Document("gone", words(40))]
    build(settings, None, old, **SMALL)
    report = load(settings, saved)
    assert counts(report) == (20, 10, 0, 0)
    assert "gone#0" in content(settings)
    assert counts(load(settings, saved, prune=True)) == (0, 30, 1, 0)
    load(settings, saved, "fresh")
    assert content(settings) == content(settings, name="fresh")


def test_replace_swaps_at_the_end(saved, settings, fakes):
    build(settings, None, [Document("old", "copper copper")], sparse="fake/sparse-2", dense="none", chunk_tokens=20)

    def still_old(progress):
        assert set(content(settings)) == {"old#0"}

    with pytest.raises(ManifestMismatch, match=r"'c' was built with the legs sparse, not with sparse,dense.*NEW_NAME"):
        load(settings, saved)
    assert counts(load(settings, saved, replace=True, on_progress=still_old)) == (30, 0, 0, 0)
    assert "old#0" not in content(settings)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({**SMALL, "chunk_tokens": 18}, "--chunk-tokens 18, not with 16"),
        ({**SMALL, "sparse": "fake/sparse-2"}, "the sparse model 'fake/sparse-2', not with 'fake/sparse'"),
        ({**SMALL, "overlap_tokens": 3}, "--overlap-tokens 3, not with 0"),
    ],
)
def test_a_collection_of_other_models_or_chunking_is_refused_by_name(saved, settings, fakes, options, named):
    build(settings, None, documents()[:2], **options)
    before = content(settings)
    with pytest.raises(ManifestMismatch, match=named):
        load(settings, saved)
    assert content(settings) == before


@pytest.mark.parametrize("stop", range(1, 14, 3))
def test_a_load_that_was_cut_short_goes_on(saved, settings, monkeypatch, stop, store):
    """With batches so small that most documents span several."""
    monkeypatch.setattr(filling, "WRITE_BATCH", 3)
    monkeypatch.setattr(reader, "READ_ROWS", 7)
    seen = []

    def stopping(progress):
        seen.append(progress)
        if len(seen) > stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(settings, saved, store=store, on_progress=stopping)
    assert store.names() == []
    report = load(settings, saved, store=store)
    assert (report.documents + report.unchanged, report.failed) == (30, 0)
    assert report.unchanged >= seen[-2].documents
    assert content(settings, store) == content(settings, EdgeStore(saved.parent / "one"))


# ---------------------------------------------------------------- files that cannot be loaded


def rewritten(change):
    """Change a file's table, its metadata staying."""

    def apply(file):
        table = pq.read_table(file)
        changed = change(table)
        kept = {**table.schema.metadata, **(changed.schema.metadata or {})}
        pq.write_table(changed.replace_schema_metadata(kept), file)

    return apply


def test_contexts_come_along_and_an_older_file_has_none(settings, fakes, file):
    text = "| apple | ocean |\n|---|---|\n" + "| copper words | in rows |\n" * 40
    places = (Place(0, {"heading": "Fruit"}),)
    document = Document("d", text, "", {"year": 1}, "d.md", "markdown", places, 7)
    build(settings, EdgeStore(file.parent / "one"), [document], chunk_tokens=48, **SMALL)
    save_encodings("c", file, store=file.parent / "one", settings=settings)
    load(settings, file)
    assert content(settings) == content(settings, EdgeStore(file.parent / "one"))
    assert {payload.get("context") for payload in content(settings).values()} == {None, "| apple | ocean |"}
    assert {payload["own"][0] for payload in content(settings).values()} == {"heading"}
    assert len({payload["line"] for payload in content(settings).values()}) > 3
    rewritten(lambda table: table.drop_columns(["context", "line", "own"]))(file)
    load(settings, file, "older")
    assert {payload.get("context") for payload in content(settings, name="older").values()} == {None}


def told(**changes):
    named = {f"hybrid_search.{name}".encode(): value for name, value in changes.items()}
    return lambda file: pq.write_table(
        (table := pq.read_table(file)).replace_schema_metadata({**table.schema.metadata, **named}), file
    )


def without(place):
    return rewritten(lambda table: pa.concat_tables([table.slice(0, place), table.slice(place + 1)]))


def long_document(table):
    """The place of chunk 0 of a document of several."""
    return next(n for n, chunks in enumerate(table["chunks"].to_pylist()) if chunks and chunks > 2)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda file: file.unlink(), "There is no file"),
        (lambda file: file.write_bytes(b""), "cut short or damaged"),
        (lambda file: file.write_text('{"_id": "a"}\n' * 9), "no Parquet file"),
        (lambda file: file.write_bytes(file.read_bytes()[:-100]), "cut short or damaged"),
        (lambda file: pq.write_table(pa.table({"a": [1]}), file), "holds no encodings.*index SOURCE"),
        (told(format=b"2"), "has format 2, this version reads 1.*update"),
        (told(format=b"x"), "has format x"),
        (told(manifest=b"{}"), "manifest in .* cannot be read"),
        (told(manifest=b"[1"), "manifest in .* cannot be read"),
        (
            rewritten(lambda t: t.drop_columns(["title", "vector_dense"])),
            "lacks the columns title, vector_dense; it has",
        ),
        (
            rewritten(lambda t: t.set_column(10, "values_sparse", t["text"]).rename_columns(t.column_names)),
            "Column indices_sparse of .* is string, expected list<",
        ),
        (
            rewritten(
                lambda t: t.set_column(
                    t.column_names.index("vector_dense"),
                    "vector_dense",
                    pa.array([[1.0] * 3] * t.num_rows, pa.list_(pa.float32(), 3)),
                )
            ),
            "Column vector_dense of .* expected 16 floats",
        ),
        (rewritten(lambda t: t.slice(0, 0)), "holds no document"),
        (rewritten(lambda t: t.slice(0, long_document(t) + 2)), "the file ends after chunk 1 of 'd"),
        (lambda file: without(long_document(pq.read_table(file)))(file), "begins with chunk 1"),
        (lambda file: without(long_document(pq.read_table(file)) + 1)(file), "after chunk 0 of .* comes chunk 2"),
        (rewritten(lambda t: pa.concat_tables([t, t])), "stands in two places"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_refused_before_anything_is_written(saved, settings, spoil, named):
    spoil(saved)
    with pytest.raises(CorpusError, match=named) as caught:
        load(settings, saved)
    assert str(saved) in str(caught.value)
    assert not Path(settings.store).exists()


def test_a_damaged_page_is_found_and_nothing_of_it_is_published(saved, settings):
    whole = saved.read_bytes()
    place = pq.ParquetFile(saved).metadata.row_group(0).column(4)
    assert place.path_in_schema == "text"
    at = place.data_page_offset + place.total_compressed_size - 20
    saved.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    with pytest.raises(CorpusError, match="damaged"):
        load(settings, saved)
    assert EdgeStore(settings.store).names() == []
    saved.write_bytes(whole)
    assert counts(load(settings, saved)) == (30, 0, 0, 0)


def with_value(name, value, place):
    def change(table):
        column = table[name].to_pylist()
        column[place] = value
        kind = pa.list_(pa.float32()) if name == "vector_dense" else table.schema.field(name).type
        return table.set_column(table.column_names.index(name), name, pa.array(column, kind))

    return rewritten(change)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("vector_dense", [float("nan")] * 16, "the dense vector of chunk 0: it holds a value that is not finite"),
        ("vector_dense", [0.0] * 16, "has length 0"),
        ("vector_dense", [1.0, 2.0], "shape"),
        ("indices_sparse", [3, 2], "sparse vector of chunk 0"),
        ("indices_sparse", [2**32 - 1], r"below 2\*\*31"),
        ("indices_sparse", [None], r"below 2\*\*31"),
        ("values_sparse", [], "one length"),
        ("text", None, "text of chunk 0 is null"),
        ("metadata", "[]", "expected a JSON object"),
        ("metadata", "{", "expected a JSON object"),
        ("metadata", "[" * 100_000, "expected a JSON object"),
        ("metadata", '{"a": NaN}', "not JSON"),
        ("start", -5, "start of chunk 0 is -5, expected at least 0"),
        ("values_sparse", [-1.0], "sparse vector of chunk 0"),
    ],
)
def test_a_document_that_cannot_be_stored_is_listed_and_the_others_go_in(saved, settings, fakes, name, value, reason):
    build(settings, None, [Document("gone", words(5))], **SMALL)
    table = pq.read_table(saved)
    place = next(
        n for n, chunks in enumerate(table["chunks"].to_pylist()) if chunks == 1 and table["indices_sparse"][n]
    )
    doc_id = table["doc_id"][place].as_py()
    with_value(name, value, place)(saved)
    report = load(settings, saved, prune=True)
    assert counts(report) == (29, 0, 0, 1)
    assert report.failures[0].origin == f"{saved}: {doc_id}"
    assert re.search(reason, report.failures[0].reason)
    assert {payload["doc_id"] for payload in content(settings).values()} == {d.doc_id for d in documents()} - {
        doc_id
    } | {"gone"}


def test_a_long_document_with_a_bad_row_far_in_leaves_nothing(saved, settings, monkeypatch):
    load(settings, saved)
    monkeypatch.setattr(filling, "WRITE_BATCH", 2)
    table = pq.read_table(saved)
    place = long_document(table)
    doc_id = table["doc_id"][place].as_py()
    rewritten(lambda t: t.set_column(8, "stamp", pa.array([s and s[::-1] for s in t["stamp"].to_pylist()])))(saved)
    with_value("text", None, place + 2)(saved)
    assert counts(load(settings, saved)) == (29, 0, 0, 1)
    assert {payload["doc_id"] for payload in content(settings).values()} == {d.doc_id for d in documents()} - {doc_id}


@pytest.fixture
def copied(request, file):
    """A copy of one file of 30 documents, which is made once."""
    if not SAVED:
        SAVED.append(request.getfixturevalue("saved").read_bytes())
    file.write_bytes(SAVED[0])
    return file


def refusals(file):
    """Why rows cannot be stored, by the id of their chunk."""
    encoded, found = EncodedFile(file), {}
    for row in (row for rows in encoded.rows() for row in rows):
        try:
            row.point()
        except ValueError as error:
            found[f"{row.doc_id}#{row.number}"] = str(error)
    encoded.close()
    return found


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("metadata", "3", "metadata of chunk 0 is '3', expected a JSON object"),
        ("metadata", '"x"', "expected a JSON object"),
        ("metadata", "null", "expected a JSON object"),
        ("metadata", None, "metadata of chunk 0 is null"),
        ("text", " \n", "text of chunk 0 is ' .n', expected a text"),
        ("start", -(2**63), "start of chunk 0 is -9"),
        ("start", 1, r"end of chunk 0 is \d+, expected \d+: it starts at 1"),
        ("end", -1, r"end of chunk 0 is -1, expected \d+: it starts at 0, its text has \d+ characters"),
        ("end", 2**62, "end of chunk 0 is 4611686018427387904"),
        ("end", 0, "end of chunk 0 is 0"),
        ("vector_dense", [2.0] + [0.0] * 15, "the dense vector of chunk 0: it has length 2, expected 1"),
        ("vector_dense", [0.9] + [0.0] * 15, "has length 0.9, expected 1"),
        ("vector_dense", [3e38] * 16, "the dense vector of chunk 0: it has length"),
        ("vector_dense", [float("inf")] + [0.0] * 15, "not finite"),
        ("vector_dense", [None] + [1.0] * 15, "not finite"),
        ("indices_sparse", [7, 7], "the sparse vector of chunk 0: indices must be >= 0 and strictly increasing"),
        ("values_sparse", [1.0, -1.0], "the sparse vector of chunk 0: values must be finite and > 0"),
        ("values_sparse", [0.0, 1.0], "finite and > 0"),
        ("values_sparse", [float("nan"), 1.0], "finite and > 0"),
        ("values_sparse", [1.0, float("inf")], "finite and > 0"),
        ("values_sparse", [None, 1.0], "finite and > 0"),
    ],
)
def test_a_row_that_is_not_what_the_layout_says_is_refused_by_name(copied, name, value, reason):
    table = pq.read_table(copied)
    place = next(n for n, indices in enumerate(table["indices_sparse"].to_pylist()) if len(indices) > 2)
    if name in ("indices_sparse", "values_sparse"):
        with_value("indices_sparse", [3, 9], place)(copied)
        with_value("values_sparse", [1.0, 1.0], place)(copied)
    assert refusals(copied) == {}
    with_value(name, value, place)(copied)
    [(chunk_id, told)] = refusals(copied).items()
    assert chunk_id == f"{table['doc_id'][place]}#0"
    assert re.search(reason, told)


@pytest.mark.parametrize("rows", [1, 2, 256])
def test_chunks_that_go_backwards_in_their_document_are_refused(copied, monkeypatch, rows):
    """Wherever the batches that are read end."""
    monkeypatch.setattr(reader, "READ_ROWS", rows)
    table = pq.read_table(copied)
    place = long_document(table) + 2
    size, before = len(table["text"][place].as_py()), table["start"][place - 1].as_py()
    with_value("start", before - 1, place)(copied)
    with_value("end", before - 1 + size, place)(copied)
    told = f"start of chunk 2 is {before - 1}, expected at least {before}, the start of the chunk before it"
    assert refusals(copied) == {f"{table['doc_id'][place]}#2": told}


def test_ids_that_differ_only_in_how_a_letter_is_composed_are_one(copied, settings):
    forms = {"d3": "caf\u00e9", "d5": "cafe\u0301"}
    rewritten(
        lambda t: t.set_column(0, "doc_id", pa.array([forms.get(each, each) for each in t["doc_id"].to_pylist()]))
    )(copied)
    with pytest.raises(CorpusError, match=r"caf.* stands in two places"):
        load(settings, copied)


@pytest.mark.parametrize(
    ("facts", "taken"),
    [
        ({"model": "Qdrant/minicoil-v1"}, True),
        ({"model": "/no/such/folder/of/minicoil", "needs_idf": True}, True),
        ({"model": "/no/such/folder/of/splade"}, False),
        ({"model": "Qdrant/bm25", "needs_idf": True}, False),
    ],
)
def test_weights_below_0_are_those_of_minicoil(copied, facts, taken):
    table = pq.read_table(copied)
    manifest = json.loads(table.schema.metadata[b"hybrid_search.manifest"])
    manifest["legs"]["sparse"] |= facts
    told(manifest=json.dumps(manifest).encode())(copied)
    for place, weights in enumerate(table["values_sparse"].to_pylist()[:5]):
        with_value("values_sparse", [-weight for weight in weights], place)(copied)
    spoilt = sum(bool(weights) for weights in table["values_sparse"].to_pylist()[:5])
    assert spoilt > 1
    assert len(refusals(copied)) == (0 if taken else spoilt)


# ---------------------------------------------------------------- saving, cut short or refused


def test_a_save_that_was_cut_short_leaves_the_old_file(saved, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "GROUP_ROWS", 10)
    monkeypatch.setattr(encodings, "READ_BATCH", 10)
    before, beside = saved.read_bytes(), sorted(tmp_path.iterdir())

    def stopping(progress):
        if progress.done > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_encodings("c", saved, store=tmp_path / "one", settings=settings, on_progress=stopping)
    assert saved.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == beside

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreFull, match=r"c\.parquet: No space"):
            save_encodings("c", saved, store=tmp_path / "one", settings=settings)
    assert saved.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == beside

    save_encodings("c", saved, store=tmp_path / "one", settings=settings)
    assert pq.ParquetFile(saved).num_row_groups > 3
    assert pq.read_table(saved).num_rows == pq.read_table(pa.BufferReader(before)).num_rows


def test_what_cannot_be_saved(saved, settings, tmp_path):
    one = tmp_path / "one"
    with pytest.raises(CollectionNotFound):
        save_encodings("d", saved, store=one, settings=settings)
    for target, named in ((tmp_path, "is a folder"), (tmp_path / "no" / "c.parquet", "no folder")):
        with pytest.raises(InvalidArgument, match=named):
            save_encodings("c", target, store=one, settings=settings)


def test_a_collection_that_is_being_written_on_a_server_is_not_saved_in_part(settings, fakes, file):
    server = in_memory()
    build(settings, server, documents()[:5], **SMALL)
    job = server.writer("c", server.manifest("c"))
    [payload] = server.reader("c").payloads(["d3#0"]).values()
    vectors = {leg: server.reader("c").vectors(leg, ["d3#0"])["d3#0"] for leg in ("sparse", "dense")}
    job.upsert([Point("d3#0", vectors, {**payload, "stamp": INCOMPLETE})])
    with pytest.raises(StoreError, match=r"'d3#0'.*running it again"):
        save_encodings("c", file, store=server, settings=settings)
    job.upsert([Point("d3#0", vectors, {**payload, "chunks": payload["chunks"] + 1})])
    with pytest.raises(StoreError, match=f"'d3#{payload['chunks']}'"):
        save_encodings("c", file, store=server, settings=settings)
    assert not file.exists()
    server.close()
