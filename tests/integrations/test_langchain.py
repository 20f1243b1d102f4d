"""The LangChain adapter: the answers of Searcher.search, and documents that come back as they were put in."""

import asyncio
import copy
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("langchain_core", reason="needs the langchain extra")

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.load import dumps, loads

from hybrid_search import Indexer, Searcher
from hybrid_search.encoders import catalog
from hybrid_search.errors import CollectionNotFound, FilterError, InvalidArgument, StoreError, UnknownModel
from hybrid_search.filters import Compare
from hybrid_search.integrations import collection_handle as live_collections
from hybrid_search.integrations.langchain import (
    CrossEncoderCompressor,
    HybridSearchRetriever,
    HybridSearchVectorStore,
)
from hybrid_search.integrations.langchain.documents import option_fields
from hybrid_search.search import rerank
from hybrid_search.search.options import Option
from hybrid_search.search.request import SearchRequest, search_options
from hybrid_search.settings import load_settings
from hybrid_search.types import ModelCard

FAKES = {"sparse": "fake/both", "dense": "fake/both"}
FILMS = [
    {"id": "tap", "title": "Spinal Tap", "text": "a film about music and a loud band", "year": 1984},
    {"id": "amadeus", "title": "Amadeus", "text": "a film about the music of Mozart", "year": 1984},
    {"id": "jaws", "text": "a shark comes to the beach", "year": 1975},
    {"id": "alien", "text": "a film about a loud alien", "year": 1979},
    {"id": "long", "text": " ".join(f"music number{n}." for n in range(120)), "year": 2001},
]
QUERIES = ["a film about music", "loud", "shark on the beach"]
READER = "fake/reader"


class Reader:
    """A re-ranker that likes long texts."""

    card = ModelCard(READER, "reranker", "bundled", "cross_encoder")

    def __init__(self):
        self.read = []

    def warm_up(self):
        pass

    def score(self, query, texts):
        self.read += texts
        return np.array([len(text) for text in texts], np.float32)


@pytest.fixture
def reader(monkeypatch):
    made, load = Reader(), rerank.load
    monkeypatch.setattr(catalog, "CARDS", (*catalog.CARDS, Reader.card))
    monkeypatch.setattr(rerank, "load", lambda card, **o: made if card.name == READER else load(card, **o))
    return made


@pytest.fixture
def films(settings, fakes):
    Indexer.open("films", settings=settings, **FAKES).index(FILMS)
    with Searcher.open("films", settings=settings) as searcher:
        yield searcher


@pytest.fixture
def notes(settings, fakes):
    return HybridSearchVectorStore("notes", settings=settings, **FAKES)


def ids(documents):
    return [document.id for document in documents]


def told(documents):
    return [(d.metadata["doc_id"], d.metadata["rank"], d.metadata["score"]) for d in documents]


def expected(results):
    return [(hit.doc_id, hit.rank, hit.score) for hit in results]


# ---------------------------------------------------------------- retriever


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 2, "depth": 3},
        {"mode": "sparse"},
        {"mode": "dense", "offset": 1},
        {"fusion": "minmax", "weights": {"sparse": 2.0}},
        {"weights": "auto"},
        {"rrf_k": 5},
        {"where": "year = 1984"},
        {"rerank": READER, "rerank_depth": 2},
        {"fold": True},
    ],
    ids=str,
)
def test_documents_order_and_scores_are_those_of_the_search(films, settings, reader, options):
    retriever = HybridSearchRetriever(collection="films", settings=settings, **options)
    plain = HybridSearchRetriever(searcher=films)
    for query in QUERIES:
        wanted = expected(films.search(query, **options))
        assert wanted
        assert told(retriever.invoke(query)) == wanted
        assert told(asyncio.run(retriever.ainvoke(query))) == wanted
        assert told(plain.invoke(query, **options)) == wanted


def test_the_weights_of_terms_are_searched_for_with_and_without_a_text(films, settings):
    weights = {"music": 2.0, "film": 1.0}
    retriever = HybridSearchRetriever(collection="films", settings=settings, vector=weights)
    for query in ("", QUERIES[0]):
        wanted = expected(films.search(query, vector=weights))
        assert wanted
        assert told(retriever.invoke(query)) == wanted
        assert told(HybridSearchRetriever(searcher=films).invoke(query, vector="music=2 film")) == wanted
    store = HybridSearchVectorStore("films", settings=settings, **FAKES)
    assert len(store.similarity_search("", vector=weights)) == len(films.search("", vector=weights, k=4))
    for call in (
        lambda: store.similarity_search_with_relevance_scores("", vector=weights),
        lambda: store.max_marginal_relevance_search("", vector=weights),
        lambda: store.similarity_search_by_vector([1.0] * 16, vector=weights),
    ):
        with pytest.raises(InvalidArgument, match=r"relevance in 0\.\.1|takes its text|searches by a dense vector"):
            call()


