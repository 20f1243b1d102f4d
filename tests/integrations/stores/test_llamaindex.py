"""LlamaIndex: the retriever, the re-ranker and the vector store."""

import asyncio
import itertools

import numpy as np
import pytest

pytest.importorskip("llama_index.core", reason="needs the extra 'llamaindex'")

from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.schema import (
    Document,
    ImageNode,
    IndexNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from hybrid_search.encoders import catalog
from hybrid_search.errors import FilterError, InvalidArgument
from hybrid_search.indexer import Indexer
from hybrid_search.integrations.hit_documents import EVIDENCE, found
from hybrid_search.integrations.llamaindex import HybridSearchRerank, HybridSearchRetriever, HybridSearchVectorStore
from hybrid_search.integrations.llamaindex.filters import condition_of
from hybrid_search.ranking.mmr import mmr_by_similarity
from hybrid_search.search import rerank
from hybrid_search.searcher import Searcher
from hybrid_search.types import Document as Ours
from hybrid_search.types import ModelCard

ROWS = [Ours(f"d{n}", f"word{n % 3} and river {'stone ' * n}", title=f"T{n}", metadata={"n": n}) for n in range(8)]
Op = FilterOperator


@pytest.fixture
def rivers(settings, making):
    Indexer.open("rivers", settings=settings, **making).index(ROWS)
    return "rivers"


@pytest.fixture
def store(place, settings, making):
    made = HybridSearchVectorStore("nodes", store=place, settings=settings, making=making)
    yield made
    made.client.close()


def node(node_id, text, source=None, **metadata):
    relationships = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)} if source else {}
    return TextNode(id_=node_id, text=text, metadata=metadata, relationships=relationships)


def ids(answer):
    return [one.node.node_id for one in answer]


# ---------------------------------------------------------------- the retriever


@pytest.mark.parametrize(
    "options", [{}, {"fusion": "dbsf", "weights": {"dense": 2.0}, "depth": 20}, {"mode": "dense"}, {"where": "n < 5"}]
)
def test_it_gives_what_the_searcher_gives(rivers, settings, options):
    with Searcher.open(rivers, settings=settings) as searcher:
        expected = [tuple(one) for one in found(searcher.search("river stone", k=4, **options))]
        assert expected
        for collection, place in ((rivers, {"settings": settings}), (searcher, {})):
            retriever = HybridSearchRetriever(collection, 4, **place, **options)
            retriever.warm_up()
            for answer in (retriever.retrieve("river stone"), asyncio.run(retriever.aretrieve("river stone"))):
                assert [(n.node.node_id, n.node.text, n.node.metadata, n.score) for n in answer] == expected
                assert [n.node.ref_doc_id for n in answer] == [one[2]["doc_id"] for one in expected]


def test_evidence_is_no_part_of_a_prompt(rivers, settings):
    [first, *_] = HybridSearchRetriever(rivers, settings=settings).retrieve("river")
    assert {*EVIDENCE} <= {*first.node.metadata}
    shown = first.node.get_content(MetadataMode.LLM)
    assert "title: T" in shown
    assert "n: " in shown
    assert "legs" not in shown
    assert "score" not in first.node.get_content(MetadataMode.EMBED)


def test_the_retriever_of_a_store_gives_its_nodes(store):
    given = [node("a", "river stone", "doc-1", year=1), node("b", "sea", "doc-2", year=2)]
    retriever = HybridSearchRetriever(store, 2, filters=MetadataFilters(filters=[MetadataFilter(key="year", value=1)]))
    assert retriever.retrieve("river") == []
    store.add(given)
    for answer in (retriever.retrieve("river"), asyncio.run(retriever.aretrieve("river"))):
        assert ids(answer) == ["a"]
        assert answer[0].node.ref_doc_id == "doc-1"
        assert answer[0].node.metadata["legs"]["sparse"]["rank"] == 1
        assert "_ref_doc_id" not in answer[0].node.metadata


