"""Road one, on real stores and real models: what is written, what is left alone, what is refused."""

import json
import os
import shutil
from collections import namedtuple
from contextlib import closing

import numpy as np
import pytest

from hybrid_search.errors import (
    CorpusError,
    InvalidArgument,
    ManifestMismatch,
    ModelError,
    StoreBusy,
    StoreFull,
    UnknownModel,
)
from hybrid_search.indexer import Indexer
from hybrid_search.indexing import pipeline
from hybrid_search.indexing.progress import Progress
from hybrid_search.searcher import Searcher
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import Document, chunk_id_of
from tests.store.store_points import edit_manifests

BM25 = {"sparse": "qdrant/bm25-engine", "dense": "none"}
WORDS = ["river", "stone", "apple", "cloud", "winter", "garden", "copper", "window", "letter", "ocean"]

FRUIT = [
    Document("a", "Red apples grow on old trees.", title="Apples", metadata={"year": 1999}),
    Document("b", "Green pears are sweet in autumn."),
    Document("c", "Yellow bananas come by ship."),
]

DOCUMENTS = 64
"""Of five words each, in a batch of these tests."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(pipeline, "BATCH_TOKENS", 5 * DOCUMENTS)


def words(count, seed=0):
    return " ".join(np.random.default_rng(seed).choice(WORDS, count))


def indexer(settings, name="c", **options):
    return Indexer.open(name, settings=settings, **{**BM25, **options})


def counts(report):
    return (report.documents, report.chunks, report.unchanged, report.repeated, report.removed, report.failed)


def chunk_ids(settings, name="c"):
    """The payloads of a collection by chunk id; fails where there are chunks that no document accounts for."""
    reader = EdgeStore(settings.store).reader(name)
    try:
        points = reader.info().points
        documents = [*"abcdefp", "long", *(f"d{n}" for n in range(200))]
        payloads = reader.payloads([chunk_id_of(doc_id, n) for doc_id in documents for n in range(points)])
        assert len(payloads) == points
        return payloads
    finally:
        reader.close()


def snapshot(folder):
    """Every file of a folder: length and content, but not when it was read."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def stop_after(tells):
    """A progress callback that raises like Ctrl-C on its n-th call."""
    seen = []

    def callback(progress):
        seen.append(progress)
        if len(seen) >= tells:
            raise KeyboardInterrupt

    return callback


# ---------------------------------------------------------------- what comes in


@pytest.mark.parametrize(
    "source",
    [
        FRUIT,
        tuple(FRUIT),
        (document for document in FRUIT),
        [{"_id": d.doc_id, "title": d.title, "text": d.text, "metadata": dict(d.metadata)} for d in FRUIT],
        iter([FRUIT[0], {"id": "b", "text": FRUIT[1].text}, {"doc_id": "c", "contents": FRUIT[2].text}]),
    ],
    ids=["list", "tuple", "generator", "dicts", "mixed"],
)
def test_documents_and_dicts_come_from_any_iterable(settings, source):
    report = indexer(settings).index(source)
    assert counts(report) == (3, 3, 0, 0, 0, 0)
    payloads = chunk_ids(settings)
    assert {payload["doc_id"]: payload["text"] for payload in payloads.values()} == {d.doc_id: d.text for d in FRUIT}
    assert payloads["a#0"]["title"] == "Apples"
    assert payloads["a#0"]["metadata"] == {"year": 1999}


def test_a_file_a_path_and_a_list_of_paths_are_sources(settings, jsonl):
    file = jsonl([{"_id": d.doc_id, "text": d.text} for d in FRUIT])
    assert counts(indexer(settings).index(file)) == (3, 3, 0, 0, 0, 0)
    assert counts(indexer(settings).index(str(file))) == (0, 0, 3, 0, 0, 0)
    assert counts(indexer(settings).index([str(file)])) == (0, 0, 3, 0, 0, 0)
    assert chunk_ids(settings)["b#0"]["origin"] == f"{file}:2"