def test_every_option_of_a_search_is_a_field():
    for option in search_options():
        field = HybridSearchRetriever.model_fields[option.name]
        assert field.description == option.help
        assert field.default == (False if option.name == "highlight" else option.default)


def test_a_new_option_of_a_search_is_a_field():
    """The fields are made of the options, whichever there are."""
    more = Option("patience", float | None, None, above=0, help="Seconds to wait.")
    fields = option_fields([*search_options(), more])
    assert list(fields) == [*(option.name for option in search_options()), "patience"]
    kind, field = fields["patience"]
    assert (kind, field.default, field.description) == (float | None, None, "Seconds to wait.")


def test_the_options_of_a_call_are_checked_once(films, settings, monkeypatch):
    retriever, checked = HybridSearchRetriever(collection="films", settings=settings, weights="auto"), []
    check = SearchRequest.__post_init__
    monkeypatch.setattr(SearchRequest, "__post_init__", lambda request: (checked.append(request), check(request))[1])
    assert retriever.invoke(QUERIES[0], k=2, where="year > 1900")
    assert len(checked) == 1


def test_the_evidence_is_in_the_metadata(films, settings):
    [first, *_] = HybridSearchRetriever(collection="films", settings=settings).invoke(QUERIES[0])
    [hit, *_] = films.search(QUERIES[0])
    assert first.page_content == hit.passages[0].text
    assert first.id == hit.passages[0].chunk_id
    assert first.metadata["legs"] == {leg: {"rank": at.rank, "score": at.score} for leg, at in hit.legs.items()}
    assert first.metadata["title"] == hit.title == "Spinal Tap"
    assert first.metadata["year"] == 1984
    assert "own" not in first.metadata
    assert "matched_terms" not in first.metadata


def test_explanations_and_highlights_come_where_they_are_asked_for(films):
    retriever = HybridSearchRetriever(searcher=films, explain=True, highlight=True, k=1)
    [first] = retriever.invoke(QUERIES[0])
    [hit] = films.search(QUERIES[0], explain=True, k=1)
    assert first.metadata["matched_terms"] == [term.to_dict() for term in hit.matched_terms]
    assert first.metadata["highlights"] == hit.passages[0].to_dict()["highlights"]


@pytest.mark.parametrize(
    "where", ["year = 1984", {"year": 1984}, {"year": {"$in": [1984]}}, Compare("year", "=", 1984)]
)
def test_a_filter_is_a_text_a_dict_or_a_tree(films, where):
    found = HybridSearchRetriever(searcher=films, where=where).invoke("film")
    assert {d.metadata["doc_id"] for d in found} == {"tap", "amadeus"}
    assert HybridSearchRetriever(searcher=films).invoke("film", filter=where) == found


def test_a_filter_of_a_call_takes_the_place_of_the_retrievers_own(films):
    retriever = HybridSearchRetriever(searcher=films, where="year = 1984")
    assert [d.metadata["doc_id"] for d in retriever.invoke("shark", filter={"year": 1975})] == ["jaws"]


def test_what_cannot_be_meant_is_refused_when_it_is_made(settings, films):
    for wrong, words in [
        ({"k": 0}, "k is 0"),
        ({"fusion": "sum"}, "fusion"),
        ({"where": "year >"}, "filter"),
        ({"depht": 3}, "depht"),
        ({"searcher": films}, "either"),
    ]:
        with pytest.raises(ValueError, match=words):
            HybridSearchRetriever(collection="films", settings=settings, **wrong)
    with pytest.raises(ValueError, match="either"):
        HybridSearchRetriever()
    with pytest.raises(InvalidArgument, match="top_k: no option"):
        HybridSearchRetriever(searcher=films).invoke("film", top_k=3)


def test_a_collection_that_is_not_there_is_an_error_of_the_first_call(settings):
    retriever = HybridSearchRetriever(collection="nowhere", settings=settings)
    with pytest.raises(CollectionNotFound, match="nowhere"):
        retriever.invoke("film")
    with pytest.raises(CollectionNotFound, match="nowhere"):
        asyncio.run(retriever.ainvoke("film"))


def test_many_calls_at_once_give_the_answers_one_by_one(films, settings):
    retriever = HybridSearchRetriever(collection="films", settings=settings)
    one_by_one = [told(retriever.invoke(query)) for query in QUERIES]
    assert [told(some) for some in retriever.batch(QUERIES * 3)] == one_by_one * 3
    assert [told(some) for some in asyncio.run(retriever.abatch(QUERIES * 3))] == one_by_one * 3


