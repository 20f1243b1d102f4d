"""Anserini's JSON vectors fill a collection: any vocabulary or a model's, all of it or nothing, on both stores."""

import gzip
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from hybrid_search import load_encodings, save_encodings
from hybrid_search.collection.legs import promote_leg, swap_legs
from hybrid_search.collection.models import encoder_of
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.hashing import dimension_of
from hybrid_search.encoders.term_cards import WORDPIECES, WORDS
from hybrid_search.errors import (
    CorpusError,
    InvalidArgument,
    ManifestMismatch,
    ModelError,
    StoreBusy,
    StoreError,
    UnknownModel,
)
from hybrid_search.indexer import Indexer
from hybrid_search.indexing.add_leg import add_leg
from hybrid_search.indexing.deletion import delete_documents
from hybrid_search.interop import filling, term_legs
from hybrid_search.interop.import_anserini import find_files, find_report, import_anserini
from hybrid_search.interop.term_vectors import TermLeg, TermVectors, fill_collection
from hybrid_search.searcher import Searcher
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import SparseVector
from tests.store.conftest import in_memory

TEXTS = {
    "d1": "A boxer rises against the odds.",
    "d2": "The prizefighter of Rome falls.",
    "d3": "A quiet garden in winter.",
}
DEEP_IMPACT = [  # words, whole numbers, with words of an expansion
    {"id": "d1", "contents": TEXTS["d1"], "vector": {"boxer": 31, "rises": 7, "odds": 12, "champion": 9}},
    {"id": "d2", "contents": TEXTS["d2"], "vector": {"prizefighter": 40, "rome": 22, "falls": 5, "boxer": 11}},
    {"id": "d3", "contents": TEXTS["d3"], "vector": {"quiet": 8, "garden": 30, "winter": 25}},
]
UNICOIL = [  # wordpieces
    {"id": "d1", "contents": TEXTS["d1"], "vector": {"boxer": 110, "rises": 40, "##s": 3}},
    {"id": "d2", "contents": TEXTS["d2"], "vector": {"prize": 90, "##fighter": 120, "rome": 77}},
    {"id": "d3", "contents": TEXTS["d3"], "vector": {"garden": 101, "winter": 99}},
]
COLLIDING = ("word50106", "word88338")
"""Two words with one dimension."""

LINE = {"id": "x", "contents": "text", "vector": {"a": 1}}


@pytest.fixture(params=["edge", "local"])
def store(request, tmp_path):
    store = EdgeStore(tmp_path / "store") if request.param == "edge" else in_memory()
    yield store
    store.close()


def counts(report):
    return (report.documents, report.unchanged, report.removed, report.failed)


def found(settings, query, store=None, name="c", **options):
    """What a search finds: ids with their scores."""
    with Searcher.open(name, store=store, settings=settings) as searcher:
        return [(hit.doc_id, round(hit.score, 4)) for hit in searcher.search(query, **options)]


def manifest_of(settings, name="c"):
    return EdgeStore(settings.store).info(name).manifest


def payload_of(settings, chunk_id, name="c", store=None):
    reader = (store or EdgeStore(settings.store)).reader(name)
    try:
        return reader.payloads([chunk_id])[chunk_id]
    finally:
        reader.close()


def vector_of(settings, chunk_id, leg="sparse", name="c"):
    reader = EdgeStore(settings.store).reader(name)
    try:
        return reader.vectors(leg, [chunk_id]).get(chunk_id)
    finally:
        reader.close()


# ---------------------------------------------------------------- any vocabulary


def test_the_dimension_of_a_term_is_what_it_always_was():
    """Collections on disk have it."""
    terms = ["film", "##s", "", "Film", "漢字", "caf\u00e9", "cafe\u0301"]
    dimensions = [dimension_of(term) for term in terms]
    assert dimensions == [1386861738, 1600763769, *dimensions[2:]]
    assert len(set(dimensions)) == 6
    assert dimensions[5] == dimensions[6]  # one word, however its letters are composed
    assert all(0 <= dimension < 2**31 for dimension in dimensions)


def test_weights_of_words_are_searched_and_explained(store, settings, jsonl):
    report = import_anserini("c", [jsonl(DEEP_IMPACT)], store=store, settings=settings)
    assert counts(report) == (3, 0, 0, 0)
    assert (report.chunks, report.passed_over, report.profile) == (3, {}, "custom")
    assert found(settings, "The boxer's odds", store) == [("d1", 43), ("d2", 11)]
    assert found(settings, "Boxer, boxer!", store) == [("d1", 62), ("d2", 22)]
    assert found(settings, "nothing of that", store) == []
    with Searcher.open("c", store=store, settings=settings) as searcher:
        spec = searcher.manifest.legs["sparse"]
        [first, _] = searcher.search("champion boxer", explain=True)
        assert searcher.explain("boxer", "d2").rank == 2
    assert (spec.model, spec.needs_idf, spec.dim) == (WORDS, False, 0)
    terms = {t.term: (t.query_weight, t.document_weight, t.contribution) for t in first.matched_terms}
    assert terms == {"boxer": (1.0, 31.0, 31.0), "champion": (1.0, 9.0, 9.0)}
    assert first.passages[0].text == TEXTS["d1"]


def test_wordpieces_are_found_by_the_pieces_of_a_query(store, settings, jsonl):
    import_anserini("c", [jsonl(UNICOIL)], store=store, settings=settings)
    with Searcher.open("c", store=store, settings=settings) as searcher:
        assert searcher.manifest.legs["sparse"].model == WORDPIECES
        [hit] = searcher.search("Prizefighter", explain=True)
    assert (hit.doc_id, hit.score) == ("d2", 210.0)
    assert {(t.term, t.document_weight) for t in hit.matched_terms} == {("prize", 90.0), ("##fighter", 120.0)}


