"""A document put together again from its chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.collection.documents import fetch_document, payloads_of, reassemble_text
from hybrid_search.collection.models import open_store_for
from hybrid_search.corpus.chunking import chunk
from hybrid_search.errors import DocumentNotFound, StoreError
from hybrid_search.indexer import Indexer
from hybrid_search.store.schema import payload_of
from hybrid_search.types import Document, Place

BM25 = {"sparse": "qdrant/bm25-engine", "dense": "none"}
WORDS = ["the", "river", "runs", "past", "a", "stone", "and", "an", "apple", "tree", "while", "clouds", "gather"]


def of_words(count, every=9):
    """A text of so many words, a line break behind every ninth."""
    return "".join(f"{WORDS[n % 13]}{n}" + ("\n" if n % every == every - 1 else " ") for n in range(count)).strip()


@pytest.fixture
def reader(settings):
    """Index documents; gives the open reader of the collection."""
    opened = []

    def index(documents, **options):
        Indexer.open("c", settings=settings, **BM25, **options).index(documents)
        opened.append(open_store_for(None, settings).reader("c"))
        return opened[-1]

    yield index
    for one in opened:
        one.close()


@pytest.mark.parametrize("overlap", [0, 8])
@pytest.mark.parametrize("markup", ["plain", "markdown"])
def test_a_long_document_comes_back_but_for_white_space_between_chunks(reader, overlap, markup):
    text = of_words(400)
    places = (Place(0, {"page": 1}), Place(900, {"page": 2}))
    given = Document("a", text, "A title", {"year": 1999, "tags": ["x"]}, "a.txt", markup, places)
    opened = reader([given], chunk_tokens=32, overlap_tokens=overlap)
    assert len(payloads_of(opened, "a")) > 10
    found = fetch_document(opened, "a", "c")
    assert (found.doc_id, found.title, found.metadata, found.origin) == (
        "a",
        "A title",
        {"year": 1999, "tags": ["x"]},
        "a.txt",
    )
    assert len(found.text) == len(text)
    assert found.text.split() == text.split()
    for payload in payloads_of(opened, "a"):
        assert found.text[payload["start"] : payload["end"]] == payload["text"]


def test_a_document_of_one_chunk_is_as_it_was(reader):
    text = "  Two blanks,\n\na paragraph\tand a tab.\n"
    assert fetch_document(reader([Document("a", text)]), "a", "c").text == text


@given(st.text(alphabet="ab \n.é\u200d", max_size=600), st.integers(0, 6))
def test_offsets_stay_those_of_the_document(text, overlap):
    if not text.strip():
        return
    count = lambda texts: [len(one) + 2 for one in texts]  # noqa: E731
    chunks = chunk(Document("a", text), size_tokens=24, overlap_tokens=overlap, count_tokens=count)
    whole = reassemble_text([payload_of(one, {}, "", None) for one in chunks])
    assert all(whole[one.start : one.end] == one.text for one in chunks)
    assert [letter for letter in whole if not letter.isspace()] == [letter for letter in text if not letter.isspace()]


def test_a_document_that_is_not_there_is_named(reader):
    opened = reader([Document("a", "Apples.")])
    assert payloads_of(opened, "b") == []
    with pytest.raises(DocumentNotFound, match="'c' has no document 'b'") as caught:
        fetch_document(opened, "b", "c")
    assert (caught.value.doc_id, caught.value.collection) == ("b", "c")


def test_a_document_of_which_a_chunk_is_missing_is_being_written():
    class Half:
        def payloads(self, chunk_ids):
            return {"a#0": {"chunk_id": "a#0", "chunks": 3}} if chunk_ids == ["a#0"] else {"a#2": {}}

    with pytest.raises(StoreError, match="2 of 3 chunks are there: it is being written"):
        payloads_of(Half(), "a")