def test_options_are_judged_when_it_is_made(rivers, settings):
    with pytest.raises(InvalidArgument, match="fusion"):
        HybridSearchRetriever(rivers, fusion="best")
    with pytest.raises(InvalidArgument, match="similarity_top_k"):
        HybridSearchRetriever(rivers, k=3)
    with Searcher.open(rivers, settings=settings) as searcher, pytest.raises(InvalidArgument, match="has its own"):
        HybridSearchRetriever(searcher, store="x")


# ---------------------------------------------------------------- the re-ranker


class Reader:
    """Likes long texts."""

    card = ModelCard("fake/reader", "reranker", "bundled", "cross_encoder")

    def warm_up(self):
        pass

    def score(self, query, texts):
        return np.array([float(len(text)) for text in texts], np.float32)


@pytest.fixture
def reader(monkeypatch):
    load = rerank.load
    monkeypatch.setattr(catalog, "CARDS", (*catalog.CARDS, Reader.card))
    monkeypatch.setattr(rerank, "load", lambda card, **o: Reader() if card.name == "fake/reader" else load(card, **o))
    return "fake/reader"


def test_nodes_are_reranked_as_the_searcher_does(rivers, settings, reader):
    with Searcher.open(rivers, settings=settings) as searcher:
        results = searcher.search("river stone", k=8, rerank=reader)
        answer = HybridSearchRetriever(searcher, 8).retrieve("river stone")
        rerank = HybridSearchRerank(reader, settings=settings)
        again = rerank.postprocess_nodes(answer, query_str="river stone")
        assert [n.node.metadata["doc_id"] for n in again] == [hit.doc_id for hit in results]
        assert [n.score for n in again] == [hit.rerank_score for hit in results]
        assert [n.node.metadata["rerank_score"] for n in again] == [n.score for n in again]
        assert all(n.node.metadata["rerank_score"] is None for n in answer)
        later = asyncio.run(HybridSearchRerank(reader, 2).apostprocess_nodes(answer, query_str="river stone"))
        assert ids(later) == ids(again)[:2]
    assert rerank.postprocess_nodes([], query_str="x") == []
    with pytest.raises(InvalidArgument, match="query"):
        rerank.postprocess_nodes([NodeWithScore(node=TextNode(text="a"))])


# ---------------------------------------------------------------- the store


def test_nodes_come_back_as_they_were(store):
    given = [
        node("a", " some\n\ntext ", "doc", title="T", nested={"x": [1, None]}, huge=2**70, doc_id="theirs"),
        IndexNode(id_="b", text="of an index", index_id="other"),
        ImageNode(id_="c", text="a caption", image_path="x.png"),
        Document(id_="d", text="a document", metadata={"year": 1984}, excluded_llm_metadata_keys=["year"]),
    ]
    given[0].relationships[NodeRelationship.NEXT] = RelatedNodeInfo(node_id="b", metadata={"k": 1})
    assert store.add(given) == ["a", "b", "c", "d"]
    back = store.get_nodes(["d", "c", "b", "a", "nowhere"])
    assert [type(one) for one in back] == [Document, ImageNode, IndexNode, TextNode]
    assert [one.to_dict() for one in reversed(back)] == [one.to_dict() for one in given]
    assert {one.node_id for one in store.get_nodes()} == {*"abcd"}
    [hit] = HybridSearchRetriever(store, 1).retrieve("some text")
    store.add([hit.node])  # as it comes from a search
    assert store.get_nodes(["a"])[0].metadata == given[0].metadata


def test_a_node_that_cannot_be_kept_is_refused_and_nothing_is_written(store):
    for bad, why in ((node("x", " "), "'x' has no text"), (node("x", "text", at={1, 2}), "'at' of 'x'")):
        with pytest.raises(InvalidArgument, match=why):
            store.add([node("a", "text"), bad])
    assert store.get_nodes() == []