def test_a_folder_of_plain_and_packed_files_is_read_whatever_they_are_called(settings, tmp_path, jsonl):
    """As TILDEv2's come: many files, floats, no text."""
    folder = tmp_path / "tilde"
    jsonl([{"id": "t1", "vector": {"boxer": 2.5, "ring": 0.5}}], "tilde/docs00.json")
    (folder / "docs01.jsonl.gz").write_bytes(gzip.compress(b'{"id": "t2", "contents": null, "vector": {"boxer": 1}}'))
    (folder / "docs02.jsonl").write_bytes(gzip.compress(b'\n{"id": "t3", "contents": " ", "vector": {}}\r\n\n'))
    for name in ("README.md", ".hidden", "notes.txt"):
        (folder / name).write_text("no documents")
    assert [path.name for path in find_files([folder])] == ["docs00.json", "docs01.jsonl.gz", "docs02.jsonl"]
    report = import_anserini("c", folder, settings=settings)
    assert counts(report) == (3, 0, 0, 0)
    assert report.passed_over == {"empty vectors, which no sparse query finds": 1}
    assert found(settings, "boxer") == [("t1", 2.5), ("t2", 1.0)]
    assert payload_of(settings, "t2#0")["origin"] == f"{folder / 'docs01.jsonl.gz'}:1"
    assert (payload_of(settings, "t3#0")["text"], vector_of(settings, "t3#0")) == ("", None)


def test_the_names_of_terms_are_kept_in_the_order_of_their_dimensions(store, settings, jsonl):
    import_anserini("c", [jsonl(DEEP_IMPACT)], store=store, settings=settings)
    payload = payload_of(settings, "d1#0", store=store)
    names = payload["terms"]["sparse"]
    assert sorted(names) == sorted(DEEP_IMPACT[0]["vector"])
    assert [dimension_of(name) for name in names] == sorted(map(dimension_of, names))
    assert payload["metadata"] == {}
    with Searcher.open("c", store=store, settings=settings) as searcher:
        assert searcher.search("boxer")[0].metadata == {}


def test_other_fields_are_metadata_and_the_title_is_the_title(settings, jsonl):
    rows = [
        {"id": "a", "contents": "one", "title": "First", "year": 1984, "of": {"deep": [1]}, "vector": {"one": 1}},
        {"id": "b", "contents": "two", "year": 1999, "vector": {"one": 2}},
    ]
    import_anserini("c", [jsonl(rows)], settings=settings)
    with Searcher.open("c", settings=settings) as searcher:
        [hit] = searcher.search("one", where="year < 1990")
    assert (hit.doc_id, hit.title, hit.metadata) == ("a", "First", {"year": 1984, "of": {"deep": [1]}})


def test_terms_with_one_dimension_add_up_and_are_named(settings, jsonl):
    rows = [{"id": "a", "vector": {COLLIDING[0]: 2, "z": 1, COLLIDING[1]: 5}}, {"id": "b", "vector": {COLLIDING[1]: 1}}]
    report = import_anserini("c", [jsonl(rows)], settings=settings)
    assert report.passed_over == {f"tokens that share a dimension ({COLLIDING[1]!r} with {COLLIDING[0]!r})": 1}
    assert dimension_of(COLLIDING[0]) == dimension_of(COLLIDING[1])
    vector, names = vector_of(settings, "a#0"), payload_of(settings, "a#0")["terms"]["sparse"]
    assert dict(zip(names, vector.values.tolist(), strict=True)) == {COLLIDING[1]: 7.0, "z": 1.0}
    assert found(settings, COLLIDING[0]) == [("a", 7.0), ("b", 1.0)]


def test_shared_dimensions_are_found_when_few_terms_are_held_in_memory(settings, jsonl, monkeypatch):
    monkeypatch.setattr(term_legs, "KEPT_TOKENS", 1)
    rows = [{"id": str(n), "vector": {word: 1, f"w{n}": 1}} for n, word in enumerate([*COLLIDING, *COLLIDING])]
    report = import_anserini("c", [jsonl(rows)], settings=settings)
    assert list(report.passed_over.values()) == [1]


def test_weights_of_0_are_dropped_and_counted(settings, jsonl):
    rows = [{"id": "a", "vector": {"x": 0, "y": 0.0, "z": 1, "tiny": 1e-60}}, {"id": "b", "vector": {"x": 0}}]
    report = import_anserini("c", [jsonl(rows)], settings=settings)
    assert report.passed_over == {"weights of 0": 4, "empty vectors, which no sparse query finds": 1}
    assert found(settings, "x y z") == [("a", 1.0)]


@pytest.mark.parametrize(
    ("model", "query", "hits"),
    [
        ("auto", "prizefighter", [("d2", 210)]),
        (WORDS, "prizefighter", []),
        (WORDS, "prize", [("d2", 90)]),
        (WORDPIECES, "gardens", []),
    ],
)
def test_what_queries_are_cut_into_can_be_said(settings, jsonl, model, query, hits):
    import_anserini("c", [jsonl(UNICOIL)], model=model, settings=settings)
    assert found(settings, query) == hits


def test_a_scale_divides_the_weights(settings, jsonl):
    import_anserini("c", [jsonl(DEEP_IMPACT)], scale=10, settings=settings)
    assert found(settings, "boxer") == [("d1", 3.1), ("d2", 1.1)]


def test_the_store_multiplies_the_inverse_document_frequency_in_where_queries_have_it(settings, jsonl):
    import_anserini("c", [jsonl(DEEP_IMPACT)], idf="queries", settings=settings)
    assert manifest_of(settings).legs["sparse"].needs_idf
    common, rare = np.log(1 + (3 - 2 + 0.5) / 2.5), np.log(1 + (3 - 1 + 0.5) / 1.5)
    assert dict(found(settings, "boxer")) == pytest.approx({"d1": 31 * common, "d2": 11 * common}, rel=1e-5)
    assert dict(found(settings, "rome")) == pytest.approx({"d2": 22 * rare}, rel=1e-5)
    assert counts(import_anserini("c", [jsonl(DEEP_IMPACT)], settings=settings)) == (0, 3, 0, 0)
    with pytest.raises(ManifestMismatch, match="inverse document frequency in queries, not with documents"):
        import_anserini("c", [jsonl(DEEP_IMPACT)], idf="documents", settings=settings)


