"""An id is the same however its letters are composed, and collections of earlier versions keep theirs."""

from contextlib import closing
from unicodedata import normalize

import pytest

from hybrid_search import Indexer, Searcher, delete_documents
from hybrid_search._util.unicode_text import id_forms
from hybrid_search.collection.documents import all_payloads, fetch_document, payloads_of
from hybrid_search.collection.models import open_store_for
from hybrid_search.corpus.trec import Qrel, ScoredDoc
from hybrid_search.errors import DocumentNotFound
from hybrid_search.store.schema import payload_of
from hybrid_search.types import Chunk, Point

IDS = ["café/Müller.txt", "한국어", "tiếng-Việt", "が.md", "Ωmega Å"]
FORMS = ["NFC", "NFD"]

pytestmark = pytest.mark.usefixtures("fakes")


def indexer(settings):
    return Indexer.open("c", settings=settings, sparse="fake/both", dense="fake/both")


def old_collection(settings, texts):
    """One whose ids were stored as they came."""
    made = indexer(settings)
    made.index([{"_id": "plain", "text": "a plain one"}])
    with closing(open_store_for(None, settings).writer("c", open_store_for(None, settings).manifest("c"))) as writer:
        [head] = writer.heads(["plain"]).values()
        with closing(Searcher.open("c", settings=settings)) as searcher:
            vectors = searcher._within(
                lambda opened: {leg: opened.reader.vectors(leg, ["plain#0"])["plain#0"] for leg in opened.encoders}
            )
        for doc_id, text in texts.items():
            chunk = Chunk(doc_id, 0, text, 0, len(text))
            writer.upsert([Point(chunk.chunk_id, vectors, payload_of(chunk, {}, "", (head.version_hash + "x", 1)))])
        writer.publish()


def ids_in(settings):
    with closing(Searcher.open("c", settings=settings)) as searcher:
        return sorted(searcher._within(lambda opened: list(opened.reader.doc_ids())))


@pytest.mark.parametrize("given", FORMS)
@pytest.mark.parametrize("asked", FORMS)
def test_a_document_is_found_by_its_id_in_any_form(settings, given, asked):
    indexer(settings).index([{"_id": normalize(given, doc_id), "text": f"text of {n}"} for n, doc_id in enumerate(IDS)])
    assert ids_in(settings) == sorted(normalize("NFC", doc_id) for doc_id in IDS)
    with closing(Searcher.open("c", settings=settings)) as searcher:
        for number, doc_id in enumerate(IDS):
            wanted, stored = normalize(asked, doc_id), normalize("NFC", doc_id)
            document = searcher._within(lambda opened, wanted=wanted: fetch_document(opened.reader, wanted, "c"))
            assert (document.doc_id, document.text) == (stored, f"text of {number}")
            why = searcher.explain(f"text {number}", wanted)
            assert (why.verdict, why.doc_id) == ("shown", stored)
            [hit] = searcher.search("text", where=f"doc_id = '{wanted}'")
            assert hit.doc_id == stored
        some = [normalize(asked, doc_id) for doc_id in IDS]
        found = searcher._within(lambda opened: [p[0]["doc_id"] for p in all_payloads(opened.reader, some)])
        assert found == [normalize("NFC", doc_id) for doc_id in IDS]
    assert delete_documents("c", [normalize(asked, doc_id) for doc_id in IDS], settings=settings) == len(IDS)
    assert ids_in(settings) == []


def test_ids_that_differ_in_form_only_are_one_id(settings):
    rows = [{"_id": normalize(form, "Zürich"), "text": "one"} for form in FORMS]
    report = indexer(settings).index(rows)
    assert (report.documents, report.repeated, report.failed) == (1, 1, 0)
    report = indexer(settings).index([*rows[:1], {**rows[1], "text": "another"}])
    assert report.failed == 1
    assert "stands at item 1 too, with other content" in report.failures[0].reason
    assert ids_in(settings) == ["Zürich"]


@pytest.mark.parametrize("asked", FORMS)
def test_a_collection_with_ids_as_they_came_is_read_by_either_form(settings, asked):
    texts = {normalize("NFD", doc_id): f"text of {n}" for n, doc_id in enumerate(IDS)}
    old_collection(settings, texts)
    with closing(Searcher.open("c", settings=settings)) as searcher:
        for stored, text in texts.items():
            wanted = normalize(asked, stored)
            [payload] = searcher._within(lambda opened, wanted=wanted: payloads_of(opened.reader, wanted))
            assert (payload["doc_id"], payload["text"]) == (stored, text)
            assert searcher.explain("plain", wanted).doc_id == stored
            assert len(searcher.search("plain", where=f"doc_id in ('{wanted}', 'x')")) == 1
    assert delete_documents("c", [normalize(asked, IDS[0]), IDS[0]], settings=settings) == 1


def test_a_new_run_puts_the_composed_id_in_the_place_of_the_old_one(settings):
    mixed = "caf\u00e9/Mu\u0308ller.txt"
    old_collection(settings, {mixed: "text of 0", normalize("NFD", IDS[1]): "text of 1", "plain2": "text"})
    rows = [{"_id": doc_id, "text": f"text of {n}"} for n, doc_id in enumerate([mixed, IDS[1]])]
    report = indexer(settings).index(rows)
    assert (report.documents, report.failed) == (2, 0)
    assert ids_in(settings) == sorted(["plain", "plain2", "café/Müller.txt", IDS[1]])
    assert indexer(settings).index(rows).unchanged == 2


def test_an_id_that_is_not_there_is_told_as_it_was_given(settings):
    indexer(settings).index([{"_id": "Zurich", "text": "one"}])
    with closing(Searcher.open("c", settings=settings)) as searcher, pytest.raises(DocumentNotFound, match="Zürich"):
        searcher._within(lambda opened: fetch_document(opened.reader, "Zürich", "c"))


def test_an_id_of_a_thousand_accents_has_few_forms():
    assert len(id_forms("é" * 1000)) == 2
    assert id_forms("abc") == ("abc",)


def test_judgements_count_in_any_form():
    pytest.importorskip("ir_measures")
    from hybrid_search.evaluation.measures import parse, score

    for run, judged in (("NFC", "NFD"), ("NFD", "NFC")):
        rows = [ScoredDoc("q", normalize(run, "Zürich"), 1.0)]
        qrels = [Qrel("q", normalize(judged, "Zürich"), 1, "0")]
        assert list(score(rows, qrels, parse(["nDCG@10"]))["nDCG@10"]) == [1.0]
