"""Collections that others wrote, read by us, and ours read by others: langchain-qdrant, LlamaIndex, Haystack and
mcp-server-qdrant, as they are installed, over one small server. All have the fake models, so results can be compared.
"""

import threading

import pytest
from qdrant_client import QdrantClient  # noqa: TID253

from hybrid_search import Indexer, Searcher, adopt
from hybrid_search.errors import InvalidArgument, StoreError
from hybrid_search.store import open_store
from tests.other_writers import TEXTS, YEARS, Haystack, LangChain, LlamaIndex, Mcp

QUERIES = ("lost at sea", "music of a band", "the war of two brothers")

pytestmark = [
    pytest.mark.usefixtures("fakes"),
    pytest.mark.filterwarnings("ignore:Qdrant client version:UserWarning"),  # theirs, of a server that is older
]


@pytest.fixture
def url(server_url):
    yield server_url
    for thread in threading.enumerate():  # the clients' own, which ask for the server's version
        if "_check_compatibility" in thread.name:
            thread.join()


@pytest.fixture
def client(url):
    client = QdrantClient(url)
    yield client
    client.close()


@pytest.fixture
def store(url):
    store = open_store(url)
    yield store
    store.close()


@pytest.fixture(params=[LangChain, LlamaIndex, Haystack, Mcp], ids=lambda kind: kind.name)
def other(request, url, client):
    return request.param(url, client)


def same(hits, theirs):
    """The same texts in the same order, ties apart, with the same scores where they tell theirs."""
    assert {hit.passages[0].text for hit in hits} == {text for text, *_ in theirs}
    if theirs[0][2] is None:
        assert [hit.passages[0].text for hit in hits] == [text for text, *_ in theirs]
    else:
        assert [hit.score for hit in hits] == pytest.approx([score for *_, score in theirs], abs=1e-5)
        scores = {text: score for text, _, score in theirs}
        assert {hit.passages[0].text: hit.score for hit in hits} == pytest.approx(scores, abs=1e-5)


# ---------------------------------------------------------------- theirs, read by us


def brought_in(other, store, settings, legs):
    other.write("theirs", legs)
    models = {leg: f"fake/{leg}" for leg in legs}
    return adopt("theirs", **models, store=store, settings=settings)


@pytest.mark.parametrize("both", [True, False], ids=["both", "dense-only"])
def test_what_they_wrote_is_found_as_they_find_it(other, store, settings, both):
    legs = other.legs if both else ("dense",)
    found = brought_in(other, store, settings, legs)
    assert found.layout.name == other.name
    assert found.points == len(TEXTS)
    assert set(found.agreement) == set(legs)
    assert min(found.agreement.values()) > 0.999
    searcher = Searcher.open("theirs", store=store, settings=settings)
    for leg in legs:
        for query in QUERIES:
            same(searcher.search(query, mode=leg).hits, other.search("theirs", query, leg, 10, both))
    whole = searcher.search("lost at sea", k=len(TEXTS), explain=True)
    assert {hit.passages[0].text for hit in whole} == set(TEXTS.values())
    by_name = {hit.metadata.get("name"): hit for hit in whole}
    assert by_name["crew"].metadata["year"] == 1997
    assert "lost" in {word for span in [by_name["crew"].passages[0]] for word in span.text.split()}
    assert by_name["crew"].passages[0].highlight is not None
    if "sparse" in legs:
        assert by_name["crew"].matched_terms
    searcher.close()