# ---------------------------------------------------------------- again, other models, other legs


def test_only_what_has_changed_is_written(store, settings, jsonl):
    import_anserini("c", [jsonl(DEEP_IMPACT)], store=store, settings=settings)
    assert counts(import_anserini("c", [jsonl(DEEP_IMPACT)], store=store, settings=settings)) == (0, 3, 0, 0)
    changed = [
        {**DEEP_IMPACT[0], "vector": {"boxer": 1}},
        {**DEEP_IMPACT[1], "contents": "other"},
        {"id": "d4", "vector": {"boxer": 99}},
    ]
    report = import_anserini("c", [jsonl(changed)], store=store, settings=settings)
    assert counts(report) == (3, 0, 0, 0)
    assert found(settings, "boxer garden", store) == [("d4", 99), ("d3", 30), ("d2", 11), ("d1", 1)]
    report = import_anserini("c", [jsonl(changed)], prune=True, store=store, settings=settings)
    assert counts(report) == (0, 3, 1, 0)
    report = import_anserini("c", [jsonl(DEEP_IMPACT[:1])], replace=True, store=store, settings=settings)
    assert counts(report) == (1, 0, 0, 0)
    assert found(settings, "boxer garden", store) == [("d1", 31)]
    delete_documents("c", ["d1"], store=store, settings=settings)
    assert found(settings, "boxer", store) == []


def test_a_dense_leg_is_added_and_fused(store, settings, fakes, jsonl):
    file = jsonl(DEEP_IMPACT)
    import_anserini("c", [file], store=store, settings=settings)
    add_leg("c", "dense", "fake/dense", store=store, settings=settings)
    promote_leg("c", "dense", store=store, settings=settings)
    with Searcher.open("c", store=store, settings=settings) as searcher:
        hits = searcher.search("a quiet garden in winter. boxer", mode="hybrid")
    assert {hit.doc_id for hit in hits} == {"d1", "d2", "d3"}
    assert all(hit.legs["dense"] for hit in hits)
    assert [hit.legs["sparse"].score for hit in hits if hit.doc_id == "d3"] == [63.0]
    assert counts(import_anserini("c", [file], store=store, settings=settings)) == (0, 3, 0, 0)
    # What comes later is encoded for the leg that was added.
    more = jsonl([*DEEP_IMPACT, {"id": "d4", "contents": "A boat.", "vector": {"boat": 5}}])
    assert counts(import_anserini("c", [more], store=store, settings=settings)) == (1, 3, 0, 0)
    with Searcher.open("c", store=store, settings=settings) as searcher:
        assert searcher.search("A boat.", mode="dense")[0].doc_id == "d4"
        assert searcher.search("A boat.", mode="sparse")[0].score == 5


def test_the_bundled_dense_model_works_on_imported_texts(settings, bundled, jsonl):
    import_anserini("c", [jsonl([*DEEP_IMPACT, {"id": "no-text", "vector": {"boxer": 1}}])], settings=settings)
    report = add_leg("c", "dense", bundled, kind="dense", settings=settings)
    assert (report.documents, report.failed) == (4, 0)
    promote_leg("c", "dense", settings=settings)
    with Searcher.open("c", settings=settings) as searcher:
        hits = searcher.search("boxer", mode="hybrid", k=4)
        assert searcher.search("a garden in the cold season", mode="dense")[0].doc_id == "d3"
    legs = {hit.doc_id: {leg for leg, rank in hit.legs.items() if rank} for hit in hits}
    assert legs["d1"] == legs["d2"] == legs["no-text"] == {"sparse", "dense"}
    assert legs["d3"] == {"dense"}


def test_no_document_is_encoded_into_imported_weights(settings, fakes, jsonl):
    import_anserini("c", [jsonl(DEEP_IMPACT)], settings=settings)
    reason = (
        r"collection 'c' were imported with their weights.*'sparse' \(terms/words\) are of no model.*import anserini"
    )
    for indexer in (
        Indexer.open("c", settings=settings),
        Indexer.open("c", settings=settings, legs=["sparse"]),
    ):
        with pytest.raises(StoreError, match=reason):
            indexer.index([{"_id": "n", "text": "a new text"}])
    with pytest.raises(InvalidArgument, match=r"'terms/words' encodes no documents.*`import`"):
        Indexer.open("new", settings=settings, sparse=WORDS, dense="none").index([{"_id": "n", "text": "a text"}])
    Indexer.open("f", settings=settings, sparse="fake/sparse", dense="none").index([{"_id": "n", "text": "a text"}])
    with pytest.raises(InvalidArgument, match="'terms/wordpieces' encodes no documents"):
        add_leg("f", "words", WORDPIECES, settings=settings)
    assert EdgeStore(settings.store).names() == ["c", "f"]
    assert counts(import_anserini("c", [jsonl(DEEP_IMPACT)], settings=settings)) == (0, 3, 0, 0)


def test_other_models_than_the_collections_are_refused(settings, fakes, jsonl):
    words, pieces = jsonl(DEEP_IMPACT, "words.jsonl"), jsonl(UNICOIL, "pieces.jsonl")
    import_anserini("c", [words], settings=settings)
    with pytest.raises(ManifestMismatch, match="built with the sparse model 'terms/words', not with 'terms/wordp"):
        import_anserini("c", [pieces], model=WORDPIECES, settings=settings)
    Indexer.open("f", settings=settings, sparse="fake/sparse", dense="none").index([{"_id": "n", "text": "a text"}])
    with pytest.raises(ManifestMismatch, match=r"'fake/sparse', not with terms of any vocabulary.*--model fake/sparse"):
        import_anserini("f", [pieces], settings=settings)
    Indexer.open("g", settings=settings, sparse="none", dense="fake/dense").index([{"_id": "n", "text": "a text"}])
    with pytest.raises(ManifestMismatch, match="built with the legs dense, not with sparse"):
        import_anserini("g", [pieces], settings=settings)
    assert counts(import_anserini("c", [pieces], replace=True, settings=settings)) == (3, 0, 0, 0)
    assert manifest_of(settings).legs["sparse"].model == WORDPIECES


