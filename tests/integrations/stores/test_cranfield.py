"""On Cranfield each adapter gives what the searcher gives."""

import asyncio
import json

import pytest

from hybrid_search.indexer import Indexer
from hybrid_search.integrations.hit_documents import found
from hybrid_search.searcher import Searcher


@pytest.mark.shared
@pytest.mark.slow
def test_adapters_give_what_the_searcher_gives_on_cranfield(settings, bundled, shared_collections):
    pytest.importorskip("llama_index.core", reason="needs the extra 'llamaindex'")
    pytest.importorskip("haystack", reason="needs the extra 'haystack'")
    from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

    from hybrid_search.integrations import haystack, llamaindex

    folder = shared_collections / "cranfield"
    Indexer.open("cranfield", settings=settings, profile="bundled").index(folder)
    rows = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    queries = [json.loads(row)["text"] for row in rows]
    assert len(queries) == 225
    nodes = llamaindex.HybridSearchRetriever("cranfield", settings=settings)
    component = haystack.HybridSearchRetriever("cranfield", settings=settings)
    whole = haystack.HybridSearchRetriever(haystack.HybridSearchDocumentStore("cranfield", settings=settings))
    vectors = llamaindex.HybridSearchVectorStore("cranfield", settings=settings)
    with Searcher.open("cranfield", settings=settings) as searcher:
        for place, query in enumerate(queries):
            results = searcher.search(query)
            passages = [tuple(one) for one in found(results)]
            documents = [(hit.doc_id, hit.score) for hit in results]
            answer = nodes.retrieve(query) if place % 2 else asyncio.run(nodes.aretrieve(query))
            assert [(n.node.node_id, n.node.text, n.node.metadata, n.score) for n in answer] == passages
            answer = component.run(query) if place % 2 else asyncio.run(component.run_async(query))
            assert [(d.id, d.content, d.meta, d.score) for d in answer["documents"]] == passages
            assert [(d.id, d.score) for d in whole.run(query)["documents"]] == documents
            asked = VectorStoreQuery(query_str=query, similarity_top_k=10, mode=VectorStoreQueryMode.HYBRID)
            given = vectors.query(asked)
            assert [*zip(given.ids, given.similarities, strict=True)] == documents