@pytest.mark.parametrize("source", [FRUIT[0], {"_id": "a", "text": "x"}])
def test_one_document_alone_is_not_taken_for_many(settings, source):
    with pytest.raises(InvalidArgument, match="give a list"):
        indexer(settings).index(source)


def test_items_that_cannot_be_indexed_are_listed_and_the_others_go_in(settings):
    items = [
        FRUIT[0],
        Document("", "no id"),
        Document("blank", " \n\t "),
        Document("b", None),
        Document(7, "a number for an id"),
        Document("half\ud800", "an id that cannot be written"),
        Document("when", "metadata that is no JSON", metadata={"seen": {1, 2}}),
        {"_id": "d"},
        42,
        FRUIT[2],
    ]
    report = indexer(settings).index(items)
    assert (report.documents, report.failed) == (2, 8)
    reasons = [reason for _, reason in report.failures]
    for reason, expected in zip(
        reasons,
        ["no doc_id", "no text", "text is NoneType", "doc_id is int", "half a character", "not JSON"],
        strict=False,
    ):
        assert expected in reason
    assert report.failures[6].origin == "item 8"
    assert "no text" in reasons[6]
    assert report.failures[7] == ("item 9", "expected a Document or a dict, found int")
    assert set(chunk_ids(settings)) == {"a#0", "c#0"}


def test_text_that_cannot_be_encoded_is_mended_in_place(settings):
    text = "half \ud800 a character and a \0 between"
    assert indexer(settings).index([Document("a", text, title="\udfff")]).failed == 0
    payload = chunk_ids(settings)["a#0"]
    assert len(payload["text"]) == len(text)
    assert payload["text"].startswith("half \ufffd a character")


def test_the_same_id_twice_is_one_document_or_an_error_that_names_both(settings, jsonl):
    file = jsonl([{"_id": "a", "text": "one"}, {"_id": "b", "text": "x"}, {"_id": "a", "text": "one"}])
    assert counts(indexer(settings).index(file)) == (2, 2, 0, 1, 0, 0)
    other = jsonl([{"_id": "a", "text": "one"}, {"_id": "a", "text": "two"}], "other.jsonl")
    report = indexer(settings, "d").index(other)
    assert counts(report) == (1, 1, 0, 0, 0, 1)
    assert report.failures[0].origin == f"{other}:2"
    assert f"{other}:1" in report.failures[0].reason
    assert chunk_ids(settings, "d")["a#0"]["text"] == "one"


def test_a_source_without_any_document_is_an_error_and_makes_no_collection(settings, jsonl, tmp_path):
    with pytest.raises(CorpusError, match=r"line|JSON"):
        indexer(settings).index(jsonl(["{broken"]))
    with pytest.raises(CorpusError, match="source is empty"):
        indexer(settings).index(iter([]))
    with pytest.raises(CorpusError, match="nowhere"):
        indexer(settings).index(tmp_path / "nowhere.jsonl")
    assert EdgeStore(settings.store).names() == []
    assert not (tmp_path / "store" / "c").exists()


# ---------------------------------------------------------------- again


def test_indexing_again_writes_nothing(settings):
    indexer(settings).index(FRUIT)
    root = EdgeStore(settings.store).folder / "c"
    generation = root / (root / "CURRENT").read_text().strip()
    before = snapshot(generation)
    report = indexer(settings).index(FRUIT)
    assert counts(report) == (0, 0, 3, 0, 0, 0)
    assert root / (root / "CURRENT").read_text().strip() == generation
    assert [path.name for path in root.glob("g*")] == [generation.name]
    assert snapshot(generation) == before