def test_names_of_terms_go_through_a_file_of_encodings(store, settings, jsonl, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    rows = [*DEEP_IMPACT, {"id": "empty", "vector": {}}]
    import_anserini("c", [jsonl(rows)], store=store, settings=settings)
    file = tmp_path / "c.parquet"
    save_encodings("c", file, store=store, settings=settings)
    columns = pq.read_table(file, columns=["doc_id", "terms_sparse"]).to_pydict()
    names = dict(zip(columns["doc_id"], columns["terms_sparse"], strict=True))
    assert (sorted(names["d1"]), names["empty"]) == (sorted(DEEP_IMPACT[0]["vector"]), None)
    assert counts(load_encodings("copy", file, store=store, settings=settings)) == (4, 0, 0, 0)
    for chunk_id in ("d1#0", "empty#0"):
        copied = payload_of(settings, chunk_id, "copy", store)
        assert copied == payload_of(settings, chunk_id, "c", store)
    assert found(settings, "boxer", store, "copy") == found(settings, "boxer", store)
    assert counts(import_anserini("copy", [jsonl(rows)], store=store, settings=settings)) == (0, 4, 0, 0)

    table = pq.read_table(file)  # an older reader's file, which has no such column
    pq.write_table(table.drop_columns(["terms_sparse"]), file)
    assert counts(load_encodings("old", file, store=store, settings=settings)) == (4, 0, 0, 0)
    assert "terms" not in payload_of(settings, "d1#0", "old", store)
    names = [each[:-1] if each else each for each in table["terms_sparse"].to_pylist()]
    place = table.schema.get_field_index("terms_sparse")
    pq.write_table(table.set_column(place, table.schema.field(place), [names]), file)
    report = load_encodings("bad", file, store=store, settings=settings)
    assert report.failed == 3
    assert "terms_sparse of chunk 0 must have a text for each of its weights" in report.failures[0].reason


def test_names_of_terms_stay_with_a_leg_that_is_renamed(settings, fakes, jsonl, tmp_path):
    pytest.importorskip("pyarrow")
    import_anserini("c", [jsonl(DEEP_IMPACT)], settings=settings)
    before = payload_of(settings, "d1#0")
    add_leg("c", "other", "fake/sparse", settings=settings)
    swap_legs("c", "sparse", "other", settings=settings)
    assert manifest_of(settings).legs["other"].model == WORDS
    assert payload_of(settings, "d1#0") == before
    save_encodings("c", tmp_path / "c.parquet", settings=settings)
    load_encodings("copy", tmp_path / "c.parquet", settings=settings)
    assert payload_of(settings, "d1#0", "copy") == before
    assert found(settings, "boxer", name="copy", mode="other") == [("d1", 31), ("d2", 11)]
    with pytest.raises(ManifestMismatch, match="built with the sparse model 'fake/sparse'"):
        import_anserini("c", [jsonl(DEEP_IMPACT)], settings=settings)


# ---------------------------------------------------------------- the vocabulary of a model


def exported(settings, bundled, texts, factor, name="one"):
    """The lines of texts that the bundled model encoded, as whole numbers."""
    items = [{"_id": doc_id, "text": text} for doc_id, text in texts.items()]
    Indexer.open(name, settings=settings, profile="bundled").index(items)
    reader = EdgeStore(settings.store).reader(name)
    encoder = encoder_of(card(bundled, "sparse"), "sparse", settings, {})
    vectors = reader.vectors("sparse", [f"{doc_id}#0" for doc_id in texts])
    reader.close()
    rows = []
    for doc_id, text in texts.items():
        vector = vectors[f"{doc_id}#0"]
        weights = np.rint(vector.values.astype(float) * factor).astype(int).tolist()
        rows.append(
            {"id": doc_id, "contents": text, "vector": dict(zip(encoder.terms(vector.indices), weights, strict=True))}
        )
    return rows


def test_tokens_of_a_model_are_found_by_its_queries(settings, bundled, jsonl):
    file = jsonl(exported(settings, bundled, TEXTS, 1000))
    report = import_anserini("c", [file], model=bundled.upper(), scale=1000, settings=settings)
    assert counts(report) == (3, 0, 0, 0)
    for query in ("boxer", "a winter's tale", "who fights for a prize in rome"):
        with Searcher.open("one", settings=settings) as searcher:
            own = {hit.doc_id: hit.score for hit in searcher.search(query, mode="sparse")}
        mine = dict(found(settings, query))
        assert mine.keys() == own.keys() != set()
        assert all(value == pytest.approx(own[doc_id], rel=5e-3) for doc_id, value in mine.items())
    spec = manifest_of(settings).legs["sparse"]
    assert spec == manifest_of(settings, "one").legs["sparse"]
    assert "terms" not in payload_of(settings, "d1#0")
    assert counts(import_anserini("c", [file], model=bundled, scale=1000, settings=settings)) == (0, 3, 0, 0)
    # The model encodes documents as these were, so others may be indexed beside them.
    report = Indexer.open("c", settings=settings).index([{"_id": "new", "text": "A knight rides."}])
    assert (report.documents, report.failed) == (1, 0)
    assert found(settings, "knight")[0][0] == "new"


def test_an_inverse_document_frequency_in_the_documents_is_not_multiplied_in_again(settings, bundled, jsonl):
    rows = exported(settings, bundled, TEXTS, 100)
    import_anserini("c", [jsonl(rows)], model=bundled, scale=100, idf="documents", settings=settings)
    spec, own = manifest_of(settings).legs["sparse"], manifest_of(settings, "one").legs["sparse"]
    assert (spec.needs_idf, own.needs_idf, spec.fingerprint) == (False, True, own.fingerprint)
    query = encoder_of(card(bundled, "sparse"), "sparse", settings, {}).encode_queries(["boxer"])[0]
    with Searcher.open("c", settings=settings) as searcher:
        hit = searcher.search("boxer", explain=True)[0]
    assert hit.score == pytest.approx(query.dot(vector_of(settings, f"{hit.doc_id}#0")), rel=1e-5)
    assert sum(term.contribution for term in hit.matched_terms) == pytest.approx(hit.score, rel=1e-5)
    with pytest.raises(StoreError, match=r"\(bundled/minilm-splade\) have the inverse document frequency in them"):
        Indexer.open("c", settings=settings).index([{"_id": "new", "text": "A knight rides."}])
    with pytest.raises(ManifestMismatch, match="frequency in documents, or in neither, not with queries"):
        import_anserini("c", [jsonl(rows)], model=bundled, scale=100, settings=settings)
    again = import_anserini("c", [jsonl(rows)], model=bundled, scale=100, idf="documents", settings=settings)
    assert counts(again) == (0, 3, 0, 0)


def test_a_token_that_the_model_lacks_is_refused_by_name(settings, bundled, jsonl):
    file = jsonl(
        [{"id": "a", "vector": {"boxer": 1, "##s": 1}}, {"id": "b", "vector": {"boxer": 1, "prizefighters": 2}}]
    )
    with pytest.raises(
        CorpusError, match=rf"{file}:2: the token 'prizefighters' is not in the vocabulary of {bundled}"
    ):
        import_anserini("c", [file], model=bundled, settings=settings)
    assert EdgeStore(settings.store).names() == []


@pytest.mark.parametrize("model", ["fake/sparse", "fake/both"])
def test_a_model_whose_terms_have_no_names_is_refused(settings, fakes, jsonl, model, monkeypatch):
    monkeypatch.setattr(term_legs, "KnowsTerms", type("NobodyKnows", (), {}))
    with pytest.raises(InvalidArgument, match=r"has no vocabulary that terms could be looked up in\. Leave --model"):
        import_anserini("c", [jsonl(DEEP_IMPACT)], model=model, settings=settings)


def test_a_model_without_need_takes_no_inverse_document_frequency(settings, fakes, jsonl):
    with pytest.raises(InvalidArgument, match="weights of fake/sparse take no inverse document frequency"):
        import_anserini("c", [jsonl(DEEP_IMPACT)], model="fake/sparse", idf="queries", settings=settings)


def test_no_such_model(settings, jsonl):
    with pytest.raises(UnknownModel, match=r"Unknown sparse model 'terms/word'.*terms/words"):
        import_anserini("c", [jsonl(DEEP_IMPACT)], model="terms/word", settings=settings)


def test_the_encoder_of_terms_encodes_no_documents(settings):
    encoder = encoder_of(card(WORDS, "sparse"), "sparse", settings, {})
    assert encoder.dimensions(["boxer", "##s"]) == [dimension_of("boxer"), dimension_of("##s")]
    assert encoder.terms([dimension_of("boxer")]) == [f"#{dimension_of('boxer')}"]
    assert encoder.encode_queries(["", "…", "\ud800"]) == [SparseVector.of([], [])] * 2 + encoder.encode_queries(
        ["\ufffd"]
    )
    with pytest.raises(ModelError, match="encodes queries only"):
        encoder.encode_documents(["a text"])


# ---------------------------------------------------------------- an export of our own


REPORT = {"format": "anserini", "model": WORDS, "scale": 1.0, "idf": "none", "passages": False, "escaped": True}


def export(folder, rows, where="documents", **said):
    files = folder / where
    files.mkdir(parents=True, exist_ok=True)
    (files / "part-00000.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "report.json").write_text(json.dumps({**REPORT, **said}))
    return files


def test_what_an_export_says_of_itself_is_heeded(settings, bundled, tmp_path):
    rows = exported(settings, bundled, TEXTS, 100)
    files = export(tmp_path / "out", rows, model=bundled, scale=100.0, idf="documents")
    told = []
    report = import_anserini("c", [files], settings=settings, on_report=told.append)
    assert counts(report) == (3, 0, 0, 0)
    [said] = told
    assert (said.path, said.leg, said.escaped) == (
        files.parent / "report.json",
        TermLeg(bundled, "documents", 100),
        True,
    )
    spec = manifest_of(settings).legs["sparse"]
    assert (spec.model, spec.needs_idf) == (bundled, False)
    # What is said on the call wins.
    import_anserini("d", [files], model=WORDPIECES, scale=10, idf="queries", settings=settings)
    spec = manifest_of(settings, "d").legs["sparse"]
    assert (spec.model, spec.needs_idf) == (WORDPIECES, True)
    beside = export(tmp_path / "beside", rows, ".", model=bundled, scale=100.0, idf="queries")
    import_anserini("e", [beside], settings=settings)
    assert manifest_of(settings, "e").legs["sparse"].needs_idf


def test_ids_and_tokens_are_read_as_they_were_written(settings, tmp_path):
    rows = [
        {"id": "wi fi%20now", "contents": "x", "vector": {"wi%20fi": 3, "100%": 1}},
        {"id": "a%232", "contents": "y", "vector": {"boxer": 2}},
    ]
    import_anserini("c", [export(tmp_path, rows)], settings=settings)
    reader = EdgeStore(settings.store).reader("c")
    assert sorted(reader.doc_ids()) == ["a#2", "wi fi now"]
    reader.close()
    assert sorted(payload_of(settings, "wi fi now#0")["terms"]["sparse"]) == ["100%", "wi fi"]


def test_passages_that_stand_together_are_one_document(settings, tmp_path):
    rows = [
        {"id": "long#0", "contents": "First part.", "vector": {"boxer": 1, "first": 4}},
        {"id": "long#1", "contents": "Second.", "vector": {"boxer": 7}},
        {"id": "alone", "contents": "Alone.", "vector": {"boxer": 3}},
        {"id": "a%231#0", "contents": "One.", "vector": {"one": 1}},
        {"id": "a%231#1", "contents": "Two.", "vector": {"two": 1}},
    ]
    files = export(tmp_path, rows, passages=True)
    report = import_anserini("c", [files], settings=settings)
    assert (report.documents, report.chunks) == (3, 5)
    assert found(settings, "boxer") == [("long", 7), ("alone", 3)]
    second = payload_of(settings, "long#1")
    assert (second["start"], second["end"], second["text"]) == (12, 19, "Second.")
    assert payload_of(settings, "long#0")["chunks"] == 2
    assert payload_of(settings, "a#1#1")["text"] == "Two."
    (files / "part-00000.jsonl").write_text(json.dumps(rows[0] | {"id": "long"}) + "\n")
    report = import_anserini("c", [files], prune=True, settings=settings)
    assert (report.documents, report.removed) == (1, 2)
    assert found(settings, "boxer first") == [("long", 5)]


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        (["a#1"], "chunk 1 of 'a' comes where chunk 0 was expected"),
        (["a#0", "a#2"], "chunk 2 of 'a' comes where chunk 1 was expected"),
        (["a#0", "a#1", "a#1"], "chunk 1 of 'a' comes where chunk 2 was expected"),
        (["a#0", "a#1", "a#0"], "the id 'a' stands at .*:1 too"),
        (["a#0", "a#1", "b", "a#0"], "the id 'a' stands at .*:1 too"),
        (["a#0", "a"], "the id 'a' stands at .*:1 too"),
    ],
)
def test_passages_that_do_not_stand_together_are_refused(settings, tmp_path, ids, reason):
    files = export(tmp_path, [{"id": each, "vector": {"x": 1}} for each in ids], passages=True)
    with pytest.raises(CorpusError, match=rf"part-00000.jsonl:{len(ids)}: {reason}"):
        import_anserini("c", [files], settings=settings)


