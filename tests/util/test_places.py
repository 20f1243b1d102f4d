"""Pages and headings: from documents into chunks, payloads, filters, hits, the terminal and JSON."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from rich.console import Console

from hybrid_search.cli.result_view import results_text
from hybrid_search.corpus.chunking import chunk
from hybrid_search.indexer import Indexer
from hybrid_search.searcher import Searcher
from hybrid_search.store.schema import chunk_of, payload_of
from hybrid_search.types import Chunk, Document, Place, own_metadata

BM25 = {"sparse": "qdrant/bm25-engine", "dense": "none"}
PAGES = [
    "Red apples grow on old trees behind the house.",
    "Green pears are sweet in autumn and keep until spring.",
    "Yellow bananas come by ship from over the sea.",
]
TEXT = "\n\n".join(PAGES)
PLACES = tuple(Place(TEXT.index(page), {"page": number}) for number, page in enumerate(PAGES, 1))
REPORT = Document("report", TEXT, "Fruit", {"year": 1999}, "report.pdf", places=PLACES)
NOTES = "# Fruit\n\nApples are red.\n\n## How to store\n\nPears like the cold, and the dark, and no company at all.\n"


def words(texts):
    return [len(text.split()) + 2 for text in texts]


def test_chunks_have_the_metadata_of_the_place_they_begin_in():
    assert [dict(REPORT.metadata_at(offset)) for offset in (0, 46, 48, 10**6)] == [{"page": n} for n in (1, 1, 2, 3)]
    found = chunk(REPORT, size_tokens=14, overlap_tokens=0, count_tokens=words)
    assert [(each.text, each.metadata) for each in found] == [
        (page, {"page": number}) for number, page in enumerate(PAGES, 1)
    ]
    [whole] = chunk(REPORT, size_tokens=0, overlap_tokens=0, count_tokens=words)
    assert whole.metadata == {"page": 1}
    later = Document("d", "  \n text", places=(Place(4, {"page": 2}),))
    assert chunk(later, size_tokens=0, overlap_tokens=0, count_tokens=words)[0].metadata == {"page": 2}
    assert chunk(Document("d", "text"), size_tokens=0, overlap_tokens=0, count_tokens=words)[0].metadata == {}


def test_places_count_in_the_hash_and_without_any_it_is_what_it_was():
    plain = Document("a", "text", title="T", metadata={"year": 1999})
    assert plain.content_hash() == "57d94da51e692003ed65e7c79c046421"
    placed = Document("a", "text", title="T", metadata={"year": 1999}, places=(Place(0, {"page": 1}),))
    assert placed.content_hash() != plain.content_hash()


def test_the_payload_knows_what_is_the_chunks_own():
    made = Chunk("doc", 1, "text", 3, 7, "Title", {"page": 2, "year": 1})
    payload = payload_of(made, {"year": 1999}, "a.pdf", None)
    assert (payload["metadata"], payload["own"]) == ({"year": 1999, "page": 2}, ["page"])
    assert own_metadata(payload) == chunk_of(payload).metadata == {"page": 2}
    plain = Chunk("doc", 1, "text", 3, 7)
    assert "own" not in payload_of(plain, {"year": 1}, "", None)
    assert chunk_of(payload_of(plain, {"year": 1}, "", None)) == plain


@pytest.fixture
def searcher(settings, tmp_path):
    notes = tmp_path / "notes.md"
    notes.write_text(NOTES)
    indexer = Indexer.open("c", settings=settings, chunk_tokens=16, **BM25)
    assert indexer.index([REPORT]).failed == indexer.index(notes).failed == 0
    assert (indexer.index([REPORT]).unchanged, indexer.index(notes).unchanged) == (1, 1)
    with Searcher.open("c", settings=settings) as opened:
        yield opened


def test_hits_filters_and_json_have_them(searcher):
    [hit] = searcher.search("pears in autumn", where="page = 2")
    assert hit.metadata == {"year": 1999}
    assert [(passage.metadata, hit.place(passage)) for passage in hit.passages] == [({"page": 2}, "page 2")]
    assert hit.to_dict()["metadata"] == {"year": 1999}
    assert [part.get("metadata") for part in hit.to_dict()["chunks"]] == [{"page": 2}]
    assert not len(searcher.search("pears in autumn", where="page = 3 and text ~ 'pears'"))
    [hit] = searcher.search("pears cold", where="heading ~ 'store'")
    assert (hit.doc_id, hit.place(hit.passages[0])) == ("notes.md", "How to store")


def test_the_terminal_shows_them_beside_the_origin_and_above_other_passages(searcher):
    found = searcher.search("green pears yellow bananas", k=1)
    console = Console(width=80, force_terminal=False)
    with console.capture() as brief:
        console.print(results_text(found, 80))
    with console.capture() as full:
        console.print(results_text(found, 80, full=True))
    first, second = (found[0].place(passage) for passage in found[0].passages[:2])
    assert f"report.pdf · {first}\n" in brief.get()
    assert second not in brief.get()
    assert f"     {second}\n     " in full.get()


@pytest.mark.parametrize(
    "places",
    [
        (Place(5, {}), Place(1, {})),
        (Place("x", {}),),
        (SimpleNamespace(start=1, metadata={}),),
        (Place(0, {"page": {1}}),),
    ],
)
def test_places_that_nobody_can_mean_are_a_failure(settings, places):
    good, bad = Document("a", "Red apples"), Document("b", "text", places=places)
    report = Indexer.open("c", settings=settings, **BM25).index([good, bad])
    assert (report.documents, report.failed) == (1, 1)