@pytest.mark.parametrize("change", [{"text": "Blue plums."}, {"title": "New"}, {"metadata": {"year": 2000}}])
def test_a_change_of_text_title_or_metadata_is_written(settings, change):
    indexer(settings).index(FRUIT)
    fields = {"title": "Apples", "metadata": {"year": 1999}, "text": FRUIT[0].text, **change}
    report = indexer(settings).index([Document("a", **fields), *FRUIT[1:]])
    assert counts(report) == (1, 1, 2, 0, 0, 0)
    payload = chunk_ids(settings)["a#0"]
    assert {name: payload[name] for name in change} == change


def test_where_a_document_was_read_does_not_make_it_another(settings):
    indexer(settings).index([Document("a", "same", origin="here:1")])
    assert indexer(settings).index([Document("a", "same", origin="there:9")]).unchanged == 1


@pytest.mark.parametrize(("before", "after"), [(120, 30), (30, 120), (900, 20), (20, 900), (900, 800)])
def test_a_changed_document_leaves_no_chunk_of_its_old_self(settings, before, after):
    other = Document("b", words(50, 5))
    indexer(settings, chunk_tokens=16).index([Document("a", words(before, 1)), other])
    first = chunk_ids(settings)
    changed = Document("a", words(after, 2))
    report = indexer(settings).index([changed, other])
    assert (report.documents, report.unchanged) == (1, 1)
    fresh = indexer(settings, "fresh", chunk_tokens=16)
    fresh.index([changed, other])
    expected = {key: payload["text"] for key, payload in chunk_ids(settings, "fresh").items()}
    assert {key: payload["text"] for key, payload in chunk_ids(settings).items()} == expected
    assert expected != {key: payload["text"] for key, payload in first.items()}


@pytest.mark.parametrize(("at", "then"), [(1, "old"), (1, "gone"), (3, "shorter"), (4, "old"), (4, "gone")])
def test_a_run_cut_short_leaves_nothing_that_the_next_run_does_not_mend(settings, at, then):
    """The document in work grows to several batches; at each step the run dies, and the source changes meanwhile."""
    old = {"a": words(60, 1), "b": words(40, 2), "c": words(700, 3)}
    indexer(settings, chunk_tokens=16).index([Document(*item) for item in old.items()])
    grown = {"a": words(2_000, 4), "b": old["b"], "d": words(800, 6), "c": words(90, 5)}
    with pytest.raises(KeyboardInterrupt):
        indexer(settings).index([Document(*item) for item in grown.items()], on_progress=stop_after(at))
    final = {"old": old, "shorter": {**grown, "a": words(20, 7), "d": words(20, 8)}, "gone": {"b": old["b"]}}[then]
    indexer(settings).index([Document(*item) for item in final.items()], prune=True)
    indexer(settings, "fresh", chunk_tokens=16).index([Document(*item) for item in final.items()])
    found, expected = chunk_ids(settings), chunk_ids(settings, "fresh")
    assert {key: (p["text"], p.get("chunks")) for key, p in found.items()} == {
        key: (p["text"], p.get("chunks")) for key, p in expected.items()
    }


def test_what_was_written_before_an_interruption_is_not_encoded_again(settings):
    documents = [Document(f"d{n}", words(5, n)) for n in range(4 * DOCUMENTS)]
    with pytest.raises(KeyboardInterrupt):
        indexer(settings).index(documents, on_progress=stop_after(4))
    assert EdgeStore(settings.store).names() == []
    report = indexer(settings).index(documents)
    assert report.unchanged >= DOCUMENTS
    assert report.documents + report.unchanged == len(documents)
    assert EdgeStore(settings.store).info("c").documents == len(documents)


def test_prune_removes_what_the_source_lost(settings):
    indexer(settings, chunk_tokens=16).index([*FRUIT, Document("e", words(80))])
    assert counts(indexer(settings).index(FRUIT[:2])) == (0, 0, 2, 0, 0, 0)
    assert EdgeStore(settings.store).info("c").documents == 4
    report = indexer(settings).index(FRUIT[:2], prune=True)
    assert counts(report) == (0, 0, 2, 0, 2, 0)
    assert set(chunk_ids(settings)) == {"a#0", "b#0"}