def test_without_a_report_ids_are_as_they_stand(settings, jsonl):
    import_anserini(
        "c", [jsonl([{"id": f"a%20#{n}", "vector": {"x": 1, "w%20": 2}} for n in (0, 1)])], settings=settings
    )
    reader = EdgeStore(settings.store).reader("c")
    assert sorted(reader.doc_ids()) == ["a%20#0", "a%20#1"]
    reader.close()


@pytest.mark.parametrize(
    "said", [{"scale": 0}, {"scale": None}, {"scale": "1"}, {"model": None}, {"idf": "both"}, {"idf": None}]
)
def test_a_report_that_is_invalid_is_refused(settings, tmp_path, said):
    files = export(tmp_path, DEEP_IMPACT, **said)
    with pytest.raises(CorpusError, match=r"report.json says model .* which is invalid"):
        import_anserini("c", [files], settings=settings)


def test_reports_of_something_else_are_left_alone(settings, tmp_path):
    files = export(tmp_path, DEEP_IMPACT, format="vespa", scale="much")
    assert find_report(find_files([files])) is None
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(CorpusError, match=r"report.json cannot be read"):
        find_report(find_files([files]))


def test_files_of_two_exports_are_not_mixed(settings, tmp_path):
    one, other = export(tmp_path / "1", DEEP_IMPACT), export(tmp_path / "2", UNICOIL, scale=2.0)
    with pytest.raises(CorpusError, match="was not exported alike"):
        import_anserini("c", [one, other], settings=settings)