def test_opening_and_searching_do_not_stop_the_event_loop(films, settings, monkeypatch):
    """The loop's own thread neither opens the collection nor searches."""
    retriever = HybridSearchRetriever(collection="films", settings=settings)
    threads = []
    searcher_of, search = live_collections.LiveCollection._open_searcher, Searcher._answers
    mark = lambda what: lambda self, *a, **o: (threads.append(threading.current_thread()), what(self, *a, **o))[1]  # noqa: E731
    monkeypatch.setattr(live_collections.LiveCollection, "_open_searcher", mark(searcher_of))
    monkeypatch.setattr(Searcher, "_answers", mark(search))
    asyncio.run(retriever.ainvoke("film"))
    assert len(threads) == 2
    assert threading.current_thread() not in threads


def test_one_that_is_cancelled_while_the_collection_opens_keeps_nothing_open(films, settings, monkeypatch):
    live = live_collections.LiveCollection("films", settings.store, settings)
    begun, go_on, opened = threading.Event(), threading.Event(), []
    whole = live_collections.LiveCollection._open_searcher

    def slow(self):
        begun.set()
        assert go_on.wait(60)
        opened.append(whole(self))
        return opened[-1]

    monkeypatch.setattr(live_collections.LiveCollection, "_open_searcher", slow)

    async def run():
        asking = asyncio.ensure_future(live.asearch("film", SearchRequest()))
        assert await asyncio.to_thread(begun.wait, 60)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert asking.cancelled()
        go_on.set()
        while not opened:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # the loop is told that the thread has ended

    asyncio.run(run())
    live.close()
    with pytest.raises(StoreError, match="closed"):
        opened[0].search("film")


def test_who_searches_while_it_is_let_go_ends_and_the_next_opens_it_again(films, settings, fakes):
    live = live_collections.LiveCollection("films", settings.store, settings)
    loaded = len(fakes.loaded)
    with live.use() as first:
        live.close()
        with live.use() as second:
            assert second is not first
            assert len(first.search("film")) == len(second.search("film")) > 0
    with pytest.raises(StoreError, match="closed"):
        first.search("film")
    assert len(second.search("film")) > 0
    live.close()
    with pytest.raises(StoreError, match="closed"):
        second.search("film")
    assert len(fakes.loaded) == loaded + 1  # the models are kept meanwhile


# `langchain_core.load.loads` warns of itself.
@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_it_can_be_pickled_copied_and_written(films, settings):
    settings = load_settings(store=settings.store, cache_dir=settings.cache_dir)
    retriever = HybridSearchRetriever(collection="films", settings=settings, k=2, where={"year": 1984}, tags=["t"])
    wanted = retriever.invoke("film")
    for other in (pickle.loads(pickle.dumps(retriever)), copy.deepcopy(retriever), retriever.model_copy()):
        assert other.invoke("film") == wanted
        assert other.tags == ["t"]
    written = dumps(
        HybridSearchRetriever(collection="films", store=settings.store, k=2, where=Compare("year", "=", 1984))
    )
    assert "cache_dir" not in written
    read = loads(written, valid_namespaces=["hybrid_search"], allowed_objects=[HybridSearchRetriever])
    assert (read.collection, read.store, read.k, read.where) == ("films", settings.store, 2, "year = 1984")


def test_one_over_an_open_searcher_says_why_it_cannot_be_pickled(films):
    with pytest.raises(TypeError, match="give the collection's name"):
        pickle.dumps(HybridSearchRetriever(searcher=films))


def test_retrievers_of_one_collection_load_its_models_once(films, settings, fakes):
    loaded = len(fakes.loaded)
    retrievers = [HybridSearchRetriever(collection="films", settings=settings, k=k) for k in (1, 2)]
    assert [len(retriever.invoke("film")) for retriever in retrievers] == [1, 2]
    assert len(fakes.loaded) == loaded + 1


# ---------------------------------------------------------------- vector store


def test_documents_come_back_as_they_were_put_in_and_ids_are_kept(notes):
    documents = [
        Document(page_content="  a river \n", metadata={"n": [1, {"x": None}], "title": "T"}),
        Document(page_content="a stone", metadata={"title": "", "source": "s.txt", "legs": 2}, id="own"),
        Document(page_content="a tree", id="other"),
    ]
    before = copy.deepcopy(documents)
    named = notes.add_documents(documents, ids=[None, "own", "given"])
    assert named[1:] == ["own", "given"]
    wanted = [document.model_copy(update={"id": doc_id}) for document, doc_id in zip(documents, named, strict=True)]
    assert documents == before
    assert notes.get_by_ids(named) == wanted
    assert notes.get_by_ids(["given", "nobody", named[0], "given"]) == [wanted[2], wanted[0]]
    assert notes.similarity_search("river", k=1) == [wanted[0]]