def test_prune_is_skipped_when_a_document_failed(settings):
    indexer(settings).index(FRUIT)
    report = indexer(settings).index([FRUIT[0], Document("b", " ")], prune=True)
    assert (report.removed, report.failed) == (0, 1)
    assert set(chunk_ids(settings)) == {"a#0", "b#0", "c#0"}


def test_replace_builds_beside_the_old_one_which_answers_until_the_end(settings):
    indexer(settings).index(FRUIT)
    found = []

    def search(progress):
        with Searcher.open("c", settings=settings) as searcher:
            found.append([hit.doc_id for hit in searcher.search("apples plums")])

    new = [Document("p", "Blue plums.")]
    with Searcher.open("c", settings=settings, refresh=False) as early:
        report = indexer(settings, replace=True, chunk_tokens=32).index(new, on_progress=search)
        assert counts(report) == (1, 1, 0, 0, 0, 0)
        assert [hit.doc_id for hit in early.search("apples plums")] == ["a"]
    assert found
    assert all(ids == ["a"] for ids in found)
    search(None)
    assert found[-1] == ["p"]
    assert EdgeStore(settings.store).info("c").manifest.chunk_tokens == 32


def test_a_replacement_cut_short_leaves_the_old_one_and_is_gone_on_with_by_the_same_call(settings):
    documents = [Document(f"d{n}", words(5, n)) for n in range(200)]
    indexer(settings).index(FRUIT)
    with pytest.raises(KeyboardInterrupt):
        indexer(settings, replace=True).index(documents, on_progress=stop_after(3))
    with Searcher.open("c", settings=settings) as searcher:
        assert [hit.doc_id for hit in searcher.search("apples")] == ["a"]
    assert indexer(settings).index(FRUIT).unchanged == 3  # the old one goes on as ever

    report = indexer(settings, replace=True).index(documents[1:])
    assert report.unchanged > 0
    assert report.documents + report.unchanged == 199
    assert report.removed == 1  # what it holds is what a replacement in one go would hold
    assert {payload["doc_id"] for payload in chunk_ids(settings).values()} == {f"d{n}" for n in range(1, 200)}

    again = indexer(settings, replace=True).index(documents)
    assert (again.documents, again.unchanged) == (200, 0)


def test_a_document_too_long_for_a_batch_is_gone_on_with_in_its_middle(settings, monkeypatch):
    document = [Document("long", words(3_000, 1))]
    encoded = []

    def counting(batch, *rest):
        encoded.extend(part.chunk.number for part in batch.parts)
        return encode_batch(batch, *rest)

    encode_batch = pipeline.encode_batch
    monkeypatch.setattr(pipeline, "encode_batch", counting)
    with pytest.raises(KeyboardInterrupt):
        indexer(settings, chunk_tokens=16).index(document, on_progress=stop_after(6))
    store = EdgeStore(settings.store)
    with closing(store.writer("c", store.manifest("c"))) as writer:
        written, first = len(list(writer.iter_payloads())), len(encoded)
    assert written >= 20
    encoded.clear()
    report = indexer(settings).index(document)
    chunks = len(chunk_ids(settings))
    assert (report.documents, report.chunks) == (1, chunks + 1 - written)
    # The head is encoded at the beginning and at the end; of the others those that were not written.
    assert len(encoded) == chunks + 2 - written
    assert first + len(encoded) <= chunks + 3 + (first - written)
    indexer(settings, "fresh", chunk_tokens=16).index(document)
    assert chunk_ids(settings) == chunk_ids(settings, "fresh")


def test_what_is_saved_is_told(settings, monkeypatch):
    monkeypatch.setattr("hybrid_search.indexer.SAVE_EVERY_S", 0.0)
    told = []
    indexer(settings).index([Document(f"d{n}", words(5, n)) for n in range(150)], on_progress=told.append)
    assert told[-1].saved >= 64


# ---------------------------------------------------------------- what is told


