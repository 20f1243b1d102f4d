"""Haystack's own contract for document stores, sync and async."""

import json
from datetime import datetime
from functools import partial
from unicodedata import normalize

import pytest

pytest.importorskip("haystack", reason="needs the extra 'haystack'")
pytest.importorskip("pytest_asyncio", reason="the asynchronous contract needs pytest-asyncio")

from haystack import Document
from haystack.dataclasses import ByteStream, SparseEmbedding
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError
from haystack.testing import document_store as contract
from haystack.testing import document_store_async as contract_async

from hybrid_search.errors import InvalidArgument
from hybrid_search.indexer import Indexer
from hybrid_search.integrations.haystack import HybridSearchDocumentStore, HybridSearchRetriever
from hybrid_search.integrations.haystack.filters import condition_of
from hybrid_search.integrations.roundtrip import kept_documents, kept_hits
from hybrid_search.search.request import SearchRequest
from hybrid_search.store.edge.store import EdgeStore


@pytest.fixture
def document_store(place, settings, making):
    store = HybridSearchDocumentStore("contract", store=place, settings=settings, **making)
    yield store
    store.close()


class TestContract(
    contract.DocumentStoreBaseExtendedTests,
    contract.CountDocumentsByFilterTest,
    contract.CountUniqueMetadataByFilterTest,
    contract.GetMetadataFieldsInfoTest,
    contract.GetMetadataFieldMinMaxTest,
    contract.GetMetadataFieldUniqueValuesTest,
):
    @pytest.fixture
    def document_store(self, place, settings, making):
        store = HybridSearchDocumentStore("contract", store=place, settings=settings, **making)
        yield store
        store.close()

    @staticmethod
    def assert_documents_are_equal(received, expected):
        """The store has an order of its own."""
        assert sorted(received, key=lambda d: d.id) == sorted(expected, key=lambda d: d.id)

    def test_write_documents(self, document_store):
        """Without a policy an id that is there is refused."""
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])
        self.assert_documents_are_equal(document_store.filter_documents(), [document])


class TestAsyncContract(
    contract_async.CountDocumentsAsyncTest,
    contract_async.CountDocumentsByFilterAsyncTest,
    contract_async.CountUniqueMetadataByFilterAsyncTest,
    contract_async.DeleteAllAsyncTest,
    contract_async.DeleteByFilterAsyncTest,
    contract_async.DeleteDocumentsAsyncTest,
    contract_async.FilterDocumentsAsyncTest,
    contract_async.GetMetadataFieldMinMaxAsyncTest,
    contract_async.GetMetadataFieldUniqueValuesAsyncTest,
    contract_async.GetMetadataFieldsInfoAsyncTest,
    contract_async.UpdateByFilterAsyncTest,
    contract_async.WriteDocumentsAsyncTest,
):
    assert_documents_are_equal = staticmethod(TestContract.assert_documents_are_equal)

    @pytest.mark.asyncio
    async def test_write_documents_async(self, document_store):
        document = Document(content="test doc")
        assert await document_store.write_documents_async([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async([document])


def test_every_class_of_the_contract_is_among_them():
    asked = {
        name: test
        for module in (contract, contract_async)
        for name, test in vars(module).items()
        if isinstance(test, type) and name.endswith("Test")
    }
    for name, test in asked.items():
        assert issubclass(TestContract, test) or issubclass(TestAsyncContract, test), name


def test_everything_a_document_has_comes_back(document_store):
    document = Document(
        id="one",
        content="  A text\n\nwith white space ",
        meta={
            "title": "A title",
            "huge": 2**70,
            "deep": nested(40),
            "half": "\ud800",
            "_kept": 1,
            "a.b": [1, 1.0, None],
        },
        blob=ByteStream(b"\x00\xff", mime_type="image/png", meta={"x": 1}),
        embedding=[0.25, 0.5],
        sparse_embedding=SparseEmbedding([1, 5], [0.5, 2.0]),
        score=0.75,
    )
    document_store.write_documents([document])
    [back] = document_store.filter_documents()
    assert back == document
    assert [type(value) for value in back.meta["a.b"]] == [int, float, type(None)]


def nested(levels):
    return {"in": nested(levels - 1)} if levels else 1


def test_a_long_text_comes_back_letter_by_letter(place, settings, making):
    store = HybridSearchDocumentStore("long", store=place, settings=settings, chunk_tokens=16, **making)
    text = "\n one  two\tthree.\r\n\n" + "\n".join(f"  {n} word{n} \u00a0 and more." for n in range(60)) + " \n"
    store.write_documents([Document(id="long", content=text), Document(id="short", content="one two")])
    [kept] = store.collection.ask(lambda _, opened: list(kept_documents(opened.reader, ["long"])))
    assert kept.text == text
    assert store.collection.ask(lambda _, opened: opened.reader.info().points) > 10
    [one, _] = HybridSearchRetriever(store, top_k=2).run("word59")["documents"]
    assert (one.id, one.content) == ("long", text)
    [(hit, _)] = store.collection.ask(partial(kept_hits, "word59", SearchRequest(k=1)))
    assert all("_spaces" not in passage.metadata for passage in hit.passages)
    with store.collection.use() as searcher:
        [seen] = searcher.search("one two three", k=1, where="doc_id = 'long'")
        assert seen.place(seen.passages[0]) == ""


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_document_without_text_is_refused_and_nothing_is_written(document_store, content):
    with pytest.raises(ValueError, match="'empty' has no text"):
        document_store.write_documents([Document(content="a"), Document(id="empty", content=content)])
    assert document_store.count_documents() == 0


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, {1, 2}, float("nan"), object()])
def test_meta_that_json_would_change_is_refused_by_name(document_store, value):
    with pytest.raises(InvalidArgument, match="'odd' of 'one'"):
        document_store.write_documents([Document(id="one", content="a", meta={"odd": value})])