def test_all_nodes_are_checked_before_the_first_is_written(store):
    good = node("a", "text")
    for call, expected in (
        (lambda: store.add([good, node("b", "")]), r"nodes\[1\]: The document 'b' has no text"),
        (lambda: store.add([node("x", "text", n=float("nan")), good]), r"nodes\[0\]: The metadata field 'n' of 'x'"),
        (lambda: store.add([good, node("b", "text"), node("a", "other")]), r"ids\[2\] is 'a', as ids\[0\] is"),
        (lambda: store.add(good), r"add\(\[node\]\)"),
        (lambda: store.add("hello"), "nodes is 'hello', one value"),
        (lambda: store.add([good, "hello"]), r"nodes\[1\]: add takes nodes, not str"),
        (lambda: store.add(None), "nodes is None"),
        (lambda: store.delete_nodes("abc"), r"node_ids=\['abc'\]"),
        (lambda: store.get_nodes("abc"), r"node_ids=\['abc'\]"),
        (lambda: store.delete(3), "ref_doc_id is 3"),
    ):
        with pytest.raises(InvalidArgument, match=expected):
            call()
    assert store.get_nodes() == []


def test_keys_with_dots_are_nested_keys_or_keys_as_they_are(store):
    nested, flat = {"author": {"name": "Ada"}, "n": 1}, {"author.name": "Ada", "n": 2}
    store.add([node("nested", "a river", **nested), node("flat", "a stone", **flat), node("none", "a tree", n=3)])
    for operator, value, wanted in (
        (Op.EQ, "Ada", {"nested", "flat"}),
        (Op.NE, "Ada", {"none"}),
        (Op.IN, ["Ada", "Bob"], {"nested", "flat"}),
        (Op.NIN, ["Ada"], {"none"}),
        (Op.TEXT_MATCH, "ada", {"nested", "flat"}),
        (Op.IS_EMPTY, None, {"none"}),
    ):
        filters = MetadataFilters(filters=[MetadataFilter(key="author.name", operator=operator, value=value)])
        assert {one.node_id for one in store.get_nodes(filters=filters)} == wanted, operator
        assert {*asked(store, query="a", filters=filters).ids} == wanted, operator


def test_nodes_are_removed(store):
    store.delete("doc")
    store.clear()
    store.add([node(f"n{n}", f"text {n}", f"doc-{n % 2}", n=n) for n in range(6)])
    store.delete("doc-1")
    assert {one.node_id for one in store.get_nodes()} == {"n0", "n2", "n4"}
    few = MetadataFilters(filters=[MetadataFilter(key="n", operator=Op.LT, value=3)])
    store.delete_nodes(["n2", "n4"], few)
    assert {one.node_id for one in store.get_nodes()} == {"n0", "n4"}
    store.delete_nodes(["n4", "nowhere"])
    with pytest.raises(InvalidArgument, match="clear"):
        store.delete_nodes()
    asyncio.run(store.adelete_nodes(filters=few))
    assert asyncio.run(store.aget_nodes()) == []
    asyncio.run(store.async_add([node("z", "text", "doc")]))
    asyncio.run(store.adelete("doc"))
    asyncio.run(store.aclear())
    assert store.get_nodes() == []


def asked(store, mode="default", k=4, query="river stone", **more):
    query = VectorStoreQuery(query_str=query, similarity_top_k=k, mode=VectorStoreQueryMode(mode), **more)
    answer, later = store.query(query), asyncio.run(store.aquery(query))
    assert (answer.ids, answer.similarities) == (later.ids, later.similarities)
    assert answer.ids == [one.node_id for one in answer.nodes]
    return answer


def test_modes_and_alpha_mean_what_they_say(rivers, settings):
    store = HybridSearchVectorStore(rivers, settings=settings)

    def same(answer, **options):
        with Searcher.open(rivers, settings=settings) as searcher:
            hits = searcher.search("river stone", **{"k": 4, **options})
        assert (answer.ids, answer.similarities) == ([h.doc_id for h in hits], [h.score for h in hits])

    same(asked(store))
    same(asked(store, "hybrid"))
    same(asked(store, "hybrid", alpha=1.0), mode="dense")
    same(asked(store, "hybrid", alpha=0.0), mode="sparse")
    same(asked(store, "hybrid", alpha=0), mode="sparse")
    same(asked(store, "hybrid", alpha=0.25), weights={"dense": 0.25, "sparse": 0.75})
    same(asked(store, "hybrid", hybrid_top_k=6), k=6)
    same(asked(store, "sparse", sparse_top_k=5), mode="sparse", k=5)
    same(asked(store, "text_search"), mode="sparse")
    set_up = HybridSearchVectorStore(rivers, settings=settings, options={"mode": "dense", "depth": 4})
    same(asked(set_up), mode="dense")
    same(asked(set_up, "hybrid", k=5), k=5, depth=5)
    same(asked(set_up, "mmr", mmr_threshold=1.0), mode="dense")
    assert len(asked(set_up, "mmr", mmr_threshold=0.0).ids) == 4
    for wrong in ({"alpha": 1.5}, {"alpha": -0.1}):
        with pytest.raises(InvalidArgument, match="alpha"):
            asked(store, "hybrid", **wrong)
    with pytest.raises(InvalidArgument, match="svm"):
        asked(store, "svm")
    with pytest.raises(InvalidArgument, match="query_str"):
        store.query(VectorStoreQuery(query_embedding=[1.0]))