def test_a_dry_run_counts_and_writes_nothing(settings, tmp_path):
    told = []
    documents = [*FRUIT, Document("e", words(80)), Document("f", "")]
    report = indexer(settings, chunk_tokens=16).index(documents, dry_run=True, on_progress=told.append)
    assert report.dry_run
    assert (report.documents, report.failed) == (4, 1)
    assert report.chunks > 4
    assert not (tmp_path / "store").exists()
    assert report.chunks == indexer(settings, chunk_tokens=16).index(documents).chunks
    assert [progress.documents for progress in told] == [0, 1, 2, 3, 4]


def test_progress_is_told_with_true_counts(settings):
    told = []
    documents = [Document(f"d{n}", words(5, n)) for n in range(150)]
    indexer(settings).index(documents[:50])
    report = indexer(settings).index([*documents, Document("bad", "")], on_progress=told.append)
    assert all(isinstance(progress, Progress) and progress.total == 151 for progress in told)
    last = told[-1]
    assert (last.documents, last.chunks, last.unchanged, last.failed, last.done) == (100, 100, 50, 1, 151)
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    assert len(told) >= 3
    assert (report.documents, report.unchanged) == (100, 50)


def test_a_generator_has_no_total(settings):
    told = []
    indexer(settings).index((document for document in FRUIT), on_progress=told.append)
    assert {progress.total for progress in told} == {None}


# ---------------------------------------------------------------- chunks


@pytest.mark.parametrize("markup", ["plain", "markdown"])
def test_chunks_are_spans_of_the_text(settings, bundled, markup):
    text = "\n\n".join(f"# Part {n}\n\n{words(60, n)}. {words(30, n + 50)} – ünïcode 漢字." for n in range(8))
    document = Document("a", text, title="A title", markup=markup)
    report = indexer(settings, sparse="none", dense="bundled/minilm-splade", chunk_tokens=64, overlap_tokens=8).index(
        [document]
    )
    payloads = sorted(chunk_ids(settings).values(), key=lambda payload: payload["number"])
    assert len(payloads) == report.chunks > 10
    covered = np.zeros(len(text), bool)
    for payload in payloads:
        assert text[payload["start"] : payload["end"]] == payload["text"]
        covered[payload["start"] : payload["end"]] = True
    assert not "".join(char for char, there in zip(text, covered, strict=True) if not there).strip()
    assert report.truncated == {}


def test_one_chunk_a_document_counts_what_the_model_does_not_read(settings, bundled):
    dense = "bundled/minilm-splade"
    documents = [
        Document("a", "short"),
        Document("b", words(400)),
        Document("c", words(300, 1)),
        Document("d", words(9)),
    ]
    report = indexer(settings, dense=dense, chunk_tokens=0).index(documents)
    assert report.chunks == 4
    assert report.truncated == {"dense": 2}
    assert indexer(settings, "cut", dense=dense).index(documents).truncated == {}


@pytest.mark.parametrize("size", [-1, 1, 15, 257])
def test_a_chunk_size_that_the_models_cannot_read_is_refused(settings, bundled, size):
    with pytest.raises(InvalidArgument, match=rf"chunk_tokens is {size}.*16\.\.256"):
        indexer(settings, dense="bundled/minilm-splade", chunk_tokens=size).index(FRUIT)
    assert EdgeStore(settings.store).names() == []


def test_bm25_alone_has_no_upper_limit_for_a_chunk(settings):
    report = indexer(settings, chunk_tokens=2_000).index([Document("a", words(1_500))])
    assert report.chunks == 1
    assert indexer(settings, "usual").index([Document("a", words(1_500))]).chunks > 5


def test_an_overlap_that_does_not_fit_is_refused_before_anything_is_written(settings, tmp_path):
    with pytest.raises(InvalidArgument, match="overlap"):
        indexer(settings, chunk_tokens=32, overlap_tokens=40).index([Document("a", words(100))])
    assert not (tmp_path / "store").exists()


