"""Haystack's retriever: what it gives, how it is asked, and that it fits where Haystack wants retrievers."""

import asyncio
import json

import pytest

pytest.importorskip("haystack", reason="needs the extra 'haystack'")

from haystack import Document, Pipeline
from haystack.components.joiners import DocumentJoiner
from haystack.components.writers import DocumentWriter
from haystack.document_stores.types import FilterPolicy
from haystack.errors import FilterError

from hybrid_search.errors import CollectionNotFound, InvalidArgument
from hybrid_search.indexer import Indexer
from hybrid_search.integrations.haystack import HybridSearchDocumentStore, HybridSearchRetriever
from hybrid_search.integrations.hit_documents import EVIDENCE, found
from hybrid_search.searcher import Searcher
from hybrid_search.types import Document as Ours

ROWS = [
    Ours(f"d{n}", f"word{n % 3} and river {'stone ' * n}", title=f"T{n}", metadata={"n": n, "rank": "mine"})
    for n in range(8)
]
OPTIONS = {"mode": "hybrid", "fusion": "minmax", "weights": {"dense": 2.0}, "depth": 20}


@pytest.fixture
def rivers(settings, making):
    Indexer.open("rivers", settings=settings, **making).index(ROWS)
    return "rivers"


def told(documents):
    return [(document.id, document.content, document.meta, document.score) for document in documents]


@pytest.mark.parametrize("options", [{}, OPTIONS, {"mode": "sparse"}, {"where": "n < 5"}])
def test_it_gives_what_the_searcher_gives(rivers, settings, options):
    with Searcher.open(rivers, settings=settings) as searcher:
        expected = [tuple(one) for one in found(searcher.search("river stone", k=4, **options))]
        assert expected
        assert [one[2]["own"] for one in expected] == [{"rank": "mine"}] * len(expected)
        named = HybridSearchRetriever(rivers, settings=settings, top_k=4, **options)
        opened = HybridSearchRetriever(searcher, top_k=4, **options)
        for retriever in (named, opened):
            assert [*map(tuple, told(retriever.run("river stone")["documents"]))] == expected
            assert [*map(tuple, told(asyncio.run(retriever.run_async("river stone"))["documents"]))] == expected
        named.close()


def test_a_store_gives_its_documents_with_the_evidence(memory_store, settings, making):
    store = HybridSearchDocumentStore("notes", store=memory_store, settings=settings, **making)
    retriever = HybridSearchRetriever(store, top_k=2)
    retriever.warm_up()
    assert retriever.run("anything")["documents"] == []
    document = Document(id="a", content="a stone in a river", meta={"year": 1984, "title": "Stones"}, embedding=[0.5])
    store.write_documents([document])
    for answer in (retriever.run("river"), asyncio.run(retriever.run_async("river"))):
        [found_one] = answer["documents"]
        assert (found_one.id, found_one.content, found_one.embedding) == ("a", document.content, [0.5])
        assert {*EVIDENCE, "year"} == {*found_one.meta}
        assert found_one.meta["title"] == "Stones"
        assert found_one.meta["legs"]["sparse"]["rank"] == found_one.meta["legs"]["dense"]["rank"] == 1
    store.delete_documents(["a"])
    assert retriever.run("river", filters={"field": "meta.year", "operator": "==", "value": 1984})["documents"] == []


def test_top_k_and_filters_of_a_run(rivers, settings):
    few = {"field": "meta.n", "operator": "<", "value": 4}
    other = {"field": "meta.n", "operator": ">", "value": 1}
    merging = HybridSearchRetriever(
        rivers, settings=settings, filters=few, filter_policy=FilterPolicy.MERGE, depth=3, top_k=3
    )
    replacing = HybridSearchRetriever(rivers, settings=settings, filters=few, where="n > 0")

    def numbers(retriever, **asked):
        return {document.meta["n"] for document in retriever.run("river", **asked)["documents"]}

    assert numbers(replacing) == {1, 2, 3}
    assert numbers(replacing, filters=other) == {2, 3, 4, 5, 6, 7}
    assert len(numbers(merging, top_k=8)) == 4
    assert numbers(merging, top_k=0) == set()
    more = {"field": "title", "operator": "!=", "value": "T3"}
    assert numbers(merging, filters=more, top_k=8) == {0, 1, 2}
    with pytest.raises(InvalidArgument, match="top_k is -1"):
        merging.run("river", top_k=-1)
    with pytest.raises(FilterError, match="no document has a field"):
        merging.run("river", filters={"field": "meta.nowhere", "operator": "==", "value": 1}, top_k=3)