def test_of_three_legs_alpha_divides_what_each_side_has(settings, making):
    legs = ["sparse", "dense", "bm25"]
    Indexer.open("three", settings=settings, legs=legs, **making).index(ROWS)
    store = HybridSearchVectorStore("three", settings=settings)
    with Searcher.open("three", settings=settings) as searcher:
        for alpha, options in (
            (0.5, {"weights": {"dense": 0.5, "sparse": 0.25, "bm25": 0.25}}),
            (0.0, {"mode": "sparse+bm25"}),
            (1.0, {"mode": "dense"}),
        ):
            hits = searcher.search("river stone", k=4, **options)
            assert asked(store, "hybrid", alpha=alpha).similarities == [hit.score for hit in hits]
        assert asked(store, "text_search").ids == [h.doc_id for h in searcher.search("river stone", k=4, mode="bm25")]


def test_semantic_hybrid_is_reranked(rivers, settings, reader):
    store = HybridSearchVectorStore(rivers, settings=settings, options={"rerank": reader})
    assert asked(store, "semantic_hybrid").ids == ["d7", "d6", "d5", "d4"]


def test_mmr_prefers_what_is_unlike_what_is_chosen(store):
    store.add([node("a", "river stone"), node("b", "river stone"), node("c", "river"), node("d", "stone bridge")])
    assert {*asked(store, "mmr", k=2, mmr_threshold=1.0).ids} == {"a", "b"}
    assert {*asked(store, "mmr", k=2, mmr_threshold=0.3).ids} & {"c", "d"}
    assert mmr_by_similarity([], np.zeros((0, 2), np.float32), 3, 0.5) == []
    with pytest.raises(InvalidArgument, match="mmr_threshold"):
        mmr_by_similarity([1.0], np.ones((1, 2), np.float32), 3, 2.0)


def test_an_index_over_the_store_needs_no_embedding_model(memory_store, settings, making):
    store = HybridSearchVectorStore("index", store=memory_store, settings=settings, making=making)
    documents = [Document(id_=f"doc-{n}", text=f"river number{n}", metadata={"n": n}) for n in range(3)]
    index = VectorStoreIndex.from_documents(
        documents, storage_context=StorageContext.from_defaults(vector_store=store), embed_model=MockEmbedding(1)
    )
    found = index.as_retriever(similarity_top_k=1, vector_store_query_mode="hybrid", alpha=0.0).retrieve("number2")
    assert [one.node.ref_doc_id for one in found] == ["doc-2"]
    index.delete_ref_doc("doc-2")
    again = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(1))
    found = again.as_retriever(doc_ids=["doc-0", "doc-2"]).retrieve("number2")
    assert {one.node.ref_doc_id for one in found} == {"doc-0"}


def test_it_is_saved_and_made_again(store, settings, making):
    made = HybridSearchVectorStore("saved", settings=settings, options={"mode": "sparse"}, making=making)
    made.add([node("a", "text")])
    again = HybridSearchVectorStore.from_dict(made.to_dict())
    assert again.to_dict() == made.to_dict()
    assert [one.node_id for one in again.get_nodes()] == ["a"]


# ---------------------------------------------------------------- filters