# ---------------------------------------------------------------- what is damaged


DAMAGES = {
    "{": "it is no JSON",
    '{"id": "a", "vector": {"x": 1}': "it is no JSON",
    "[1]": r"it is \[1\], expected one JSON object a line",
    '[{"id": "a", "vector": {}}]': "expected one JSON object a line",
    '{"vector": {"x": 1}}': "it has no id",
    '{"id": "", "vector": {"x": 1}}': "id is '', expected a text",
    '{"id": 7, "vector": {"x": 1}}': "id is 7, expected a text",
    '{"id": "a\\ud800", "vector": {"x": 1}}': "half a character",
    '{"id": "a", "contents": "x"}': "it has no vector",
    '{"id": "a", "vector": null}': "vector is None, expected an object",
    '{"id": "a", "vector": [1]}': r"vector is \[1\], expected an object",
    '{"id": "a", "contents": 3, "vector": {}}': "contents and title must be texts",
    '{"id": "a", "title": [], "vector": {}}': "contents and title must be texts",
    '{"id": "a", "vector": {"x": "1.5"}}': "the weight of 'x' is '1.5', expected a number",
    '{"id": "a", "vector": {"x": true}}': "the weight of 'x' is True, expected a number",
    '{"id": "a", "vector": {"x": null}}': "the weight of 'x' is None",
    '{"id": "a", "vector": {"x": {}}}': "the weight of 'x' is {}",
    '{"id": "a", "vector": {"y": 1, "x": NaN}}': "the weight of 'x' is nan, expected a finite number",
    '{"id": "a", "vector": {"x": Infinity}}': "the weight of 'x' is inf",
    '{"id": "a", "vector": {"x": -0.5}}': "the weight of 'x' is -0.5, expected a finite number of 0 or more",
    '{"id": "a", "vector": {"x": 1e39}}': "the weight of 'x' is 1e.39",
    '{"id": "a", "vector": {"x": 1' + "0" * 400 + "}}": "the weight of 'x' is 1000",
    '{"id": "a", "vector": {"x": 1' + "0" * 5000 + "}}": "(Exceeds the limit|the weight of 'x' is 1000)",
    '{"id": "a", "vector": {"x": 1, "x": 2}}': "'x' stands twice",
    '{"id": "a", "id": "b", "vector": {}}': "'id' stands twice",
    '{"id": "a", "vector": {"x\\udc00": 1}}': "the token .* holds half a character",
    '{"id": "a", "year": NaN, "vector": {}}': "metadata is not JSON",
    '{"id": "a", "deep": ' + "[" * 40 + "]" * 40 + ', "vector": {}}': "nested deeper than 32",
    '{"id": "a", "deep": ' + "[" * 200_000 + "]" * 200_000 + ', "vector": {}}': "nested too deep",
    '{"id": "ok", "vector": {"x": 1}}': r"the id 'ok' stands at .*corpus.jsonl:1 too",
}