# ---------------------------------------------------------------- models


def test_bm25_measures_the_mean_length_once_and_goes_on_with_it(settings):
    indexer(settings).index([Document("a", "red apples trees"), Document("b", "green pears autumn ship bananas")])
    spec = EdgeStore(settings.store).info("c").manifest.legs["sparse"]
    assert spec.average_tokens == 4.0
    indexer(settings).index([Document("c", words(100))])
    assert EdgeStore(settings.store).info("c").manifest.legs["sparse"] == spec


@pytest.mark.parametrize(
    ("legs", "expected"),
    [
        ({"sparse": "qdrant/bm25-engine", "dense": "none"}, ("custom", ["sparse"])),
        ({"sparse": "none", "dense": "bundled/minilm-splade"}, ("custom", ["dense"])),
        ({"sparse": "qdrant/bm25-engine", "dense": "bundled/minilm-splade"}, ("custom", ["dense", "sparse"])),
        ({"sparse": "bundled/minilm-splade", "dense": "bundled/minilm-splade"}, ("bundled", ["dense", "sparse"])),
        ({"sparse": None, "dense": None, "profile": "bundled"}, ("bundled", ["dense", "sparse"])),
    ],
)
def test_a_collection_has_the_legs_asked_for(settings, bundled, legs, expected):
    report = indexer(settings, **legs).index(FRUIT)
    manifest = EdgeStore(settings.store).info("c").manifest
    assert (report.profile, manifest.profile, sorted(manifest.legs)) == (expected[0], *expected)
    with Searcher.open("c", settings=settings) as searcher:
        assert searcher.search("red apples").hits[0].doc_id == "a"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"dense": "bundled/minilm-splade"}, ["dense", "'none'", "'bundled/minilm-splade'"]),
        ({"sparse": "Qdrant/bm25"}, ["sparse", "'qdrant/bm25-engine'", "'Qdrant/bm25'"]),
        ({"sparse": None, "dense": None, "profile": "splade"}, ["sparse", "Splade_PP_en_v1"]),
        ({"chunk_tokens": 64}, ["--chunk-tokens", "32", "64"]),
        ({"overlap_tokens": 4}, ["--overlap-tokens", "2", "4"]),
    ],
)
def test_other_models_or_chunking_than_the_manifest_has_are_refused_by_name(settings, options, named):
    indexer(settings, chunk_tokens=32, overlap_tokens=2).index(FRUIT)
    with pytest.raises(ManifestMismatch) as caught:
        indexer(settings, **options).index(FRUIT)
    message = str(caught.value)
    for word in [*named, "'c'", "--replace"]:
        assert word in message
    assert counts(indexer(settings).index(FRUIT)) == (0, 0, 3, 0, 0, 0)


def test_unknown_models_and_profiles_are_refused_before_anything_is_read(settings):
    with pytest.raises(UnknownModel, match="bm25-engine"):
        indexer(settings, sparse="qdrant/bm25-engin").index(FRUIT)
    for legs in ({"sparse": None}, {}):
        with pytest.raises(InvalidArgument, match="Unknown profile 'bundeld'"):
            indexer(settings, profile="bundeld", **legs).index(FRUIT)
    with pytest.raises(InvalidArgument, match="keep at least one"):
        indexer(settings, sparse="none").index(FRUIT)
    with pytest.raises(InvalidArgument, match="Collection name"):
        indexer(settings, "no spaces please")


def with_unknown_model(data):
    data["manifest"]["legs"]["sparse"]["model"] = "acme/model-9"


def test_a_manifest_with_a_model_that_nobody_knows(settings):
    indexer(settings).index(FRUIT)
    edit_manifests(EdgeStore(settings.store).folder, with_unknown_model)
    for attempt in (
        lambda: Searcher.open("c", settings=settings),
        lambda: Indexer.open("c", settings=settings).index(FRUIT),
    ):
        with pytest.raises(ModelError, match=r"'c' was built with the sparse model 'acme/model-9'.*--replace"):
            attempt()


