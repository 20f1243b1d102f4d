"""What a search tells of its hits, and what becomes of a document, on real collections in both stores."""

from __future__ import annotations

import pytest

from hybrid_search.errors import InvalidArgument
from hybrid_search.indexer import Indexer
from hybrid_search.search.open_collection import inverse_frequencies
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import Document, SparseVector
from tests.store.conftest import in_memory

TEXTS = {
    "tap": "A documentary follows an English rock band on tour; the amplifiers go to eleven.",
    "whiplash": "A young drummer at a music school is driven to the edge by his teacher.",
    "amadeus": "An old composer confesses his envy of Mozart and his music in Vienna.",
    "island": "After a plane crash a man lives alone on an island for four years.",
    "jaws": "A shark hunts swimmers off a holiday island, and three men go out to kill it.",
    "jaws-again": "A shark hunts swimmers off a holiday island, and three men go out to kill it!",
    "rat": "A rat cooks in a Paris restaurant, hidden under a boy's hat.",
    "rocky": "A prizefighting boxer gets a chance at the title.",
}
QUERIES = ["a film about music", "alone on an island", "prizefighting", "shark shark island", "Mozart"]


@pytest.fixture(scope="module", params=["edge", "local"])
def films(request, tmp_path_factory, model_cache):
    place = Settings(store=str(tmp_path_factory.mktemp("evidence")), cache_dir=model_cache)
    store = EdgeStore(place.store) if request.param == "edge" else in_memory()
    documents = [
        Document(doc_id, text, metadata={"number": place}, origin=f"films.jsonl:{place + 1}")
        for place, (doc_id, text) in enumerate(TEXTS.items())
    ]
    legs = ("sparse", "dense", "bm25")
    Indexer.open("films", store=store, settings=place, profile="bundled", legs=legs).index(documents)
    with Searcher.open("films", store=store, settings=place) as searcher:
        yield searcher
    store.close()


@pytest.mark.parametrize("query", QUERIES)
def test_what_terms_gave_sums_to_the_score_of_their_leg(films, query):
    results = films.search(query, explain=True)
    assert any(hit.matched_terms for hit in results)
    for hit in results:
        for leg in ("sparse", "bm25"):
            given = sum(term.contribution for term in hit.matched_terms if term.leg == leg)
            found = hit.legs[leg]
            assert given == pytest.approx(found.score if found else 0.0, abs=1e-4)
        shares = [term.contribution for term in hit.matched_terms]
        assert shares == sorted(shares, reverse=True)


def test_terms_have_names_where_dimensions_are_hashes_too(films):
    results = films.search("sharks of the islands", mode="bm25", explain=True)
    best = next(hit for hit in results if hit.doc_id == "jaws")
    assert {term.term for term in best.matched_terms} == {"sharks", "islands"}
    assert {term.term for term in results.expansion["bm25"]} == {"sharks", "islands"}


def test_the_store_is_asked_for_its_own_inverse_frequencies(films):
    reader = films._latest.opened.reader
    [query] = films._latest.opened.encoders["bm25"].encode_queries(["shark nothingness"])
    found = inverse_frequencies(reader, "bm25", query.indices.tolist())
    assert sorted(idf > 0 for idf in found.values()) == [False, True]  # no document has the other word
    [(dimension, idf)] = [(dimension, idf) for dimension, idf in found.items() if idf]
    [answer] = reader.retrieve([("bm25", SparseVector.of([dimension], [1.0]))], 5)
    stored = reader.vectors("bm25", [chunk_id for chunk_id, _ in answer])
    for chunk_id, score in answer:
        assert score == pytest.approx(idf * stored[chunk_id].dot(SparseVector.of([dimension], [1.0])), rel=1e-5)


def test_frequencies_that_are_out_of_date_are_asked_for_again(films):
    films.search("music", mode="bm25", explain=True)
    known = films._latest.opened.idf["bm25"]
    assert known
    wrong = dict.fromkeys(known, 0.5)
    known.update(wrong)
    for hit in films.search("music", mode="bm25", explain=True):
        assert sum(t.contribution for t in hit.matched_terms) == pytest.approx(hit.legs["bm25"].score, abs=1e-4)


def test_without_explain_nothing_is_told_of_terms_and_without_highlight_nothing_of_words(films):
    plain = films.search("music")
    assert all(hit.matched_terms is None for hit in plain)
    assert plain.expansion == {}
    assert "matched_terms" not in plain.to_dict()["hits"][0]
    assert plain[0].passages[0].highlight is not None
    bare = films.search("music", highlight=False)
    assert [hit.doc_id for hit in bare] == [hit.doc_id for hit in plain]
    assert bare[0].passages[0].highlight is None
    assert "highlights" not in bare.to_dict()["hits"][0]["chunks"][0]


def test_pieces_of_a_word_know_their_word(films):
    terms = films.search("prizefighting", explain=True).expansion["sparse"]
    assert {term.word for term in terms if term.in_query} == {"prizefighting"}
    assert any(term.term.startswith("##") for term in terms)


# ---------------------------------------------------------------- pages and twins


def test_pages_are_the_list_cut_and_keep_their_ranks(films):
    whole = films.search("music on an island", k=6)
    pages = [films.search("music on an island", k=2, offset=offset) for offset in (0, 2, 4)]
    assert [(hit.rank, hit.doc_id, hit.score) for page in pages for hit in page] == [
        (hit.rank, hit.doc_id, hit.score) for hit in whole
    ]
    assert pages[1].to_dict()["offset"] == 2
    with pytest.raises(InvalidArgument, match=r"offset is 100, but 8 documents are found for 'music'; take 0\.\.7"):
        films.search("music", offset=100)
    with pytest.raises(InvalidArgument, match=r"but 7 documents are found for 'music'; take 0\.\.6"):
        films.search("music", offset=7, fold=True)
    with pytest.raises(InvalidArgument, match="offset is -1"):
        films.search("music", offset=-1)