def test_a_long_text_comes_back_whole_and_as_passages_where_asked_for(notes):
    words = [f"river stone{n}" for n in range(150)]
    text = "".join(word + (".\n\n" if n % 7 == 0 else " ") for n, word in enumerate(words)).strip()
    notes.add_texts([text, "a tree"], ids=["long", "tree"])
    [found] = notes.get_by_ids(["long"])
    assert found.page_content == text
    assert notes.similarity_search("stone77", k=1) == [found]
    [passage] = notes.similarity_search("stone77", k=1, passages=True)
    assert "stone77" in passage.page_content
    assert len(passage.page_content) < len(text) / 2
    assert passage.metadata["doc_id"] == "long"
    assert text[passage.metadata["start"] : passage.metadata["end"]] == passage.page_content


def test_overlapping_chunks_are_not_read_twice(settings, fakes):
    store = HybridSearchVectorStore("over", settings=settings, chunk_tokens=32, overlap_tokens=12, **FAKES)
    text = " ".join(f"river stone{n}" for n in range(100))
    store.add_texts([text], ids=["long"])
    assert store.get_by_ids(["long"])[0].page_content == text


def test_titles_are_searched_with_every_text_and_found_by_filters(notes):
    notes.add_documents([Document(page_content="loud", metadata={"title": "Volcano"}), Document(page_content="quiet")])
    [found] = notes.similarity_search("volcano", k=1, mode="sparse")
    assert found.page_content == "loud"
    assert notes.similarity_search("quiet", k=4, filter={"title": "Volcano"}) == [found]


def test_collections_that_were_indexed_elsewhere_are_read(films, settings):
    store = HybridSearchVectorStore("films", settings=settings)
    [found] = store.get_by_ids(["tap"])
    assert (found.page_content, found.metadata) == (FILMS[0]["text"], {"title": "Spinal Tap", "year": 1984})
    for query in QUERIES:
        wanted = [(hit.doc_id, hit.score) for hit in films.search(query, k=3)]
        assert [(d.id, score) for d, score in store.similarity_search_with_score(query, k=3)] == wanted
        assert ids(store.as_retriever(search_kwargs={"k": 3}).invoke(query)) == [doc_id for doc_id, _ in wanted]
        passages = store.similarity_search(query, k=3, passages=True)
        assert passages == HybridSearchRetriever(searcher=films, k=3).invoke(query)


def test_two_with_one_id_in_a_call_are_refused_and_in_two_calls_the_last_one_counts(notes):
    with pytest.raises(InvalidArgument, match=r"ids\[2\] is '1', as ids\[0\] is"):
        notes.add_texts(["first", "other", "last"], ids=["1", "2", "1"])
    with pytest.raises(InvalidArgument, match=r"ids\[1\] is 'Zürich', as ids\[0\] is"):
        notes.add_texts(["a", "b"], ids=["Zu\u0308rich", "Zürich"])
    assert notes.get_by_ids(["1", "2"]) == []
    assert notes.add_texts(["first", "other"], ids=["1", "2"]) == ["1", "2"]
    assert notes.add_texts(["last"], ids=["1"]) == ["1"]
    assert [d.page_content for d in notes.get_by_ids(["1", "2"])] == ["last", "other"]


def test_texts_come_from_any_iterable_and_none_is_nothing(notes):
    assert notes.add_texts([]) == []
    assert notes.add_documents([]) == []
    named = notes.add_texts((text for text in ["a", "b"]), [{"n": 1}, None])
    assert [(d.page_content, d.metadata) for d in notes.get_by_ids(named)] == [("a", {"n": 1}), ("b", {})]
    with pytest.raises(InvalidArgument, match="2 documents, but 1 ids"):
        notes.add_texts(["a", "b"], ids=["1"])
    with pytest.raises(InvalidArgument, match="2 documents, but 1 metadatas"):
        notes.add_texts(["a", "b"], [{}])
    with pytest.raises(InvalidArgument, match="refresh"):
        notes.add_texts(["a"], refresh=True)