def test_all_documents_are_checked_before_the_first_is_written(document_store):
    good = Document(id="a", content="text")
    for call, expected in (
        (lambda: document_store.write_documents([good, Document(id="b", content=" ")]), r"documents\[1\]: .*no text"),
        (lambda: document_store.write_documents([Document(id="b"), good]), r"documents\[0\]: .*'b' has no text"),
        (lambda: document_store.write_documents(good), r"write_documents\(\[document\]\)"),
        (lambda: document_store.write_documents("hello"), "documents is 'hello', one value"),
        (lambda: document_store.write_documents([good, "hello"]), r"documents\[1\] is 'hello'; it must be a Document"),
        (lambda: document_store.write_documents(None), "documents is None"),
        (lambda: document_store.delete_documents("abc"), r"\['abc'\]"),
    ):
        with pytest.raises(InvalidArgument, match=expected):
            call()
    assert document_store.count_documents() == 0


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_id_is_one_however_its_letters_are_composed(document_store, forms):
    one, other = (Document(id=normalize(form, "Zürich"), content=form) for form in forms)
    with pytest.raises(DuplicateDocumentError):
        document_store.write_documents([one, other])
    assert document_store.write_documents([one]) == 1
    with pytest.raises(DuplicateDocumentError):
        document_store.write_documents([other])
    assert document_store.write_documents([other], policy=DuplicatePolicy.SKIP) == 0
    assert document_store.write_documents([other], policy=DuplicatePolicy.OVERWRITE) == 1
    assert [document.content for document in document_store.filter_documents()] == [forms[1]]
    document_store.delete_documents([one.id])
    assert document_store.count_documents() == 0


@pytest.mark.parametrize("name", ["meta.author.name", "author.name"])
def test_keys_with_dots_are_nested_keys_or_keys_as_they_are(document_store, name):
    metas = {"nested": {"author": {"name": "Ada"}}, "flat": {"author.name": "Ada"}, "none": {"n": 3}}
    document_store.write_documents([Document(id=key, content="text", meta=meta) for key, meta in metas.items()])
    retriever = HybridSearchRetriever(document_store)
    for operator, value, wanted in (
        ("==", "Ada", {"nested", "flat"}),
        ("!=", "Ada", {"none"}),
        ("in", ["Ada", None], {"nested", "flat", "none"}),
        ("not in", ["Ada"], {"none"}),
        ("==", None, {"none"}),
    ):
        filters = {"field": name, "operator": operator, "value": value}
        assert {document.id for document in document_store.filter_documents(filters)} == wanted, operator
        found = retriever.run("text", filters=filters)["documents"]
        assert {document.id for document in found} == wanted, operator