@pytest.mark.parametrize("line", DAMAGES, ids=[str(n) for n in range(len(DAMAGES))])
def test_a_damaged_line_is_refused_with_its_place_and_nothing_is_written(settings, jsonl, line):
    file = jsonl([{"id": "ok", "contents": "fine", "vector": {"x": 1}}, "", line, {"id": "z", "vector": {}}])
    with pytest.raises(CorpusError, match=rf"{file}:3: .*{DAMAGES[line]}.*Nothing was written") as error:
        import_anserini("c", [file], settings=settings)
    assert len(str(error.value)) < 1_000
    assert EdgeStore(settings.store).names() == []


def whole(n=2000):
    return "".join(json.dumps({"id": str(n), "vector": {f"w{n}": n + 1}}) + "\n" for n in range(n)).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (whole()[:-9], ":2000: it is no JSON"),
        (gzip.compress(whole(), mtime=0)[:-9], "cannot be read to its end"),
        (gzip.compress(whole(), mtime=0)[:2000], "cannot be read to its end"),
        (gzip.compress(whole(), mtime=0)[:-8] + b"\0" * 8, "cannot be read to its end: CRC check failed"),
        (gzip.compress(whole(), mtime=0)[:500] + b"\xff" * 500, "cannot be read to its end"),
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (gzip.compress(b""), "is empty"),
        ('{"id": "caf\u00e9", "vector": {}}'.encode("latin-1"), ":1: byte 0xe9 at offset 11 is not utf-8 text"),
        ('{"id": "a", "vector": {}}'.encode("utf-16"), ":1: .*UTF-8 is expected"),
        (b"\x00\x01\x02", ":1: .*UTF-8 is expected"),
        (b"PAR1\x15", ":1: it is no JSON"),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",
)
def test_a_damaged_file_is_refused_and_nothing_is_written(settings, jsonl, tmp_path, content, reason):
    good, file = jsonl([LINE]), tmp_path / "bad.jsonl"
    file.write_bytes(content)
    with pytest.raises(CorpusError, match=rf"bad.jsonl{'' if reason.startswith(':') else ' '}{reason}"):
        import_anserini("c", [good, file], settings=settings)
    assert EdgeStore(settings.store).names() == []


def test_a_byte_order_mark_and_other_line_ends_do_no_harm(settings, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"id": "a", "vector": {"x": 1}}\r\n{"id": "b\xe2\x80\xa8", "vector": {"x": 2}}')
    assert counts(import_anserini("c", [file], settings=settings)) == (2, 0, 0, 0)


def test_ids_that_differ_only_in_how_a_letter_is_composed_are_one(settings, jsonl):
    file = jsonl([{"id": "caf\u00e9", "vector": {}}, {"id": "x", "vector": {}}, {"id": "cafe\u0301", "vector": {}}])
    with pytest.raises(CorpusError, match=rf"{file}:3: the id .* stands at {file}:1 too"):
        import_anserini("c", [file], settings=settings)


def test_sources_that_are_not_there(settings, tmp_path):
    (tmp_path / "inner").mkdir()
    for files, error, reason in (
        ([], InvalidArgument, "No file given"),
        ([tmp_path / "no.jsonl"], CorpusError, "is no file and no folder"),
        ([tmp_path], CorpusError, r"holds no file of .json, .jsonl, .json.gz, .jsonl.gz. It has the folders inner"),
    ):
        with pytest.raises(error, match=reason):
            import_anserini("c", files, settings=settings)


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), "2", True])
def test_a_scale_that_is_invalid(settings, jsonl, scale):
    with pytest.raises(InvalidArgument, match="it must be a number above 0"):
        import_anserini("c", [jsonl([LINE])], scale=scale, settings=settings)


def test_a_side_that_is_invalid(settings, jsonl):
    with pytest.raises(InvalidArgument, match="idf is 'none'; it must be 'queries' or 'documents'"):
        import_anserini("c", [jsonl([LINE])], idf="none", settings=settings)


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ([LINE, {**LINE, "id": "new"}], ":2: 'new' was not there before: the source changed while it was read"),
        ([{**LINE, "id": "new"}], ":1: 'new' was not there before"),
        ([LINE], "was not filled: the source changed while it was read"),
        ([LINE, {"id": "y", "vector": {"b": -1}}], ":2: the weight of 'b' is -1"),
    ],
)
def test_files_that_change_while_they_are_read_are_not_published(settings, jsonl, second, reason):
    file = jsonl([LINE, {"id": "y", "vector": {"b": 1}}])

    def change(now):
        if now.total is not None:
            jsonl(second)

    with pytest.raises(CorpusError, match=reason):
        import_anserini("c", [file], settings=settings, on_progress=change)
    assert EdgeStore(settings.store).names() == []


# ---------------------------------------------------------------- any reader