def test_documents_that_cannot_be_indexed_are_named_by_their_places_and_nothing_is_written(notes):
    documents = [Document(page_content=" ", id="blank"), Document(page_content="fine", id="fine")]
    documents.append(Document(page_content="set", metadata={"s": {1}}, id="set"))
    message = r"2 of 3.*nothing was written: documents\[0\], blank: no text; documents\[2\], set: metadata is not JSON"
    with pytest.raises(InvalidArgument, match=message):
        notes.add_documents(documents)
    assert notes.get_by_ids(["blank", "fine", "set"]) == []
    for call, expected in (
        (lambda: notes.add_texts(["", "x"]), r"1 of 2.*documents\[0\], .*: no text"),
        (lambda: notes.add_texts(["x", " \n", "y", "\u3000"]), r"2 of 4.*documents\[1\].*documents\[3\]"),
        (lambda: notes.add_texts(["x", None]), r"texts\[1\] is None; it must be a text"),
        (lambda: notes.add_texts(["x", 3]), r"texts\[1\] is 3"),
        (lambda: notes.add_texts(["x", b"y"]), r"texts\[1\] is b'y'"),
        (lambda: notes.add_texts("hello"), r"texts is 'hello', one value.*write add_texts\(\['hello'\]\)"),
        (lambda: notes.add_texts(b"hello"), "texts is b'hello', one value"),
        (lambda: notes.add_texts(None), "texts is None; it must be a list"),
        (lambda: notes.add_texts({"a": 1}), "texts is {'a': 1}; it must be a list"),
        (lambda: notes.add_texts(["x"], {"a": 1}), "metadatas is {'a': 1}; it must be a list of dicts"),
        (lambda: notes.add_texts(["x"], ["a"]), r"metadatas\[0\] is 'a'; it must be a dict"),
        (lambda: notes.add_texts(["x"], [{"n": float("nan")}]), r"documents\[0\].*metadata is not JSON"),
        (lambda: notes.add_texts(["x"], ids="a"), r"ids is 'a', one value"),
        (lambda: notes.add_texts(["x"], ids=[3]), r"ids\[0\] is 3; it must be a text"),
        (lambda: notes.add_texts(["x", "y"], ids=["a", "\ud800"]), r"documents\[1\].*half a character"),
        (lambda: notes.add_documents(Document(page_content="x")), r"add_documents\(\[document\]\)"),
        (lambda: notes.add_documents("hello"), r"documents is 'hello'.*add_texts\(\['hello'\]\)"),
        (lambda: notes.add_documents(["hello"]), r"documents\[0\] is 'hello'; it must be a Document of LangChain"),
        (lambda: notes.delete("abc"), r"delete\(\['abc'\]\)"),
        (lambda: notes.get_by_ids("abc"), r"get_by_ids\(\['abc'\]\)"),
        (lambda: notes.similarity_search("x", k="3"), "k is '3'"),
        (lambda: notes.similarity_search("x", k=True), "k is True"),
        (lambda: notes.similarity_search_with_score("x", k=2.0), "k is 2.0"),
        (lambda: notes.max_marginal_relevance_search("x", fetch_k="9"), "fetch_k is '9'"),
        (lambda: notes.embeddings.embed_documents("abc"), r"embed_documents\(\['abc'\]\), or embed_query\('abc'\)"),
    ):
        with pytest.raises(InvalidArgument, match=expected):
            call()
    assert notes.similarity_search("x") == []
    notes.add_texts(["x"])
    for query in (None, 3, b"x", ["x"]):
        with pytest.raises(InvalidArgument, match=r"The query is .*; it must be a text"):
            notes.similarity_search(query)


def test_an_embedding_is_refused_wherever_it_is_passed(settings, fakes):
    other = DeterministicFakeEmbedding(size=6)
    with pytest.raises(InvalidArgument, match="models of its own"):
        HybridSearchVectorStore("notes", other, settings=settings)
    with pytest.raises(InvalidArgument, match="models of its own"):
        HybridSearchVectorStore.from_texts(["a"], other, collection="notes", settings=settings)
    store = HybridSearchVectorStore.from_texts(
        ["a", "b"], None, ids=["1", "2"], collection="n", settings=settings, **FAKES
    )
    assert ids(store.get_by_ids(["1", "2"])) == ["1", "2"]
    given = [Document(page_content="c", id="3")]
    store = asyncio.run(HybridSearchVectorStore.afrom_documents(given, None, collection="n", settings=settings))
    assert store.get_by_ids(["3"]) == given


def test_its_embeddings_are_those_of_the_dense_leg(films, settings):
    store = HybridSearchVectorStore("films", settings=settings)
    for query in QUERIES:
        vector = store.embeddings.embed_query(query)
        dense = [hit.doc_id for hit in films.search(query, mode="dense", k=3)]
        assert ids(store.similarity_search_by_vector(vector, k=3)) == dense
        [same] = store.embeddings.embed_documents([query])
        assert same == pytest.approx(vector)
    assert ids(store.similarity_search_by_vector(vector, k=9, where="year = 1984")) in (
        ["tap", "amadeus"],
        ["amadeus", "tap"],
    )
    with pytest.raises(InvalidArgument, match="expected"):
        store.similarity_search_by_vector([1.0, 2.0])
    with pytest.raises(InvalidArgument, match="text of a query"):
        store.similarity_search_by_vector(vector, rerank=True)


def test_without_a_dense_leg_vectors_are_refused_by_name(settings):
    store = HybridSearchVectorStore("words", settings=settings, sparse="qdrant/bm25-engine", dense="none")
    store.add_texts(["a river", "a stone"])
    for call in (
        lambda: store.embeddings.embed_query("x"),
        lambda: store.similarity_search_by_vector([1.0]),
        lambda: store.max_marginal_relevance_search("river"),
    ):
        with pytest.raises(InvalidArgument, match="no dense leg"):
            call()
    with pytest.raises(InvalidArgument, match="no greatest"):
        store.similarity_search_with_relevance_scores("river")