def test_documents_titles_and_places_are_theirs(other, store, settings):
    brought_in(other, store, settings, other.legs)
    searcher = Searcher.open("theirs", store=store, settings=settings)
    hits = {hit.metadata.get("name"): hit for hit in searcher.search("a", k=len(TEXTS), mode="dense")}
    crew = hits["crew"]
    starts = {"llamaindex": 10, "haystack": 10}
    assert crew.passages[0].start == starts.get(other.name, 0)
    assert crew.passages[0].end == crew.passages[0].start + len(TEXTS["crew"])
    assert crew.origin == {"langchain": "crew.txt", "llamaindex": "crew.txt"}.get(other.name, "")
    if other.name in ("llamaindex", "haystack"):
        assert crew.doc_id == {"llamaindex": "crew", "haystack": "book-crew"}[other.name]
    assert store.info("theirs").documents == len(TEXTS)
    reader = store.reader("theirs")
    assert sorted(reader.doc_ids()) == sorted(hit.doc_id for hit in hits.values())
    # A chunk is known by its number, too, and says how many there are.
    assert reader.payloads([f"{crew.doc_id}#0", "nobody#0", "nobody#7"])[f"{crew.doc_id}#0"]["text"] == TEXTS["crew"]
    why = searcher.explain("lost at sea", crew.doc_id)
    assert why.verdict == "shown"
    assert why.chunks == 1
    searcher.close()


FILTERS = [
    ("year >= 2000", {"island", "music"}),
    ("metadata.year < 1957", {"whale"}),
    ("name in ('band', 'war') and not year = 1984", {"war"}),
    ("name != 'war' and exists(year)", {"crew", "island", "band", "whale", "music"}),
    ("text ~ 'sea'", {"crew", "whale"}),
    ("text ^= 'A c' and year > 1960", {"crew"}),
]


def test_filters_mean_the_same_there(other, store, settings):
    brought_in(other, store, settings, other.legs)
    searcher = Searcher.open("theirs", store=store, settings=settings)
    lacking = {"music"} if other.name == "mcp" else set()  # one entry was stored without metadata
    for where, names in FILTERS:
        hits = searcher.search("sea", where=where, mode="dense")
        assert {hit.metadata.get("name", "music") for hit in hits} - lacking == names - lacking, where
    with pytest.raises(InvalidArgument, match="no document has a field yaer"):
        searcher.search("sea", where="yaer = 1")
    searcher.close()


def test_what_they_wrote_is_not_written_to(other, store, settings):
    brought_in(other, store, settings, ("dense",))
    assert store.names() == ["theirs"]
    for use in (
        lambda: Indexer.open("theirs", store=store, settings=settings).index([{"_id": "x", "text": "y"}]),
        lambda: Indexer.open("theirs", store=store, settings=settings).index([{"_id": "x", "text": "y"}], dry_run=True),
        lambda: store.writer("theirs", store.manifest("theirs")),
        lambda: store.delete("theirs"),
    ):
        with pytest.raises(StoreError, match=f"was adopted: {other.name} writes it"):
            use()
    assert store.info("theirs").points == len(TEXTS)


# ---------------------------------------------------------------- ours, read by them


def test_they_open_and_search_what_we_wrote(other, store, settings):
    documents = [{"_id": key, "text": text, "name": key, "year": YEARS[key]} for key, text in TEXTS.items()]
    models = {"sparse": "fake/sparse", "dense": "fake/dense"}
    Indexer.open("ours", store=store, settings=settings, layout=other.name, **models).index(documents)
    searcher = Searcher.open("ours", store=store, settings=settings)
    assert searcher.manifest.layout == other.name
    for leg in other.legs:
        for query in QUERIES:
            hits, theirs = searcher.search(query, mode=leg).hits, other.search("ours", query, leg, 10)
            same(hits, theirs)
            told = {text: {name: metadata[name] for name in ("name", "year")} for text, metadata, _ in theirs}
            assert told == {hit.passages[0].text: hit.metadata for hit in hits}
    hybrid = searcher.search("lost at sea", explain=True, where="year > 1990")
    assert {hit.doc_id for hit in hybrid} <= {"crew", "island", "music"}
    searcher.close()
    again = Indexer.open("ours", store=store, settings=settings).index(documents)
    assert (again.documents, again.unchanged) == (0, len(TEXTS))