def test_documents_fill_a_collection_with_dense_vectors_too(store, settings, fakes):
    vectors = np.eye(16)

    def read():
        yield TermVectors("a", "red apples", metadata={"n": 1}, weights={"apples": 2.5}, dense={"dense": vectors[0]})
        own = {"n": 2, "page": 1}
        yield TermVectors("b", "first", metadata=own, weights={"b": 1}, dense={"dense": vectors[1]})
        yield TermVectors("b", "then", "T", {"n": 2, "page": True}, {"b": 2}, {"dense": vectors[2]}, "x:3", 1)

    for expected in ((2, 0, 0, 0), (0, 2, 0, 0)):
        report = fill_collection("c", read, dense={"dense": "fake/dense"}, store=store, settings=settings)
        assert counts(report) == expected
    with Searcher.open("c", store=store, settings=settings) as searcher:
        assert set(searcher.manifest.legs) == {"sparse", "dense"}
        [hit] = searcher.search("b", mode="sparse")
        assert len(searcher.search("apples")) == 2
    payload = payload_of(settings, "b#1", store=store)
    assert (hit.doc_id, hit.passages[0].text, payload["own"], payload["start"]) == ("b", "then", ["page"], 6)
    assert payload["metadata"] == {"n": 2, "page": True}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "it has dense vectors of the legs none, expected dense"),
        ({"other": [1.0]}, "it has dense vectors of the legs other, expected dense"),
        ({"dense": [1.0, 2.0]}, r"the dense vector: it has shape \(2,\), expected \(16,\)"),
        ({"dense": [2.0] + [0.0] * 15}, "the dense vector: it has length 2, expected 1"),
        ({"dense": [float("nan")] * 16}, "the dense vector: it holds a value that is not finite"),
        ({"dense": "text"}, "the dense vector: "),
        ({"dense": None}, "the dense vector: "),
    ],
)
def test_dense_vectors_that_do_not_fit_are_refused(settings, fakes, given, reason):
    with pytest.raises(CorpusError, match=f"document 'a': {reason}"):
        fill_collection(
            "c", lambda: iter([TermVectors("a", "x", dense=given)]), dense={"dense": "fake/dense"}, settings=settings
        )
    assert EdgeStore(settings.store).names() == []


def test_there_is_no_document(settings):
    with pytest.raises(CorpusError, match="There is no document to import"):
        fill_collection("c", lambda: iter([]), settings=settings)


@pytest.mark.parametrize("weights", [{7: 1.0}, {"x": np.float32("nan")}, {"x": object()}])
def test_weights_of_other_kinds_are_refused(settings, weights):
    with pytest.raises(CorpusError, match=r"document 'a': the (token|weight)"):
        fill_collection("c", lambda: iter([TermVectors("a", "x", weights=weights)]), settings=settings)


def test_numbers_of_other_kinds_are_taken(settings):
    weights = {"x": np.float32(1.5), "y": np.int64(2)}
    fill_collection("c", lambda: iter([TermVectors("a", "x", weights=weights)]), settings=settings)
    assert found(settings, "x y") == [("a", 3.5)]


# ---------------------------------------------------------------- cut short, two at once, many


def many(count):
    rng = np.random.default_rng(7)
    for n in range(count):
        weights = {
            f"w{word}": int(weight)
            for word, weight in zip(rng.integers(0, 30_000, 40), rng.integers(1, 200, 40), strict=True)
        }
        yield {"id": f"d{n}", "contents": f"text {n}", "vector": weights}


KILLED = """
import os, sys
from hybrid_search.interop.import_anserini import import_anserini
from hybrid_search.settings import Settings
def stop(now):
    if now.documents >= 600:
        os._exit(9)
import_anserini("c", [sys.argv[1]], settings=Settings(store=sys.argv[2], cache_dir=sys.argv[3]), on_progress=stop)
"""


def test_a_job_that_was_killed_goes_on_where_it_stopped(settings, jsonl):
    file = jsonl(many(2000))
    arguments = [str(file), settings.store, str(settings.cache_dir)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], env={**os.environ}, check=False)
    assert done.returncode == 9
    assert EdgeStore(settings.store).names() == []
    report = import_anserini("c", [file], settings=settings)
    assert report.unchanged >= 500
    assert report.documents + report.unchanged == 2000
    assert EdgeStore(settings.store).info("c").documents == 2000


def test_an_interrupted_change_goes_on(settings, jsonl, monkeypatch):
    monkeypatch.setattr(filling, "WRITE_BATCH", 4)
    import_anserini("c", [jsonl([{"id": f"d{n}", "vector": {"x": 1}} for n in range(20)])], settings=settings)
    file = jsonl([{"id": f"d{n}", "vector": {"x": 2}} for n in range(20)])

    def stop(now):
        if now.documents >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_anserini("c", [file], settings=settings, on_progress=stop)
    assert {score for _, score in found(settings, "x", k=20)} == {1.0}
    report = import_anserini("c", [file], settings=settings)
    assert (report.unchanged, report.documents) == (8, 12)
    assert {score for _, score in found(settings, "x", k=20)} == {2.0}


def test_two_jobs_at_once(settings, jsonl):
    file = jsonl(DEEP_IMPACT)
    import_anserini("c", [file], settings=settings)
    store = EdgeStore(settings.store)
    writer = store.writer("c", store.info("c").manifest)
    try:
        with pytest.raises(StoreBusy):
            import_anserini("c", [file], settings=settings)
        assert found(settings, "garden") == [("d3", 30)]
    finally:
        writer.close()
    assert counts(import_anserini("c", [file], settings=settings, wait_s=5)) == (0, 3, 0, 0)


def test_progress_tells_the_total_once_everything_was_checked(settings, jsonl):
    told = []
    import_anserini("c", [jsonl(many(1100))], settings=settings, on_progress=told.append)
    assert told[0].total is None
    assert (told[-1].total, told[-1].done, told[-1].profile) == (1100, 1100, "custom")
    assert any(now.total is None and now.current for now in told)


MEASURED = """
import resource, sys
from hybrid_search.interop.import_anserini import import_anserini
from hybrid_search.settings import Settings
report = import_anserini("c", [sys.argv[1]], settings=Settings(store=sys.argv[2]))
print(report.documents, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""
FEW, MANY, ROOM_MB = 5_000, 100_000, 100


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is counted in other units elsewhere")
def test_memory_does_not_grow_with_the_documents(jsonl, tmp_path):
    peaks = []
    for count in (FEW, MANY):
        file = jsonl(many(count))
        command = [sys.executable, "-c", MEASURED, str(file), str(tmp_path / f"store{count}")]
        done = subprocess.run(command, env={**os.environ}, capture_output=True, text=True, check=True)
        documents, peak = map(int, done.stdout.split())
        assert documents == count
        peaks.append(peak)
    assert peaks[1] < peaks[0] + ROOM_MB