def test_maximal_marginal_relevance_chooses_others(notes):
    notes.add_texts(["a loud river", "a loud river!", "a loud stone", "trees"], ids=["1", "2", "3", "4"])
    plain = ids(notes.similarity_search("a loud river", k=2))
    assert set(plain) == {"1", "2"}
    [first, second] = ids(notes.max_marginal_relevance_search("a loud river", k=2, lambda_mult=0.2))
    assert first in ("1", "2")
    assert second in ("3", "4")
    vector = notes.embeddings.embed_query("a loud river")
    assert ids(notes.max_marginal_relevance_search_by_vector(vector, k=2, lambda_mult=0.2)) == [first, second]
    kwargs = {"k": 2, "lambda_mult": 0.2, "fetch_k": 4}
    assert ids(notes.as_retriever(search_type="mmr", search_kwargs=kwargs).invoke("a loud river")) == [first, second]
    assert ids(asyncio.run(notes.amax_marginal_relevance_search("a loud river", **kwargs))) == [first, second]


@pytest.mark.parametrize(
    "options", [{}, {"fusion": "minmax"}, {"mode": "dense"}, {"weights": {"dense": 3.0}, "rrf_k": 2}], ids=str
)
def test_relevance_lies_between_0_and_1_and_keeps_the_order(films, settings, options):
    store = HybridSearchVectorStore("films", settings=settings, **options)
    found = store.similarity_search_with_relevance_scores("a film about music and a loud band", k=5)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] < scores[0] <= 1
    threshold = {"score_threshold": scores[1], "k": 5}
    retriever = store.as_retriever(search_type="similarity_score_threshold", search_kwargs=threshold)
    assert ids(retriever.invoke("a film about music and a loud band")) == [d.id for d, s in found if s >= scores[1]]
    assert ids(asyncio.run(retriever.ainvoke("a film about music and a loud band"))) == ids(
        retriever.invoke("a film about music and a loud band")
    )


TOWNS = {
    "Lighthouse keeping in winter": "The keeper climbs the stairs every evening and trims the lamp before the storm.",
    "How to bake rye bread": "Mix flour, water and salt, let the sour dough rise overnight, and bake it hot.",
    "The life of honey bees": "A colony has one queen, some drones, and many thousand workers that gather nectar.",
    "Repairing a bicycle chain": "Remove the broken link with a chain tool and join the ends with a quick link.",
    "Tides of the North Sea": "Twice a day the water rises and falls, most of all when the moon is new or full.",
    "Growing tomatoes indoors": "Give them light for twelve hours, water them sparingly, and tie them to a stick.",
}
NONSENSE = ["xqzv blorf", "kjhgf", "mnbvc poiuy trewq", "zzzz", "frobnicate the quux", "123456 98765"]


@pytest.mark.parametrize("options", [{}, {"mode": "dense"}, {"fusion": "dbsf"}, {"weights": {"sparse": 0.0}}], ids=str)
def test_nonsense_has_next_to_no_relevance_and_a_title_much(settings, bundled, options):
    store = HybridSearchVectorStore("towns", settings=settings, profile="bundled", **options)
    store.add_texts(list(TOWNS.values()), [{"title": title} for title in TOWNS], ids=list(TOWNS))
    for title in TOWNS:
        (best, first), (_, second), *_ = store.similarity_search_with_relevance_scores(title, k=3)
        assert best.id == title
        assert 0.35 < first <= 1
        assert second < first / 2
    for query in NONSENSE:
        scores = [score for _, score in store.similarity_search_with_relevance_scores(query, k=3)]
        assert all(0 <= score < 0.12 for score in scores), (query, scores)
    assert store.similarity_search_with_relevance_scores("猫", k=3) == []
    near_zero = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.2, "k": 3}
    )
    assert near_zero.invoke("How to bake rye bread")[0].id == "How to bake rye bread"


def test_an_empty_store_finds_nothing_and_still_refuses_what_cannot_be_meant(notes):
    vector = [1.0] * 16
    assert notes.similarity_search_with_score("x") == []
    assert notes.similarity_search_with_relevance_scores("x") == []
    assert notes.similarity_search_by_vector(vector) == []
    assert notes.max_marginal_relevance_search("x") == []
    assert notes.max_marginal_relevance_search_by_vector(vector) == []
    assert notes.delete() is True
    for options, error in [({"k": 0}, InvalidArgument), ({"where": "a >"}, FilterError), ({"top": 1}, InvalidArgument)]:
        with pytest.raises(error):
            notes.similarity_search("x", **options)
    with pytest.raises(InvalidArgument, match="mean the same"):
        notes.similarity_search("x", where="a = 1", filter="b = 1")