def test_of_one_id_twice_the_policy_decides(document_store):
    first, second = Document(id="one", content="first"), Document(id="one", content="second")
    with pytest.raises(DuplicateDocumentError, match="one"):
        document_store.write_documents([first, second], policy=DuplicatePolicy.FAIL)
    assert document_store.write_documents([first, second], policy=DuplicatePolicy.SKIP) == 1
    assert document_store.filter_documents() == [first]
    assert document_store.write_documents([first, second], policy=DuplicatePolicy.OVERWRITE) == 2
    assert document_store.filter_documents() == [second]


FILTERED = [
    ({"field": "meta.author.name", "operator": "==", "value": "Ann"}, "a"),
    ({"field": "meta.title", "operator": "==", "value": "First"}, "a"),
    ({"field": "title", "operator": "in", "value": ["First", "Second"]}, "ab"),
    ({"field": "id", "operator": "!=", "value": "a"}, "bc"),
    ({"field": "content", "operator": "==", "value": "text of c"}, "c"),
    ({"field": "year", "operator": ">=", "value": 2000}, "b"),
    ({"field": "meta.year", "operator": "in", "value": [None, 1990]}, "ac"),
    ({"field": "meta.year", "operator": "not in", "value": []}, "abc"),
    ({"field": "meta.year", "operator": "in", "value": []}, ""),
    ({"field": "meta.tags", "operator": "==", "value": "x"}, "ab"),
    ({"field": "meta.nowhere", "operator": "==", "value": 1}, ""),
    ({"field": "meta.when", "operator": "<", "value": datetime(2020, 1, 1)}, "c"),
    ({"operator": "NOT", "conditions": [{"field": "meta.year", "operator": "<", "value": 2000}]}, "bc"),
]
FIRST = {"year": 1990, "tags": ["x", "y"], "title": "First", "author": {"name": "Ann"}}
TAGGED = [
    Document(
        id="a",
        content="text of a",
        meta={"year": 1990, "tags": ["x", "y"], "title": "First", "author": {"name": "Ann"}},
    ),
    Document(id="b", content="text of b", meta={"year": 2001, "tags": "x", "title": "Second"}),
    Document(id="c", content="text of c", meta={"when": "2019-05-01"}),
]


def test_filters_find_the_same_documents_listed_and_searched(memory_store, settings, making):
    store = HybridSearchDocumentStore("tagged", store=memory_store, settings=settings, **making)
    store.write_documents(TAGGED)
    retriever = HybridSearchRetriever(store)
    for filters, ids in FILTERED:
        assert {document.id for document in store.filter_documents(filters)} == {*ids}, filters
        if filters.get("field") != "meta.nowhere":
            found = retriever.run("text", filters=filters)["documents"]
            assert {document.id for document in found} == {*ids}, filters


@pytest.mark.parametrize(
    "filters",
    [
        {"field": "meta.a", "operator": "~", "value": 1},
        {"field": "meta.a", "operator": "==", "value": [1]},
        {"field": "", "operator": "==", "value": 1},
        {"operator": "XOR", "conditions": [{"field": "a", "operator": "==", "value": 1}]},
        {"operator": "AND", "conditions": []},
        {"operator": "AND", "conditions": ["a"]},
    ],
)
def test_filters_that_cannot_be_read_are_haystacks_error(filters):
    with pytest.raises(FilterError):
        condition_of(filters)


def test_a_collection_of_another_making_is_a_store_too(settings, making):
    rows = [{"id": "x", "title": "Named", "text": "some text", "year": 1984}]
    Indexer.open("rows", settings=settings, **making).index(rows)
    store = HybridSearchDocumentStore("rows", settings=settings)
    assert store.filter_documents() == [Document(id="x", content="some text", meta={"year": 1984, "title": "Named"})]


def test_it_is_saved_and_made_again(settings, making):
    store = HybridSearchDocumentStore("saved", settings=settings, wait_s=1.5, **making)
    store.write_documents([Document(content="hello")])
    data = json.loads(json.dumps(store.to_dict()))
    assert data["init_parameters"]["wait_s"] == 1.5
    assert HybridSearchDocumentStore.from_dict(data).count_documents() == 1
    with pytest.raises(InvalidArgument, match="open store"):
        HybridSearchDocumentStore("saved", store=EdgeStore("x")).to_dict()