def test_options_are_judged_when_it_is_made(rivers, settings):
    with pytest.raises(InvalidArgument, match="fusion"):
        HybridSearchRetriever(rivers, fusion="best")
    with pytest.raises(InvalidArgument, match="top_k"):
        HybridSearchRetriever(rivers, k=3)
    with pytest.raises(FilterError):
        HybridSearchRetriever(rivers, filters={"field": "a", "operator": "?", "value": 1})
    with Searcher.open(rivers, settings=settings) as searcher, pytest.raises(InvalidArgument, match="has its own"):
        HybridSearchRetriever(searcher, settings=settings)
    with pytest.raises(CollectionNotFound, match="rivers"):
        HybridSearchRetriever("river", settings=settings).run("x")


def test_it_is_saved_and_made_again(rivers, settings, memory_store):
    retriever = HybridSearchRetriever(
        rivers, settings=settings, top_k=3, filters={"field": "meta.n", "operator": "<", "value": 6},
        filter_policy=FilterPolicy.MERGE, where="n > 0", **OPTIONS,
    )  # fmt: skip
    data = json.loads(json.dumps(retriever.to_dict()))
    again = HybridSearchRetriever.from_dict(data)
    assert again.to_dict() == data
    assert told(again.run("river")["documents"]) == told(retriever.run("river")["documents"])
    with Searcher.open(rivers, settings=settings) as searcher, pytest.raises(InvalidArgument, match="'rivers'"):
        HybridSearchRetriever(searcher).to_dict()


def test_it_runs_in_a_pipeline_beside_others_and_the_pipeline_is_saved(settings, making):
    store = HybridSearchDocumentStore("piped", settings=settings, **making)
    writing = Pipeline()
    writing.add_component("writer", DocumentWriter(store))
    documents = [Document(content=f"river {n}", meta={"n": n}) for n in range(3)]
    assert writing.run({"writer": {"documents": documents}})["writer"]["documents_written"] == 3
    asking = Pipeline()
    asking.add_component("sparse", HybridSearchRetriever(store, mode="sparse"))
    asking.add_component("dense", HybridSearchRetriever(store, mode="dense"))
    asking.add_component("joiner", DocumentJoiner(join_mode="reciprocal_rank_fusion"))
    asking.connect("sparse.documents", "joiner.documents")
    asking.connect("dense.documents", "joiner.documents")
    for pipeline in (asking, Pipeline.loads(asking.dumps(), allowed_modules=["hybrid_search.*"])):
        found = pipeline.run({"sparse": {"query": "river 1"}, "dense": {"query": "river 1"}})["joiner"]["documents"]
        assert sorted(document.id for document in found) == sorted(document.id for document in documents)


@pytest.mark.filterwarnings("ignore:.*MultiRetriever.*experimental")  # Haystack says so of its own component
def test_it_fits_the_multi_retriever(settings, making, rivers):
    from haystack.components.retrievers import MultiRetriever

    several = MultiRetriever(
        retrievers={mode: HybridSearchRetriever(rivers, settings=settings, mode=mode) for mode in ("sparse", "dense")}
    )
    answers = [several.run("river stone", top_k=3), asyncio.run(several.run_async("river stone", top_k=3))]
    assert [len(answer["documents"]) for answer in answers] == [3, 3]
    assert told(answers[0]["documents"]) == told(answers[1]["documents"])