def test_everything_can_be_deleted_and_the_store_be_filled_again(notes):
    notes.add_texts(["a", "b"], ids=["1", "2"])
    assert notes.delete([]) is True
    assert ids(notes.get_by_ids(["1", "2"])) == ["1", "2"]
    assert asyncio.run(notes.adelete()) is True
    assert notes.similarity_search("a") == []
    assert notes.similarity_search("a", filter={"year": 1984}) == []  # no document has the field: there is none
    notes.add_texts(["c"], ids=["1"])
    with pytest.raises(FilterError, match="year"):
        notes.similarity_search("a", filter={"year": 1984})
    assert [d.page_content for d in notes.similarity_search("a", k=4)] == ["c"]


def test_a_retriever_beside_it_sees_what_is_written(notes, settings):
    notes.add_texts(["a river"], ids=["1"])
    retriever = HybridSearchRetriever(collection="notes", settings=settings)
    assert [d.metadata["doc_id"] for d in retriever.invoke("river")] == ["1"]
    notes.add_texts(["a river too"], ids=["2"])
    notes.delete(["1"])
    assert [d.metadata["doc_id"] for d in retriever.invoke("river")] == ["2"]


def test_adding_again_writes_and_encodes_nothing(notes, fakes):
    notes.add_texts(["a", "b"], ids=["1", "2"])
    notes.add_texts(["c"], ids=["3"])  # the first call made the collection; its models are opened for good here
    fakes.calls("both")
    loaded = len(fakes.loaded)
    notes.add_texts(["a", "b"], ids=["1", "2"])
    notes.add_texts(["d"], ids=["4"])
    assert fakes.calls("both") == [("documents", 1)]
    assert len(fakes.loaded) == loaded


def test_searches_go_on_while_others_write(notes):
    notes.add_texts([f"river {n}" for n in range(5)], ids=[f"a{n}" for n in range(5)])
    stop, faults = threading.Event(), []

    def search():
        while not stop.is_set():
            try:
                assert len(notes.similarity_search("river", k=3)) == 3
                assert len(notes.get_by_ids(["a0", "a4"])) == 2
            except BaseException as fault:
                faults.append(fault)
                return

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    writers = [threading.Thread(target=notes.add_texts, args=([f"stone {n}"],)) for n in range(4)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(notes.similarity_search("stone", k=9)) == 9


def test_a_store_over_an_open_searcher_reads_and_does_not_write(films):
    store = HybridSearchVectorStore(searcher=films)
    assert ids(store.similarity_search("shark", k=1)) == ["jaws"]
    for call in (lambda: store.add_texts(["x"]), lambda: store.delete(["jaws"])):
        with pytest.raises(InvalidArgument, match="Nothing can be written"):
            call()
    with pytest.raises(TypeError, match="give the collection's name"):
        pickle.dumps(store)


def test_a_store_can_be_pickled(notes):
    notes.add_texts(["a river"], ids=["1"])
    other = pickle.loads(pickle.dumps(notes))
    assert other.similarity_search("river") == notes.similarity_search("river")
    assert pickle.loads(pickle.dumps(notes.as_retriever())).invoke("river") == notes.similarity_search("river")


# ---------------------------------------------------------------- langchain_core.indexing


def pages(*numbers, source="book"):
    return [Document(page_content=f"page {n} of the river", metadata={"source": source, "n": n}) for n in numbers]


def held(store, settings):
    with Searcher.open("notes", settings=settings) as searcher:
        return searcher._within(lambda opened: told_by(opened.reader))


def told_by(reader):
    heads = reader.payloads([f"{doc_id}#0" for doc_id in reader.doc_ids()]).values()
    return sorted((head["metadata"]["source"], head["metadata"]["n"]) for head in heads)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("cleanup", "after"),
    [
        (None, [("book", 1), ("book", 2), ("book", 3), ("tale", 1)]),
        ("incremental", [("book", 2), ("book", 3), ("tale", 1)]),
        ("scoped_full", [("book", 2), ("book", 3), ("tale", 1)]),
        ("full", [("book", 2), ("book", 3)]),
    ],
)
def test_the_indexing_of_langchain_adds_skips_and_cleans_up(notes, settings, cleanup, after, asynchronous):
    records = InMemoryRecordManager("notes")
    records.create_schema()

    def run(documents):
        options = {"cleanup": cleanup, "source_id_key": "source", "key_encoder": "sha256", "batch_size": 2}
        if asynchronous:
            return asyncio.run(aindex(documents, records, notes, **options))
        return index(documents, records, notes, **options)

    first = run([*pages(1, 2), *pages(1, source="tale")])
    assert (first["num_added"], first["num_skipped"], first["num_deleted"]) == (3, 0, 0)
    second = run(pages(2, 3))
    assert (second["num_added"], second["num_skipped"], second["num_deleted"]) == (1, 1, 4 - len(after))
    assert held(notes, settings) == after