TAGGED = {
    "a": {"year": 1990, "tags": ["x", "y"], "name": "the Old Bridge", "none": None, "a.b": 1},
    "b": {"year": 2001, "tags": ["y"], "name": "a new bridge", "empty": []},
    "c": {"tags": ["z"], "name": "river", "blank": "", "empty": ["full"]},
}
TESTS = [
    ("year", Op.EQ, 1990), ("year", Op.NE, 1990), ("year", Op.GT, 1990), ("year", Op.LT, 2001), ("year", Op.GTE, 1990),
    ("year", Op.LTE, 1990), ("year", Op.IN, [1990, 2001]), ("year", Op.NIN, [1990]), ("year", Op.IN, []),
    ("name", Op.IN, ["river", "none"]), ("tags", Op.ANY, ["x", "z"]), ("tags", Op.ALL, ["x", "y"]),
    ("tags", Op.CONTAINS, "y"), ("name", Op.TEXT_MATCH, "new"), ("name", Op.TEXT_MATCH_INSENSITIVE, "BRIDGE"),
    ("year", Op.IS_EMPTY, None), ("empty", Op.IS_EMPTY, None), ("blank", Op.IS_EMPTY, None), ("a.b", Op.EQ, 1),
]  # fmt: skip


def reference(filters):
    """LlamaIndex's own meaning, of filters that may be nested."""
    inner = [
        reference(one) if isinstance(one, MetadataFilters) else
        {key for key in TAGGED if build_metadata_filter_fn(TAGGED.__getitem__, MetadataFilters(filters=[one]))(key)}
        for one in filters.filters
    ]  # fmt: skip
    if filters.condition == FilterCondition.AND:
        return set.intersection(*inner)
    union = set.union(*inner)
    return union if filters.condition == FilterCondition.OR else {*TAGGED} - union


def test_filters_mean_what_they_do_in_llamaindex(memory_store, settings, making):
    store = HybridSearchVectorStore("tagged", store=memory_store, settings=settings, making=making)
    store.add([node(key, f"text of {key}", f"doc-{key}", **metadata) for key, metadata in TAGGED.items()])
    tests = [MetadataFilter(key=key, operator=operator, value=value) for key, operator, value in TESTS]
    single = [MetadataFilters(filters=[test]) for test in tests]
    pairs = [
        MetadataFilters(filters=[*pair], condition=condition)
        for condition in FilterCondition
        for pair in itertools.islice(itertools.combinations(tests, 2), 0, None, 7)
    ]
    nested = [
        MetadataFilters(filters=[one, MetadataFilters(filters=[other, tests[5]], condition="or")], condition=condition)
        for condition in FilterCondition
        for one, other in zip(tests, reversed(tests), strict=True)
    ]
    for filters in [*single, *pairs, *nested]:
        assert {one.node_id for one in store.get_nodes(filters=filters)} == reference(filters), filters
    for filters in [*single, *pairs[::5], *nested[::5]]:
        assert {*asked(store, filters=filters, query="text").ids} == reference(filters), filters
    assert asked(store, node_ids=["a", "b"], doc_ids=["doc-b"], query="text").ids == ["b"]
    assert len(asked(store, node_ids=[], doc_ids=[], query="text").ids) == 3
    assert store.get_nodes([]) == store.get_nodes([], MetadataFilters(filters=[])) == []


@pytest.mark.parametrize(
    ("key", "operator", "value"),
    [("a", Op.GT, "abc"), ("a", Op.GT, ["1"]), ("a", Op.IN, None), ("a", Op.LT, None), ("a", Op.TEXT_MATCH, "!!")],
)
def test_filters_that_cannot_be_meant_are_errors(key, operator, value):
    with pytest.raises(FilterError):
        condition_of(MetadataFilters(filters=[MetadataFilter(key=key, operator=operator, value=value)]))


def test_ids_of_documents_and_titles_are_filtered_by():
    one = MetadataFilters(filters=[MetadataFilter(key=key, value="x") for key in ("title", "doc_id", "text")])
    assert str(condition_of(one)) == "title = 'x' and _ref_doc_id = 'x' and metadata.text = 'x'"
    assert str(condition_of(MetadataFilters(filters=[MetadataFilter(key="a", value=None)]))) == "not exists(metadata.a)"
    assert condition_of(MetadataFilters(filters=[])) is None