def test_a_manifest_whose_model_has_changed_since(settings):
    indexer(settings).index(FRUIT)
    edit_manifests(
        EdgeStore(settings.store).folder,
        lambda data: data["manifest"]["legs"]["sparse"].update(fingerprint="0" * 32),
    )
    with pytest.raises(ManifestMismatch, match="bm25-engine"):
        Searcher.open("c", settings=settings)


# ---------------------------------------------------------------- the store says no


def test_a_full_disk_loses_nothing_and_the_next_run_finishes(settings, monkeypatch):
    documents = [Document(f"d{n}", words(5, n)) for n in range(300)]
    usage = namedtuple("usage", "total used free")
    calls = []

    def filling(path):
        calls.append(path)
        return usage(10**12, 0, 10**11 if len(calls) < 4 else 10**6)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", filling)
        with pytest.raises(StoreFull, match="Free some space"):
            indexer(settings).index(documents)
    report = indexer(settings).index(documents)
    assert report.unchanged >= DOCUMENTS
    assert EdgeStore(settings.store).info("c").documents == 300


def test_a_second_writer_is_refused_with_the_first_ones_name(settings):
    def second(progress):
        if progress.documents:
            with pytest.raises(StoreBusy, match=rf"process {os.getpid()} .*--wait"):
                indexer(settings).index(FRUIT)

    assert indexer(settings).index(FRUIT, on_progress=second).documents == 3


# ---------------------------------------------------------------- two stores, one result


def top_ten(store, settings, queries):
    with Searcher.open("c", store=store, settings=settings) as searcher:
        return [
            [(hit.doc_id, {leg: found and found.rank for leg, found in hit.legs.items()}) for hit in results]
            for mode in ("hybrid", "sparse", "dense")
            for results in searcher.search_many(queries, mode=mode)
        ]


def same_on_both_stores(settings, documents, queries):
    from qdrant_client import QdrantClient

    from hybrid_search.store.server.store import ServerStore

    server = ServerStore(QdrantClient(":memory:"))
    try:
        for store in (None, server):
            report = Indexer.open("c", store=store, settings=settings, profile="bundled").index(documents)
            assert report.documents == len(documents)
            again = Indexer.open("c", store=store, settings=settings).index(documents)
            assert counts(again) == (0, 0, len(documents), 0, 0, 0)
        embedded, served = top_ten(None, settings, queries), top_ten(server, settings, queries)
        assert len(embedded) == 3 * len(queries)
        assert embedded == served
    finally:
        server.close()


def cranfield(folder):
    def rows(name):
        return [json.loads(line) for line in (folder / "cranfield" / name).read_text(encoding="utf-8").splitlines()]

    documents = [Document(row["_id"], row["text"], title=row["title"]) for row in rows("corpus.jsonl")]
    return [document for document in documents if document.text.strip()], [row["text"] for row in rows("queries.jsonl")]


def test_a_server_gives_the_same_top_ten_as_a_folder(settings, bundled):
    documents = [Document(f"d{n}", words(3 + n % 9, n), title=words(1, n + 500)) for n in range(40)]
    same_on_both_stores(settings, documents, [words(1 + n % 4, 900 + n) for n in range(20)])


@pytest.mark.shared
@pytest.mark.slow
def test_a_server_gives_the_same_top_ten_as_a_folder_on_cranfield(settings, bundled, shared_collections):
    """All 1,400 documents and 225 queries, with the bundled model; a minute or two."""
    documents, queries = cranfield(shared_collections)
    same_on_both_stores(settings, documents, queries)


@pytest.mark.shared
def test_a_server_gives_the_same_top_ten_as_a_folder_on_a_part_of_cranfield(settings, bundled, shared_collections):
    documents, queries = cranfield(shared_collections)
    short = sorted(documents, key=lambda document: len(document.text))[:60]
    same_on_both_stores(settings, short, queries[:60])