# ---------------------------------------------------------------- compressor


def test_documents_come_back_in_the_order_of_the_cross_encoder(settings, reader):
    documents = [
        Document(page_content="short", metadata={"n": 1}, id="a"),
        Document(page_content="a long text", id="b"),
        Document(page_content="tiny", metadata={"title": "A very long title"}, id="c"),
    ]
    before = copy.deepcopy(documents)
    compressor = CrossEncoderCompressor(model=READER, settings=settings, k=2)
    found = compressor.compress_documents(documents, "query")
    assert ids(found) == ["c", "b"]
    assert [d.metadata["rerank_score"] for d in found] == [len("A very long title\ntiny"), len("a long text")]
    assert documents == before
    assert reader.read[-3:] == ["short", "a long text", "A very long title\ntiny"]
    assert asyncio.run(compressor.acompress_documents(documents, "query")) == found
    assert len(CrossEncoderCompressor(model=READER, settings=settings).compress_documents(documents, "q")) == 3
    assert compressor.compress_documents([], "query") == []
    for other in (pickle.loads(pickle.dumps(compressor)), copy.deepcopy(compressor)):
        assert other.compress_documents(documents, "query") == found


def test_it_does_what_the_re_ranking_of_a_search_does(films, settings, reader):
    wanted = HybridSearchRetriever(searcher=films, rerank=READER).invoke(QUERIES[0])
    fused = HybridSearchRetriever(searcher=films).invoke(QUERIES[0])
    found = CrossEncoderCompressor(model=READER, settings=settings).compress_documents(fused, QUERIES[0])
    assert ids(found) == ids(wanted)
    assert [d.metadata["rerank_score"] for d in found] == [d.metadata["rerank_score"] for d in wanted]


def test_a_cross_encoder_that_is_unknown_and_a_k_that_cannot_be_meant(settings):
    with pytest.raises(ValueError, match="k is 0"):
        CrossEncoderCompressor(k=0)
    with pytest.raises(UnknownModel, match="nobody"):
        CrossEncoderCompressor(model="nobody", settings=settings).compress_documents([Document(page_content="x")], "q")


# ---------------------------------------------------------------- the extra, and the collections


def test_without_langchain_the_error_prints_the_install_line():
    script = (
        "import sys; sys.modules['langchain_core'] = None\n"
        "try:\n    import hybrid_search.integrations.langchain\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'hybrid-search-qdrant[langchain]'" in done.stdout


@pytest.mark.shared
@pytest.mark.slow
def test_cranfield_gives_exactly_what_the_search_gives(settings, bundled, shared_collections):
    """1,400 documents, 225 queries, the bundled model, through the retriever and the vector store, sync and async."""
    import json

    folder = shared_collections / "cranfield"
    Indexer.open("cranfield", settings=settings, profile="bundled").index(folder)
    queries = [json.loads(line)["text"] for line in (folder / "queries.jsonl").read_text().splitlines()]
    assert len(queries) == 225
    retriever = HybridSearchRetriever(collection="cranfield", settings=settings)
    store = HybridSearchVectorStore("cranfield", settings=settings)
    with Searcher.open("cranfield", settings=settings) as searcher:
        wanted = [searcher.search(query) for query in queries]
    later = asyncio.run(retriever.abatch(queries))
    for query, results, found in zip(queries, wanted, later, strict=True):
        assert told(found) == expected(results)
        assert told(retriever.invoke(query)) == expected(results)
        scored = [(d.id, score) for d, score in store.similarity_search_with_score(query, k=10)]
        assert scored == [(hit.doc_id, hit.score) for hit in results]


def test_keys_with_dots_are_nested_keys_or_keys_as_they_are(notes):
    nested, flat = {"author": {"name": "Ada"}, "n": 1}, {"author.name": "Ada", "n": 2}
    notes.add_texts(["a river", "a stone", "a tree"], [nested, flat, {"n": 3}], ids=["nested", "flat", "none"])
    for given, wanted in (
        ({"author.name": "Ada"}, {"nested", "flat"}),
        ({"author.name": {"$in": ["Ada", "Bob"]}}, {"nested", "flat"}),
        ({"author": {"name": "Ada"}}, {"nested", "flat"}),
        ({"author.name": {"$ne": "Ada"}}, {"none"}),
        ({"author.name": {"$exists": True}}, {"nested", "flat"}),
        ({"author.name": None}, {"none"}),
        ({"$and": [{"author.name": "Ada"}, {"n": {"$gt": 1}}]}, {"flat"}),
    ):
        assert set(ids(notes.similarity_search("a", k=4, filter=given))) == wanted, given
    with pytest.raises(FilterError, match="no document has a field"):
        notes.similarity_search("a", filter={"author.nome": "Ada"})