def test_a_page_does_not_depend_on_how_deep_another_looked(films):
    shallow = [films.search("a man on an island", k=1, offset=offset, depth=2) for offset in range(6)]
    deep = films.search("a man on an island", k=2, depth=2)
    assert [hit.doc_id for hit in deep] == [page[0].doc_id for page in shallow[:2]]
    ids = [page[0].doc_id for page in shallow]
    assert len(set(ids)) == 6


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"title": "Minutes of May"}, {"title": "Minutes of June"}),
        ({"text": "It is a - b for every ship in a harbour."}, {"text": "It is a + b for every ship in a harbour."}),
        ({"text": "The limit is 10 for ships in the harbour."}, {"text": "The limit is 99 for ships in the harbour."}),
        ({"text": "Ships may not enter the harbour at night."}, {"text": "Ships may enter the harbour at night."}),
    ],
)  # fmt: skip
def test_documents_that_differ_in_what_matters_are_both_shown(settings, fakes, one, other):
    same = {"text": "Every ship in the harbour is listed here with its captain and its crew."}
    rows = [{"_id": "a", **same, **one}, {"_id": "b", **same, **other}, {"_id": "c", **same, **one}]
    Indexer.open("c", settings=settings, sparse="fake/both", dense="fake/both").index(rows)
    with Searcher.open("c", settings=settings) as searcher:
        results = searcher.search("ship harbour", fold=True)
        assert {hit.doc_id for hit in results} | {doc_id for hit in results for doc_id in hit.folded} == {"a", "b", "c"}
        assert "b" in {hit.doc_id for hit in results}
        assert [hit.folded for hit in results if hit.doc_id in ("a", "c")] in ([("c",)], [("a",)])


def test_documents_that_say_the_same_are_folded_into_the_first(films):
    plain = films.search("shark", k=3)
    assert {plain[0].doc_id, plain[1].doc_id} == {"jaws", "jaws-again"}
    folded = films.search("shark", k=3, fold=True)
    assert folded[0].doc_id == plain[0].doc_id
    assert folded[0].folded == (plain[1].doc_id,)
    assert folded.to_dict()["hits"][0]["folded"] == [plain[1].doc_id]
    assert len(folded) == 3
    assert [hit.rank for hit in folded] == [1, 2, 3]
    assert plain[1].doc_id not in {hit.doc_id for hit in folded}


# ---------------------------------------------------------------- what becomes of a document


def test_a_document_in_the_list_is_shown(films):
    results = films.search("music", k=3)
    for hit in results:
        why = films.explain("music", hit.doc_id, k=3)
        assert (why.verdict, why.rank, why.fused_rank) == ("shown", hit.rank, hit.rank)
        for leg, found in hit.legs.items():
            assert (why.legs[leg].rank, why.legs[leg].handed_on) == (found and found.rank, found is not None)


def test_a_document_further_down_is_outranked(films):
    last = films.search("music", k=8)[-1].doc_id
    why = films.explain("music", last, k=3)
    assert (why.verdict, why.rank) == ("outranked", 8)
    assert why.reason == "It has rank 8 after fusion; ranks 1 to 3 are shown."


def test_a_document_that_is_not_there(films):
    why = films.explain("music", "casablanca")
    assert (why.verdict, why.chunks, why.legs) == ("not indexed", 0, None)


def test_a_filter_keeps_a_document_out_and_its_clause_is_named(films):
    why = films.explain("music", "amadeus", where="number >= 0 and number < 2 and text ~ 'music'")
    assert (why.verdict, why.clauses) == ("filtered out", ("number < 2",))
    assert films.explain("music", "amadeus", where="number < 3").verdict == "shown"


def test_a_document_below_the_depth_of_every_leg(films):
    order = [hit.doc_id for hit in films.search("music", mode="dense", k=8)]
    why = films.explain("music", order[5], mode="dense", k=2, depth=2)
    assert (why.verdict, why.rank) == ("below depth", None)
    assert (why.legs["dense"].rank, why.legs["dense"].handed_on) == (6, False)
    assert "dense 6" in why.reason


def test_a_document_that_shares_no_word_is_not_found(films):
    why = films.explain("Mozart", "rat", mode="bm25")
    assert (why.verdict, why.legs["bm25"].rank) == ("not found", None)


def test_a_folded_document_names_the_one_that_stands_for_it(films):
    first = films.search("shark", fold=True)[0]
    why = films.explain("shark", first.folded[0], fold=True)
    assert (why.verdict, why.folded_into) == ("folded", first.doc_id)


def test_tokens_that_a_model_did_not_read_are_counted(settings):
    long = "island " * 900
    indexer = Indexer.open("long", settings=settings, profile="bundled", chunk_tokens=0)
    indexer.index([Document("long", long), Document("short", "An island.")])
    with Searcher.open("long", settings=settings) as searcher:
        why = searcher.explain("island", "long")
        limit = searcher._latest.opened.encoders["dense"].card.max_tokens
        assert why.legs["dense"].cut_tokens == 902 - limit
        assert searcher.explain("island", "short").legs["dense"].cut_tokens == 0
    assert why.to_dict()["legs"]["dense"]["cut_tokens"] == 902 - limit
